"""Where a modifier of the configuration acts, and the names of its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def applies(modifier: Mapping[str, Any], region: str, sample: str) -> bool:
    """Tell whether a modifier acts on a sample in a region; without a list it acts on all."""
    return region in modifier.get("regions", [region]) and sample in modifier.get("samples", [sample])


def parameter_name(name: str, modifier: Mapping[str, Any], region: str, sample: str) -> str:
    """Return the name of the parameter of a modifier on one sample of one region.

    One parameter acts on all, or on each of what `split` lists. Parameters per bin belong to a region (staterror), or
    to a sample in a region (shapesys), since pyhf shares them no further.
    """
    split = modifier.get("split", [])
    kind = modifier["type"]
    parts = [modifier.get("parameter", name)]
    parts += [region] if "regions" in split or kind in ("staterror", "shapesys") else []
    parts += [sample] if "samples" in split or kind == "shapesys" else []
    return "_".join(parts)
