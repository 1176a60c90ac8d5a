"""Fit Asimov data: the expected events at the injected parameter of interest, to know the expected uncertainties.

Nuisance parameters of the data are nominal, or with `fit.asimov_nuisances: fitted` those of the fit to the (blinded)
data with the parameter of interest held at the injected value; auxiliary data are then those of the same fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import write_json
from lhcml.inference.blind import blinded_problem
from lhcml.inference.fit_workspace import asymmetric_errors, describe_fit
from lhcml.inference.minimise import minimise
from lhcml.inference.read_workspace import Problem, read_problem


def asimov_problem(problem: Problem, config: Mapping[str, Any]) -> Problem:
    """Return the problem with its Asimov data.

    Parameters
    ----------
    problem : Problem
        With the data of the fit, used for fitted nuisance parameters.
    config : mapping
        Block of the measurement: `injected` (1 if not given) and `fit.asimov_nuisances`.

    Raises
    ------
    UserError
        If the nuisance parameters cannot be fitted.
    """
    likelihood, strength = problem.likelihood, float(config.get("injected", 1.0))
    values = likelihood.start.copy()
    values[likelihood.poi] = strength
    if config.get("fit", {}).get("asimov_nuisances", "nominal") == "fitted":
        fit = minimise(likelihood, problem.data, constant={likelihood.poi: strength}, covariance=False)
        if not fit.valid:
            raise UserError(
                f"the fit for the parameters of the Asimov data did not converge: {fit.attempts[-1]['reasons']}",
                "set `fit.asimov_nuisances` to nominal",
            )
        values = fit.values
    return replace(problem, data=likelihood.expected(values))


def main(argv: Sequence[str] | None = None) -> None:
    """Fit the Asimov data of one workspace."""
    parser = make_parser(__doc__)
    parser.add_argument("--workspace", required=True, type=Path, help="pyhf workspace JSON")
    parser.add_argument("--config", required=True, type=json_argument, help="the measurement, as in the configuration")
    parser.add_argument("--output", required=True, type=Path, help="asimov.json to write")
    args = parser.parse_args(argv)
    log = start_log("pyhf", "iminuit", "numpy", "scipy")
    config = args.config
    seen = blinded_problem(read_problem(args.workspace, config.get("measurement"), config.get("poi")), config)
    problem = asimov_problem(seen, config)
    fit = minimise(problem.likelihood, problem.data)
    asymmetric = asymmetric_errors(problem, fit, config.get("fit", {}).get("minos", []))
    result = describe_fit(problem, fit, config, asymmetric)
    result["asimov_nuisances"] = config.get("fit", {}).get("asimov_nuisances", "nominal")
    write_json(args.output, result)
    if fit.valid:
        log.info("%s = %.4g +- %.3g expected", problem.poi, result["poi"]["value"], result["poi"]["uncertainty"])
    else:
        log.warning("the fit is NOT valid; tried: %s", fit.attempts)


if __name__ == "__main__":
    run_main(main)
