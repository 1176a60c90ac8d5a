# What is made of the points of a model: summary, Pareto fronts, detection of signals.


FIRMWARE_SUMMARIES = expand("results/firmware/{model}/summary.json", model=FIRMWARE_MODELS)
FIRMWARE_TARGETS = (
    FIRMWARE_SUMMARIES
    + expand("results/firmware/{model}/summary.csv", model=FIRMWARE_MODELS)
    + expand("results/firmware/{model}/plots/{shows}.png", model=FIRMWARE_MODELS, shows=["pareto", "quantisation"])
    + expand("results/firmware/{model}/detection.csv", model=firmware_models(*ANOMALY_FAMILIES))
    + expand("results/firmware/{model}/plots/roc.png", model=firmware_models(*ANOMALY_FAMILIES))
)


rule summarise_firmware:
    """Gather areas under the curve, gates, latency and resources of all points of a model.

    Wildcards: model.
    """
    input:
        points=firmware_points_files,
        published=os.path.relpath(ROOT / "src/lhcml/firmware/published.json"),
        code=sources("lhcml.firmware.summarise_firmware"),
    output:
        json="results/firmware/{model}/summary.json",
        csv=report(
            "results/firmware/{model}/summary.csv",
            caption="../report/firmware/summary.rst",
            category="Firmware",
            labels={"model": "{model}", "shows": "table of points"},
        ),
    log:
        "results/logs/firmware/summarise_firmware/{model}.log",
    benchmark:
        "results/benchmarks/firmware/summarise_firmware/{model}.tsv"
    wildcard_constraints:
        model=one_of(FIRMWARE_MODELS),
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=3),
        runtime=runtime(30, seconds_per_mb=2),
    params:
        folders=lambda wildcards: [
            f"results/firmware/{wildcards.model}/{point}" for point in ordered_points(wildcards.model)
        ],
        config=summary_settings,
        seed=job_seed("summarise_firmware", "model"),
    shell:
        "python -m lhcml.firmware.summarise_firmware --points {params.folders:q} --config {params.config:q} "
        "--published {input.published:q} --seed {params.seed} --json {output.json:q} --csv {output.csv:q} > {log:q} 2>&1"


rule plot_pareto:
    """Draw area under the curve and latency of all points against look-up tables, published figures beside.

    Wildcards: model.
    """
    input:
        summary="results/firmware/{model}/summary.json",
        code=sources("lhcml.firmware.plot_pareto"),
    output:
        png=report(
            "results/firmware/{model}/plots/pareto.png",
            caption="../report/firmware/pareto.rst",
            category="Firmware",
            labels={"model": "{model}", "shows": "Pareto front"},
        ),
        pdf="results/firmware/{model}/plots/pareto.pdf",
    log:
        "results/logs/firmware/plot_pareto/{model}.log",
    benchmark:
        "results/benchmarks/firmware/plot_pareto/{model}.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    shell:
        "python -m lhcml.firmware.plot_pareto --summary {input.summary:q} --output {output.png:q} > {log:q} 2>&1"


rule plot_quantisation:
    """Draw the ROC curves of the float and the quantised score at the chosen point, and their ratio.

    Wildcards: model.
    """
    input:
        scores=chosen_file("scores.parquet"),
        code=sources("lhcml.firmware.plot_quantisation"),
    output:
        png=report(
            "results/firmware/{model}/plots/quantisation.png",
            caption="../report/firmware/quantisation.rst",
            category="Firmware",
            labels={"model": "{model}", "shows": "float and quantised"},
        ),
        pdf="results/firmware/{model}/plots/quantisation.pdf",
    log:
        "results/logs/firmware/plot_quantisation/{model}.log",
    benchmark:
        "results/benchmarks/firmware/plot_quantisation/{model}.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=3),
        runtime=runtime(10),
    params:
        label=lambda wildcards: f"{firmware_label(wildcards.model)}, {chosen_point(wildcards.model)}",
    shell:
        "python -m lhcml.firmware.plot_quantisation --scores {input.scores:q} --label {params.label:q} "
        "--output {output.png:q} > {log:q} 2>&1"


rule evaluate_detection:
    """Evaluate an anomaly trigger on the test split: areas, signal efficiencies at background rates, what it adds to a menu.

    The float score, the quantised score of the chosen point and the sum of transverse momenta beside each other.
    Wildcards: model.
    """
    input:
        scores=chosen_file("scores.parquet"),
        inputs=firmware_inputs(*FIRMWARE_SAMPLES),
        code=sources("lhcml.firmware.evaluate_detection"),
    output:
        json="results/firmware/{model}/detection.json",
        csv=report(
            "results/firmware/{model}/detection.csv",
            caption="../report/firmware/detection.rst",
            category="Firmware",
            labels={"model": "{model}", "shows": "detection, table"},
        ),
    log:
        "results/logs/firmware/evaluate_detection/{model}.log",
    benchmark:
        "results/benchmarks/firmware/evaluate_detection/{model}.tsv"
    wildcard_constraints:
        model=one_of(firmware_models(*ANOMALY_FAMILIES)),
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=4),
        runtime=runtime(60, seconds_per_mb=5),
    params:
        point=lambda wildcards: chosen_point(wildcards.model),
        config=detection_settings,
        seed=job_seed("evaluate_detection", "model"),
    shell:
        "python -m lhcml.firmware.evaluate_detection --scores {params.point}={input.scores:q} --inputs {input.inputs:q} "
        "--config {params.config:q} --seed {params.seed} --output {output.json:q} --table {output.csv:q} > {log:q} 2>&1"


rule plot_detection:
    """Draw an anomaly trigger: ROC curves, scores of the processes, rates against thresholds, what it adds to a menu.

    Wildcards: model.
    """
    input:
        detection="results/firmware/{model}/detection.json",
        published=os.path.relpath(ROOT / "src/lhcml/firmware/published_detection.json"),
        code=sources("lhcml.firmware.plot_detection"),
    output:
        roc=report(
            "results/firmware/{model}/plots/roc.png",
            caption="../report/firmware/roc.rst",
            category="Firmware",
            labels={"model": "{model}", "shows": "detection, ROC curves"},
        ),
        scores=report(
            "results/firmware/{model}/plots/scores.png",
            caption="../report/firmware/scores.rst",
            category="Firmware",
            labels={"model": "{model}", "shows": "detection, scores"},
        ),
        rates=report(
            "results/firmware/{model}/plots/rates.png",
            caption="../report/firmware/rates.rst",
            category="Firmware",
            labels={"model": "{model}", "shows": "detection, rates"},
        ),
        pure=report(
            "results/firmware/{model}/plots/pure.png",
            caption="../report/firmware/pure.rst",
            category="Firmware",
            labels={"model": "{model}", "shows": "detection, added to a menu"},
        ),
        roc_pdf="results/firmware/{model}/plots/roc.pdf",
        scores_pdf="results/firmware/{model}/plots/scores.pdf",
        rates_pdf="results/firmware/{model}/plots/rates.pdf",
        pure_pdf="results/firmware/{model}/plots/pure.pdf",
    log:
        "results/logs/firmware/plot_detection/{model}.log",
    benchmark:
        "results/benchmarks/firmware/plot_detection/{model}.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        right=lambda wildcards: config["channels"][firmware_channel(wildcards.model)].get("label", ""),
    shell:
        "python -m lhcml.firmware.plot_detection --detection {input.detection:q} --right {params.right:q} "
        "--roc {output.roc:q} --scores {output.scores:q} --rates {output.rates:q} --pure {output.pure:q} > {log:q} 2>&1"
