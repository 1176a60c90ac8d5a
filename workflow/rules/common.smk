# What the rules of several stages share.
import json

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


def memory(base_mb: int, per_input_mb: float = 0.0):
    """Return a `mem_mb` function: a base, plus a multiple of the input size, times the attempt."""

    def mem_mb(wildcards, input, attempt):
        return int((base_mb + per_input_mb * input.size_mb) * attempt)

    return mem_mb


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
    """Tell whether a dataset is made here of a file of the LHC Olympics."""
    return "olympics" in datasets(channel)[dataset]


def chunks(channel: str, dataset: str) -> list[int]:
    """Return the chunk numbers of a dataset: chunks of events made here, or positions in its list of files."""
    block = datasets(channel)[dataset]
    if is_generated(channel, dataset) or is_imported(channel, dataset):
        return list(range(-(-block["events"] // config["samples"]["events_per_chunk"])))
    return list(range(len(block["files"])))


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


def events_file(wildcards) -> str:
    """Input function: the ROOT file of the chunk that the wildcards name."""
    return events_file_of(wildcards.channel, wildcards.dataset, int(wildcards.chunk))


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
