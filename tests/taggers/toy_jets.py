"""Toy jets with the columns of the feature files: three wide prongs (top) against one or two narrow ones (qcd)."""

from pathlib import Path

import awkward as ak
import numpy as np

from lhcml.common.files import write_parquet

HIGH_LEVEL = ("jet_mass", "jet_multiplicity", "jet_ptd", "jet_width", "jet_lha")


def toy_table(kind, jets, seed, lengths=None):
    """Return feature columns of toy jets; `lengths` fixes the numbers of constituents."""
    rng = np.random.default_rng(seed)
    prongs = np.full(jets, 3) if kind == "top" else rng.integers(1, 3, size=jets)
    if lengths is None:
        lengths = rng.integers(15, 40, size=jets)
    lengths = np.asarray(lengths, dtype=np.int64)
    jet = np.repeat(np.arange(jets), lengths)
    # prongs at 0.2..0.6 (top) or 0..0.3 (qcd) from the axis: alike enough to be learned, far enough to be separable
    low, high = (0.2, 0.6) if kind == "top" else (0.0, 0.3)
    radius, angle = low + (high - low) * rng.random((jets, 3)), 2 * np.pi * rng.random((jets, 3))
    prong = rng.integers(0, prongs[jet])
    deta = (radius * np.cos(angle))[jet, prong] + 0.03 * rng.standard_normal(len(jet))
    dphi = (radius * np.sin(angle))[jet, prong] + 0.03 * rng.standard_normal(len(jet))
    share = rng.exponential(size=len(jet))
    total = np.bincount(jet, share, minlength=jets)
    share /= total[jet]
    order = np.lexsort((-share, jet))
    deta, dphi, share = deta[order], dphi[order], share[order]
    pt = 600.0 * share
    dr = np.hypot(deta, dphi)

    def jagged(values):
        return ak.unflatten(values, lengths)

    def per_jet(values):
        return np.bincount(jet, values, minlength=jets)

    px, py = per_jet(pt * np.cos(dphi)), per_jet(pt * np.sin(dphi))
    pz, energy = per_jet(pt * np.sinh(deta)), per_jet(pt * np.cosh(deta))
    fraction = rng.random(jets)
    return {
        "run": np.ones(jets, dtype=np.int64),
        "luminosityBlock": np.full(jets, seed, dtype=np.int64),
        "event": np.arange(jets, dtype=np.int64),
        "jet_rank": np.zeros(jets, dtype=np.int64),
        "split": np.where(fraction < 0.5, "train", np.where(fraction < 0.65, "validation", "test")),
        "weight_nominal": np.ones(jets),
        "jet_mass": np.sqrt(np.maximum(energy**2 - px**2 - py**2 - pz**2, 0.0)),
        "jet_multiplicity": lengths.astype(np.float64),
        "jet_ptd": np.sqrt(per_jet(share**2)),
        "jet_width": per_jet(share * dr),
        "jet_lha": per_jet(share * np.sqrt(dr)),
        "part_pt": jagged(pt),
        "part_deta": jagged(deta),
        "part_dphi": jagged(dphi),
        "part_log_pt_rel": jagged(np.log(share)),
    }


def write_toy(folder: Path, kind, jets, seed, **options):
    """Write a feature file and return its path."""
    path = folder / f"{kind}_{seed}.parquet"
    write_parquet(path, toy_table(kind, jets, seed, **options))
    return path
