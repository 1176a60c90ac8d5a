# Inference: fits, rankings, scans, yields and their plots.
INFERENCE_RESULTS_TARGETS = with_result(
    "fit",
    "fit.json",
    "yields.json",
    "yields.csv",
    "plots/prefit.png",
    "plots/postfit.png",
    "plots/pulls.png",
    "plots/correlations.png",
)


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
