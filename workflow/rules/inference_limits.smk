# Inference: limits, significances, grids of signals.
INFERENCE_LIMITS_TARGETS = with_result("limit", "limit.json", "plots/limit.png")


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
