"""Feature, score and cutflow files with the columns of the pipeline, filled with toy jets, and a measurement."""

import copy
import json
from pathlib import Path

import numpy as np

from lhcml.common.files import write_parquet
from lhcml.inference import build_workspace

SHIFTS = ("jesUp", "jesDown", "jerUp", "jerDown")
WEIGHTS = ("isrUp", "isrDown", "fsrUp", "fsrDown")
# generated events of a dataset, their cross section in pb, and the share that is selected
DATASETS = {
    "top": (12000, 8.0, 0.25),
    "qcd": (40000, 80.0, 0.25),
    "top_pseudodata": (12000, 8.0, 0.25),
    "qcd_pseudodata": (40000, 80.0, 0.25),
}
MEASUREMENT = {
    "channel": "toptag",
    "tagger": "xgboost",
    "tagger_seed": 1,
    "working_point": {"signal": ["top"], "signal_efficiency": 0.5},
    "observable": "jet_mass",
    "luminosity": 0.3,
    "factors": {},
    "regions": {
        "pass": {"tagged": True, "bins": [50, 110, 140, 160, 180, 200, 300]},
        "fail": {"tagged": False, "bins": [50, 80, 110, 140, 170, 200, 300]},
    },
    "samples": {"top": {"datasets": ["top"], "split": "test"}, "qcd": {"datasets": ["qcd"], "split": "test"}},
    "data": {
        "datasets": ["top_pseudodata", "qcd_pseudodata"],
        "signal": ["top_pseudodata"],
        "simulated": True,
    },
    "injected": 1.0,
    "poi": "mu",
    "modifiers": {
        "mu": {"type": "normfactor", "samples": ["top"], "initial": 1, "bounds": [0, 10]},
        "qcd_norm_pass": {
            "type": "normfactor", "samples": ["qcd"], "regions": ["pass"], "initial": 1, "bounds": [0, 10],
        },
        "qcd_norm_fail": {
            "type": "normfactor", "samples": ["qcd"], "regions": ["fail"], "initial": 1, "bounds": [0, 10],
        },
        "jes": {"type": "histosys", "source": "features", "up": "jesUp", "down": "jesDown"},
        "jer": {"type": "histosys", "source": "features", "up": "jerUp", "down": "jerDown"},
        "isr": {"type": "histosys", "source": "weights", "up": "isrUp", "down": "isrDown"},
        "fsr": {"type": "histosys", "source": "weights", "up": "fsrUp", "down": "fsrDown"},
        "luminosity": {"type": "normsys", "samples": ["top"], "up": 1.017, "down": 0.983},
        "mc_stat": {"type": "staterror"},
    },
    "limit": {"points": 11, "level": 0.05, "test": 1.0},
    "toys": {"count": 20},
}  # fmt: skip


CHUNKS = dict.fromkeys(DATASETS, 2)


def measurement(**changes: object) -> dict:
    """Return the toy measurement with top-level keys replaced."""
    return copy.deepcopy(MEASUREMENT) | changes


def make_jets(dataset: str, size: int, seed: int) -> dict[str, np.ndarray]:
    """Return feature columns and scores of `size` toy jets."""
    generator = np.random.default_rng(seed)
    top = dataset.startswith("top")
    mass = generator.exponential(60, size) + 20
    if top:
        merged = generator.random(size) < 0.75
        mass = np.where(merged, generator.normal(173, 18, size), generator.uniform(60, 170, size))
    score = generator.beta(4, 2, size) if top else generator.beta(1.6, 3.4, size)
    tilt = (mass - 120) / 500
    return {
        "run": np.ones(size, np.int64),
        "luminosityBlock": np.ones(size, np.int64),
        "event": np.arange(size),
        "jet_rank": np.zeros(size, np.int64),
        "split": generator.choice(["train", "validation", "test"], size, p=[0.4, 0.1, 0.5]),
        "weight_nominal": np.ones(size),
        "weight_isrUp": 1 + 0.05 * tilt,
        "weight_isrDown": 1 - 0.05 * tilt,
        "weight_fsrUp": 1.02 + 0.2 * tilt,
        "weight_fsrDown": 0.98 - 0.2 * tilt,
        "jet_mass": mass,
        "score": score,
    }


def write_toys(root: Path, scale: float = 1.0, chunks: int = 2) -> dict[str, int]:
    """Write `features/`, `scores/` and `cutflow.json` below `root`; return the number of chunks of each dataset."""
    cutflow = {}
    for number, (dataset, (generated, cross_section, share)) in enumerate(DATASETS.items()):
        size = int(generated * share * scale)
        nominal = make_jets(dataset, size, seed=number)
        shifts = ("nominal",) if dataset.endswith("pseudodata") else ("nominal", *SHIFTS)
        for shift in shifts:
            columns = dict(nominal)
            if shift != "nominal":
                size_of_shift = {"jes": 0.02, "jer": 0.01}[shift[:3]]
                sign = 1 if shift.endswith("Up") else -1
                columns["jet_mass"] = nominal["jet_mass"] * (1 + sign * size_of_shift)
            features = {key: value for key, value in columns.items() if key != "score"}
            for chunk, rows in enumerate(np.array_split(np.arange(size), chunks)):
                path = root / "features" / dataset / shift / f"{chunk}.parquet"
                write_parquet(path, {key: value[rows] for key, value in features.items()})
            keys = ("run", "luminosityBlock", "event", "jet_rank", "split", "score")
            write_parquet(root / "scores" / dataset / f"{shift}.parquet", {key: columns[key] for key in keys})
        sums = {"nominal": generated * scale} | dict.fromkeys(WEIGHTS, generated * scale)
        cutflow[dataset] = {"weight_to_pb": cross_section / (generated * scale), "sum_weight": sums}
    (root / "cutflow.json").write_text(json.dumps({"datasets": cutflow}))
    return dict.fromkeys(DATASETS, chunks)


def build(root: Path, out: Path, config: dict, seed: int = 1) -> dict:
    """Run the command line of build_workspace and return the description."""
    build_workspace.main(
        ["--features", str(root / "features"), "--scores", str(root / "scores"),
         "--cutflow", str(root / "cutflow.json"), "--chunks", json.dumps(CHUNKS), "--config", json.dumps(config),
         "--seed", str(seed), "--workspace", str(out / "workspace.json"), "--digest", str(out / "digest.txt"),
         "--description", str(out / "meta.json")]
    )  # fmt: skip
    return json.loads((out / "meta.json").read_text())


def load(made: Path, name: str) -> dict:
    """Return the content of a JSON file."""
    return json.loads((made / name).read_text())
