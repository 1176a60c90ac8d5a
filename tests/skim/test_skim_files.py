"""Whole files: the written skim against an event loop, and its independence of layout, format and version."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from lhcml.skim.naming import canonical_names

SHIFTS = ["jesUp", "jesDown", "jerUp", "jerDown", "isrUp", "isrDown", "fsrUp", "fsrDown"]
RICH: dict[str, Any] = {
    "triggers": ["HLT_Mu50", "HLT_Jet500", "HLT_NotInThisMenu"],
    "flags": ["Flag_goodVertices"],
    "muons": {"pt": {"min": 10}, "abs_eta": {"max": 2.4}, "branches": {"looseId": {"min": 1}}},
    "electrons": {"pt": {"min": 15}, "count": {"max": 2}},
    "leptons": {"min": 1},
    "met": {"min": 15},
    "jets": {
        "candidates": {"pt": {"min": 100}, "abs_eta": {"max": 2.8}, "away_from_leptons": 0.4},
        "take": "two_leading",
        "leading": {"pt": {"min": 300}},
    },
    "shifts": SHIFTS,
    "keep": {"collections": ["Jet"], "particle_level": True},
}


def distance(eta1: float, phi1: float, eta2: float, phi2: float) -> float:
    return math.hypot(eta1 - eta2, math.remainder(phi1 - phi2, 2 * math.pi))


def select_by_loop(event: Any) -> tuple[list[str], list[int]]:
    """Return the cuts that an event passes, in order, and its selected jets: RICH, nominal, written as a loop."""
    passed: list[str] = ["all events"]
    muons = [m for m in event.Muon if m.pt >= 10 and abs(m.eta) <= 2.4 and m.looseId]
    electrons = [e for e in event.Electron if e.pt >= 15]
    jets = []
    for number, jet in enumerate(event.FatJet):
        clean = all(distance(jet.eta, jet.phi, lepton.eta, lepton.phi) >= 0.4 for lepton in muons + electrons)
        if jet.pt >= 100 and abs(jet.eta) <= 2.8 and clean:
            jets.append((-jet.pt, number))
    jets = sorted(jets)[:2]
    for cut, passes in (
        ("trigger", event.HLT_Mu50 or event.HLT_Jet500),
        ("flags", event.Flag_goodVertices),
        ("electrons", len(electrons) <= 2),
        ("leptons", len(muons) + len(electrons) >= 1),
        ("MET", event.MET_pt >= 15),
        ("jets", len(jets) >= 1),
        ("leading jet", bool(jets) and -jets[0][0] >= 300),
    ):
        if not passes:
            return passed, []
        passed.append(cut)
    return passed, [number for _, number in jets]


def test_cutflow_and_jets_against_a_loop(commands, skim_settings, events, events_file: Path) -> None:
    summary, written = commands.skim(events_file, skim_settings(RICH))
    counts: dict[str, list[float]] = {}
    selected = {}
    for number, event in enumerate(ak.zip(events, depth_limit=1)):
        passed, jets = select_by_loop(event)
        for cut in passed:
            counts.setdefault(cut, [0, 0.0])
            counts[cut][0] += 1
            counts[cut][1] += float(event.genWeight)
        if jets:
            selected[number + 1] = jets
    rows = summary["cutflow"]["nominal"]
    assert {row["cut"]: [row["raw"], row["weighted"]] for row in rows} == counts
    assert 20 < len(selected) < 280
    nominal = written[written.passes_nominal]
    assert dict(zip(nominal.event.tolist(), nominal.selectedJet_nominal.tolist(), strict=True)) == selected
    # weights are not cut on: the same events, other weights
    for shift, position in {"isrUp": 0, "fsrUp": 1, "isrDown": 2, "fsrDown": 3}.items():
        rows = summary["cutflow"][shift]
        assert rows[-1]["raw"] == len(selected)
        chosen = np.isin(events["event"], list(selected))
        weight = events["genWeight"].astype(float) * ak.to_numpy(events["PSWeight"][:, position])
        assert rows[-1]["weighted"] == pytest.approx(weight[chosen].sum(), rel=1e-9)
        assert summary["sum_weight"][shift] == pytest.approx(weight.sum(), rel=1e-9)


def test_shifted_columns(commands, skim_settings, events, events_file: Path) -> None:
    """Each shifted quantity is the written one: what passes a shift passes the cuts on the written shifted values."""
    _, written = commands.skim(events_file, skim_settings(RICH))
    assert ak.all(written.passes_nominal | written.passes_jesUp | written.passes_jesDown | written.passes_jerUp
                  | written.passes_jerDown)  # fmt: skip
    for shift, factor in (("jesUp", 1.01), ("jesDown", 0.99)):
        for name in ("FatJet_pt", "FatJet_mass"):
            ratio = ak.flatten(written[f"{name}_{shift}"] / written[name])
            # float32
            assert np.allclose(ratio, factor, rtol=3e-7)
    for shift in ("jesUp", "jesDown", "jerUp", "jerDown"):
        scaled = written[f"FatJet_pt_{shift}"] / written.FatJet_pt
        mass = written[f"FatJet_mass_{shift}"] / written.FatJet_mass
        assert ak.all(abs(scaled - mass) < 1e-6)
        chosen = written[f"selectedJet_{shift}"]
        assert ak.all(ak.num(chosen)[written[f"passes_{shift}"]] >= 1)
        assert ak.all(ak.num(chosen)[~written[f"passes_{shift}"]] == 0)
        pt = written[f"FatJet_pt_{shift}"][chosen][ak.num(chosen) > 0]
        assert ak.all(pt[:, 0] >= 300)
        assert ak.all(pt <= pt[:, 0])
        assert ak.all(written[f"MET_pt_{shift}"][written[f"passes_{shift}"]] >= 15)
        # jets of R = 0.4 carry the change of the missing momentum
        before = written.MET_pt * np.exp(1j * written.MET_phi)
        after = written[f"MET_pt_{shift}"] * np.exp(1j * written[f"MET_phi_{shift}"])
        phase = np.exp(1j * written.Jet_phi)
        change = ak.sum((written[f"Jet_pt_{shift}"] - written.Jet_pt) * phase, axis=1)
        assert np.allclose(after - before, -change, atol=2e-3)
    matched = abs(written.FatJet_pt_jerUp - written.FatJet_pt) > 0
    assert ak.sum(matched) > 50


@pytest.mark.parametrize("step_size", [23, 299])
def test_chunks_do_not_matter(commands, skim_settings, events_file: Path, step_size: int) -> None:
    whole, written = commands.skim(events_file, skim_settings(RICH))
    parts, again = commands.skim(events_file, skim_settings(RICH, step_size=step_size))
    assert ak.array_equal(written, again)
    for shift, rows in whole["cutflow"].items():
        for row, other in zip(rows, parts["cutflow"][shift], strict=True):
            assert row["raw"] == other["raw"]
            # sums of floats in another order
            assert row["weighted"] == pytest.approx(other["weighted"], rel=1e-12)


def test_rntuple_is_read(commands, skim_settings, events, events_file: Path, tmp_path: Path) -> None:
    """The same branches as an RNTuple, as ROOT's importer names them."""
    _, written = commands.skim(events_file, skim_settings(RICH))
    with uproot.open(events_file) as file:
        fields = file["Events"].arrays(how=dict)
    path = tmp_path / "rntuple.root"
    with uproot.recreate(path) as file:
        file.mkrntuple("Events", fields)
    with uproot.open(path) as file:
        assert isinstance(file["Events"], uproot.behaviors.RNTuple.RNTuple)
    _, again = commands.skim(path, skim_settings(RICH))
    assert ak.array_equal(written, again)


def test_recent_nanoaod(commands, skim_settings, events, write, events_file: Path, tmp_path: Path) -> None:
    """Names and index types of NanoAOD v15 give the same skim."""
    _, written = commands.skim(events_file, skim_settings(RICH))
    others = {name: values for name, values in events.items() if "PFCands" not in name and "MET" not in name}
    links = events["FatJetPFCands"]
    recent = others | {
        "PFCand": events["PFCands"][["pt", "eta", "phi", "mass", "pdgId"]],
        "FatJetPFCand": ak.zip(
            {
                "jetIdx": ak.values_astype(links.jetIdx, np.uint8),
                "pfCandIdx": ak.values_astype(links.pFCandsIdx, np.int16),
            }
        ),
        "PFMET_pt": events["MET_pt"],
        "PFMET_phi": events["MET_phi"],
    }
    _, again = commands.skim(write(tmp_path / "v15.root", recent), skim_settings(RICH))
    assert set(again.fields) == set(written.fields)
    # not stored in recent files
    charged = ak.to_numpy(ak.flatten(again.PFCands_charge)) != 0
    assert np.array_equal(charged, np.isin(ak.to_numpy(ak.flatten(again.PFCands_pdgId)), [11, 13, 211]))
    for name in set(written.fields) - {"PFCands_charge"}:
        assert ak.array_equal(again[name], written[name]), name


def test_own_name_wins_over_renamed() -> None:
    names = canonical_names(["PFMET_pt", "MET_pt", "nPFCand", "FatJetPFCand_pfCandIdx", "JetPFCands_candIdx", "nJet"])
    assert names == {
        "MET_pt": "MET_pt",
        "nPFCands": "nPFCand",
        "FatJetPFCands_pFCandsIdx": "FatJetPFCand_pfCandIdx",
        "JetPFCands_pFCandsIdx": "JetPFCands_candIdx",
        "nJet": "nJet",
    }


def test_no_events(commands, skim_settings, events, write, tmp_path: Path) -> None:
    """A file without events gives a skim without events, with its branches and a cutflow of zeros."""
    nothing = {name: values[:0] for name, values in events.items()}
    summary, written = commands.skim(write(tmp_path / "none.root", nothing), skim_settings(RICH))
    assert len(written) == 0
    assert {"FatJet_pt_jerUp", "selectedJet_jesDown", "PFCands_pt", "weight_isrUp"} <= set(written.fields)
    assert [row["raw"] for row in summary["cutflow"]["nominal"]] == [0] * 8
    assert summary["sum_genWeight"] == 0.0


def test_none_selected(commands, skim_settings, events_file: Path) -> None:
    impossible = RICH | {"jets": {"candidates": {"pt": {"min": 1e6}}}}
    summary, written = commands.skim(events_file, skim_settings(impossible, step_size=100))
    _, usual = commands.skim(events_file, skim_settings(RICH))
    assert len(written) == summary["kept"] == 0
    assert set(written.fields) == set(usual.fields)


def test_all_events_kept(commands, skim_settings, events, events_file: Path) -> None:
    selection = RICH | {"keep": {"events": "all", "particle_level": True}}
    summary, written = commands.skim(events_file, skim_settings(selection))
    assert len(written) == len(events["event"])
    assert int(ak.sum(written.passes_nominal)) == summary["cutflow"]["nominal"][-1]["raw"]
    assert ak.all(ak.num(written.selectedJet_nominal)[~written.passes_nominal] == 0)
    assert ak.array_equal(written.GenJetAK8_pt, ak.without_parameters(events["GenJetAK8"].pt))


def test_constituents_of_selected_jets(commands, skim_settings, events, events_file: Path) -> None:
    """The candidates of each selected jet are those of the source, in order; no others are kept."""
    summary, written = commands.skim(events_file, skim_settings(RICH))
    jets_seen = 0
    for event in written:
        source = {name: events[name][int(event.event) - 1] for name in ("FatJetPFCands", "PFCands")}
        used: set[int] = set()
        for shift in ("nominal", *SHIFTS[:4]):
            used |= set(event[f"selectedJet_{shift}"].tolist())
        assert set(event.FatJetPFCands_jetIdx.tolist()) <= used
        for jet in used:
            old = source["FatJetPFCands"].pFCandsIdx[source["FatJetPFCands"].jetIdx == jet]
            new = event.FatJetPFCands_pFCandsIdx[event.FatJetPFCands_jetIdx == jet]
            for name in ("pt", "charge"):
                assert source["PFCands"][name][old].tolist() == event[f"PFCands_{name}"][new].tolist()
            jets_seen += 1
        assert sorted(set(event.FatJetPFCands_pFCandsIdx.tolist())) == list(range(len(event.PFCands_pt)))
    assert jets_seen > 50
    assert summary["candidate_links_dropped"] == 0


def test_links_to_nothing_are_counted(commands, skim_settings, events, write, tmp_path: Path) -> None:
    links = events["FatJetPFCands"]
    index = ak.where(ak.local_index(links.pFCandsIdx) == 0, -1, links.pFCandsIdx)
    changed = ak.with_field(links, ak.values_astype(index, np.int32), "pFCandsIdx")
    path = write(tmp_path / "links.root", events | {"FatJetPFCands": changed})
    summary, written = commands.skim(path, skim_settings({"keep": {"events": "all"}}))
    assert summary["candidate_links_dropped"] == ak.sum(ak.num(links) > 0)
    assert ak.min(written.FatJetPFCands_pFCandsIdx) == 0


@pytest.mark.parametrize("runs", [True, False])
def test_normalisation(commands, skim_settings, events, write, tmp_path: Path, runs: bool) -> None:
    sums = {
        "run": np.array([1, 2], np.uint32),
        "genEventCount": np.array([400, 100], np.int64),
        "genEventSumw": np.array([300.0, 80.0]),
        "PSSumw": ak.from_regular(ak.Array([[1.1, 1.0, 0.9, 1.0], [1.0, 1.0, 1.0, 0.5]])),
        "crossSection": np.array([10.0, 20.0]),
    }
    path = write(tmp_path / "events.root", events, sums if runs else None)
    summary, _ = commands.skim(path, skim_settings(RICH))
    if runs:
        assert summary["normalisation_from"] == "Runs"
        assert summary["count"] == 500
        assert summary["sum_genWeight"] == 380.0
        assert summary["sum_weight"]["isrUp"] == pytest.approx(1.1 * 300 + 80)
        assert summary["sum_weight"]["fsrDown"] == pytest.approx(300 + 0.5 * 80)
        assert summary["cross_section_pb"] == pytest.approx(12.0)
    else:
        assert summary["normalisation_from"] == "Events"
        assert summary["count"] == 300
        assert summary["sum_genWeight"] == pytest.approx(events["genWeight"].sum())
        assert summary["cross_section_pb"] is None
    summary, _ = commands.skim(path, skim_settings(RICH, cross_section=3.5))
    assert (summary["cross_section_pb"], summary["cross_section_from"]) == (3.5, "configuration")


def test_runs_that_count_too_few_are_not_used(commands, skim_settings, events, write, tmp_path: Path) -> None:
    sums = {"run": np.ones(1, np.uint32), "genEventCount": np.array([299]), "genEventSumw": np.array([299.0])}
    summary, _ = commands.skim(write(tmp_path / "events.root", events, sums), skim_settings(RICH))
    assert summary["normalisation_from"] == "Events"


def test_collision_data(commands, skim_settings, events, write, tmp_path: Path) -> None:
    import json

    generator = ("genWeight", "PSWeight", "GenJet", "GenJetAK8")
    path = write(tmp_path / "data.root", {name: values for name, values in events.items() if name not in generator})
    golden = tmp_path / "golden.json"
    golden.write_text(json.dumps({"1": [[1, 2], [4, 4]]}))
    summary, written = commands.skim(path, skim_settings(RICH | {"golden_json": str(golden)}, data=True))
    assert list(summary["cutflow"]) == ["nominal"]
    assert [row["raw"] for row in summary["cutflow"]["nominal"][:2]] == [300, 150]
    assert summary["sum_genWeight"] is None
    assert ak.all(written.weight_nominal == 1)
    assert set(written.luminosityBlock.tolist()) <= {1, 2, 4}
    assert not [name for name in written.fields if name.endswith(("Up", "Down"))]


def test_file_without_shower_weights_says_so(commands, skim_settings, events, write, tmp_path: Path) -> None:
    path = write(tmp_path / "events.root", events | {"PSWeight": events["PSWeight"][:, :1]})
    summary, written = commands.skim(path, skim_settings(RICH))
    assert summary["weight_shifts"] == []
    assert any("shower weights" in note for note in summary["notes"])
    assert "weight_isrUp" not in written.fields
