# Inference: workspaces built from the columns of a channel or from histograms.
INFERENCE_MODEL_TARGETS = with_result("systematics", "plots/systematics.png")


rule build_workspace:
    """Build a pyhf workspace from the jets or events of a channel.

    Working point on validation jets; templates of the test split, nominal and shifted, normalised to the luminosity;
    pseudo-data from independent datasets drawn to unweighted events; checks of every template. Writes workspace, digest
    and a description of how it was made.
    Wildcards: {measurement} a measurement of the configuration with `channel`.
    """
    input:
        features=measurement_tables,
        scores=measurement_scores,
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
        measurement=measurements_from("channel"),
    conda:
        "../../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=1),
        runtime=runtime(30, seconds_per_mb=1),
    params:
        features=lambda wildcards: f"results/features/{MEASUREMENTS[wildcards.measurement]['channel']}",
        scores=scores_option,
        chunks=measurement_chunks,
        config=measurement_block(
            "working_point",
            "table",
            "observable",
            "luminosity",
            "factors",
            "regions",
            "samples",
            "data",
            "injected",
            "poi",
            "modifiers",
            "smoothing",
            "pruning",
        ),
        seed=job_seed("build_workspace", "measurement"),
    shell:
        "python -m lhcml.inference.build_workspace --features {params.features:q} {params.scores} "
        "--cutflow {input.cutflow:q} --chunks {params.chunks:q} --config {params.config:q} --seed {params.seed} "
        "--workspace {output.workspace:q} --digest {output.digest:q} --description {output.description:q} > {log:q} 2>&1"


rule read_histograms:
    """Build a pyhf workspace from ROOT histograms.

    Nominal and shifted templates with their variances, rebinned if asked for; data, or what the model expects; checks of
    every template. Writes workspace, digest and a description of how it was made.
    Wildcards: {measurement} a measurement of the configuration with `histograms`.
    """
    input:
        histograms=histogram_files,
        code=sources("lhcml.inference.read_histograms"),
    output:
        workspace="results/inference/{measurement}/workspace.json",
        digest="results/inference/{measurement}/workspace.digest.txt",
        description="results/inference/{measurement}/workspace.meta.json",
    log:
        "results/logs/inference/read_histograms/{measurement}.log",
    benchmark:
        "results/benchmarks/inference/read_histograms/{measurement}.tsv"
    wildcard_constraints:
        measurement=measurements_from("histograms"),
    conda:
        "../../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=1),
        runtime=runtime(30, seconds_per_mb=1),
    params:
        config=measurement_block(
            "histograms", "observable", "regions", "samples", "injected", "poi", "modifiers", "smoothing", "pruning"
        ),
    shell:
        "python -m lhcml.inference.read_histograms --config {params.config:q} "
        "--workspace {output.workspace:q} --digest {output.digest:q} --description {output.description:q} > {log:q} 2>&1"


rule plot_systematics:
    """Plot the variations of a model and what was made of them.

    What was kept, pruned, mirrored and smoothed of each modifier on each sample in each region; the variations that change
    their template most, before and after symmetrisation and smoothing.
    Wildcards: {measurement} a measurement of the configuration that is built here.
    """
    input:
        description="results/inference/{measurement}/workspace.meta.json",
        code=sources("lhcml.inference.plot_systematics"),
    output:
        png=report(
            "results/inference/{measurement}/plots/systematics.png",
            caption="../report/inference/systematics.rst",
            category="Inference",
            labels={"measurement": "{measurement}", "content": "systematics"},
        ),
        pdf="results/inference/{measurement}/plots/systematics.pdf",
    log:
        "results/logs/inference/plot_systematics/{measurement}.log",
    benchmark:
        "results/benchmarks/inference/plot_systematics/{measurement}.tsv"
    wildcard_constraints:
        measurement=measurements_from("channel", "histograms"),
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        labels=plot_labels,
    shell:
        "python -m lhcml.inference.plot_systematics --description {input.description:q} --labels {params.labels:q} "
        "--output {output.png:q} > {log:q} 2>&1"
