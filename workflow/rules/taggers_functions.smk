# What the rules of the taggers share: which tagger is of which kind, and where its files are.
import re

from lhcml.taggers.families import complete_architecture, family_module

TAGGERS = config["taggers"]["models"]
TAGGERS_CHANNEL = config["taggers"]["channel"]


def taggers_of(chosen) -> str:
    """Return a wildcard constraint that admits the taggers whose block fulfils a condition; none if there is none."""
    return "|".join(re.escape(name) for name, block in TAGGERS.items() if chosen(block)) or "(?!)"


def is_bdt(block: dict) -> bool:
    """Tell whether a tagger is a boosted tree (else it is a network)."""
    return block["family"] == "bdt"


def architecture_of(name: str) -> dict:
    """Return the complete architecture of a network; an unknown family or setting is told before any job starts."""
    block = TAGGERS[name]
    try:
        return complete_architecture(block["family"], block["architecture"])
    except UserError as error:
        raise WorkflowError(f"taggers.models.{name}: {error}") from None


ARCHITECTURES = {name: architecture_of(name) for name in TAGGERS if not is_bdt(TAGGERS[name])}


def tagger_features(group: str) -> list[str]:
    """Return the nominal feature files of the signal or background datasets."""
    pattern = "results/features/{channel}/{dataset}/nominal/{chunk}.parquet"
    return [path for dataset in config["taggers"][group] for path in per_chunk(pattern, TAGGERS_CHANNEL, dataset)]


def tagger_scores(group: str) -> list[str]:
    """Return the nominal score files of the signal or background datasets, tagger and seed left open."""
    pattern = "results/taggers/{tagger}/{seed}/scores/{dataset}/nominal.parquet"
    return expand(pattern, dataset=config["taggers"][group], allow_missing=True)


def family_sources(wildcards) -> list[str]:
    """Input function: the module of a network's family and its import closure."""
    return sources(family_module(TAGGERS[wildcards.tagger]["family"]))


def all_seeds(pattern: str | list[str]) -> list[str]:
    """Expand file patterns over the seeds of the configuration."""
    return expand(pattern, seed=config["taggers"]["seeds"], allow_missing=True)


def tagger_label(name: str) -> str:
    """Return the name of a tagger on plots and in tables."""
    return TAGGERS[name].get("label", name)


def energy_label() -> str:
    """Return the text on plots that says what the jets are."""
    return config["channels"][TAGGERS_CHANNEL].get("label", "")
