"""Fits around a parameter of interest: bounds that move, minima that are sharpened, starting points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lhcml.inference.covariance import curvature
from lhcml.inference.likelihood import Array, Likelihood
from lhcml.inference.minimise import Fit, minimise, require_valid

# Share of its interval within which a parameter counts as at its bound
AT_BOUND = 1e-6
# Random starting points where there is more than one
SCATTERED = 6
# Distance to the minimum, in -2 ln L, to which the fit without signal is brought
SHARP = 1e-11


def with_poi_bounds(likelihood: Likelihood, low: float, high: float) -> Likelihood:
    """Return the likelihood with other bounds of the parameter of interest."""
    lower, upper = likelihood.lower.copy(), likelihood.upper.copy()
    lower[likelihood.poi], upper[likelihood.poi] = low, high
    return replace(likelihood, lower=lower, upper=upper)


def fit_free(likelihood: Likelihood, data: Array, remarks: list[str]) -> Fit:
    """Fit all parameters, with a wider upper bound of the parameter of interest where the fit ends at it.

    Parameters
    ----------
    likelihood : Likelihood
    data : array of shape (B + A,)
    remarks : list of str
        Gets a line when the bound was moved.

    Raises
    ------
    FitError
        If the fit does not converge.
    """
    poi, bound = likelihood.poi, float(likelihood.upper[likelihood.poi])
    low, high, start = float(likelihood.lower[poi]), bound, likelihood.start
    for _ in range(6):
        fit = require_valid(minimise(likelihood, data, start=start, covariance=False), "the fit")
        if high <= 0 or fit.values[poi] < high - AT_BOUND * (high - low):
            break
        high, start = 10 * high, fit.values
        likelihood = with_poi_bounds(likelihood, low, high)
    if high > bound:
        remarks.append(
            f"the fit ends at the upper bound {bound:g} of the parameter of interest; it was moved to {high:g}"
        )
    return fit


def bottom(fit: Fit) -> float:
    """Return -2 ln L of the minimum that a fit estimates below where it stopped."""
    return fit.twice_nll - fit.edm


def sharpen(likelihood: Likelihood, data: Array, fit: Fit) -> Fit:
    """Return the fit without signal after further Newton steps.

    Expected limits depend on its parameters to first order, not only on the value at its minimum.
    """
    width = np.where(
        likelihood.prefit_width() > 0, likelihood.prefit_width(), 0.1 * np.maximum(np.abs(fit.values), 0.1)
    )
    free = ~likelihood.fixed
    free[likelihood.poi] = False
    margin = AT_BOUND * (likelihood.upper - likelihood.lower)
    for _ in range(3):
        at_bound = free & (np.minimum(fit.values - likelihood.lower, likelihood.upper - fit.values) <= margin)
        shape = curvature(likelihood, data, fit.values, free, width, at_bound)
        if shape.step is None or shape.edm is None or shape.edm < SHARP:
            break
        values = np.where(free, np.clip(fit.values + shape.step, likelihood.lower, likelihood.upper), fit.values)
        twice_nll = likelihood.twice_nll(values, data)
        if not twice_nll < fit.twice_nll:
            break
        fit = replace(fit, values=values, twice_nll=twice_nll, edm=0.0)
    return fit


def scattered(likelihood: Likelihood) -> list[Array]:
    """Return starting values drawn around the model's, with a fixed seed."""
    generator = np.random.default_rng(1)
    width = likelihood.prefit_width()
    shifts = generator.normal(size=(SCATTERED, len(width))) * np.where(likelihood.fixed, 0.0, width)
    return [np.clip(likelihood.start + shift, likelihood.lower, likelihood.upper) for shift in shifts]


def nearest(fits: dict[float, Fit], strength: float, other: Fit) -> Fit:
    """Return the fit at the nearest strength, a good start; `other` if there is none."""
    return fits[min(fits, key=lambda known: abs(known - strength))] if fits else other
