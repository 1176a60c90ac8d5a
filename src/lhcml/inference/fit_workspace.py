"""Fit a pyhf workspace: maximum likelihood with Minuit, its uncertainties, and the goodness of fit.

The fit is valid or says why not; with `"valid": false` it has no uncertainties and nothing later uses it. Asymmetric
uncertainties (MINOS) come with the key `fit.minos`; blinded regions (`fit.blinded`) hold Asimov data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.files import finite_or_none, write_json
from lhcml.inference.blind import blinded_problem, blinded_regions
from lhcml.inference.likelihood import Likelihood, poisson_term
from lhcml.inference.minimise import Fit, minimise
from lhcml.inference.profile_likelihood import Profile, minos
from lhcml.inference.read_workspace import Problem, read_problem
from lhcml.inference.select_parameters import select_parameters


def goodness_of_fit(problem: Problem, fit: Fit) -> dict[str, Any]:
    """Compare the fit with the saturated model, which expects exactly what is observed.

    Returns
    -------
    dict
        "statistic": difference of -2 ln L; "degrees_of_freedom": bins minus free parameters without constraint;
        "p_value" from the chi-squared distribution, None without degrees of freedom. An approximation that is good
        for bins of more than a few events.
    """
    from scipy.special import chdtrc

    likelihood = problem.likelihood
    saturated = likelihood_of_saturated_model(likelihood, problem.data)
    statistic = max(0.0, fit.twice_nll - saturated)
    free = ~likelihood.fixed & ~likelihood.constrained & ~np.isin(likelihood.names, fit.unused)
    degrees = likelihood.bins - int(free.sum())
    p_value = finite_or_none(float(chdtrc(degrees, statistic))) if degrees > 0 else None
    return {"statistic": statistic, "degrees_of_freedom": degrees, "p_value": p_value}


def likelihood_of_saturated_model(likelihood: Likelihood, data: Any) -> float:
    """Return -2 ln L with each bin's expectation at its count and each constraint at its maximum."""
    count, aux = data[: likelihood.bins], data[likelihood.bins :]
    poisson = aux[likelihood.poisson.position]
    total = poisson_term(count, count).sum() + poisson_term(poisson, poisson).sum()
    return float(2 * (total + np.log(likelihood.normal.scale * np.sqrt(2 * np.pi)).sum()))


def asymmetric_errors(problem: Problem, fit: Fit, patterns: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the asymmetric uncertainties of the chosen parameters, by name; see `profile_likelihood.minos`.

    Raises
    ------
    UserError
        If a pattern chooses no parameter.
    """
    chosen = select_parameters(problem, patterns, "fit.minos")
    if not fit.valid or fit.errors is None:
        return {}
    profile = Profile(problem.likelihood, problem.data, fit)
    return {problem.likelihood.names[index]: minos(profile, index) for index in chosen if fit.errors[index] > 0}


def describe_fit(
    problem: Problem, fit: Fit, config: Mapping[str, Any], asymmetric: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the content of fit.json.

    Parameters of a fit that is not valid are given without uncertainties, correlations or goodness of fit.

    Parameters
    ----------
    problem : Problem
    fit : Fit
    config : mapping
        Block of the measurement: `injected` and `fit.blinded` are repeated.
    asymmetric : mapping, optional
        From `asymmetric_errors`.
    """
    likelihood = problem.likelihood
    errors = fit.errors
    width = likelihood.prefit_width()
    parameters = {}
    for index, name in enumerate(likelihood.names):
        parameters[name] = {
            "value": float(fit.values[index]),
            "uncertainty": None if errors is None or likelihood.fixed[index] else float(errors[index]),
            "start": float(likelihood.start[index]),
            "bounds": [float(likelihood.lower[index]), float(likelihood.upper[index])],
            "kind": kind_of(likelihood, index),
            "prefit_uncertainty": float(width[index]) if likelihood.constrained[index] else None,
            "at_bound": name in fit.at_bound,
            "minos": (asymmetric or {}).get(name),
        }
    result: dict[str, Any] = {
        "digest": problem.digest,
        "measurement": problem.measurement,
        "poi": {"name": problem.poi, **parameters[problem.poi]},
        "valid": fit.valid,
        "twice_nll": finite_or_none(fit.twice_nll),
        "edm": finite_or_none(fit.edm),
        "injected": config.get("injected"),
        "blinded": blinded_regions(config),
        "parameters": parameters,
        "unused_parameters": fit.unused,
        "attempts": fit.attempts,
        "correlations": None,
        "goodness_of_fit": None,
    }
    if fit.covariance is not None and errors is not None:
        free = np.flatnonzero(errors > 0)
        correlation = fit.covariance[np.ix_(free, free)] / np.outer(errors[free], errors[free])
        names = [likelihood.names[index] for index in free]
        result["correlations"] = {"parameters": names, "matrix": np.clip(correlation, -1, 1).tolist()}
        result["goodness_of_fit"] = goodness_of_fit(problem, fit)
    return result


def kind_of(likelihood: Likelihood, index: int) -> str:
    """Return "fixed", "normal" or "poisson" (the constraint), or "free"."""
    if likelihood.fixed[index]:
        return "fixed"
    if index in likelihood.normal.parameter:
        return "normal"
    return "poisson" if index in likelihood.poisson.parameter else "free"


def main(argv: Sequence[str] | None = None) -> None:
    """Fit one workspace."""
    parser = make_parser(__doc__)
    parser.add_argument("--workspace", required=True, type=Path, help="pyhf workspace JSON")
    parser.add_argument("--config", required=True, type=json_argument, help="the measurement, as in the configuration")
    parser.add_argument("--output", required=True, type=Path, help="fit.json to write")
    args = parser.parse_args(argv)
    log = start_log("pyhf", "iminuit", "numpy", "scipy")
    config = args.config
    problem = blinded_problem(read_problem(args.workspace, config.get("measurement"), config.get("poi")), config)
    fit = minimise(problem.likelihood, problem.data)
    asymmetric = asymmetric_errors(problem, fit, config.get("fit", {}).get("minos", []))
    result = describe_fit(problem, fit, config, asymmetric)
    write_json(args.output, result)
    best = result["poi"]
    for name, part in asymmetric.items():
        log.info("%s: MINOS %s, %s %s", name, part["down"], part["up"], "; ".join(part["reasons"]))
    if fit.valid:
        log.info("%s = %.4g +- %.3g (edm %.1e)", problem.poi, best["value"], best["uncertainty"], fit.edm)
    else:
        log.warning("the fit is NOT valid; tried: %s", fit.attempts)


if __name__ == "__main__":
    run_main(main)
