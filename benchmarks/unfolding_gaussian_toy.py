"""Gaussian toy of the unfolding benchmarks: the same events for every program that is compared.

    python benchmarks/unfolding_gaussian_toy.py --seed 1 --efficient --output toy.npz

Simulation: x ~ N(0, 1). Nature: x ~ N(0.2, 0.8) (mean, standard deviation). Detector: x + N(0, 0.5), and, if asked for,
an efficiency 1 / (1 + exp(-2 (x + 1.5))) that depends on the true x. Figure of merit: the triangular discriminator
between the unfolded spectrum of x and the histogram of nature's own x of all events, 50 bins in (-3, 3).
Where both spectra were independent samples of 50,000 events of one density, it would be 0.5e-3 on average (a quarter
of the number of bins over the number of events, from each of the two).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

EDGES = np.linspace(-3, 3, 51)
EVENTS = 50_000


def gaussian_toy(seed: int, events: int = EVENTS, efficient: bool = False) -> dict[str, NDArray[np.generic]]:
    """Return simulated and data events.

    Parameters
    ----------
    seed : int
    events : int
        Number of simulated events, and of data events before the detector.
    efficient : bool
        Whether the detector loses events, with efficiency sigmoid(2 (x + 1.5)); without, it sees all.

    Returns
    -------
    dict of arrays of shape (events,)
        "gen", "reco", "pass_reco" of the simulation; "truth" (gen of the data, for the comparison only), "data" (reco
        of the data), "pass_data". Where an event fails, its reco is 0.
    """
    rng = np.random.default_rng(seed)
    toy: dict[str, NDArray[np.generic]] = {}
    for true, seen, mask, mean, width in (
        ("gen", "reco", "pass_reco", 0.0, 1.0),
        ("truth", "data", "pass_data", 0.2, 0.8),
    ):
        gen = rng.normal(mean, width, events)
        reco = gen + rng.normal(0.0, 0.5, events)
        # drawn in both cases, so that the two cases of a seed share their events
        found = rng.uniform(size=events) < 1 / (1 + np.exp(-2 * (gen + 1.5)))
        passes = found if efficient else np.ones(events, bool)
        toy |= {true: gen, seen: np.where(passes, reco, 0.0), mask: passes}
    return toy


def main() -> None:
    """Write one toy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--efficient", action="store_true", help="lose events with an efficiency that depends on x")
    parser.add_argument("--output", type=Path, required=True, help="npz file")
    args = parser.parse_args()
    np.savez(args.output, **gaussian_toy(args.seed, args.events, args.efficient))


if __name__ == "__main__":
    main()
