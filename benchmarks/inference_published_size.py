"""A likelihood of the size of a published one, here against pyhf: CLs, limits, times.

The model is synthetic, with the make-up of the search for a lepton, a Higgs boson to b quarks and missing momentum that
ATLAS published (SUSY-2019-08, "1Lbb", arXiv:1909.09226): eight channels, three signal regions of three bins and five
control and validation regions of one, nine backgrounds and a signal, three of them with free normalisations, shape and
rate uncertainties on all samples, statistics of the simulation, luminosity. Run it in the environment of the tests:

    PYTHONPATH=src python benchmarks/inference_published_size.py [--systematics 60] [--optimizer scipy]

pyhf without automatic differentiation needs minutes. One core.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import numpy as np
import pyhf

from lhcml.inference.limit import Scan, upper_limits
from lhcml.inference.minimise import minimise
from lhcml.inference.read_workspace import make_problem, quiet_pyhf

CHANNELS = {"SR_low": 3, "SR_medium": 3, "SR_high": 3, "CR_top_low": 1, "CR_top_medium": 1, "CR_top_high": 1,
            "CR_single_top": 1, "CR_w": 1}  # fmt: skip
BACKGROUNDS = ("ttbar", "single_top", "w_jets", "z_jets", "diboson", "multiboson", "ttV", "ttH", "VH")
FREE = {"ttbar": "mu_ttbar", "single_top": "mu_single_top", "w_jets": "mu_w"}


def make_workspace(systematics: int, seed: int = 1) -> dict[str, Any]:
    """Return the workspace; half of the systematic uncertainties change shapes, half rates."""
    generator = np.random.default_rng(seed)
    channels, observations = [], []
    for channel, bins in CHANNELS.items():
        signal_region = channel.startswith("SR")
        samples, total = [], np.zeros(bins)
        for sample in (*BACKGROUNDS, "signal"):
            scale = 6.0 if sample == "signal" else 40.0 if FREE.get(sample) else 4.0
            if signal_region and sample != "signal":
                scale /= 6
            if not signal_region and sample == "signal":
                scale /= 30
            events = scale * generator.uniform(0.5, 1.5, bins)
            modifiers: list[dict[str, Any]] = [
                {"name": "lumi", "type": "lumi", "data": None},
                {"name": f"stat_{channel}", "type": "staterror", "data": list(0.08 * events)},
            ]
            if sample in FREE or sample == "signal":
                modifiers.append({"name": FREE.get(sample, "mu_signal"), "type": "normfactor", "data": None})
            for number in range(systematics):
                size = generator.normal(0, 0.03)
                if number % 2:
                    data = {"hi": 1 + size, "lo": 1 - 0.9 * size}
                    modifiers.append({"name": f"rate{number}", "type": "normsys", "data": data})
                else:
                    change = events * size * generator.uniform(0.5, 1.5, bins)
                    data = {"hi_data": list(events + change), "lo_data": list(events - 0.9 * change)}
                    modifiers.append({"name": f"shape{number}", "type": "histosys", "data": data})
            samples.append({"name": sample, "data": list(events), "modifiers": modifiers})
            total += events if sample != "signal" else 0
        channels.append({"name": channel, "samples": samples})
        observations.append({"name": channel, "data": [float(count) for count in generator.poisson(total)]})
    lumi = {"name": "lumi", "auxdata": [1.0], "bounds": [[0.915, 1.085]], "inits": [1.0], "sigmas": [0.017]}
    config = {"poi": "mu_signal", "parameters": [lumi]}
    return {
        "version": "1.0.0", "channels": channels, "observations": observations,
        "measurements": [{"name": "NormalMeasurement", "config": config}],
    }  # fmt: skip


def main() -> None:
    """Print times and results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systematics", type=int, default=60)
    parser.add_argument("--optimizer", choices=("scipy", "minuit"), default="scipy")
    args = parser.parse_args()
    # pyhf takes logarithms of factors at their lower bound
    warnings.filterwarnings("ignore", message=".* encountered in ", category=RuntimeWarning)
    spec = make_workspace(args.systematics)
    begin = time.perf_counter()
    problem = make_problem(spec, "model")
    print(f"{len(problem.likelihood.names)} parameters, {problem.likelihood.bins} bins; "
          f"read and compiled in {time.perf_counter() - begin:.2f} s")  # fmt: skip
    begin = time.perf_counter()
    fit = minimise(problem.likelihood, problem.data)
    print(f"fit with covariance here: {time.perf_counter() - begin:.2f} s, valid {fit.valid}")
    begin = time.perf_counter()
    scan = Scan(problem.likelihood, problem.data)
    test = scan.test(1.0)
    ours = np.array([test["cls_observed"], *test["cls_expected"]])
    print(f"CLs at 1 here: {time.perf_counter() - begin:.2f} s: {np.round(ours, 6)}")
    begin = time.perf_counter()
    observed, expected = upper_limits(scan)
    print(f"limits here: {time.perf_counter() - begin:.2f} s: {observed} observed, {expected[2]} expected")
    pyhf.set_backend("numpy", args.optimizer)
    with quiet_pyhf():
        workspace = pyhf.Workspace(spec)
        model = workspace.model()
        begin = time.perf_counter()
        found, band = pyhf.infer.hypotest(
            1.0, workspace.data(model), model, test_stat="qtilde", return_expected_set=True
        )
    theirs = np.array([float(found), *map(float, band)])
    print(f"CLs at 1 by pyhf, {args.optimizer}: {time.perf_counter() - begin:.2f} s: {np.round(theirs, 6)}")
    print(f"largest difference {np.abs(ours - theirs).max():.1e}")


if __name__ == "__main__":
    main()
