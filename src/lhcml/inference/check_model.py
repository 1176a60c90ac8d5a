"""Checks of a workspace before any fit; the messages name channel, sample, modifier and bin.

Here those of bins and numbers; `check_modifiers` has those of systematic uncertainties, `check_parameters` those of
measurements and parameters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lhcml.common.errors import UserError
from lhcml.inference.check_modifiers import find_modifier_faults
from lhcml.inference.check_schema import find_misshapen
from lhcml.inference.fault import Fault, name_bins, repeated, shorten_list, sort_faults


def check_workspace(spec: Mapping[str, Any], where: str, strict: bool) -> list[str]:
    """Return the harmless faults of a workspace, and raise a UserError that lists the others.

    Parameters
    ----------
    spec : Mapping
        pyhf workspace.
    where : str
        Its file, for the message.
    strict : bool
        Whether faults that are harmless to the likelihood are errors too.

    Raises
    ------
    UserError
        If there is a fault, with the fix of the first one.
    """
    require_workspace(spec, where)
    # modifiers are compared with their samples only where the bins agree
    remarks = sort_faults(find_bin_faults(spec), where, strict)
    return remarks + sort_faults(find_modifier_faults(spec["channels"]), where, strict)


def require_workspace(spec: Any, where: str) -> None:
    """Raise a UserError unless a JSON document, read from `where`, has the structure of a workspace."""
    misshapen = list(find_misshapen(spec))
    if misshapen:
        listed = "\n  ".join(shorten_list([cause for cause, _ in misshapen], 20))
        raise UserError(f"{where} is not a valid pyhf workspace:\n  {listed}", misshapen[0][1])


def find_bin_faults(spec: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield faults of names, bins and numbers of a workspace of the right structure."""
    channels = spec["channels"]
    yield from repeated([block["name"] for block in channels], "channel")
    yield from repeated([block["name"] for block in spec["observations"]], "observation of channel")
    observed = {block["name"]: block["data"] for block in spec["observations"]}
    for channel in channels:
        name = channel["name"]
        here = f"channel {name}"
        yield from repeated([sample["name"] for sample in channel["samples"]], f"{here}: sample")
        sizes = {len(sample["data"]) for sample in channel["samples"]}
        if len(sizes) > 1:
            listed = ", ".join(f"{sample['name']} {len(sample['data'])}" for sample in channel["samples"])
            yield Fault(
                "bins of samples",
                f"{here}: its samples have different numbers of bins: {listed}",
                "give all samples of a channel the same bins",
            )
            continue
        size = sizes.pop()
        for sample in channel["samples"]:
            yield from _sample_faults(sample, f"{here}, sample {sample['name']}", size)
        if name not in observed:
            yield Fault("no observation", f"{here}: no observation", "add its data to `observations`")
            continue
        if len(observed[name]) != size:
            cause = f"{here}: {len(observed[name])} observed bins, {size} expected"
            yield Fault("bins of an observation", cause, "make the bins agree")
            continue
        yield from _channel_faults(channel, observed[name], here)
    known = {channel["name"] for channel in channels}
    for name in sorted(set(observed) - known):
        fix = f"rename it, or remove it: channels are {', '.join(sorted(known))}"
        yield Fault("unknown observation", f"observation of unknown channel {name}", fix, "strict")
    yield from _empty_samples(channels)


def _empty_samples(channels: Sequence[Mapping[str, Any]]) -> Iterator[Fault]:
    """Yield faults of samples without events."""
    filled = {sample["name"] for part in channels for sample in part["samples"] if any(sample["data"])}
    for channel in channels:
        for sample in channel["samples"]:
            if any(sample["data"]):
                continue
            more = "" if sample["name"] in filled else ", and none in any other channel"
            cause = f"channel {channel['name']}, sample {sample['name']}: empty template: no events in any bin{more}"
            yield Fault("empty template", cause, "remove the sample there, or loosen its selection", "strict")


def _sample_faults(sample: Mapping[str, Any], here: str, size: int) -> Iterator[Fault]:
    """Yield faults of one sample of one channel."""
    nominal = sample["data"]
    yield from _number_faults(nominal, here, "nominal events")
    for index, value in enumerate(nominal):
        if value < 0:
            yield Fault(
                "negative bin",
                f"{here}, bin {index}: negative nominal events ({value:g})",
                "merge bins, or set the bin to 0 or a small positive number (`patch` does so in a given workspace): "
                "negative weights outweigh the positive there",
            )
    kinds = [(modifier["type"], modifier["name"]) for modifier in sample["modifiers"]]
    for kind, name in sorted({pair for pair in kinds if kinds.count(pair) > 1}):
        yield Fault("repeated modifier", f"{here}: {kind} {name} is applied twice", "list it once")
    for modifier in sample["modifiers"]:
        yield from _modifier_faults(modifier, nominal, f"{here}, {modifier['type']} {modifier['name']}", size)


def _modifier_faults(modifier: Mapping[str, Any], nominal: Sequence[float], here: str, size: int) -> Iterator[Fault]:
    """Yield faults of the numbers of one modifier."""
    kind, data = modifier["type"], modifier["data"]
    if kind == "normsys":
        for side in ("lo", "hi"):
            if not (math.isfinite(data[side]) and data[side] > 0):
                cause = f"{here}: factor {side} = {data[side]} is not positive"
                yield Fault("factor not positive", cause, "give one above 0, e.g. 0.95")
        return
    parts = {"lo_data": data["lo_data"], "hi_data": data["hi_data"]} if kind == "histosys" else {}
    if kind in ("staterror", "shapesys"):
        parts = {"uncertainties": data}
    for key, values in parts.items():
        if len(values) != size:
            cause = f"{here}: {len(values)} bins of {key}, {size} expected"
            yield Fault("bins of a modifier", cause, "make the bins agree")
            return
        yield from _number_faults(values, here, key)
        for index, value in enumerate(values):
            if value < 0 and kind == "histosys":
                # a variation below zero may be added to other samples
                cause = f"{here}, bin {index}: negative {key} ({value:g})"
                yield Fault("negative variation", cause, "merge bins so that each has events", "strict")
            elif value < 0:
                cause = f"{here}, bin {index}: negative {key} ({value:g})"
                yield Fault("negative uncertainty", cause, "give the size of the uncertainty, in events")
            elif nominal[index] == 0 and value > 0:
                yield Fault(
                    "variation of an empty bin",
                    f"{here}, bin {index}: {key} is {value:g} where the nominal template has no events",
                    "merge this bin with its neighbour, or set the variation to zero there",
                    "strict",
                )


def _channel_faults(channel: Mapping[str, Any], observed: Sequence[float], here: str) -> Iterator[Fault]:
    """Yield faults of a channel's observation and of the sum of its samples."""
    yield from _number_faults(observed, here, "observed events")
    for index, value in enumerate(observed):
        if value < 0:
            cause = f"{here}, bin {index}: negative observed events ({value:g})"
            yield Fault("negative observation", cause, "give counts of 0 or more")
        total = sum(sample["data"][index] for sample in channel["samples"])
        if total == 0 and value > 0:
            cause = f"{here}, bin {index}: {value:g} events observed where no sample expects any"
            yield Fault("nothing expected", cause, "merge this bin with its neighbour, or add the missing sample")
        elif total == 0:
            cause = f"{here}, bin {index}: no events expected and none observed: the bin says nothing"
            yield Fault("empty bin", cause, "merge this bin with its neighbour", "remark")
    broken = [index for index, value in enumerate(observed) if math.isfinite(value) and value != round(value)]
    if broken:
        cause = f"{here}, {name_bins(broken)}: observed events are not integers: Asimov data, or weighted events?"
        fix = "give counts; weighted events have other uncertainties than the likelihood's"
        yield Fault("observation not integer", cause, fix, "remark")


def _number_faults(values: Sequence[float], here: str, what: str) -> Iterator[Fault]:
    """Yield a fault for each value that is NaN or infinite."""
    for index, value in enumerate(values):
        if not math.isfinite(value):
            cause = f"{here}, bin {index}: {what} is {value}"
            yield Fault("not finite", cause, "find its origin; a NaN never enters a fit")
