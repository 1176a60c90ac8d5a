# Inference: workspaces made elsewhere, patched, combined.
INFERENCE_IMPORT_TARGETS = []


rule import_workspace:
    """Take in a pyhf workspace made elsewhere.

    Validates it against pyhf's schema, checks the model and the parameter of interest, and copies it with its digest.
    Wildcards: {measurement} a measurement of the configuration with `workspace`.
    """
    input:
        workspace=lambda wildcards: MEASUREMENTS[wildcards.measurement]["workspace"],
        code=sources("lhcml.inference.import_workspace"),
    output:
        workspace="results/inference/{measurement}/workspace.json",
        digest="results/inference/{measurement}/workspace.digest.txt",
        description="results/inference/{measurement}/workspace.meta.json",
    log:
        "results/logs/inference/import_workspace/{measurement}.log",
    benchmark:
        "results/benchmarks/inference/import_workspace/{measurement}.tsv"
    wildcard_constraints:
        measurement=measurements_from("workspace", "histfactory"),
    conda:
        "../../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, 20),
        runtime=10,
    params:
        config=measurement_block("measurement", "poi"),
    shell:
        "python -m lhcml.inference.import_workspace --input {input.workspace:q} --config {params.config:q} "
        "--workspace {output.workspace:q} --digest {output.digest:q} --description {output.description:q} > {log:q} 2>&1"
