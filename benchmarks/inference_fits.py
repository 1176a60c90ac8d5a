"""Time of fits and limits here against pyhf with its Minuit optimiser (NumPy backend), on the same models and data.

Run it in the environment of the tests (two minutes):

    PYTHONPATH=src python benchmarks/inference_fits.py

Prints a table of times and ratios for models of growing size, and by how much the results differ. One core.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pyhf

from lhcml.inference.compile_likelihood import compile_likelihood
from lhcml.inference.limit import Scan, upper_limits
from lhcml.inference.minimise import minimise


def make_model(bins: int, shapes: int, rates: int) -> pyhf.Model:
    """Return a model of two channels with a signal peak, a falling background, shape and rate uncertainties."""
    x = np.arange(bins) / bins
    signal, background = 20 * np.exp(-((x - 0.4) ** 2) / 0.01) + 1, 100 * np.exp(-2 * x) + 5
    channels = []
    for name in ("a", "b"):
        modifiers = [{"name": f"stat_{name}", "type": "staterror", "data": list(0.05 * background)}]
        for number in range(shapes):
            wave = 0.02 * np.sin((number + 1) * 3 * x + number)
            data = {"hi_data": list(background * (1 + wave)), "lo_data": list(background * (1 - wave))}
            modifiers.append({"name": f"shape{number}", "type": "histosys", "data": data})
        for number in range(rates):
            data = {"hi": 1 + 0.01 * (number + 1), "lo": 1 - 0.01 * (number + 1)}
            modifiers.append({"name": f"rate{number}", "type": "normsys", "data": data})
        strength = [{"name": "mu", "type": "normfactor", "data": None}]
        channels.append(
            {
                "name": name,
                "samples": [
                    {"name": "signal", "data": list(signal), "modifiers": strength},
                    {"name": "background", "data": list(background), "modifiers": modifiers},
                ],
            }
        )
    return pyhf.Model({"channels": channels}, poi_name="mu")


def timed(function: Callable[[], Any], repeat: int) -> tuple[float, Any]:
    """Return the shortest time of some calls, and the last result."""
    times, result = [], None
    for _ in range(repeat):
        begin = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - begin)
    return min(times), result


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    pyhf.set_backend("numpy", "minuit")
    print(f"{'model':<28} {'here [s]':>10} {'pyhf [s]':>10} {'ratio':>7}  difference")
    compare(4, 3, 3, limits=True)
    compare(10, 8, 8, limits=False)
    compare(20, 15, 15, limits=False)


def compare(bins: int, shapes: int, rates: int, limits: bool) -> None:
    """Print the rows of one model; limits take pyhf a minute for the smallest."""
    model = make_model(bins, shapes, rates)
    likelihood = compile_likelihood(model)
    data = likelihood.sample(likelihood.start, np.random.default_rng(1))
    count = f"{len(likelihood.names)} parameters"
    here, fit = timed(lambda: minimise(likelihood, data), 3)
    there, theirs = timed(lambda: pyhf.infer.mle.fit(data, model, return_uncertainties=True), 3)
    change = abs(fit.values[likelihood.poi] - theirs[likelihood.poi, 0]) / theirs[likelihood.poi, 1]
    print(f"{'fit, ' + count:<28} {here:>10.4f} {there:>10.3f} {there / here:>7.1f}  {change:.1e} sigma in mu")
    if limits:
        here, found = timed(lambda: upper_limits(Scan(likelihood, data)), 2)
        there, theirs = timed(lambda: pyhf.infer.intervals.upper_limits.upper_limit(data, model, rtol=1e-4), 1)
        change = abs(found[0] / float(theirs[0]) - 1)
        print(f"{'limits, ' + count:<28} {here:>10.4f} {there:>10.3f} {there / here:>7.1f}  {change:.1e} relative")


if __name__ == "__main__":
    main()
