"""Figures of merit of an anomaly trigger: ROC curve, AUC, signal efficiency at tiny background rates, rates in Hz.

An event is taken if its score is at least the threshold, and events of equal score are taken or left together, as a
trigger does it: a quantised score has few values, so a false positive rate (FPR) asked for is not exceeded, and the one
reached is given beside it. Weights are not negative; a sum of weights stands for as many events as its effective number
(sum w)^2 / sum w^2 (Kish). A background of several processes is known no better than the process with the heaviest
events: one of which no event is above a threshold counts there as 0 +- 1 event of its own weight. docs/
firmware_detection.md has definitions and assumptions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lhcml.common.errors import UserError

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """Scores of events with their weights.

    Attributes
    ----------
    scores : ndarray of float64, shape (events,)
        Higher is more anomalous (or more signal-like).
    weights : ndarray of float64, shape (events,)
        Not negative.
    process : ndarray of int64, shape (events,)
        Number of the process of each event.
    names : tuple of str
        Names of the processes; none is without events.
    """

    scores: Floats
    weights: Floats
    process: NDArray[np.int64]
    names: tuple[str, ...]


def make_sample(scores: ArrayLike, weights: ArrayLike | None, what: str) -> Sample:
    """Return checked scores and weights (1 if not given) of the events of one process.

    Raises
    ------
    UserError
        If there is no event, a score is NaN or infinite, a weight is negative, NaN or infinite, or all are 0.
    """
    score = np.asarray(scores, np.float64)
    weight = np.ones(score.shape) if weights is None else np.asarray(weights, np.float64)
    if score.ndim != 1 or weight.shape != score.shape:
        raise UserError(f"scores and weights of {what} have shapes {score.shape}, {weight.shape}", "give one an event")
    if not score.size:
        raise UserError(f"there is no event of {what}", "generate more of it, or leave it out of the model")
    bad = int(np.count_nonzero(~np.isfinite(score)))
    if bad:
        raise UserError(f"{bad} of {score.size} scores of {what} are NaN or infinite", "mend the model that made them")
    if not np.all(np.isfinite(weight)) or np.any(weight < 0) or not weight.sum() > 0:
        raise UserError(
            f"weights of {what} are negative, NaN, infinite or all 0",
            "a threshold on negative weights is not defined: give weights that are not negative",
        )
    return Sample(score, weight, np.zeros(len(score), np.int64), (what,))


def join_samples(samples: Sequence[Sample]) -> Sample:
    """Return the events of several processes as one sample."""
    return Sample(
        np.concatenate([sample.scores for sample in samples]),
        np.concatenate([sample.weights for sample in samples]),
        np.repeat(np.arange(len(samples)), [len(sample.scores) for sample in samples]),
        tuple(", ".join(sample.names) for sample in samples),
    )


def effective_number(weights: Floats) -> float:
    """Return the number of unweighted events of the same relative error, (sum w)^2 / sum w^2; 0 without events."""
    squares = float(np.sum(weights**2))
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0


@dataclass(frozen=True)
class Roc:
    """Vertices of a ROC curve, from a threshold above all scores (nothing taken) to the lowest score (all taken).

    Attributes
    ----------
    threshold : ndarray of float64, shape (vertices,)
        First infinite, then the distinct scores downwards.
    tpr, fpr : ndarray of float64, shape (vertices,)
        Shares of signal and background with a score of at least the threshold.
    """

    threshold: Floats
    tpr: Floats
    fpr: Floats

    def auc(self) -> float:
        """Return the area under the curve: the chance that signal outscores background, ties counted half."""
        return float(np.trapezoid(self.tpr, self.fpr))

    def vertex(self, fpr: float) -> int:
        """Return the last vertex whose FPR is at most `fpr`: the loosest threshold that keeps to the budget."""
        # rounding of cumulative sums must not cost an event: 0.01 of 1000 events is 10 events
        return int(np.searchsorted(self.fpr, fpr * (1 + 1e-9), side="right")) - 1


def roc_curve(signal: Sample, background: Sample) -> Roc:
    """Return the ROC curve of two samples."""
    scores = np.concatenate([signal.scores, background.scores])
    weights = np.concatenate([signal.weights, background.weights])
    is_signal = np.arange(len(scores)) < len(signal.scores)
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    passed = [np.cumsum(np.where(chosen, weights, 0.0)[order])[last] for chosen in (is_signal, ~is_signal)]
    tpr, fpr = (np.concatenate([[0.0], taken / taken[-1]]) for taken in passed)
    return Roc(np.concatenate([[np.inf], scores[order][last]]), tpr, fpr)


def counts_above(sample: Sample, thresholds: ArrayLike) -> tuple[Floats, Floats]:
    """Return the sum of weights of each process at or above each threshold, and its variance.

    The variance is the sum of squared weights. A process with no event above counts with the mean square of its
    weights, so that a process of large cross section and few events is not taken for one that never passes.

    Parameters
    ----------
    sample : Sample
        Events.
    thresholds : array_like, shape (n,)
        Scores.

    Returns
    -------
    sums, variances : ndarray of float64, shape (processes, n)
    """
    least = np.asarray(thresholds, np.float64)
    sums, variances = [], []
    for number in range(len(sample.names)):
        chosen = sample.process == number
        order = np.argsort(-sample.scores[chosen], kind="stable")
        weights = sample.weights[chosen][order]
        taken = np.searchsorted(-sample.scores[chosen][order], -least, side="right")
        sums.append(np.concatenate([[0.0], np.cumsum(weights)])[taken])
        squares = np.concatenate([[0.0], np.cumsum(weights**2)])[taken]
        variances.append(np.where(taken > 0, squares, np.mean(weights**2)))
    return np.stack(sums), np.stack(variances)


def area(scores: Floats, is_signal: NDArray[np.bool_], weights: Floats, what: str = "test") -> float:
    """Return the area under the ROC curve of rows of both classes.

    Parameters
    ----------
    scores : ndarray of float64, shape (rows,)
        Higher is more signal-like.
    is_signal : ndarray of bool, shape (rows,)
        Class of each row; both are there.
    weights : ndarray of float64, shape (rows,)
        Not negative.
    what : str
        Rows, for messages.

    Raises
    ------
    UserError
        As `make_sample`, for either class.
    """
    one, zero = (make_sample(scores[rows], weights[rows], what) for rows in (is_signal, ~is_signal))
    return roc_curve(one, zero).auc()


def sums_above(sample: Sample, thresholds: ArrayLike) -> tuple[Floats, Floats]:
    """Return the sum of weights at or above each threshold and its statistical uncertainty, see `counts_above`."""
    sums, variances = counts_above(sample, thresholds)
    return sums.sum(axis=0), np.sqrt(variances.sum(axis=0))


def effective_above(sample: Sample, thresholds: ArrayLike) -> Floats:
    """Return the effective number of events at or above each threshold: (sum / its uncertainty)^2."""
    sums, errors = sums_above(sample, thresholds)
    return np.asarray((sums / errors) ** 2)


def auc_spread(signal: Sample, background: Sample, replicas: int, seed: int) -> float | None:
    """Return the standard deviation of the AUC over bootstrap replicas; None with fewer than 2 replicas.

    A replica draws, with replacement, as many events of each process as there are; the shares of the processes stay, as
    they follow from cross sections.
    """
    if replicas < 2:
        return None
    generator = np.random.default_rng(seed)
    # the rank of each event among the distinct scores: sorted once, then a replica is a few sums
    values, place = np.unique(np.concatenate([signal.scores, background.scores]), return_inverse=True)
    places = place[: len(signal.scores)], place[len(signal.scores) :]
    areas = np.empty(replicas)
    for replica in range(replicas):
        shares = []
        for sample, where in zip((signal, background), places, strict=True):
            share = np.zeros(len(values))
            for number in range(len(sample.names)):
                rows = np.flatnonzero(sample.process == number)
                drawn = rows[generator.integers(len(rows), size=len(rows))]
                weights = sample.weights[drawn]
                # a replica of weights that are all 0 says nothing: the process is left out of it
                scale = sample.weights[rows].sum() / max(weights.sum(), np.finfo(float).tiny)
                share += np.bincount(where[drawn], weights * scale, minlength=len(values))
            shares.append(share / share.sum())
        below = np.cumsum(shares[1]) - 0.5 * shares[1]
        areas[replica] = shares[0] @ below
    return float(areas.std(ddof=1))


def wilson_interval(share: float, number: float) -> tuple[float, float]:
    """Return Wilson's interval at 68.3 % of a share seen in `number` (effective) events; of (0, 1) without events.

    Unlike sqrt(p (1 - p) / n) it is not empty where none or all of the events pass (Wilson, J. Am. Stat. Assoc. 22
    (1927) 209; with one standard deviation).
    """
    if number <= 0:
        return 0.0, 1.0
    centre = (share + 0.5 / number) / (1 + 1 / number)
    half = np.sqrt(share * (1 - share) / number + 0.25 / number**2) / (1 + 1 / number)
    return max(float(centre - half), 0.0), min(float(centre + half), 1.0)


def binomial_error(share: float, number: float) -> float:
    """Return half the width of Wilson's interval."""
    low, high = wilson_interval(share, number)
    return 0.5 * (high - low)


@dataclass(frozen=True)
class WorkingPoint:
    """Signal efficiency at a background rate.

    Attributes
    ----------
    fpr, fpr_reached : float
        False positive rate asked for, and the largest one not above it that a threshold gives.
    threshold : float or None
        Events of at least this score are taken; None if no threshold can be set.
    events_above : int
        Background events of the sample that are taken.
    effective_above : float
        Their effective number, of `effective_above`.
    threshold_error : float or None
        Relative statistical uncertainty of the FPR at this threshold, 1/sqrt(effective_above).
    needed : dict
        Background events of equal weight, in all, that make this uncertainty 100, 30 and 10 %.
    tpr, tpr_statistical, tpr_threshold : float or None
        Signal efficiency; its binomial uncertainty; how far it moves when the threshold moves by its own uncertainty.
    gain, gain_error : float or None
        tpr / fpr_reached: by what factor the signal is enriched.
    reason : str or None
        Why there is no efficiency.
    """

    fpr: float
    fpr_reached: float
    threshold: float | None
    events_above: int
    effective_above: float
    threshold_error: float | None
    needed: dict[str, float]
    tpr: float | None
    tpr_statistical: float | None
    tpr_threshold: float | None
    gain: float | None
    gain_error: float | None
    reason: str | None


def events_needed(fpr: float) -> dict[str, float]:
    """Return how many background events of equal weight fix the FPR of a threshold to 100, 30, 10 %: 1/(FPR rel^2)."""
    return {str(per_cent): 1e4 / (fpr * per_cent**2) for per_cent in (100, 30, 10)}


def why_unknown(background: Sample, threshold: float, fpr: float) -> str:
    """Return why the background above a threshold is not known well enough to set it."""
    if not np.any(background.scores >= threshold):
        tied = int(np.count_nonzero(background.scores == background.scores.max()))
        if tied > 1:
            return f"no threshold gives so small a rate: {tied} background events share the highest score"
    _, variances = counts_above(background, [threshold])
    worst = int(np.argmax(variances[:, 0]))
    events = int(np.count_nonzero(background.process == worst))
    share = float(background.weights[background.process == worst].sum() / background.weights.sum())
    return (
        f"fewer than 1 effective background event above: one of the {events} events of {background.names[worst]} "
        f"stands for a rate of {share / events:.2g}; many more than {share / fpr:.2g} of them are needed"
    )


def working_point(signal: Sample, background: Sample, roc: Roc, fpr: float) -> WorkingPoint:
    """Return the signal efficiency at an FPR, with what limits its precision.

    The efficiency is left out if fewer than one effective background event is above the threshold: then the sample does
    not say where the threshold lies.

    Parameters
    ----------
    signal, background : Sample
        The two classes.
    roc : Roc
        Their curve.
    fpr : float
        False positive rate, in (0, 1].
    """
    vertex = roc.vertex(fpr)
    threshold, reached, tpr = (float(column[vertex]) for column in (roc.threshold, roc.fpr, roc.tpr))
    events = int(np.count_nonzero(background.scores >= threshold))
    effective = float(effective_above(background, [threshold])[0])
    needed = events_needed(fpr)
    # one event of any weight is one event, whatever its square rounds to
    if effective < 1 - 1e-9:
        reason = why_unknown(background, threshold, fpr)
        return WorkingPoint(fpr, reached, None, events, effective, None, needed, None, None, None, None, None, reason)
    relative = 1 / np.sqrt(effective)
    around = [float(roc.tpr[roc.vertex(fpr * factor)]) for factor in (1 - relative, 1 + relative)]
    statistical = binomial_error(tpr, effective_number(signal.weights))
    moved = 0.5 * abs(around[1] - around[0])
    gain = tpr / reached
    # the background count above the threshold and the signal count fluctuate apart from each other
    gain_error = gain * float(np.hypot(statistical / tpr, relative)) if tpr > 0 else statistical / reached
    return WorkingPoint(
        fpr, reached, threshold, events, effective, float(relative), needed, tpr, statistical, moved, gain,
        gain_error, None,
    )  # fmt: skip
