"""Systematic variations of templates: symmetrised, smoothed, pruned, and written as pyhf modifiers, each reported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from lhcml.common.errors import UserError
from lhcml.inference.likelihood import Array
from lhcml.inference.naming import applies, parameter_name
from lhcml.inference.smooth import FEWEST_BINS, smooth_variation, symmetrise
from lhcml.inference.templates import Template

# Parts of a variation smaller than this, relative, are rounding
NOTHING = 1e-12
# Both sides of a variation are called one-sided if the smaller change of the rate is at least this share of the larger
SAME_SIDE = 0.1


@dataclass
class Variation:
    """A histosys on one sample of one region.

    Attributes
    ----------
    name, parameter : str
        Key in the configuration; nuisance parameter, which several modifiers may share.
    region, sample : str
    nominal, up, down : array of shape (B,)
        Events.
    variance : array of shape (B,)
        Of the nominal events.
    given : tuple of two arrays
        Sides before symmetrisation and smoothing.
    done : list of str
        What was done to them.
    """

    name: str
    parameter: str
    region: str
    sample: str
    nominal: Array
    up: Array
    down: Array
    variance: Array
    given: tuple[Array, Array]
    done: list[str] = field(default_factory=list)

    def equal_sides(self) -> dict[str, bool]:
        """Tell which sides equal the nominal template."""
        return {"up": np.array_equal(self.up, self.nominal), "down": np.array_equal(self.down, self.nominal)}

    def changes(self) -> bool:
        """Tell whether a side differs from the nominal template."""
        return not all(self.equal_sides().values())

    def rates(self) -> tuple[float, float]:
        """Return the relative changes of the integral, up and down."""
        total = self.nominal.sum()
        return float(self.up.sum() / total - 1), float(self.down.sum() / total - 1)

    def shapes(self) -> tuple[Array, Array]:
        """Return both sides scaled to the nominal integral; a side without events stays."""
        total = self.nominal.sum()
        up, down = (side * (total / side.sum()) if side.sum() > 0 else side for side in (self.up, self.down))
        return up, down

    def largest_shape(self) -> float:
        """Return the largest relative change of a bin once the change of the integral is taken out."""
        filled = self.nominal > 0
        changes = [np.abs(side[filled] / self.nominal[filled] - 1).max(initial=0.0) for side in self.shapes()]
        return float(max(changes))

    def remarks(self) -> Iterator[str]:
        """Yield what is unusual and admitted."""
        up, down = self.rates()
        small, large = sorted((abs(up), abs(down)))
        if up * down > 0 and small >= SAME_SIDE * large and small > NOTHING:
            yield f"one-sided: both sides change the rate by {100 * up:+.2g} % and {100 * down:+.2g} %"
        if not self.changes():
            yield "changes nothing"


def make_variation(
    name: str, modifier: Mapping[str, Any], region: str, sample: str, parts: Mapping[str, Template],
    smoothing: Mapping[str, Any],
) -> Variation:  # fmt: skip
    """Return a histosys on one sample of one region, symmetrised and smoothed as configured.

    Parameters
    ----------
    parts : mapping
        Templates of the sample in the region by label.
    smoothing : mapping
        The block `smoothing`: "modifiers", and optionally "regions" and "samples".
    """
    nominal, up = parts["nominal"].events, parts[modifier["up"]].events
    down = parts[modifier["down"]].events if "down" in modifier else None
    how = modifier.get("symmetrise")
    before = (up, up if down is None else down)
    done: list[str] = []
    if how is None:
        assert down is not None  # a modifier with one side says how it is made symmetric
    else:
        up, down = symmetrise(nominal, up, down, how)
        done.append({"one_sided": "mirrored", "two_sided": "symmetrised", "maximum": "symmetrised to the maximum"}[how])
        clipped = np.flatnonzero((up == 0) & (nominal > 0) | (down == 0) & (nominal > 0))
        done += [f"below zero in bin {bin}, set to zero" for bin in clipped]
    chosen = {key: smoothing[key] for key in ("regions", "samples") if key in smoothing}
    if name in smoothing.get("modifiers", []) and applies(chosen, region, sample):
        if np.count_nonzero(nominal > 0) < FEWEST_BINS:
            done.append("too few bins to smooth")
        else:
            up, down = smooth_variation(nominal, up), smooth_variation(nominal, down)
            done.append("smoothed")
    parameter = parameter_name(name, modifier, region, sample)
    return Variation(name, parameter, region, sample, nominal, up, down, parts["nominal"].variance, before, done)


def write_variation(
    variation: Variation, separate: bool, pruning: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], str]:
    """Return the pyhf modifiers of a variation and what of it is kept.

    Parameters
    ----------
    separate : bool
        Whether to write rate (normsys) and shape (histosys) apart, under the same parameter.
    pruning : mapping
        "norm" and "shape": relative changes below which a part is dropped.

    Returns
    -------
    modifiers : list of dict
    status : str
        "kept", "rate only", "shape only" or "dropped".

    Raises
    ------
    UserError
        If the rate would have to be written by itself and a side has no events.
    """
    rates, shape = variation.rates(), variation.largest_shape()
    drop_rate = max(map(abs, rates)) < pruning.get("norm", 0.0)
    drop_shape = shape < pruning.get("shape", 0.0)
    name, modifiers = variation.parameter, []
    if drop_rate and drop_shape:
        return [], "dropped"
    if not (drop_rate or drop_shape or separate):
        return [_histosys(name, variation.up, variation.down)], "kept"
    if min(rates) <= -1:
        raise UserError(
            f"region {variation.region}, sample {variation.sample}, modifier {variation.name}: a side has no events, "
            "its rate cannot be written by itself",
            "leave `separate_rate` and pruning out, or look where the shifted template lost its events",
        )
    if not drop_rate:
        modifiers.append({"name": name, "type": "normsys", "data": {"hi": 1 + rates[0], "lo": 1 + rates[1]}})
    if not drop_shape and shape > NOTHING:
        modifiers.append(_histosys(name, *variation.shapes()))
    return modifiers, "shape only" if drop_rate else "rate only" if drop_shape else "kept"


def _histosys(name: str, up: Array, down: Array) -> dict[str, Any]:
    return {"name": name, "type": "histosys", "data": {"hi_data": up.tolist(), "lo_data": down.tolist()}}


def report_variation(variation: Variation, status: str) -> dict[str, Any]:
    """Return the row of a variation in the description of a workspace.

    Returns
    -------
    dict
        modifier, parameter, region, sample, type; relative changes `rate_up`, `rate_down`, `shape`; `status`, `done`,
        `remarks`; templates `nominal`, `up`, `down`, the `statistical` uncertainty of the nominal one, and `given` if
        the sides were others before.
    """
    rate_up, rate_down = variation.rates()
    row: dict[str, Any] = {
        "modifier": variation.name, "parameter": variation.parameter, "region": variation.region,
        "sample": variation.sample, "type": "histosys", "rate_up": rate_up, "rate_down": rate_down,
        "shape": variation.largest_shape(), "status": status, "done": variation.done,
        "remarks": list(variation.remarks()), "nominal": variation.nominal.tolist(), "up": variation.up.tolist(),
        "down": variation.down.tolist(), "statistical": np.sqrt(variation.variance).tolist(),
    }  # fmt: skip
    if variation.done:
        row["given"] = {"up": variation.given[0].tolist(), "down": variation.given[1].tolist()}
    return row


def write_rate(
    name: str, modifier: Mapping[str, Any], region: str, sample: str, pruning: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the pyhf modifiers (one or none) of a normsys and its row of the report."""
    parameter = parameter_name(name, modifier, region, sample)
    up, down = modifier["up"] - 1, modifier["down"] - 1
    drop = max(abs(up), abs(down)) < pruning.get("norm", 0.0)
    row = {
        "modifier": name, "parameter": parameter, "region": region, "sample": sample, "type": "normsys",
        "rate_up": up, "rate_down": down, "shape": 0.0, "status": "dropped" if drop else "kept", "done": [],
        "remarks": ["one-sided: both factors are on the same side of 1"] if up * down > 0 else [],
    }  # fmt: skip
    data = {"hi": modifier["up"], "lo": modifier["down"]}
    return [] if drop else [{"name": parameter, "type": "normsys", "data": data}], row


def require_two_sides(variations: Sequence[Variation]) -> None:
    """Raise a UserError for a variation of a sample of which one side equals the nominal template in all regions.

    In one of several regions it may by chance: few simulated jets move there.
    """
    groups: dict[tuple[str, str], list[Variation]] = {}
    for variation in variations:
        groups.setdefault((variation.name, variation.sample), []).append(variation)
    faults = []
    for (name, sample), group in groups.items():
        equal = {side: all(one.equal_sides()[side] for one in group) for side in ("up", "down")}
        if equal["up"] != equal["down"]:
            side = "up" if equal["up"] else "down"
            where = ", ".join(one.region for one in group)
            faults.append(
                f"region {where}, sample {sample}, modifier {name}: side {side!r} equals the nominal template"
            )
    if faults:
        raise UserError(
            "one-sided systematics:\n  " + "\n  ".join(faults),
            "set `symmetrise: one_sided` (`up` is mirrored) or `maximum`, or give the side templates of its own",
        )


def require_counted_once(variations: Sequence[Variation]) -> None:
    """Raise a UserError if two parameters have the same templates wherever both act, so that an effect counts twice.

    A bin or two may agree by chance, where few simulated jets move; all of them do not.
    """
    by_parameter: dict[str, dict[tuple[str, str], Variation]] = {}
    for variation in variations:
        by_parameter.setdefault(variation.parameter, {})[variation.region, variation.sample] = variation
    faults = []
    for one, other in combinations(by_parameter, 2):
        places = sorted(by_parameter[one].keys() & by_parameter[other].keys())
        pairs = [(by_parameter[one][place], by_parameter[other][place]) for place in places]
        if any(left.changes() for left, _ in pairs) and all(_same(left, right) for left, right in pairs):
            where = ", ".join(f"region {region} sample {sample}" for region, sample in places)
            faults.append(f"{one!r} has the same templates as {other!r} ({where})")
    if faults:
        raise UserError(
            "uncertainties counted twice:\n  " + "\n  ".join(faults),
            "remove one of the two modifiers, or correct its shifts",
        )


def _same(one: Variation, other: Variation) -> bool:
    """Tell whether two variations have the same sides, in either order."""
    orders = ((one.up, one.down), (one.down, one.up))
    return any(
        np.allclose(up, other.up, rtol=1e-9, atol=0) and np.allclose(down, other.down, rtol=1e-9, atol=0)
        for up, down in orders
    )
