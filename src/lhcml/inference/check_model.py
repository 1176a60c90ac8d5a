"""Checks of a workspace before any fit; the messages name channel, sample, modifier and bin.

Some faults are harmless to the likelihood and found in published workspaces, such as a sample without events in a
control region. In a workspace built here they are errors, since they tell of too few simulated jets; in a given one
they are remarks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lhcml.common.errors import UserError


class Fault(NamedTuple):
    """What is wrong, what can be done, and whether a fit makes sense nevertheless."""

    cause: str
    fix: str
    harmless: bool = False


def check_workspace(spec: Mapping[str, Any], where: str, strict: bool) -> list[str]:
    """Return the harmless faults of a schema-valid workspace, and raise a UserError that lists the others.

    Parameters
    ----------
    spec : Mapping
        pyhf workspace.
    where : str
        Its file, for the message.
    strict : bool
        Whether harmless faults are errors too.

    Raises
    ------
    UserError
        If there is a fault, with the fix of the first one.
    """
    found = list(find_faults(spec))
    faults = [fault for fault in found if strict or not fault.harmless]
    if faults:
        listed = "\n  ".join(fault.cause for fault in faults[:20])
        more = f"\n  and {len(faults) - 20} more" if len(faults) > 20 else ""
        raise UserError(f"{where}: the model cannot be fitted:\n  {listed}{more}", faults[0].fix)
    return [fault.cause for fault in found]


def find_faults(spec: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield each fault of a workspace."""
    yield from _repeated(spec["channels"], "channel")
    observed = {block["name"]: block["data"] for block in spec["observations"]}
    for channel in spec["channels"]:
        name = channel["name"]
        here = f"channel {name}"
        yield from _repeated(channel["samples"], f"{here}: sample")
        sizes = {len(sample["data"]) for sample in channel["samples"]}
        if len(sizes) > 1:
            yield Fault(
                f"{here}: its samples have different numbers of bins: {sorted(sizes)}",
                "give all samples the same bins",
            )
            continue
        size = sizes.pop()
        for sample in channel["samples"]:
            yield from _sample_faults(sample, f"{here}, sample {sample['name']}", size)
        if name not in observed:
            yield Fault(f"{here}: no observation", "add its data to `observations`")
            continue
        if len(observed[name]) != size:
            yield Fault(f"{here}: {len(observed[name])} observed bins, {size} expected", "make the bins agree")
            continue
        yield from _channel_faults(channel, observed[name], here)
    known = {channel["name"] for channel in spec["channels"]}
    for name in observed:
        if name not in known:
            yield Fault(
                f"observation of unknown channel {name}", f"rename it: {', '.join(sorted(known))}", harmless=True
            )


def _repeated(blocks: Sequence[Mapping[str, Any]], what: str) -> Iterator[Fault]:
    """Yield a fault for names that occur more than once."""
    names = [block["name"] for block in blocks]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Fault(f"{what} {name} is defined {names.count(name)} times", "give each its own name")


def _sample_faults(sample: Mapping[str, Any], here: str, size: int) -> Iterator[Fault]:
    """Yield faults of one sample of one channel."""
    nominal = sample["data"]
    yield from _number_faults(nominal, here, "nominal events")
    for index, value in enumerate(nominal):
        if value < 0:
            yield Fault(
                f"{here}, bin {index}: negative nominal events ({value:g})",
                "merge bins or set the bin to a small positive number: negative weights outweigh the positive there",
            )
    if all(value == 0 for value in nominal):
        yield Fault(
            f"{here}: empty template: no events in any bin",
            "remove the sample from this channel or loosen its selection",
            harmless=True,
        )
    kinds = [(modifier["type"], modifier["name"]) for modifier in sample["modifiers"]]
    for kind, name in sorted({pair for pair in kinds if kinds.count(pair) > 1}):
        yield Fault(f"{here}: {kind} {name} is applied twice", "list it once")
    for modifier in sample["modifiers"]:
        yield from _modifier_faults(modifier, nominal, f"{here}, {modifier['type']} {modifier['name']}", size)


def _modifier_faults(modifier: Mapping[str, Any], nominal: Sequence[float], here: str, size: int) -> Iterator[Fault]:
    """Yield faults of one modifier."""
    kind, data = modifier["type"], modifier["data"]
    if kind == "normsys":
        for side in ("lo", "hi"):
            if not (math.isfinite(data[side]) and data[side] > 0):
                yield Fault(f"{here}: factor {side} = {data[side]} is not positive", "give one above 0, e.g. 0.95")
        return
    parts = {"lo_data": data["lo_data"], "hi_data": data["hi_data"]} if kind == "histosys" else {}
    if kind in ("staterror", "shapesys"):
        parts = {"uncertainties": data}
    for key, values in parts.items():
        if len(values) != size:
            yield Fault(f"{here}: {len(values)} bins of {key}, {size} expected", "make the bins agree")
            return
        yield from _number_faults(values, here, key)
        for index, value in enumerate(values):
            if value < 0:
                negative = f"{here}, bin {index}: negative {key} ({value:g})"
                # a variation below zero may be added to other samples; an uncertainty may not
                yield Fault(negative, "merge bins so that each has events", harmless=kind == "histosys")
            elif nominal[index] == 0 and value > 0:
                yield Fault(
                    f"{here}, bin {index}: {key} is {value:g} where the nominal template has no events",
                    "merge this bin with its neighbour, or set the variation to zero there",
                    harmless=True,
                )


def _channel_faults(channel: Mapping[str, Any], observed: Sequence[float], here: str) -> Iterator[Fault]:
    """Yield faults of a channel's observation and of the sum of its samples."""
    yield from _number_faults(observed, here, "observed events")
    for index, value in enumerate(observed):
        if value < 0:
            yield Fault(f"{here}, bin {index}: negative observed events ({value:g})", "give counts of 0 or more")
        total = sum(sample["data"][index] for sample in channel["samples"])
        if total == 0 and value > 0:
            yield Fault(
                f"{here}, bin {index}: {value:g} events observed where no sample expects any",
                "merge this bin with its neighbour",
            )


def _number_faults(values: Sequence[float], here: str, what: str) -> Iterator[Fault]:
    """Yield a fault for each value that is NaN or infinite."""
    for index, value in enumerate(values):
        if not math.isfinite(value):
            yield Fault(f"{here}, bin {index}: {what} is {value}", "find its origin; a NaN never enters a fit")
