"""Covariance of fitted parameters from the curvature of -2 ln L."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lhcml.inference.likelihood import Array, Likelihood

# Step of the derivative of the gradient, in standard deviations: errors of rounding and of curvature both small
STEP = 1e-3
# Smallest eigenvalue, of the Hessian scaled to unit diagonal, at which parameters count as distinguishable
SMALLEST_EIGENVALUE = 1e-6


@dataclass(frozen=True)
class Curvature:
    """Second derivatives at a minimum and what follows from them.

    Attributes
    ----------
    covariance : array of shape (P, P) or None
        2 H^-1, with zeros for parameters held constant; None if H is not positive definite.
    edm : float or None
        Vertical distance to the minimum, g^T H^-1 g / 2, over the parameters inside their bounds.
    step : array of shape (P,) or None
        The way to the minimum in quadratic approximation, -H^-1 g, of the parameters inside their bounds.
    unused : list of str
        Free parameters on which the likelihood does not depend.
    degenerate : list of str
        The parameters of the combination that the data do not determine.
    """

    covariance: Array | None
    edm: float | None
    step: Array | None
    unused: list[str]
    degenerate: list[str]


def hessian(likelihood: Likelihood, data: Array, values: Array, free: NDArray[np.bool_], width: Array) -> Array:
    """Return second derivatives of -2 ln L from central differences of its gradient, shape (F, F).

    Parameters
    ----------
    values : array of shape (P,)
        Where to take them.
    free : array of bool, shape (P,)
        The F parameters that vary.
    width : array of shape (P,)
        Rough standard deviations, which set the steps.
    """
    indices = np.flatnonzero(free)
    rows = np.empty((len(indices), len(indices)))
    for row, index in enumerate(indices):
        step = STEP * width[index]
        # one-sided at a bound, beyond which the likelihood may have no value
        low, high = (
            max(values[index] - step, likelihood.lower[index]),
            min(values[index] + step, likelihood.upper[index]),
        )
        if not high > low:
            low, high = values[index] - step, values[index] + step
        ends = []
        for end in (low, high):
            point = values.copy()
            point[index] = end
            ends.append(likelihood.gradient(point, data)[indices])
        rows[row] = (ends[1] - ends[0]) / (high - low)
    return (rows + rows.T) / 2


def curvature(
    likelihood: Likelihood,
    data: Array,
    values: Array,
    free: NDArray[np.bool_],
    width: Array,
    at_bound: NDArray[np.bool_],
) -> Curvature:
    """Return covariance and distance to the minimum, or the reason why there is none.

    A parameter at its bound keeps its curvature: its uncertainty is that of the likelihood without the bound. Where the
    curvature is not positive with it, which the bound allows, it counts as constant.
    """
    matrix = hessian(likelihood, data, values, free, width)
    indices = np.flatnonzero(free)
    flat = np.abs(matrix).max(axis=1, initial=0) * width[indices] ** 2 < 1e-9
    unused = [likelihood.names[index] for index in indices[flat]]
    bad: list[int] = []
    for use in (~flat, ~flat & ~at_bound[indices]):
        inverse, bad = _invert(matrix[np.ix_(use, use)])
        if inverse is None:
            bad = [int(indices[use][index]) for index in bad]
            continue
        chosen = indices[use]
        covariance = np.zeros((len(free), len(free)))
        # -2 ln L = const + (x - x0)^T H (x - x0) / 2, so that the covariance is 2 H^-1
        covariance[np.ix_(chosen, chosen)] = 2 * inverse
        inner = np.flatnonzero(use & ~at_bound[indices])
        slope = likelihood.gradient(values, data)[indices[inner]]
        step = np.zeros(len(free))
        step[indices[inner]] = -np.linalg.solve(matrix[np.ix_(inner, inner)], slope)
        return Curvature(covariance, -0.5 * float(slope @ step[indices[inner]]), step, unused, [])
    return Curvature(None, None, None, unused, [likelihood.names[index] for index in bad])


def _invert(matrix: Array) -> tuple[Array | None, list[int]]:
    """Return the inverse of a Hessian; or None, and the rows of the combination that has no positive curvature."""
    diagonal = np.diag(matrix)
    if not np.isfinite(matrix).all() or (diagonal <= 0).any():
        return None, [int(index) for index in np.flatnonzero(~(diagonal > 0))]
    scale = np.outer(1 / np.sqrt(diagonal), 1 / np.sqrt(diagonal))
    eigenvalues, vectors = np.linalg.eigh(matrix * scale)
    if eigenvalues.size and eigenvalues[0] < SMALLEST_EIGENVALUE:
        return None, [int(index) for index in np.flatnonzero(np.abs(vectors[:, 0]) > 0.1)]
    return (vectors / eigenvalues) @ vectors.T * scale, []
