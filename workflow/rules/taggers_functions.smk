# What the rules of the taggers share: which tagger is of which kind, and where its files are.
import re
import shlex

from lhcml.common.configuration import NOT_NETWORKS
from lhcml.taggers.families import complete_architecture, default_inputs, family_module

TAGGERS = config["taggers"]["models"]
TAGGERS_CHANNEL = config["taggers"]["channel"]


def taggers_of(chosen) -> str:
    """Return a wildcard constraint that admits the taggers whose block fulfils a condition; none if there is none."""
    return "|".join(re.escape(name) for name, block in TAGGERS.items() if chosen(block)) or "(?!)"


def is_bdt(block: dict) -> bool:
    """Tell whether a tagger is a boosted tree."""
    return block["family"] == "bdt"


def is_network(block: dict) -> bool:
    """Tell whether a tagger is a network of `lhcml.taggers.models`, trained here."""
    return block["family"] not in NOT_NETWORKS


def is_onnx(block: dict) -> bool:
    """Tell whether a tagger is an ONNX model, applied and not trained here."""
    return block["family"] == "onnx"


def onnx_options(wildcards) -> str:
    """Params function: options that describe another's ONNX model; none for one of ours."""
    block = TAGGERS[wildcards.tagger]
    if "preprocess" not in block:
        return ""
    columns = shlex.quote(as_json(block.get("columns", {})))
    signal = " ".join(str(position) for position in block.get("signal_outputs", [1]))
    return f"--preprocess {shlex.quote(block['preprocess'])} --columns {columns} --signal {signal}"


def network_settings(name: str) -> dict:
    """Return what the training of a network is given; an unknown family or setting is told before any job starts."""
    block = TAGGERS[name]
    try:
        return {
            "family": block["family"],
            "inputs": block.get("inputs") or default_inputs(block["family"]),
            "architecture": complete_architecture(block["family"], block["architecture"]),
            "training": block["training"],
        }
    except UserError as error:
        raise WorkflowError(f"taggers.models.{name}: {error}") from None


NETWORKS = {name: network_settings(name) for name in TAGGERS if is_network(TAGGERS[name])}


def seeds_of(tagger: str) -> list[int]:
    """Return the seeds a tagger is trained with: its own, or those of the section."""
    return TAGGERS[tagger].get("seeds", config["taggers"]["seeds"])


def size_options(wildcards) -> str:
    """Params function: options of a training for the number of its jets, that of {size}, `_4000jets`, or of the section.

    The choice of jets depends on the seed alone, so that all taggers see the same jets.
    """
    ordinary = config["taggers"].get("jets")
    size = wildcards.size.removeprefix("_").removesuffix("jets") or ordinary
    if not size:
        return ""
    seed = derive_seed(config["seed"], "learning_curve", wildcards.seed)
    return f"--size {size} --size-seed {seed}"


def epochs_options(wildcards) -> str:
    """Params function: option of a training of another size that scales its epochs; none for an ordinary training."""
    return f"--as-many-as {config['taggers'].get('jets', 'all')}" if wildcards.size else ""


def tagger_features(group: str) -> list[str]:
    """Return the nominal feature files of the signal or background datasets."""
    pattern = "results/features/{channel}/{dataset}/nominal/{chunk}.parquet"
    return [path for dataset in config["taggers"][group] for path in per_chunk(pattern, TAGGERS_CHANNEL, dataset)]


def tagger_scores(group: str, training: str = "{seed}{size}") -> list[str]:
    """Return the nominal score files of the signal or background datasets, tagger and training left open."""
    pattern = f"results/taggers/{{tagger}}/{training}/scores/{{dataset}}/nominal.parquet"
    return expand(pattern, dataset=config["taggers"][group], allow_missing=True)


def family_sources(wildcards) -> list[str]:
    """Input function: the module of a network's family and its import closure."""
    return sources(family_module(TAGGERS[wildcards.tagger]["family"]))


def all_seeds(patterns: str | list[str]):
    """Input function: file patterns expanded over the seeds of the tagger that the wildcard names."""
    return lambda wildcards: expand(
        patterns, tagger=wildcards.tagger, seed=seeds_of(wildcards.tagger), allow_missing=True
    )


def all_trainings(patterns: str | list[str], **wildcards) -> list[str]:
    """Expand file patterns over all taggers, each with its seeds."""
    return [
        path
        for tagger in TAGGERS
        for path in expand(patterns, tagger=tagger, seed=seeds_of(tagger), allow_missing=True, **wildcards)
    ]


def tagger_label(name: str) -> str:
    """Return the name of a tagger on plots and in tables."""
    return TAGGERS[name].get("label", name)


def energy_label() -> str:
    """Return the text on plots that says what the jets are."""
    return config["channels"][TAGGERS_CHANNEL].get("label", "")
