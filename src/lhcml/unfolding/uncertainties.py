"""Spectra with uncertainties from histograms of weight columns: one recipe for every observable.

Each source of uncertainty is a set of weight columns and a rule that turns their histograms into a covariance matrix:

- replicas: sample covariance of the bootstrap replicas (Efron, Ann. Statist. 7 (1979) 1);
- ensemble: sample covariance of networks that differ in their seed only, divided by the number averaged in the nominal
  weight;
- two_sided: d d^T with d = (up - down) / 2, signed, so that bins move together or against each other;
- one_sided: d d^T with d = variation - nominal.

Sources are independent: the total covariance is the sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lhcml.common.errors import UserError
from lhcml.unfolding.metrics import replica_covariance

Array: TypeAlias = NDArray[np.float64]
NOMINAL = "weight_nominal"
GENERATOR = "weight_generator"
# histogram of the squares of the nominal weights, beside those of the columns
SQUARES = "weight_nominal squared"


@dataclass(frozen=True)
class Binning:
    """Bin of every event: 0 underflow, 1..K, K + 1 overflow, K + 2 events that a cut removes.

    Attributes
    ----------
    edges : array, shape (K + 1,)
    index : integer array, shape (events,)
    """

    edges: Array
    index: NDArray[np.intp]


@dataclass(frozen=True)
class Spectrum:
    """An unfolded spectrum and what is known of its uncertainty.

    Attributes
    ----------
    edges : array, shape (K + 1,)
    nominal, prior : array, shape (K,)
        Unfolded result and simulation before unfolding: events in each bin, or density if so asked.
    covariances : dict of str to array, shape (K, K)
        By source; statistical sources first.
    shifts : dict of str to dict of str to array, shape (K,)
        Signed changes of the systematic sources: "up" and "down", or "shift".
    underflow, overflow : float
        Nominal sum of weights outside the edges, in events also for a density.
    effective_events : array, shape (K,)
        (sum w)^2 / sum w^2 of the nominal weights: simulated events that carry a bin. 0 for an empty bin.
    density : bool
        Whether the spectrum is normalised to unit area in range.
    """

    edges: Array
    nominal: Array
    prior: Array
    covariances: dict[str, Array]
    shifts: dict[str, dict[str, Array]]
    underflow: float
    overflow: float
    effective_events: Array
    density: bool

    @property
    def covariance(self) -> Array:
        """Return the total covariance, the sum over sources; shape (K, K)."""
        return np.sum([np.zeros((len(self.nominal),) * 2), *self.covariances.values()], axis=0)

    @property
    def uncertainty(self) -> Array:
        """Return the total standard deviation of each bin, shape (K,)."""
        return np.sqrt(np.diag(self.covariance))

    def uncertainty_of(self, *sources: str) -> Array:
        """Return the standard deviation of each bin from some sources together, shape (K,)."""
        return np.sqrt(sum((np.diag(self.covariances[name]) for name in sources), np.zeros(len(self.nominal))))

    @property
    def correlation(self) -> Array:
        """Return the total correlation matrix, 0 where a bin has no uncertainty; shape (K, K)."""
        scale = np.outer(self.uncertainty, self.uncertainty)
        return np.divide(self.covariance, scale, out=np.zeros_like(scale), where=scale > 0)


def check_edges(edges: Any) -> Array:
    """Return bin edges as an array.

    Raises
    ------
    UserError
        If they are fewer than two, not finite or not increasing.
    """
    array = np.asarray(edges, float)
    if array.ndim != 1 or len(array) < 2 or not np.isfinite(array).all() or not (np.diff(array) > 0).all():
        raise UserError(f"{array.tolist()} are no bin edges", "give two or more finite numbers, increasing")
    return array


def make_binning(values: Any, edges: Any, keep: Any = None) -> Binning:
    """Sort events into bins, half-open but for the last, which holds its upper edge (as `numpy.histogram`).

    Parameters
    ----------
    values : array, shape (events,)
        The observable. Infinite values go to underflow or overflow.
    edges : sequence of float
        Bin edges.
    keep : boolean array, shape (events,), optional
        Events that pass a cut.

    Raises
    ------
    UserError
        If a value of an event that is kept is NaN.
    """
    edges = check_edges(edges)
    values = np.asarray(values)
    keep = np.ones(len(values), bool) if keep is None else np.asarray(keep, bool)
    undefined = int(np.count_nonzero(np.isnan(values) & keep))
    if undefined:
        raise UserError(
            f"the observable is NaN for {undefined} of {np.count_nonzero(keep)} events",
            "remove these events with a cut, or give them a value, e.g. where(jet_pt > 0, jet_mass / jet_pt, 0)",
        )
    index: NDArray[np.intp] = np.searchsorted(edges, values, side="right")
    index[values == edges[-1]] = len(edges) - 1
    index[~keep] = len(edges) + 1
    return Binning(edges, index)


def fill(columns: Iterable[tuple[str, Array]], binnings: Mapping[str, Binning]) -> dict[str, dict[str, Array]]:
    """Histogram weight columns in several observables, one column in memory at a time.

    Parameters
    ----------
    columns : iterable of (name, weights)
        Weights of shape (events,).
    binnings : mapping of str to Binning
        By observable.

    Returns
    -------
    dict
        By observable and column: sums of weights, shape (K + 2,), underflow first and overflow last.
    """
    filled: dict[str, dict[str, Array]] = {name: {} for name in binnings}
    for column, weights in columns:
        for name, binning in binnings.items():
            sums = np.bincount(binning.index, weights, minlength=len(binning.edges) + 2)
            filled[name][column] = sums[: len(binning.edges) + 1]
    return filled


def as_density(sums: Array, edges: Array) -> Array:
    """Return sums of weights in range as a density of unit area, shape (K,).

    Raises
    ------
    UserError
        If the sum in range is not positive.
    """
    total = sums.sum()
    if total <= 0:
        raise UserError(f"the weights in range sum to {total:g}: no density", "choose edges that hold events")
    density: Array = sums / (total * np.diff(edges))
    return density


def make_spectrum(
    edges: Array, sums: Mapping[str, Array], recipe: Mapping[str, Mapping[str, Any]], density: bool = False
) -> Spectrum:
    """Return the spectrum with its uncertainties.

    Parameters
    ----------
    edges : array, shape (K + 1,)
    sums : mapping of str to array, shape (K + 2,)
        Result of `fill` for one observable: every column of the recipe, `NOMINAL`, `GENERATOR` and `SQUARES`.
    recipe : mapping
        Block `uncertainties` of a manifest.
    density : bool
        Normalise to unit area in range. Each variation is normalised by its own sum before the covariances are made, so
        that what only changes the rate drops out.
    """
    inside = {name: values[1:-1] for name, values in sums.items()}
    squares = inside.pop(SQUARES)
    effective = np.divide(inside[NOMINAL] ** 2, squares, out=np.zeros_like(squares), where=squares > 0)
    if density:
        inside = {name: as_density(values, edges) for name, values in inside.items()}
    nominal = inside[NOMINAL]
    covariances, shifts = {}, {}
    for source, part in recipe.items():
        if part["kind"] in ("replicas", "ensemble"):
            matrix = replica_covariance([inside[name] for name in part["columns"]])
            covariances[source] = matrix / part.get("averaged", 1)
        elif part["kind"] == "two_sided":
            up, down = inside[part["up"]] - nominal, inside[part["down"]] - nominal
            shifts[source] = {"up": up, "down": down}
            covariances[source] = np.outer(up - down, up - down) / 4
        else:
            shift = inside[part["column"]] - nominal
            shifts[source] = {"shift": shift}
            covariances[source] = np.outer(shift, shift)
    return Spectrum(
        edges, nominal, inside[GENERATOR], covariances, shifts, float(sums[NOMINAL][0]), float(sums[NOMINAL][-1]),
        effective, density,
    )  # fmt: skip
