# Figures of taggers.


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
        mem_mb=memory(700, 10),
        runtime=10,
    params:
        config=as_json(
            {
                "taggers": {name: tagger_label(name) for name in TAGGERS},
                "seeds": config["taggers"]["seeds"],
                "signal": config["taggers"]["signal"],
                "background": config["taggers"]["background"],
                "label": energy_label() if TAGGERS else "",
            }
        ),
    shell:
        "python -m lhcml.taggers.plot_taggers --folder results/taggers --comparison {input.comparison:q} "
        "--config {params.config:q} --output {output.png:q} > {log:q} 2>&1"


rule plot_tagger:
    """Draw one tagger: scores of both classes on test and training jets, loss and AUC during the training.

    Wildcards: {tagger} a tagger of the configuration.
    """
    input:
        signal=all_seeds(tagger_scores("signal", "{seed}")),
        background=all_seeds(tagger_scores("background", "{seed}")),
        meta=all_seeds("results/taggers/{tagger}/{seed}/model.meta.json"),
        code=sources("lhcml.taggers.plot_tagger"),
    output:
        scores=report(
            "results/taggers/plots/{tagger}_scores.png",
            caption="../report/taggers/scores.rst",
            category="Taggers",
            labels={"shows": "scores", "tagger": "{tagger}"},
        ),
        scores_pdf="results/taggers/plots/{tagger}_scores.pdf",
        history=report(
            "results/taggers/plots/{tagger}_history.png",
            caption="../report/taggers/history.rst",
            category="Taggers",
            labels={"shows": "training history", "tagger": "{tagger}"},
        ),
        history_pdf="results/taggers/plots/{tagger}_history.pdf",
    log:
        "results/logs/taggers/plot_tagger/{tagger}.log",
    benchmark:
        "results/benchmarks/taggers/plot_tagger/{tagger}.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(700, 10),
        runtime=10,
    params:
        seeds=config["taggers"]["seeds"],
        signal=config["taggers"]["signal"],
        background=config["taggers"]["background"],
        label=lambda wildcards: tagger_label(wildcards.tagger),
        right=lambda wildcards: energy_label(),
    shell:
        "python -m lhcml.taggers.plot_tagger --folder results/taggers/{wildcards.tagger:q} --seeds {params.seeds} "
        "--signal {params.signal:q} --background {params.background:q} --label={params.label:q} --right={params.right:q} "
        "--scores {output.scores:q} --history {output.history:q} > {log:q} 2>&1"


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
        mem_mb=memory(500),
        runtime=10,
    params:
        label=lambda wildcards: tagger_label(wildcards.tagger),
        right=lambda wildcards: energy_label(),
    shell:
        "python -m lhcml.taggers.plot_importance --meta {input.meta:q} --label={params.label:q} --right={params.right:q} "
        "--output {output.png:q} > {log:q} 2>&1"
