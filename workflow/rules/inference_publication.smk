# Inference: what is published of a measurement, and the check that it stands alone.
include: "inference_publication_functions.smk"


INFERENCE_PUBLICATION_TARGETS = expand(
    "results/inference/{folder}/{file}", folder=published_folders(), file=PUBLISHED_FILES
)


rule publish_measurement:
    """Publish a likelihood: workspace, signal patch, results, HEPData submission, how to reuse them.

    Holds what the measurement's `results` name, the script that reproduces the limit, and how all was made.
    Wildcards: {measurement} a measurement of the configuration that is no grid, or name/patches/patch of a grid.
    """
    input:
        workspace="results/inference/{measurement}/workspace.json",
        description="results/inference/{measurement}/workspace.meta.json",
        tables=result_tables,
        figures=result_figures,
        script=os.path.relpath(ROOT / "src/lhcml/inference/reproduce_limit.py"),
        code=sources("lhcml.inference.publish_measurement"),
    output:
        readme=report(
            "results/inference/{measurement}/publication/README.md",
            caption="../report/inference/publication.rst",
            category="Inference",
            labels={"measurement": "{measurement}", "content": "publication"},
        ),
        workspace="results/inference/{measurement}/publication/workspace.json",
        digest="results/inference/{measurement}/publication/digest.txt",
        signal=directory("results/inference/{measurement}/publication/signal"),
        results=directory("results/inference/{measurement}/publication/results"),
        script="results/inference/{measurement}/publication/reproduce_limit.py",
        requirements="results/inference/{measurement}/publication/requirements.txt",
        provenance="results/inference/{measurement}/publication/provenance.json",
        submission="results/inference/{measurement}/publication/hepdata/submission.tar.gz",
    log:
        "results/logs/inference/publish_measurement/{measurement}.log",
    benchmark:
        "results/benchmarks/inference/publish_measurement/{measurement}.tsv"
    wildcard_constraints:
        measurement=SINGLE_MEASUREMENT,
    conda:
        "../../envs/publication.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=20),
        runtime=runtime(30, seconds_per_mb=60),
    params:
        config=published_block,
        seed=config["seed"],
    shell:
        "python -m lhcml.inference.publish_measurement --workspace {input.workspace:q} --description {input.description:q} "
        "--results {input.tables:q} --figures {input.figures:q} --config {params.config:q} --name {wildcards.measurement:q} "
        "--seed {params.seed} --output {output.readme:q} > {log:q} 2>&1"


rule publish_grid:
    """Publish a grid of signals: background, patchset, limit of each patch, HEPData submission, how to reuse them.

    Wildcards: {grid} a measurement of the configuration with `patchset` or `resonance`.
    """
    input:
        background="results/inference/{grid}/background.json",
        patchset="results/inference/{grid}/patchset.json",
        results=grid_result_files,
        figures=lambda wildcards: [f"results/inference/{wildcards.grid}/plots/limits.png"]
        * ("limit" in grid_results(wildcards.grid)),
        script=os.path.relpath(ROOT / "src/lhcml/inference/reproduce_limit.py"),
        code=sources("lhcml.inference.publish_grid"),
    output:
        readme=report(
            "results/inference/{grid}/publication/README.md",
            caption="../report/inference/publication.rst",
            category="Inference",
            labels={"measurement": "{grid}", "content": "publication"},
        ),
        background="results/inference/{grid}/publication/background.json",
        patchset="results/inference/{grid}/publication/patchset.json",
        digest="results/inference/{grid}/publication/digest.txt",
        results=directory("results/inference/{grid}/publication/results"),
        script="results/inference/{grid}/publication/reproduce_limit.py",
        requirements="results/inference/{grid}/publication/requirements.txt",
        provenance="results/inference/{grid}/publication/provenance.json",
        submission="results/inference/{grid}/publication/hepdata/submission.tar.gz",
    log:
        "results/logs/inference/publish_grid/{grid}.log",
    benchmark:
        "results/benchmarks/inference/publish_grid/{grid}.tsv"
    wildcard_constraints:
        grid=one_of(GRID_NAMES),
    conda:
        "../../envs/publication.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=20),
        runtime=runtime(60, seconds_per_mb=60),
    params:
        config=published_block,
        folder=lambda wildcards: f"results/inference/{wildcards.grid}/patches",
        patches=lambda wildcards: as_json(patches_of(wildcards.grid)),
        results=lambda wildcards: as_json(grid_results(wildcards.grid)),
        seed=config["seed"],
    shell:
        "python -m lhcml.inference.publish_grid --background {input.background:q} --patchset {input.patchset:q} "
        "--folder {params.folder:q} --patches {params.patches:q} --results {params.results:q} --figures {input.figures:q} "
        "--config {params.config:q} --name {wildcards.grid:q} --seed {params.seed} --output {output.readme:q} > {log:q} 2>&1"


rule check_publication:
    """Check that a publication stands alone: reproduce its limit from a copy of it, with pyhf only.

    Values that differ, or that pyhf could not find, are reported in the JSON and in the log.
    Wildcards: {measurement} a measurement of the configuration, or name/patches/patch of a grid.
    """
    input:
        readme="results/inference/{measurement}/publication/README.md",
        # changes with whatever else is in the folder
        submission="results/inference/{measurement}/publication/hepdata/submission.tar.gz",
        code=sources("lhcml.inference.check_publication"),
    output:
        check="results/inference/{measurement}/publication.check.json",
    log:
        "results/logs/inference/check_publication/{measurement}.log",
    benchmark:
        "results/benchmarks/inference/check_publication/{measurement}.tsv"
    conda:
        "../../envs/reproduction.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=40),
        runtime=runtime(60, seconds_per_mb=60),
    params:
        bundle=lambda wildcards, input: os.path.dirname(input.readme),
        bands=bands_option,
    shell:
        "python -m lhcml.inference.check_publication --bundle {params.bundle:q} {params.bands} --output {output.check:q} "
        "> {log:q} 2>&1"
