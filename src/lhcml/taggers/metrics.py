"""Figures of merit of a tagger: ROC curve, AUC, accuracy, background rejection, and their uncertainties.

Definitions follow arXiv:1902.09914: the area under the ROC curve, the accuracy at a threshold of 0.5, and the
background rejection 1/eps_B at a fixed signal efficiency eps_S, eps_B being interpolated linearly between the vertices
of the curve. Jets of equal score enter the curve together, as one vertex, so no result depends on their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lhcml.common.errors import UserError

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]

# Signal efficiencies at which rejections are given, by their names in results
POINTS = {"30": 0.3, "50": 0.5}
# 95 % upper limit on a Poisson mean when no event is seen: -ln(0.05)
POISSON_LIMIT = 2.9957


@dataclass(frozen=True)
class RocCurve:
    """Vertices of a ROC curve, from the tightest cut to none, beginning at (0, 0) and ending at (1, 1).

    Attributes
    ----------
    signal_efficiency, background_efficiency : ndarray of float, shape (vertices,)
        eps_S and eps_B, non-decreasing.
    """

    signal_efficiency: Floats
    background_efficiency: Floats

    def auc(self) -> float:
        """Return the area under the curve: the chance that a signal jet outscores a background jet."""
        return float(np.trapezoid(self.signal_efficiency, self.background_efficiency))

    def background_efficiency_at(self, signal_efficiency: float) -> float:
        """Return the smallest eps_B at which eps_S is reached, interpolated linearly between vertices."""
        after = int(np.searchsorted(self.signal_efficiency, signal_efficiency, side="left"))
        x, y = self.signal_efficiency, self.background_efficiency
        if x[after] == signal_efficiency:
            return float(y[after])
        share = (signal_efficiency - x[after - 1]) / (x[after] - x[after - 1])
        return float(y[after - 1] + share * (y[after] - y[after - 1]))

    def rejection(self, signal_efficiency: float) -> float:
        """Return 1/eps_B at a signal efficiency; infinite if no background jet passes."""
        passed = self.background_efficiency_at(signal_efficiency)
        return 1.0 / passed if passed > 0 else float("inf")


def check_scores(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None) -> tuple[Floats, Bools, Floats]:
    """Return scores, labels (True: signal) and weights as arrays, or tell what is wrong with them.

    Raises
    ------
    UserError
        If there is no jet, the lengths differ, a score is NaN or infinite, a label is not 0 or 1, a class is missing,
        a weight is negative, NaN or infinite, or the weights of a class add up to zero.
    """
    score = np.asarray(scores, dtype=np.float64)
    label = np.asarray(labels)
    weight = np.ones(score.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    if score.ndim != 1 or label.shape != score.shape or weight.shape != score.shape:
        raise UserError(
            f"scores, labels and weights have shapes {score.shape}, {label.shape} and {weight.shape}",
            "give one number a jet in each, in the same order",
        )
    if score.size == 0:
        raise UserError("there is no jet to evaluate", "check the split chosen and the selection before it")
    bad = int(np.count_nonzero(~np.isfinite(score)))
    if bad:
        raise UserError(f"{bad} of {score.size} scores are NaN or infinite", "mend the tagger that made them")
    if not np.all((label == 0) | (label == 1)):
        raise UserError("labels hold other values than 0 and 1", "use 1 for signal and 0 for background")
    if not np.all(np.isfinite(weight)) or np.any(weight < 0):
        raise UserError("weights are negative, NaN or infinite", "give finite weights that are not negative")
    signal = label.astype(bool)
    for name, chosen in (("signal", signal), ("background", ~signal)):
        if not chosen.any():
            raise UserError(
                f"there is no {name} jet among {score.size}", "give scores of both classes; check labels and split"
            )
        if weight[chosen].sum() <= 0:
            raise UserError(f"the weights of all {name} jets are zero", "give weights with a positive sum per class")
    return score, signal, weight


@dataclass(frozen=True)
class SortedScores:
    """Scores sorted downwards with the last jet of each group of equal scores marked, ready for many weightings."""

    signal: Bools
    weight: Floats
    last_of_group: NDArray[np.intp]
    order: NDArray[np.intp]

    @classmethod
    def of(cls, score: Floats, signal: Bools, weight: Floats) -> SortedScores:
        """Sort checked scores."""
        order = np.argsort(-score, kind="stable")
        ordered = score[order]
        last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
        return cls(signal[order], weight[order], last, order)

    def curve(self, weight: Floats | None = None) -> RocCurve:
        """Return the ROC curve, with other weights (in sorted order) if given."""
        weight = self.weight if weight is None else weight
        passed_signal = np.cumsum(np.where(self.signal, weight, 0.0))[self.last_of_group]
        passed_background = np.cumsum(np.where(self.signal, 0.0, weight))[self.last_of_group]
        return RocCurve(
            np.concatenate([[0.0], passed_signal / passed_signal[-1]]),
            np.concatenate([[0.0], passed_background / passed_background[-1]]),
        )


def roc_curve(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> RocCurve:
    """Return the ROC curve of scores.

    Parameters
    ----------
    scores : array_like, shape (jets,)
        Larger for more signal-like jets.
    labels : array_like, shape (jets,)
        1 signal, 0 background.
    weights : array_like, shape (jets,), optional
        Weights of the jets, not negative; all 1 if not given.

    Raises
    ------
    UserError
        See `check_scores`.
    """
    return SortedScores.of(*check_scores(scores, labels, weights)).curve()


def auc_error(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return the statistical standard deviation of the AUC for a sample of this size, without resampling.

    DeLong's estimate (Biometrics 44 (1988) 837): the variances of the jets' placement values, the share of the other
    class that each jet is ordered rightly against, divided by the (effective) number of jets of each class.
    Returns NaN where a class has a single jet.
    """
    score, signal, weight = check_scores(scores, labels, weights)
    variance = 0.0
    for chosen in (signal, ~signal):
        other = np.sort(score[~chosen])
        cumulative = np.concatenate([[0.0], np.cumsum(weight[~chosen][np.argsort(score[~chosen], kind="stable")])])
        below = cumulative[np.searchsorted(other, score[chosen], side="left")]
        not_above = cumulative[np.searchsorted(other, score[chosen], side="right")]
        placement = 0.5 * (below + not_above) / cumulative[-1]
        w = weight[chosen]
        effective = w.sum() ** 2 / np.sum(w**2)
        if effective <= 1:
            return float("nan")
        mean = np.average(placement, weights=w)
        variance += float(np.average((placement - mean) ** 2, weights=w) / (effective - 1))
    return float(np.sqrt(variance))


def bootstrap_counts(signal: Bools, replicas: int, seed: int) -> Iterator[Floats]:
    """Yield how often each jet is drawn in each bootstrap replica: with replacement, within each class.

    The same seed gives the same draws for every figure of merit of the same jets.
    """
    generator = np.random.default_rng(seed)
    rows = [np.flatnonzero(signal), np.flatnonzero(~signal)]
    for _ in range(replicas):
        counts = np.zeros(signal.size)
        for row in rows:
            counts[row] = np.bincount(generator.integers(row.size, size=row.size), minlength=row.size)
        yield counts


def bootstrap(sample: SortedScores, working_points: tuple[float, ...], replicas: int, seed: int) -> dict[str, Any]:
    """Return the spread of AUC and rejections over bootstrap replicas of the test sample.

    Each replica draws, with replacement, as many signal and as many background jets as there are.

    Returns
    -------
    dict
        "auc": standard deviation, or None with fewer than 2 replicas; "rejections": per working point the standard
        deviation, or None if some replica let no background jet pass.
    """
    if replicas < 2:
        return {"auc": None, "rejections": [None] * len(working_points)}
    aucs = np.empty(replicas)
    rejections = np.empty((replicas, len(working_points)))
    signal = np.empty_like(sample.signal)
    signal[sample.order] = sample.signal
    # drawn in the order of the jets, not of their scores: all taggers see the same replicas
    for replica, counts in enumerate(bootstrap_counts(signal, replicas, seed)):
        curve = sample.curve(counts[sample.order] * sample.weight)
        aucs[replica] = curve.auc()
        rejections[replica] = [curve.rejection(point) for point in working_points]
    spread = [float(r.std(ddof=1)) if np.isfinite(r).all() else None for r in rejections.T]
    return {"auc": float(aucs.std(ddof=1)), "rejections": spread}


def evaluate(
    scores: ArrayLike,
    labels: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    replicas: int = 100,
    seed: int = 1,
    threshold: float = 0.5,
) -> dict[str, Any]:
    """Return all figures of merit of one tagger on one test sample.

    Parameters
    ----------
    scores, labels, weights
        As for `roc_curve`.
    replicas : int
        Bootstrap replicas; 0 for none.
    seed : int
        Seed of the bootstrap.
    threshold : float
        A jet with at least this score is called signal, for the accuracies.

    Returns
    -------
    dict
        `n_signal`, `n_background`; `auc` with `auc_bootstrap_std` and `auc_statistical_std` (DeLong); `accuracy` (share
        of rightly called jets) and `balanced_accuracy` (the same at equal class weights, (eps_S + 1 - eps_B)/2); for
        x = 30 and 50 percent signal efficiency `rejection_x`, `rejection_x_bootstrap_std`,
        `rejection_x_statistical_std` (binomial error of the background jets that pass) and `rejection_x_lower_limit`.
        Where no background jet passes, the rejection and its errors are None and the lower limit (95 % CL) is a number;
        else the limit is None.
    """
    score, signal, weight = check_scores(scores, labels, weights)
    sample = SortedScores.of(score, signal, weight)
    curve = sample.curve()
    resampled = bootstrap(sample, tuple(POINTS.values()), replicas, seed)
    called = score >= threshold
    right = called == signal
    background = weight[~signal]
    effective_background = float(background.sum() ** 2 / np.sum(background**2))
    statistical = auc_error(score, labels, weight)
    result: dict[str, Any] = {
        "n_signal": int(signal.sum()),
        "n_background": int((~signal).sum()),
        "auc": curve.auc(),
        "auc_bootstrap_std": resampled["auc"],
        "auc_statistical_std": None if np.isnan(statistical) else statistical,
        "accuracy": float(np.average(right, weights=weight)),
        "balanced_accuracy": float(
            (np.average(right[signal], weights=weight[signal]) + np.average(right[~signal], weights=background)) / 2
        ),
        "bootstrap_replicas": replicas,
        "bootstrap_seed": seed,
    }
    for (name, point), spread in zip(POINTS.items(), resampled["rejections"], strict=True):
        passed = curve.background_efficiency_at(point)
        rejection = 1 / passed if passed > 0 else None
        relative = np.sqrt((1 - passed) / (passed * effective_background)) if passed > 0 else None
        result[f"rejection_{name}"] = rejection
        result[f"rejection_{name}_bootstrap_std"] = None if rejection is None else spread
        result[f"rejection_{name}_statistical_std"] = (
            None if rejection is None or relative is None else float(rejection * relative)
        )
        result[f"rejection_{name}_lower_limit"] = effective_background / POISSON_LIMIT if rejection is None else None
    return result
