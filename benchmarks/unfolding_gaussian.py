"""Closure of OmniFold and of the binned references on Gaussians: closeness to the truth, time, and cost against events.

    PYTHONPATH=src:benchmarks python benchmarks/unfolding_gaussian.py
    PYTHONPATH=src:benchmarks python benchmarks/unfolding_gaussian.py --scaling

Events are those of `unfolding_gaussian_toy.py`, four iterations for every iterative method. `unfolding_package.py` runs
PyPI's `omnifold` on the same events. Times are wall times of the unfolding alone, without imports.
"""

from __future__ import annotations

import argparse
import logging
import time

import numpy as np
import torch
from numpy.typing import NDArray
from unfolding_gaussian_toy import EDGES, gaussian_toy

from lhcml.unfolding.binned import fill_response, find_bins, response_cells, unfold_bayes
from lhcml.unfolding.metrics import triangular_discriminator
from lhcml.unfolding.networks import Dense, Training
from lhcml.unfolding.omnifold import Events, Ratios, unfold
from lhcml.unfolding.ratios import NetworkRatios, TreeRatios, as_inputs, vectors
from lhcml.unfolding.trees import Boosting

ITERATIONS = 4
HIDDEN = (16, 16)


def with_classifiers(toy: dict[str, NDArray[np.generic]], seed: int, kind: str, threads: int) -> NDArray[np.float64]:
    """Return the unfolded spectrum by OmniFold with networks or trees."""
    reco, measured = toy["pass_reco"].astype(bool), toy["pass_data"].astype(bool)
    number = len(reco)
    detector = vectors([np.concatenate([toy["reco"][reco], toy["data"][measured]]).astype(float)])
    particle = vectors([toy["gen"].astype(float)])
    if kind == "trees":
        ratios: Ratios = TreeRatios(detector, particle, reco, Boosting(min_child_weight=20.0), 1, [seed], threads)
    else:
        ratios = NetworkRatios(
            Dense(HIDDEN),
            as_inputs(detector),
            as_inputs(particle),
            reco,
            Training(weight_decay=0.1),
            1,
            [seed],
            warm_start=True,
        )
    events = Events(
        np.ones(number, bool), reco, np.zeros(number, bool), np.ones((1, number)), np.ones((1, measured.sum()))
    )
    return np.histogram(toy["gen"], EDGES, weights=unfold(events, ratios, ITERATIONS).push[0])[0]


def with_bins(toy: dict[str, NDArray[np.generic]]) -> NDArray[np.float64]:
    """Return the unfolded spectrum by iterative Bayesian unfolding, with the bins of the comparison."""
    reco, measured = toy["pass_reco"].astype(bool), toy["pass_data"].astype(bool)
    number, bins = len(reco), len(EDGES) + 1
    gen, seen = find_bins(toy["gen"], EDGES), find_bins(toy["reco"], EDGES)
    cells = response_cells(gen, seen, np.ones(number, bool), reco, np.zeros(number, bool), bins)
    data = np.bincount(find_bins(toy["data"][measured], EDGES), minlength=bins)
    return unfold_bayes(data, fill_response(cells, np.ones(number), bins), ITERATIONS)[1:-1]


def closeness(spectrum: NDArray[np.float64], toy: dict[str, NDArray[np.generic]]) -> float:
    """Return the triangular discriminator to the data's true spectrum, in units of 1e-3."""
    return triangular_discriminator(spectrum, np.histogram(toy["truth"], EDGES)[0], np.diff(EDGES))


def main() -> None:
    """Print the table of one of the two studies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--scaling", action="store_true", help="time against the number of events instead")
    args = parser.parse_args()
    logging.getLogger("lhcml").setLevel(logging.WARNING)
    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)
    methods = {
        "networks": lambda toy, seed: with_classifiers(toy, seed, "networks", args.threads),
        "trees": lambda toy, seed: with_classifiers(toy, seed, "trees", args.threads),
        "IBU": lambda toy, seed: with_bins(toy),
        "none": lambda toy, seed: np.histogram(toy["gen"], EDGES)[0],
    }
    sizes = (10_000, 100_000, 1_000_000) if args.scaling else (50_000,)
    for events in sizes:
        for efficient in (True,) if args.scaling else (False, True):
            print(f"\n{events} events, {'with the efficiency' if efficient else 'smearing only'}")
            print(f"{'':10}{'triangular [1e-3]':>20}{'seconds':>10}{'us/event':>10}")
            for name, method in methods.items():
                results = []
                for seed in range(1, (1 if args.scaling else args.seeds) + 1):
                    toy = gaussian_toy(seed, events, efficient)
                    start = time.perf_counter()
                    spectrum = method(toy, seed)
                    results.append((closeness(spectrum, toy), time.perf_counter() - start))
                figures, seconds = np.array(results).T
                spread = (
                    f"{figures.mean():.3f} +- {figures.std(ddof=1):.3f}" if len(figures) > 1 else f"{figures[0]:.3f}"
                )
                print(f"{name:10}{spread:>20}{seconds.mean():10.2f}{1e6 * seconds.mean() / events:10.1f}")


if __name__ == "__main__":
    main()
