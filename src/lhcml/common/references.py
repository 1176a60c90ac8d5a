"""Checks of what the schema of the configuration cannot say: references between its sections."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhcml.common.errors import UserError

# Truth labels of the layouts of public files
IMPORT_LABELS = {
    "toptag": ("background", "signal"),
    "olympics": ("background", "signal"),
    "omnifold": (),
    "trigger": (),
    "jetclass": ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl"),
}
# In place of the name of a tagger: the one that separates the validation jets best
BEST_TAGGER = "best"


def require_known(key: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Raise a UserError for the first of `names` that is not among `known`."""
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"choose among: {', '.join(known) or '(none defined)'}"
            raise UserError(f"{key}: {name!r} is not defined", hint)


def check_references(config: Mapping[str, Any]) -> None:
    """Check that channels, datasets and taggers named in one section are defined in another.

    Raises
    ------
    UserError
        Naming the key, the value and what could be meant.
    """
    channels = config["channels"]
    taggers = config["taggers"]
    for name, channel in channels.items():
        for dataset, block in channel["datasets"].items():
            if "import" in block:
                labels = ["all", *IMPORT_LABELS[block["import"]["layout"]]]
                require_known(f"channels.{name}.datasets.{dataset}.import.label", [block["import"]["label"]], labels)
    check_features(config)
    if taggers["models"]:
        require_known("taggers.channel", [taggers["channel"]], list(channels))
        known = list(channels[taggers["channel"]]["datasets"])
        require_known("taggers.signal", taggers["signal"], known)
        require_known("taggers.background", taggers["background"], known)
        both = sorted(set(taggers["signal"]) & set(taggers["background"]))
        if both:
            raise UserError(f"taggers: {', '.join(both)} is both signal and background", "keep it in one of the lists")
        curve = taggers["learning_curve"]
        require_known("taggers.learning_curve.taggers", curve["taggers"], list(taggers["models"]))
        tested = taggers["robustness"].get("taggers", [])
        require_known("taggers.robustness.taggers", tested, list(taggers["models"]))
    check_anomaly(config)
    check_pairs(config)
    check_unfolding(config)
    for name, measurement in config["inference"]["measurements"].items():
        check_measurement(f"inference.measurements.{name}", measurement, channels, taggers)
    check_firmware(config)


def check_measurement(
    key: str, measurement: Mapping[str, Any], channels: Mapping[str, Any], taggers: Mapping[str, Any]
) -> None:
    """Check that the files, channel, tagger and datasets of a measurement exist.

    Raises
    ------
    UserError
        With the key, the value, and what there is instead.
    """
    for kind in ("workspace", "patchset", "histfactory"):
        if kind in measurement and not Path(measurement[kind]).is_file():
            raise UserError(f"{key}.{kind}: no file {measurement[kind]!r}", "give the path of an existing file")
    if "channel" not in measurement:
        return
    require_known(f"{key}.channel", [measurement["channel"]], list(channels))
    if "tagger" in measurement:
        splits = taggers["score_splits"]
        if len(splits) < 3:
            raise UserError(
                f"{key} needs the scores of all jets; taggers.score_splits has {', '.join(splits)}",
                "leave score_splits out, or remove the measurement by setting it to null",
            )
        models = taggers["models"]
        require_known(f"{key}.tagger", [measurement["tagger"]], [*models, BEST_TAGGER])
        chosen = models.values() if measurement["tagger"] == BEST_TAGGER else [models[measurement["tagger"]]]
        seeds = sorted({seed for block in chosen for seed in block.get("seeds", taggers["seeds"])})
        require_known(f"{key}.tagger_seed", [str(measurement["tagger_seed"])], [str(seed) for seed in seeds])
    known = list(channels[measurement["channel"]]["datasets"])
    for sample, block in measurement["samples"].items():
        require_known(f"{key}.samples.{sample}.datasets", block.get("datasets", []), known)
    require_known(f"{key}.data.datasets", measurement["data"]["datasets"], known)


def check_features(config: Mapping[str, Any]) -> None:
    """Check the section of features.

    Raises
    ------
    UserError
        If a channel or dataset to plot is not defined or keeps no constituents, a channel with levels lacks what they
        need, or the split does not sum to one.
    """
    require_known("features.levels", list(config["features"]["levels"]), list(config["channels"]))
    for channel, levels in config["features"]["levels"].items():
        check_levels(channel, levels, config["channels"][channel])
    plots = config["features"]["plots"]
    require_known("features.plots", list(plots), list(config["channels"]))
    for channel, names in plots.items():
        require_known(f"features.plots.{channel}", names, list(config["channels"][channel]["datasets"]))
        if not config["channels"][channel]["selection"]["keep"]["constituents"]:
            raise UserError(
                f"features.plots: channel {channel!r} keeps no constituents, from which features are computed",
                f"set channels.{channel}.selection.keep.constituents to true, or take the channel out of the plots",
            )
    split = config["features"]["split"]
    total = sum(split.values())
    if abs(total - 1) > 1e-9:
        parts = " + ".join(f"{name} {share}" for name, share in split.items())
        raise UserError(f"features.split: {parts} = {total:g}", "give fractions that sum to 1")


def check_levels(channel: str, levels: Mapping[str, Any], block: Mapping[str, Any]) -> None:
    """Check that a channel has what observables at both levels need.

    Raises
    ------
    UserError
        Naming the key of the channel that has to be changed.
    """
    selection = block["selection"]
    keep, jets = selection["keep"], selection["jets"]
    collections = block["samples"]["collections"]
    simulated = [dataset for dataset in block["datasets"].values() if not dataset.get("data", False)]
    generated = [dataset for dataset in simulated if "generate" in dataset]
    needs = (
        (keep["events"] == "all", "selection.keep.events: all", "the events that fail are part of an unfolding"),
        (keep["constituents"], "selection.keep.constituents: true", "observables are computed from them"),
        (keep["particle_level"] or not simulated, "selection.keep.particle_level: true", "simulation has both levels"),
        (levels["jets"] == 1 or jets["take"] != "leading", "selection.jets.take: two_leading", "it has two jets"),
        ("z_candidate" in selection or not levels["leptons"], "selection.z_candidate", "it is where leptons come from"),
        (
            not generated or {"PFCands", "GenCands", jets["collection"]} <= set(collections),
            f"samples.collections: [{jets['collection']}, PFCands, GenCands]",
            "generated events need the constituents of both levels",
        ),
    )  # fmt: skip
    for met, key, reason in needs:
        if not met:
            raise UserError(
                f"features.levels.{channel} needs channels.{channel}.{key}: {reason}",
                f"set it, or set features.levels.{channel} to null",
            )


def check_unfolding(config: Mapping[str, Any]) -> None:
    """Check the section of unfolding.

    Raises
    ------
    UserError
        If it names a channel, dataset, shift, observable or method that is not defined.
    """
    block = config["unfolding"]
    if not block["methods"]:
        return
    observables = list(block["observables"])
    if not observables:
        raise UserError("unfolding.observables is empty", "name at least one observable with its bins")
    for name, method in block["methods"].items():
        require_known(f"unfolding.methods.{name}.observables", method.get("observables", []), observables)
        if method["family"] == "omnifold" and method["estimator"] == "trees":
            raise UserError(
                f"unfolding.methods.{name}: trees take no lists of constituents", "take networks, or family multifold"
            )
    require_known("unfolding.tests.methods", block["tests"]["methods"], list(block["methods"]))
    if "observable" in block["tests"]:
        require_known("unfolding.tests.observable", [block["tests"]["observable"]], observables)
    if "tables" in block:
        return
    channel = block["channel"]
    require_known("unfolding.channel", [channel], list(config["channels"]))
    require_known("unfolding.channel", [channel], list(config["features"]["levels"]))
    datasets = config["channels"][channel]["datasets"]
    for role in ("simulation", "data", "background"):
        require_known(f"unfolding.{role}", block[role], list(datasets))
    shifts = config["channels"][channel]["selection"].get("shifts", [])
    for name, systematic in block["systematics"].items():
        key = f"unfolding.systematics.{name}"
        if systematic["source"] == "prior":
            require_known(key, [systematic["dataset"]], list(datasets))
        else:
            require_known(key, [systematic["up"], systematic["down"]], shifts)
    needs = [name for name, method in block["methods"].items() if method["family"] == "omnifold"]
    if needs and not config["features"]["levels"][channel]["constituents"]:
        raise UserError(
            f"unfolding.methods.{needs[0]} needs constituents, which the levels of channel {channel!r} lack",
            f"set features.levels.{channel}.constituents to true",
        )


def check_anomaly(config: Mapping[str, Any]) -> None:
    """Check the section of anomaly detection.

    Raises
    ------
    UserError
        If it names a channel, dataset, method or mixture that is not defined, or intervals that do not fit together.
    """
    block = config["anomaly"]
    if not block["methods"]:
        return
    named = [name for role in ("data", "background", "signal") for name in block[role]]
    known = list(block["imports"])
    if not set(named) <= set(known):
        require_known("anomaly.channel", [block["channel"]], list(config["channels"]))
        channel = config["channels"][block["channel"]]
        known += list(channel["datasets"])
        if channel["selection"]["jets"]["take"] == "leading":
            raise UserError(
                f"anomaly.channel: the selection of {block['channel']!r} takes one jet an event",
                f"set channels.{block['channel']}.selection.jets.take to two_leading",
            )
    for role in ("data", "background", "signal"):
        require_known(f"anomaly.{role}", block[role], known)
    if not block["data"] and not (block["background"] and block["signal"]):
        raise UserError(
            "anomaly has no data to search, and not both background and signal to mix them from",
            "name datasets in anomaly.data, or in anomaly.background and anomaly.signal",
        )
    if not block["mixtures"]:
        raise UserError("anomaly.mixtures is empty", "name one: mixtures: {benchmark: {signal_to_background: 0.006}}")
    limits = block["range"]
    for key, window in (("window", block["window"]), *(("scan.windows", one) for one in block["scan"]["windows"])):
        if not limits["min"] < window["min"] < window["max"] < limits["max"]:
            raise UserError(
                f"anomaly.{key}: {window['min']:g} to {window['max']:g} GeV is not inside anomaly.range, "
                f"{limits['min']:g} to {limits['max']:g} GeV, with sidebands at both ends",
                "move the signal region, or widen the range",
            )
    bins = block["search"]["bins"]
    edges = bins.get("edges") or [bins.get(end, limits[end]) for end in ("min", "max")]
    if not limits["min"] <= min(edges) < max(edges) <= limits["max"]:
        raise UserError(
            f"anomaly.search.bins: {min(edges):g} to {max(edges):g} GeV is not inside anomaly.range, "
            f"{limits['min']:g} to {limits['max']:g} GeV",
            "widen the range, or change the bins",
        )
    for kind in ("methods", "mixtures"):
        for name, part in block[kind].items():
            require_known(f"anomaly.{kind}.{name}.search", list(part.get("search", {})), list(block["search"]))
    methods = list(block["methods"])
    for name, mixture in block["mixtures"].items():
        require_known(f"anomaly.mixtures.{name}.methods", mixture.get("methods", []), methods)
    require_known("anomaly.scan.mixtures", block["scan"]["mixtures"], list(block["mixtures"]))
    require_known("anomaly.scan.methods", block["scan"]["methods"], methods)
    require_known("anomaly.checks.methods", block["checks"]["methods"], methods)
    if block["checks"]["methods"]:
        require_known("anomaly.checks.mixture", [block["checks"].get("mixture", "")], list(block["mixtures"]))


def check_pairs(config: Mapping[str, Any]) -> None:
    """Check the search in the masses of pairs of objects, and the autoencoders on jets.

    Raises
    ------
    UserError
        If a channel or dataset is not defined, or collision data are mixed with simulation or lack their luminosity.
    """
    auto = config["anomaly"]["autoencoders"]
    if auto["models"]:
        require_known("anomaly.autoencoders.channel", [auto["channel"]], list(config["channels"]))
        known = list(config["channels"][auto["channel"]]["datasets"])
        for name, members in auto["classes"].items():
            require_known(f"anomaly.autoencoders.classes.{name}", members, known)
    pairs = config["anomaly"]["pairs"]
    if not pairs["data"]:
        return
    require_known("anomaly.pairs.channel", [pairs["channel"]], list(config["channels"]))
    datasets = config["channels"][pairs["channel"]]["datasets"]
    for role in ("data", "signals"):
        require_known(f"anomaly.pairs.{role}", pairs[role], list(datasets))
    collisions = [name for name in pairs["data"] if datasets[name].get("data", False)]
    if collisions and len(collisions) < len(pairs["data"]):
        raise UserError(
            f"anomaly.pairs.data: {', '.join(collisions)} are collision data, the others are not", "search one kind"
        )
    if collisions and "luminosity" not in pairs:
        raise UserError("anomaly.pairs.luminosity is missing, and collision data do not know theirs", "give it in 1/fb")
    bins = pairs["search"]["bins"]
    if not bins["min"] < bins["max"]:
        raise UserError(
            f"anomaly.pairs.search.bins: {bins['min']:g} to {bins['max']:g} GeV is empty", "give the lower end first"
        )


def check_firmware(config: Mapping[str, Any]) -> None:
    """Check that the channels, datasets and taggers of the models of firmware exist, and their points.

    Raises
    ------
    UserError
        With the key, the value, and what there is instead.
    """
    section = config["firmware"]
    require_known("firmware.timing", section["timing"], list(section["models"]))
    for name, model in section["models"].items():
        key = f"firmware.models.{name}"
        require_known(f"{key}.chosen", [model.get("chosen", model["points"][0])], model["points"])
        if model["family"] == "bdt":
            check_firmware_trees(key, model, config["taggers"])
            continue
        if "tagger" in model:
            raise UserError(f"{key}.tagger: a {model['family']} is trained here", "leave it out, or use family: bdt")
        require_known(f"{key}.channel", [model["channel"]], list(config["channels"]))
        known = list(config["channels"][model["channel"]]["datasets"])
        for group in ("background", "signals"):
            require_known(f"{key}.{group}", model[group], known)
        both = sorted(set(model["signals"]) & set(model["background"]))
        if both:
            raise UserError(f"{key}: {', '.join(both)} is both signal and background", "keep it in one of the lists")


def check_firmware_trees(key: str, model: Mapping[str, Any], taggers: Mapping[str, Any]) -> None:
    """Check the tagger of trees that become firmware.

    Raises
    ------
    UserError
        If the tagger is not defined, is no `bdt`, lacks the seed, or a point is not one of trees.
    """
    trees = [name for name, block in taggers["models"].items() if block["family"] == "bdt"]
    if "tagger" not in model:
        raise UserError(f"{key} names no tagger", f"give `tagger`, one of {', '.join(trees) or '(none defined)'}")
    require_known(f"{key}.tagger", [model["tagger"]], trees)
    seeds = taggers["models"][model["tagger"]].get("seeds", taggers["seeds"])
    require_known(f"{key}.tagger_seed", [str(model["tagger_seed"])], [str(seed) for seed in seeds])
    other = [point for point in model["points"] if not point.removeprefix("post").isdigit()]
    if other:
        raise UserError(f"{key}.points: {other[0]!r} is for networks", "trees have post<bits>, for instance post10")
