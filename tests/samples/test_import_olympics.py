"""Events of the LHC Olympics become files of events as they are made here, and go through skim and features."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import awkward as ak
import fastjet
import h5py
import hdf5plugin
import numpy as np
import pytest
import uproot
from workflow_runs import Checkout

from lhcml.common.configuration import fill_defaults, load_schema
from lhcml.common.errors import UserError
from lhcml.common.files import read_parquet
from lhcml.features import build_features
from lhcml.samples import import_events
from lhcml.samples.layouts import olympics as layout
from lhcml.samples.layouts.olympics import PARTICLES
from lhcml.skim.skim_events import skim_file

ROOT = Path(__file__).parents[2]
CONTENT = '{"collections": ["FatJet", "Jet", "PFCands"], "fat_jet_radius": 1.0}'


def two_jets(events: int, seed: int = 3) -> np.ndarray:
    """Return rows as in the files: two sprays of particles back to back, soft ones anywhere, zeros, and the label."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((events, 3 * PARTICLES + 1))
    for row in rows:
        particles = []
        for axis in (0.3, 0.3 - np.pi):
            size = rng.integers(20, 50)
            share = rng.dirichlet(np.full(size, 0.5)) * rng.uniform(1300, 1800)
            phi = axis + rng.normal(scale=0.2, size=size)
            particles.append(np.stack([share, rng.normal(scale=0.2, size=size), (phi + np.pi) % (2 * np.pi) - np.pi]))
        soft = rng.integers(50, 100)
        particles.append(
            np.stack([rng.exponential(1, soft), rng.uniform(-4, 4, soft), rng.uniform(-np.pi, np.pi, soft)])
        )
        flat = np.concatenate(particles, axis=1).T
        flat = flat[rng.permutation(len(flat))]
        row[: flat.size] = flat.ravel()
        row[-1] = rng.random() < 0.4
    return rows


def write(path: Path, rows: np.ndarray) -> Path:
    """Write what pandas 3 writes with `to_hdf(format="fixed", complib="blosc")` for columns that are numbers."""
    packed = hdf5plugin.Blosc(cname="blosclz", clevel=9)
    chunks = (min(3, len(rows)), rows.shape[1])
    with h5py.File(path, "w") as file:
        values = file.create_dataset("df/block0_values", data=rows, chunks=chunks, compression=packed)
        values.attrs["transposed"] = np.uint8(1)
        for name, length in (("axis0", rows.shape[1]), ("axis1", len(rows)), ("block0_items", rows.shape[1])):
            file.create_dataset(f"df/{name}", data=np.arange(length), compression=packed)
    return path


def run(path: Path, output: Path, *options: str) -> ak.Array:
    command = ["--layout", "olympics", "--input", str(path), "--output", str(output), "--content", CONTENT, *options]
    import_events.main(command)
    with uproot.open(output) as file:
        return file["Events"].arrays()


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return two_jets(23)


@pytest.fixture(scope="module")
def olympics(rows: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("olympics") / "events.h5", rows)


@pytest.mark.parametrize(("name", "radius", "min_pt"), [("FatJet", 1.0, 170), ("Jet", 0.4, 15)])
def test_jets_agree_with_fastjet(
    olympics: Path, rows: np.ndarray, tmp_path: Path, monkeypatch, name, radius, min_pt
) -> None:
    monkeypatch.setattr(layout, "STEP", 4)
    events = run(olympics, tmp_path / "0.root", "--rows", "23")
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, radius)
    for number, row in enumerate(rows):
        particles = []
        for pt, eta, phi in row[:-1].reshape(-1, 3):
            if pt > 0:
                particles.append(
                    fastjet.PseudoJet(pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta))
                )
        sequence = fastjet.ClusterSequence(particles, definition)
        jets = fastjet.sorted_by_pt(sequence.inclusive_jets(min_pt))
        jets = [jet for jet in jets if abs(jet.eta()) < 5]
        # branches are float32: 24 bits, 6e-8; the mass of a jet of one particle is rounding, 1e-4 GeV
        assert events[f"{name}_pt"][number].tolist() == pytest.approx([jet.pt() for jet in jets], rel=1e-6)
        assert events[f"{name}_eta"][number].tolist() == pytest.approx([jet.eta() for jet in jets], rel=1e-6)
        assert events[f"{name}_phi"][number].tolist() == pytest.approx([jet.phi_std() for jet in jets], rel=1e-6)
        masses = [max(jet.m(), 0) for jet in jets]
        assert events[f"{name}_mass"][number].tolist() == pytest.approx(masses, rel=1e-6, abs=1e-4)
        assert events[f"{name}_nConstituents"][number].tolist() == [len(jet.constituents()) for jet in jets]


def test_candidates_of_jets_are_the_particles(olympics: Path, tmp_path: Path) -> None:
    events = run(olympics, tmp_path / "0.root", "--rows", "23")
    link = events["FatJetPFCands_pFCandsIdx"][events["FatJetPFCands_jetIdx"] == 0]
    pt, phi = events["PFCands_pt"][link], events["PFCands_phi"][link]
    total = np.hypot(ak.sum(pt * np.cos(phi), axis=1), ak.sum(pt * np.sin(phi), axis=1))
    assert ak.to_numpy(total) == pytest.approx(ak.to_numpy(events["FatJet_pt"][:, 0]), rel=1e-5)
    assert ak.all(events["PFCands_mass"] == 0)
    assert ak.all(pt[:, 1:] <= pt[:, :-1])


def test_labels_and_slices(olympics: Path, rows: np.ndarray, tmp_path: Path) -> None:
    numbers = []
    for chunk, (first, count) in enumerate([(0, 10), (10, 10), (20, 3)]):
        options = ("--first-row", str(first), "--rows", str(count), "--luminosity-block", str(chunk + 1))
        events = run(olympics, tmp_path / f"{chunk}.root", "--label", "signal", *options)
        assert set(events["luminosityBlock"].tolist()) <= {chunk + 1}
        assert set(events["run"].tolist()) | set(events["genWeight"].tolist()) <= {1}
        numbers += events["event"].tolist()
        with uproot.open(tmp_path / f"{chunk}.root") as file:
            runs = file["Runs"].arrays()[0].tolist()
        assert runs == {
            "run": 1,
            "genEventCount": len(events),
            "genEventSumw": len(events),
            "genEventSumw2": len(events),
        }
    assert numbers == np.flatnonzero(rows[:, -1] == 1).tolist()


def test_missing_momentum_balances_the_particles(olympics: Path, rows: np.ndarray, tmp_path: Path) -> None:
    events = run(olympics, tmp_path / "0.root", "--rows", "1")
    pt, _, phi = rows[0, :-1].reshape(-1, 3).T
    expected = (-(pt * np.cos(phi)).sum(), -(pt * np.sin(phi)).sum())
    found = (events["MET_pt"][0] * np.cos(events["MET_phi"][0]), events["MET_pt"][0] * np.sin(events["MET_phi"][0]))
    # sums of thousands of GeV in float32 of about 300 GeV
    assert found == pytest.approx(expected, abs=1e-3)


def test_bad_events_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = two_jets(6)
    rows[1, 4], rows[2, 0], rows[3, :-1] = np.nan, -5, 0
    # a particle behind padding counts as well
    rows[5, -10:-7] = 40, 0, 0
    with caplog.at_level(logging.INFO, "lhcml"):
        events = run(write(tmp_path / "events.h5", rows), tmp_path / "0.root", "--rows", "6")
    assert events["event"].tolist() == [0, 4, 5]
    assert "left out: 3 rows" in caplog.text
    assert events["MET_sumEt"][2] == pytest.approx(rows[5, :-1:3].sum(), rel=1e-6)


def test_skim_and_features_read_the_file(olympics: Path, rows: np.ndarray, tmp_path: Path) -> None:
    schema = load_schema(ROOT / "workflow/schemas")
    selection = {"jets": {"radius": 1.0, "count": {"min": 2}, "take": "two_leading", "leading": {"pt": {"min": 1600}}}}
    channels = {
        "c": {
            "datasets": {"lhco": {"import": {"layout": "olympics", "files": ["e.h5"]}, "events": 23}},
            "selection": selection,
        }
    }
    config = fill_defaults({"seed": 1, "channels": channels}, schema)
    events = run(olympics, tmp_path / "events.root", "--rows", "23")
    summary = skim_file(
        str(tmp_path / "events.root"),
        tmp_path / "skim.root",
        dataset="lhco",
        selection=config["channels"]["c"]["selection"],
        config=config["skim"],
    )
    assert (summary["count"], summary["sum_genWeight"], summary["cross_section_pb"]) == (23, 23, None)
    settings = json.dumps(config["features"] | {"jet": "FatJet", "radius": 1.0})
    output = tmp_path / "features.parquet"
    build_features.main(["--input", str(tmp_path / "skim.root"), "--config", settings, "--output", str(output)])
    jets = read_parquet(output)
    passing = events[ak.to_numpy(events["FatJet_pt"][:, 0]) >= 1600]
    assert 0 < len(passing) < 23
    assert jets["event"].tolist() == np.repeat(ak.to_numpy(passing["event"]), 2).tolist()
    # the features add up the constituents again
    multiplicity = ak.flatten(passing["FatJet_nConstituents"][:, :2])
    assert jets["jet_multiplicity"].tolist() == multiplicity.tolist()
    assert ak.to_numpy(jets["jet_mass"]) == pytest.approx(
        ak.to_numpy(ak.flatten(passing["FatJet_mass"][:, :2])), rel=1e-6
    )
    assert ak.all((jets["jet_tau21"] > 0) & (jets["jet_tau21"] < 1))


def test_a_chunk_without_events_of_the_label(tmp_path: Path) -> None:
    rows = two_jets(3)
    rows[:, -1] = 0
    events = run(write(tmp_path / "events.h5", rows), tmp_path / "0.root", "--rows", "3", "--label", "signal")
    assert len(events) == 0
    assert {"FatJet_pt", "PFCands_pt", "FatJetPFCands_jetIdx", "genWeight"} <= set(events.fields)


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        (2101, ("--rows", "6"), "has 5 rows; rows 0 to 6 are asked for"),
        (2100, ("--rows", "5", "--label", "signal"), "has no column of labels"),
        (15, ("--rows", "5"), "has 15 columns"),
    ],
)
def test_faults_are_named_and_nothing_is_written(tmp_path: Path, columns: int, options: tuple, message: str) -> None:
    write(tmp_path / "events.h5", two_jets(5)[:, :columns])
    with pytest.raises(UserError, match=message):
        run(tmp_path / "events.h5", tmp_path / "0.root", *options)
    assert not (tmp_path / "0.root").exists()


def test_labels_are_checked(tmp_path: Path) -> None:
    rows = two_jets(2)
    rows[1, -1] = 0.4
    with pytest.raises(UserError, match=r"label of row 1 of .*events.h5 is 0.4"):
        run(write(tmp_path / "events.h5", rows), tmp_path / "0.root", "--rows", "2")


def test_a_dataset_of_the_olympics_is_planned(tmp_path: Path, snakemake_bin: Path) -> None:
    checkout = Checkout(tmp_path / "checkout", snakemake_bin)
    (checkout.folder / "events.h5").touch()
    block = {"layout": "olympics", "files": ["events.h5"], "label": "background"}
    datasets = {"lhco": {"import": block, "events": 201}}
    overlay = checkout.overlay({"samples": {"events_per_chunk": 100}, "channels": {"dijet": {"datasets": datasets}}})
    target = [f"results/features/dijet/lhco/nominal/{chunk}.parquet" for chunk in range(3)]
    assert checkout.planned("--configfile", overlay, "--", *target) == {
        "import_events": 3, "skim_events": 3, "build_features": 3,
    }  # fmt: skip
    # rows 200 to 201 are those of the third file
    printed = checkout.run("-n", "-p", "--cores", "1", "--configfile", overlay, "--", target[2])
    assert "--label background --first-row 200 --rows 1 --event-offset 0 --luminosity-block 3" in printed
