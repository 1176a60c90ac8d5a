"""Pseudo-experiments: bias of the fitted parameter of interest, and whether its uncertainty is right.

Main and auxiliary data are drawn from the model at the nominal nuisance parameters and the injected parameter of
interest, and each pseudo-experiment is fitted as the data are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.cli import Progress, json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import write_json
from lhcml.inference.likelihood import Likelihood
from lhcml.inference.minimise import minimise
from lhcml.inference.read_workspace import Problem, read_problem

# What needs at least two valid fits
SPREADS = (
    "mean", "mean_uncertainty", "pull_mean", "pull_mean_uncertainty", "pull_width", "pull_width_uncertainty",
    "coverage",
)  # fmt: skip


def run_toys(likelihood: Likelihood, injected: float, count: int, seed: int) -> list[dict[str, Any]]:
    """Fit pseudo-experiments.

    Parameters
    ----------
    likelihood : Likelihood
    injected : float
        Parameter of interest of the truth.
    count : int
        How many.
    seed : int
        Pseudo-experiment i is drawn with the seed sequence (seed, i), whatever the others are.

    Returns
    -------
    list of dict
        "value", "uncertainty" (None if not valid), "valid", "at_bound" of each.
    """
    truth = likelihood.start.copy()
    truth[likelihood.poi] = injected
    name = likelihood.names[likelihood.poi]
    progress = Progress(count, "pseudo-experiments")
    toys = []
    for index in range(count):
        data = likelihood.sample(truth, np.random.default_rng([seed, index]))
        fit = minimise(likelihood, data, start=truth)
        errors = fit.errors
        toys.append(
            {
                "value": float(fit.values[likelihood.poi]),
                "uncertainty": None if errors is None else float(errors[likelihood.poi]),
                "valid": fit.valid,
                "at_bound": name in fit.at_bound,
            }
        )
        progress.add(1)
    return toys


def summarise_toys(toys: Sequence[dict[str, Any]], injected: float) -> dict[str, Any]:
    """Return mean and width of fitted values and pulls with their statistical uncertainties.

    The pull is (fitted - injected) / uncertainty. Fits that are not valid are counted and left out; "coverage" is the
    share of pseudo-experiments whose interval of one standard deviation holds the injected value.
    """
    good = [toy for toy in toys if toy["valid"] and toy["uncertainty"]]
    count = len(good)
    summary: dict[str, Any] = {
        "count": len(toys), "valid": count, "at_bound": sum(toy["at_bound"] for toy in good), "injected": injected,
    }  # fmt: skip
    if count < 2:
        return summary | dict.fromkeys(SPREADS)
    values = np.array([toy["value"] for toy in good])
    pulls = (values - injected) / np.array([toy["uncertainty"] for toy in good])
    width = float(pulls.std(ddof=1))
    return summary | {
        "mean": float(values.mean()),
        "mean_uncertainty": float(values.std(ddof=1) / np.sqrt(count)),
        "pull_mean": float(pulls.mean()),
        "pull_mean_uncertainty": width / np.sqrt(count),
        "pull_width": width,
        # of a normal distribution
        "pull_width_uncertainty": width / np.sqrt(2 * (count - 1)),
        "coverage": float(np.mean(np.abs(pulls) < 1)),
    }


def make_toys(problem: Problem, injected: float, count: int, seed: int) -> dict[str, Any]:
    """Return the content of toys.json.

    Raises
    ------
    UserError
        If the model expects negative events at the injected value.
    """
    likelihood = problem.likelihood
    truth = likelihood.start.copy()
    truth[likelihood.poi] = injected
    if (likelihood.rates(truth) < 0).any():
        raise UserError(
            f"the model expects negative events at {problem.poi} = {injected:g}", "choose another `injected` value"
        )
    toys = run_toys(likelihood, injected, count, seed)
    return {"digest": problem.digest, "poi": problem.poi, "seed": seed, **summarise_toys(toys, injected), "toys": toys}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the pseudo-experiments of one workspace."""
    parser = make_parser(__doc__)
    parser.add_argument("--workspace", required=True, type=Path, help="pyhf workspace JSON")
    parser.add_argument("--config", required=True, type=json_argument, help="the measurement, as in the configuration")
    parser.add_argument("--seed", required=True, type=int, help="seed of the pseudo-experiments")
    parser.add_argument("--output", required=True, type=Path, help="toys.json to write")
    args = parser.parse_args(argv)
    log = start_log("pyhf", "iminuit", "numpy", "scipy", seed=args.seed)
    config = args.config
    problem = read_problem(args.workspace, config.get("measurement"), config.get("poi"))
    result = make_toys(problem, config["injected"], config["toys"]["count"], args.seed)
    write_json(args.output, result)
    log.info("%d of %d fits valid; mean %s, pull width %s", result["valid"], result["count"], result["mean"],
             result["pull_width"])  # fmt: skip


if __name__ == "__main__":
    run_main(main)
