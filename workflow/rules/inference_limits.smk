# Inference: limits, significances, grids of signals.
INFERENCE_LIMITS_TARGETS = (
    with_result("limit", "limit.json")
    + [file for file in with_result("limit", "plots/limit.png") if "/patches/" not in file]
    + with_result("significance", "significance.json")
    + grids_with_limits("limits.json", "plots/limits.png")
)


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
        mem_mb=memory(1000, mb_per_mb=20),
        runtime=runtime(60, seconds_per_mb=60),
    params:
        config=measurement_block("measurement", "poi", "limit", "fit", "injected"),
    shell:
        "python -m lhcml.inference.scan_limit --workspace {input.workspace:q} --config {params.config:q} "
        "--output {output.limit:q} > {log:q} 2>&1"


rule compute_significance:
    """Compute the discovery p-value and significance.

    Asymptotic q0; observed, and expected for the injected value of the parameter of interest.
    Wildcards: {measurement} a measurement of the configuration.
    """
    input:
        workspace="results/inference/{measurement}/workspace.json",
        code=sources("lhcml.inference.compute_significance"),
    output:
        significance="results/inference/{measurement}/significance.json",
    log:
        "results/logs/inference/compute_significance/{measurement}.log",
    benchmark:
        "results/benchmarks/inference/compute_significance/{measurement}.tsv"
    conda:
        "../../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=20),
        runtime=runtime(30, seconds_per_mb=60),
    params:
        config=measurement_block("measurement", "poi", "injected", "fit"),
    shell:
        "python -m lhcml.inference.compute_significance --workspace {input.workspace:q} --config {params.config:q} "
        "--output {output.significance:q} > {log:q} 2>&1"


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
        runtime=runtime(10),
    params:
        labels=plot_labels,
    shell:
        "python -m lhcml.inference.plot_limit --limit {input.limit:q} --labels {params.labels:q} --output {output.png:q} "
        "> {log:q} 2>&1"


rule build_resonance:
    """Build the background workspace and a signal patch a mass from the spectrum that an anomaly search selected.

    The background function enters with its eigen-variations, the signal as a visible cross section of 1 fb at each mass.
    Wildcards: {grid} a measurement of the configuration with `resonance`.
    """
    input:
        search=resonance_search,
        info=resonance_mixture,
        code=sources("lhcml.inference.build_resonance"),
    output:
        background="results/inference/{grid}/background.json",
        patchset="results/inference/{grid}/patchset.json",
    log:
        "results/logs/inference/build_resonance/{grid}.log",
    benchmark:
        "results/benchmarks/inference/build_resonance/{grid}.tsv"
    wildcard_constraints:
        grid=measurements_from("resonance"),
    localrule: True
    conda:
        "../../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        config=resonance_settings,
    shell:
        "python -m lhcml.inference.build_resonance --search {input.search:q} --info {input.info:q} "
        "--config {params.config:q} --background {output.background:q} --patchset {output.patchset:q} > {log:q} 2>&1"


rule collect_limits:
    """Collect the limits of a grid of signals, with the ranges that are excluded.

    Wildcards: {grid} a measurement of the configuration with `patchset` or `resonance`.
    """
    input:
        patchset="results/inference/{grid}/patchset.json",
        limits=grid_limits,
        code=sources("lhcml.inference.collect_limits"),
    output:
        limits="results/inference/{grid}/limits.json",
    log:
        "results/logs/inference/collect_limits/{grid}.log",
    benchmark:
        "results/benchmarks/inference/collect_limits/{grid}.tsv"
    wildcard_constraints:
        grid=measurements_from("patchset", "resonance"),
    localrule: True
    conda:
        "../../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        config=grid_settings,
    shell:
        "python -m lhcml.inference.collect_limits --patchset {input.patchset:q} --limits {input.limits:q} "
        "--config {params.config:q} --output {output.limits:q} > {log:q} 2>&1"


rule plot_grid:
    """Plot the limits of a grid of signals: against a mass with bands, or as an exclusion contour in a plane.

    Wildcards: {grid} a measurement of the configuration with `patchset` or `resonance`.
    """
    input:
        limits="results/inference/{grid}/limits.json",
        code=sources("lhcml.inference.plot_grid"),
    output:
        png=report(
            "results/inference/{grid}/plots/limits.png",
            caption="../report/inference/limits.rst",
            category="Inference",
            labels={"measurement": "{grid}", "content": "limits of all signals"},
        ),
        pdf="results/inference/{grid}/plots/limits.pdf",
    log:
        "results/logs/inference/plot_grid/{grid}.log",
    benchmark:
        "results/benchmarks/inference/plot_grid/{grid}.tsv"
    wildcard_constraints:
        grid=measurements_from("patchset", "resonance"),
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        labels=grid_labels,
    shell:
        "python -m lhcml.inference.plot_grid --limits {input.limits:q} --labels {params.labels:q} --output {output.png:q} "
        "> {log:q} 2>&1"
