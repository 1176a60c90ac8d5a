# Firmware: inputs, training and quantisation. Projects, RTL and synthesis are in firmware_gates, figures in firmware_plots.


include: "firmware_functions.smk"


rule collect_objects:
    """Collect the objects of events as inputs of a network: missing momentum, electrons, muons and jets, each pT, eta, phi.

    Hardest first, zero where an event has none; weights in pb; the split by event as everywhere.
    Wildcards: model, dataset.
    """
    input:
        skims=lambda wildcards: per_chunk(
            "results/skim/{channel}/{dataset}/{chunk}.root", firmware_channel(wildcards.model), wildcards.dataset
        ),
        cutflow=lambda wildcards: f"results/skim/{firmware_channel(wildcards.model)}/cutflow.json",
        code=sources("lhcml.firmware.collect_objects"),
    output:
        inputs="results/firmware/{model}/inputs/{dataset}.parquet",
    log:
        "results/logs/firmware/collect_objects/{model}_{dataset}.log",
    benchmark:
        "results/benchmarks/firmware/collect_objects/{model}_{dataset}.tsv"
    wildcard_constraints:
        model=one_of(firmware_models(*ANOMALY_FAMILIES)),
    conda:
        "../../envs/features.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500, mb_per_mb=5),
        runtime=runtime(30, seconds_per_mb=2),
    params:
        config=objects_settings,
    shell:
        "python -m lhcml.firmware.collect_objects --skims {input.skims:q} --cutflow {input.cutflow:q} "
        "--dataset {wildcards.dataset} --config {params.config:q} --output {output.inputs:q} > {log:q} 2>&1"


rule collect_features:
    """Collect features of jets as inputs of a network or of trees.

    Wildcards: model, dataset.
    """
    input:
        features=lambda wildcards: per_chunk(
            "results/features/{channel}/{dataset}/nominal/{chunk}.parquet",
            firmware_channel(wildcards.model),
            wildcards.dataset,
        ),
        code=sources("lhcml.firmware.collect_features"),
    output:
        inputs="results/firmware/{model}/inputs/{dataset}.parquet",
    log:
        "results/logs/firmware/collect_features/{model}_{dataset}.log",
    benchmark:
        "results/benchmarks/firmware/collect_features/{model}_{dataset}.tsv"
    wildcard_constraints:
        model=one_of(firmware_models("dense", "bdt")),
    conda:
        "../../envs/features.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=3),
        runtime=runtime(20, seconds_per_mb=1),
    params:
        columns=feature_names,
    shell:
        "python -m lhcml.firmware.collect_features --features {input.features:q} --columns {params.columns:q} "
        "--output {output.inputs:q} > {log:q} 2>&1"


rule train_float:
    """Train the float network of a model.

    Anomaly models see background only, in training and in the choice of the epoch; a jet tagger sees both classes with equal
    weight. Wildcards: model.
    """
    input:
        inputs=firmware_inputs(*FIRMWARE_SAMPLES),
        code=sources("lhcml.firmware.train_float"),
    output:
        model="results/firmware/{model}/float.keras",
        meta="results/firmware/{model}/float.json",
    log:
        "results/logs/firmware/train_float/{model}.log",
    benchmark:
        "results/benchmarks/firmware/train_float/{model}.tsv"
    wildcard_constraints:
        model=one_of(firmware_models(*ANOMALY_FAMILIES, "dense")),
    conda:
        "../../envs/firmware.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, mb_per_mb=20),
        runtime=runtime(120, seconds_per_mb=20),
    params:
        samples=firmware_samples,
        config=firmware_settings("family", "hidden", "latent", "kl_weight", "training", "encoding"),
        seed=job_seed("train_float", "model"),
    shell:
        "python -m lhcml.firmware.train_float {params.samples} --config {params.config:q} --seed {params.seed} "
        "--threads {threads} --model {output.model:q} --description {output.meta:q} > {log:q} 2>&1"


rule quantise_network:
    """Quantise a network: after training, or by training with quantised numbers.

    The result is what all later steps must reproduce bit by bit.
    Wildcards: model; {point} how: `post8`, `aware6`, `ebops3000`, with `_pruned50` where weights are removed first.
    """
    input:
        inputs=firmware_inputs(*FIRMWARE_SAMPLES),
        model="results/firmware/{model}/float.keras",
        meta="results/firmware/{model}/float.json",
        code=sources("lhcml.firmware.quantise_network"),
    output:
        model="results/firmware/{model}/{point}/model.keras",
        encoding="results/firmware/{model}/{point}/encoding.json",
        meta="results/firmware/{model}/{point}/quantised.json",
        stimuli="results/firmware/{model}/{point}/stimuli.npz",
        scores="results/firmware/{model}/{point}/scores.parquet",
    log:
        "results/logs/firmware/quantise_network/{model}_{point}.log",
    benchmark:
        "results/benchmarks/firmware/quantise_network/{model}_{point}.tsv"
    wildcard_constraints:
        model=one_of(firmware_models(*ANOMALY_FAMILIES, "dense")),
        point=POINT,
    conda:
        "../../envs/firmware.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, mb_per_mb=20),
        runtime=runtime(120, seconds_per_mb=40),
    params:
        samples=firmware_samples,
        config=firmware_settings("family", "hidden", "latent", "quantisation", "stimuli"),
        seed=job_seed("quantise_network", "model", "point"),
    shell:
        "python -m lhcml.firmware.quantise_network {params.samples} --float-model {input.model:q} "
        "--float-description {input.meta:q} --point {wildcards.point} --config {params.config:q} --seed {params.seed} "
        "--threads {threads} --model {output.model:q} --encoding {output.encoding:q} --quantised {output.meta:q} "
        "--stimuli {output.stimuli:q} --scores {output.scores:q} > {log:q} 2>&1"


rule quantise_trees:
    """Put the trees of a tagger on a grid of fixed-point numbers.

    Decisions are those of the float trees on inputs of the grid; leaves are rounded.
    Wildcards: model; {point} `post<bits>`.
    """
    input:
        inputs=firmware_inputs(*FIRMWARE_SAMPLES),
        model=tagger_of_trees("model.json"),
        meta=tagger_of_trees("model.meta.json"),
        code=sources("lhcml.firmware.quantise_trees"),
    output:
        model="results/firmware/{model}/{point}/model.json",
        encoding="results/firmware/{model}/{point}/encoding.json",
        meta="results/firmware/{model}/{point}/quantised.json",
        stimuli="results/firmware/{model}/{point}/stimuli.npz",
        scores="results/firmware/{model}/{point}/scores.parquet",
    log:
        "results/logs/firmware/quantise_trees/{model}_{point}.log",
    benchmark:
        "results/benchmarks/firmware/quantise_trees/{model}_{point}.tsv"
    wildcard_constraints:
        model=one_of(firmware_models("bdt")),
        point=r"post\d+",
    conda:
        "../../envs/firmware.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=20),
        runtime=runtime(30, seconds_per_mb=5),
    params:
        samples=firmware_samples,
        config=firmware_settings("encoding", "stimuli"),
        seed=job_seed("quantise_trees", "model", "point"),
        folder=lambda wildcards, output: os.path.dirname(output.model),
    shell:
        "python -m lhcml.firmware.quantise_trees {params.samples} --model {input.model:q} --meta {input.meta:q} "
        "--point {wildcards.point} --config {params.config:q} --seed {params.seed} "
        "--folder {params.folder:q} > {log:q} 2>&1"
