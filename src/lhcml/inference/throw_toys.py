"""Throw one batch of pseudo-experiments and fit them.

Ensembles: "toys" (bias, pull and coverage at the injected parameter of interest), "linearity" (the same at several
values), "goodness_of_fit" (saturated statistic at the fitted parameters), "toy_limit" (q~ and q0, for CLs).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.files import write_json
from lhcml.inference.batch_likelihood import BatchLikelihood
from lhcml.inference.blind import blinded_problem
from lhcml.inference.draw_toys import batch_indices, draw_toys, true_parameters
from lhcml.inference.fit_workspace import goodness_of_fit
from lhcml.inference.likelihood import Array, Likelihood, poisson_term
from lhcml.inference.minimise import FitError, minimise, require_valid
from lhcml.inference.minimise_batch import minimise_batch, poi_uncertainties
from lhcml.inference.profile_toys import column, count_reasons, profile_toys
from lhcml.inference.read_workspace import Problem, read_problem
from lhcml.inference.throw_limit_toys import throw_limit_toys


def throw_at(
    problem: Problem, injected: float, seed: Iterable[int], indices: range, config: Mapping[str, Any]
) -> dict[str, Any]:
    """Fit pseudo-experiments at one injected value.

    Parameters
    ----------
    problem : Problem
    injected : float
        Parameter of interest of the truth.
    seed : iterable of int
        Pseudo-experiment i has the seed sequence (*seed, i).
    indices : range
        Which ones.
    config : mapping
        "nuisances" ("nominal" or "fitted") and "auxiliary" (whether auxiliary data are drawn).

    Returns
    -------
    dict
        "injected" and columns: "value", "uncertainty" (from the second derivatives), "ratio" (t of the injected value,
        two-sided), "at_bound"; None where a fit failed, "uncertainty" also where the second derivatives give none;
        "failures" counts the reasons.
    """
    likelihood = problem.likelihood
    truth = true_parameters(problem, injected, config["nuisances"])
    data = draw_toys(problem, truth, seed, indices, config["auxiliary"])
    batch = BatchLikelihood(likelihood)
    profiles = profile_toys(batch, data, truth, [injected])
    errors = poi_uncertainties(batch, data, profiles.free)
    return {
        "injected": injected,
        "value": column(profiles.best, profiles.valid),
        # without events the likelihood may have no curvature at its minimum, which is valid all the same
        "uncertainty": column(errors, profiles.valid & np.isfinite(errors)),
        "ratio": column(profiles.two_sided(injected), profiles.valid),
        "at_bound": [bool(flag) for flag in profiles.free.at_bound[:, likelihood.poi]],
        "failures": count_reasons(profiles.reasons),
        "retried": profiles.retried,
    }


def throw_coverage(problem: Problem, config: Mapping[str, Any], seed: int, indices: range) -> dict[str, Any]:
    """Return the pseudo-experiments at the injected value; number i has the seed sequence (seed, i)."""
    return {"points": [throw_at(problem, config["injected"], [seed], indices, config["toys"])]}


def throw_linearity(problem: Problem, config: Mapping[str, Any], seed: int, indices: range) -> dict[str, Any]:
    """Return pseudo-experiments at each value of `linearity`, thrown as those of `toys` are."""
    points = enumerate(config["linearity"]["injected"])
    return {"points": [throw_at(problem, value, [seed, k], indices, config["toys"]) for k, value in points]}


def saturated_terms(likelihood: Likelihood, points: Array, rates: Array, data: Array) -> tuple[Array, Array]:
    """Return what bins and constraints add to twice the ln L difference to the saturated model.

    Parameters
    ----------
    likelihood : Likelihood
    points, rates, data : arrays of shape (T, P), (T, B), (T, B + A)

    Returns
    -------
    tuple of arrays of shape (T, B) and (T,)
    """
    count, aux = data[:, : likelihood.bins], data[:, likelihood.bins :]
    normal, poisson = likelihood.normal, likelihood.poisson
    pull = (aux[:, normal.position] - points[:, normal.parameter]) / normal.scale
    drawn = aux[:, poisson.position]
    scaled = poisson_term(drawn, points[:, poisson.parameter] * poisson.scale) - poisson_term(drawn, drawn)
    main = poisson_term(count, rates) - poisson_term(count, count)
    return 2 * main, (pull**2).sum(axis=1) + 2 * scaled.sum(axis=1)


def throw_goodness(problem: Problem, config: Mapping[str, Any], seed: int, indices: range) -> dict[str, Any]:
    """Return the statistic of the data and of pseudo-experiments at the fitted parameters, each fitted again.

    Raises
    ------
    FitError
        If the fit of the data does not converge.
    """
    likelihood = problem.likelihood
    fit = require_valid(minimise(likelihood, problem.data), "the fit")
    batch = BatchLikelihood(likelihood)
    data = np.concatenate([problem.data[None], draw_toys(problem, fit.values, [seed], indices)])
    fits = minimise_batch(batch, data, fit.values)
    rates = batch.rates(fits.values)
    bins, constraints = saturated_terms(likelihood, fits.values, rates, data)
    # the fit of the data is the one of fit.json
    bins[:1], constraints[:1] = saturated_terms(
        likelihood, fit.values[None], likelihood.rates(fit.values)[None], problem.data[None]
    )
    count = problem.data[: likelihood.bins]
    residuals = np.sign(count - likelihood.rates(fit.values)) * np.sqrt(np.maximum(bins[0], 0))
    statistic = bins.sum(axis=1) + constraints
    channels = {}
    for name, part in likelihood.channels.items():
        each = bins[:, part].sum(axis=1)
        channels[name] = {
            "observed": float(each[0]),
            "residuals": [float(value) for value in residuals[part]],
            "toys": column(each[1:], fits.valid[1:]),
        }
    return {
        "observed": goodness_of_fit(problem, fit) | {"constraints": float(constraints[0])},
        "channels": channels,
        "toys": column(statistic[1:], fits.valid[1:]),
        "failures": count_reasons(fits.reasons[1:]),
        "retried": fits.retried,
    }


THROWERS: dict[str, Callable[[Problem, Mapping[str, Any], int, range], dict[str, Any]]] = {
    "toys": throw_coverage,
    "linearity": throw_linearity,
    "goodness_of_fit": throw_goodness,
    "toy_limit": throw_limit_toys,
}


def throw_toys(problem: Problem, ensemble: str, config: Mapping[str, Any], seed: int, batch: int = 0) -> dict[str, Any]:
    """Return the content of a batch file.

    Parameters
    ----------
    problem : Problem
    ensemble : str
        One of `THROWERS`; its block of `config` has "count" (of all batches) and "batches".
    config : mapping
        The measurement, as in the configuration.
    seed : int
        Of the ensemble, the same for all batches.
    batch : int
        Which batch.
    """
    block = config[ensemble]
    indices = batch_indices(block["count"], batch, block["batches"])
    head = {"digest": problem.digest, "poi": problem.poi, "ensemble": ensemble, "seed": seed, "count": len(indices)}
    try:
        return head | {"reason": None} | THROWERS[ensemble](problem, config, seed, indices)
    except FitError as error:
        return head | {"reason": str(error)}


def main(argv: Sequence[str] | None = None) -> None:
    """Throw one batch of pseudo-experiments of one workspace."""
    parser = make_parser(__doc__)
    parser.add_argument("--workspace", required=True, type=Path, help="pyhf workspace JSON")
    parser.add_argument("--config", required=True, type=json_argument, help="the measurement, as in the configuration")
    parser.add_argument("--ensemble", required=True, choices=list(THROWERS), help="which pseudo-experiments")
    parser.add_argument("--batch", default=0, type=int, help="which batch, counted from 0")
    parser.add_argument("--seed", required=True, type=int, help="seed of the ensemble, the same for all batches")
    parser.add_argument("--output", required=True, type=Path, help="JSON to write")
    args = parser.parse_args(argv)
    log = start_log("pyhf", "iminuit", "numpy", "scipy", seed=args.seed)
    problem = read_problem(args.workspace, args.config.get("measurement"), args.config.get("poi"))
    problem = blinded_problem(problem, args.config)
    result = throw_toys(problem, args.ensemble, args.config, args.seed, args.batch)
    write_json(args.output, result)
    if result["reason"]:
        log.warning("no pseudo-experiments: %s", result["reason"])
    else:
        log.info("%d pseudo-experiments", result["count"])


if __name__ == "__main__":
    run_main(main)
