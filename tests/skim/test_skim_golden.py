"""Cutflows of real experiment files with the example configurations: fixed numbers, and the same from an event loop.

The loops read branches with uproot alone and share no code with the skim.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
import yaml

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "nanoaod": "nanoAOD_2015_CMS_Open_Data_ttbar.root",
    "pfnano": "pfnano.root",
    "dimuon": "nano_dimuon.root",
}
# (cut, events left), found by the loops
GOLDEN: dict[str, list[tuple[str, int]]] = {
    "nanoaod": [("all events", 200), ("flags", 200), ("leptons", 17), ("MET", 13), ("jets", 4)],
    "pfnano": [("all events", 10), ("jets", 10), ("leading jet", 9)],
    "dimuon": [("all events", 40), ("trigger", 17), ("flags", 17), ("muons", 15), ("Z candidate", 5), ("jets", 5)],
}


def example(channel: str) -> tuple[dict[str, Any], dict[str, Any]]:
    block = yaml.safe_load((ROOT / f"config/examples/{channel}.yaml").read_text())["channels"][channel]
    (dataset,) = block["datasets"].values()
    return block["selection"], dataset


def read(path: Path, *collections: str, flat: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """Yield events as dicts: collections as lists of dicts, further branches as values."""
    with uproot.open(path) as file:
        tree = file["Events"]
        names = [name for name in tree.keys() if name.partition("_")[0] in collections and "_" in name]  # noqa: SIM118
        arrays = tree.arrays([*names, *flat], how=dict)
        for number in range(tree.num_entries):
            event: dict[str, Any] = {name: arrays[name][number] for name in flat}
            for collection in collections:
                columns = {
                    name.partition("_")[2]: arrays[name][number].tolist()
                    for name in names
                    if name.partition("_")[0] == collection
                }
                length = len(columns["pt"])
                event[collection] = [{key: values[i] for key, values in columns.items()} for i in range(length)]
            yield event


def apart(one: dict[str, Any], other: dict[str, Any]) -> float:
    return math.hypot(one["eta"] - other["eta"], math.remainder(one["phi"] - other["phi"], 2 * math.pi))


def count(cuts: dict[str, int], steps: list[tuple[str, Any]]) -> bool:
    for cut, passes in [("all events", True), *steps]:
        cuts.setdefault(cut, 0)
        if not passes:
            return False
        cuts[cut] += 1
    return True


def loop_nanoaod(path: Path) -> tuple[dict[str, int], list[list[float]]]:
    cuts: dict[str, int] = {}
    selected = []
    for event in read(path, "Muon", "Electron", "Jet", flat=("MET_pt", "Flag_goodVertices")):
        muons = [m for m in event["Muon"] if m["pt"] >= 26 and abs(m["eta"]) <= 2.4 and m["tightId"]
                 and m["pfRelIso04_all"] <= np.float32(0.15)]  # fmt: skip
        electrons = [e for e in event["Electron"] if e["pt"] >= 30 and abs(e["eta"]) <= 2.4 and e["cutBased"] >= 4]
        jets = [j for j in event["Jet"] if j["pt"] >= 30 and abs(j["eta"]) <= 2.4 and j["jetId"] & 2
                and all(apart(j, lepton) >= 0.4 for lepton in muons + electrons)]  # fmt: skip
        steps = [
            ("flags", event["Flag_goodVertices"]),
            ("leptons", len(muons + electrons) >= 1),
            ("MET", event["MET_pt"] >= 20),
            ("jets", len(jets) >= 1),
        ]
        if count(cuts, steps):
            selected.append(sorted((j["pt"] for j in jets), reverse=True))
    return cuts, selected


def loop_pfnano(path: Path) -> tuple[dict[str, int], list[list[float]]]:
    cuts: dict[str, int] = {}
    selected = []
    for event in read(path, "FatJet"):
        jets = [j for j in event["FatJet"] if j["pt"] >= 400 and abs(j["eta"]) <= 2.4 and j["jetId"] & 2]
        jets = sorted(jets, key=lambda jet: -jet["pt"])[:2]
        if count(cuts, [("jets", len(jets) >= 2), ("leading jet", jets and jets[0]["pt"] >= 1300)]):
            selected.append([j["pt"] for j in jets])
    return cuts, selected


def loop_dimuon(path: Path) -> tuple[dict[str, int], list[list[float]]]:
    cuts: dict[str, int] = {}
    selected = []
    triggers = ("HLT_IsoMu24", "HLT_Mu17_TrkIsoVVL_Mu8_TrkIsoVVL_DZ_Mass3p8")
    for event in read(path, "Muon", "Jet", flat=(*triggers, "Flag_goodVertices")):
        muons = [m for m in event["Muon"] if m["pt"] >= 10 and abs(m["eta"]) <= 2.4 and m["mediumId"]]
        masses = []
        for i, one in enumerate(muons):
            for other in muons[i + 1 :]:
                if one["charge"] * other["charge"] < 0:
                    # muon masses change the mass of such a pair by less than 0.3 MeV
                    angle = math.cosh(one["eta"] - other["eta"]) - math.cos(one["phi"] - other["phi"])
                    masses.append(math.sqrt(2 * one["pt"] * other["pt"] * angle))
        mass = min(masses, key=lambda m: abs(m - 91.1876), default=0.0)
        jets = [j for j in event["Jet"] if j["pt"] >= 30 and j["jetId"] & 2
                and all(apart(j, muon) >= 0.4 for muon in muons)]  # fmt: skip
        steps = [
            ("trigger", any(event[name] for name in triggers)),
            ("flags", event["Flag_goodVertices"]),
            ("muons", len(muons) >= 2),
            ("Z candidate", 60 <= mass <= 120),
            ("jets", True),
        ]
        if count(cuts, steps):
            selected.append([j["pt"] for j in jets])
    return cuts, selected


LOOPS = {"nanoaod": loop_nanoaod, "pfnano": loop_pfnano, "dimuon": loop_dimuon}


@pytest.mark.parametrize("channel", FILES)
def test_golden_cutflow(commands, skim_settings, experiment_files: Path, channel: str) -> None:
    selection, dataset = example(channel)
    path = experiment_files / FILES[channel]
    config = skim_settings(selection, data=dataset.get("data", False), cross_section=dataset.get("cross_section"))
    summary, written = commands.skim(path, config, dataset="simulation")
    rows = [(row["cut"], row["raw"]) for row in summary["cutflow"]["nominal"]]
    assert rows == GOLDEN[channel]
    cuts, selected = LOOPS[channel](path)
    assert rows == list(cuts.items())
    nominal = written[written.passes_nominal]
    pt = nominal[f"{selection['jets']['collection']}_pt"][nominal.selectedJet_nominal]
    assert pt.tolist() == selected
    assert summary["skipped"] == []


def test_open_data_has_no_candidates(commands, skim_settings, experiment_files: Path) -> None:
    selection, _ = example("nanoaod")
    config = skim_settings(selection | {"keep": {"constituents": True}}, cross_section=1.0)
    summary, written = commands.skim(experiment_files / FILES["nanoaod"], config)
    assert "no candidates of Jet: constituents are not written" in summary["notes"]
    assert not [name for name in written.fields if "PFCands" in name]
    # no tree Runs in this file: sums from Events
    assert summary["normalisation_from"] == "Events"
    with uproot.open(experiment_files / FILES["nanoaod"]) as file:
        total = file["Events/genWeight"].array(library="np").astype(float).sum()
    assert summary["sum_genWeight"] == pytest.approx(total, rel=1e-12)


def test_candidates_add_up_to_their_jets(commands, skim_settings, experiment_files: Path) -> None:
    """Momenta of the kept candidates, with PUPPI weights, add up to those of the jets before corrections."""
    selection, _ = example("pfnano")
    selection["keep"]["branches"] = ["FatJet_rawFactor"]
    _, written = commands.skim(experiment_files / FILES["pfnano"], skim_settings(selection, cross_section=1.0))
    ratios = []
    for event in written:
        for jet in event.selectedJet_nominal:
            index = event.FatJetPFCands_pFCandsIdx[event.FatJetPFCands_jetIdx == jet]
            px, py = (
                ak.sum(event.PFCands_pt[index] * event.PFCands_puppiWeight[index] * angle(event.PFCands_phi[index]))
                for angle in (np.cos, np.sin)
            )
            ratios.append(math.hypot(px, py) / (event.FatJet_pt[jet] * (1 - event.FatJet_rawFactor[jet])))
    assert len(ratios) > 10
    # candidates are stored with 10 bits of mantissa; a jet may lack candidates below the threshold of the format
    assert np.median(ratios) == pytest.approx(1, abs=0.005)
    assert max(abs(ratio - 1) for ratio in ratios) < 0.03


def test_real_data_with_simulated_shifts_asked_for(commands, skim_settings, experiment_files: Path) -> None:
    selection, _ = example("dimuon")
    config = skim_settings(selection | {"shifts": ["jesUp", "isrUp"]}, data=True)
    summary, written = commands.skim(experiment_files / FILES["dimuon"], config)
    assert summary["kinematic_shifts"] == summary["weight_shifts"] == []
    assert ak.all(written.weight_nominal == 1)
    assert summary["cross_section_pb"] is None
