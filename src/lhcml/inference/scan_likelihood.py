"""Scan the profile likelihood of parameters, one and two at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import write_json
from lhcml.inference.blind import blinded_problem, blinded_regions
from lhcml.inference.likelihood import Array
from lhcml.inference.minimise import LOWER_MINIMUM, minimise
from lhcml.inference.profile_likelihood import Profile
from lhcml.inference.read_workspace import Problem, read_problem
from lhcml.inference.select_parameters import select_parameters

POINTS, PAIR_POINTS, WIDTH = 31, 21, 3.0
# Rise of -2 ln L at the edge of the central 68.3 % and 95.4 % intervals
LEVELS = {"68": 1.0, "95": 4.0}


def grid(profile: Profile, index: int, points: int, width: float) -> Array:
    """Return the values of a parameter to scan: `width` standard deviations on either side, within its bounds.

    The fitted value is among them, so that the curve touches zero.
    """
    likelihood, fit = profile.likelihood, profile.fit
    assert fit.errors is not None
    best, reach = fit.values[index], width * fit.errors[index]
    low, high = max(best - reach, likelihood.lower[index]), min(best + reach, likelihood.upper[index])
    values = np.linspace(low, high, points)
    values[np.argmin(np.abs(values - best))] = best
    return values


def scan_one(profile: Profile, index: int, values: Array) -> list[float | None]:
    """Return the rise of -2 ln L above the fit at each value of a parameter; None where no fit is valid."""
    return [profile.rise({index: float(value)}) for value in values]


def interval(values: Array, rises: Sequence[float | None], best: float, level: float) -> list[float | None]:
    """Return where a curve crosses a level below and above the best value, None where it does not.

    Interpolated linearly in the square root of the rise, which a parabola makes exact.
    """
    ends: list[float | None] = []
    for sign in (-1, 1):
        side = sorted(
            (sign * (value - best), max(rise, 0.0) ** 0.5)
            for value, rise in zip(values, rises, strict=True)
            if rise is not None and sign * (value - best) >= 0
        )
        end = None
        for (near, low), (far, high) in pairwise(side):
            if low <= level**0.5 < high:
                end = float(best + sign * (near + (far - near) * (level**0.5 - low) / (high - low)))
                break
        ends.append(end)
    return ends


def describe_scan(problem: Problem, config: Mapping[str, Any]) -> dict[str, Any]:
    """Fit and scan; return the content of scan.json.

    Parameters
    ----------
    problem : Problem
        With the data to use, blinded where wanted.
    config : mapping
        Block of the measurement, with `scan`.

    Raises
    ------
    UserError
        If a parameter is unknown.
    """
    block = config.get("scan", {})
    likelihood = problem.likelihood
    chosen = select_parameters(problem, ["poi", *block.get("parameters", [])], "scan.parameters")
    pairs = [pair_of(problem, names) for names in block.get("pairs", [])]
    points, width = int(block.get("points", POINTS)), float(block.get("width", WIDTH))
    fit = minimise(likelihood, problem.data)
    result: dict[str, Any] = {
        "digest": problem.digest, "measurement": problem.measurement, "blinded": blinded_regions(config),
        "poi": problem.poi, "valid": fit.valid, "reasons": [] if fit.valid else fit.attempts[-1]["reasons"],
        "parameters": {}, "pairs": [],
    }  # fmt: skip
    if not fit.valid or fit.errors is None:
        return result
    profile = Profile(likelihood, problem.data, fit)
    for index in chosen:
        if fit.errors[index] > 0:
            result["parameters"][likelihood.names[index]] = describe_curve(profile, index, points, width)
    for first, second in pairs:
        size = int(block.get("pair_points", PAIR_POINTS))
        result["pairs"].append(describe_pair(profile, (first, second), size, width))
    lowest = min((rise for rise in _rises(result) if rise is not None), default=0.0)
    if lowest < -LOWER_MINIMUM:
        result["valid"] = False
        result["reasons"] = [
            f"-2 ln L is lower by {-lowest:.2g} in the scan than at the fit, which is no global minimum"
        ]
    return result


def pair_of(problem: Problem, names: Sequence[str]) -> tuple[int, int]:
    """Return two parameters of `scan.pairs` by index.

    Raises
    ------
    UserError
        If they are unknown or not two.
    """
    found = [select_parameters(problem, [name], "scan.pairs") for name in names]
    if any(len(part) != 1 for part in found) or len(found) != 2 or found[0] == found[1]:
        raise UserError(f"`scan.pairs` needs two different parameters, not {list(names)}", "name one parameter each")
    return found[0][0], found[1][0]


def describe_curve(profile: Profile, index: int, points: int, width: float) -> dict[str, Any]:
    """Return the curve of one parameter; for the parameter of interest with the statistical one.

    The statistical curve holds all parameters that have a constraint at their fitted values.
    """
    likelihood, fit = profile.likelihood, profile.fit
    assert fit.errors is not None
    values, best = grid(profile, index, points, width), float(fit.values[index])
    rises = scan_one(profile, index, values)
    statistical = None
    if index == likelihood.poi:
        held = np.flatnonzero(likelihood.constrained & ~likelihood.fixed & (np.arange(len(fit.values)) != index))
        alone = Profile(likelihood, profile.data, fit, {int(other): float(fit.values[other]) for other in held})
        statistical = scan_one(alone, index, values)
    return {
        "best": best, "uncertainty": float(fit.errors[index]), "values": values.tolist(), "rise": rises,
        "rise_statistical": statistical,
        "intervals": {name: interval(values, rises, best, level) for name, level in LEVELS.items()},
    }  # fmt: skip


def describe_pair(profile: Profile, pair: tuple[int, int], points: int, width: float) -> dict[str, Any]:
    """Return the surface of two parameters: "rise" has a row for each value of the second."""
    likelihood, fit = profile.likelihood, profile.fit
    first, second = pair
    x, y = (grid(profile, index, points, width) for index in pair)
    rises = [[profile.rise({first: float(a), second: float(b)}) for a in x] for b in y]
    return {
        "parameters": [likelihood.names[first], likelihood.names[second]],
        "best": [float(fit.values[first]), float(fit.values[second])],
        "x": x.tolist(), "y": y.tolist(), "rise": rises,
    }  # fmt: skip


def _rises(result: Mapping[str, Any]) -> list[float | None]:
    """Return all values of the scans."""
    curves = [rise for curve in result["parameters"].values() for rise in curve["rise"]]
    return curves + [rise for pair in result["pairs"] for row in pair["rise"] for rise in row]


def main(argv: Sequence[str] | None = None) -> None:
    """Scan the likelihood of one workspace."""
    parser = make_parser(__doc__)
    parser.add_argument("--workspace", required=True, type=Path, help="pyhf workspace JSON")
    parser.add_argument("--config", required=True, type=json_argument, help="the measurement, as in the configuration")
    parser.add_argument("--output", required=True, type=Path, help="scan.json to write")
    args = parser.parse_args(argv)
    log = start_log("pyhf", "iminuit", "numpy", "scipy")
    config = args.config
    problem = blinded_problem(read_problem(args.workspace, config.get("measurement"), config.get("poi")), config)
    scan = describe_scan(problem, config)
    write_json(args.output, scan)
    if not scan["valid"]:
        log.warning("the scan is NOT valid: %s", "; ".join(scan["reasons"]))
    for name, curve in scan["parameters"].items():
        log.info("%s = %.4g, 68 %%: %s, 95 %%: %s", name, curve["best"], *curve["intervals"].values())


if __name__ == "__main__":
    run_main(main)
