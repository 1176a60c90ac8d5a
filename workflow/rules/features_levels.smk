# Observables at detector and at particle level, for unfolding.


rule build_levels:
    """Compute the observables of all events of one skim at detector and at particle level, for one shift.

    One row an event: who passes which level, and for those that do the leading jets, the two leptons of the Z candidate
    and the constituents of the leading jet, as asked for in `features.levels`. A kinematic shift changes the detector
    level only; collision data have no other. Made when the unfolding asks for it.

    Wildcards: channel, dataset, shift ("nominal", "jesUp", ...), chunk.
    """
    input:
        skim="results/skim/{channel}/{dataset}/{chunk}.root",
        code=sources("lhcml.features.build_levels"),
    output:
        levels="results/features/{channel}/{dataset}/{shift}/levels/{chunk}.parquet",
    log:
        "results/logs/features/build_levels/{channel}_{dataset}_{shift}_{chunk}.log",
    benchmark:
        "results/benchmarks/features/build_levels/{channel}_{dataset}_{shift}_{chunk}.tsv"
    wildcard_constraints:
        channel="|".join(config["features"]["levels"]) or "(?!)",
        shift="nominal|jesUp|jesDown|jerUp|jerDown",
    conda:
        "../../envs/features.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=runtime(15, seconds_per_mb=3),
    params:
        config=level_settings,
    shell:
        "python -m lhcml.features.build_levels --input {input.skim:q} --shift {wildcards.shift:q} "
        "--config {params.config:q} --threads {threads} --output {output.levels:q} > {log:q} 2>&1"
