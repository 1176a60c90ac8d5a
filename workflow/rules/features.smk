# Features of the selected jets: observables, constituents, Lund declusterings.


include: "features_functions.smk"


FEATURES_PLOTS = ["observables", "multiplicity", "lund_planes"]
FEATURES_TARGETS = expand(
    "results/features/plots/{channel}_{plot}.png",
    channel=config["features"]["plots"],
    plot=FEATURES_PLOTS,
)


rule build_features:
    """Compute the features of the selected jets of one skim, for one shift.

    Substructure observables (N-subjettiness, correlators, soft drop, angularities, flow polynomials), constituents with their
    kinematics relative to the jet, Lund declusterings, and the split into train, validation and test. A kinematic shift
    scales the constituents with their jet; `smear` and `drop` change them at random.

    Wildcards: channel, dataset, shift ("nominal", "jesUp", ..., "smear", "drop"), chunk.
    """
    input:
        skim="results/skim/{channel}/{dataset}/{chunk}.root",
        code=sources("lhcml.features.build_features"),
    output:
        features="results/features/{channel}/{dataset}/{shift}/{chunk}.parquet",
    log:
        "results/logs/features/build_features/{channel}_{dataset}_{shift}_{chunk}.log",
    benchmark:
        "results/benchmarks/features/build_features/{channel}_{dataset}_{shift}_{chunk}.tsv"
    wildcard_constraints:
        channel=one_of([name for name in config["channels"] if name not in WITHOUT_CONSTITUENTS]),
        shift="nominal|jesUp|jesDown|jerUp|jerDown|" + "|".join(config["features"]["perturbations"]),
    conda:
        "../../envs/features.yaml"
    threads: 1
    resources:
        mem_mb=memory(1200),
        runtime=runtime(15, seconds_per_mb=5),
    params:
        config=feature_settings,
        seed=perturbation_seed,
    shell:
        "python -m lhcml.features.build_features --input {input.skim:q} --shift {wildcards.shift:q} "
        "--config {params.config:q} {params.seed} --threads {threads} --output {output.features:q} > {log:q} 2>&1"


rule list_jets:
    """Write the selected jets of one skim of a channel without constituents, for one shift.

    Identity, split, weights and four-momenta, as `build_features` writes them, and the jets' own branches that
    `keep.branches` of the selection names.

    Wildcards: channel (with `keep: {constituents: false}`), dataset, shift ("nominal", "jesUp", ...), chunk.
    """
    input:
        skim="results/skim/{channel}/{dataset}/{chunk}.root",
        code=sources("lhcml.features.list_jets"),
    output:
        jets="results/features/{channel}/{dataset}/{shift}/{chunk}.parquet",
    log:
        "results/logs/features/list_jets/{channel}_{dataset}_{shift}_{chunk}.log",
    benchmark:
        "results/benchmarks/features/list_jets/{channel}_{dataset}_{shift}_{chunk}.tsv"
    wildcard_constraints:
        channel=one_of(WITHOUT_CONSTITUENTS),
        shift="nominal|jesUp|jesDown|jerUp|jerDown",
    conda:
        "../../envs/features.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        config=listed_settings,
    shell:
        "python -m lhcml.features.list_jets --input {input.skim:q} --shift {wildcards.shift:q} "
        "--config {params.config:q} --output {output.jets:q} > {log:q} 2>&1"


rule plot_features:
    """Draw the features of datasets of a channel, nominal, each dataset normalised to one.

    Distributions of the main observables, of the multiplicity, and the average primary Lund planes side by side, from
    the first 20 files of each dataset.

    Wildcards: channel.
    """
    input:
        features=nominal_features,
        code=sources("lhcml.features.plot_features"),
    output:
        observables=report(
            "results/features/plots/{channel}_observables.png",
            caption="../report/features/observables.rst",
            category="Features",
            labels={"channel": "{channel}", "shows": "observables"},
        ),
        multiplicity=report(
            "results/features/plots/{channel}_multiplicity.png",
            caption="../report/features/multiplicity.rst",
            category="Features",
            labels={"channel": "{channel}", "shows": "multiplicity"},
        ),
        lund_planes=report(
            "results/features/plots/{channel}_lund_planes.png",
            caption="../report/features/lund_planes.rst",
            category="Features",
            labels={"channel": "{channel}", "shows": "Lund planes"},
        ),
        pdf=expand("results/features/plots/{{channel}}_{plot}.pdf", plot=FEATURES_PLOTS),
    log:
        "results/logs/features/plot_features/{channel}.log",
    benchmark:
        "results/benchmarks/features/plot_features/{channel}.tsv"
    wildcard_constraints:
        channel="|".join(config["features"]["plots"]) or "(?!)",
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=10),
        runtime=runtime(20, seconds_per_mb=1),
    params:
        label=lambda wildcards: config["channels"][wildcards.channel]["label"],
        kind=kind_of_data,
    shell:
        "python -m lhcml.features.plot_features --features {input.features:q} --label={params.label:q} "
        "--kind {params.kind:q} --observables {output.observables:q} --multiplicity {output.multiplicity:q} "
        "--lund-planes {output.lund_planes:q} > {log:q} 2>&1"
