"""Pseudo-experiments for CLs: q~ with and without signal at several signal strengths, and q0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lhcml.common.errors import UserError
from lhcml.inference.batch_likelihood import BatchLikelihood
from lhcml.inference.draw_toys import draw_toys
from lhcml.inference.likelihood import Likelihood
from lhcml.inference.limit import BANDS, Scan, upper_limits
from lhcml.inference.minimise import FitError, minimise, require_valid
from lhcml.inference.profile_toys import column, count_reasons, profile_toys
from lhcml.inference.read_workspace import Problem

# Points of the asymptotic curves that are drawn, beside the tested values
CURVE_POINTS = 16


def limit_values(observed: float | None, expected: Sequence[float | None], count: int) -> list[float]:
    """Return evenly spaced signal strengths that enclose the expected limits, and two at an observed one outside.

    Raises
    ------
    FitError
        If there is no limit above zero to go by.
    """
    known = [limit for limit in expected if limit is not None and limit > 0]
    if not known:
        raise FitError("the asymptotic formulae give no limit to scan around: name `values` of `toy_limit`")
    low, high = 0.9 * min(known), 1.15 * max(known)
    values = [float(value) for value in np.linspace(low, high, count)]
    if observed is not None and not low < observed < high:
        values += [0.93 * observed, 1.08 * observed]
    return sorted(values)


def positive_strength(likelihood: Likelihood, largest: float) -> Likelihood:
    """Return the likelihood with a parameter of interest from 0 to at least ten times `largest`.

    q~ counts a negative strength as zero, and an upper bound near the tested values would change its distribution.
    """
    lower, upper = likelihood.lower.copy(), likelihood.upper.copy()
    lower[likelihood.poi] = 0.0
    upper[likelihood.poi] = max(upper[likelihood.poi], 10 * largest)
    return replace(likelihood, lower=lower, upper=upper)


def throw_limit_toys(problem: Problem, config: Mapping[str, Any], seed: int, indices: range) -> dict[str, Any]:
    """Return q~ of pseudo-experiments with and without signal, and the asymptotic figures beside them.

    As `pyhf.infer.calculators.ToyCalculator` does, main and auxiliary data are drawn at the nuisance parameters fitted
    to the data with the parameter of interest held: at the tested value (with signal) and at zero (without). The
    pseudo-experiments without signal serve all tested values.

    Parameters
    ----------
    problem : Problem
    config : mapping
        Block "toy_limit" with "points" or "values", and the "level" of block "limit".
    seed : int
        Number i without signal has the seed sequence (seed, 0, i); with the k-th signal (seed, k + 1, i).
    indices : range
        Which ones.

    Raises
    ------
    UserError
        If the parameter of interest cannot be zero.
    FitError
        If a fit of the data does not converge.
    """
    likelihood, block, level = problem.likelihood, config["toy_limit"], config["limit"]["level"]
    poi = likelihood.poi
    if likelihood.lower[poi] > 0 or likelihood.upper[poi] < 0:
        raise UserError(
            f"{problem.poi} is bounded to {likelihood.lower[poi]:g} ... {likelihood.upper[poi]:g}; CLs compares with "
            "its value 0, no signal", "include 0 in its bounds",
        )  # fmt: skip
    scan = Scan(likelihood, problem.data)
    observed, expected = upper_limits(scan, level)
    values = sorted(block.get("values") or limit_values(observed, expected, block["points"]))
    batch = BatchLikelihood(positive_strength(likelihood, values[-1]))
    data = profile_toys(batch, problem.data[None], scan.free.values, [0.0, *values])
    if not data.valid.all():
        raise FitError(f"a fit of the data did not converge: {data.reasons[0]}")
    without = profile_toys(
        batch, draw_toys(problem, scan.background.values, [seed, 0], indices), scan.background.values, [0.0, *values]
    )
    reasons, retried, signal = list(without.reasons), without.retried, []
    at_bound = set(scan.background.at_bound)
    for number, value in enumerate(values):
        fit = minimise(likelihood, problem.data, constant={poi: value}, start=scan.free.values, covariance=False)
        truth = require_valid(fit, f"the fit of the data at {problem.poi} = {value:g}").values
        at_bound.update(fit.at_bound)
        toys = draw_toys(problem, truth, [seed, number + 1], indices)
        profiles = profile_toys(batch, toys, truth, [value])
        signal.append(column(profiles.q_tilde(value), profiles.valid))
        reasons += profiles.reasons
        retried += profiles.retried
    curve = [float(value) for value in np.geomspace(values[0], values[-1], CURVE_POINTS)]
    return {
        "values": values,
        "level": level,
        "bands": list(BANDS),
        # at a bound the asymptotic formulae do not hold
        "at_bound": sorted(at_bound - {problem.poi}),
        "observed": {
            "best": float(data.best[0]),
            "q": [float(data.q_tilde(value)[0]) for value in values],
            "q_zero": float(data.q_zero()[0]),
        },
        "asymptotic": {
            "observed": observed,
            "expected": expected,
            "points": [scan.test(value) for value in values],
            "curve": [scan.test(value) for value in sorted({*values, *curve})],
        },
        "background": [column(without.q_tilde(value), without.valid) for value in values],
        "q_zero": column(without.q_zero(), without.valid),
        "signal": signal,
        "failures": count_reasons(reasons),
        "retried": retried,
    }
