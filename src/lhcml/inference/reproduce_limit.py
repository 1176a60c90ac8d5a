"""Reproduce the published upper limit from the files beside this script. Needs pyhf and nothing else of its makers.

    pip install -r requirements.txt
    python reproduce_limit.py

It computes the observed and the median expected upper limit with pyhf, prints them beside the published ones, and exits
with status 1 if one differs by more than the tolerance. Without a published limit it repeats the fit and compares the
parameter of interest in units of its uncertainty.

  --bands          the limits expected at -2, -1, 1, 2 standard deviations too
  --patch NAME     a signal of the patchset, where the likelihood is published as background and patches
  --result FILE    also write what was found as JSON
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pyhf

HERE = Path(__file__).resolve().parent
# Relative difference allowed between limits: a minimiser that stops at its usual 1e-6 to 1e-3 in 2 ln L moves a limit
# by some 1e-4; half a percent is far below what a limit is quoted to.
TOLERANCE = 0.005
# Difference allowed in the fitted parameter of interest, in units of its uncertainty
FIT_TOLERANCE = 0.02
PACKAGES = ("pyhf", "numpy", "scipy", "iminuit")


def read(name: str) -> Any:
    """Return the content of a JSON file beside this script, None if there is none."""
    path = HERE / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def read_likelihood(patch: str | None) -> tuple[pyhf.Workspace, str]:
    """Return the workspace, with a signal patched in if one is named, and its SHA-256 digest."""
    if patch is None:
        spec = read("workspace.json")
    else:
        patchset = pyhf.PatchSet(read("patchset.json"))
        background = read("background.json")
        patchset.verify(background)
        spec = patchset.apply(background, patch)
    return pyhf.Workspace(spec), pyhf.utils.digest(spec)


class Model:
    """A model with its data.

    Parameters
    ----------
    workspace : pyhf.Workspace
    measurement, poi : str
        Which of its measurements, and the parameter of interest.
    statistic : str
        Test statistic, "qtilde" or "q".
    """

    def __init__(self, workspace: pyhf.Workspace, measurement: str, poi: str, statistic: str) -> None:
        self.model = workspace.model(measurement_name=measurement, poi_name=None)
        self.model.config.set_poi(poi)
        self.data = workspace.data(self.model)
        self.statistic = statistic
        self.known: dict[float, list[float]] = {}

    def cls(self, value: float) -> list[float]:
        """Return CLs of a value of the parameter of interest: observed, then expected for -2, -1, 0, 1, 2."""
        if value not in self.known:
            bounds = self.model.config.suggested_bounds()
            low, high = bounds[self.model.config.poi_index]
            # q~ compares with no signal where the fit is negative (arXiv:1007.1727, eq. 16), in pyhf by the bound; and
            # a limit may lie beyond the upper bound
            low = max(low, 0.0) if self.statistic == "qtilde" else low
            bounds[self.model.config.poi_index] = (low, max(high, 2 * value))
            observed, expected = pyhf.infer.hypotest(
                value, self.data, self.model, par_bounds=bounds, test_stat=self.statistic, return_expected_set=True
            )
            self.known[value] = [float(observed), *map(float, expected)]
        return self.known[value]

    def fit(self) -> float:
        """Return the fitted parameter of interest."""
        return float(pyhf.infer.mle.fit(self.data, self.model)[self.model.config.poi_index])


def solve(function: Callable[[float], float], guess: float) -> float:
    """Return the root of a smooth function by the secant method, to about 1e-4 of it.

    The first two points are the published value and one 2 % above; a third is needed if the root is away from both.
    """
    points = [(guess, function(guess)), (1.02 * guess, function(1.02 * guess))]
    for _ in range(20):
        (x0, f0), (x1, f1) = points[-2:]
        if not math.isfinite(f0 + f1) or f0 == f1:
            return math.nan
        root = x1 - f1 * (x1 - x0) / (f1 - f0)
        if min(abs(root - x0), abs(root - x1)) < 0.003 * abs(root):
            return root
        # CLs is defined above zero only
        root = max(root, 0.2 * min(x0, x1))
        points.append((root, function(root)))
    return math.nan


def reproduce_limits(model: Model, published: dict[str, Any], bands: bool) -> list[dict[str, Any]]:
    """Return name, published and reproduced value of each limit."""
    names = ["observed", "expected -2", "expected -1", "expected", "expected +1", "expected +2"]
    values = [published["observed"], *published["expected"]]
    chosen = range(6) if bands else (0, 3)
    rows = []
    for index in chosen:
        if not values[index]:
            continue

        def distance(value: float, index: int = index) -> float:
            return math.log(max(model.cls(value)[index], 1e-300) / published["level"])

        # ln CLs is close to linear in the strength, CLs is not
        found = solve(distance, values[index])
        difference = abs(found / values[index] - 1)
        rows.append(
            {
                "quantity": f"{names[index]} limit", "published": values[index],
                "reproduced": found if math.isfinite(found) else None,
                "difference": difference if math.isfinite(difference) else None,
                "cls": model.cls(values[index])[index], "agrees": difference < TOLERANCE,
            }
        )  # fmt: skip
    return rows


def reproduce_fit(model: Model, published: dict[str, Any]) -> list[dict[str, Any]]:
    """Return name, published and reproduced value of the parameter of interest; the difference in uncertainties."""
    poi = published["poi"]
    found = model.fit()
    difference = abs(found - poi["value"]) / (poi["uncertainty"] or abs(poi["value"]) or 1.0)
    row = {"quantity": f"fitted {poi['name']}", "published": poi["value"], "reproduced": found}
    return [row | {"difference": difference, "agrees": difference < FIT_TOLERANCE}]


def reproduce(patch: str | None, bands: bool) -> dict[str, Any]:
    """Return what was found, with both optimisers of pyhf if the first does not agree."""
    about = read("provenance.json")
    results = f"results/{patch}" if patch else "results"
    limit, fit = read(f"{results}/limit.json"), read(f"{results}/fit.json")
    workspace, digest = read_likelihood(patch)
    name, poi = about["model"]["measurement"], about["model"]["poi"]
    report: dict[str, Any] = {"digest": digest, "patch": patch, "results": [], "optimizer": None, "reason": None}
    for optimizer in ("scipy", "minuit"):
        pyhf.set_backend("numpy", optimizer)
        report["optimizer"] = optimizer
        try:
            if limit and limit["valid"]:
                model = Model(workspace, name, poi, limit["test_statistic"])
                report["results"] = reproduce_limits(model, limit, bands)
            elif fit and fit["valid"]:
                report["results"] = reproduce_fit(Model(workspace, name, poi, "qtilde"), fit)
        except pyhf.exceptions.FailedMinimization as error:
            report["reason"] = f"pyhf's minimiser failed: {error}"
            continue
        if report["results"] and all(row["agrees"] for row in report["results"]):
            return report | {"reproduced": True, "reason": None}
    reason = report["reason"] or (
        "values differ" if report["results"] else "no valid limit and no valid fit to compare"
    )
    return report | {"reproduced": False if report["results"] else None, "reason": reason}


def main() -> None:
    """Reproduce, print, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bands", action="store_true")
    parser.add_argument("--patch")
    parser.add_argument("--result", type=Path)
    args = parser.parse_args()
    begin = time.monotonic()
    patch = args.patch
    if patch is None and not (HERE / "workspace.json").exists():
        patch = read("patchset.json")["patches"][0]["metadata"]["name"]
    report = reproduce(patch, args.bands)
    report["seconds"] = round(time.monotonic() - begin, 1)
    report["tolerance"] = TOLERANCE
    report["versions"] = {"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES}
    print(f"sha256 {report['digest']}" + (f", signal {patch}" if patch else ""))
    for row in report["results"]:
        found = "none" if row["reproduced"] is None else f"{row['reproduced']:.6g}"
        print(f"{row['quantity']:20s} published {row['published']:.6g}  reproduced {found}  "
              f"{'agrees' if row['agrees'] else 'DIFFERS'}")  # fmt: skip
    if report["reason"]:
        print(report["reason"])
    if args.result:
        args.result.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    sys.exit(0 if report["reproduced"] else 1)


if __name__ == "__main__":
    main()
