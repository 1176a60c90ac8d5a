# Displays, summary, cost table and the report archive.
# Only the skim reads over the network: events of a remote file are not drawn
DISPLAYS = [
    (channel, dataset)
    for channel, block in config["channels"].items()
    for dataset in block["datasets"]
    if config["report"]["displays"] and not is_remote(events_file_of(channel, dataset, 0))
]
REPORT_DISPLAYS = [f"results/report/plots/events_{channel}_{dataset}.png" for channel, dataset in DISPLAYS]
if config["taggers"]["models"]:
    REPORT_DISPLAYS += [
        f"results/report/plots/jets_{config['taggers']['channel']}_{dataset}.png"
        for channel, dataset in DISPLAYS
        if channel == config["taggers"]["channel"]
    ]
# What the report shows, apart from its own tables
RESULT_TARGETS = (
    SAMPLES_TARGETS
    + SKIM_TARGETS
    + FEATURES_TARGETS
    + TAGGERS_TARGETS
    + ANOMALY_TARGETS
    + AUTOENCODER_TARGETS
    + ANOMALY_PAIRS_TARGETS
    + UNFOLDING_TARGETS
    + INFERENCE_TARGETS
    + FIRMWARE_TARGETS
)
REPORT_TABLES = [
    "results/report/summary.txt",
    "results/report/benchmarks.csv",
]
REPORT_TARGETS = REPORT_TABLES + REPORT_DISPLAYS + ["results/report.zip"]


rule plot_events:
    """Draw the first events of a dataset in the eta-phi plane.

    Wildcards: channel, dataset.
    """
    input:
        events=lambda wildcards: events_file_of(wildcards.channel, wildcards.dataset, 0),
        code=sources("lhcml.report.plot_displays"),
    output:
        png=report(
            "results/report/plots/events_{channel}_{dataset}.png",
            caption="../report/report/event_display.rst",
            category="Displays",
            labels={"dataset": "{channel}/{dataset}", "shows": "events"},
        ),
        pdf="results/report/plots/events_{channel}_{dataset}.pdf",
    log:
        "results/logs/report/plot_events/{channel}_{dataset}.log",
    benchmark:
        "results/benchmarks/report/plot_events/{channel}_{dataset}.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        displays=config["report"]["displays"],
    shell:
        "python -m lhcml.report.plot_displays --events {input.events:q} --count {params.displays} "
        "--label {wildcards.channel:q}/{wildcards.dataset:q} --output {output.png:q} > {log:q} 2>&1"


rule plot_jets:
    """Draw the first selected jets of a dataset with their constituents.

    Wildcards: channel, dataset.
    """
    input:
        jets="results/features/{channel}/{dataset}/nominal/0.parquet",
        code=sources("lhcml.report.plot_displays"),
    output:
        png=report(
            "results/report/plots/jets_{channel}_{dataset}.png",
            caption="../report/report/jet_display.rst",
            category="Displays",
            labels={"dataset": "{channel}/{dataset}", "shows": "jets"},
        ),
        pdf="results/report/plots/jets_{channel}_{dataset}.pdf",
    log:
        "results/logs/report/plot_jets/{channel}_{dataset}.log",
    benchmark:
        "results/benchmarks/report/plot_jets/{channel}_{dataset}.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        displays=config["report"]["displays"],
    shell:
        "python -m lhcml.report.plot_displays --jets {input.jets:q} --count {params.displays} "
        "--label {wildcards.channel:q}/{wildcards.dataset:q} --output {output.png:q} > {log:q} 2>&1"


rule tabulate_benchmarks:
    """Table the cost of every rule and suggest resources for a profile."""
    input:
        RESULT_TARGETS,
        REPORT_DISPLAYS,
        code=sources("lhcml.report.tabulate_benchmarks"),
    output:
        csv=report(
            "results/report/benchmarks.csv",
            caption="../report/report/benchmarks.rst",
            category="Summary",
            labels={"table": "cost of each rule"},
        ),
        json="results/report/benchmarks.json",
        profile="results/report/resources.yaml",
    log:
        "results/logs/report/tabulate_benchmarks.log",
    benchmark:
        "results/benchmarks/report/tabulate_benchmarks/all.tsv"
    localrule: True
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    shell:
        "python -m lhcml.report.tabulate_benchmarks --folder results/benchmarks --csv {output.csv:q} "
        "--json {output.json:q} --profile {output.profile:q} > {log:q} 2>&1"


rule write_summary:
    """Gather the figures of merit of the run in one page."""
    input:
        cutflow=expand("results/skim/{channel}/cutflow.json", channel=config["channels"]),
        comparison="results/taggers/comparison.json" if config["taggers"]["models"] else [],
        anomaly="results/anomaly/comparison.json" if SEARCH_METHODS else [],
        autoencoders="results/anomaly/autoencoders.json" if AUTOENCODER_MODELS else [],
        unfolding="results/unfolding/comparison.json" if UNFOLDING_METHODS else [],
        inference=SUMMARISED_RESULTS,
        firmware=FIRMWARE_SUMMARIES,
        benchmarks="results/report/benchmarks.json",
        code=sources("lhcml.report.write_summary"),
    output:
        text=report(
            "results/report/summary.txt",
            caption="../report/report/summary.rst",
            category="Summary",
            labels={"table": "figures of merit"},
        ),
        json="results/report/summary.json",
    log:
        "results/logs/report/write_summary.log",
    benchmark:
        "results/benchmarks/report/write_summary/all.tsv"
    localrule: True
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        arguments=lambda wildcards, input: " ".join(
            [f"--cutflow {path}" for path in input.cutflow]
            + ([f"--comparison {input.comparison}"] if input.comparison else [])
            + ([f"--anomaly {input.anomaly}"] if input.anomaly else [])
            + ([f"--autoencoders {input.autoencoders}"] if input.autoencoders else [])
            + ([f"--unfolding {input.unfolding}"] if input.unfolding else [])
            + [f"--inference {path}" for path in input.inference]
            + [f"--firmware {path}" for path in input.firmware]
        ),
    shell:
        "python -m lhcml.report.write_summary {params.arguments} --benchmarks {input.benchmarks:q} "
        "--text {output.text:q} --json {output.json:q} > {log:q} 2>&1"


rule make_report:
    """Pack all figures and tables with captions into a report that opens offline.

    Snakemake itself makes it, called once more for the files of the report with the same configuration; the job is handed
    over to it, without an environment of its own, so that it is the same Snakemake.
    """
    input:
        RESULT_TARGETS,
        REPORT_DISPLAYS,
        REPORT_TABLES,
        captions=captions(),
    output:
        archive="results/report.zip",
        config="results/report/config.json",
    log:
        "results/logs/report/make_report.log",
    benchmark:
        "results/benchmarks/report/make_report/all.tsv"
    handover: True
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=runtime(20),
    params:
        config=as_json(MERGED_CONFIG),
        # of an analysis that imports this workflow it is that of the analysis
        snakefile=os.path.relpath(workflow.main_snakefile),
        targets=lambda wildcards, input: [path for path in input if path not in input.captions],
    shell:
        "printf '%s\\n' {params.config:q} > {output.config:q}; "
        "snakemake --snakefile {params.snakefile:q} --configfile {output.config:q} --report {output.archive:q} "
        "--nolock --cores 1 -- {params.targets:q} > {log:q} 2>&1"
