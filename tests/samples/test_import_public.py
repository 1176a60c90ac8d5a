"""Files of the public layouts become events, number for number, and go through the stages that read them."""

from __future__ import annotations

import json
import logging
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import public_toys as toys
import pytest
import uproot

from lhcml.common.configuration import fill_defaults, load_schema
from lhcml.common.errors import UserError
from lhcml.common.files import read_parquet, write_json
from lhcml.features import build_features, build_levels
from lhcml.firmware import collect_objects
from lhcml.samples import import_events
from lhcml.samples.layouts import jetclass, omnifold, toptag, trigger
from lhcml.skim.skim_events import skim_file

ROOT = Path(__file__).parents[2]


def convert(layout: str, path: Path, output: Path, rows: int, *options: str) -> None:
    """Import rows of a file."""
    command = ["--layout", layout, "--input", str(path), "--output", str(output), "--rows", str(rows), *options]
    import_events.main(command)


def run(layout: str, path: Path, output: Path, rows: int, *options: str) -> ak.Array:
    """Import rows of a file and return the events."""
    convert(layout, path, output, rows, *options)
    with uproot.open(output) as file:
        return file["Events"].arrays()


def complete(channel: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a channel `c` with all defaults."""
    dataset = {"import": {"layout": "trigger", "files": ["e.h5"]}, "events": 1, "cross_section": 2.0}
    config = {"seed": 1, "channels": {"c": {"datasets": {"public": dataset}, **channel}}}
    filled: dict[str, Any] = fill_defaults(config, load_schema(ROOT / "workflow/schemas"))
    return filled


def skim(events: Path, output: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Skim imported events with the selection of the channel `c`."""
    selection = config["channels"]["c"]["selection"]
    return skim_file(
        str(events), output, dataset="public", selection=selection, config=config["skim"], cross_section=2.0
    )


def sorted_momenta(row: np.ndarray) -> np.ndarray:
    """Return (E, px, py, pz) of the constituents of a row of the Top Tagging Reference, hardest first."""
    momenta = row[:800].astype(np.float64).reshape(200, 4)
    momenta = momenta[momenta[:, 0] > 0]
    return momenta[np.argsort(-np.hypot(momenta[:, 1], momenta[:, 2]))]


def candidates(event: ak.Record, name: str = "PFCands") -> np.ndarray:
    """Return (E, px, py, pz) of the candidates of an event."""
    pt, eta, phi, mass = (np.asarray(event[f"{name}_{part}"], dtype=float) for part in ("pt", "eta", "phi", "mass"))
    energy = np.hypot(pt * np.cosh(eta), mass)
    return np.stack([energy, pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=1)


@pytest.mark.parametrize("names", ["python2", "python3", "none"])
def test_top_tagging_jets_are_those_of_the_file(tmp_path: Path, monkeypatch, names: str) -> None:
    monkeypatch.setattr(toptag, "STEP", 4)
    values, integers = toys.toptag_rows(11)
    path = toys.write_toptag(tmp_path / "train.h5", values, integers, names=names)
    events = run("toptag", path, tmp_path / "0.root", 11)
    assert events["event"].tolist() == list(range(11))
    assert set(events["genWeight"].tolist()) == {1}
    for event, row in zip(events, values, strict=True):
        expected = sorted_momenta(row)
        # branches are float32, 24 bits, of numbers up to 600 GeV; the jet is a sum of up to 60 of them
        assert candidates(event) == pytest.approx(expected, rel=3e-6, abs=1e-4)
        energy, px, py, pz = expected.sum(axis=0)
        jet = [event[f"FatJet_{name}"][0] for name in ("pt", "eta", "phi", "mass")]
        pt = np.hypot(px, py)
        mass = np.sqrt(energy**2 - px**2 - py**2 - pz**2)
        assert jet == pytest.approx([pt, np.arcsinh(pz / pt), np.arctan2(py, px), mass], rel=1e-5)
        assert event["FatJet_nConstituents"].tolist() == [len(expected)]
        assert event["FatJetPFCands_pFCandsIdx"].tolist() == list(range(len(expected)))
        # the file knows no masses; what float32 makes of massless particles is not taken for one
        assert set(event["PFCands_mass"].tolist()) == {0}


def test_top_tagging_masses_are_kept_where_the_file_can_tell_them(tmp_path: Path) -> None:
    values = np.zeros((1, 804), dtype=np.float32)
    kaon = toys.jet_constituents(np.random.default_rng(1), 4, 20.0, mass=0.5)
    values[0, :16] = kaon.ravel()
    path = toys.write_toptag(tmp_path / "val.h5", values, np.zeros((1, 2), dtype=np.int64))
    events = run("toptag", path, tmp_path / "0.root", 1)
    # the square of the mass, 0.25, is known to about 2e-7 of the square of energies up to 20 GeV
    assert events["PFCands_mass"][0].tolist() == pytest.approx([0.5] * 4, rel=3e-4)


def test_top_tagging_columns_are_found_by_name(tmp_path: Path) -> None:
    values, integers = toys.toptag_rows(5)
    order = np.random.default_rng(0).permutation(804)
    expected = run("toptag", toys.write_toptag(tmp_path / "a.h5", values, integers), tmp_path / "a.root", 5)
    path = toys.write_toptag(tmp_path / "b.h5", values[:, order], integers)
    with h5py.File(path, "r+") as file:
        names = np.array(toys.TOPTAG_NAMES + toys.TOPTAG_TRUTH)[order].tolist()
        file["table/table"].attrs["values_block_0_kind"] = toys.pickled(names)
    found = run("toptag", path, tmp_path / "b.root", 5)
    assert found.tolist() == expected.tolist()


def test_labels_and_bad_rows_of_top_tagging(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values, integers = toys.toptag_rows(12)
    values[3, 1], values[5, :800], values[7, 0] = np.nan, 0, -1
    integers[:, 1] = [0, 1] * 6
    path = toys.write_toptag(tmp_path / "test.h5", values, integers)
    with caplog.at_level(logging.INFO, "lhcml"):
        events = run("toptag", path, tmp_path / "0.root", 12, "--label", "signal", "--event-offset", "100")
    assert events["event"].tolist() == [101, 109, 111]
    assert "left out: 3 rows" in caplog.text
    with uproot.open(tmp_path / "0.root") as file:
        assert file["Runs"]["genEventSumw"].array().tolist() == [3]
    background = run("toptag", path, tmp_path / "1.root", 12, "--label", "background")
    assert background["event"].tolist() == [0, 2, 4, 6, 8, 10]
    none = run("toptag", path, tmp_path / "2.root", 1, "--label", "signal")
    assert len(none) == 0
    assert {"FatJet_pt", "PFCands_pt", "FatJetPFCands_jetIdx"} <= set(none.fields)


def test_top_tagging_goes_through_skim_and_features(tmp_path: Path) -> None:
    values, integers = toys.toptag_rows(30)
    path = toys.write_toptag(tmp_path / "train.h5", values, integers)
    events = run("toptag", path, tmp_path / "events.root", 30)
    config = complete({"selection": {"jets": {"radius": 0.8}, "shifts": ["jesUp"]}})
    assert skim(tmp_path / "events.root", tmp_path / "skim.root", config)["kept"] == 30
    split = {"train": 0.0, "validation": 0.0, "test": 1.0}
    settings = json.dumps(config["features"] | {"jet": "FatJet", "radius": 0.8, "split": split})
    output = tmp_path / "features.parquet"
    build_features.main(["--input", str(tmp_path / "skim.root"), "--config", settings, "--output", str(output)])
    jets = read_parquet(output)
    assert jets["jet_multiplicity"].tolist() == ak.flatten(events["FatJet_nConstituents"]).tolist()
    assert ak.to_numpy(jets["jet_mass"]) == pytest.approx(ak.to_numpy(ak.flatten(events["FatJet_mass"])), rel=1e-6)
    # an official test file is test only
    assert set(jets["split"].tolist()) == {"test"}


def test_trigger_objects_come_out_as_the_inputs_of_the_network(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(trigger, "STEP", 9)
    values = toys.trigger_rows(40)
    events = run("trigger", toys.write_trigger(tmp_path / "e.h5", values), tmp_path / "events.root", 40)
    assert ak.num(events["Electron_pt"]).tolist() == (values[:, 1:5, 0] > 0).sum(axis=1).tolist()
    assert set(ak.flatten(events["Muon_charge"]).tolist()) == {0}
    jets = {"collection": "Jet", "radius": 0.4, "count": {"min": 0}, "take": "all"}
    keep = {"constituents": False, "collections": ["Muon", "Electron", "MET"]}
    config = complete({"selection": {"muons": {}, "electrons": {}, "leptons": {"min": 1}, "jets": jets, "keep": keep}})
    summary = skim(tmp_path / "events.root", tmp_path / "skim.root", config)
    write_json(tmp_path / "skim.json", summary)
    objects = {kind: {"count": count, "cuts": {}} for kind, count in (("electrons", 4), ("muons", 4), ("jets", 10))}
    settings = {"objects": {**objects, "overlap": 0}, "jets": "Jet", "met": "MET", "split": config["features"]["split"]}
    write_json(tmp_path / "cutflow.json", {"datasets": {"public": {"data": False, "weight_to_pb": 1.0}}})
    command = [
        "--skims",
        str(tmp_path / "skim.root"),
        "--cutflow",
        str(tmp_path / "cutflow.json"),
        "--dataset",
        "public",
    ]
    collect_objects.main([*command, "--config", json.dumps(settings), "--output", str(tmp_path / "inputs.parquet")])
    table = read_parquet(tmp_path / "inputs.parquet")
    found = np.asarray(table["inputs"].to_list())
    # the 57 numbers of the file, as float32
    assert found == pytest.approx(values[:, :, :3].reshape(40, 57), rel=1e-6)


def test_a_trigger_object_in_the_wrong_slot_is_told(tmp_path: Path) -> None:
    values = toys.trigger_rows(6)
    values[4, 5, 3] = 4
    path = toys.write_trigger(tmp_path / "e.h5", values)
    with pytest.raises(UserError, match=r"slot 5 of row 4 of .*e.h5 has the kind 4, expected 3"):
        run("trigger", path, tmp_path / "0.root", 6)


def omnifold_file(tmp_path: Path, events: int, **changes: Any) -> tuple[Path, dict[str, Any]]:
    """Write an OmniFold file and return it with its arrays."""
    arrays = toys.omnifold_arrays(events) | changes
    path = tmp_path / "Pythia26_Zjet_pTZ-200GeV_0.npz"
    np.savez_compressed(path, **arrays)
    return path, arrays


def test_omnifold_jets_of_both_levels_are_those_of_the_file(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(omnifold, "STEP", 5)
    path, arrays = omnifold_file(tmp_path, 13)
    first = run("omnifold", path, tmp_path / "0.root", 6)
    rest = run("omnifold", path, tmp_path / "1.root", 7, "--first-row", "6")
    events = ak.concatenate([first, rest])
    assert events["event"].tolist() == list(range(13))
    for level, jet, name in (("gen", "GenJet", "GenCands"), ("sim", "Jet", "PFCands")):
        for number, event in enumerate(events):
            pt, rapidity, phi, mass = arrays[f"{level}_jets"][number]
            assert event[f"{jet}_pt"].tolist() == pytest.approx([pt], rel=1e-6)
            assert event[f"{jet}_mass"].tolist() == pytest.approx([mass], rel=1e-6)
            # rapidity from what was written: pz = pT sinh(eta), E from the mass
            pz = pt * np.sinh(event[f"{jet}_eta"][0])
            assert np.arcsinh(pz / np.hypot(pt, mass)) == pytest.approx(rapidity, abs=1e-5)
            particles = arrays[f"{level}_particles"][number]
            particles = particles[particles[:, 0] > 0]
            particles = particles[np.argsort(-particles[:, 0], kind="stable")]
            energy, px, py, pz_of = candidates(event, name).T
            assert np.hypot(px, py) == pytest.approx(100 * particles[:, 0], rel=1e-5)
            # at 500 GeV float32 leaves 1e-7 of E - |pz|, which the logarithm of the rapidity magnifies
            assert np.arctanh(pz_of / energy) - rapidity == pytest.approx(particles[:, 1], abs=1e-4)
            turn = np.arctan2(py, px) - phi - particles[:, 2]
            assert np.cos(turn) == pytest.approx(np.ones(len(turn)), abs=1e-8)
            codes = [toys.OMNIFOLD_CODES[round(10 * kind)] for kind in particles[:, 3]]
            assert event[f"{name}_pdgId"].tolist() == codes
    assert ak.flatten(events["GenPart_pt"]).to_list() == pytest.approx(arrays["gen_Zs"][:, 0].tolist(), rel=1e-6)
    assert set(ak.flatten(events["GenPart_pdgId"]).tolist()) == {23}


def test_omnifold_goes_through_skim_and_levels(tmp_path: Path) -> None:
    path, arrays = omnifold_file(tmp_path, 20)
    run("omnifold", path, tmp_path / "events.root", 20)
    selection = {
        "generated_z": {"pt": {"min": 200}},
        "jets": {"collection": "Jet", "radius": 0.4},
        "shifts": ["jesUp", "jerUp"],
        "keep": {"events": "all", "particle_level": True},
    }
    config = complete({"selection": selection})
    summary = skim(tmp_path / "events.root", tmp_path / "skim.root", config)
    assert summary["kinematic_shifts"] == ["jesUp", "jerUp"]
    settings = {key: config["features"][key] for key in ("max_constituents", "puppi_jets", "soft_drop")}
    settings |= {
        "jet": "Jet",
        "radius": 0.4,
        "data": False,
        "levels": {"jets": 1, "leptons": False, "constituents": False},
    }
    settings |= {"selection": {"candidates": {}, "generated_z": {"pt": {"min": 200}}}}
    output = tmp_path / "levels.parquet"
    build_levels.main(
        ["--input", str(tmp_path / "skim.root"), "--config", json.dumps(settings), "--output", str(output)]
    )
    levels = read_parquet(output)
    assert ak.all(levels["pass_gen"] & levels["pass_reco"])
    for level, name in (("gen", "gen"), ("reco", "sim")):
        jets, particles = arrays[f"{name}_jets"], arrays[f"{name}_particles"]
        assert levels[f"{level}_jet_pt"].tolist() == pytest.approx(jets[:, 0].tolist(), rel=1e-6)
        assert levels[f"{level}_jet_y"].tolist() == pytest.approx(jets[:, 1].tolist(), abs=1e-5)
        assert levels[f"{level}_jet_multiplicity"].tolist() == (particles[:, :, 0] > 0).sum(axis=1).tolist()


def test_faults_of_omnifold_files_are_told(tmp_path: Path) -> None:
    path, arrays = omnifold_file(tmp_path, 4)
    particles = arrays["sim_particles"].copy()
    particles[2, 0, 3] = 1.45
    path, _ = omnifold_file(tmp_path, 4, sim_particles=particles)
    with pytest.raises(UserError, match=r"array sim_particles of .*: 1.45 is no kind of particle"):
        run("omnifold", path, tmp_path / "0.root", 4)
    path, _ = omnifold_file(tmp_path, 4, gen_Zs=np.array([{"pt": 1}] * 4, dtype=object))
    with pytest.raises(UserError, match=r"array gen_Zs .* type object, expected rows of 3 floats"):
        run("omnifold", path, tmp_path / "0.root", 4)
    path, _ = omnifold_file(tmp_path, 4, gen_jets=arrays["gen_jets"][:3])
    with pytest.raises(UserError, match="differ in their number of events"):
        run("omnifold", path, tmp_path / "0.root", 4)
    np.savez(path, jets=np.zeros((4, 4)))
    with pytest.raises(UserError, match="has no array gen_jets; it holds: jets"):
        run("omnifold", path, tmp_path / "0.root", 4)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"cannot open .* as an .npz file"):
        run("omnifold", path, tmp_path / "0.root", 4)
    assert not (tmp_path / "0.root").exists()


def test_arrays_are_read_as_numpy_reads_them(tmp_path: Path) -> None:
    values = np.arange(60, dtype=np.float32).reshape(5, 3, 4)
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", gen_particles=values)
        with zipfile.ZipFile(tmp_path / "a.npz") as archive:
            stored = omnifold.open_array(archive, "gen_particles", tmp_path / "a.npz")
            for start, stop in ((0, 5), (3, 5), (1, 2), (4, 4)):
                assert np.array_equal(stored.read(start, stop), values[start:stop])
            with pytest.raises(EOFError):
                stored.read(3, 6)


def test_jetclass_jets_are_those_of_the_file(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(jetclass, "STEP", 6)
    branches = toys.jetclass_entries(15)
    path = toys.write_jetclass(tmp_path / "TTBar_120.root", branches)
    events = run("jetclass", path, tmp_path / "0.root", 15)
    for number, event in enumerate(events):
        part = {name: np.asarray(values[number]) for name, values in branches.items() if name.startswith("part_")}
        order = np.argsort(-np.hypot(part["part_px"].astype(float), part["part_py"]), kind="stable")
        momenta = np.stack([part[f"part_{name}"] for name in ("energy", "px", "py", "pz")], axis=1)[order]
        assert candidates(event) == pytest.approx(momenta, rel=3e-6, abs=1e-4)
        charge = part["part_charge"][order].astype(int)
        assert event["PFCands_charge"].tolist() == charge.tolist()
        codes = []
        for place, sign in zip(order, charge, strict=True):
            kind = next(name for name in ("ChargedHadron", "NeutralHadron", "Photon", "Electron", "Muon")
                        if part[f"part_is{name}"][place])  # fmt: skip
            neutral = {"NeutralHadron": 130, "Photon": 22}
            codes.append(neutral.get(kind) or {"ChargedHadron": 211, "Electron": -11, "Muon": -13}[kind] * sign)
        assert event["PFCands_pdgId"].tolist() == codes
        # NanoAOD has cm, JetClass mm
        assert event["PFCands_d0"].tolist() == pytest.approx((0.1 * part["part_d0val"][order]).tolist(), rel=1e-5)
        assert event["PFCands_dzErr"].tolist() == pytest.approx((0.1 * part["part_dzerr"][order]).tolist(), rel=1e-5)
        assert event["FatJet_pt"].tolist() == pytest.approx([branches["jet_pt"][number]], rel=1e-6)
        assert event["FatJet_msoftdrop"].tolist() == pytest.approx([branches["jet_sdmass"][number]], rel=1e-6)


def test_jetclass_is_read_inside_of_its_archive(tmp_path: Path) -> None:
    branches = toys.jetclass_entries(9)
    path = toys.write_jetclass(tmp_path / "a.root", branches)
    other = toys.write_jetclass(tmp_path / "b.root", toys.jetclass_entries(3, seed=9))
    members = {"./val_5M/ZJetsToNuNu_120.root": other, "./val_5M/TTBar_120.root": path}
    archive = toys.write_archive(tmp_path / "JetClass_Pythia_val_5M.tar", members)
    expected = run("jetclass", path, tmp_path / "0.root", 9)
    found = run("jetclass", archive / "val_5M/TTBar_120.root", tmp_path / "1.root", 9)
    assert found.tolist() == expected.tolist()
    tops = run("jetclass", archive / "val_5M/TTBar_120.root", tmp_path / "2.root", 9, "--label", "Tbqq")
    assert tops["event"].tolist() == np.flatnonzero(branches["label_Tbqq"]).tolist()
    with pytest.raises(UserError, match=r"has no file 'val_5M/HToBB_120.root'; it begins with: .*ZJetsToNuNu"):
        run("jetclass", archive / "val_5M/HToBB_120.root", tmp_path / "3.root", 9)


@pytest.mark.parametrize("layout", ["toptag", "olympics", "trigger", "omnifold", "jetclass"])
def test_what_is_no_file_of_the_layout_is_told(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "x.h5"
    with pytest.raises(UserError, match=str(path)):
        run(layout, path, tmp_path / "0.root", 1)
    path.write_bytes(b"not a file of numbers")
    with pytest.raises(UserError, match=str(path)):
        run(layout, path, tmp_path / "0.root", 1)
    with pytest.raises(UserError, match=f"layout {layout} has no label 'bacground'"):
        run(layout, path, tmp_path / "0.root", 1, "--label", "bacground")
    assert not (tmp_path / "0.root").exists()


def test_more_rows_than_there_are(tmp_path: Path) -> None:
    path = toys.write_trigger(tmp_path / "e.h5", toys.trigger_rows(5))
    with pytest.raises(UserError, match="has 5 rows; rows 3 to 6 are asked for"):
        run("trigger", path, tmp_path / "0.root", 3, "--first-row", "3")


def write_rows(layout: str, path: Path, rows: int) -> Path:
    """Write a file of some rows."""
    if layout == "toptag":
        return toys.write_toptag(path, *toys.toptag_rows(rows))
    if layout == "trigger":
        return toys.write_trigger(path, toys.trigger_rows(rows))
    if layout == "jetclass":
        return toys.write_jetclass(path, toys.jetclass_entries(rows))
    np.savez(path, **toys.omnifold_arrays(rows))
    return path.with_name(f"{path.name}.npz")


@pytest.mark.parametrize(
    ("layout", "module"), [("toptag", toptag), ("trigger", trigger), ("omnifold", omnifold), ("jetclass", jetclass)]
)
def test_memory_does_not_grow_with_the_file(tmp_path: Path, monkeypatch, layout: str, module: Any) -> None:
    monkeypatch.setattr(module, "STEP", 50)
    peaks = []
    for rows in (50, 100, 400):
        path = write_rows(layout, tmp_path / f"{rows}.file", rows)
        tracemalloc.start()
        convert(layout, path, tmp_path / "0.root", rows)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # the first run fills caches of imports; four times the rows, and what grows is the list of baskets of the output
    assert peaks[2] < 1.3 * peaks[1]
