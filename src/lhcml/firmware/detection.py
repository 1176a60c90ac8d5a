"""Figures of merit of an anomaly trigger: ROC curve, AUC, signal efficiency at tiny background rates, rates in Hz.

An event is taken if its score is at least the threshold, and events of equal score are taken or left together, as a
trigger does it: a quantised score has few values, so a false positive rate (FPR) asked for is not exceeded, and the one
reached is given beside it. Weights are not negative; a sum of weights stands for as many events as its effective number
(sum w)^2 / sum w^2 (Kish). docs/firmware_detection.md has definitions and assumptions.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lhcml.common.errors import UserError

Floats: TypeAlias = NDArray[np.float64]

# 1 pb in cm^2
PB_IN_CM2 = 1e-36
# LHC: slots for bunches a turn, turns a second (27 km at the speed of light), and the bunch pairs that collide in
# ATLAS and CMS of a 25 ns filling scheme with 2760 of them
BUNCH_SLOTS = 3564
REVOLUTION_HZ = 11245.0
COLLIDING_BUNCHES = 2760
# one crossing every 25 ns, as if each slot had a bunch: what an FPR is often multiplied with
NOMINAL_CROSSINGS_HZ = 40e6
SECONDS_A_MONTH = 30 * 86400.0
# 68.3 %, one standard deviation of a Gaussian
ONE_SIGMA = 2 * NormalDist().cdf(1.0) - 1


@dataclass(frozen=True)
class Sample:
    """Scores of events with their weights.

    Attributes
    ----------
    scores : ndarray of float64, shape (events,)
        Higher is more anomalous (or more signal-like).
    weights : ndarray of float64, shape (events,)
        Not negative.
    """

    scores: Floats
    weights: Floats


def make_sample(scores: ArrayLike, weights: ArrayLike | None, what: str) -> Sample:
    """Return checked scores and weights (1 if not given).

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
    return Sample(score, weight)


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


def auc_spread(signal: Sample, background: Sample, replicas: int, seed: int) -> float | None:
    """Return the standard deviation of the AUC over bootstrap replicas; None with fewer than 2 replicas.

    A replica draws, with replacement, as many signal and as many background events as there are.
    """
    if replicas < 2:
        return None
    generator = np.random.default_rng(seed)
    # the rank of each event among the distinct scores: sorted once, then a replica is three sums
    values, place = np.unique(np.concatenate([signal.scores, background.scores]), return_inverse=True)
    samples = ((signal, place[: len(signal.scores)]), (background, place[len(signal.scores) :]))
    areas = np.empty(replicas)
    for replica in range(replicas):
        shares = []
        for sample, where in samples:
            size = len(where)
            drawn = np.bincount(generator.integers(size, size=size), minlength=size)
            weights = np.bincount(where, drawn * sample.weights, minlength=len(values))
            shares.append(weights / max(weights.sum(), np.finfo(float).tiny))
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
        Their effective number.
    threshold_error : float or None
        Relative statistical uncertainty of the FPR at this threshold, 1/sqrt(effective_above).
    needed : dict
        Effective background events that make this uncertainty 100, 30 and 10 %.
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
    """Return how many effective background events fix a threshold at an FPR within 100, 30 and 10 %: 1/(FPR rel^2)."""
    return {str(per_cent): 1e4 / (fpr * per_cent**2) for per_cent in (100, 30, 10)}


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
    taken = background.scores >= threshold
    effective = effective_number(background.weights[taken])
    needed = events_needed(fpr)
    # a threshold between the last signal and the first background event has none above it
    if effective < 1 or reached <= 0:
        total = effective_number(background.weights)
        if total * fpr >= 1:
            reason = (
                "no threshold gives so small a rate: too many or too heavy background events share the highest scores"
            )
        else:
            reason = f"{total:.3g} effective background events, {needed['100']:.3g} are needed"
        return WorkingPoint(
            fpr, reached, None, int(taken.sum()), effective, None, needed, None, None, None, None, None, reason
        )
    relative = 1 / np.sqrt(effective)
    around = [float(roc.tpr[roc.vertex(fpr * factor)]) for factor in (1 - relative, 1 + relative)]
    statistical = binomial_error(tpr, effective_number(signal.weights))
    moved = 0.5 * abs(around[1] - around[0])
    gain = tpr / reached
    # the background count above the threshold and the signal count fluctuate apart from each other
    gain_error = gain * float(np.hypot(statistical / tpr, relative)) if tpr > 0 else statistical / reached
    return WorkingPoint(
        fpr, reached, threshold, int(taken.sum()), effective, float(relative), needed, tpr, statistical, moved, gain,
        gain_error, None,
    )  # fmt: skip


def crossing_rate(bunches: int = COLLIDING_BUNCHES) -> float:
    """Return the rate of bunch crossings with collisions in Hz: 31.0 MHz for 2760 pairs of bunches.

    Raises
    ------
    UserError
        If there are fewer than one or more than the slots of the LHC.
    """
    if not 0 < bunches <= BUNCH_SLOTS:
        raise UserError(f"{bunches} colliding bunches", f"the LHC has room for 1 to {BUNCH_SLOTS}")
    return bunches * REVOLUTION_HZ


def rate_of(cross_section: ArrayLike, luminosity: float) -> Floats:
    """Return rates in Hz of cross sections in pb at an instantaneous luminosity in cm^-2 s^-1."""
    return np.asarray(cross_section, np.float64) * PB_IN_CM2 * luminosity


def rates_above(background: Sample, thresholds: Floats, luminosity: float) -> tuple[Floats, Floats]:
    """Return the rate in Hz of background at each threshold and its statistical uncertainty.

    Parameters
    ----------
    background : Sample
        Weights in pb.
    thresholds : ndarray, shape (n,)
        Scores.
    luminosity : float
        In cm^-2 s^-1.
    """
    order = np.argsort(-background.scores, kind="stable")
    sums = [np.concatenate([[0.0], np.cumsum(background.weights[order] ** power)]) for power in (1, 2)]
    place = np.searchsorted(-background.scores[order], -thresholds, side="right")
    return rate_of(sums[0][place], luminosity), rate_of(np.sqrt(sums[1][place]), luminosity)


def events_a_month(cross_section: float, efficiency: float, luminosity: float, duty_cycle: float) -> float:
    """Return the events of a process that are taken in 30 days.

    Parameters
    ----------
    cross_section : float
        After the selection of the inputs, in pb.
    efficiency : float
        Share of the selected events that the trigger takes.
    luminosity : float
        Mean over a fill, in cm^-2 s^-1.
    duty_cycle : float
        Share of the time with collisions.
    """
    return float(rate_of(cross_section, luminosity)) * efficiency * SECONDS_A_MONTH * duty_cycle
