"""Upper limit on the parameter of interest by CLs, observed and expected, with a scan of CLs.

Asymptotic formulae for q~ (arXiv:1007.1727), the same as `pyhf.infer.hypotest(..., test_stat="qtilde")` with a lower
bound of zero; or for q, which lets the fitted strength be negative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import write_json
from lhcml.inference.blind import blinded_problem, blinded_regions
from lhcml.inference.limit import BANDS, Scan, scan_points, upper_limits
from lhcml.inference.minimise import FitError
from lhcml.inference.read_workspace import Problem, read_problem


def scan_limit(problem: Problem, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of limit.json.

    Parameters
    ----------
    problem : Problem
    config : Mapping
        "points" of the scan, CLs "level" of the limit, "test" value or values of the parameter, "test_statistic".

    Raises
    ------
    UserError
        If the parameter of interest cannot be zero, which CLs compares with.
    """
    likelihood = problem.likelihood
    low, high = (float(bound[likelihood.poi]) for bound in (likelihood.lower, likelihood.upper))
    if low > 0 or high < 0:
        raise UserError(
            f"{problem.poi} is bounded to {low:g} ... {high:g}; CLs compares with its value 0, no signal",
            "include 0 in its bounds",
        )
    level, statistic = config["level"], config.get("test_statistic", "qtilde")
    values = config["test"] if isinstance(config["test"], list) else [config["test"]]
    result: dict[str, Any] = {
        "digest": problem.digest, "poi": problem.poi, "test_statistic": statistic, "calculator": "asymptotic",
        "level": level, "bands": list(BANDS),
    }  # fmt: skip
    try:
        scan = Scan(likelihood, problem.data, statistic)
        # a test value may be too far from the data for a fit, which does not touch the limit
        scan_rows(scan, values, [])
        scan.verify([float(value) for value in values])
        observed, expected = upper_limits(scan, level)
    except FitError as error:
        return result | {
            "valid": False, "reason": str(error), "best_fit": None, "observed": None, "expected": None,
            "expected_median": None, "test": None, "tests": None, "scan": None, "fits": None,
            "remarks": problem.remarks,
        }  # fmt: skip
    remarks = [*problem.remarks, *scan.remarks]
    scanned = scan_rows(scan, scan_points([observed, *expected], scan.best, config["points"]), remarks)
    tests = scan_rows(scan, values, remarks)
    if observed is None or None in expected:
        remarks.append(f"the data set no limit at CLs = {level:g}: it stays above however large {problem.poi}")
    beyond = [limit for limit in (observed, *expected) if limit is not None and limit > high]
    if beyond:
        remarks.append(f"limits beyond the upper bound {high:g} of {problem.poi} are computed with the bound moved")
    if scan.several:
        remarks.append("the likelihood has more than one minimum; the lowest that was found is taken")
    if scan.negative:
        remarks.append(
            f"the fitted {problem.poi} is negative; q~ counts it as zero. pyhf.infer.hypotest does so if the lower "
            "bound is zero, else it returns `cls_unclipped`"
        )
    return result | {
        "valid": True, "reason": None, "best_fit": scan.best, "observed": observed, "expected": expected,
        "expected_median": expected[BANDS.index(0)],
        "test": tests[0] if tests else None, "tests": tests, "scan": scanned, "fits": scan.fits, "remarks": remarks,
    }  # fmt: skip


def scan_rows(scan: Scan, strengths: Sequence[float], remarks: list[str]) -> list[dict[str, Any]]:
    """Return CLs at each strength; one whose fit fails is left out and told in the remarks."""
    rows = []
    for strength in strengths:
        try:
            rows.append(scan.test(float(strength)))
        except FitError as error:
            remarks.append(f"left out of the scan: {error}")
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Compute limits from one workspace."""
    parser = make_parser(__doc__)
    parser.add_argument("--workspace", required=True, type=Path, help="pyhf workspace JSON")
    parser.add_argument("--config", required=True, type=json_argument, help="the measurement, as in the configuration")
    parser.add_argument("--output", required=True, type=Path, help="limit.json to write")
    args = parser.parse_args(argv)
    log = start_log("pyhf", "iminuit", "numpy", "scipy")
    problem = read_problem(args.workspace, args.config.get("measurement"), args.config.get("poi"))
    result = scan_limit(blinded_problem(problem, args.config), args.config["limit"])
    write_json(args.output, result | {"blinded": blinded_regions(args.config)})
    for remark in result["remarks"]:
        log.info("%s", remark)
    if result["valid"]:
        log.info("%s < %s observed, %s expected (%d fits)", problem.poi, result["observed"],
                 result["expected_median"], result["fits"])  # fmt: skip
    else:
        log.warning("no limit: %s", result["reason"])


if __name__ == "__main__":
    run_main(main)
