# Inference: fits, rankings, scans, yields and their plots.
INFERENCE_RESULTS_TARGETS = (
    with_result(
        "fit",
        "fit.json",
        "yields.json",
        "yields.csv",
        "plots/prefit.png",
        "plots/postfit.png",
        "plots/pulls.png",
        "plots/correlations.png",
    )
    + with_result("asimov", "asimov.json")
    + with_result("ranking", "ranking.json", "plots/ranking.png", "plots/breakdown.png")
    + with_result("scan", "scan.json", "plots/scan.png")
)


rule fit_workspace:
    """Fit a workspace.

    Maximum likelihood with Minuit: parameters, uncertainties (MINOS where asked for), correlations, goodness of fit, and
    whether it is valid, after how many attempts.
    Wildcards: {measurement} a measurement of the configuration, or a patch of a grid.
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
        mem_mb=memory(1000, mb_per_mb=20),
        runtime=runtime(60, seconds_per_mb=60),
    params:
        config=measurement_block("measurement", "poi", "injected", "fit"),
    shell:
        "python -m lhcml.inference.fit_workspace --workspace {input.workspace:q} --config {params.config:q} "
        "--output {output.fit:q} > {log:q} 2>&1"


rule fit_asimov:
    """Fit Asimov data.

    The expected events at the injected parameter of interest: expected uncertainties, in the format of the fit.
    Wildcards: {measurement} a measurement of the configuration, or a patch of a grid.
    """
    input:
        workspace="results/inference/{measurement}/workspace.json",
        code=sources("lhcml.inference.fit_asimov"),
    output:
        fit="results/inference/{measurement}/asimov.json",
    log:
        "results/logs/inference/fit_asimov/{measurement}.log",
    benchmark:
        "results/benchmarks/inference/fit_asimov/{measurement}.tsv"
    conda:
        "../../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=20),
        runtime=runtime(60, seconds_per_mb=60),
    params:
        config=measurement_block("measurement", "poi", "injected", "fit"),
    shell:
        "python -m lhcml.inference.fit_asimov --workspace {input.workspace:q} --config {params.config:q} "
        "--output {output.fit:q} > {log:q} 2>&1"


rule tabulate_yields:
    """Tabulate expected and observed events before and after the fit.

    Per region, sample and bin with uncertainties (JSON), and their sums (CSV).
    Wildcards: {measurement} a measurement of the configuration, or a patch of a grid.
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
        mem_mb=memory(1000, mb_per_mb=20),
        runtime=runtime(10, seconds_per_mb=10),
    params:
        config=measurement_block("measurement", "poi", "fit"),
    shell:
        "python -m lhcml.inference.tabulate_yields --workspace {input.workspace:q} --fit {input.fit:q} "
        "--description {input.description:q} --config {params.config:q} --json {output.json:q} --csv {output.csv:q} "
        "> {log:q} 2>&1"


rule plot_fit:
    """Plot a fit.

    Regions before and after the fit with the ratio of data to expectation, pulls and constraints of the nuisance
    parameters, and their correlations.
    Wildcards: {measurement} a measurement of the configuration, or a patch of a grid.
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
        runtime=runtime(10),
    params:
        labels=plot_labels,
    shell:
        "python -m lhcml.inference.plot_fit --fit {input.fit:q} --yields {input.yields:q} --labels {params.labels:q} "
        "--prefit {output.prefit:q} --postfit {output.postfit:q} --pulls {output.pulls:q} "
        "--correlations {output.correlations:q} > {log:q} 2>&1"


rule rank_parameters:
    """Rank the parameters by their impact.

    Pulls, constraints, and impacts on the parameter of interest by refits, before and after the fit; its uncertainty by groups.
    Wildcards: {measurement} a measurement of the configuration, or a patch of a grid.
    """
    input:
        workspace="results/inference/{measurement}/workspace.json",
        code=sources("lhcml.inference.rank_parameters"),
    output:
        ranking="results/inference/{measurement}/ranking.json",
    log:
        "results/logs/inference/rank_parameters/{measurement}.log",
    benchmark:
        "results/benchmarks/inference/rank_parameters/{measurement}.tsv"
    conda:
        "../../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=20),
        runtime=runtime(120, seconds_per_mb=120),
    params:
        config=measurement_block("measurement", "poi", "injected", "fit", "ranking"),
    shell:
        "python -m lhcml.inference.rank_parameters --workspace {input.workspace:q} --config {params.config:q} "
        "--output {output.ranking:q} > {log:q} 2>&1"


rule plot_ranking:
    """Plot a ranking and the breakdown of the uncertainty.

    Pulls and impacts of the parameters that matter most; the uncertainty of the parameter of interest by groups.
    Wildcards: {measurement} a measurement of the configuration, or a patch of a grid.
    """
    input:
        ranking="results/inference/{measurement}/ranking.json",
        code=sources("lhcml.inference.plot_ranking"),
    output:
        png=report(
            "results/inference/{measurement}/plots/ranking.png",
            caption="../report/inference/ranking.rst",
            category="Inference",
            labels={"measurement": "{measurement}", "content": "ranking"},
        ),
        breakdown=report(
            "results/inference/{measurement}/plots/breakdown.png",
            caption="../report/inference/breakdown.rst",
            category="Inference",
            labels={"measurement": "{measurement}", "content": "breakdown of the uncertainty"},
        ),
        pdf=expand(
            "results/inference/{measurement}/plots/{plot}.pdf", plot=["ranking", "breakdown"], allow_missing=True
        ),
    log:
        "results/logs/inference/plot_ranking/{measurement}.log",
    benchmark:
        "results/benchmarks/inference/plot_ranking/{measurement}.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        labels=plot_labels,
        config=measurement_block("ranking"),
    shell:
        "python -m lhcml.inference.plot_ranking --ranking {input.ranking:q} --labels {params.labels:q} "
        "--config {params.config:q} --output {output.png:q} --breakdown {output.breakdown:q} > {log:q} 2>&1"


rule scan_likelihood:
    """Scan the profile likelihood.

    Of the parameter of interest, with and without nuisance parameters, of further parameters, and of pairs.
    Wildcards: {measurement} a measurement of the configuration, or a patch of a grid.
    """
    input:
        workspace="results/inference/{measurement}/workspace.json",
        code=sources("lhcml.inference.scan_likelihood"),
    output:
        scan="results/inference/{measurement}/scan.json",
    log:
        "results/logs/inference/scan_likelihood/{measurement}.log",
    benchmark:
        "results/benchmarks/inference/scan_likelihood/{measurement}.tsv"
    conda:
        "../../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=20),
        runtime=runtime(120, seconds_per_mb=120),
    params:
        config=measurement_block("measurement", "poi", "injected", "fit", "scan"),
    shell:
        "python -m lhcml.inference.scan_likelihood --workspace {input.workspace:q} --config {params.config:q} "
        "--output {output.scan:q} > {log:q} 2>&1"


rule plot_scan:
    """Plot likelihood scans.

    A curve for each parameter with lines at one and two standard deviations, contours for each pair.
    Wildcards: {measurement} a measurement of the configuration, or a patch of a grid.
    """
    input:
        scan="results/inference/{measurement}/scan.json",
        code=sources("lhcml.inference.plot_scan"),
    output:
        png=report(
            "results/inference/{measurement}/plots/scan.png",
            caption="../report/inference/scan.rst",
            category="Inference",
            labels={"measurement": "{measurement}", "content": "likelihood scans"},
        ),
        pdf="results/inference/{measurement}/plots/scan.pdf",
    log:
        "results/logs/inference/plot_scan/{measurement}.log",
    benchmark:
        "results/benchmarks/inference/plot_scan/{measurement}.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        labels=plot_labels,
    shell:
        "python -m lhcml.inference.plot_scan --scan {input.scan:q} --labels {params.labels:q} --output {output.png:q} "
        "> {log:q} 2>&1"
