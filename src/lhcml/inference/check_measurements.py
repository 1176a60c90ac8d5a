"""Checks of the configured measurements that a schema cannot make, done before any job starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, pairwise
from typing import Any

from lhcml.common.errors import UserError
from lhcml.inference.naming import applies, parameter_name

# Shifts of the parton shower are weights of the same events; others move the jets
WEIGHT_SHIFTS = ("isr", "fsr")
# Keys of modifiers that go with some types only
KEYS_OF_TYPES = {
    "up": ("normsys", "histosys"), "down": ("normsys", "histosys"), "source": ("histosys",),
    "symmetrise": ("histosys",), "separate_rate": ("histosys",), "sigma": ("lumi",), "uncertainty": ("shapesys",),
    "statistical": ("shapesys",), "column": ("shapesys",), "parameter": ("normfactor", "normsys", "histosys"),
    "split": ("normfactor", "normsys", "histosys", "shapefactor"),
}  # fmt: skip


def check_measurements(measurements: Mapping[str, Any], channels: Mapping[str, Any]) -> None:
    """Check the section `inference.measurements` of a schema-valid configuration.

    Parameters
    ----------
    measurements : mapping
        Measurements by name.
    channels : mapping
        Section `channels`, whose selections tell which shifts there are.

    Raises
    ------
    UserError
        For the first fault, with its key, value, and fix.
    """
    for name, block in measurements.items():
        faults: list[Iterator[tuple[str, str, str]]] = []
        if "channel" in block:
            shifts = channels[block["channel"]].get("selection", {}).get("shifts", [])
            faults = [_table_faults(block), _model_faults(block), _data_faults(block), _shift_faults(block, shifts)]
        elif "histograms" in block:
            faults = [_histogram_faults(block), _model_faults(block)]
        for key, cause, fix in chain(*faults):
            raise UserError(f"inference.measurements.{name}.{key}: {cause}", fix)


def places_of(block: Mapping[str, Any], modifier: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the (region, sample) that a modifier acts on."""
    return [
        (region, sample)
        for sample, part in block["samples"].items()
        for region in part.get("regions", block["regions"])
        if applies(modifier, region, sample)
    ]


def _table_faults(block: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield (key, cause, fix) for what regions and samples of a channel lack."""
    levels = block.get("table") == "levels"
    for name, region in block["regions"].items():
        key = f"regions.{name}"
        if "bins" not in region:
            yield f"{key}.bins", "not given", "give the bin edges of the observable"
        if "observable" not in region and "observable" not in block:
            yield f"{key}.observable", "not given", "name a column here or in the measurement's `observable`"
        scored = "tagged" in region or "score" in region.get("cuts", {})
        if scored and ("tagger" not in block or "tagger_seed" not in block):
            yield f"{key}", "needs the score of a tagger", "set the measurement's `tagger` and `tagger_seed`"
        if scored and levels:
            yield f"{key}", "the table `levels` has no scores", "cut on its columns, or take the table `features`"
        if "tagged" in region and "working_point" not in block:
            yield f"{key}.tagged", "there is no working point", "set the measurement's `working_point`"
    for name, sample in block["samples"].items():
        if "datasets" not in sample:
            yield f"samples.{name}.datasets", "not given", "list the datasets of the channel that it is made of"


def _histogram_faults(block: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield (key, cause, fix) for what goes with tables only, and for names that cannot tell histograms apart."""
    for name, region in block["regions"].items():
        for key in ("tagged", "cuts"):
            if key in region:
                yield f"regions.{name}.{key}", "histograms are filled already", "remove this key"
    for name, part in block["modifiers"].items():
        if "column" in part or "source" in part:
            yield f"modifiers.{name}", "`column` and `source` go with tables", "remove this key"
    names = block["histograms"]
    needed = {"nominal": ["sample"], "variation": ["sample", "modifier", "side"]}
    for kind, words in needed.items():
        pattern = names["file"] + names[kind]
        missing = [word for word in words if f"{{{word}}}" not in pattern]
        if len(block["regions"]) > 1 and "{region}" not in pattern:
            missing.append("region")
        # a word that differs by side, such as jesUp, tells the modifier as well
        if "modifier" in missing and all("up" in part for part in block["modifiers"].values() if _shifted(part)):
            missing.remove("modifier")
        if missing:
            listed = ", ".join(f"{{{word}}}" for word in missing)
            yield f"histograms.{kind}", f"{names[kind]!r} does not tell {listed}", "add it to the name"


def _shifted(modifier: Mapping[str, Any]) -> bool:
    return bool(modifier["type"] == "histosys")


def _model_faults(block: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield (key, cause, fix) for each fault of regions, samples and modifiers."""
    regions, samples, modifiers = block["regions"], block["samples"], block["modifiers"]
    for name, region in regions.items():
        bins = region.get("bins", [])
        if any(high <= low for low, high in pairwise(bins)):
            yield f"regions.{name}.bins", f"{bins} are not ascending", "sort the edges and list each once"
        if not any(name in part.get("regions", regions) for part in samples.values()):
            yield f"regions.{name}", "no sample is expected here", "remove it, or add it to `regions` of a sample"
    named = [
        *((f"samples.{name}", part, "regions", regions) for name, part in samples.items()),
        *((f"modifiers.{name}", part, "regions", regions) for name, part in modifiers.items()),
        *((f"modifiers.{name}", part, "samples", samples) for name, part in modifiers.items()),
        *(("smoothing", block.get("smoothing", {}), kind, known)
          for kind, known in (("modifiers", modifiers), ("regions", regions), ("samples", samples))),
    ]  # fmt: skip
    for key, part, kind, known in named:
        for chosen in part.get(kind, []):
            if chosen not in known:
                yield f"{key}.{kind}", f"{chosen!r} is not defined", f"choose among: {', '.join(known)}"
    for name, part in modifiers.items():
        yield from _modifier_faults(name, part, block)
    yield from _parameter_faults(block)
    poi = block["poi"]
    free = {
        parameter_name(name, part, *place)
        for name, part in modifiers.items()
        if part["type"] == "normfactor"
        for place in places_of(block, part)
    }
    if poi not in free:
        known = ", ".join(sorted(free)) or "(none defined)"
        yield "poi", f"{poi!r} is not a normfactor of `modifiers`", f"choose among: {known}"


def _modifier_faults(name: str, part: Mapping[str, Any], block: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield faults of one modifier by itself."""
    key, kind = f"modifiers.{name}", part["type"]
    for other, kinds in KEYS_OF_TYPES.items():
        if other in part and kind not in kinds:
            yield f"{key}.{other}", f"does nothing for type {kind}", f"remove it; it goes with {' and '.join(kinds)}"
    if not places_of(block, part):
        yield key, "acts on no sample in any region", "correct its `samples` and `regions`, or remove it"
    if kind in ("normfactor", "shapefactor"):
        low, high = part["bounds"]
        if not low <= part["initial"] <= high or low == high:
            yield (
                f"{key}.bounds", f"[{low}, {high}] does not hold the starting value {part['initial']}",
                "give bounds [smallest, largest] around `initial`",
            )  # fmt: skip
    if kind == "lumi" and name != "lumi":
        yield key, "pyhf knows one modifier of type lumi, with this name", "rename it to `lumi`, or take a normsys"
    given = part.get("uncertainty")
    for region in dict.fromkeys(region for region, _ in places_of(block, part)):
        if not isinstance(given, Mapping):
            break
        bins = len(block["regions"][region].get("bins", [])) - 1
        if region not in given:
            yield f"{key}.uncertainty", f"nothing for region {region!r}", "give its number or list"
        elif isinstance(given[region], list) and bins > 0 and len(given[region]) != bins:
            yield (
                f"{key}.uncertainty.{region}",
                f"{len(given[region])} numbers for {bins} bins",
                "give one for each bin",
            )
    if kind == "shapefactor" and "regions" not in part.get("split", []):
        regions = dict.fromkeys(region for region, _ in places_of(block, part))
        if len({len(block["regions"][region].get("bins", [])) for region in regions}) > 1:
            yield key, "its regions have different numbers of bins", "set `split: [regions]`, or make the bins agree"


def _parameter_faults(block: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield faults of parameters that several modifiers share."""
    first: dict[str, tuple[str, str]] = {}
    acting: dict[tuple[str, str, str, str], str] = {}
    constrained = ("normsys", "histosys")
    for name, part in block["modifiers"].items():
        kind = part["type"]
        for place in places_of(block, part):
            parameter = parameter_name(name, part, *place)
            other, other_kind = first.setdefault(parameter, (name, kind))
            if kind != other_kind and not (kind in constrained and other_kind in constrained):
                yield (
                    f"modifiers.{name}", f"parameter {parameter!r} is also that of {other!r}, of type {other_kind}",
                    "rename one of them",
                )  # fmt: skip
            known = acting.setdefault((parameter, *place, kind), name)
            if known != name:
                where = f"region {place[0]}, sample {place[1]}"
                yield (
                    f"modifiers.{name}", f"{known!r} has parameter {parameter!r} on {where} too",
                    "give each its own `samples` or `regions`",
                )  # fmt: skip


def _shift_faults(block: Mapping[str, Any], known: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield faults of the shifts that histosys modifiers of a channel name."""
    used: list[tuple[set[str], set[tuple[str, str]], str]] = []
    for name, part in block["modifiers"].items():
        if part["type"] != "histosys":
            continue
        key = f"modifiers.{name}"
        sides = [side for side in ("up", "down") if side in part]
        if "source" not in part:
            yield f"{key}.source", "not given", "set it to features or weights"
            return
        if "up" not in part or ("down" not in part and part.get("symmetrise") != "one_sided"):
            missing = "up" if "up" not in part else "down"
            yield f"{key}.{missing}", "not given", "name the shift, or for one side set `symmetrise: one_sided`"
            return
        if part["up"] == part.get("down"):
            yield f"{key}.down", f"{part['down']!r} is also the upward shift", "name the downward shift, e.g. jesDown"
        pair, places = {part[side] for side in sides}, set(places_of(block, part))
        for other_pair, other_places, other in used:
            if pair & other_pair and places & other_places:
                shifts = ", ".join(sorted(pair & other_pair))
                yield key, f"the shifts {shifts} are already those of {other!r}", "count each uncertainty once"
        used.append((pair, places, name))
        for side in sides:
            if part[side] not in known:
                fix = f"add it to `selection.shifts` of the channel, which has: {', '.join(known) or '(none)'}"
                yield f"{key}.{side}", f"the channel has no shift {part[side]!r}", fix
            weight = part[side].startswith(WEIGHT_SHIFTS)
            if weight != (part["source"] == "weights"):
                right = "weights" if weight else "features"
                yield f"{key}.source", f"{part[side]!r} is not among the {part['source']}", f"set it to {right}"


def _data_faults(block: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield faults of the data of a measurement."""
    data = block["data"]
    for name in data["signal"]:
        if name not in data["datasets"]:
            yield "data.signal", f"{name!r} is not among `data.datasets`", "add it there"
    for sample, part in block["samples"].items():
        both = sorted(set(part["datasets"]) & set(data["datasets"]))
        if both:
            yield (
                "data.datasets",
                f"{', '.join(both)} is also a template of sample {sample}: data and template would be the same events",
                "take independent datasets, generated under another name",
            )
