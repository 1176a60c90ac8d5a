# Taggers that are not trained here: ensembles of others, and scores made elsewhere.


rule fit_ensemble:
    """Describe an ensemble: the weights of its members' logits, equal or fitted on the validation split.

    Wildcards: {tagger} a tagger of family ensemble, {seed}{size} the training of all its members.
    """
    input:
        meta=members("model.meta.json"),
        signal=members("scores/{dataset}/nominal.parquet", "signal"),
        background=members("scores/{dataset}/nominal.parquet", "background"),
        code=sources("lhcml.taggers.fit_ensemble"),
    output:
        meta="results/taggers/{tagger}/{seed}{size}/model.meta.json",
    log:
        "results/logs/taggers/fit_ensemble/{tagger}_{seed}{size}.log",
    benchmark:
        "results/benchmarks/taggers/fit_ensemble/{tagger}_{seed}{size}.tsv"
    wildcard_constraints:
        tagger=taggers_of(is_ensemble),
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=10),
        runtime=runtime(10, seconds_per_mb=2),
    params:
        members=lambda wildcards: TAGGERS[wildcards.tagger]["members"],
        folders=lambda wildcards, input: [os.path.dirname(path) for path in input.meta],
        method=lambda wildcards: TAGGERS[wildcards.tagger].get("method", "mean"),
        signal=config["taggers"]["signal"],
        background=config["taggers"]["background"],
    shell:
        "python -m lhcml.taggers.fit_ensemble --tagger {wildcards.tagger:q} --members {params.members:q} "
        "--folders {params.folders:q} --method {params.method} --signal {params.signal:q} "
        "--background {params.background:q} --output {output.meta:q} > {log:q} 2>&1"


rule score_ensemble:
    """Score the jets of a dataset with an ensemble: its members' scores of the same jets, combined.

    Wildcards: {tagger} a tagger of family ensemble, {seed}{size} the training of all its members, {dataset} any dataset of the
    taggers' channel, {shift} `nominal` or another shift of the features.
    """
    input:
        meta="results/taggers/{tagger}/{seed}{size}/model.meta.json",
        scores=members("scores/{dataset}/{shift}.parquet"),
        code=sources("lhcml.taggers.score_ensemble"),
    output:
        scores="results/taggers/{tagger}/{seed}{size}/scores/{dataset}/{shift}.parquet",
    log:
        "results/logs/taggers/score_ensemble/{tagger}_{seed}{size}_{dataset}_{shift}.log",
    benchmark:
        "results/benchmarks/taggers/score_ensemble/{tagger}_{seed}{size}_{dataset}_{shift}.tsv"
    wildcard_constraints:
        tagger=taggers_of(is_ensemble),
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=10),
        runtime=runtime(10, seconds_per_mb=2),
    shell:
        "python -m lhcml.taggers.score_ensemble --meta {input.meta:q} --scores {input.scores:q} --output {output.scores:q} "
        "> {log:q} 2>&1"


rule import_scores:
    """Take the scores of a tagger made elsewhere: one for each test jet, matched by run, event and rank.

    A missing, repeated or not finite score stops the job; scores of other jets are counted and left out.
    Wildcards: {tagger} a tagger of family external, {seed} the first seed of the section.
    """
    input:
        scores=lambda wildcards: TAGGERS[wildcards.tagger]["scores"],
        jets="results/taggers/test_jets.parquet",
        code=sources("lhcml.taggers.import_scores"),
    output:
        scores=tagger_scores("signal", "{seed}") + tagger_scores("background", "{seed}"),
        meta="results/taggers/{tagger}/{seed}/model.meta.json",
    log:
        "results/logs/taggers/import_scores/{tagger}_{seed}.log",
    benchmark:
        "results/benchmarks/taggers/import_scores/{tagger}_{seed}.tsv"
    wildcard_constraints:
        tagger=taggers_of(is_external),
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=5),
        runtime=runtime(10, seconds_per_mb=1),
    shell:
        "python -m lhcml.taggers.import_scores --scores {input.scores:q} --jets {input.jets:q} --tagger {wildcards.tagger:q} "
        "--output {output.scores:q} --meta {output.meta:q} > {log:q} 2>&1"
