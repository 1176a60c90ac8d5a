"""Profile likelihood ratios of pseudo-experiments: q~, q0 and the two-sided one (arXiv:1007.1727, eqs. 8, 12, 16)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.inference.batch_likelihood import BatchLikelihood
from lhcml.inference.likelihood import Array
from lhcml.inference.minimise_batch import BatchFit, minimise_batch

# A fit with a parameter held that lies lower than the free one by this found another minimum
OTHER_MINIMUM = 1e-5


@dataclass(frozen=True)
class Profiles:
    """Free fits of T data sets and fits at M values of the parameter of interest.

    Attributes
    ----------
    best : array of shape (T,)
        Fitted parameter of interest.
    lowest : array of shape (T,)
        -2 ln L of the free fit.
    fixed : array of shape (T, M)
        -2 ln L with the parameter of interest held at each value.
    strengths : tuple of float, length M
        Those values.
    free : BatchFit
        The free fits.
    valid : array of bool, shape (T,)
        Whether all fits of a data set are.
    reasons : list of str, length T
        Why not; empty if valid.
    retried : int
        Fits that the vectorised method left to `minimise`.
    """

    best: Array
    lowest: Array
    fixed: Array
    strengths: tuple[float, ...]
    free: BatchFit
    valid: NDArray[np.bool_]
    reasons: list[str]
    retried: int

    def at(self, strength: float) -> Array:
        """Return -2 ln L at one of the values, shape (T,)."""
        return np.asarray(self.fixed[:, self.strengths.index(strength)])

    def two_sided(self, strength: float) -> Array:
        """Return t of a value, shape (T,): below one inside the interval of one standard deviation."""
        return np.maximum(0.0, self.at(strength) - self.lowest)

    def q_tilde(self, strength: float) -> Array:
        """Return q~ of a value, shape (T,); the parameter of interest must be bounded below by 0 (the tilde)."""
        return np.where(self.best > strength, 0.0, self.two_sided(strength))

    def q_zero(self) -> Array:
        """Return q0, shape (T,), the statistic of a discovery; as for `q_tilde`, and 0 must be a value."""
        return self.two_sided(0.0)


def profile_toys(batch: BatchLikelihood, data: Array, truth: Array, strengths: Sequence[float]) -> Profiles:
    """Fit data sets freely and with the parameter of interest held at each of some values.

    Variations that pull up and down to the same side give a likelihood of several minima. So that free and held fits
    see the same ones, held fits start twice, from the free fit and from the truth, and the free fit starts again where
    a held one is lower.

    Parameters
    ----------
    batch : BatchLikelihood
    data : array of shape (T, B + A)
    truth : array of shape (P,)
        Starting values: what the data were drawn from.
    strengths : sequence of float
        The M values.
    """
    poi = batch.likelihood.poi
    free = minimise_batch(batch, data, truth)
    held, retried = [], free.retried
    for strength in strengths:
        both = [minimise_batch(batch, data, start, {poi: strength}) for start in (free.values, truth)]
        held.append(lower_fits(*both))
        retried += held[-1].retried
    for fit in held:
        deeper = np.flatnonzero(fit.valid & ~(fit.twice_nll >= free.twice_nll - OTHER_MINIMUM))
        if deeper.size:
            again = minimise_batch(batch, data[deeper], fit.values[deeper])
            free = replace_rows(free, deeper, lower_fits(take(free, deeper), again))
    fits = [free, *held]
    reasons = [
        "; ".join(dict.fromkeys(text for text in row if text)) for row in zip(*(f.reasons for f in fits), strict=True)
    ]
    return Profiles(
        free.values[:, poi], free.twice_nll,
        np.stack([fit.twice_nll for fit in held], axis=1) if held else np.empty((len(data), 0)),
        tuple(strengths), free, np.logical_and.reduce([fit.valid for fit in fits]), reasons, retried,
    )  # fmt: skip


def lower_fits(first: BatchFit, second: BatchFit) -> BatchFit:
    """Return of two fits of each data set the lower one; of one valid and one not, the valid one."""
    other = (second.valid & ~first.valid) | ((second.valid == first.valid) & (second.twice_nll < first.twice_nll))
    rows = np.flatnonzero(other)
    merged = replace_rows(first, rows, take(second, rows))
    return replace(merged, retried=first.retried + second.retried)


def take(fit: BatchFit, rows: NDArray[np.intp]) -> BatchFit:
    """Return the fits of some data sets."""
    return BatchFit(
        fit.values[rows], fit.twice_nll[rows], fit.valid[rows], [fit.reasons[row] for row in rows], fit.at_bound[rows],
        fit.retried,
    )  # fmt: skip


def replace_rows(fit: BatchFit, rows: NDArray[np.intp], other: BatchFit) -> BatchFit:
    """Return the fits with those of some data sets replaced."""
    values, twice_nll, valid, at_bound = (part.copy() for part in (fit.values, fit.twice_nll, fit.valid, fit.at_bound))
    reasons = list(fit.reasons)
    values[rows], twice_nll[rows], valid[rows], at_bound[rows] = (
        other.values, other.twice_nll, other.valid, other.at_bound,
    )  # fmt: skip
    for row, reason in zip(rows, other.reasons, strict=True):
        reasons[row] = reason
    return BatchFit(values, twice_nll, valid, reasons, at_bound, fit.retried)


def count_reasons(reasons: Iterable[str]) -> dict[str, int]:
    """Return how many fits failed for each reason."""
    return dict(Counter(reason for reason in reasons if reason))


def column(values: Array, valid: NDArray[np.bool_]) -> list[Any]:
    """Return values for JSON, None where a fit is not valid."""
    return [float(value) if good else None for value, good in zip(values, valid, strict=True)]
