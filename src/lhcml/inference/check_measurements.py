"""Checks of the configured measurements that a schema cannot make, done before any job starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from lhcml.common.errors import UserError

# Shifts of the parton shower are weights of the same events; others move the jets
WEIGHT_SHIFTS = ("isr", "fsr")


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
        if "channel" not in block:
            continue
        shifts = channels[block["channel"]].get("selection", {}).get("shifts", [])
        for key, cause, fix in [*_faults(block), *_shift_faults(block, shifts)]:
            raise UserError(f"inference.measurements.{name}.{key}: {cause}", fix)


def _faults(block: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield (key, cause, fix) for each fault of a measurement that is built here."""
    regions, samples, modifiers = block["regions"], block["samples"], block["modifiers"]
    for name, region in regions.items():
        bins = region["bins"]
        if any(high <= low for low, high in pairwise(bins)):
            yield f"regions.{name}.bins", f"{bins} are not ascending", "sort the edges and list each once"
    yield from _data_faults(block)
    poi = block["poi"]
    if modifiers.get(poi, {}).get("type") != "normfactor":
        free = [name for name, part in modifiers.items() if part["type"] == "normfactor"]
        yield (
            "poi",
            f"{poi!r} is not a normfactor of `modifiers`",
            f"choose among: {', '.join(free) or '(none defined)'}",
        )
    for name, part in modifiers.items():
        key = f"modifiers.{name}"
        for kind, known in (("samples", samples), ("regions", regions)):
            for chosen in part.get(kind, []):
                if chosen not in known:
                    yield f"{key}.{kind}", f"{chosen!r} is not defined", f"choose among: {', '.join(known)}"
        if part["type"] == "normfactor":
            low, high = part["bounds"]
            if not low <= part["initial"] <= high or low == high:
                yield (
                    f"{key}.bounds", f"[{low}, {high}] does not hold the starting value {part['initial']}",
                    "give bounds [smallest, largest] around `initial`",
                )  # fmt: skip


def _shift_faults(block: Mapping[str, Any], known: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield faults of the shifts that histosys modifiers name."""
    used: dict[tuple[str, str], str] = {}
    for name, part in block["modifiers"].items():
        if part["type"] != "histosys":
            continue
        key, pair = f"modifiers.{name}", (part["up"], part["down"])
        if part["up"] == part["down"]:
            yield f"{key}.down", f"{part['down']!r} is also the upward shift", "name the downward shift, e.g. jesDown"
        if pair in used or pair[::-1] in used:
            other = used.get(pair) or used[pair[::-1]]
            yield key, f"the shifts {pair} are already those of {other!r}", "count each uncertainty once"
        used[pair] = name
        for side in ("up", "down"):
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
