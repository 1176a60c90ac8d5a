# Events of the search that are not made from a channel: features of the LHC Olympics, tables of one's own.
IMPORTED = config["anomaly"]["imports"]
IMPORTED_OLYMPICS = [name for name, block in IMPORTED.items() if "olympics" in block]
IMPORTED_TABLES = [name for name, block in IMPORTED.items() if "tables" in block]


# an imported dataset is the one of its name, whatever the channel has
ruleorder: import_olympics > import_tables > collect_dijets


rule import_olympics:
    """Import the events of a file of features of the LHC Olympics.

    A row an event with two jets, the same columns as `collect_dijets`; events of one truth label, or all.

    Wildcards: dataset.
    """
    input:
        features=lambda wildcards: public_input(
            IMPORTED[wildcards.dataset]["olympics"], IMPORTED[wildcards.dataset].get("record")
        ),
        code=sources("lhcml.anomaly.import_olympics"),
    output:
        events="results/anomaly/events/{dataset}.parquet",
    log:
        "results/logs/anomaly/import_olympics/{dataset}.log",
    benchmark:
        "results/benchmarks/anomaly/import_olympics/{dataset}.tsv"
    wildcard_constraints:
        dataset="|".join(IMPORTED_OLYMPICS) or "(?!)",
    conda:
        "../../envs/import.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(20, seconds_per_mb=1),
    params:
        file=lambda wildcards: public_path(
            IMPORTED[wildcards.dataset]["olympics"], IMPORTED[wildcards.dataset].get("record")
        ),
        label=lambda wildcards: IMPORTED[wildcards.dataset]["label"],
    shell:
        "python -m lhcml.anomaly.import_olympics --input {params.file:q} --label {params.label} "
        "--output {output.events:q} > {log:q} 2>&1"


rule import_tables:
    """Import events of one's own: Parquet files whose columns have the names that the search knows.

    Checks names, finite numbers, the order of the two jets and the identity of events.

    Wildcards: dataset.
    """
    input:
        tables=lambda wildcards: IMPORTED[wildcards.dataset]["tables"],
        code=sources("lhcml.anomaly.import_tables"),
    output:
        events="results/anomaly/events/{dataset}.parquet",
    log:
        "results/logs/anomaly/import_tables/{dataset}.log",
    benchmark:
        "results/benchmarks/anomaly/import_tables/{dataset}.tsv"
    wildcard_constraints:
        dataset="|".join(IMPORTED_TABLES) or "(?!)",
    conda:
        "../../envs/anomaly.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=10),
        runtime=runtime(20, seconds_per_mb=1),
    shell:
        "python -m lhcml.anomaly.import_tables --input {input.tables:q} --output {output.events:q} > {log:q} 2>&1"
