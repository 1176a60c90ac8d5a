"""Upper limit on the parameter of interest by CLs, observed and expected, with a scan of CLs.

Asymptotic formulae for q~ (arXiv:1007.1727), the same as `pyhf.infer.hypotest(..., test_stat="qtilde")`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import write_json
from lhcml.inference.limit import BANDS, Scan, scan_points, upper_limits
from lhcml.inference.minimise import FitError
from lhcml.inference.read_workspace import Problem, read_problem


def scan_limit(problem: Problem, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of limit.json.

    Parameters
    ----------
    problem : Problem
    config : Mapping
        "points" of the scan, CLs "level" of the limit, "test" value of the parameter.

    Raises
    ------
    UserError
        If the parameter of interest cannot be zero, which CLs compares with.
    """
    likelihood = problem.likelihood
    low, high = likelihood.lower[likelihood.poi], likelihood.upper[likelihood.poi]
    if low > 0 or high < 0:
        raise UserError(
            f"{problem.poi} is bounded to {low:g} ... {high:g}; CLs compares with its value 0, no signal",
            "include 0 in its bounds",
        )
    result: dict[str, Any] = {
        "digest": problem.digest, "poi": problem.poi, "test_statistic": "qtilde", "calculator": "asymptotic",
        "level": config["level"], "bands": list(BANDS),
    }  # fmt: skip
    try:
        scan = Scan(likelihood, problem.data)
        observed, expected = upper_limits(scan, config["level"])
        points = scan_points([observed, *expected], scan.best, config["points"])
        scanned = [scan.test(point) for point in points]
        test = scan.test(config["test"])
    except FitError as error:
        return result | {"valid": False, "reason": str(error), "observed": None, "expected": None,
                         "expected_median": None, "scan": None, "test": None, "fits": None}  # fmt: skip
    return result | {
        "valid": True, "reason": None, "best_fit": scan.best, "observed": observed, "expected": expected,
        "expected_median": expected[BANDS.index(0)],
        "test": test, "scan": scanned, "fits": scan.fits,
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Compute limits from one workspace."""
    parser = make_parser(__doc__)
    parser.add_argument("--workspace", required=True, type=Path, help="pyhf workspace JSON")
    parser.add_argument("--config", required=True, type=json_argument, help="the measurement, as in the configuration")
    parser.add_argument("--output", required=True, type=Path, help="limit.json to write")
    args = parser.parse_args(argv)
    log = start_log("pyhf", "iminuit", "numpy", "scipy")
    problem = read_problem(args.workspace, args.config.get("measurement"), args.config.get("poi"))
    result = scan_limit(problem, args.config["limit"])
    write_json(args.output, result)
    if result["valid"]:
        log.info("%s < %s observed, %s expected (%d fits)", problem.poi, result["observed"],
                 result["expected_median"], result["fits"])  # fmt: skip
    else:
        log.warning("no limit: %s", result["reason"])


if __name__ == "__main__":
    run_main(main)
