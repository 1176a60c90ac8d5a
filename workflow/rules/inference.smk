# Inference: pyhf workspaces from tagged jets or from elsewhere, fits, limits, pseudo-experiments.


include: "inference_functions.smk"


INFERENCE_TARGETS = expand(
    "results/inference/{measurement}/{file}",
    measurement=MEASUREMENTS,
    file=[
        "workspace.json",
        "fit.json",
        "limit.json",
        "toys.json",
        "yields.json",
        "yields.csv",
    ],
) + expand(
    "results/inference/{measurement}/plots/{plot}.png",
    measurement=MEASUREMENTS,
    plot=["prefit", "postfit", "pulls", "correlations", "limit", "toys"],
)


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
        measurement=measurements_of(given=False),
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
        measurement=measurements_of(given=True),
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


rule fit_workspace:
    """Fit a workspace.

    Maximum likelihood with Minuit: parameters, uncertainties, correlations, goodness of fit, and whether it is valid, after
    how many attempts.
    Wildcards: {measurement} a measurement of the configuration.
    """
    input:
        workspace="results/inference/{measurement}/workspace.json",
        code=sources("lhcml.inference.fit_workspace"),
    output:
        fit="results/inference/{measurement}/fit.json",
    log:
        "results/logs/inference/fit_workspace/{measurement}.log",
    benchmark:
        "results/benchmarks/inference/fit_workspace/{measurement}.tsv"
    conda:
        "../../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, 20),
        runtime=60,
    params:
        config=measurement_block("measurement", "poi", "injected"),
    shell:
        "python -m lhcml.inference.fit_workspace --workspace {input.workspace:q} --config {params.config:q} "
        "--output {output.fit:q} > {log:q} 2>&1"


rule scan_limit:
    """Compute CLs upper limits and a scan of CLs.

    Asymptotic formulae for the profile likelihood ratio; observed limit, expected limits and their bands.
    Wildcards: {measurement} a measurement of the configuration.
    """
    input:
        workspace="results/inference/{measurement}/workspace.json",
        code=sources("lhcml.inference.scan_limit"),
    output:
        limit="results/inference/{measurement}/limit.json",
    log:
        "results/logs/inference/scan_limit/{measurement}.log",
    benchmark:
        "results/benchmarks/inference/scan_limit/{measurement}.tsv"
    conda:
        "../../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, 20),
        runtime=60,
    params:
        config=measurement_block("measurement", "poi", "limit"),
    shell:
        "python -m lhcml.inference.scan_limit --workspace {input.workspace:q} --config {params.config:q} "
        "--output {output.limit:q} > {log:q} 2>&1"


rule run_toys:
    """Fit pseudo-experiments drawn from the model.

    Main and auxiliary data are drawn at the injected parameter of interest; mean, pull and coverage of the fitted one.
    Wildcards: {measurement} a measurement of the configuration.
    """
    input:
        workspace="results/inference/{measurement}/workspace.json",
        code=sources("lhcml.inference.run_toys"),
    output:
        toys="results/inference/{measurement}/toys.json",
    log:
        "results/logs/inference/run_toys/{measurement}.log",
    benchmark:
        "results/benchmarks/inference/run_toys/{measurement}.tsv"
    conda:
        "../../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, 20),
        runtime=120,
    params:
        config=measurement_block("measurement", "poi", "injected", "toys"),
        seed=job_seed("run_toys", "measurement"),
    shell:
        "python -m lhcml.inference.run_toys --workspace {input.workspace:q} --config {params.config:q} "
        "--seed {params.seed} --output {output.toys:q} > {log:q} 2>&1"


rule tabulate_yields:
    """Tabulate expected and observed events before and after the fit.

    Per region, sample and bin with uncertainties (JSON), and their sums (CSV).
    Wildcards: {measurement} a measurement of the configuration.
    """
    input:
        workspace="results/inference/{measurement}/workspace.json",
        description="results/inference/{measurement}/workspace.meta.json",
        fit="results/inference/{measurement}/fit.json",
        code=sources("lhcml.inference.tabulate_yields"),
    output:
        json="results/inference/{measurement}/yields.json",
        csv=report(
            "results/inference/{measurement}/yields.csv",
            caption="../report/inference/yields.rst",
            category="Inference",
            labels={"measurement": "{measurement}", "content": "yields"},
        ),
    log:
        "results/logs/inference/tabulate_yields/{measurement}.log",
    benchmark:
        "results/benchmarks/inference/tabulate_yields/{measurement}.tsv"
    conda:
        "../../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, 20),
        runtime=10,
    params:
        config=measurement_block("measurement", "poi"),
    shell:
        "python -m lhcml.inference.tabulate_yields --workspace {input.workspace:q} --fit {input.fit:q} "
        "--description {input.description:q} --config {params.config:q} --json {output.json:q} --csv {output.csv:q} "
        "> {log:q} 2>&1"


rule plot_fit:
    """Plot a fit.

    Regions before and after the fit with the ratio of data to expectation, pulls and constraints of the nuisance
    parameters, and their correlations.
    Wildcards: {measurement} a measurement of the configuration.
    """
    input:
        fit="results/inference/{measurement}/fit.json",
        yields="results/inference/{measurement}/yields.json",
        code=sources("lhcml.inference.plot_fit"),
    output:
        prefit=report(
            "results/inference/{measurement}/plots/prefit.png",
            caption="../report/inference/prefit.rst",
            category="Inference",
            labels={"measurement": "{measurement}", "content": "regions before the fit"},
        ),
        postfit=report(
            "results/inference/{measurement}/plots/postfit.png",
            caption="../report/inference/postfit.rst",
            category="Inference",
            labels={"measurement": "{measurement}", "content": "regions after the fit"},
        ),
        pulls=report(
            "results/inference/{measurement}/plots/pulls.png",
            caption="../report/inference/pulls.rst",
            category="Inference",
            labels={"measurement": "{measurement}", "content": "pulls"},
        ),
        correlations=report(
            "results/inference/{measurement}/plots/correlations.png",
            caption="../report/inference/correlations.rst",
            category="Inference",
            labels={"measurement": "{measurement}", "content": "correlations"},
        ),
        pdf=expand(
            "results/inference/{measurement}/plots/{plot}.pdf",
            plot=["prefit", "postfit", "pulls", "correlations"],
            allow_missing=True,
        ),
    log:
        "results/logs/inference/plot_fit/{measurement}.log",
    benchmark:
        "results/benchmarks/inference/plot_fit/{measurement}.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=10,
    params:
        labels=plot_labels,
    shell:
        "python -m lhcml.inference.plot_fit --fit {input.fit:q} --yields {input.yields:q} --labels {params.labels:q} "
        "--prefit {output.prefit:q} --postfit {output.postfit:q} --pulls {output.pulls:q} "
        "--correlations {output.correlations:q} > {log:q} 2>&1"


rule plot_limit:
    """Plot the scan of CLs with the limits.

    Observed and expected CLs against the parameter of interest, with bands of one and two standard deviations.
    Wildcards: {measurement} a measurement of the configuration.
    """
    input:
        limit="results/inference/{measurement}/limit.json",
        code=sources("lhcml.inference.plot_limit"),
    output:
        png=report(
            "results/inference/{measurement}/plots/limit.png",
            caption="../report/inference/limit.rst",
            category="Inference",
            labels={"measurement": "{measurement}", "content": "limit"},
        ),
        pdf="results/inference/{measurement}/plots/limit.pdf",
    log:
        "results/logs/inference/plot_limit/{measurement}.log",
    benchmark:
        "results/benchmarks/inference/plot_limit/{measurement}.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=10,
    params:
        labels=plot_labels,
    shell:
        "python -m lhcml.inference.plot_limit --limit {input.limit:q} --labels {params.labels:q} --output {output.png:q} "
        "> {log:q} 2>&1"


rule plot_toys:
    """Plot the pseudo-experiments.

    Fitted values and pulls of the parameter of interest beside their expectation.
    Wildcards: {measurement} a measurement of the configuration.
    """
    input:
        toys="results/inference/{measurement}/toys.json",
        code=sources("lhcml.inference.plot_toys"),
    output:
        png=report(
            "results/inference/{measurement}/plots/toys.png",
            caption="../report/inference/toys.rst",
            category="Inference",
            labels={"measurement": "{measurement}", "content": "pseudo-experiments"},
        ),
        pdf="results/inference/{measurement}/plots/toys.pdf",
    log:
        "results/logs/inference/plot_toys/{measurement}.log",
    benchmark:
        "results/benchmarks/inference/plot_toys/{measurement}.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=10,
    shell:
        "python -m lhcml.inference.plot_toys --toys {input.toys:q} --output {output.png:q} > {log:q} 2>&1"
