"""Uncertainty of the parameter of interest by groups of parameters.

Two answers, both from the second derivatives at the minimum:

- impact: the square root of the difference between the squared uncertainties of the full fit and of the fit with the
  group held at its fitted values, as ATLAS and CMS quote it. What groups share counts in none or in several, so that
  their squares do not add up to the total.
- decomposition: by how much the fitted value moves if the auxiliary measurements of the group, or the counts, fluctuate
  by their uncertainty (arXiv:2307.04007): sum of (V_mu,p / width_p)^2. Squares add up to the total, but for second
  derivatives of the expected events, which are in V and not in the shifts: a few percent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lhcml.inference.likelihood import SMALLEST_RATE, Array, Likelihood
from lhcml.inference.minimise import Fit


def uncertainty_with_held(covariance: Array, poi: int, held: Sequence[int]) -> float:
    """Return the uncertainty of a parameter if others are held at their fitted values.

    Parameters
    ----------
    covariance : array of shape (P, P)
        Of the full fit; parameters with zeros do not vary.
    poi : int
    held : sequence of int
        The covariance of the rest given these is V - V_h (V_hh)^-1 V_h^T.
    """
    varying = [index for index in held if covariance[index, index] > 0]
    variance = covariance[poi, poi]
    if varying:
        row = covariance[poi, varying]
        variance = variance - row @ np.linalg.solve(covariance[np.ix_(varying, varying)], row)
    return float(np.sqrt(max(variance, 0.0)))


def auxiliary_shifts(likelihood: Likelihood, fit: Fit) -> Array:
    """Return by how much the parameter of interest moves with the auxiliary measurement of each parameter, shape (P,).

    For a normal constraint of width s, d(mu)/da s = V_mu,p / s; for a Poisson count a = gamma tau it is
    V_mu,p tau / sqrt(a).
    """
    assert fit.covariance is not None
    width = np.full(len(likelihood.names), np.inf)
    normal, poisson = likelihood.normal, likelihood.poisson
    width[normal.parameter] = normal.scale
    gamma = np.maximum(fit.values[poisson.parameter], SMALLEST_RATE)
    width[poisson.parameter] = np.sqrt(gamma / poisson.scale)
    return fit.covariance[likelihood.poi] / width


def statistical_shift(likelihood: Likelihood, fit: Fit) -> float:
    """Return the standard deviation of the fitted parameter of interest from the fluctuation of the counts alone."""
    assert fit.covariance is not None
    rates, slopes = likelihood.rates(fit.values), likelihood.rate_slopes(fit.values)
    pushes = slopes @ fit.covariance[:, likelihood.poi] / np.sqrt(np.maximum(rates, SMALLEST_RATE))
    return float(np.sqrt(np.sum(pushes**2)))


def break_down(likelihood: Likelihood, fit: Fit, groups: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Return the uncertainty of the parameter of interest by groups.

    Parameters
    ----------
    likelihood : Likelihood
    fit : Fit
        Valid, with covariance.
    groups : mapping of str to indices
        Parameters of each group.

    Returns
    -------
    dict
        "total"; "statistics": {"impact": all constrained parameters held, "decomposition"}; "systematics": the rest;
        "groups": {name: {"parameters": number, "impact", "decomposition"}} ; "sum": square roots of the sums of the
        squares of statistics and groups, either way (groups of free parameters are part of the statistics, and have no
        decomposition).
    """
    assert fit.covariance is not None
    covariance, poi = fit.covariance, likelihood.poi
    total = float(np.sqrt(covariance[poi, poi]))
    shifts = auxiliary_shifts(likelihood, fit)
    constrained = [int(index) for index in np.flatnonzero(likelihood.constrained & ~likelihood.fixed) if index != poi]
    statistics = uncertainty_with_held(covariance, poi, constrained)
    result: dict[str, Any] = {}
    for group, members in groups.items():
        held = uncertainty_with_held(covariance, poi, members)
        free = not any(likelihood.constrained[index] for index in members)
        result[group] = {
            "parameters": len(members),
            "impact": float(np.sqrt(max(total**2 - held**2, 0.0))),
            "decomposition": None if free else float(np.sqrt(np.sum(shifts[list(members)] ** 2))),
        }
    counts = statistical_shift(likelihood, fit)
    bound = [part for part in result.values() if part["decomposition"] is not None]
    return {
        "total": total,
        "statistics": {"impact": statistics, "decomposition": counts},
        "systematics": {
            "impact": float(np.sqrt(max(total**2 - statistics**2, 0.0))),
            "decomposition": float(np.sqrt(np.sum(shifts[constrained] ** 2))),
        },
        "groups": result,
        "sum": {
            "impact": float(np.sqrt(statistics**2 + sum(part["impact"] ** 2 for part in bound))),
            "decomposition": float(np.sqrt(counts**2 + sum(part["decomposition"] ** 2 for part in bound))),
        },
    }
