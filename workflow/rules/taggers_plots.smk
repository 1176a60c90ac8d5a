# Figures of taggers, and what the stage makes.


TAGGERS_TARGETS = taggers_targets()


rule plot_taggers:
    """Draw the ROC curves of all taggers beside published working points.

    Background rejection against signal efficiency on the test split: median and range over seeds.
    """
    input:
        scores=all_trainings(
            "results/taggers/{tagger}/{seed}/scores/{dataset}/nominal.parquet",
            dataset=config["taggers"]["signal"] + config["taggers"]["background"],
        ),
        comparison="results/taggers/comparison.json",
        code=sources("lhcml.taggers.plot_taggers"),
    output:
        png=report(
            "results/taggers/plots/roc.png",
            caption="../report/taggers/roc.rst",
            category="Taggers",
            labels={"shows": "ROC curves", "tagger": "all"},
        ),
        pdf="results/taggers/plots/roc.pdf",
    log:
        "results/logs/taggers/plot_taggers/all.log",
    benchmark:
        "results/benchmarks/taggers/plot_taggers/all.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=10),
        runtime=runtime(10, seconds_per_mb=2),
    params:
        config=as_json(
            {
                "seeds": {name: seeds_of(name) for name in TAGGERS},
                "signal": config["taggers"]["signal"],
                "background": config["taggers"]["background"],
                "label": energy_label() if TAGGERS else "",
            }
        ),
    shell:
        "python -m lhcml.taggers.plot_taggers --folder results/taggers --comparison {input.comparison:q} "
        "--config {params.config:q} --output {output.png:q} > {log:q} 2>&1"


rule plot_calibration:
    """Draw how far the scores of all taggers are from probabilities, before and after a temperature.

    Share of signal jets minus score against the score, at equal class weights: means over seeds.
    """
    input:
        metrics=all_trainings("results/taggers/{tagger}/{seed}/metrics.json"),
        comparison="results/taggers/comparison.json",
        code=sources("lhcml.taggers.plot_calibration"),
    output:
        png=report(
            "results/taggers/plots/calibration.png",
            caption="../report/taggers/calibration.rst",
            category="Taggers",
            labels={"shows": "calibration", "tagger": "all"},
        ),
        pdf="results/taggers/plots/calibration.pdf",
    log:
        "results/logs/taggers/plot_calibration/all.log",
    benchmark:
        "results/benchmarks/taggers/plot_calibration/all.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        right=energy_label() if TAGGERS else "",
    shell:
        "python -m lhcml.taggers.plot_calibration --metrics {input.metrics:q} --comparison {input.comparison:q} "
        "--right={params.right:q} --output {output.png:q} "
        "> {log:q} 2>&1"


rule plot_costs:
    """Draw the rejection of all taggers against what they cost: operations a jet and parameters."""
    input:
        comparison="results/taggers/comparison.json",
        code=sources("lhcml.taggers.plot_costs"),
    output:
        png=report(
            "results/taggers/plots/costs.png",
            caption="../report/taggers/costs.rst",
            category="Taggers",
            labels={"shows": "rejection and cost", "tagger": "all"},
        ),
        pdf="results/taggers/plots/costs.pdf",
    log:
        "results/logs/taggers/plot_costs/all.log",
    benchmark:
        "results/benchmarks/taggers/plot_costs/all.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        right=energy_label() if TAGGERS else "",
    shell:
        "python -m lhcml.taggers.plot_costs --comparison {input.comparison:q} --right={params.right:q} --output {output.png:q} "
        "> {log:q} 2>&1"


rule plot_robustness:
    """Draw how AUC and rejection of all taggers change under the shifts of `taggers: robustness:`."""
    input:
        robustness=robustness_files(),
        comparison="results/taggers/comparison.json",
        code=sources("lhcml.taggers.plot_robustness"),
    output:
        png=report(
            "results/taggers/plots/robustness.png",
            caption="../report/taggers/robustness.rst",
            category="Taggers",
            labels={"shows": "robustness", "tagger": "all"},
        ),
        pdf="results/taggers/plots/robustness.pdf",
    log:
        "results/logs/taggers/plot_robustness/all.log",
    benchmark:
        "results/benchmarks/taggers/plot_robustness/all.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        right=energy_label() if TAGGERS else "",
    shell:
        "python -m lhcml.taggers.plot_robustness --robustness {input.robustness:q} --comparison {input.comparison:q} "
        "--right={params.right:q} --output {output.png:q} "
        "> {log:q} 2>&1"


rule plot_learning_curves:
    """Draw AUC and rejection against the number of training jets, and write the numbers.

    For the taggers and sizes of `taggers: learning_curve:`, and all training jets.
    """
    input:
        metrics=learning_curve_files("metrics.json"),
        meta=learning_curve_files("model.meta.json"),
        published=os.path.relpath(ROOT / "src/lhcml/taggers/published_small_samples.json"),
        code=sources("lhcml.taggers.plot_learning_curves"),
    output:
        png=report(
            "results/taggers/plots/learning_curves.png",
            caption="../report/taggers/learning_curves.rst",
            category="Taggers",
            labels={"shows": "learning curves", "tagger": "all"},
        ),
        pdf="results/taggers/plots/learning_curves.pdf",
        json="results/taggers/learning_curves.json",
    log:
        "results/logs/taggers/plot_learning_curves/all.log",
    benchmark:
        "results/benchmarks/taggers/plot_learning_curves/all.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        labels=as_json({name: tagger_label(name) for name in config["taggers"]["learning_curve"]["taggers"]}),
        right=energy_label() if TAGGERS else "",
    shell:
        "python -m lhcml.taggers.plot_learning_curves --metrics {input.metrics:q} --published {input.published:q} "
        "--labels {params.labels:q} --right={params.right:q} --json {output.json:q} --output {output.png:q} "
        "> {log:q} 2>&1"


rule plot_scores:
    """Draw the scores that a tagger gives to both classes, on test and on training jets.

    Wildcards: {tagger} a tagger of the configuration.
    """
    input:
        signal=all_seeds(tagger_scores("signal", "{seed}")),
        background=all_seeds(tagger_scores("background", "{seed}")),
        code=sources("lhcml.taggers.plot_scores"),
    output:
        png=report(
            "results/taggers/plots/{tagger}_scores.png",
            caption="../report/taggers/scores.rst",
            category="Taggers",
            labels={"shows": "scores", "tagger": "{tagger}"},
        ),
        pdf="results/taggers/plots/{tagger}_scores.pdf",
    log:
        "results/logs/taggers/plot_scores/{tagger}.log",
    benchmark:
        "results/benchmarks/taggers/plot_scores/{tagger}.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=10),
        runtime=runtime(10, seconds_per_mb=2),
    params:
        seeds=lambda wildcards: seeds_of(wildcards.tagger),
        signal=config["taggers"]["signal"],
        background=config["taggers"]["background"],
        label=lambda wildcards: tagger_label(wildcards.tagger),
        right=lambda wildcards: energy_label(),
    shell:
        "python -m lhcml.taggers.plot_scores --folder results/taggers/{wildcards.tagger:q} --seeds {params.seeds} "
        "--signal {params.signal:q} --background {params.background:q} --label={params.label:q} --right={params.right:q} "
        "--output {output.png:q} > {log:q} 2>&1"


rule plot_sculpting:
    """Draw the mass of background jets that pass cuts on the score of a tagger.

    Wildcards: {tagger} a tagger of the configuration.
    """
    input:
        signal=all_seeds(tagger_scores("signal", "{seed}")),
        background=all_seeds(tagger_scores("background", "{seed}")),
        metrics=all_seeds("results/taggers/{tagger}/{seed}/metrics.json"),
        jets="results/taggers/test_jets.parquet",
        code=sources("lhcml.taggers.plot_sculpting"),
    output:
        png=report(
            "results/taggers/plots/{tagger}_mass.png",
            caption="../report/taggers/mass.rst",
            category="Taggers",
            labels={"shows": "mass of background jets", "tagger": "{tagger}"},
        ),
        pdf="results/taggers/plots/{tagger}_mass.pdf",
    log:
        "results/logs/taggers/plot_sculpting/{tagger}.log",
    benchmark:
        "results/benchmarks/taggers/plot_sculpting/{tagger}.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=10),
        runtime=runtime(10, seconds_per_mb=2),
    params:
        seeds=lambda wildcards: seeds_of(wildcards.tagger),
        signal=config["taggers"]["signal"],
        background=config["taggers"]["background"],
        label=lambda wildcards: tagger_label(wildcards.tagger),
        right=lambda wildcards: energy_label(),
    shell:
        "python -m lhcml.taggers.plot_sculpting --folder results/taggers/{wildcards.tagger:q} --seeds {params.seeds} "
        "--signal {params.signal:q} --background {params.background:q} "
        "--jets {input.jets:q} --label={params.label:q} --right={params.right:q} "
        "--output {output.png:q} > {log:q} 2>&1"


rule plot_history:
    """Draw loss and AUC of a tagger during its training.

    Wildcards: {tagger} a tagger that is trained here.
    """
    input:
        meta=all_seeds("results/taggers/{tagger}/{seed}/model.meta.json"),
        code=sources("lhcml.taggers.plot_history"),
    output:
        png=report(
            "results/taggers/plots/{tagger}_history.png",
            caption="../report/taggers/history.rst",
            category="Taggers",
            labels={"shows": "training history", "tagger": "{tagger}"},
        ),
        pdf="results/taggers/plots/{tagger}_history.pdf",
    log:
        "results/logs/taggers/plot_history/{tagger}.log",
    benchmark:
        "results/benchmarks/taggers/plot_history/{tagger}.tsv"
    wildcard_constraints:
        tagger=taggers_of(is_trained),
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        label=lambda wildcards: tagger_label(wildcards.tagger),
        right=lambda wildcards: energy_label(),
    shell:
        "python -m lhcml.taggers.plot_history --meta {input.meta:q} --label={params.label:q} --right={params.right:q} "
        "--output {output.png:q} > {log:q} 2>&1"


rule plot_importance:
    """Draw the importance of the features of boosted trees.

    Share of each feature in the total gain: mean and range over seeds.
    Wildcards: {tagger} a tagger of family bdt.
    """
    input:
        meta=all_seeds("results/taggers/{tagger}/{seed}/model.meta.json"),
        code=sources("lhcml.taggers.plot_importance"),
    output:
        png=report(
            "results/taggers/plots/{tagger}_importance.png",
            caption="../report/taggers/importance.rst",
            category="Taggers",
            labels={"shows": "feature importance", "tagger": "{tagger}"},
        ),
        pdf="results/taggers/plots/{tagger}_importance.pdf",
    log:
        "results/logs/taggers/plot_importance/{tagger}.log",
    benchmark:
        "results/benchmarks/taggers/plot_importance/{tagger}.tsv"
    wildcard_constraints:
        tagger=taggers_of(is_bdt),
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        label=lambda wildcards: tagger_label(wildcards.tagger),
        right=lambda wildcards: energy_label(),
    shell:
        "python -m lhcml.taggers.plot_importance --meta {input.meta:q} --label={params.label:q} --right={params.right:q} "
        "--output {output.png:q} > {log:q} 2>&1"
