# Public data: files fetched from Zenodo, and their events imported.


include: "samples_import_functions.smk"


rule fetch_public:
    """Fetch a file of a public record on Zenodo, or check one that was put in its place by hand.

    The file itself goes to the folder `samples.public.folder`, outside of the results: it is neither deleted with them nor fetched
    twice; an interrupted download goes on where it stopped. Runs where Snakemake does, as nodes of a cluster often have no
    network. Writes size and checksum.
    Wildcards: record (its number), file (name in the record).
    """
    input:
        code=sources("lhcml.samples.fetch_public"),
    output:
        "results/samples/public/{record}/{file}.json",
    log:
        "results/logs/samples/fetch_public/{record}_{file}.log",
    benchmark:
        "results/benchmarks/samples/fetch_public/{record}_{file}.tsv"
    wildcard_constraints:
        record=r"\d+",
        file="[^/]+",
    localrule: True
    conda:
        "../../envs/import.yaml"
    threads: 1
    resources:
        mem_mb=memory(300),
        runtime=runtime(1440),
    params:
        known=known_of_file,
        folder=config["samples"]["public"]["folder"],
        address=config["samples"]["public"]["address"],
    shell:
        "python -m lhcml.samples.fetch_public --record {wildcards.record} --name {wildcards.file:q} --known {params.known:q} "
        "--folder {params.folder:q} --address {params.address:q} --output {output:q} > {log:q} 2>&1"


rule import_events:
    """Import one chunk of a public file of events or jets.

    Rows of the file become events with NanoAOD and PFNano branch names, as generated events are; weights are 1. The layout decides
    what there is: jets with constituents, particles that are clustered here, both levels, or trigger objects.
    Wildcards: channel, dataset, chunk (number of the job, from 0).
    """
    input:
        events=imported_input,
        code=sources("lhcml.samples.import_events"),
        layout=layout_sources,
    output:
        "results/samples/{channel}/{dataset}/imported/{chunk}.root",
    log:
        "results/logs/samples/import_events/{channel}_{dataset}_{chunk}.log",
    benchmark:
        "results/benchmarks/samples/import_events/{channel}_{dataset}_{chunk}.tsv"
    conda:
        "../../envs/import.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_event=0.05),
        runtime=runtime(10, seconds_per_event=0.02),
    params:
        layout=lambda wildcards: import_of(wildcards)["layout"],
        file=imported_file,
        label=lambda wildcards: import_of(wildcards)["label"],
        content=lambda wildcards: as_json(config["channels"][wildcards.channel]["samples"]),
        first=first_row_of_chunk,
        rows=events_of_chunk,
        offset=event_offset,
        block=lambda wildcards: int(wildcards.chunk) + 1,
    shell:
        "python -m lhcml.samples.import_events --layout {params.layout} --input {params.file:q} --label {params.label} "
        "--first-row {params.first} --rows {params.rows} --event-offset {params.offset} --luminosity-block {params.block} "
        "--content {params.content:q} --output {output:q} > {log:q} 2>&1"
