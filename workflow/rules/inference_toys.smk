# Inference: pseudo-experiments, tests of the fit, toys against asymptotics.
INFERENCE_TOYS_TARGETS = with_result("toys", "toys.json", "plots/toys.png")


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
