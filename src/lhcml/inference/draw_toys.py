"""Pseudo-experiments drawn from a model: pseudo-experiment i is the same whatever the batch that it is drawn in."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lhcml.common.errors import UserError
from lhcml.inference.likelihood import Array
from lhcml.inference.minimise import minimise, require_valid
from lhcml.inference.read_workspace import Problem


def batch_indices(count: int, batch: int, batches: int) -> range:
    """Return the numbers of the pseudo-experiments of one of several batches."""
    return range(count * batch // batches, count * (batch + 1) // batches)


def draw_toys(
    problem: Problem, truth: Array, seed: Iterable[int], indices: Iterable[int], auxiliary: bool = True
) -> Array:
    """Draw pseudo-experiments.

    Parameters
    ----------
    problem : Problem
    truth : array of shape (P,)
        Parameters to draw from.
    seed : iterable of int
        Pseudo-experiment i has the seed sequence (*seed, i).
    indices : iterable of int
        Which ones.
    auxiliary : bool
        Whether auxiliary data are drawn too (the unconditional ensemble); else they are those of `problem`.

    Returns
    -------
    array of shape (T, B + A)
        Main and auxiliary data.
    """
    likelihood = problem.likelihood
    words = list(seed)
    bins, normal, poisson = likelihood.bins, likelihood.normal, likelihood.poisson
    mean = likelihood.expected(truth)
    rows = []
    for index in indices:
        generator = np.random.default_rng([*words, index])
        row = problem.data.copy()
        row[:bins] = generator.poisson(mean[:bins])
        if auxiliary:
            row[bins + normal.position] = generator.normal(mean[bins + normal.position], normal.scale)
            row[bins + poisson.position] = generator.poisson(mean[bins + poisson.position])
        rows.append(row)
    return np.array(rows).reshape(-1, len(mean))


def true_parameters(problem: Problem, injected: float, nuisances: str) -> Array:
    """Return the parameters to draw from, shape (P,).

    Parameters
    ----------
    problem : Problem
    injected : float
        Parameter of interest.
    nuisances : {"nominal", "fitted"}
        The others: starting values of the model, or fitted to the data with the parameter of interest held.

    Raises
    ------
    UserError
        If the model expects negative events there, or the value is beyond the bounds.
    FitError
        If the fit to the data does not converge.
    """
    likelihood, poi = problem.likelihood, problem.likelihood.poi
    low, high = likelihood.lower[poi], likelihood.upper[poi]
    if not low <= injected <= high:
        raise UserError(
            f"the injected value {injected:g} of {problem.poi} is beyond its bounds {low:g} ... {high:g}",
            "choose other `injected` values, or widen the bounds",
        )
    truth = likelihood.start.copy()
    if nuisances == "fitted":
        fit = minimise(likelihood, problem.data, constant={poi: injected}, covariance=False)
        truth = require_valid(fit, f"the fit of the data at {problem.poi} = {injected:g}").values.copy()
    truth[poi] = injected
    if (likelihood.rates(truth) < 0).any():
        raise UserError(
            f"the model expects negative events at {problem.poi} = {injected:g}", "choose another `injected` value"
        )
    return truth
