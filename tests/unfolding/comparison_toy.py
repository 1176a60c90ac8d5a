"""Two observables, three methods: events and spectra with numbers that follow by hand or from a seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.files import write_json, write_parquet
from lhcml.unfolding.unfold_binned import Sample, unfold_observable

OBSERVABLES = {
    "jet_mass": {"label": r"$m$ [GeV]", "bins": {"count": 12, "min": -3, "max": 3}},
    "jet_y": {"label": "y", "edges": [-2, -1, 0, 1, 2]},
}
SYSTEMATICS = {"isr": {"source": "weights", "up": "isrUp", "down": "isrDown"}, "prior": {"source": "prior"}}
REPLICAS, SEED = 8, 3
# name: (family, label)
METHODS = {
    "ibu": ("ibu", "IBU"), "inversion": ("inversion", "Inversion"), "before": ("simulation", "Before unfolding"),
}  # fmt: skip


def make_events(seed: int, mean: float, truth: bool = True) -> dict[str, Any]:
    """Return 3000 events of a Gaussian, smeared, with misses, fakes and weights of both signs."""
    rng = np.random.default_rng(seed)
    gen, number = rng.normal(mean, 1, 3000), 3000
    reco = gen + rng.normal(0, 0.4, number)
    passes, seen = rng.random(number) < 0.95, rng.random(number) < 0.8
    columns: dict[str, Any] = {"run": np.ones(number, int), "luminosityBlock": np.ones(number, int)}
    columns |= {"event": np.arange(number), "background": np.zeros(number, bool), "pass_gen": passes, "pass_reco": seen}
    columns["weight_nominal"] = np.where(rng.random(number) < 0.05, -1.0, 1.0)
    for side, sign in (("Up", 1), ("Down", -1)):
        columns[f"weight_isr{side}"] = columns["weight_nominal"] * (1 + 0.1 * sign * np.tanh(gen))
    columns["prior_ratio"] = np.exp(0.05 * gen)
    for name in OBSERVABLES:
        columns |= {f"gen_{name}": gen * passes, f"reco_{name}": reco * seen}
    return {name: values for name, values in columns.items() if truth or "gen" not in name}


def write_toy(folder: Path, truth: bool = True) -> dict[str, Path]:
    """Write events and the spectra of each method; return the paths."""
    paths = {name: folder / f"{name}.parquet" for name in ("simulation", "data")}
    write_parquet(paths["simulation"], make_events(1, 0.0))
    write_parquet(paths["data"], make_events(2, 0.3, truth))
    simulation = Sample(paths["simulation"], "simulation", REPLICAS, SEED)
    data = Sample(paths["data"], "data", REPLICAS, SEED)
    for method, (family, label) in METHODS.items():
        config = {"family": family, "method": method, "systematics": SYSTEMATICS}
        spectra = {
            name: unfold_observable(simulation, data, name, block, config) for name, block in OBSERVABLES.items()
        }
        paths[method] = folder / method / "spectra.json"
        write_json(paths[method], {"method": method, "label": label, "family": family, "observables": spectra})
    return paths
