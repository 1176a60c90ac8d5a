# Which tagger a measurement uses.
import json

from lhcml.common.references import BEST_TAGGER


def candidate_files(block: dict) -> dict:
    """Return the nominal score files of every candidate of a measurement with `tagger: best`, by kind of jet.

    Candidates are the taggers trained here with its seed.
    """
    seed = block["tagger_seed"]
    names = [name for name in TAGGERS if is_bdt(TAGGERS[name]) or is_network(TAGGERS[name])]
    kinds = {kind: config["taggers"][kind] for kind in ("signal", "background")}
    return {
        name: {
            kind: [f"results/taggers/{name}/{seed}/scores/{dataset}/nominal.parquet" for dataset in datasets]
            for kind, datasets in kinds.items()
        }
        for name in names
        if seed in seeds_of(name)
    }


def candidate_scores(wildcards) -> list[str]:
    """Input function: the score files of every candidate."""
    files = candidate_files(MEASUREMENTS[wildcards.measurement])
    return [path for kinds in files.values() for paths in kinds.values() for path in paths]


def tagger_of(name: str) -> str:
    """Return the tagger of a measurement; where it asks for the best, the one that was chosen."""
    tagger = MEASUREMENTS[name]["tagger"]
    if tagger != BEST_TAGGER:
        return tagger
    with open(checkpoints.choose_tagger.get(measurement=name).output.tagger, encoding="utf-8") as file:
        return json.load(file)["tagger"]
