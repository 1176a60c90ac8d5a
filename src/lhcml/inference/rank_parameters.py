"""Rank parameters by their impact on the parameter of interest, and break its uncertainty down by groups.

Impact of a parameter: how far the fitted parameter of interest moves if the parameter is held one standard deviation
above and below its fitted value, all others refitted; the standard deviation is that of the fit (post-fit impact) or
of the constraint (pre-fit impact). The slope of the covariance gives the same in parabolic approximation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.cli import Progress, json_argument, make_parser, run_main, start_log
from lhcml.common.files import read_json, write_json
from lhcml.inference.blind import blinded_problem, blinded_regions
from lhcml.inference.break_down import auxiliary_shifts, break_down
from lhcml.inference.minimise import Fit, minimise
from lhcml.inference.profile_likelihood import Profile
from lhcml.inference.read_workspace import Problem, read_problem
from lhcml.inference.select_parameters import group_parameters


def rank_parameters(problem: Problem, fit: Fit, groups: Mapping[str, Sequence[int]]) -> list[dict[str, Any]]:
    """Return a record for each free parameter but the parameter of interest, largest post-fit impact first.

    Parameters
    ----------
    problem : Problem
    fit : Fit
        Valid, with covariance.
    groups : mapping of str to indices
        Parameters of each group.

    Returns
    -------
    list of dict
        "name", "group", "value", "uncertainty"; "pull" and "constraint" in units of the constraint, None without one;
        "postfit" and "prefit": shift of the parameter of interest with the parameter "down" and "up", None if a refit
        is not valid or, before the fit, there is no constraint; "covariance": post-fit impact by the covariance;
        "auxiliary": shift with one standard deviation of the auxiliary measurement.
    """
    likelihood = problem.likelihood
    profile = Profile(likelihood, problem.data, fit)
    assert fit.errors is not None
    assert fit.covariance is not None
    width, shifts = likelihood.prefit_width(), auxiliary_shifts(likelihood, fit)
    members = [(group, index) for group, indices in groups.items() for index in indices]
    progress = Progress(len(members), "parameters")
    rows = []
    for group, index in members:
        error, constraint = float(fit.errors[index]), float(width[index])
        pull = (float(fit.values[index]) - float(likelihood.start[index])) / constraint if constraint else None
        rows.append(
            {
                "name": likelihood.names[index], "group": group, "value": float(fit.values[index]),
                "uncertainty": error, "pull": pull, "constraint": error / constraint if constraint else None,
                "postfit": _impacts(profile, index, error),
                "prefit": _impacts(profile, index, constraint),
                "covariance": float(fit.covariance[likelihood.poi, index] / error) if error else 0.0,
                "auxiliary": float(shifts[index]) if constraint else None,
            }
        )  # fmt: skip
        progress.add(1)
    return sorted(rows, key=lambda row: (-_size(row), row["name"]))


def _impacts(profile: Profile, index: int, shift: float) -> dict[str, float | None]:
    """Return the shift of the parameter of interest with a parameter held below and above its fitted value.

    A value beyond the bounds of the parameter, where the model may have no meaning, is put on the bound.
    """
    likelihood, best = profile.likelihood, profile.fit.values
    impacts: dict[str, float | None] = {"down": None, "up": None}
    if shift > 0:
        for side, sign in (("down", -1), ("up", 1)):
            value = np.clip(best[index] + sign * shift, likelihood.lower[index], likelihood.upper[index])
            fit = profile.at({index: float(value)})
            if fit.valid:
                impacts[side] = float(fit.values[likelihood.poi] - best[likelihood.poi])
    return impacts


def _size(row: Mapping[str, Any]) -> float:
    """Return the larger post-fit impact; that of the covariance where there is none."""
    known = [abs(impact) for impact in row["postfit"].values() if impact is not None]
    return float(max(known, default=abs(row["covariance"])))


def describe_ranking(problem: Problem, spec: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Fit, rank and break down; return the content of ranking.json.

    Parameters
    ----------
    problem : Problem
        With the data to use, blinded where wanted.
    spec : mapping
        Content of the workspace.
    config : mapping
        Block of the measurement, with `ranking`.
    """
    groups = group_parameters(problem, spec, config.get("ranking", {}).get("groups", {}))
    likelihood = problem.likelihood
    fit = minimise(likelihood, problem.data)
    result: dict[str, Any] = {
        "digest": problem.digest, "measurement": problem.measurement, "blinded": blinded_regions(config),
        "valid": fit.valid, "reasons": [] if fit.valid else fit.attempts[-1]["reasons"],
        "poi": {"name": problem.poi, "value": float(fit.values[likelihood.poi]), "uncertainty": None},
        "parameters": [], "breakdown": None, "failed": [],
    }  # fmt: skip
    if fit.valid and fit.errors is not None:
        result["poi"]["uncertainty"] = float(fit.errors[likelihood.poi])
        result["parameters"] = rank_parameters(problem, fit, groups)
        result["breakdown"] = break_down(likelihood, fit, groups)
        result["failed"] = [
            f"{row['name']}, {stage}-fit, {side}"
            for row in result["parameters"]
            for stage, width in (("post", row["uncertainty"]), ("pre", row["constraint"]))
            for side in ("down", "up")
            if width and row[f"{stage}fit"][side] is None
        ]
    return result


def main(argv: Sequence[str] | None = None) -> None:
    """Rank the parameters of one workspace."""
    parser = make_parser(__doc__)
    parser.add_argument("--workspace", required=True, type=Path, help="pyhf workspace JSON")
    parser.add_argument("--config", required=True, type=json_argument, help="the measurement, as in the configuration")
    parser.add_argument("--output", required=True, type=Path, help="ranking.json to write")
    args = parser.parse_args(argv)
    log = start_log("pyhf", "iminuit", "numpy", "scipy")
    config = args.config
    problem = blinded_problem(read_problem(args.workspace, config.get("measurement"), config.get("poi")), config)
    ranking = describe_ranking(problem, read_json(args.workspace), config)
    write_json(args.output, ranking)
    if not ranking["valid"]:
        log.warning("no ranking: the fit is NOT valid (%s)", "; ".join(ranking["reasons"]))
    for row in ranking["parameters"][:10]:
        log.info("%-30s impact down %s, up %s", row["name"], row["postfit"]["down"], row["postfit"]["up"])
    if ranking["failed"]:
        log.warning("refits that are not valid, without impact: %s", "; ".join(ranking["failed"]))


if __name__ == "__main__":
    run_main(main)
