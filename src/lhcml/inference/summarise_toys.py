"""Summarise the pseudo-experiments of all batches of an ensemble, and draw them.

A fit that failed is counted with its reason. Where more than 5 % failed the result is not valid: those that are left
may be a biased choice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.files import read_json, write_json
from lhcml.common.style import save_figure
from lhcml.inference.distributions import binomial_uncertainty, chi_squared_survival
from lhcml.inference.plot_toys import PLOTTERS
from lhcml.inference.summarise_limit_toys import SAME_OUTCOME, summarise_limit_toys

# Share of failed fits above which a result is not valid, and of fits at a bound above which a mean tells of the bound
MOST_FAILED, MOST_AT_BOUND = 0.05, 0.05
# What needs at least two valid fits
PULLS = ("pull_mean", "pull_mean_uncertainty", "pull_width", "pull_width_uncertainty")
SPREADS = (
    "mean", "mean_uncertainty", "bias", "bias_in_sigma", "without_uncertainty", *PULLS, "coverage",
    "coverage_uncertainty", "coverage_ratio", "coverage_ratio_uncertainty",
)  # fmt: skip


def check_failures(count: int, failed: int) -> dict[str, Any]:
    """Return "count", "failed", "valid" and the "reason" if it is not."""
    share = failed / count if count else 1.0
    few = count - failed < 2
    reason = f"{failed} of {count} pseudo-experiments failed, more than {100 * MOST_FAILED:g} %"
    bad = share > MOST_FAILED or few
    return {"count": count, "failed": failed, "valid": not bad, "reason": reason if bad else None}


def add_counts(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sums of "failures" and "retried" of batches."""
    failures: Counter[str] = Counter()
    for part in parts:
        failures.update(part["failures"])
    return {"failures": dict(failures), "retried": sum(part["retried"] for part in parts)}


def join(parts: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    """Return a column of all batches."""
    return [value for part in parts for value in part[key]]


def summarise_point(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return bias, pull and coverage of pseudo-experiments at one injected value.

    The pull is (fitted - injected) / uncertainty, of the fits that have one; an interval that cannot be given does not
    cover. "coverage" is the share whose fitted value lies within one
    uncertainty of the injected one; "coverage_ratio" the share whose t (two-sided likelihood ratio) is below one.

    Parameters
    ----------
    parts : sequence of mapping
        What `throw_at` returned for each batch.
    """
    injected = parts[0]["injected"]
    columns = {key: join(parts, key) for key in ("value", "uncertainty", "ratio", "at_bound")}
    good = np.array([value is not None for value in columns["value"]], bool)
    count = int(good.sum())
    summary: dict[str, Any] = {
        "injected": injected,
        **check_failures(len(good), len(good) - count),
        **add_counts(parts),
    }
    summary["at_bound"] = int(np.count_nonzero(np.array(columns["at_bound"], bool) & good))
    if count < 2:
        return summary | dict.fromkeys(SPREADS) | {"toys": columns}
    values, ratios = (np.array([value for value in columns[key] if value is not None]) for key in ("value", "ratio"))
    spread = float(values.std(ddof=1))
    pairs = zip(columns["value"], columns["uncertainty"], strict=True)
    pulls = np.array([(value - injected) / error for value, error in pairs if error is not None])
    inside, inside_ratio = int((np.abs(pulls) < 1).sum()), int((ratios < 1).sum())
    bias = float(values.mean()) - injected
    return summary | {
        "mean": float(values.mean()),
        "mean_uncertainty": spread / count**0.5,
        "bias": bias,
        # in units of the uncertainty of one experiment
        "bias_in_sigma": bias / spread if spread > 0 else None,
        "without_uncertainty": count - len(pulls),
        **summarise_pulls(pulls),
        "coverage": inside / count,
        "coverage_uncertainty": binomial_uncertainty(inside, count),
        "coverage_ratio": inside_ratio / count,
        "coverage_ratio_uncertainty": binomial_uncertainty(inside_ratio, count),
        "toys": columns,
    }


def summarise_pulls(pulls: NDArray[np.float64]) -> dict[str, float | None]:
    """Return mean and width of pulls with their uncertainties, None without two."""
    count = len(pulls)
    if count < 2:
        return dict.fromkeys(PULLS)
    width = float(pulls.std(ddof=1))
    # the uncertainty of the width is that of a normal distribution
    figures = (float(pulls.mean()), width / count**0.5, width, width / (2 * (count - 1)) ** 0.5)
    return dict(zip(PULLS, figures, strict=True))


def summarise_coverage(batches: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the content of toys.json."""
    return summarise_point([batch["points"][0] for batch in batches])


def summarise_linearity(batches: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the content of linearity.json: the points, and the line through their means."""
    points = [summarise_point(parts) for parts in zip(*(batch["points"] for batch in batches), strict=True)]
    for point in points:
        del point["toys"]
    failed = [point["reason"] for point in points if not point["valid"]]
    return {
        "count": sum(point["count"] for point in points), "failed": sum(point["failed"] for point in points),
        "valid": not failed, "reason": failed[0] if failed else None, "points": points, "line": fit_line(points),
    }  # fmt: skip


def fit_line(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Fit a straight line to mean fitted against injected values, weighted by their uncertainties.

    Points with more than 5 % of the fits at a bound of the parameter of interest are left out, as it shifts the
    mean.

    Returns
    -------
    dict
        "slope" and "intercept" with "_uncertainty" (1 and 0 are right), "correlation", "chi2", "degrees_of_freedom",
        "p_value"; "used" values; None without two points, "p_value" None without three. "chi2_identity" and
        "p_value_identity": against fitted = injected, without a free parameter.
    """
    used = [
        point for point in points
        if point["valid"] and point["mean_uncertainty"] and point["at_bound"] <= MOST_AT_BOUND * point["count"]
    ]  # fmt: skip
    keys = ("slope", "slope_uncertainty", "intercept", "intercept_uncertainty", "correlation", "chi2",
            "degrees_of_freedom", "p_value", "chi2_identity", "p_value_identity")  # fmt: skip
    line: dict[str, Any] = {"used": [point["injected"] for point in used]} | dict.fromkeys(keys)
    if len(used) < 2:
        return line
    x, y, error = (np.array([point[key] for point in used]) for key in ("injected", "mean", "mean_uncertainty"))
    design = np.stack([x, np.ones_like(x)], axis=1) / error[:, None]
    covariance = np.linalg.inv(design.T @ design)
    slope, intercept = covariance @ design.T @ (y / error)
    chi2 = float((((y - slope * x - intercept) / error) ** 2).sum())
    identity = float((((y - x) / error) ** 2).sum())
    degrees = len(used) - 2
    return line | {
        "slope": float(slope),
        "slope_uncertainty": float(covariance[0, 0] ** 0.5),
        "intercept": float(intercept),
        "intercept_uncertainty": float(covariance[1, 1] ** 0.5),
        "correlation": float(covariance[0, 1] / (covariance[0, 0] * covariance[1, 1]) ** 0.5),
        "chi2": chi2,
        "degrees_of_freedom": degrees,
        "p_value": chi_squared_survival(chi2, degrees) if degrees else None,
        "chi2_identity": identity,
        "p_value_identity": chi_squared_survival(identity, len(used)),
    }


def tail(observed: float, toys: Sequence[float | None]) -> dict[str, Any]:
    """Return the share of valid pseudo-experiments at least as large, with its uncertainty; None without any."""
    good = [value for value in toys if value is not None]
    if not good:
        return {"p_value_toys": None, "p_value_toys_uncertainty": None}
    above = sum(value >= observed - SAME_OUTCOME for value in good)
    return {
        "p_value_toys": above / len(good), "p_value_toys_uncertainty": binomial_uncertainty(above, len(good)),
    }  # fmt: skip


def summarise_goodness(batches: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the content of goodness_of_fit.json.

    "statistic", "degrees_of_freedom" and "p_value" (asymptotic) as in fit.json; "p_value_toys" from the
    pseudo-experiments; the same per channel, where only they give a probability; "constraints" is what the constraint
    terms add. "residuals" are signed roots of what each bin adds.
    """
    observed = batches[0]["observed"]
    toys = join(batches, "toys")
    failed = sum(value is None for value in toys)
    # without pseudo-experiments the asymptotic probability is the result
    checked = check_failures(len(toys), failed) if toys else {"count": 0, "failed": 0, "valid": True, "reason": None}
    channels = {}
    for name, block in batches[0]["channels"].items():
        each = [value for batch in batches for value in batch["channels"][name]["toys"]]
        channels[name] = {
            "statistic": block["observed"], "bins": len(block["residuals"]), "residuals": block["residuals"],
            **tail(block["observed"], each),
        }  # fmt: skip
    return {
        **checked, **add_counts(batches), **observed, **tail(observed["statistic"], toys), "channels": channels,
        "toys": toys,
    }  # fmt: skip


def summarise_limit(batches: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the content of toy_limit.json."""
    columns = [*(f"signal {k}" for k in range(len(batches[0]["values"]))), "background"]
    rows = {"background": [row for batch in batches for row in zip(*batch["background"], batch["q_zero"], strict=True)]}
    for k, name in enumerate(columns[:-1]):
        rows[name] = [(value,) for batch in batches for value in batch["signal"][k]]
    count = sum(len(rows[name]) for name in columns)
    failed = sum(None in row for name in columns for row in rows[name])
    # where all of an ensemble failed there is nothing to compare
    empty = any(not [row for row in rows[name] if None not in row] for name in columns)
    checked = check_failures(count, failed) | add_counts(batches)
    if empty:
        return checked | {"valid": False, "reason": checked["reason"] or "no valid pseudo-experiment of an ensemble"}
    return checked | summarise_limit_toys(batches)


SUMMARIES: dict[str, Callable[[Sequence[Mapping[str, Any]]], dict[str, Any]]] = {
    "toys": summarise_coverage,
    "linearity": summarise_linearity,
    "goodness_of_fit": summarise_goodness,
    "toy_limit": summarise_limit,
}


def summarise_toys(batches: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of an ensemble.

    Parameters
    ----------
    batches : sequence of mapping
        Batch files in their order.
    config : mapping
        Settings to keep with the result ("nuisances", "auxiliary", where they apply).
    """
    first = batches[0]
    result = {
        "digest": first["digest"],
        "poi": first["poi"],
        "ensemble": first["ensemble"],
        "seed": first["seed"],
        **config,
    }
    reasons = [batch["reason"] for batch in batches if batch["reason"]]
    if reasons:
        return result | {"valid": False, "reason": reasons[0], "count": sum(batch["count"] for batch in batches)}
    return result | SUMMARIES[first["ensemble"]](batches)


def main(argv: Sequence[str] | None = None) -> None:
    """Summarise and draw one ensemble of one workspace."""
    parser = make_parser(__doc__)
    parser.add_argument("--batches", required=True, nargs="+", type=Path, help="files of throw_toys, in their order")
    parser.add_argument("--settings", default={}, type=json_argument, help="settings to keep with the result")
    parser.add_argument("--labels", required=True, type=json_argument, help="what the data are, luminosity")
    parser.add_argument("--output", required=True, type=Path, help="JSON to write")
    parser.add_argument("--plot", required=True, type=Path, help="PNG to write, with a PDF beside it")
    args = parser.parse_args(argv)
    log = start_log("matplotlib", "mplhep", "numpy")
    result = summarise_toys([read_json(path) for path in args.batches], args.settings)
    write_json(args.output, result)
    if not result["valid"]:
        log.warning("NOT valid: %s", result["reason"])
    save_figure(PLOTTERS[result["ensemble"]](result, args.labels), args.plot)


if __name__ == "__main__":
    run_main(main)
