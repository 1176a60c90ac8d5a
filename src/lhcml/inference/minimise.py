"""Minimisation of -2 ln L by Minuit: checked, tried again in other ways, and never taken for good when invalid."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.inference.covariance import Curvature, curvature
from lhcml.inference.likelihood import Array, Likelihood
from lhcml.inference.newton import descend

# -2 ln L rises by one at one standard deviation
ERROR_DEFINITION = 1.0
# Minuit stops at an estimated distance of 0.002 * tolerance to the minimum: 2e-6 and, in the last resort, 2e-4
TOLERANCE, LOOSE_TOLERANCE = 1e-3, 0.1
# Distance to the minimum, once the second derivatives are known: aimed at and still accepted, per unit of tolerance
EDM_GOAL, EDM_MARGIN = 0.002, 0.02
MOST_NEWTON_STEPS = 5
# A minimum counts as another, lower one if it is deeper by this
LOWER_MINIMUM = 1e-3
# A parameter this near to its bound, in units of the allowed interval, is at the bound.
BOUND_MARGIN = 1e-6


@dataclass(frozen=True)
class Fit:
    """Result of a minimisation.

    Attributes
    ----------
    values : array of shape (P,)
        Parameters at the minimum.
    covariance : array of shape (P, P) or None
        From the second derivatives; zero for parameters held constant. None if not asked for or not valid.
    twice_nll : float
        -2 ln L at the minimum.
    valid : bool
        Whether the minimum, and the covariance where asked for, can be used.
    edm : float
        Estimated vertical distance to the minimum.
    at_bound : list of str
        Free parameters that ended at a bound; their uncertainty is that of the likelihood without the bound.
    unused : list of str
        Free parameters on which the likelihood does not depend.
    attempts : list of dict
        What was tried: settings, outcome, reasons of failure.
    """

    values: Array
    covariance: Array | None
    twice_nll: float
    valid: bool
    edm: float
    at_bound: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    attempts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def errors(self) -> Array | None:
        """Standard deviations, shape (P,), or None without a covariance."""
        return None if self.covariance is None else np.sqrt(np.diag(self.covariance))


class FitError(Exception):
    """A fit that no attempt made valid where a result is needed; its message lists the reasons."""


def minimise(
    likelihood: Likelihood,
    data: Array,
    *,
    constant: Mapping[int, float] | None = None,
    start: Array | None = None,
    covariance: bool = True,
) -> Fit:
    """Minimise -2 ln L over the free parameters.

    The attempts, until one is valid: where a `start` is given, which is near the minimum as a rule, Gauss-Newton steps
    (`lhcml.inference.newton`), several times faster there; MIGRAD from `start` with strategy 0, then with strategy 2;
    SIMPLEX and MIGRAD from the model's starting values; L-BFGS-B of SciPy, then MIGRAD; and starting values drawn at
    random around the model's with a fixed seed, with a tolerance a hundred times larger. Without a `start`, a lower
    minimum that Gauss-Newton steps find replaces that of MIGRAD.

    The second derivatives come from central differences of the analytic gradient (2 P calls; HESSE of Minuit takes of
    order P^2). With them the distance to the minimum is computed anew, which Minuit only estimates, and where it is
    too large Newton steps go on from MIGRAD's end.

    Parameters
    ----------
    likelihood : Likelihood
    data : array of shape (B + A,)
        Main and auxiliary data.
    constant : mapping of int to float, optional
        Parameters to hold constant, by index.
    start : array of shape (P,), optional
        Starting values; the model's if not given.
    covariance : bool
        Whether the covariance is wanted; without it, degenerate parameters do not matter if the minimum is valid.
    """
    constant = dict(constant or {})
    fixed = likelihood.fixed.copy()
    fixed[list(constant)] = True
    origin = likelihood.start.copy()
    origin[list(constant)] = list(constant.values())
    first = origin.copy() if start is None else np.where(fixed, origin, start)
    if fixed.all():
        zeros = np.zeros((len(fixed), len(fixed))) if covariance else None
        return Fit(origin, zeros, likelihood.twice_nll(origin, data), True, 0.0)

    best: Fit | None = None
    attempts: list[dict[str, Any]] = []
    if start is not None:
        fit = _refine(likelihood, data, fixed, covariance, first, attempts)
        if fit.valid:
            return fit
        best = fit
    for settings in _attempts(likelihood, data, fixed, origin, first):
        fit = _try(likelihood, data, fixed, covariance, attempts=attempts, **settings)
        if fit.valid:
            return fit if start is not None else _look_lower(likelihood, data, fixed, covariance, origin, fit)
        if best is None or fit.twice_nll < best.twice_nll:
            best = fit
    assert best is not None  # there is at least one attempt
    return replace(best, attempts=attempts)


def _refine(
    likelihood: Likelihood, data: Array, fixed: NDArray[np.bool_], covariance: bool, start: Array,
    attempts: list[dict[str, Any]],
) -> Fit:  # fmt: skip
    """Run Gauss-Newton steps from `start` and append what came of it to `attempts`."""
    end = descend(likelihood, data, fixed, start)
    reasons = [end.reason] if end.reason else []
    values, twice_nll, edm, shape = end.values, end.twice_nll, end.edm, None
    if covariance and not reasons:
        width = _scale(likelihood, values)
        values, twice_nll, shape = _polish(likelihood, data, values, fixed, width, EDM_GOAL * TOLERANCE)
        reasons, edm = _judge(shape, edm, TOLERANCE, covariance)
    attempts.append(
        {
            "name": "Gauss-Newton", "strategy": None, "tolerance": TOLERANCE, "valid": not reasons, "reasons": reasons,
            "calls": end.steps, "gradient_calls": end.steps, "twice_nll": twice_nll if np.isfinite(twice_nll) else None,
        }
    )  # fmt: skip
    return _finish(likelihood, values, fixed, twice_nll, edm, reasons, shape if covariance else None, attempts)


def _look_lower(
    likelihood: Likelihood, data: Array, fixed: NDArray[np.bool_], covariance: bool, origin: Array, fit: Fit
) -> Fit:
    """Return the fit, or the one at a lower minimum if Gauss-Newton steps from the model's starting values find one.

    Some likelihoods have several minima, of one-sided variations for instance; different paths find different ones.
    """
    end = descend(likelihood, data, fixed, origin)
    if end.reason or not end.twice_nll < fit.twice_nll - LOWER_MINIMUM:
        return fit
    other = _try(
        likelihood, data, fixed, covariance, attempts=list(fit.attempts), name="migrad from a lower minimum",
        start=end.values, strategy=0,
    )  # fmt: skip
    return other if other.valid and other.twice_nll < fit.twice_nll else replace(fit, attempts=other.attempts)


def _scale(likelihood: Likelihood, start: Array) -> Array:
    """Return rough standard deviations: the constraint's, or a tenth of the value."""
    width = likelihood.prefit_width()
    return np.where(width > 0, width, 0.1 * np.maximum(np.abs(start), 0.1))


def _judge(shape: Curvature, edm: float, tolerance: float, covariance: bool) -> tuple[list[str], float]:
    """Return why a minimum with these second derivatives cannot be used, and the distance to it."""
    if shape.edm is not None:
        limit = EDM_MARGIN * tolerance
        far = shape.edm > limit
        return [f"distance to the minimum {shape.edm:.2g} above {limit:.2g}"] if far else [], shape.edm
    if covariance:
        return [f"the data do not determine {', '.join(shape.degenerate)}: degenerate parameters"], edm
    return [], edm


def _finish(
    likelihood: Likelihood, values: Array, fixed: NDArray[np.bool_], twice_nll: float, edm: float, reasons: list[str],
    shape: Curvature | None, attempts: list[dict[str, Any]],
) -> Fit:  # fmt: skip
    """Return the result of an attempt; `shape` only where the covariance is wanted."""
    at_bound = _at_bound(likelihood, values, fixed)
    return Fit(
        values=values, covariance=shape.covariance if shape and not reasons else None, twice_nll=twice_nll,
        valid=not reasons, edm=edm, at_bound=[likelihood.names[index] for index in np.flatnonzero(at_bound)],
        unused=shape.unused if shape else [], attempts=list(attempts),
    )  # fmt: skip


def _attempts(likelihood: Likelihood, data: Array, fixed: NDArray[np.bool_], origin: Array, first: Array) -> Any:
    """Yield the settings of one attempt after another."""
    yield {"name": "migrad", "start": first, "strategy": 0}
    yield {"name": "migrad, strategy 2", "start": first, "strategy": 2}
    yield {"name": "simplex and migrad", "start": origin, "strategy": 2, "simplex": True}
    yield {"name": "L-BFGS-B and migrad", "start": _descend(likelihood, data, fixed, origin), "strategy": 2}
    generator = np.random.default_rng(1)
    for number in (1, 2):
        width = np.where(likelihood.constrained, 0.5 * likelihood.prefit_width(), 0.3 * np.abs(origin) + 0.1)
        shifted = np.clip(origin + width * generator.normal(size=len(origin)), likelihood.lower, likelihood.upper)
        yield {
            "name": f"random start {number}", "start": np.where(fixed, origin, shifted), "strategy": 2,
            "simplex": True, "tolerance": LOOSE_TOLERANCE,
        }  # fmt: skip


def _descend(likelihood: Likelihood, data: Array, fixed: NDArray[np.bool_], origin: Array) -> Array:
    """Return the end point of SciPy's bounded quasi-Newton method, a start for MIGRAD."""
    from scipy.optimize import minimize

    free = ~fixed
    point = origin.copy()

    def value_and_slope(part: Array) -> tuple[float, Array]:
        point[free] = part
        return likelihood.twice_nll(point, data), likelihood.gradient(point, data)[free]

    bounds = list(zip(likelihood.lower[free], likelihood.upper[free], strict=True))
    result = minimize(value_and_slope, origin[free], jac=True, bounds=bounds, method="L-BFGS-B")
    end = origin.copy()
    end[free] = result.x
    return end


def _objective(likelihood: Likelihood, data: Array) -> tuple[Callable[..., float], Callable[..., Array]]:
    """Return value and gradient as functions of one array."""

    def value(parameters: Array) -> float:
        return likelihood.twice_nll(np.asarray(parameters), data)

    def gradient(parameters: Array) -> Array:
        return likelihood.gradient(np.asarray(parameters), data)

    return value, gradient


def _try(
    likelihood: Likelihood,
    data: Array,
    fixed: NDArray[np.bool_],
    covariance: bool,
    *,
    attempts: list[dict[str, Any]],
    name: str,
    start: Array,
    strategy: int,
    simplex: bool = False,
    tolerance: float = TOLERANCE,
) -> Fit:
    """Run one attempt and append what came of it to `attempts`."""
    import iminuit

    value, gradient = _objective(likelihood, data)
    minuit = iminuit.Minuit(value, np.clip(start, likelihood.lower, likelihood.upper), grad=gradient)
    minuit.errordef = ERROR_DEFINITION
    minuit.limits = list(zip(likelihood.lower, likelihood.upper, strict=True))
    minuit.fixed = list(fixed)
    # a parameter held constant may lie beyond its bounds, as the signal strength of a scan does
    for index in np.flatnonzero(fixed):
        minuit.limits[int(index)] = None
        minuit.values[int(index)] = start[index]
    width = _scale(likelihood, start)
    minuit.errors = width
    minuit.strategy, minuit.tol = strategy, tolerance
    with warnings.catch_warnings():
        # Minuit tells by a warning what the checks below find in its result
        warnings.simplefilter("ignore", iminuit.util.IMinuitWarning)
        if simplex:
            minuit.simplex()
        minuit.migrad()
    values = np.array(minuit.values)
    reasons = _reasons(likelihood, minuit, values)
    edm, twice_nll, shape = float(minuit.fmin.edm), float(minuit.fval), None
    if not reasons:
        values, twice_nll, shape = _polish(likelihood, data, values, fixed, width, EDM_GOAL * tolerance)
        reasons, edm = _judge(shape, edm, tolerance, covariance)
    attempts.append(
        {
            "name": name, "strategy": strategy, "tolerance": tolerance, "valid": not reasons, "reasons": reasons,
            "calls": int(minuit.nfcn), "gradient_calls": int(minuit.ngrad),
            "twice_nll": twice_nll if np.isfinite(twice_nll) else None,
        }
    )  # fmt: skip
    return _finish(likelihood, values, fixed, twice_nll, edm, reasons, shape if covariance else None, attempts)


def _at_bound(likelihood: Likelihood, values: Array, fixed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which free parameters are at a bound."""
    near = np.minimum(values - likelihood.lower, likelihood.upper - values)
    return np.asarray(~fixed & (near <= BOUND_MARGIN * (likelihood.upper - likelihood.lower)))


def _polish(
    likelihood: Likelihood, data: Array, values: Array, fixed: NDArray[np.bool_], width: Array, goal: float
) -> tuple[Array, float, Curvature]:
    """Go on with Newton steps while the distance to the minimum is above `goal` and -2 ln L falls."""
    twice_nll = likelihood.twice_nll(values, data)
    for _ in range(MOST_NEWTON_STEPS):
        shape = curvature(likelihood, data, values, ~fixed, width, _at_bound(likelihood, values, fixed))
        if shape.step is None or shape.edm is None or shape.edm <= goal:
            return values, twice_nll, shape
        trial = np.where(fixed, values, np.clip(values + shape.step, likelihood.lower, likelihood.upper))
        lower = likelihood.twice_nll(trial, data)
        if not lower < twice_nll:
            return values, twice_nll, shape
        values, twice_nll = trial, lower
    return values, twice_nll, curvature(likelihood, data, values, ~fixed, width, _at_bound(likelihood, values, fixed))


def _reasons(likelihood: Likelihood, minuit: Any, values: Array) -> list[str]:
    """Return why a minimum cannot be used; empty if it can."""
    reasons = []
    if minuit.fmin.has_reached_call_limit:
        reasons.append("call limit reached")
    if minuit.fmin.is_above_max_edm:
        reasons.append(f"estimated distance to the minimum {minuit.fmin.edm:.2g} above {minuit.fmin.edm_goal:.2g}")
    if not minuit.valid and not reasons:
        reasons.append("MIGRAD found no valid minimum")
    if not np.isfinite(minuit.fval):
        reasons.append("-2 ln L is not finite")
    elif (likelihood.rates(values) < 0).any():
        reasons.append("negative expected events in a bin")
    return reasons


def require_valid(fit: Fit, what: str) -> Fit:
    """Return the fit if it is valid.

    Raises
    ------
    FitError
        If no attempt was valid.
    """
    if fit.valid:
        return fit
    tried = "; ".join(f"{attempt['name']}: {', '.join(attempt['reasons'])}" for attempt in fit.attempts)
    raise FitError(f"{what} did not converge ({tried})")
