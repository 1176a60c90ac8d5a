"""Discovery p-value and significance, observed and expected for a signal.

Asymptotic formulae for q0 (arXiv:1007.1727, eqs. 12 and 52).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.files import write_json
from lhcml.inference.blind import blinded_problem, blinded_regions
from lhcml.inference.likelihood import Array, Likelihood
from lhcml.inference.limit import BANDS, normal_cdf
from lhcml.inference.minimise import Fit, FitError, minimise, require_valid
from lhcml.inference.poi_fits import fit_free, with_poi_bounds
from lhcml.inference.read_workspace import Problem, read_problem


def compute_significance(problem: Problem, injected: float) -> dict[str, Any]:
    """Return the content of significance.json.

    Parameters
    ----------
    problem : Problem
    injected : float
        Value of the parameter of interest whose expected significance is given.

    Returns
    -------
    dict
        `observed`: fitted value, q0, one-sided p-value, z; p = 0.5 and z = 0 where the fitted value is not positive.
        `expected`: the same of Asimov data at `injected`, with nuisance parameters as fitted to the data (`postfit`,
        what `pyhf.infer.hypotest(0, ..., test_stat="q0", return_expected=True)` gives for 1) and at their starting
        values (`prefit`); `p_bands` for fluctuations of -2, -1, 0, 1, 2 standard deviations.
    """
    likelihood, poi = problem.likelihood, problem.likelihood.poi
    remarks = list(problem.remarks)
    result: dict[str, Any] = {
        "digest": problem.digest, "poi": problem.poi, "test_statistic": "q0", "calculator": "asymptotic",
        "injected": injected, "bands": list(BANDS), "blinded": [],
    }  # fmt: skip
    try:
        # q0 is zero for a negative fitted value, whatever its size
        low, high = (float(bound[poi]) for bound in (likelihood.lower, likelihood.upper))
        free = fit_free(with_poi_bounds(likelihood, max(low, 0.0), high), problem.data, remarks)
        background = fit_at(likelihood, problem.data, 0.0, free.values)
        signal = fit_at(likelihood, problem.data, injected, free.values)
        best = float(free.values[poi])
        q = max(0.0, background.twice_nll - free.twice_nll) if best > 0 else 0.0
        prefit = likelihood.start.copy()
        prefit[poi] = injected
        expected = {
            "postfit": expected_significance(likelihood, signal.values, background.values),
            "prefit": expected_significance(likelihood, prefit, prefit),
        }
    except FitError as error:
        return result | {"valid": False, "reason": str(error), "observed": None, "expected": None, "remarks": remarks}
    observed = {"best_fit": best, "q0": q, "z": math.sqrt(q), "p_value": normal_cdf(-math.sqrt(q))}
    return result | {"valid": True, "reason": None, "observed": observed, "expected": expected, "remarks": remarks}


def fit_at(likelihood: Likelihood, data: Array, strength: float, start: Array) -> Fit:
    """Fit the nuisance parameters at a signal strength.

    Raises
    ------
    FitError
        If the fit does not converge.
    """
    fit = minimise(likelihood, data, constant={likelihood.poi: strength}, start=start, covariance=False)
    return require_valid(fit, f"the fit at signal strength {strength:g}")


def expected_significance(likelihood: Likelihood, parameters: Array, start: Array) -> dict[str, Any]:
    """Return q0, z and p-values of the Asimov data of these parameters, fluctuated as in `BANDS`.

    Parameters
    ----------
    likelihood : Likelihood
    parameters : array of shape (P,)
        The truth; the Asimov data are fitted exactly by it.
    start : array of shape (P,)
        Where the fit without signal begins.

    Raises
    ------
    FitError
        If the fit without signal does not converge.
    """
    asimov = likelihood.expected(parameters)
    without = fit_at(likelihood, asimov, 0.0, start)
    q = max(0.0, without.twice_nll - likelihood.twice_nll(parameters, asimov))
    if parameters[likelihood.poi] <= 0:
        q = 0.0
    root = math.sqrt(q)
    return {"q0": q, "z": root, "p_value": normal_cdf(-root), "p_bands": [normal_cdf(-(root + band)) for band in BANDS]}


def main(argv: Sequence[str] | None = None) -> None:
    """Compute the significance of one workspace."""
    parser = make_parser(__doc__)
    parser.add_argument("--workspace", required=True, type=Path, help="pyhf workspace JSON")
    parser.add_argument("--config", required=True, type=json_argument, help="the measurement, as in the configuration")
    parser.add_argument("--output", required=True, type=Path, help="significance.json to write")
    args = parser.parse_args(argv)
    log = start_log("pyhf", "iminuit", "numpy", "scipy")
    problem = read_problem(args.workspace, args.config.get("measurement"), args.config.get("poi"))
    result = compute_significance(blinded_problem(problem, args.config), float(args.config.get("injected", 1.0)))
    write_json(args.output, result | {"blinded": blinded_regions(args.config)})
    if result["valid"]:
        z = (result["observed"]["z"], result["expected"]["postfit"]["z"])
        log.info("z = %.3f observed, %.3f expected", *np.round(z, 6))
    else:
        log.warning("no significance: %s", result["reason"])


if __name__ == "__main__":
    run_main(main)
