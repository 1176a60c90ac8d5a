"""Mass sculpting: how much a cut on the score changes the mass distribution of background jets.

The Jensen-Shannon divergence (base 2: 0 for equal distributions, 1 for disjoint ones) between the jet-mass histograms
of background jets that pass and that fail the cut, as in ATL-PHYS-PUB-2018-014; quoted is 1/JSD, large for little
sculpting. A divergence of finite samples is larger than zero also where nothing is sculpted, so the mean divergence of
as many jets chosen at random stands beside it: a value near it says that no sculpting was seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.taggers.metrics import POINTS, Bools, Floats, bootstrap_counts

# GeV; the width of the bins of ATL-PHYS-PUB-2018-014 is 5 or 10
BIN_WIDTH = 10.0


def divergence(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the Jensen-Shannon divergence (base 2) of two histograms; NaN if one is empty."""
    if first.sum() <= 0 or second.sum() <= 0:
        return float("nan")
    p, q = first / first.sum(), second / second.sum()
    mean = (p + q) / 2

    def relative_entropy(part: NDArray[np.float64]) -> float:
        seen = part > 0
        return float(np.sum(part[seen] * np.log2(part[seen] / mean[seen])))

    return max(0.5 * (relative_entropy(p) + relative_entropy(q)), 0.0)


def threshold_at(signal_scores: Floats, efficiency: float, counts: Floats | None = None) -> float:
    """Return the largest score that at least a share `efficiency` of the signal jets reach.

    Parameters
    ----------
    signal_scores : ndarray, shape (jets,)
    efficiency : float
        Between 0 and 1.
    counts : ndarray, optional
        How often each jet counts; once if not given.
    """
    order = np.argsort(-signal_scores, kind="stable")
    passed = np.cumsum(np.ones(len(order)) if counts is None else counts[order])
    # a share is a ratio of counts: the tolerance keeps 0.3 of 10 jets at 3
    return float(signal_scores[order[np.searchsorted(passed, efficiency * passed[-1] * (1 - 1e-12))]])


def mass_bins(mass: Floats) -> NDArray[np.int64]:
    """Return the bin of each jet's mass in GeV."""
    return np.maximum(mass // BIN_WIDTH, 0).astype(np.int64)


def split_histograms(
    bins: NDArray[np.int64], passing: Bools, counts: Floats
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the histograms of jets that pass and that fail."""
    size = int(bins.max()) + 1
    return (
        np.bincount(bins, np.where(passing, counts, 0.0), minlength=size),
        np.bincount(bins, np.where(passing, 0.0, counts), minlength=size),
    )


def evaluate_sculpting(score: Floats, signal: Bools, mass: Floats, replicas: int, seed: int) -> dict[str, Any]:
    """Return the divergences at signal efficiencies of 0.3 and 0.5.

    Parameters
    ----------
    score, signal : ndarray, shape (jets,)
        Scores and labels.
    mass : ndarray, shape (jets,)
        Jet mass in GeV; used for the background jets.
    replicas, seed : int
        Bootstrap of the test jets, thresholds included, and random choices for the noise.

    Returns
    -------
    dict
        For x = 30 and 50: `jsd_x`, `jsd_x_bootstrap_std`, `jsd_x_noise`, `inverse_jsd_x`, `passing_x` (background
        jets). None where no background jet passes or fails.
    """
    bins = mass_bins(mass[~signal])
    ones = np.ones(len(score))
    generator = np.random.default_rng(seed)

    def measure(counts: Floats, efficiency: float) -> float:
        cut = threshold_at(score[signal], efficiency, counts[signal])
        return divergence(*split_histograms(bins, score[~signal] >= cut, counts[~signal]))

    result: dict[str, Any] = {}
    for name, efficiency in POINTS.items():
        passing = score[~signal] >= threshold_at(score[signal], efficiency)
        value = measure(ones, efficiency)
        known = np.isfinite(value)
        resampled = np.array([measure(counts, efficiency) for counts in bootstrap_counts(signal, replicas, seed)])
        random = [
            divergence(*split_histograms(bins, generator.permutation(passing), ones[~signal])) for _ in range(replicas)
        ]
        enough = known and replicas > 1
        spread = float(resampled.std(ddof=1)) if enough and np.isfinite(resampled).all() else None
        result |= {
            f"jsd_{name}": value if known else None,
            f"jsd_{name}_bootstrap_std": spread,
            f"jsd_{name}_noise": float(np.mean(random)) if enough else None,
            f"inverse_jsd_{name}": 1 / value if known and value > 0 else None,
            f"passing_{name}": int(passing.sum()),
        }
    return result
