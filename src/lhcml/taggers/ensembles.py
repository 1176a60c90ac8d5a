"""Several taggers as one: a linear combination of their logits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lhcml.common.errors import UserError
from lhcml.taggers.calibration import class_weights
from lhcml.taggers.logits import logit, sigmoid
from lhcml.taggers.metrics import Bools, Floats

# Newton converges in about ten steps; where classes are separated, the ridge keeps the weights finite
STEPS = 100
TOLERANCE = 1e-10


def fit_weights(margins: NDArray[np.float64], signal: Bools) -> tuple[Floats, float]:
    """Fit a logistic regression of the label on the members' logits, classes weighted equally.

    Newton's method with step halving on the mean cross entropy plus a ridge |w|^2/(2 jets), the prior that scikit-learn
    takes by default, without which the weights of members that agree would not be determined.

    Parameters
    ----------
    margins : ndarray, shape (jets, members)
    signal : ndarray of bool, shape (jets,)

    Returns
    -------
    weights : ndarray, shape (members,)
    bias : float
        Not under the ridge.

    Raises
    ------
    UserError
        If the steps do not converge.
    """
    design = np.column_stack([margins, np.ones(len(margins))])
    weight = class_weights(signal)
    ridge: Floats = np.append(np.full(margins.shape[1], 1 / len(margins)), 0.0)

    def loss(parameters: Floats) -> float:
        margin = design @ parameters
        entropy = np.logaddexp(0.0, np.where(signal, -margin, margin))
        return float(weight @ entropy + 0.5 * ridge @ parameters**2)

    parameters = np.zeros(design.shape[1])
    for _ in range(STEPS):
        probability = sigmoid(design @ parameters)
        gradient = design.T @ (weight * (probability - signal)) + ridge * parameters
        if np.abs(gradient).max() < TOLERANCE:
            return parameters[:-1], float(parameters[-1])
        curvature = (design * (weight * probability * (1 - probability))[:, None]).T @ design + np.diag(ridge)
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        size = 1.0
        while loss(parameters - size * step) > loss(parameters) and size > TOLERANCE:
            size /= 2
        parameters = parameters - size * step
    raise UserError(
        f"the weights of the ensemble do not converge in {STEPS} steps", "use `method: mean`, or more validation jets"
    )


def combine(scores: Sequence[Floats], weights: Sequence[float], bias: float) -> Floats:
    """Return sigmoid(bias + sum of weight * logit(score)), shape (jets,)."""
    total = np.full(len(scores[0]), bias)
    for score, weight in zip(scores, weights, strict=True):
        total += weight * logit(score)
    return sigmoid(total)
