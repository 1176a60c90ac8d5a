# Inference: workspaces built from the columns of a channel or from histograms.
INFERENCE_MODEL_TARGETS = []


rule build_workspace:
    """Build a pyhf workspace from the tagged jets of a channel.

    Working point on validation jets; templates of the test split, nominal and shifted, normalised to the luminosity;
    pseudo-data from independent datasets drawn to unweighted events; checks of every template. Writes workspace, digest
    and a description of how it was made.
    Wildcards: {measurement} a measurement of the configuration without `workspace`.
    """
    input:
        features=measurement_inputs("features"),
        scores=measurement_inputs("scores"),
        cutflow=lambda wildcards: f"results/skim/{MEASUREMENTS[wildcards.measurement]['channel']}/cutflow.json",
        code=sources("lhcml.inference.build_workspace"),
    output:
        workspace="results/inference/{measurement}/workspace.json",
        digest="results/inference/{measurement}/workspace.digest.txt",
        description="results/inference/{measurement}/workspace.meta.json",
    log:
        "results/logs/inference/build_workspace/{measurement}.log",
    benchmark:
        "results/benchmarks/inference/build_workspace/{measurement}.tsv"
    wildcard_constraints:
        measurement=measurements_from("channel", "histograms"),
    conda:
        "../../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, 1),
        runtime=30,
    params:
        features=measurement_folder("results/features/{channel}"),
        scores=measurement_folder("results/taggers/{tagger}/{seed}/scores"),
        chunks=measurement_chunks,
        config=measurement_block(
            "working_point",
            "observable",
            "luminosity",
            "factors",
            "regions",
            "samples",
            "data",
            "injected",
            "poi",
            "modifiers",
        ),
        seed=job_seed("build_workspace", "measurement"),
    shell:
        "python -m lhcml.inference.build_workspace --features {params.features:q} --scores {params.scores:q} "
        "--cutflow {input.cutflow:q} --chunks {params.chunks:q} --config {params.config:q} --seed {params.seed} "
        "--workspace {output.workspace:q} --digest {output.digest:q} --description {output.description:q} > {log:q} 2>&1"
