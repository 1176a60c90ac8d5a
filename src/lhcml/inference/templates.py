"""Templates of simulated jets or events and counts of (pseudo-)data in the regions of a measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.cuts import in_range
from lhcml.common.errors import UserError
from lhcml.inference.likelihood import Array
from lhcml.inference.read_rows import Rows

INVERSE_FB_IN_INVERSE_PB = 1000.0


@dataclass(frozen=True)
class Template:
    """Expected events of a sample in a region: per bin events, their variance and raw counts, shape (bins,)."""

    events: Array
    variance: Array
    raw: NDArray[np.int64]

    def __add__(self, other: Template) -> Template:
        return Template(self.events + other.events, self.variance + other.variance, self.raw + other.raw)


def score_threshold(jets: Sequence[Rows], factors: Sequence[float], efficiency: float) -> float:
    """Return the score that a given share of the validation jets reaches or exceeds.

    The validation split chose the tagger's stopping point but no template is made of it, so that the choice of
    threshold does not bias the templates.

    Parameters
    ----------
    jets : sequence of Rows
        Nominal signal datasets.
    factors : sequence of float
        Their factors to pb.
    efficiency : float
        Share of the weighted jets to keep, 0..1.

    Raises
    ------
    UserError
        If there are fewer than 20 validation jets.
    """
    chosen = [one.in_split("validation") for one in jets]
    score = np.concatenate([one.columns["score"][use] for one, use in zip(jets, chosen, strict=True)])
    weight = np.concatenate(
        [one.weights["nominal"][use] * factor for one, use, factor in zip(jets, chosen, factors, strict=True)]
    )
    if len(score) < 20:
        raise UserError(
            f"{len(score)} signal jets in the validation split, too few to set a working point",
            "generate more events of the signal datasets",
        )
    order = np.argsort(-score, kind="stable")
    kept = np.cumsum(weight[order]) / weight.sum()
    return float(score[order][np.searchsorted(kept, efficiency)])


def split_scale(rows: Rows, split: str, what: str) -> float:
    """Return the sum of nominal weights of all rows over that of the rows of a split.

    Raises
    ------
    UserError
        If the split holds no weight.
    """
    weight = rows.weights["nominal"]
    use = rows.in_split(split)
    if use.all() and len(rows):
        return 1.0
    part = weight[use].sum()
    if not part > 0:
        raise UserError(f"{what}: no jets in split {split!r}", "generate more events, or choose another `split`")
    return float(weight.sum() / part)


def in_region(rows: Rows, region: Mapping[str, Any], threshold: float | None) -> NDArray[np.bool_]:
    """Tell which rows belong to a region: tagged (score at or above the threshold) or not, and within its cuts."""
    use: NDArray[np.bool_] = np.ones(len(rows), bool)
    if "tagged" in region:
        use &= (rows.columns["score"] >= threshold) == region["tagged"]
    for name, limits in region.get("cuts", {}).items():
        use &= in_range(rows.columns[name], limits)
    return use


def fill_template(
    rows: Rows, use: NDArray[np.bool_], observable: str, bins: Sequence[float], weight: str, scale: float
) -> Template:
    """Histogram the rows in use.

    Parameters
    ----------
    use : array of bool, shape (N,)
    observable : str
        Column to histogram.
    bins : sequence of float
        Edges; values outside are left out, a value at the last edge belongs to the last bin.
    weight : str
        Which weight: "nominal" or a weight shift.
    scale : float
        Factor on every weight.
    """
    weights = rows.weights[weight][use] * scale
    values = rows.columns[observable][use]
    events, _ = np.histogram(values, bins, weights=weights)
    variance, _ = np.histogram(values, bins, weights=weights**2)
    raw, _ = np.histogram(values, bins)
    return Template(events, variance, raw.astype(np.int64))


def fill_variance(
    rows: Rows, use: NDArray[np.bool_], observable: str, bins: Sequence[float], column: str, scale: float
) -> Array:
    """Return per bin the sum of a column that holds the variance of each row's weight, times the factor squared."""
    values, variances = rows.columns[observable][use], rows.columns[column][use]
    return np.histogram(values, bins, weights=variances * scale**2)[0]


def accept_events(
    rows: Rows, factor: float, luminosity: float, generator: np.random.Generator, dataset: str
) -> NDArray[np.bool_]:
    """Choose the events of pseudo-data by hit or miss: each with the probability of its expected count.

    What remains is a sample of unweighted events as collisions would give: integer counts, no event used twice, the
    jets of an event kept or dropped together. A count fluctuates like a binomial one, with a variance lower than
    Poisson's by the share of *generated* events that it holds; few percent or less in a bin.

    Parameters
    ----------
    factor : float
        From generator weight to pb.
    luminosity : float
        In 1/fb, times the signal strength to inject for signal datasets.
    dataset : str
        Name for the messages.

    Raises
    ------
    UserError
        If a probability exceeds one, with the largest luminosity the sample supports, or is negative.
    """
    probability = rows.weights["nominal"] * factor * luminosity * INVERSE_FB_IN_INVERSE_PB
    if len(rows) and probability.min() < 0:
        raise UserError(
            f"pseudo-data from {dataset}: {np.count_nonzero(probability < 0)} jets have negative weights",
            "take a dataset with positive weights for pseudo-data",
        )
    if len(rows) and probability.max() > 1:
        raise UserError(
            f"pseudo-data from {dataset}: the simulation is too small for {luminosity:g}/fb "
            f"(an event would be needed {probability.max():.3g} times)",
            f"set `luminosity` to {luminosity / probability.max():.3g} or less, or generate "
            f"{probability.max():.2g} times more events",
        )
    draws = generator.random(int(rows.event[-1]) + 1 if len(rows) else 0)
    return np.asarray(draws[rows.event] < probability)


def largest_luminosity(rows: Rows, factor: float) -> float:
    """Return the luminosity in 1/fb up to which `accept_events` can draw from a dataset."""
    return float(1 / (rows.weights["nominal"].max() * factor * INVERSE_FB_IN_INVERSE_PB))
