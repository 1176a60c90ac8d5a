"""A data set of a few events with numbers that can be followed by hand, and the files it is published from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from lhcml.common.files import write_json, write_parquet
from lhcml.unfolding.publish_dataset import main as publish

# five events at particle level; the masses lie in the bins [0, 10), [10, 20), [10, 20), [20, 30], overflow
MASS = [5.0, 10.0, 15.0, 30.0, 40.0]
PT = [100.0, 200.0, 150.0, 300.0, 160.0]
EDGES = [0.0, 10.0, 20.0, 30.0]
WEIGHTS: dict[str, dict[str, list[float]]] = {
    "nominal": {"weight_nominal": [2.0, 1.0, -0.5, 3.0, 1.0]},
    "ensemble": {"weight_ensemble_0": [2.5, 1.0, 0.0, 3.0, 1.0], "weight_ensemble_1": [1.5, 1.0, -1.0, 3.0, 1.0]},
    "bootstrap_data": {
        "weight_bootstrap_data_0": [1.0, 1.0, 0.0, 3.0, 1.0],
        "weight_bootstrap_data_1": [2.0, 2.0, 0.0, 3.0, 1.0],
        "weight_bootstrap_data_2": [3.0, 3.0, 0.0, 3.0, 1.0],
    },
    "bootstrap_simulation": {
        "weight_bootstrap_simulation_0": [2.0, 1.0, 0.0, 2.0, 0.0],
        "weight_bootstrap_simulation_1": [2.0, 1.0, 0.0, 4.0, 2.0],
    },
    "systematics": {
        "weight_jesUp": [3.0, 1.0, -0.5, 2.0, 1.0],
        "weight_jesDown": [1.0, 1.0, -0.5, 4.0, 1.0],
        "weight_prior": [2.5, 0.5, -0.5, 3.0, 1.0],
    },
}
CONFIG: dict[str, Any] = {
    "title": "Toy", "channel": "zjets", "label": "14 TeV", "method": "multifold",
    "settings": {"family": "multifold", "label": "MultiFold", "iterations": 3},
    "observables": {"jet_mass": {"label": "m [GeV]", "edges": EDGES}},
    "fiducial": {"jet_pt": {"min": 100}},
    "systematics": {"jes": {"source": "features", "up": "jesUp", "down": "jesDown"}, "prior": {"source": "prior"}},
    "objects": {"jets": {"algorithm": "anti-kt", "radius": 0.4}},
    "simulation": {"nominal": {"generate": "zjets"}}, "pseudo_data": True, "seed": 7,
}  # fmt: skip


def write_inputs(folder: Path, weights: dict[str, dict[str, list[float]]] = WEIGHTS) -> list[str]:
    """Write simulation, weights and normalisation; return the options of publish_dataset that name them."""
    # a sixth event fails at particle level: it is in no file of weights
    level = np.array([True, True, False, True, True, True])
    columns: dict[str, Any] = {name: np.arange(6) for name in ("run", "luminosityBlock", "event")}
    columns |= {"background": np.zeros(6, bool), "pass_gen": level, "pass_reco": np.ones(6, bool)}
    columns["weight_nominal"] = np.array([1.0, 1.0, 9.0, 1.0, 1.0, 1.0])
    columns["gen_jet_mass"] = np.insert(np.float32(MASS), 2, 0)
    columns["gen_jet_pt"] = np.insert(np.float32(PT), 2, 0)
    columns["reco_jet_mass"] = np.full(6, 7, np.float32)
    columns["gen_part_pt"] = ak.values_astype(ak.Array([[1.0], [2.0, 3.0], [], [], [4.0], [5.0, 6.0, 7.0]]), np.float32)
    write_parquet(folder / "simulation.parquet", columns)
    for group, block in weights.items():
        write_parquet(folder / f"{group}.parquet", {name: np.array(values) for name, values in block.items()})
    write_json(folder / "normalisation.json", {"luminosity": 0.5})
    return ["--simulation", str(folder / "simulation.parquet"), "--normalisation", str(folder / "normalisation.json"),
            "--weights", *(str(folder / f"{group}.parquet") for group in weights)]  # fmt: skip


def publish_toy(folder: Path, config: dict[str, Any] = CONFIG, diagnostics: Path | None = None, **options: Any) -> Path:
    """Publish the toy data set and return its folder."""
    inputs, out = write_inputs(folder, **options), folder / "dataset"
    inputs += ["--diagnostics", str(diagnostics)] if diagnostics else []
    publish([*inputs, "--config", json.dumps(config), "--parquet", str(out / "events.parquet"), "--hdf5",
             str(out / "events.h5"), "--manifest", str(out / "manifest.json"), "--readme", str(out / "README.md"),
             "--hepdata", str(out / "hepdata")])  # fmt: skip
    return out
