# Anomaly detection with rapidity-mass matrices: matrices, autoencoder, regions, search in nine two-object masses.
import shlex


include: "anomaly_pairs_functions.smk"


ANOMALY_PAIRS_TARGETS = expand("results/anomaly/pairs/plots/{region}pb_spectra.png", region=PAIR_REGIONS)
if PAIR_REGIONS:
    ANOMALY_PAIRS_TARGETS += ["results/anomaly/pairs/plots/losses.png"]


rule build_matrices:
    """Build the rapidity-mass matrices of a dataset and the nine two-object masses, from its skims.

    Wildcards: dataset.
    """
    input:
        skims=lambda wildcards: per_chunk(
            "results/skim/{channel}/{dataset}/{chunk}.root", PAIRS["channel"], wildcards.dataset
        ),
        cutflow="results/skim/{channel}/cutflow.json".format(channel=PAIRS["channel"]),
        code=sources("lhcml.anomaly.build_matrices"),
    output:
        events="results/anomaly/pairs/events/{dataset}.parquet",
        summary="results/anomaly/pairs/events/{dataset}.json",
    log:
        "results/logs/anomaly/build_matrices/{dataset}.log",
    benchmark:
        "results/benchmarks/anomaly/build_matrices/{dataset}.tsv"
    conda:
        "../../envs/features.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=runtime(10, seconds_per_mb=2),
    params:
        config=matrix_settings,
    shell:
        "python -m lhcml.anomaly.build_matrices --skims {input.skims:q} --cutflow {input.cutflow:q} "
        "--dataset {wildcards.dataset} --config {params.config:q} --output {output.events:q} "
        "--summary {output.summary:q} > {log:q} 2>&1"


rule train_event_autoencoder:
    """Train the autoencoder on rapidity-mass matrices of data, score the rest, and define anomaly regions by their rate.

    The cells of the nine masses are no inputs. Simulated data are mixed by cross section into events of one weight.
    """
    input:
        events=expand("results/anomaly/pairs/events/{dataset}.parquet", dataset=PAIR_DATASETS),
        code=sources("lhcml.anomaly.train_event_autoencoder"),
    output:
        scores="results/anomaly/pairs/scores.parquet",
        regions="results/anomaly/pairs/regions.json",
    log:
        "results/logs/anomaly/train_event_autoencoder.log",
    benchmark:
        "results/benchmarks/anomaly/train_event_autoencoder/all.tsv"
    conda:
        "../../envs/anomaly.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, mb_per_mb=10),
        runtime=runtime(60, seconds_per_mb=20),
    params:
        data=named_matrices("data"),
        signals=named_matrices("signals"),
        config=event_autoencoder_settings,
        seed=job_seed("train_event_autoencoder"),
    shell:
        "python -m lhcml.anomaly.train_event_autoencoder --data {params.data} --signals {params.signals} "
        "--config {params.config:q} --seed {params.seed} --threads {threads} --scores {output.scores:q} "
        "--regions {output.regions:q} > {log:q} 2>&1"


rule search_pairs:
    """Search the nine two-object masses of an anomaly region: fits, largest excess, limits on Gaussian resonances.

    Wildcards: region (cross section in pb).
    """
    input:
        scores="results/anomaly/pairs/scores.parquet",
        regions="results/anomaly/pairs/regions.json",
        summaries=expand("results/anomaly/pairs/events/{dataset}.json", dataset=PAIRS["data"]),
        code=sources("lhcml.anomaly.search_pairs"),
    output:
        search="results/anomaly/pairs/search/{region}pb.json",
    log:
        "results/logs/anomaly/search_pairs/{region}pb.log",
    benchmark:
        "results/benchmarks/anomaly/search_pairs/{region}pb.tsv"
    wildcard_constraints:
        region=r"[0-9.e+-]+",
    conda:
        "../../envs/anomaly.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500, mb_per_mb=3),
        runtime=runtime(180, seconds_per_mb=3),
    params:
        config=pair_search_settings,
        seed=job_seed("search_pairs", "region"),
    shell:
        "python -m lhcml.anomaly.search_pairs --scores {input.scores:q} --regions {input.regions:q} "
        "--summaries {input.summaries:q} --region {wildcards.region} --config {params.config:q} --seed {params.seed} "
        "--output {output.search:q} > {log:q} 2>&1"


rule plot_pairs:
    """Draw the nine masses of an anomaly region with their fits, and the limits.

    Wildcards: region (cross section in pb).
    """
    input:
        search="results/anomaly/pairs/search/{region}pb.json",
        code=sources("lhcml.anomaly.plot_pairs"),
    output:
        spectra=report(
            "results/anomaly/pairs/plots/{region}pb_spectra.png",
            caption="../report/anomaly/pairs_spectra.rst",
            category="Anomaly",
            subcategory="Two-object masses",
            labels={"region": "{region} pb", "shows": "spectra"},
        ),
        limits=report(
            "results/anomaly/pairs/plots/{region}pb_limits.png",
            caption="../report/anomaly/pairs_limits.rst",
            category="Anomaly",
            subcategory="Two-object masses",
            labels={"region": "{region} pb", "shows": "limits"},
        ),
        spectra_pdf="results/anomaly/pairs/plots/{region}pb_spectra.pdf",
        limits_pdf="results/anomaly/pairs/plots/{region}pb_limits.pdf",
    log:
        "results/logs/anomaly/plot_pairs/{region}pb.log",
    benchmark:
        "results/benchmarks/anomaly/plot_pairs/{region}pb.tsv"
    wildcard_constraints:
        region=r"[0-9.e+-]+",
    conda:
        "../../envs/anomaly.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(20),
    params:
        right=pairs_label,
        kind=pairs_kind,
    shell:
        "python -m lhcml.anomaly.plot_pairs --search {input.search:q} --right {params.right:q} --kind {params.kind:q} "
        "--spectra {output.spectra:q} --limits {output.limits:q} > {log:q} 2>&1"


rule plot_losses:
    """Draw the losses of the autoencoder on rapidity-mass matrices for data and signals, with the anomaly regions."""
    input:
        scores="results/anomaly/pairs/scores.parquet",
        regions="results/anomaly/pairs/regions.json",
        code=sources("lhcml.anomaly.plot_losses"),
    output:
        png=report(
            "results/anomaly/pairs/plots/losses.png",
            caption="../report/anomaly/pairs_losses.rst",
            category="Anomaly",
            subcategory="Two-object masses",
            labels={"region": "all", "shows": "losses"},
        ),
        pdf="results/anomaly/pairs/plots/losses.pdf",
    log:
        "results/logs/anomaly/plot_losses.log",
    benchmark:
        "results/benchmarks/anomaly/plot_losses/all.tsv"
    conda:
        "../../envs/anomaly.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=3),
        runtime=runtime(20, seconds_per_mb=1),
    params:
        right=pairs_label,
        kind=pairs_kind,
    shell:
        "python -m lhcml.anomaly.plot_losses --scores {input.scores:q} --regions {input.regions:q} "
        "--right {params.right:q} --kind {params.kind:q} --output {output.png:q} > {log:q} 2>&1"
