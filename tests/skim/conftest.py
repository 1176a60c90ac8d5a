"""Small files of events with NanoAOD names, and settings with the schema's defaults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
import yaml

from lhcml.common.configuration import fill_defaults

ROOT = Path(__file__).resolve().parents[2]
SHIFTS = ["jesUp", "jesDown", "jerUp", "jerDown", "isrUp", "isrDown", "fsrUp", "fsrDown"]


def jagged(rng: np.random.Generator, counts: np.ndarray, low: float, high: float) -> ak.Array:
    return ak.unflatten(rng.uniform(low, high, counts.sum()).astype(np.float32), counts)


def make_events(number: int, seed: int = 7) -> dict[str, Any]:
    """Random events: large jets with candidates, small jets, generated partners, leptons, weights.

    A quarter of the jets has no generated partner, and the jets of an event are not ordered by pT.
    """
    rng = np.random.default_rng(seed)
    events: dict[str, Any] = {
        "run": np.ones(number, np.uint32),
        "luminosityBlock": (np.arange(number) // 50 + 1).astype(np.uint32),
        "event": (np.arange(number) + 1).astype(np.uint64),
        "genWeight": rng.choice([1.0, -1.0], number, p=[0.9, 0.1]).astype(np.float32),
        "PSWeight": ak.from_regular(ak.Array(rng.normal(1, 0.1, (number, 4)).astype(np.float32))),
        "MET_pt": rng.exponential(40, number).astype(np.float32),
        "MET_phi": rng.uniform(-3.1, 3.1, number).astype(np.float32),
        "Flag_goodVertices": rng.random(number) < 0.9,
        "HLT_Mu50": rng.random(number) < 0.5,
        "HLT_Jet500": rng.random(number) < 0.3,
    }
    for name, gen_name, most in (("FatJet", "GenJetAK8", 4), ("Jet", "GenJet", 6)):
        counts = rng.integers(0, most, number)
        jets = {
            "pt": jagged(rng, counts, 20, 900),
            "eta": jagged(rng, counts, -3, 3),
            "phi": jagged(rng, counts, -3.1, 3.1),
            "mass": jagged(rng, counts, 1, 200),
        }
        has_partner = jagged(rng, counts, 0, 1) > 0.25
        partner = {part: values[has_partner] for part, values in jets.items()}
        partner["pt"] = partner["pt"] * ak.unflatten(
            rng.normal(1, 0.05, ak.sum(has_partner)).astype(np.float32), ak.sum(has_partner, axis=1)
        )
        events[name], events[gen_name] = ak.zip(jets), ak.zip(partner)
    links = {"jetIdx": [], "pFCandsIdx": []}
    n_candidates = rng.integers(0, 30, number)
    for jets, candidates in zip(ak.num(events["FatJet"]).tolist(), n_candidates.tolist(), strict=True):
        # some candidates belong to no jet
        jet = rng.integers(-1, jets, candidates) if jets else np.full(candidates, -1)
        links["jetIdx"].append(jet[jet >= 0].astype(np.int32))
        links["pFCandsIdx"].append(np.flatnonzero(jet >= 0).astype(np.int32))
    events["FatJetPFCands"] = ak.zip(
        {name: ak.values_astype(ak.Array([*map(list, values), [0]])[:-1], np.int32) for name, values in links.items()}
    )
    events["PFCands"] = ak.zip(
        {
            "pt": jagged(rng, n_candidates, 0.5, 90),
            "eta": jagged(rng, n_candidates, -3, 3),
            "phi": jagged(rng, n_candidates, -3.1, 3.1),
            "mass": jagged(rng, n_candidates, 0, 0.2),
            "charge": ak.values_astype(jagged(rng, n_candidates, -1.5, 1.5), np.int32),
            "pdgId": ak.values_astype(jagged(rng, n_candidates, 1, 300), np.int32),
        }
    )
    for name in ("Muon", "Electron"):
        counts = rng.integers(0, 4, number)
        events[name] = ak.zip(
            {
                "pt": jagged(rng, counts, 3, 120),
                "eta": jagged(rng, counts, -2.8, 2.8),
                "phi": jagged(rng, counts, -3.1, 3.1),
                "mass": jagged(rng, counts, 0.1, 0.11),
                "charge": 2 * ak.values_astype(jagged(rng, counts, 0, 2), np.int32) - 1,
                "looseId": jagged(rng, counts, 0, 1) > 0.2,
            }
        )
    return events


def branch_types(columns: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(values, "dtype", None) or ak.type(values).content for name, values in columns.items()}


def write_events(path: Path, events: dict[str, Any], runs: dict[str, Any] | None = None) -> Path:
    """Write events as a TTree `Events`, with a TTree `Runs` if given."""
    with uproot.recreate(path) as file:
        tree = file.mktree("Events", branch_types(events))
        if len(events["event"]):
            tree.extend(events)
        if runs is not None:
            file.mktree("Runs", branch_types(runs)).extend(runs)
    return path


def settings(selection: dict[str, Any], *, data: bool = False, cross_section: float | None = None, **skim: Any) -> Any:
    """Return what the rule gives to the module: settings with the schema's defaults."""
    blocks = {}
    for name, given in (("skim", skim), ("selection", selection)):
        schema = yaml.safe_load((ROOT / f"workflow/schemas/{name}.schema.yaml").read_text())
        blocks[name] = fill_defaults(given, schema)
    return blocks | {"data": data, "cross_section": cross_section}


class Commands:
    """Runs the module as a rule does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output, self.summary = folder / "out/0.root", folder / "out/0.json"

    def start(self, path: Path | str, config: Any, dataset: str = "top") -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", "-m", "lhcml.skim.skim_events", "--input", str(path)]
        command += ["--dataset", dataset, "--config", json.dumps(config)]
        command += ["--output", str(self.output), "--summary", str(self.summary)]
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, text=True, env=environment, cwd=self.folder, **pipes)

    def run(self, path: Path | str, config: Any, dataset: str = "top") -> subprocess.CompletedProcess[str]:
        process = self.start(path, config, dataset)
        output, log = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, output, log)

    def error(self, path: Path | str, config: Any) -> str:
        """Run and return the message of the failure that must come, without traceback or output."""
        done = self.run(path, config)
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert "\n  fix: " in done.stderr
        assert not self.output.exists()
        assert not self.summary.exists()
        assert not list(self.folder.glob("out/.*"))
        return done.stderr[done.stderr.index("error: ") :]

    def skim(self, path: Path | str, config: Any, dataset: str = "top") -> tuple[Any, ak.Array]:
        """Skim in this process; return summary and written events."""
        from lhcml.skim.skim_events import main

        argv = ["--input", str(path), "--dataset", dataset, "--config", json.dumps(config)]
        main([*argv, "--output", str(self.output), "--summary", str(self.summary)])
        with uproot.open(self.output) as file:
            return json.loads(self.summary.read_text()), file["Events"].arrays()


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    return Commands(tmp_path)


@pytest.fixture
def skim_settings() -> Callable[..., Any]:
    return settings


@pytest.fixture
def write() -> Callable[..., Path]:
    return write_events


@pytest.fixture(scope="session")
def events() -> dict[str, Any]:
    return make_events(300)


@pytest.fixture(scope="session")
def events_file(events: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_events(tmp_path_factory.mktemp("events") / "events.root", events)


@pytest.fixture(scope="session")
def experiment_files() -> Path:
    """Folder of real experiment files; tests that use them are skipped without."""
    folder = ROOT.parent / "shared/data"
    if not folder.is_dir():
        pytest.skip("no experiment files here")
    return folder
