# Events made here: Pythia 8, a parametric detector, jets; and plots that validate them.
from lhcml.samples.processes import find_process


def generated_datasets(channel: str) -> list[str]:
    """Return the datasets of a channel that are made here."""
    return [name for name in datasets(channel) if is_generated(channel, name)]


for _channel in config["channels"]:
    for _dataset in generated_datasets(_channel):
        try:
            # an unknown process is told before any job starts
            find_process(datasets(_channel)[_dataset]["generate"])
        except UserError as error:
            raise WorkflowError(f"channels.{_channel}.datasets.{_dataset}: {error}") from None

EVENTS_PER_CHUNK = config["samples"]["events_per_chunk"]
VALIDATED_CHANNELS = [channel for channel in config["channels"] if generated_datasets(channel)]
SAMPLES_TARGETS: list[str] = []


def events_of_chunk(wildcards) -> int:
    """Params function: the number of events of a chunk; the last one may be shorter."""
    events = datasets(wildcards.channel)[wildcards.dataset]["events"]
    return min(EVENTS_PER_CHUNK, events - int(wildcards.chunk) * EVENTS_PER_CHUNK)


def generated_files(wildcards) -> list[str]:
    """Input function: all generated files of a channel, dataset by dataset."""
    pattern = "results/samples/{channel}/{dataset}/{chunk}.root"
    return [
        path
        for dataset in generated_datasets(wildcards.channel)
        for path in per_chunk(pattern, wildcards.channel, dataset)
    ]


rule generate_events:
    """Generate one chunk of a dataset.

    Pythia 8 events with weights of shower variations, a parametric detector with energy flow, anti-kT jets at both levels;
    written with NanoAOD and PFNano branch names.
    Wildcards: channel, dataset, chunk (number of the job, from 0).
    """
    input:
        code=sources("lhcml.samples.generate_events"),
    output:
        "results/samples/{channel}/{dataset}/{chunk}.root",
    log:
        "results/logs/samples/generate_events/{channel}_{dataset}_{chunk}.log",
    benchmark:
        "results/benchmarks/samples/generate_events/{channel}_{dataset}_{chunk}.tsv"
    conda:
        "../../envs/samples.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=60,
    params:
        generate=lambda wildcards: as_json(datasets(wildcards.channel)[wildcards.dataset]["generate"]),
        content=lambda wildcards: as_json(config["channels"][wildcards.channel]["samples"]),
        events=events_of_chunk,
        first=lambda wildcards: int(wildcards.chunk) * EVENTS_PER_CHUNK + 1,
        block=lambda wildcards: int(wildcards.chunk) + 1,
        seed=job_seed("generate_events", "channel", "dataset", "chunk"),
    shell:
        "python -m lhcml.samples.generate_events --generate {params.generate:q} --content {params.content:q} "
        "--events {params.events} --first-event {params.first} --luminosity-block {params.block} "
        "--seed {params.seed} --output {output:q} > {log:q} 2>&1"
