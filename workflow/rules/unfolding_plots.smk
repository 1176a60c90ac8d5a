# Comparison, tests and figures of the unfolding.


rule compare_methods:
    """Compare all methods with the truth and with published figures, for each observable.

    Triangular discriminator, Wasserstein distance and chi-square with their spreads, coverage, bottom-line test. Collision
    data have no truth: there the simulation is what results are compared with.
    """
    input:
        spectra=expand("results/unfolding/{method}/spectra.json", method=UNFOLDING_METHODS),
        simulation="results/unfolding/simulation.parquet",
        data="results/unfolding/data.parquet",
        published=os.path.relpath(ROOT / "src/lhcml/unfolding/published.json"),
        code=sources("lhcml.unfolding.compare_methods"),
    output:
        json="results/unfolding/comparison.json",
        csv=report(
            "results/unfolding/comparison.csv",
            caption="../report/unfolding/comparison_table.rst",
            category="Unfolding",
            labels={"method": "all", "shows": "table"},
        ),
        tex="results/unfolding/comparison.tex",
    log:
        "results/logs/unfolding/compare_methods.log",
    benchmark:
        "results/benchmarks/unfolding/compare_methods/all.tsv"
    conda:
        "../../envs/unfolding.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=3),
        runtime=runtime(30, seconds_per_mb=2),
    params:
        config=comparison_settings,
    shell:
        "python -m lhcml.unfolding.compare_methods --spectra {input.spectra:q} --simulation {input.simulation:q} "
        "--data {input.data:q} --published {input.published:q} --config {params.config:q} --json {output.json:q} "
        "--csv {output.csv:q} --tex {output.tex:q} > {log:q} 2>&1"


rule check_closure:
    """Test a method on the simulation alone: closure, another truth, coverage of the bootstrap.

    One half of the simulated events unfolds the other. For coverage that half is cut into disjoint samples, and the
    bootstrap of the first tells the uncertainty of all.

    Wildcards: method.
    """
    input:
        simulation="results/unfolding/simulation.parquet",
        code=sources("lhcml.unfolding.check_closure"),
    output:
        closure="results/unfolding/{method}/closure.json",
    log:
        "results/logs/unfolding/check_closure/{method}.log",
    benchmark:
        "results/benchmarks/unfolding/check_closure/{method}.tsv"
    wildcard_constraints:
        method=one_of(UNBINNED),
    conda:
        "../../envs/unfolding.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500, mb_per_mb=10),
        runtime=runtime(180, seconds_per_mb=60),
    params:
        config=closure_settings,
        seed=job_seed("check_closure", "method"),
    shell:
        "python -m lhcml.unfolding.check_closure --simulation {input.simulation:q} --config {params.config:q} "
        "--seed {params.seed} --threads {threads} --output {output.closure:q} > {log:q} 2>&1"


rule plot_spectra:
    """Draw the spectra of all methods with their ratios to the truth, and the comparison of the methods."""
    input:
        spectra=expand("results/unfolding/{method}/spectra.json", method=UNFOLDING_METHODS),
        comparison="results/unfolding/comparison.json",
        code=sources("lhcml.unfolding.plot_spectra"),
    output:
        spectra=report(
            "results/unfolding/plots/spectra.png",
            caption="../report/unfolding/spectra.rst",
            category="Unfolding",
            labels={"method": "all", "shows": "spectra"},
        ),
        comparison=report(
            "results/unfolding/plots/comparison.png",
            caption="../report/unfolding/comparison.rst",
            category="Unfolding",
            labels={"method": "all", "shows": "comparison"},
        ),
        pdf=expand("results/unfolding/plots/{plot}.pdf", plot=["spectra", "comparison"]),
    log:
        "results/logs/unfolding/plot_spectra.log",
    benchmark:
        "results/benchmarks/unfolding/plot_spectra/all.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(20),
    params:
        config=as_json({"systematics": UNFOLDING["systematics"]}),
        label=unfolding_label(),
    shell:
        "python -m lhcml.unfolding.plot_spectra --spectra {input.spectra:q} --comparison {input.comparison:q} "
        "--config {params.config:q} --right={params.label:q} --output {output.spectra:q} "
        "--comparison-plot {output.comparison:q} > {log:q} 2>&1"


rule plot_diagnostics:
    """Draw what happened in the iterations of a method: weights, normalisation, losses, calibration, change.

    Wildcards: method.
    """
    input:
        diagnostics=of_groups("results/unfolding/{method}/diagnostics/{group}.json"),
        spectra="results/unfolding/{method}/spectra.json",
        weights="results/unfolding/{method}/weights/nominal.parquet",
        simulation="results/unfolding/simulation.parquet",
        code=sources("lhcml.unfolding.plot_diagnostics"),
    output:
        png=report(
            "results/unfolding/plots/{method}_diagnostics.png",
            caption="../report/unfolding/diagnostics.rst",
            category="Unfolding",
            labels={"method": "{method}", "shows": "diagnostics"},
        ),
        pdf="results/unfolding/plots/{method}_diagnostics.pdf",
    log:
        "results/logs/unfolding/plot_diagnostics/{method}.log",
    benchmark:
        "results/benchmarks/unfolding/plot_diagnostics/{method}.tsv"
    wildcard_constraints:
        method=one_of(UNBINNED),
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=3),
        runtime=runtime(20, seconds_per_mb=1),
    params:
        label=unfolding_label(),
    shell:
        "python -m lhcml.unfolding.plot_diagnostics --diagnostics {input.diagnostics:q} --spectra {input.spectra:q} "
        "--weights {input.weights:q} --simulation {input.simulation:q} --right={params.label:q} --output {output.png:q} "
        "> {log:q} 2>&1"


rule plot_closure:
    """Draw the tests of the unbinned methods: closure, another truth, coverage."""
    input:
        closure=expand("results/unfolding/{method}/closure.json", method=TESTED),
        code=sources("lhcml.unfolding.plot_closure"),
    output:
        png=report(
            "results/unfolding/plots/closure.png",
            caption="../report/unfolding/tests.rst",
            category="Unfolding",
            labels={"method": "all tested", "shows": "closure, stress, coverage"},
        ),
        pdf="results/unfolding/plots/closure.pdf",
    log:
        "results/logs/unfolding/plot_closure.log",
    benchmark:
        "results/benchmarks/unfolding/plot_closure/all.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(20),
    params:
        label=unfolding_label(),
    shell:
        "python -m lhcml.unfolding.plot_closure --closure {input.closure:q} --right={params.label:q} "
        "--output {output.png:q} > {log:q} 2>&1"
