"""Checks of systematic uncertainties: names that pyhf cannot share, one-sided, doubled, vanishing and huge ones.

They read a workspace whose structure and bins are right (`check_model`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lhcml.inference.fault import Fault, name_bins, name_few

Channels = Sequence[Mapping[str, Any]]
# Relative differences below are rounding of the program that wrote the numbers
SAME = 1e-9
# A histosys repeats the rate of the normsys of its name if both agree to this much, and the rate is larger than this
RATE = 1e-3
# A variation of more than this share of a bin is not taken for a fluctuation
LARGE = 0.05


class Use(NamedTuple):
    """A modifier where it is used: on a sample of a channel, with the nominal events there."""

    channel: str
    sample: str
    kind: str
    name: str
    data: Any
    nominal: Sequence[float]

    @property
    def place(self) -> str:
        """Channel and sample."""
        return f"channel {self.channel}, sample {self.sample}"

    @property
    def label(self) -> str:
        """Channel, sample, type and name."""
        return f"{self.place}, {self.kind} {self.name}"


def find_modifier_faults(channels: Channels) -> Iterator[Fault]:
    """Yield each fault of the modifiers of a workspace's channels."""
    uses = [
        Use(channel["name"], sample["name"], modifier["type"], modifier["name"], modifier["data"], sample["data"])
        for channel in channels
        for sample in channel["samples"]
        for modifier in sample["modifiers"]
    ]
    groups: dict[str, list[Use]] = defaultdict(list)
    for use in uses:
        groups[use.name].append(use)
    for name, group in groups.items():
        yield from _sharing_faults(name, group)
        yield from _effect_faults(name, group)
    for use in uses:
        if use.kind in ("histosys", "normsys"):
            yield from _side_faults(use)
        elif use.kind == "shapesys":
            yield from _zero_faults(use.label, use.nominal, use.data)
    yield from _staterror_zeros(uses)
    yield from _doubled(groups)
    yield from _similar_names(groups)


def _sharing_faults(name: str, group: Sequence[Use]) -> Iterator[Fault]:
    """Yield faults of one name on several samples or channels."""
    kinds = {use.kind: use for use in group}
    # normsys and histosys share a unit Gaussian; any two others differ in constraint or number of components
    if len(kinds) > 1 and set(kinds) != {"histosys", "normsys"}:
        listed = "; ".join(f"{kind} in {use.place}" for kind, use in kinds.items())
        yield Fault(
            "one name of several types",
            f"parameter {name} has several types: {listed}",
            "give each type its own name: a parameter has one constraint (only normsys and histosys can share)",
        )
        return
    kind = group[0].kind
    places = list(dict.fromkeys(use.place for use in group))
    if kind == "shapesys" and len(places) > 1:
        yield Fault(
            "shared shapesys",
            f"shapesys {name} is used in several places: {name_few(places, 3)}",
            "give each its own name: its width comes from one template, so that pyhf does not share it",
        )
    sizes = {use.channel: len(use.nominal) for use in group}
    # pyhf makes a component for each bin of the alphabetically first channel
    first = min(sizes)
    longer = [channel for channel in sorted(sizes) if sizes[channel] > sizes[first]]
    if kind == "shapefactor" and longer:
        yield Fault(
            "bins of a shapefactor",
            f"shapefactor {name} has {sizes[first]} components from channel {first}, and channel {longer[0]} has "
            f"{sizes[longer[0]]} bins: pyhf would multiply the others by another parameter",
            "use it in channels of the same binning only, or give them separate names",
        )
    if kind == "staterror":
        per_sample: dict[str, set[str]] = defaultdict(set)
        for use in group:
            per_sample[use.sample].add(use.channel)
        wanted = set().union(*per_sample.values())
        for sample, found in per_sample.items():
            if found != wanted:
                yield Fault(
                    "staterror on other channels",
                    f"staterror {name} acts on channels {', '.join(sorted(wanted))}, but on sample {sample} in "
                    f"{', '.join(sorted(found))} only: pyhf cannot build it",
                    "give each channel a staterror of its own name, e.g. staterror_<channel>",
                )
                return


def _effect_faults(name: str, group: Sequence[Use]) -> Iterator[Fault]:
    """Yield a fault if a parameter changes nothing anywhere."""
    if any(_changes(use) for use in group):
        return
    kind, count = group[0].kind, len(group)
    where = group[0].place + (f" and {count - 1} more" if count > 1 else "")
    free = kind in ("normfactor", "shapefactor")
    yield Fault(
        "no effect",
        f"{kind} {name} ({where}) changes no expected event",
        "remove it, or give the sample events" if free else "remove it, or give its variations",
        "strict" if free else "remark",
    )


def _changes(use: Use) -> bool:
    """Tell whether a modifier can change the events of its sample."""
    if not any(use.nominal) and use.kind != "histosys":
        return False
    if use.kind == "normsys":
        return not (_same(use.data["hi"], 1) and _same(use.data["lo"], 1))
    if use.kind == "histosys":
        return _moved(use, "hi_data") or _moved(use, "lo_data")
    if use.kind in ("shapesys", "staterror"):
        return any(use.data)
    return True


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= SAME * max(abs(one), abs(other))


def _moved(use: Use, side: str) -> bool:
    """Tell whether a side of a histosys differs from the nominal template."""
    return not all(_same(value, nominal) for value, nominal in zip(use.data[side], use.nominal, strict=True))


def _side_faults(use: Use) -> Iterator[Fault]:
    """Yield faults of the two sides of a histosys or normsys."""
    if use.kind == "normsys":
        ups, downs, nominal = [use.data["hi"]], [use.data["lo"]], [1.0]
    else:
        ups, downs, nominal = use.data["hi_data"], use.data["lo_data"], list(use.nominal)
    up = [value - middle for value, middle in zip(ups, nominal, strict=True)]
    down = [value - middle for value, middle in zip(downs, nominal, strict=True)]
    small = [SAME * abs(middle) for middle in nominal]
    rises = [abs(shift) > least for shift, least in zip(up, small, strict=True)]
    falls = [abs(shift) > least for shift, least in zip(down, small, strict=True)]
    if any(rises) != any(falls):
        side, other = ("up", "down") if any(rises) else ("down", "up")
        cause = f"{use.label}: one-sided: it has a variation {side} and none {other}"
        yield Fault("one-sided", cause, f"mirror the variation {side}, or give the other", "remark")
    both = [index for index in range(len(nominal)) if rises[index] and falls[index]]
    same = [index for index in both if up[index] * down[index] > 0]
    # statistical fluctuations turn the sign of small variations; large ones have another reason
    large = [index for index in same if min(abs(up[index]), abs(down[index])) > LARGE * nominal[index]]
    if same and (len(same) == len(both) or large):
        bins = same if len(same) == len(both) else large
        which = "" if use.kind == "normsys" else f", {name_bins(bins)}"
        cause = f"{use.label}{which}: up and down lie on the same side of the nominal (several minima are possible)"
        yield Fault("same side", cause, "check which file is which, or symmetrise it", "remark")
    huge = [
        index
        for index, middle in enumerate(nominal)
        if middle > 0 and max(abs(up[index]), abs(down[index])) > middle * (1 + SAME)
    ]
    if huge:
        index = max(huge, key=lambda number: max(abs(up[number]), abs(down[number])) / nominal[number])
        size = max(abs(up[index]), abs(down[index])) / nominal[index]
        which = "" if use.kind == "normsys" else f", {name_bins(huge)}"
        cause = f"{use.label}{which}: variation of more than 100 % (up to {100 * size:.0f} %)"
        yield Fault("huge variation", cause, "check the normalisation of the shifted template, or merge bins", "remark")


def _zero_faults(here: str, nominal: Sequence[float], uncertainties: Sequence[float]) -> Iterator[Fault]:
    """Yield a fault for bins with events and without uncertainty, whose factor pyhf then holds at 1."""
    zero = [index for index, value in enumerate(uncertainties) if value == 0 and nominal[index] > 0]
    if zero:
        cause = f"{here}, {name_bins(zero)}: the uncertainty is zero where events are expected"
        fix = "give the uncertainty in events (the root of the sum of squared weights for the statistics)"
        yield Fault("zero uncertainty", cause, fix, "strict")


def _staterror_zeros(uses: Iterable[Use]) -> Iterator[Fault]:
    """Yield faults of bins where no sample of a staterror has an uncertainty."""
    groups: dict[tuple[str, str], list[Use]] = defaultdict(list)
    for use in uses:
        if use.kind == "staterror":
            groups[use.channel, use.name].append(use)
    for (channel, name), group in groups.items():
        nominal = [sum(use.nominal[index] for use in group) for index in range(len(group[0].nominal))]
        largest = [max(use.data[index] for use in group) for index in range(len(nominal))]
        samples = name_few(use.sample for use in group)
        here = f"channel {channel}, sample{'s' if len(group) > 1 else ''} {samples}, staterror {name}"
        yield from _zero_faults(here, nominal, largest)
        for use in group:
            part = [index for index, value in enumerate(use.data) if value == 0 and use.nominal[index] > 0]
            part = [index for index in part if largest[index] > 0]
            if part:
                cause = f"{use.label}, {name_bins(part)}: no uncertainty where other samples have one"
                fix = "give the root of the sum of squared weights, or leave the sample out of the staterror"
                yield Fault("zero uncertainty of a sample", cause, fix, "remark")


def _doubled(groups: Mapping[str, Sequence[Use]]) -> Iterator[Fault]:
    """Yield faults of effects that are counted twice: by two parameters, or by both types of one."""
    seen: dict[frozenset[Any], str] = {}
    for name, group in groups.items():
        if not {use.kind for use in group} <= {"histosys", "normsys"} or not any(_changes(use) for use in group):
            continue
        straight, turned = _fingerprint(group, ("hi", "lo")), _fingerprint(group, ("lo", "hi"))
        other = seen.get(straight) or seen.get(turned)
        if other is not None:
            kinds = {use.kind for use in group}
            how = "the same" if straight in seen else "mirrored"
            yield Fault(
                "double counting",
                f"{'/'.join(sorted(kinds))} {other} and {name} have {how} variations in {group[0].place}"
                f"{f' and {len(group) - 1} more' if len(group) > 1 else ''}: the same uncertainty twice?",
                "keep one, or give both the same name if they are one source",
                # two rate uncertainties may well have the same size; two shapes of the same numbers are one
                "strict" if "histosys" in kinds else "remark",
            )
        seen.setdefault(straight, name)
        yield from _rate_twice(group)


def _fingerprint(group: Sequence[Use], sides: tuple[str, str]) -> frozenset[Any]:
    """Return what a parameter does where, with its sides in an order."""
    parts = []
    for use in group:
        suffix = "" if use.kind == "normsys" else "_data"
        values = [use.data[side + suffix] for side in sides]
        parts.append((use.channel, use.sample, use.kind, *(tuple(v) if isinstance(v, list) else v for v in values)))
    return frozenset(parts)


def _rate_twice(group: Sequence[Use]) -> Iterator[Fault]:
    """Yield a fault where a histosys holds the rate that the normsys of its name applies again."""
    rates = {(use.channel, use.sample): use.data for use in group if use.kind == "normsys"}
    for use in group:
        rate = rates.get((use.channel, use.sample))
        total = sum(use.nominal)
        if use.kind != "histosys" or rate is None or total <= 0:
            continue
        shifts = [rate["hi"] - 1, rate["lo"] - 1]
        shapes = [sum(use.data["hi_data"]) / total - 1, sum(use.data["lo_data"]) / total - 1]
        if max(map(abs, shifts)) > RATE and all(abs(a - b) <= RATE for a, b in zip(shifts, shapes, strict=True)):
            cause = f"{use.label}: its templates change the rate as much as the normsys {use.name}: applied twice"
            yield Fault(
                "rate counted twice", cause, "normalise the templates to the nominal, or drop the normsys", "strict"
            )


def _similar_names(groups: Iterable[str]) -> Iterator[Fault]:
    """Yield a fault for names that differ in case or blanks only, and so are not correlated."""
    seen: dict[str, str] = {}
    for name in groups:
        key = "".join(name.split()).lower()
        if key in seen:
            cause = f"parameters {seen[key]!r} and {name!r} differ in case or blanks only: they are not correlated"
            yield Fault("similar names", cause, "spell them alike if they are the same parameter", "remark")
        seen.setdefault(key, name)
