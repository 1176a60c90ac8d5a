# Inference: pseudo-experiments, linearity, goodness of fit, toys against asymptotics.
INFERENCE_TOYS_TARGETS = [
    file for ensemble in TOY_ENSEMBLES for file in with_result(ensemble, f"{ensemble}.json", f"plots/{ensemble}.png")
]


rule throw_toys:
    """Throw and fit one batch of pseudo-experiments.

    Draws main and auxiliary data from the model, number i from the seed sequence (seed, i) whatever the batches, and fits
    them all at once.
    Wildcards: {measurement} a measurement of the configuration; {ensemble} toys, linearity, goodness_of_fit or toy_limit;
    {batch} the batch, from 0.
    """
    input:
        workspace="results/inference/{measurement}/workspace.json",
        code=sources("lhcml.inference.throw_toys"),
    output:
        toys="results/inference/{measurement}/toys/{ensemble}_{batch}.json",
    log:
        "results/logs/inference/throw_toys/{measurement}_{ensemble}_{batch}.log",
    benchmark:
        "results/benchmarks/inference/throw_toys/{measurement}_{ensemble}_{batch}.tsv"
    wildcard_constraints:
        ensemble=one_of(TOY_ENSEMBLES),
        batch=r"\d+",
    conda:
        "../../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500, mb_per_mb=20),
        runtime=runtime(180, seconds_per_mb=120),
    params:
        config=toy_block,
        seed=job_seed("throw_toys", "measurement", "ensemble"),
    shell:
        "python -m lhcml.inference.throw_toys --workspace {input.workspace:q} --config {params.config:q} "
        "--ensemble {wildcards.ensemble} --batch {wildcards.batch} --seed {params.seed} --output {output.toys:q} "
        "> {log:q} 2>&1"


rule summarise_toys:
    """Summarise all batches of an ensemble of pseudo-experiments, and draw it.

    toys: bias, pull, coverage. linearity: fitted against injected. goodness_of_fit: saturated statistic. toy_limit: CLs and
    limits beside the asymptotic ones. Failed fits are counted; more than 5 % make the result not valid.
    Wildcards: {measurement} a measurement of the configuration; {ensemble} toys, linearity, goodness_of_fit or toy_limit.
    """
    input:
        batches=toy_batches,
        code=sources("lhcml.inference.summarise_toys"),
    output:
        json="results/inference/{measurement}/{ensemble}.json",
        png=report(
            "results/inference/{measurement}/plots/{ensemble}.png",
            caption="../report/inference/toys.rst",
            category="Inference",
            labels={"measurement": "{measurement}", "content": "{ensemble}"},
        ),
        pdf="results/inference/{measurement}/plots/{ensemble}.pdf",
    log:
        "results/logs/inference/summarise_toys/{measurement}_{ensemble}.log",
    benchmark:
        "results/benchmarks/inference/summarise_toys/{measurement}_{ensemble}.tsv"
    wildcard_constraints:
        ensemble=one_of(TOY_ENSEMBLES),
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=10),
        runtime=runtime(30, seconds_per_mb=2),
    params:
        settings=toy_settings,
        labels=plot_labels,
    shell:
        "python -m lhcml.inference.summarise_toys --batches {input.batches:q} --settings {params.settings:q} "
        "--labels {params.labels:q} --output {output.json:q} --plot {output.png:q} > {log:q} 2>&1"
