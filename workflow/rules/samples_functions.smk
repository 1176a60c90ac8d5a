# What the rules in samples.smk take from the configuration.
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
# The plots show at most this many chunks of a dataset
VALIDATED_CHUNKS = 20
SAMPLES_TARGETS = expand(
    "results/samples/plots/{plot}_{channel}.png",
    plot=["jets", "response", "weights"],
    channel=VALIDATED_CHANNELS,
)


def events_of_chunk(wildcards) -> int:
    """Params function: the number of events of a chunk; the last one may be shorter."""
    events = datasets(wildcards.channel)[wildcards.dataset]["events"]
    return min(EVENTS_PER_CHUNK, events - int(wildcards.chunk) % chunks_of(events) * EVENTS_PER_CHUNK)


def validated_files(wildcards) -> list[str]:
    """Input function: the first generated files of each dataset of a channel."""
    pattern = "results/samples/{channel}/{dataset}/{chunk}.root"
    return [
        path
        for dataset in generated_datasets(wildcards.channel)
        for path in per_chunk(pattern, wildcards.channel, dataset)[:VALIDATED_CHUNKS]
    ]
