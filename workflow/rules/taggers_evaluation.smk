# Figures of merit of taggers, their cost, and their comparison with each other and with published ones.


include: "taggers_evaluation_functions.smk"


rule list_test_jets:
    """List the jets of the test split that all taggers are judged on: dataset, keys, label, pT, eta and mass.

    Whoever scores these jets elsewhere can enter the comparison: see `import_scores`.
    """
    input:
        features=lambda wildcards: tagger_features("signal") + tagger_features("background"),
        code=sources("lhcml.taggers.list_test_jets"),
    output:
        jets="results/taggers/test_jets.parquet",
    log:
        "results/logs/taggers/list_test_jets/all.log",
    benchmark:
        "results/benchmarks/taggers/list_test_jets/all.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=2),
        runtime=runtime(10, seconds_per_mb=1),
    params:
        signal=config["taggers"]["signal"],
    shell:
        "python -m lhcml.taggers.list_test_jets --features {input.features:q} --signal {params.signal:q} "
        "--output {output.jets:q} > {log:q} 2>&1"


rule compute_metrics:
    """Compute the figures of merit of one training on the test split.

    AUC, accuracy and background rejection (arXiv:1902.09914) with bootstrap and statistical errors; calibration before and
    after a temperature fitted on the validation split; sculpting of the jet mass of background jets. See
    docs/taggers_evaluation.md.
    Wildcards: {tagger} a tagger, {seed}{size} its training.
    """
    input:
        signal=tagger_scores("signal"),
        background=tagger_scores("background"),
        jets="results/taggers/test_jets.parquet",
        code=sources("lhcml.taggers.compute_metrics"),
    output:
        metrics="results/taggers/{tagger}/{seed}{size}/metrics.json",
    log:
        "results/logs/taggers/compute_metrics/{tagger}_{seed}{size}.log",
    benchmark:
        "results/benchmarks/taggers/compute_metrics/{tagger}_{seed}{size}.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=10),
        runtime=runtime(30, seconds_per_mb=5),
    params:
        replicas=config["taggers"]["bootstrap"],
        # the same replicas for all taggers and seeds, so that their differences are not the bootstrap's
        seed=derive_seed(config["seed"], "compute_metrics"),
    shell:
        "python -m lhcml.taggers.compute_metrics --signal {input.signal:q} --background {input.background:q} --split test "
        "--calibrate-on validation --jets {input.jets:q} --replicas {params.replicas} --seed {params.seed} "
        "--output {output.metrics:q} > {log:q} 2>&1"


rule compute_robustness:
    """Compute the changes of AUC and rejection of one training under shifts of the jets.

    Energy scale or perturbed constituents, as `taggers: robustness:` names them; at the nominal thresholds, errors from a
    bootstrap of the same jets before and after.
    Wildcards: {tagger} a tagger, {seed} one of its seeds.
    """
    input:
        scores=expand(
            "results/taggers/{{tagger}}/{{seed}}/scores/{dataset}/{shift}.parquet",
            dataset=config["taggers"]["signal"] + config["taggers"]["background"],
            shift=["nominal", *config["taggers"]["robustness"]["shifts"]],
        ),
        code=sources("lhcml.taggers.compute_robustness"),
    output:
        robustness="results/taggers/{tagger}/{seed}/robustness.json",
    log:
        "results/logs/taggers/compute_robustness/{tagger}_{seed}.log",
    benchmark:
        "results/benchmarks/taggers/compute_robustness/{tagger}_{seed}.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=10),
        runtime=runtime(30, seconds_per_mb=5),
    params:
        signal=config["taggers"]["signal"],
        background=config["taggers"]["background"],
        shifts=config["taggers"]["robustness"]["shifts"],
        replicas=config["taggers"]["bootstrap"],
        seed=derive_seed(config["seed"], "compute_metrics"),
    shell:
        "python -m lhcml.taggers.compute_robustness --folder results/taggers/{wildcards.tagger:q}/{wildcards.seed}/scores "
        "--signal {params.signal:q} --background {params.background:q} --shifts {params.shifts:q} "
        "--replicas {params.replicas} --seed {params.seed} --output {output.robustness:q} > {log:q} 2>&1"


rule cost_bdt:
    """Measure what scoring with boosted trees costs: comparisons a jet, jets a second on one thread.

    The time depends on the machine and on what else runs on it.
    Wildcards: {tagger} a tagger of family bdt, {seed} one of its seeds.
    """
    input:
        model="results/taggers/{tagger}/{seed}/model.json",
        meta="results/taggers/{tagger}/{seed}/model.meta.json",
        features=cost_features,
        code=sources("lhcml.taggers.cost_bdt"),
    output:
        cost="results/taggers/{tagger}/{seed}/cost.json",
    log:
        "results/logs/taggers/cost_bdt/{tagger}_{seed}.log",
    benchmark:
        "results/benchmarks/taggers/cost_bdt/{tagger}_{seed}.tsv"
    wildcard_constraints:
        tagger=taggers_of(is_bdt),
    conda:
        "../../envs/bdt.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=runtime(30),
    shell:
        "python -m lhcml.taggers.cost_bdt --model {input.model:q} --meta {input.meta:q} --features {input.features:q} "
        "--output {output.cost:q} > {log:q} 2>&1"


rule cost_network:
    """Measure what scoring with a network costs: floating-point operations a jet, jets a second on one thread.

    On real jets with the multiplicities they have. The time depends on the machine and on what else runs on it.
    Wildcards: {tagger} a tagger of a network family, {seed} one of its seeds.
    """
    input:
        model="results/taggers/{tagger}/{seed}/model.safetensors",
        meta="results/taggers/{tagger}/{seed}/model.meta.json",
        features=cost_features,
        code=sources("lhcml.taggers.cost_network"),
        family=family_sources,
    output:
        cost="results/taggers/{tagger}/{seed}/cost.json",
    log:
        "results/logs/taggers/cost_network/{tagger}_{seed}.log",
    benchmark:
        "results/benchmarks/taggers/cost_network/{tagger}_{seed}.tsv"
    wildcard_constraints:
        tagger=taggers_of(is_network),
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=runtime(30),
    shell:
        "python -m lhcml.taggers.cost_network --model {input.model:q} --meta {input.meta:q} --features {input.features:q} "
        "--output {output.cost:q} > {log:q} 2>&1"


rule compare_taggers:
    """Compare all taggers with each other and with published ones.

    One entry a tagger, means over seeds with spread and bootstrap error: AUC, accuracy, rejections, calibration, sculpting,
    parameters, operations, times; as JSON, CSV and (some columns) LaTeX. The published values and their
    sources are in src/lhcml/taggers/published.json.
    """
    input:
        metrics=all_trainings("results/taggers/{tagger}/{seed}/metrics.json"),
        meta=all_trainings("results/taggers/{tagger}/{seed}/model.meta.json"),
        cost=measured_costs(),
        published=os.path.relpath(ROOT / "src/lhcml/taggers/published.json"),
        code=sources("lhcml.taggers.compare_taggers"),
    output:
        json="results/taggers/comparison.json",
        csv=report(
            "results/taggers/comparison.csv",
            caption="../report/taggers/comparison.rst",
            category="Taggers",
            labels={"shows": "comparison table", "tagger": "all"},
        ),
        latex="results/taggers/comparison.tex",
    log:
        "results/logs/taggers/compare_taggers/all.log",
    benchmark:
        "results/benchmarks/taggers/compare_taggers/all.tsv"
    localrule: True
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        config=as_json(
            {
                name: {key: block[key] for key in ("label", "published", "members") if key in block}
                for name, block in TAGGERS.items()
            }
        ),
    shell:
        "python -m lhcml.taggers.compare_taggers --metrics {input.metrics:q} --meta {input.meta:q} "
        "--cost {input.cost:q} --published {input.published:q} --config {params.config:q} --json {output.json:q} "
        "--csv {output.csv:q} --latex {output.latex:q} > {log:q} 2>&1"
