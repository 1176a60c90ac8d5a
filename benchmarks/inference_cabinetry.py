"""Fit, ranking, scan and limit here against cabinetry, on the same workspace and data, in one environment.

    uv venv cabinetry --python 3.11
    uv pip install --python cabinetry cabinetry==0.6.0 pyhf==0.7.6 iminuit==2.33.0 "numpy<2.4"
    OMP_NUM_THREADS=1 PYTHONPATH=src cabinetry/bin/python benchmarks/inference_cabinetry.py --bins 10

Prints the times of each step and their ratio, how far the numbers differ, and the wall time of the four commands of
the workflow, one and two at a time, start of Python included. Cabinetry uses pyhf's NumPy backend and Minuit with its
default settings. Each makes a fit with covariance, impacts from four refits per parameter that has a constraint (two
for others), a profile of the parameter of interest, and observed and five expected limits.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cabinetry
import numpy as np
import pyhf
from inference_fits import make_model

from lhcml.inference.fit_workspace import describe_fit
from lhcml.inference.limit import Scan, upper_limits
from lhcml.inference.minimise import minimise
from lhcml.inference.rank_parameters import describe_ranking
from lhcml.inference.read_workspace import make_problem
from lhcml.inference.scan_likelihood import describe_scan

POINTS, WIDTH = 21, 2.0
COMMANDS = {"fit": "fit_workspace", "ranking": "rank_parameters", "scan": "scan_likelihood", "limit": "scan_limit"}


def make_workspace(bins: int, shapes: int, rates: int) -> dict[str, Any]:
    """Return a workspace of the model of `inference_fits.py` with Poisson counts at a signal strength of one."""
    model = make_model(bins, shapes, rates)
    expected = model.expected_data(model.config.suggested_init(), include_auxdata=False)
    counts = np.random.default_rng(1).poisson(expected).astype(float)
    return {
        "version": "1.0.0",
        "channels": model.spec["channels"],
        "observations": [
            {"name": name, "data": counts[model.config.channel_slices[name]].tolist()} for name in model.config.channels
        ],
        "measurements": [{"name": "benchmark", "config": {"poi": "mu", "parameters": []}}],
    }


class Clock:
    """Times of named steps."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}

    def run(self, step: str, function: Callable[[], Any]) -> Any:
        """Return the result of a function and keep its time."""
        begin = time.perf_counter()
        result = function()
        self.times[step] = time.perf_counter() - begin
        return result


def run_here(spec: dict[str, Any], config: dict[str, Any]) -> tuple[dict[str, float], dict[str, Any]]:
    """Return times and results of this package."""
    clock = Clock()
    problem = clock.run("model", lambda: make_problem(spec, "benchmark"))
    fit = clock.run("fit", lambda: describe_fit(problem, minimise(problem.likelihood, problem.data), config))
    ranking = clock.run("ranking", lambda: describe_ranking(problem, spec, config))
    scan = clock.run("scan", lambda: describe_scan(problem, config))
    limits = clock.run("limit", lambda: upper_limits(Scan(problem.likelihood, problem.data)))
    if not (fit["valid"] and ranking["valid"] and scan["valid"]) or ranking["failed"]:
        raise SystemExit("a fit here is not valid")
    return clock.times, {"fit": fit, "ranking": ranking, "scan": scan, "limits": [limits[0], *limits[1]]}


def run_cabinetry(spec: dict[str, Any], ends: tuple[float, float]) -> tuple[dict[str, float], dict[str, Any]]:
    """Return times and results of cabinetry; the scan goes from end to end, which may not lie beyond a bound."""
    clock = Clock()
    model, data = clock.run("model", lambda: cabinetry.model_utils.model_and_data(spec))
    fit = clock.run("fit", lambda: cabinetry.fit.fit(model, data))
    ranking = clock.run("ranking", lambda: cabinetry.fit.ranking(model, data, fit_results=fit))
    scan = clock.run("scan", lambda: cabinetry.fit.scan(model, data, "mu", par_range=ends, n_steps=POINTS))
    limit = clock.run("limit", lambda: cabinetry.fit.limit(model, data))
    limits = [limit.observed_limit, *limit.expected_limit]
    return clock.times, {"fit": fit, "ranking": ranking, "scan": scan, "limits": limits}


def compare(here: dict[str, Any], there: dict[str, Any]) -> None:
    """Print how far the numbers of both differ."""
    fit, names = there["fit"], list(there["fit"].labels)
    parameters = here["fit"]["parameters"]
    error = np.array([parameters[name]["uncertainty"] for name in names])
    value = np.array([parameters[name]["value"] for name in names])
    print(f"parameters: at most {np.max(np.abs(value - fit.bestfit) / error):.1e} standard deviations")
    print(f"uncertainties: at most {np.max(np.abs(error / fit.uncertainty - 1)):.1e} relative")
    rows = {row["name"]: row for row in here["ranking"]["parameters"]}
    sigma = here["fit"]["poi"]["uncertainty"]
    for stage in ("prefit", "postfit"):
        mine = np.array(
            [[rows[name][stage][side] or 0.0 for side in ("up", "down")] for name in there["ranking"].labels]
        )
        theirs = np.stack(
            [getattr(there["ranking"], f"{stage}_up"), getattr(there["ranking"], f"{stage}_down")], axis=1
        )
        print(f"{stage} impacts: at most {np.max(np.abs(mine - theirs)) / sigma:.1e} of the uncertainty of mu")
    curve = here["scan"]["parameters"]["mu"]
    rise = np.interp(there["scan"].parameter_values, curve["values"], curve["rise"])
    inner = np.isclose(there["scan"].parameter_values[:, None], np.array(curve["values"]), rtol=0, atol=1e-4 * sigma)
    shared = inner.any(axis=1)
    change = np.abs(rise - there["scan"].delta_nlls)[shared]
    print(f"scan: at most {np.max(change):.1e} in -2 ln L, {shared.sum()} common points")
    change = np.abs(np.array(here["limits"]) / np.array(there["limits"]) - 1)
    print(f"limits: observed {here['limits'][0]:.4f}, at most {np.max(change):.1e} relative")


def run_commands(spec: dict[str, Any], config: dict[str, Any], jobs: int) -> float:
    """Return the wall time of the four commands of the workflow, some at a time."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder) / "workspace.json"
        workspace.write_text(json.dumps(spec))

        def command(step: str) -> None:
            subprocess.run(
                [sys.executable, "-m", f"lhcml.inference.{COMMANDS[step]}", "--workspace", str(workspace),
                 "--config", json.dumps(config), "--output", str(Path(folder) / f"{step}.json")],
                check=True, capture_output=True,
            )  # fmt: skip

        begin = time.perf_counter()
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(command, COMMANDS))
        return time.perf_counter() - begin


def main() -> None:
    """Run both and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bins", type=int, default=10, help="bins of each of the two channels")
    parser.add_argument("--shapes", type=int, default=8, help="shape uncertainties")
    parser.add_argument("--rates", type=int, default=8, help="rate uncertainties")
    args = parser.parse_args()
    # pyhf calls a deprecated part of jsonschema, and warns of logarithms on the way of fits; the results are compared
    warnings.filterwarnings("ignore", message="jsonschema.RefResolver is deprecated")
    warnings.filterwarnings("ignore", message=".* encountered in ", category=RuntimeWarning)
    logging.getLogger("pyhf").setLevel(logging.WARNING)
    spec = make_workspace(args.bins, args.shapes, args.rates)
    config = {"scan": {"points": POINTS, "width": WIDTH}, "limit": {"level": 0.05, "points": 2, "test": 1.0}}
    here, mine = run_here(spec, config)
    alone, pair = (run_commands(spec, config, jobs) for jobs in (1, 2))
    print(f"cabinetry {cabinetry.__version__}, pyhf {pyhf.__version__}, {len(mine['fit']['parameters'])} parameters")
    print(f"the four commands: {alone:.2f} s one at a time, {pair:.2f} s two at a time")
    print(json.dumps({step: round(seconds, 4) for step, seconds in here.items()}), flush=True)
    values = mine["scan"]["parameters"]["mu"]["values"]
    there, theirs = run_cabinetry(spec, (values[0], values[-1]))
    print(f"{'step':<8} {'here [s]':>10} {'share':>7} {'cabinetry [s]':>14} {'share':>7} {'ratio':>7}")
    totals = sum(here.values()), sum(there.values())
    for step, seconds in here.items():
        print(f"{step:<8} {seconds:>10.4f} {100 * seconds / totals[0]:>5.0f} % {there[step]:>14.3f} "
              f"{100 * there[step] / totals[1]:>5.0f} % {there[step] / seconds:>7.1f}")  # fmt: skip
    print(f"{'sum':<8} {totals[0]:>10.4f} {'':>7} {totals[1]:>14.3f} {'':>7} {totals[1] / totals[0]:>7.1f}")
    compare(mine, theirs)


if __name__ == "__main__":
    main()
