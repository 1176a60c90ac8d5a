"""Minimisation of -2 ln L near a known minimum: Gauss-Newton steps within the bounds.

Refits with a parameter moved a little start next to their minimum, where MIGRAD spends most of its calls on learning
second derivatives anew. Here they come from the first derivatives of the expected events at each step,

    d2(-2 ln L) / dp dq ~ 2 sum_b n_b / nu_b^2 dnu_b/dp dnu_b/dq + constraint terms,

what Gauss, and Fisher with n_b = nu_b, leave out being the second derivatives of nu times (1 - n_b / nu_b), which is
small where the model describes the data. If that takes long, the second derivatives are computed in full. Steps are
damped (Levenberg) until -2 ln L falls.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lhcml.inference.covariance import hessian
from lhcml.inference.likelihood import SMALLEST_RATE, Array, Likelihood, poisson_slope

# Predicted fall of -2 ln L at which the minimum is reached; MIGRAD's goal in `minimise` is 2e-6
GOAL = 1e-8
MOST_STEPS = 40
# Steps after which second derivatives are computed in full
GAUSS_STEPS = 8
# Longest step, in widths of the constraints
LONGEST = 1.0
# Damping in units of the scaled curvature: first value where it is needed, and the last that is tried
FIRST_DAMPING, LARGEST_DAMPING = 1e-4, 1e6
# Expected events below which a bin is empty
KINK = 1e-6
# Room for rounding in sums of -2 ln L
ROUNDING = 1e-12


@dataclass(frozen=True)
class Descent:
    """Where the steps ended.

    Attributes
    ----------
    values : array of shape (P,)
    twice_nll : float
    edm : float
        Predicted fall of -2 ln L of the last step.
    steps : int
    reason : str
        Why it cannot be used; empty if the minimum was reached.
    """

    values: Array
    twice_nll: float
    edm: float
    steps: int
    reason: str


def descend(likelihood: Likelihood, data: Array, fixed: NDArray[np.bool_], start: Array) -> Descent:
    """Minimise -2 ln L over the parameters that are not `fixed`.

    Parameters
    ----------
    likelihood : Likelihood
    data : array of shape (B + A,)
    fixed : array of bool, shape (P,)
        Parameters held at their starting values, which may lie beyond the bounds.
    start : array of shape (P,)
    """
    values = np.where(fixed, start, np.clip(start, likelihood.lower, likelihood.upper))
    lower, upper = (np.where(fixed, values, bound) for bound in (likelihood.lower, likelihood.upper))
    twice_nll = likelihood.twice_nll(values, data)
    damping, edm = 0.0, np.inf
    reach = likelihood.prefit_width()
    near = reach > 0
    for number in range(MOST_STEPS):
        if not np.isfinite(twice_nll):
            return Descent(values, twice_nll, edm, number, "-2 ln L is not finite")
        slope, matrix = _expand(likelihood, data, values)
        scale = np.sqrt(np.diag(matrix))
        if number >= GAUSS_STEPS:
            matrix = _complete(likelihood, data, values, ~fixed & (scale > 0), scale)
        while True:
            step = _step(slope, matrix, scale, damping, lower - values, upper - values)
            if step is not None:
                # far steps of the parabola may end in another minimum's valley
                step /= max(1.0, float(np.max(np.abs(step[near]) / reach[near], initial=0.0)) / LONGEST)
                fall = -float(slope @ step + 0.5 * step @ matrix @ step)
                trial = np.clip(values + step, lower, upper)
                changed = likelihood.twice_nll(trial, data)
                room = ROUNDING * abs(twice_nll)
                if fall < GOAL and damping <= FIRST_DAMPING:
                    if changed < twice_nll:
                        values, twice_nll = trial, changed
                    reason = _fault(likelihood, values, (values > lower) & (values < upper))
                    return Descent(values, twice_nll, max(fall, 0.0), number + 1, reason)
                # a step counts if it brings a tenth of what the parabola promises
                if changed <= twice_nll - 0.1 * fall + room:
                    break
            damping = max(10 * damping, FIRST_DAMPING)
            if damping > LARGEST_DAMPING:
                return Descent(values, twice_nll, edm, number, "no step lowers -2 ln L")
        values, twice_nll, edm = trial, changed, fall
        damping = damping / 10 if damping > FIRST_DAMPING else 0.0
    return Descent(values, twice_nll, edm, MOST_STEPS, f"no minimum after {MOST_STEPS} steps")


def _fault(likelihood: Likelihood, values: Array, inside: NDArray[np.bool_]) -> str:
    """Return why the end of the steps is no minimum; empty if it is one.

    Where a bin expects nothing -2 ln L has a kink: no minimum if parameters inside their bounds move that bin.
    """
    rates = likelihood.rates(values)
    if (rates < 0).any():
        return "negative expected events in a bin"
    empty = rates < KINK
    if empty.any() and likelihood.rate_slopes(values)[np.ix_(empty, inside)].any():
        return "no expected events in a bin"
    return ""


def _expand(likelihood: Likelihood, data: Array, values: Array) -> tuple[Array, Array]:
    """Return gradient, shape (P,), and approximate second derivatives, shape (P, P), of -2 ln L."""
    count, aux = data[: likelihood.bins], data[likelihood.bins :]
    rates, slopes = likelihood.rates(values), likelihood.rate_slopes(values)
    safe = np.maximum(rates, SMALLEST_RATE)
    gradient = slopes.T @ poisson_slope(count, rates)
    # a bin without observed events has no curvature by itself; Fisher's keeps the step finite
    weight = np.where(count > 0, count, safe) / safe**2
    matrix = slopes.T @ (slopes * weight[:, None])
    normal, poisson = likelihood.normal, likelihood.poisson
    diagonal = np.zeros(len(values))
    gradient[normal.parameter] += (values[normal.parameter] - aux[normal.position]) / normal.scale**2
    diagonal[normal.parameter] += 1 / normal.scale**2
    rate = values[poisson.parameter] * poisson.scale
    observed = aux[poisson.position]
    gradient[poisson.parameter] += poisson_slope(observed, rate) * poisson.scale
    diagonal[poisson.parameter] += observed * (poisson.scale / np.maximum(rate, SMALLEST_RATE)) ** 2
    matrix[np.diag_indices_from(matrix)] += diagonal
    return 2 * gradient, 2 * matrix


def _complete(likelihood: Likelihood, data: Array, values: Array, free: NDArray[np.bool_], scale: Array) -> Array:
    """Return all second derivatives, shape (P, P), of the free parameters; `scale` is one over their widths."""
    width = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    matrix = np.zeros((len(values), len(values)))
    matrix[np.ix_(free, free)] = hessian(likelihood, data, values, free, width)
    return matrix


def _step(slope: Array, matrix: Array, scale: Array, damping: float, low: Array, high: Array) -> Array | None:
    """Return the step to the minimum of the damped parabola between `low` and `high`; None if it has none.

    Parameters that would pass a bound are put on it, and the others minimise given that; those that lie on a bound
    and are pushed beyond stay.
    """
    from scipy.linalg import cho_factor, cho_solve

    step = np.zeros(len(slope))
    moving = (high > low) & (scale > 0) & ~((low >= 0) & (slope > 0)) & ~((high <= 0) & (slope < 0))
    for _ in range(len(slope) + 1):
        chosen = np.flatnonzero(moving)
        if not len(chosen):
            return step
        held = np.flatnonzero(~moving & (step != 0))
        inner = matrix[np.ix_(chosen, chosen)] / np.outer(scale[chosen], scale[chosen])
        inner[np.diag_indices_from(inner)] += damping
        force = slope[chosen] + matrix[np.ix_(chosen, held)] @ step[held]
        try:
            factor = cho_factor(inner, check_finite=False)
        except np.linalg.LinAlgError:
            return None
        step[chosen] = -cho_solve(factor, force / scale[chosen], check_finite=False) / scale[chosen]
        beyond = moving & ((step < low) | (step > high))
        if not beyond.any():
            return step if np.isfinite(step).all() else None
        step[beyond] = np.clip(step[beyond], low[beyond], high[beyond])
        moving &= ~beyond
    return None
