# What the rules of several stages share.
import json
import math

# Environments belong to the workflow: without cached bytecode the imports of a job take seconds more, so it is allowed.
shell.prefix(
    "set -euo pipefail; unset PYTHONDONTWRITEBYTECODE; "
    f"export PYTHONPATH={str(ROOT / 'src')!r} NUMBA_CACHE_DIR={str(ROOT / '.numba-cache')!r} PYTHONHASHSEED=0; "
)


def sources(module: str) -> list[str]:
    """Return a module's file and those of its import closure: an edit of any of them reruns the rule."""
    return [os.path.relpath(path) for path in import_closure(module, ROOT / "src")]


def as_json(value) -> str:
    """Return a configuration block as the JSON text that modules take on their command line."""
    return json.dumps(value, sort_keys=True)


def data_mb(files: list[str]) -> float:
    """Return the size of input files in MB without source code; one that is not made yet raises FileNotFoundError.

    Much faster than Snakemake's `input.size_mb`, which of thousands of jobs takes longer than all else in a dry run.
    """
    return sum(os.path.getsize(path) for path in files if not path.endswith(".py")) / 2**20


def request(base: float, per_mb: float, per_event: float):
    """Return a resource function: a base, plus so much per MB of input and per event of the chunk, times the attempt."""

    def amount(wildcards, input, attempt):
        # the size of inputs that are not made yet is asked for only where it matters: dry runs show the rest
        size = data_mb(input) if per_mb else 0
        events = events_of_chunk(wildcards) if per_event else 0
        return math.ceil((base + per_mb * size + per_event * events) * attempt)

    return amount


def memory(base_mb: float, mb_per_mb: float = 0, mb_per_event: float = 0):
    """Return a `mem_mb` function of the input size, the events of the chunk and the attempt."""
    return request(base_mb, mb_per_mb, mb_per_event)


def runtime(base_minutes: float, seconds_per_mb: float = 0, seconds_per_event: float = 0):
    """Return a `runtime` function (minutes) of the input size, the events of the chunk and the attempt."""
    return request(base_minutes, seconds_per_mb / 60, seconds_per_event / 60)


def job_seed(rule: str, *names: str):
    """Return a params function: the seed of a job from the root seed, its rule and its wildcards."""

    def seed(wildcards):
        return derive_seed(config["seed"], rule, *(wildcards[name] for name in names))

    return seed


def datasets(channel: str) -> dict:
    """Return the dataset blocks of a channel by name."""
    return config["channels"][channel]["datasets"]


def is_generated(channel: str, dataset: str) -> bool:
    """Tell whether a dataset is made here with Pythia (else it is read from files)."""
    return "generate" in datasets(channel)[dataset]


def is_imported(channel: str, dataset: str) -> bool:
    """Tell whether a dataset is made here of public files of another format."""
    return "import" in datasets(channel)[dataset]


def chunks(channel: str, dataset: str) -> list[int]:
    """Return the chunk numbers of a dataset: chunks of events made here, or positions in its list of files."""
    block = datasets(channel)[dataset]
    if is_generated(channel, dataset):
        return list(range(chunks_of(block["events"])))
    if is_imported(channel, dataset):
        # the chunks of the first file, then those of the next one
        return list(range(len(block["import"]["files"]) * chunks_of(block["events"])))
    return list(range(len(block["files"])))


def chunks_of(events: int) -> int:
    """Return how many chunks these events are made in."""
    return -(-events // config["samples"]["events_per_chunk"])


def split_of(channel: str, dataset: str) -> dict:
    """Return the fractions of training, validation and test events of a dataset: all in one part if it says so."""
    fractions = config["features"]["split"]
    part = datasets(channel)[dataset].get("split")
    return fractions if part is None else {name: float(name == part) for name in fractions}


def per_chunk(pattern: str, channel: str, dataset: str, **wildcards: str) -> list[str]:
    """Expand a file pattern over the chunks of a dataset."""
    return expand(pattern, channel=channel, dataset=dataset, chunk=chunks(channel, dataset), **wildcards)


def events_file_of(channel: str, dataset: str, chunk: int) -> str:
    """Return the ROOT file of a chunk: made here, or the user's own."""
    if is_generated(channel, dataset):
        return f"results/samples/{channel}/{dataset}/{chunk}.root"
    if is_imported(channel, dataset):
        return f"results/samples/{channel}/{dataset}/imported/{chunk}.root"
    return datasets(channel)[dataset]["files"][chunk]


def one_of(names) -> str:
    """Return a wildcard constraint that admits these names only."""
    return "|".join(names) or "(?!)"


def captions() -> list[str]:
    """Return the caption files of the report: an edit of one makes the report again."""
    return sorted(os.path.relpath(path) for path in (ROOT / "workflow/report").rglob("*.rst"))


wildcard_constraints:
    channel="[A-Za-z0-9]+",
    dataset="[A-Za-z0-9_]+",
    chunk=r"\d+",
    shift="[A-Za-z0-9]+",
    tagger="[A-Za-z0-9_]+",
    seed=r"\d+",
    size=r"(_\d+jets)?",
    mixture="[A-Za-z0-9_]+",
    window=r"[\d.]+-[\d.]+",
    measurement="[A-Za-z0-9_]+(/patches/[^/]+)?",
