# Inference: workspaces made elsewhere, patched, combined.
INFERENCE_IMPORT_TARGETS = []


rule import_workspace:
    """Take in a model made elsewhere.

    A pyhf workspace with its patches, or HistFactory XML with its ROOT histograms; checks the model and the parameter of
    interest, and writes it as a workspace with its digest.
    Wildcards: {measurement} a measurement of the configuration with `workspace` or `histfactory`.
    """
    input:
        files=imported_files,
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
        measurement=one_of([measurements_with("workspace", "patchset"), measurements_with("histfactory")]),
    conda:
        "../../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=20),
        runtime=runtime(10, seconds_per_mb=10),
    params:
        config=measurement_block("histfactory", "patch", "measurement", "poi"),
    shell:
        "python -m lhcml.inference.import_workspace --input {input.files[0]:q} --config {params.config:q} "
        "--workspace {output.workspace:q} --digest {output.digest:q} --description {output.description:q} > {log:q} 2>&1"


rule import_grid:
    """Take in a background and a patchset of signals.

    Checks both and that they belong together, and copies them; each patch is fitted by itself.
    Wildcards: {measurement} a measurement of the configuration with `patchset`.
    """
    input:
        workspace=lambda wildcards: MEASUREMENTS[wildcards.measurement]["workspace"],
        patchset=lambda wildcards: MEASUREMENTS[wildcards.measurement]["patchset"],
        code=sources("lhcml.inference.import_grid"),
    output:
        background="results/inference/{measurement}/background.json",
        patchset="results/inference/{measurement}/patchset.json",
    log:
        "results/logs/inference/import_grid/{measurement}.log",
    benchmark:
        "results/benchmarks/inference/import_grid/{measurement}.tsv"
    wildcard_constraints:
        measurement=measurements_with("patchset"),
    conda:
        "../../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=20),
        runtime=runtime(10, seconds_per_mb=10),
    params:
        config=measurement_block("patches"),
    shell:
        "python -m lhcml.inference.import_grid --input {input.workspace:q} --signals {input.patchset:q} "
        "--config {params.config:q} --background {output.background:q} --patchset {output.patchset:q} > {log:q} 2>&1"


rule apply_patch:
    """Put one signal of a grid into its background.

    Checks the model that results, and writes it as a workspace with its digest.
    Wildcards: {measurement} a grid of signals of the configuration; {patch} one of its patches.
    """
    input:
        background="results/inference/{measurement}/background.json",
        patchset="results/inference/{measurement}/patchset.json",
        code=sources("lhcml.inference.apply_patch"),
    output:
        workspace="results/inference/{measurement}/patches/{patch}/workspace.json",
        digest="results/inference/{measurement}/patches/{patch}/workspace.digest.txt",
        description="results/inference/{measurement}/patches/{patch}/workspace.meta.json",
    log:
        "results/logs/inference/apply_patch/{measurement}_{patch}.log",
    benchmark:
        "results/benchmarks/inference/apply_patch/{measurement}_{patch}.tsv"
    wildcard_constraints:
        measurement=one_of([re.escape(name) for name in MEASUREMENTS if is_grid(name)]),
        patch="[A-Za-z0-9_.]+",
    localrule: True
    conda:
        "../../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=20),
        runtime=runtime(10, seconds_per_mb=10),
    params:
        config=measurement_block("measurement", "poi"),
    shell:
        "python -m lhcml.inference.apply_patch --background {input.background:q} --patchset {input.patchset:q} "
        "--patch {wildcards.patch:q} --config {params.config:q} --workspace {output.workspace:q} "
        "--digest {output.digest:q} --description {output.description:q} > {log:q} 2>&1"


rule combine_workspaces:
    """Combine measurements into one.

    One workspace with the regions of all; parameters of the same name are the same, those with a value per bin are not.
    Wildcards: {measurement} a measurement of the configuration with `combine`.
    """
    input:
        workspaces=combined_files("workspace.json"),
        descriptions=combined_files("workspace.meta.json"),
        code=sources("lhcml.inference.combine_workspaces"),
    output:
        workspace="results/inference/{measurement}/workspace.json",
        digest="results/inference/{measurement}/workspace.digest.txt",
        description="results/inference/{measurement}/workspace.meta.json",
    log:
        "results/logs/inference/combine_workspaces/{measurement}.log",
    benchmark:
        "results/benchmarks/inference/combine_workspaces/{measurement}.tsv"
    wildcard_constraints:
        measurement=measurements_with("combine"),
    conda:
        "../../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=20),
        runtime=runtime(10, seconds_per_mb=10),
    params:
        names=lambda wildcards: MEASUREMENTS[wildcards.measurement]["combine"],
        config=measurement_block("poi"),
    shell:
        "python -m lhcml.inference.combine_workspaces --names {params.names:q} --inputs {input.workspaces:q} "
        "--descriptions {input.descriptions:q} --config {params.config:q} --workspace {output.workspace:q} "
        "--digest {output.digest:q} --description {output.description:q} > {log:q} 2>&1"
