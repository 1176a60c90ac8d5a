"""What each parameter of a workspace is and does, in words, for the README of a publication."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WORDS = {
    "normfactor": "free factor",
    "shapefactor": "free factor per bin",
    "normsys": "rate, interpolated exponentially (code 4), unit Gaussian constraint",
    "histosys": "shape and rate, interpolated (code 4p), unit Gaussian constraint",
    "shapesys": "factor per bin, Poisson constraint",
    "staterror": "statistics of the simulation per bin, for the sum of samples, Gaussian constraint",
    "lumi": "luminosity, Gaussian constraint",
}


def describe_parameters(workspace: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return name, kind and where it acts of each parameter, sorted by name."""
    kinds: dict[str, set[str]] = {}
    places: dict[str, dict[str, list[str]]] = {}
    for channel in workspace["channels"]:
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                kinds.setdefault(modifier["name"], set()).add(modifier["type"])
                regions = places.setdefault(modifier["name"], {}).setdefault(sample["name"], [])
                if channel["name"] not in regions:
                    regions.append(channel["name"])
    count = len(workspace["channels"])
    return [
        {
            "name": name,
            "kind": "; ".join(WORDS[kind] for kind in sorted(kinds[name])),
            "acts on": "; ".join(
                sample + ("" if len(regions) == count else f" in {few(regions)}")
                for sample, regions in sorted(places[name].items())
            ),
        }
        for name in sorted(kinds)
    ]


def few(names: list[str], most: int = 4) -> str:
    """Return names joined, the rest of many as a number."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
