# Autoencoders on single jets, both ways.


include: "anomaly_autoencoders_functions.smk"


AUTOENCODER_METRICS = expand(
    "results/anomaly/autoencoders/{autoencoder}/{trained}/{seed}/metrics.json",
    autoencoder=AUTOENCODER_MODELS,
    trained=AUTOENCODERS["classes"],
    seed=AUTOENCODERS["seeds"],
)
AUTOENCODER_TARGETS = [
    "results/anomaly/autoencoders.json",
    "results/anomaly/plots/autoencoders_roc.png",
] * bool(AUTOENCODER_MODELS)


rule train_autoencoder:
    """Train an autoencoder on the jets of one class and score the test jets of both.

    A plain, variational or normalized autoencoder on images or constituents. Writes the scores (log of the energy, the mean
    squared difference between a jet and its reconstruction), and how well they find the other class.

    Wildcards: autoencoder, trained (class), seed.
    """
    input:
        jets=autoencoder_jets,
        code=sources("lhcml.anomaly.train_autoencoder"),
    output:
        scores="results/anomaly/autoencoders/{autoencoder}/{trained}/{seed}/scores.parquet",
        metrics="results/anomaly/autoencoders/{autoencoder}/{trained}/{seed}/metrics.json",
    log:
        "results/logs/anomaly/train_autoencoder/{autoencoder}_{trained}_{seed}.log",
    benchmark:
        "results/benchmarks/anomaly/train_autoencoder/{autoencoder}_{trained}_{seed}.tsv"
    wildcard_constraints:
        autoencoder=any_of(AUTOENCODER_MODELS),
        trained=any_of(AUTOENCODERS["classes"]),
    conda:
        "../../envs/anomaly.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, mb_per_mb=3),
        runtime=runtime(120, seconds_per_mb=2),
    params:
        jets=autoencoder_options,
        config=autoencoder_settings,
        seed=job_seed("train_autoencoder", "autoencoder", "trained", "seed"),
    shell:
        "python -m lhcml.anomaly.train_autoencoder {params.jets} --trained {wildcards.trained} --config {params.config:q} "
        "--autoencoder {wildcards.autoencoder} --seed {params.seed} --threads {threads} --scores {output.scores:q} "
        "--metrics {output.metrics:q} > {log:q} 2>&1"


rule compare_autoencoders:
    """Compare all autoencoders in both directions with each other and with published figures."""
    input:
        metrics=AUTOENCODER_METRICS,
        published=os.path.relpath(ROOT / "src/lhcml/anomaly/published_autoencoders.json"),
        code=sources("lhcml.anomaly.compare_autoencoders"),
    output:
        "results/anomaly/autoencoders.json",
    log:
        "results/logs/anomaly/compare_autoencoders.log",
    benchmark:
        "results/benchmarks/anomaly/compare_autoencoders/all.tsv"
    localrule: True
    conda:
        "../../envs/anomaly.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    shell:
        "python -m lhcml.anomaly.compare_autoencoders --metrics {input.metrics:q} --published {input.published:q} "
        "--output {output:q} > {log:q} 2>&1"


rule plot_autoencoders:
    """Draw the autoencoders both ways: ROC curves, mean score against the jet mass, energies during the training."""
    input:
        metrics=AUTOENCODER_METRICS,
        code=sources("lhcml.anomaly.plot_autoencoders"),
    output:
        roc=report(
            "results/anomaly/plots/autoencoders_roc.png",
            caption="../report/anomaly/autoencoders.rst",
            category="Anomaly search",
            labels={"method": "autoencoders", "shows": "ROC curves"},
        ),
        mass=report(
            "results/anomaly/plots/autoencoders_mass.png",
            caption="../report/anomaly/autoencoders.rst",
            category="Anomaly search",
            labels={"method": "autoencoders", "shows": "score against jet mass"},
        ),
        history=report(
            "results/anomaly/plots/autoencoders_history.png",
            caption="../report/anomaly/autoencoders.rst",
            category="Anomaly search",
            labels={"method": "autoencoders", "shows": "energies during the training"},
        ),
        pdf=expand("results/anomaly/plots/autoencoders_{figure}.pdf", figure=["roc", "mass", "history"]),
    log:
        "results/logs/anomaly/plot_autoencoders.log",
    benchmark:
        "results/benchmarks/anomaly/plot_autoencoders/all.tsv"
    conda:
        "../../envs/anomaly.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(20),
    params:
        label=autoencoder_label,
    shell:
        "python -m lhcml.anomaly.plot_autoencoders --metrics {input.metrics:q} --right={params.label:q} "
        "--roc {output.roc:q} --mass {output.mass:q} --history {output.history:q} > {log:q} 2>&1"
