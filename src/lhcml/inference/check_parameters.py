"""Checks of a measurement: its parameter of interest and what it sets of parameters, before pyhf builds the model.

pyhf is silent about most of these faults, or stops with an error of Python: a luminosity without width, bounds of
another length, a starting value outside its bounds.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lhcml.inference.fault import Fault, Level, name_few, repeated

# Starting value and bounds that pyhf gives each type of parameter
DEFAULTS = {
    "normfactor": (1.0, (0.0, 10.0)),
    "shapefactor": (1.0, (0.0, 10.0)),
    "normsys": (0.0, (-5.0, 5.0)),
    "histosys": (0.0, (-5.0, 5.0)),
    "staterror": (1.0, (1e-10, 10.0)),
    "shapesys": (1.0, (1e-10, 10.0)),
}
# What can be set of a constrained parameter besides inits, bounds and fixed
CONSTRAINT_SETTINGS = {
    "normfactor": (),
    "shapefactor": (),
    "normsys": ("auxdata",),
    "histosys": ("auxdata",),
    "lumi": ("auxdata", "sigmas"),
    "staterror": ("auxdata", "sigmas"),
    "shapesys": ("auxdata", "factors"),
}
FREE = ("normfactor", "shapefactor")


def find_parameter_faults(
    channels: Sequence[Mapping[str, Any]], measurement: Mapping[str, Any], poi: str | None
) -> Iterator[Fault]:
    """Yield each fault of a measurement of a workspace whose modifiers are right.

    Parameters
    ----------
    channels : sequence of mapping
        Channels of the workspace.
    measurement : mapping
        The measurement to use, of the workspace.
    poi : str, optional
        Parameter of interest; none for a background that waits for its signal.
    """
    types, sizes = list_parameters(channels)
    settings = measurement["config"]["parameters"]
    here = f"measurement {measurement['name']}"
    yield from repeated([block["name"] for block in settings], f"{here}: parameter")
    if poi is not None:
        yield from _poi_faults(poi, types, sizes, {block["name"]: block for block in settings})
    if "lumi" in types.values() and not any(block["name"] == "lumi" for block in settings):
        yield Fault(
            "lumi without settings",
            f"{here}: the modifier lumi has no auxdata and sigmas",
            'add {"name": "lumi", "auxdata": [1.0], "sigmas": [0.02], "bounds": [[0.5, 1.5]], "inits": [1.0]} with '
            "your luminosity's uncertainty to its `parameters`",
        )
    for block in settings:
        name = block["name"]
        where = f"{here}: parameter {name}"
        if name in types:
            yield from _setting_faults(block, types[name], sizes[name], where)
        # programs write lumi whether it is used or not, and a background has settings of the signal's parameter
        elif name != "lumi" and name != poi and (poi is not None or name != measurement["config"]["poi"]):
            fix = f"remove it, or spell it as a modifier: {name_few(types, 12)}"
            yield Fault("unknown parameter", f"{where}: no modifier has this name", fix, "remark")


def list_parameters(channels: Sequence[Mapping[str, Any]]) -> tuple[dict[str, str], dict[str, int]]:
    """Return the type and the number of components of each parameter."""
    types: dict[str, str] = {}
    bins: dict[str, dict[str, int]] = defaultdict(dict)
    for channel in channels:
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                types.setdefault(modifier["name"], modifier["type"])
                bins[modifier["name"]][channel["name"]] = len(sample["data"])
    sizes = {}
    for name, kind in types.items():
        if kind == "staterror":
            sizes[name] = sum(bins[name].values())
        elif kind in ("shapesys", "shapefactor"):
            sizes[name] = bins[name][min(bins[name])]
        else:
            sizes[name] = 1
    return types, sizes


def _poi_faults(
    poi: str, types: Mapping[str, str], sizes: Mapping[str, int], settings: Mapping[str, Any]
) -> Iterator[Fault]:
    """Yield faults of the parameter of interest."""
    single = [name for name in types if sizes[name] == 1]
    choice = [name for name in single if types[name] in FREE] or single
    fix = f"set `poi` to one of: {name_few(choice, 12)}"
    if poi not in types:
        near = [name for name in types if name.strip() == poi.strip()]
        hint = f" ({near[0]!r} is: mind the blanks)" if near else ""
        cause = f"the parameter of interest {poi!r} is not a parameter of the model{hint}"
        yield Fault("unknown parameter of interest", cause, fix)
        return
    if sizes[poi] > 1:
        cause = f"{poi!r} has {sizes[poi]} components; a parameter of interest has one"
        yield Fault("parameter of interest with components", cause, fix)
    if settings.get(poi, {}).get("fixed", False):
        cause = f"the parameter of interest {poi!r} is fixed"
        yield Fault("fixed parameter of interest", cause, "set its `fixed` to false")
    if types[poi] not in FREE:
        cause = f"the parameter of interest {poi!r} is a {types[poi]}: its constraint acts as a measurement of it"
        yield Fault("constrained parameter of interest", cause, fix, "remark")


def _setting_faults(block: Mapping[str, Any], kind: str, size: int, here: str) -> Iterator[Fault]:
    """Yield faults of what a measurement sets of one parameter with `size` components."""
    usable = ("inits", "bounds", *CONSTRAINT_SETTINGS[kind])
    if kind == "lumi":
        # without sigmas pyhf takes a width of 1, which matters to a parameter that floats
        fixed = block.get("fixed", False)
        missing = [key for key in usable if key not in block and not (fixed and key == "sigmas")]
        if missing:
            fix = 'for example "auxdata": [1.0], "sigmas": [0.02], "bounds": [[0.5, 1.5]], "inits": [1.0]'
            yield Fault("lumi without settings", f"{here} has no {', '.join(missing)}", fix)
    right = True
    for key in ("inits", "bounds", "auxdata", "sigmas", "factors"):
        if key not in block:
            continue
        if key not in usable:
            cause = f"{here}: {key} does not belong to a {kind}"
            yield Fault("setting of another type", cause, f"remove it; a {kind} has {', '.join(usable)}, fixed")
            right = False
            continue
        if len(block[key]) != size:
            cause = f"{here}: {len(block[key])} {key}, {size} component{'s' if size > 1 else ''}"
            yield Fault("length of a setting", cause, f"give {size}")
            right = False
        flat = [value for part in block[key] for value in (part if isinstance(part, list) else [part])]
        if not all(math.isfinite(value) for value in flat):
            cause = f"{here}: {key} {block[key]} are not finite"
            yield Fault("setting not finite", cause, "give finite numbers")
            right = False
        elif key in ("sigmas", "factors") and min(flat) <= 0:
            cause = f"{here}: {key} {block[key]} are not positive"
            yield Fault("width not positive", cause, "give positive numbers, or fix the parameter with `fixed`")
        elif key == "auxdata" and kind == "shapesys" and min(flat) < 0:
            cause = f"{here}: auxdata {block[key]} of a Poisson constraint are negative"
            yield Fault("negative auxdata", cause, "give counts of 0 or more")
    if right:
        yield from _bound_faults(block, kind, size, here)


def _bound_faults(block: Mapping[str, Any], kind: str, size: int, here: str) -> Iterator[Fault]:
    """Yield faults of bounds and starting values."""
    initial, limits = DEFAULTS.get(kind, (None, None))
    inits = block.get("inits", [initial] * size)
    bounds = block.get("bounds", [limits] * size)
    for index in range(size):
        if inits[index] is None or bounds[index] is None:
            return  # a lumi without settings, told already
        low, high = bounds[index]
        which = f"{here}[{index}]" if size > 1 else here
        if low > high:
            yield Fault("bounds", f"{which}: bounds [{low:g}, {high:g}] are reversed", "give [smallest, largest]")
        elif low == high and not block.get("fixed", False):
            cause = f"{which}: bounds [{low:g}, {high:g}] leave no room"
            yield Fault("bounds", cause, 'widen them, or hold the parameter with "fixed": true')
        elif not low <= inits[index] <= high:
            cause = f"{which}: its starting value {inits[index]:g} lies outside its bounds [{low:g}, {high:g}]"
            # a parameter that is held stays where it is
            level: Level = "remark" if block.get("fixed", False) else "error"
            yield Fault("start outside bounds", cause, "set `inits` and `bounds` so that they agree", level)
