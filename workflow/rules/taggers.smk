# Taggers: training and scores. What is made of them is in taggers_ensembles, taggers_evaluation and taggers_plots.


include: "taggers_functions.smk"


rule train_bdt:
    """Train boosted decision trees on high-level features.

    XGBoost with early stopping on the validation split, both classes weighted equally; writes the model in XGBoost's JSON
    format and its description: features, settings, digests of code and data, history, feature importance.
    Wildcards: {tagger} a tagger of family bdt in the configuration, {seed} one of its seeds, {size} empty, or e.g. `_4000jets`
    to train on 4000 jets chosen at random.
    """
    input:
        signal=lambda wildcards: tagger_features("signal"),
        background=lambda wildcards: tagger_features("background"),
        code=sources("lhcml.taggers.train_bdt"),
    output:
        model="results/taggers/{tagger}/{seed}{size}/model.json",
        meta="results/taggers/{tagger}/{seed}{size}/model.meta.json",
    log:
        "results/logs/taggers/train_bdt/{tagger}_{seed}{size}.log",
    benchmark:
        "results/benchmarks/taggers/train_bdt/{tagger}_{seed}{size}.tsv"
    wildcard_constraints:
        tagger=taggers_of(is_bdt),
    conda:
        "../../envs/bdt.yaml"
    threads: lambda wildcards: TAGGERS[wildcards.tagger]["threads"]
    resources:
        mem_mb=memory(1000, mb_per_mb=2),
        runtime=runtime(30, seconds_per_mb=2),
    params:
        config=lambda wildcards: as_json({key: TAGGERS[wildcards.tagger][key] for key in ("features", "boosting")}),
        seed=job_seed("train_bdt", "tagger", "seed", "size"),
        size=size_options,
    shell:
        "python -m lhcml.taggers.train_bdt --signal {input.signal:q} --background {input.background:q} "
        "--config {params.config:q} --tagger {wildcards.tagger:q} --seed {params.seed} {params.size} --threads {threads} "
        "--output {output.model:q} --meta {output.meta:q} > {log:q} 2>&1"


rule train_network:
    """Train a neural network on the constituents of jets.

    Any family of `lhcml.taggers.models`, on packed batches, with early stopping on the validation split, both classes weighted
    equally. A killed training resumes from `last.ckpt` beside its output and gives the identical result. Writes the weights
    as safetensors and their description: inputs and scaling, architecture, settings, digests of code and data, history.
    Wildcards: {tagger} a tagger of a network family in the configuration, {seed} one of its seeds, {size} empty, or e.g.
    `_4000jets` to train on 4000 jets chosen at random.
    """
    input:
        signal=lambda wildcards: tagger_features("signal"),
        background=lambda wildcards: tagger_features("background"),
        code=sources("lhcml.taggers.train_network"),
        family=family_sources,
    output:
        model="results/taggers/{tagger}/{seed}{size}/model.safetensors",
        meta="results/taggers/{tagger}/{seed}{size}/model.meta.json",
    log:
        "results/logs/taggers/train_network/{tagger}_{seed}{size}.log",
    benchmark:
        "results/benchmarks/taggers/train_network/{tagger}_{seed}{size}.tsv"
    wildcard_constraints:
        tagger=taggers_of(is_network),
    conda:
        "../../envs/torch.yaml"
    threads: lambda wildcards: TAGGERS[wildcards.tagger]["threads"]
    resources:
        mem_mb=memory(1500, mb_per_mb=2),
        runtime=runtime(120, seconds_per_mb=4),
        gpu=lambda wildcards: TAGGERS[wildcards.tagger]["gpus"],
    params:
        config=lambda wildcards: as_json(NETWORKS[wildcards.tagger]),
        seed=job_seed("train_network", "tagger", "seed", "size"),
        size=size_options,
        epochs=epochs_options,
    shell:
        "python -m lhcml.taggers.train_network --signal {input.signal:q} --background {input.background:q} "
        "--config {params.config:q} --tagger {wildcards.tagger:q} --seed {params.seed} {params.size} {params.epochs} "
        "--threads {threads} --gpus {resources.gpu} --output {output.model:q} --meta {output.meta:q} > {log:q} 2>&1"


rule score_bdt:
    """Score the jets of a dataset with boosted trees.

    A row per jet of `score_splits` in the order of the feature files of all chunks: run, luminosityBlock, event, jet_rank, split, score.
    Wildcards: {tagger} a tagger of family bdt, {seed}{size} its training, {dataset} any dataset of the taggers' channel,
    {shift} `nominal` or a kinematic shift.
    """
    input:
        features=lambda wildcards: per_chunk(
            "results/features/{channel}/{dataset}/{shift}/{chunk}.parquet",
            TAGGERS_CHANNEL,
            wildcards.dataset,
            shift=wildcards.shift,
        ),
        model="results/taggers/{tagger}/{seed}{size}/model.json",
        meta="results/taggers/{tagger}/{seed}{size}/model.meta.json",
        code=sources("lhcml.taggers.score_bdt"),
    output:
        scores="results/taggers/{tagger}/{seed}{size}/scores/{dataset}/{shift}.parquet",
    log:
        "results/logs/taggers/score_bdt/{tagger}_{seed}{size}_{dataset}_{shift}.log",
    benchmark:
        "results/benchmarks/taggers/score_bdt/{tagger}_{seed}{size}_{dataset}_{shift}.tsv"
    wildcard_constraints:
        tagger=taggers_of(is_bdt),
    conda:
        "../../envs/bdt.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=2),
        runtime=runtime(30, seconds_per_mb=1),
    params:
        splits=config["taggers"]["score_splits"],
    shell:
        "python -m lhcml.taggers.score_bdt --model {input.model:q} --meta {input.meta:q} --features {input.features:q} "
        "--threads {threads} --splits {params.splits} --output {output.scores:q} > {log:q} 2>&1"


rule score_network:
    """Score the jets of a dataset with a neural network.

    A row per jet of `score_splits` in the order of the feature files of all chunks: run, luminosityBlock, event, jet_rank, split, score.
    Wildcards: {tagger} a tagger of a network family, {seed}{size} its training, {dataset} any dataset of the taggers' channel,
    {shift} `nominal` or a kinematic shift.
    """
    input:
        features=lambda wildcards: per_chunk(
            "results/features/{channel}/{dataset}/{shift}/{chunk}.parquet",
            TAGGERS_CHANNEL,
            wildcards.dataset,
            shift=wildcards.shift,
        ),
        model="results/taggers/{tagger}/{seed}{size}/model.safetensors",
        meta="results/taggers/{tagger}/{seed}{size}/model.meta.json",
        code=sources("lhcml.taggers.score_network"),
        family=family_sources,
    output:
        scores="results/taggers/{tagger}/{seed}{size}/scores/{dataset}/{shift}.parquet",
    log:
        "results/logs/taggers/score_network/{tagger}_{seed}{size}_{dataset}_{shift}.log",
    benchmark:
        "results/benchmarks/taggers/score_network/{tagger}_{seed}{size}_{dataset}_{shift}.tsv"
    wildcard_constraints:
        tagger=taggers_of(is_network),
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500, mb_per_mb=2),
        runtime=runtime(60, seconds_per_mb=2),
        gpu=lambda wildcards: TAGGERS[wildcards.tagger]["gpus"],
    params:
        splits=config["taggers"]["score_splits"],
    shell:
        "python -m lhcml.taggers.score_network --model {input.model:q} --meta {input.meta:q} "
        "--features {input.features:q} --threads {threads} --gpus {resources.gpu} --splits {params.splits} "
        "--output {output.scores:q} > {log:q} 2>&1"


rule export_onnx:
    """Export a trained network to ONNX, if it gives the same there.

    torch and onnxruntime are compared on jets of 1 to 200 constituents before anything is written; the largest deviation for
    each is kept beside the model.
    Wildcards: {tagger} a tagger of a network family, {seed}{size} its training.
    """
    input:
        model="results/taggers/{tagger}/{seed}{size}/model.safetensors",
        meta="results/taggers/{tagger}/{seed}{size}/model.meta.json",
        features=lambda wildcards: tagger_features("signal"),
        code=sources("lhcml.taggers.export_onnx"),
        family=family_sources,
    output:
        model="results/taggers/{tagger}/{seed}{size}/model.onnx",
        parity="results/taggers/{tagger}/{seed}{size}/model.onnx.json",
    log:
        "results/logs/taggers/export_onnx/{tagger}_{seed}{size}.log",
    benchmark:
        "results/benchmarks/taggers/export_onnx/{tagger}_{seed}{size}.tsv"
    wildcard_constraints:
        tagger=taggers_of(is_network),
    conda:
        "../../envs/onnx.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=runtime(30),
    shell:
        "python -m lhcml.taggers.export_onnx --model {input.model:q} --meta {input.meta:q} --features {input.features:q} "
        "--output {output.model:q} --parity {output.parity:q} > {log:q} 2>&1"


rule score_onnx:
    """Score the jets of a dataset with an ONNX model, ours or another's.

    A row per jet of `score_splits` in the order of the feature files of all chunks: run, luminosityBlock, event, jet_rank, split, score.
    Wildcards: {tagger} a tagger of family onnx, {seed} its seed, {dataset} any dataset of the taggers' channel, {shift} `nominal`
    or a kinematic shift.
    """
    input:
        features=lambda wildcards: per_chunk(
            "results/features/{channel}/{dataset}/{shift}/{chunk}.parquet",
            TAGGERS_CHANNEL,
            wildcards.dataset,
            shift=wildcards.shift,
        ),
        model=lambda wildcards: TAGGERS[wildcards.tagger]["model"],
        preprocess=lambda wildcards: TAGGERS[wildcards.tagger].get("preprocess", []),
        code=sources("lhcml.taggers.score_onnx"),
    output:
        scores="results/taggers/{tagger}/{seed}{size}/scores/{dataset}/{shift}.parquet",
    log:
        "results/logs/taggers/score_onnx/{tagger}_{seed}{size}_{dataset}_{shift}.log",
    benchmark:
        "results/benchmarks/taggers/score_onnx/{tagger}_{seed}{size}_{dataset}_{shift}.tsv"
    wildcard_constraints:
        tagger=taggers_of(is_onnx),
    conda:
        "../../envs/onnx.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500, mb_per_mb=2),
        runtime=runtime(60, seconds_per_mb=2),
    params:
        splits=config["taggers"]["score_splits"],
        options=onnx_options,
    shell:
        "python -m lhcml.taggers.score_onnx --model {input.model:q} {params.options} --features {input.features:q} "
        "--threads {threads} --splits {params.splits} --output {output.scores:q} > {log:q} 2>&1"


rule describe_onnx:
    """Describe an ONNX model for the comparison: its parameters, and that it was not trained here.

    Wildcards: {tagger} a tagger of family onnx, {seed} its seed.
    """
    input:
        model=lambda wildcards: TAGGERS[wildcards.tagger]["model"],
        code=sources("lhcml.taggers.describe_onnx"),
    output:
        meta="results/taggers/{tagger}/{seed}{size}/model.meta.json",
    log:
        "results/logs/taggers/describe_onnx/{tagger}_{seed}{size}.log",
    benchmark:
        "results/benchmarks/taggers/describe_onnx/{tagger}_{seed}{size}.tsv"
    wildcard_constraints:
        tagger=taggers_of(is_onnx),
    localrule: True
    conda:
        "../../envs/onnx.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    shell:
        "python -m lhcml.taggers.describe_onnx --model {input.model:q} --tagger {wildcards.tagger:q} --seed {wildcards.seed} "
        "--meta {output.meta:q} > {log:q} 2>&1"
