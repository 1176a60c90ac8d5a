# Selection of events and objects, with systematic shifts; cutflows and normalisation.


include: "skim_functions.smk"


SKIM_TARGETS = expand(
    "results/skim/{channel}/{file}",
    channel=config["channels"],
    file=["cutflow.json", "cutflow.csv", "files.csv", "plots/cutflow.png"],
)
SKIM_TARGETS += [
    f"results/skim/{channel}/{dataset}/luminosity.json"
    for channel in config["channels"]
    for dataset in datasets(channel)
    if is_data(channel, dataset)
]


rule skim_events:
    """Select events and objects of one file, with systematic shifts.

    Reads NanoAOD, PFNano or generated events, applies the channel's selection nominally and in each shift of jet energy
    scale and resolution, and keeps the events that pass in any of them with their weights, shifted jets and the
    candidates of the selected jets. Writes the cutflow of each shift and the normalisation beside it.

    Wildcards: channel, dataset, chunk (of a generated dataset, or position in the dataset's list of files).
    """
    input:
        events=local_file,
        golden_json=golden_json,
        code=sources("lhcml.skim.skim_events"),
    output:
        events="results/skim/{channel}/{dataset}/{chunk}.root",
        summary="results/skim/{channel}/{dataset}/{chunk}.json",
    log:
        "results/logs/skim/skim_events/{channel}_{dataset}_{chunk}.log",
    benchmark:
        "results/benchmarks/skim/skim_events/{channel}_{dataset}_{chunk}.tsv"
    conda:
        "../../envs/skim.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=runtime(20, seconds_per_mb=1),
    params:
        events=skimmed_file,
        config=skim_settings,
    shell:
        "python -m lhcml.skim.skim_events --input {params.events:q} --dataset {wildcards.dataset:q} "
        "--config {params.config:q} --output {output.events:q} --summary {output.summary:q} > {log:q} 2>&1"


rule merge_cutflow:
    """Sum the cutflows and normalisations of the skims of a channel.

    Gives, per dataset, the cutflow of each shift, the sum of generator weights, the cross section, the factor from weight
    to pb, and a table of the files that were read or skipped, with the cause.

    Wildcards: channel.
    """
    input:
        summaries=channel_skims,
        code=sources("lhcml.skim.merge_cutflow"),
    output:
        cutflow="results/skim/{channel}/cutflow.json",
        table=report(
            "results/skim/{channel}/cutflow.csv",
            caption="../report/skim/cutflow_table.rst",
            category="Skim",
            labels={"channel": "{channel}", "shows": "cutflow (table)"},
        ),
        files=report(
            "results/skim/{channel}/files.csv",
            caption="../report/skim/files.rst",
            category="Skim",
            labels={"channel": "{channel}", "shows": "files"},
        ),
    log:
        "results/logs/skim/merge_cutflow/{channel}.log",
    benchmark:
        "results/benchmarks/skim/merge_cutflow/{channel}.tsv"
    localrule: True
    conda:
        "../../envs/skim.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10, seconds_per_mb=5),
    params:
        folder="results/skim/{channel}",
        chunks=lambda wildcards: as_json(
            {name: len(chunks(wildcards.channel, name)) for name in datasets(wildcards.channel)}
        ),
    shell:
        "python -m lhcml.skim.merge_cutflow --skims {params.folder:q} --chunks {params.chunks:q} "
        "--output {output.cutflow:q} --table {output.table:q} --files {output.files:q} > {log:q} 2>&1"


rule list_luminosity:
    """List the luminosity sections of collision data that were read and are certified.

    What brilcalc needs to tell the integrated luminosity of the events in the skims.

    Wildcards: channel, dataset.
    """
    input:
        summaries=dataset_skims,
        golden_json=golden_json,
        code=sources("lhcml.skim.list_luminosity"),
    output:
        sections="results/skim/{channel}/{dataset}/luminosity.json",
    log:
        "results/logs/skim/list_luminosity/{channel}_{dataset}.log",
    benchmark:
        "results/benchmarks/skim/list_luminosity/{channel}_{dataset}.tsv"
    conda:
        "../../envs/skim.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        folder="results/skim/{channel}/{dataset}",
        chunks=lambda wildcards: len(chunks(wildcards.channel, wildcards.dataset)),
    shell:
        "python -m lhcml.skim.list_luminosity --skims {params.folder:q} --chunks {params.chunks} "
        "--golden-json {input.golden_json:q} --output {output.sections:q} > {log:q} 2>&1"


rule plot_cutflow:
    """Draw the cutflow of a channel and the effect of the shifts on the yield.

    Wildcards: channel.
    """
    input:
        cutflow="results/skim/{channel}/cutflow.json",
        code=sources("lhcml.skim.plot_cutflow"),
    output:
        png=report(
            "results/skim/{channel}/plots/cutflow.png",
            caption="../report/skim/cutflow.rst",
            category="Skim",
            labels={"channel": "{channel}", "shows": "cutflow"},
        ),
        pdf="results/skim/{channel}/plots/cutflow.pdf",
    log:
        "results/logs/skim/plot_cutflow/{channel}.log",
    benchmark:
        "results/benchmarks/skim/plot_cutflow/{channel}.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        label=lambda wildcards: config["channels"][wildcards.channel]["label"],
    shell:
        "python -m lhcml.skim.plot_cutflow --cutflow {input.cutflow:q} --label={params.label:q} --output {output.png:q} "
        "> {log:q} 2>&1"
