"""Calibration: how far a score is from the probability of signal it claims, and the temperature that mends it.

All at equal class weights, as the taggers are trained: a score of 0.8 claims that of jets with this score, both classes
being equally frequent, 80 % are signal. Definitions: Guo et al., "On Calibration of Modern Neural Networks"
(arXiv:1706.04599), for two classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.taggers.logits import logit, sigmoid
from lhcml.taggers.metrics import Bools, Floats, bootstrap_counts

BINS = 15
# Temperatures looked for: beyond these, scores are all 0.5 or all 0 and 1
TEMPERATURES = (1e-2, 1e2)


def class_weights(signal: Bools) -> Floats:
    """Return weights that sum to 1/2 in each class."""
    counts = np.array([np.count_nonzero(~signal), np.count_nonzero(signal)])
    return np.asarray((0.5 / counts)[signal.astype(np.int64)])


def fit_temperature(score: Floats, signal: Bools) -> float:
    """Return the temperature T for which sigmoid(logit(score)/T) has the smallest cross entropy at equal class weights.

    The loss is convex in 1/T, so its slope is bisected; 1/T stays within 1/100 and 100 where classes are separated
    (T would be 0) or scores say nothing (infinite).
    """
    margin, weight = logit(score), class_weights(signal)

    def slope(inverse: float) -> float:
        return float(np.sum(weight * margin * (sigmoid(inverse * margin) - signal)))

    low, high = (1 / T for T in reversed(TEMPERATURES))
    if slope(low) >= 0:
        return 1 / low
    if slope(high) <= 0:
        return 1 / high
    # in the logarithm: 60 halvings of a factor 10^4 are below double precision
    for _ in range(60):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(1 / np.sqrt(low * high))


def reliability(score: Floats, signal: Bools, weight: Floats) -> NDArray[np.float64]:
    """Return (weight, weighted mean score, weighted signal share) of equal bins of the score, shape (3, BINS).

    Means are NaN in an empty bin.
    """
    position = np.minimum((score * BINS).astype(np.int64), BINS - 1)
    total, scores, signals = (
        np.bincount(position, values, minlength=BINS) for values in (weight, weight * score, weight * signal)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.array([total, scores / total, signals / total])


def calibration_error(score: Floats, signal: Bools, weight: Floats) -> float:
    """Return the expected calibration error: mean over bins of |mean score - signal share|, weighted by the bins."""
    total, mean, share = reliability(score, signal, weight)
    return float(np.nansum(total * np.abs(mean - share)) / total.sum())


def noise(score: Floats, signal: Bools, replicas: int, seed: int) -> float:
    """Return the mean calibration error that jets of these scores would show if the scores were right.

    Labels are drawn from the scores, at the odds of the sample; what is left is how bins of finite size fluctuate.
    """
    weight, counts = class_weights(signal), (np.count_nonzero(~signal), np.count_nonzero(signal))
    chance = score * counts[1] / (score * counts[1] + (1 - score) * counts[0])
    of_class = weight[~signal][0], weight[signal][0]
    generator = np.random.default_rng(seed)
    errors = []
    for _ in range(replicas):
        drawn = generator.random(len(score)) < chance
        errors.append(calibration_error(score, drawn, np.where(drawn, of_class[1], of_class[0])))
    return float(np.mean(errors))


def curve(score: Floats, signal: Bools) -> list[dict[str, float | int]]:
    """Return the reliability curve for JSON: for each occupied bin its jets, mean score and signal share."""
    _, mean, share = reliability(score, signal, class_weights(signal))
    jets = np.bincount(np.minimum((score * BINS).astype(np.int64), BINS - 1), minlength=BINS)
    return [
        {"jets": int(jets[i]), "score": float(mean[i]), "signal_share": float(share[i])} for i in np.flatnonzero(jets)
    ]


def evaluate_calibration(
    score: Floats, signal: Bools, validation: tuple[Floats, Bools] | None, replicas: int, seed: int
) -> dict[str, Any]:
    """Return calibration before and after a temperature fitted on other jets.

    Parameters
    ----------
    score, signal : ndarray, shape (jets,)
        Scores in 0..1 and labels of the test split.
    validation : tuple of ndarray, optional
        Scores and labels of the validation split, to fit the temperature on.
    replicas, seed : int
        Bootstrap of the test jets.

    Returns
    -------
    dict
        `ece`, `ece_bootstrap_std`, `ece_noise`, `reliability`; `temperature` and the same four ending in
        `_calibrated`, None without validation jets.
    """
    result: dict[str, Any] = {"temperature": None if validation is None else fit_temperature(*validation)}
    versions: dict[str, Floats | None] = {"": score, "_calibrated": None}
    if validation is not None:
        versions["_calibrated"] = sigmoid(logit(score) / result["temperature"])
    for suffix, values in versions.items():
        if values is None:
            result |= {f"{name}{suffix}": None for name in ("ece", "ece_bootstrap_std", "ece_noise", "reliability")}
            continue
        weight = class_weights(signal)
        # replicas hold as many jets of each class, so the class weights stay
        errors = [
            calibration_error(values, signal, weight * counts) for counts in bootstrap_counts(signal, replicas, seed)
        ]
        result[f"ece{suffix}"] = calibration_error(values, signal, weight)
        result[f"ece_bootstrap_std{suffix}"] = float(np.std(errors, ddof=1)) if replicas > 1 else None
        result[f"ece_noise{suffix}"] = noise(values, signal, replicas, seed) if replicas else None
        result[f"reliability{suffix}"] = curve(values, signal)
    return result
