"""Minimisation of -2 ln L for many data sets of one model at once; those that resist go to `minimise`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lhcml.inference.batch_likelihood import BatchLikelihood
from lhcml.inference.covariance import SMALLEST_EIGENVALUE, STEP
from lhcml.inference.likelihood import Array
from lhcml.inference.minimise import BOUND_MARGIN, minimise

# Distance to the minimum by the expected curvature. `minimise` accepts 2e-5 by the true one; they differ by less.
EDM_GOAL = 1e-7
MOST_STEPS, MOST_HALVINGS = 60, 12
# Share of the decrease that the slope promises which a step has to bring (Armijo's rule)
LEAST_DECREASE = 1e-4
# Curvature added where the data determine nothing, in units of the rough standard deviation
RIDGE = 1e-9


@dataclass(frozen=True)
class BatchFit:
    """Minima of T data sets.

    Attributes
    ----------
    values : array of shape (T, P)
    twice_nll : array of shape (T,)
    valid : array of bool, shape (T,)
    reasons : list of str, length T
        Why a fit is not valid; empty if it is.
    at_bound : array of bool, shape (T, P)
        Free parameters that ended at a bound.
    retried : int
        Fits that the vectorised method left to `minimise`.
    """

    values: Array
    twice_nll: Array
    valid: NDArray[np.bool_]
    reasons: list[str]
    at_bound: NDArray[np.bool_]
    retried: int


def minimise_batch(
    batch: BatchLikelihood, data: Array, start: Array, constant: Mapping[int, float] | None = None
) -> BatchFit:
    """Minimise -2 ln L of each data set over the free parameters, without covariances.

    Fisher scoring (Newton's method with the expected second derivatives) with parameters at their bounds held there
    while the slope points outwards, and steps halved until -2 ln L falls. Each data set goes its own way, so that the
    result does not depend on the others. A fit without convergence, or with negative expected events, is repeated by
    `minimise`, and is valid if that one is.

    Parameters
    ----------
    batch : BatchLikelihood
    data : array of shape (T, B + A)
    start : array of shape (P,) or (T, P)
        Starting values: best the parameters that the data were drawn from.
    constant : mapping of int to float, optional
        Parameters to hold constant, by index.
    """
    likelihood = batch.likelihood
    free, points = _begin(batch, data, start, constant)
    values, lowest = np.empty(len(data)), np.empty(len(data))
    done: NDArray[np.bool_] = np.zeros(len(data), bool)
    for first in range(0, len(data), batch.chunk):
        part = slice(first, first + batch.chunk)
        points[part], values[part], done[part] = _descend(batch, data[part], points[part], free)
        lowest[part] = batch.rates(points[part]).min(axis=1)
    reasons = [""] * len(data)
    valid = done & (lowest >= 0) & np.isfinite(values)
    retry = np.flatnonzero(~valid)
    for index in retry:
        fit = minimise(likelihood, data[index], constant=constant, start=points[index], covariance=False)
        points[index], values[index], valid[index] = fit.values, fit.twice_nll, fit.valid
        if not fit.valid:
            reasons[index] = ", ".join(fit.attempts[-1]["reasons"])
    return BatchFit(points, values, valid, reasons, _at_bound(batch, points, free), len(retry))


def _begin(
    batch: BatchLikelihood, data: Array, start: Array, constant: Mapping[int, float] | None
) -> tuple[NDArray[np.bool_], Array]:
    """Return which parameters are free, and the starting points within the bounds, shape (T, P)."""
    likelihood = batch.likelihood
    free = ~likelihood.fixed
    points = np.clip(np.broadcast_to(start, (len(data), len(free))), likelihood.lower, likelihood.upper)
    points[:, likelihood.fixed] = likelihood.start[likelihood.fixed]
    for index, value in (constant or {}).items():
        free[index] = False
        points[:, index] = value
    return free, points


def _at_bound(batch: BatchLikelihood, points: Array, free: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which free parameters are at a bound, as `minimise` does, shape (T, P)."""
    lower, upper = batch.likelihood.lower, batch.likelihood.upper
    near = np.minimum(points - lower, upper - points)
    return np.asarray(free & (near <= BOUND_MARGIN * (upper - lower)))


def rough_width(batch: BatchLikelihood) -> Array:
    """Return rough standard deviations of the parameters, shape (P,), as `minimise` takes them."""
    width, start = batch.likelihood.prefit_width(), batch.likelihood.start
    return np.where(width > 0, width, 0.1 * np.maximum(np.abs(start), 0.1))


def _descend(
    batch: BatchLikelihood, data: Array, points: Array, free: NDArray[np.bool_]
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return points, values of -2 ln L, and which of them are minima."""
    lower, upper = batch.likelihood.lower, batch.likelihood.upper
    ridge = np.diag(RIDGE / rough_width(batch) ** 2)
    points = points.copy()
    final = np.full(len(data), np.nan)
    done: NDArray[np.bool_] = np.zeros(len(data), bool)
    active = np.arange(len(data))
    for _ in range(MOST_STEPS):
        value, gradient, matrix = batch.expand(points[active], data[active])
        final[active] = value
        here = points[active]
        held = ((here <= lower) & (gradient > 0)) | ((here >= upper) & (gradient < 0)) | ~free
        slope = np.where(held, 0.0, gradient)
        both = ~held[:, :, None] & ~held[:, None, :]
        matrix = np.where(both, matrix + ridge, np.eye(len(free)))
        usable = np.isfinite(matrix).all(axis=(1, 2)) & np.isfinite(slope).all(axis=1)
        active, here, value, slope, matrix = (part[usable] for part in (active, here, value, slope, matrix))
        step = -np.linalg.solve(matrix, slope[:, :, None])[:, :, 0]
        near = -0.5 * np.einsum("tp,tp->t", slope, step) <= EDM_GOAL
        done[active[near]] = True
        away = ~near
        active, here, value, slope, step = (part[away] for part in (active, here, value, slope, step))
        if not active.size:
            break
        points[active], moved = _line_search(batch, data[active], here, value, slope, step)
        active = active[moved]
    return points, final, done


def _line_search(
    batch: BatchLikelihood, data: Array, points: Array, value: Array, slope: Array, step: Array
) -> tuple[Array, NDArray[np.bool_]]:
    """Return the points after a step that lowers -2 ln L enough, and which points found one."""
    lower, upper = batch.likelihood.lower, batch.likelihood.upper
    result = points.copy()
    found: NDArray[np.bool_] = np.zeros(len(points), bool)
    for halving in range(MOST_HALVINGS):
        rest = np.flatnonzero(~found)
        # parameters held constant may lie beyond their bounds: only those that move are kept inside
        move = 0.5**halving * step[rest]
        trial = np.where(move != 0, np.clip(points[rest] + move, lower, upper), points[rest])
        decrease = LEAST_DECREASE * np.einsum("tp,tp->t", slope[rest], trial - points[rest])
        # rounding of a sum of logarithms, which near the minimum is larger than the decrease itself
        rounding = 1e-13 * np.abs(value[rest])
        good = batch.twice_nll(trial, data[rest]) <= value[rest] + decrease + rounding
        result[rest[good]] = trial[good]
        found[rest[good]] = True
        if found.all():
            break
    return result, found


def poi_uncertainties(batch: BatchLikelihood, data: Array, fit: BatchFit) -> Array:
    """Return the standard deviations of the parameter of interest from the second derivatives, shape (T,).

    The same as `minimise` gives: central differences of the analytic gradient, one-sided at bounds, the parameters at
    their bounds included. Where the matrix is not positive definite, `minimise` itself decides; NaN if it finds none.
    """
    likelihood = batch.likelihood
    free = np.flatnonzero(~likelihood.fixed)
    poi = int(np.flatnonzero(free == likelihood.poi)[0])
    width = rough_width(batch)
    result = np.full(len(data), np.nan)
    for first in range(0, len(data), batch.chunk):
        part = slice(first, first + batch.chunk)
        matrix = _hessians(batch, data[part], fit.values[part], free, width)
        for offset, rows in enumerate(matrix):
            if fit.valid[first + offset]:
                result[first + offset] = _uncertainty(rows, poi)
    for index in np.flatnonzero(fit.valid & ~np.isfinite(result)):
        again = minimise(likelihood, data[index], start=fit.values[index])
        if again.errors is not None and again.errors[likelihood.poi] > 0:
            result[index] = again.errors[likelihood.poi]
    return result


def _hessians(batch: BatchLikelihood, data: Array, points: Array, free: NDArray[np.intp], width: Array) -> Array:
    """Return second derivatives by the F free parameters from differences of the gradient, shape (T, F, F)."""
    lower, upper = batch.likelihood.lower, batch.likelihood.upper
    rows = np.empty((len(data), len(free), len(free)))
    for row, index in enumerate(free):
        step = STEP * width[index]
        low = np.maximum(points[:, index] - step, lower[index])
        high = np.minimum(points[:, index] + step, upper[index])
        ends = []
        for end in (low, high):
            shifted = points.copy()
            shifted[:, index] = end
            ends.append(batch.gradient(shifted, data)[:, free])
        rows[:, row] = (ends[1] - ends[0]) / (high - low)[:, None]
    return (rows + rows.transpose(0, 2, 1)) / 2


def _uncertainty(matrix: Array, poi: int) -> float:
    """Return the standard deviation of one parameter, NaN unless the matrix is clearly positive definite."""
    diagonal = np.diag(matrix)
    if not np.isfinite(matrix).all() or (diagonal <= 0).any():
        return np.nan
    scale = np.outer(1 / np.sqrt(diagonal), 1 / np.sqrt(diagonal))
    eigenvalues, vectors = np.linalg.eigh(matrix * scale)
    if eigenvalues[0] < SMALLEST_EIGENVALUE:
        return np.nan
    # -2 ln L = const + (x - x0)^T H (x - x0) / 2, so that the covariance is 2 H^-1
    return float(np.sqrt(2 * scale[poi, poi] * (vectors[poi] ** 2 / eigenvalues).sum()))
