"""From a skim to the feature file: identity, ordering, shifts, weights, and what happens to broken input."""

import json
import os
import subprocess
import sys
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from feature_toys import CONFIG, jet_momentum, skim_columns, toy_jet, write_skim

from lhcml.common.errors import UserError
from lhcml.common.files import read_parquet
from lhcml.features import build_features
from lhcml.features.substructure import OBSERVABLES

COLUMNS = [
    "run", "luminosityBlock", "event", "jet_rank", "split", "weight_nominal", "jet_pt", "jet_eta", "jet_phi",
    "jet_mass", "jet_multiplicity", "jet_ptd", "jet_width", "jet_lha", "jet_tau1", "jet_tau2", "jet_tau3",
    "jet_tau4", "jet_tau5", "jet_tau6", "jet_tau7", *(f"jet_tau{n}_beta05" for n in range(1, 7)),
    *(f"jet_tau{n}_beta2" for n in range(1, 8)), "jet_tau21", "jet_tau32", "jet_tau43", "jet_c2",
    "jet_d2", "jet_n2", "jet_m2", "jet_msoftdrop",
    "jet_zg", "jet_rg", "part_pt", "part_eta", "part_phi", "part_mass", "part_charge", "part_pdgId",
    "part_deta", "part_dphi", "part_dr", "part_log_pt", "part_log_energy", "part_log_pt_rel",
    "part_log_energy_rel", "lund_ln_delta", "lund_ln_kt", "lund_ln_z", "lund_psi", "lund_ln_m", "lund_parent",
    "lund_depth",
]  # fmt: skip
EXPERIMENT_FILES = Path(__file__).parents[3] / "shared/data"


@pytest.fixture
def jets():
    """Five events of two, one, none, one and three jets."""
    rng = np.random.default_rng(3)
    return [[toy_jet(rng, rng.integers(1, 40)) for _ in range(n)] for n in (2, 1, 0, 1, 3)]


@pytest.fixture
def build(tmp_path):
    """Write a skim and return its features."""

    def run(columns, shift="nominal", **config):
        path = write_skim(tmp_path / "skim.root", columns)
        build_features.main(
            ["--input", str(path), "--shift", shift, "--config", json.dumps(CONFIG | config),
             "--output", str(tmp_path / "features.parquet")]
        )  # fmt: skip
        return read_parquet(tmp_path / "features.parquet")

    return run


def test_columns_and_identity(build, jets):
    features = build(skim_columns(jets, weight_fsrUp=np.arange(5.0)))
    assert sorted(features.fields) == sorted([*COLUMNS, "weight_fsrUp"])
    assert features.event.to_list() == [1, 1, 2, 4, 5, 5, 5]
    assert features.jet_rank.to_list() == [0, 1, 0, 0, 0, 1, 2]
    assert features.weight_nominal.to_list() == [2.0] * 7
    assert features.weight_fsrUp.to_list() == [0, 0, 1, 3, 4, 4, 4]
    assert set(features.split.to_list()) <= {"train", "validation", "test"}
    # jets of one event share their part
    assert len(set(features.split[features.event == 5].to_list())) == 1


def test_kinematics_and_constituents(build, jets):
    features = build(skim_columns(jets))
    flat = [jet for event in jets for jet in event]
    assert features.jet_multiplicity.to_list() == [jet.shape[1] for jet in flat]
    for row, jet in zip(features, flat, strict=True):
        # single precision in the file
        expected = jet_momentum(jet)
        assert [row.jet_pt, row.jet_eta, row.jet_phi] == pytest.approx(expected[:3], rel=1e-5)
        order = np.argsort(-jet[0])
        for i, name in enumerate(("pt", "eta", "phi", "mass")):
            assert row[f"part_{name}"].to_list() == pytest.approx(list(jet[i][order]), rel=1e-5)
        assert row.part_deta.to_list() == pytest.approx(list((jet[1] - expected[1])[order]), abs=1e-5)
        assert len(row.lund_parent) == jet.shape[1] - 1


def test_selected_jets_in_the_order_of_the_skim(build, jets):
    columns = skim_columns(jets, selectedJet_nominal=[[1], [], [], [0], [2, 0]])
    features = build(columns)
    everything = build(skim_columns(jets))
    assert features.event.to_list() == [1, 4, 5, 5]
    assert features.jet_rank.to_list() == [0, 0, 0, 1]
    rows = everything[[1, 3, 6, 4]]
    for name in set(COLUMNS) - {"jet_rank"}:
        assert features[name].to_list() == rows[name].to_list(), name


def test_order_of_links_and_candidates_does_not_matter(build, jets):
    columns = skim_columns(jets)
    before = build(columns)
    rng = np.random.default_rng(1)
    for event in range(len(jets)):
        n = len(columns["PFCands_pt"][event])
        new_place, link_order = rng.permutation(n), rng.permutation(n)
        for name in [name for name in columns if name.startswith("PFCands_")]:
            columns[name][event] = list(np.array(columns[name][event])[np.argsort(new_place)])
        index, jet = (np.array(columns[f"FatJetPFCands_{name}"][event], int) for name in ("pFCandsIdx", "jetIdx"))
        columns["FatJetPFCands_pFCandsIdx"][event] = list(new_place[index][link_order]) if n else []
        columns["FatJetPFCands_jetIdx"][event] = list(jet[link_order])
    after = build(columns)
    for name in COLUMNS:
        assert after[name].to_list() == before[name].to_list(), name


def test_kinematic_shift_scales_jet_and_constituents(build, jets):
    columns = skim_columns(jets)
    nominal = build(columns)
    for name in ("pt", "mass"):
        columns[f"FatJet_{name}_jesUp"] = [[1.25 * x for x in event] for event in columns[f"FatJet_{name}"]]
    columns["selectedJet_jesUp"] = columns.pop("selectedJet_nominal")
    shifted = build(columns, "jesUp")
    # products of numbers in single precision
    for name in ("jet_pt", "jet_mass", "part_pt", "part_mass", "jet_msoftdrop"):
        scaled = ak.to_numpy(ak.flatten(shifted[name], axis=None))
        assert scaled == pytest.approx(1.25 * ak.to_numpy(ak.flatten(nominal[name], axis=None)), rel=1e-5, abs=1e-4)
    for name in ("part_deta", "part_log_pt_rel", *(set(OBSERVABLES) - {"jet_msoftdrop"}), "lund_ln_z", "jet_phi"):
        same = ak.to_numpy(ak.flatten(nominal[name], axis=None))
        assert ak.to_numpy(ak.flatten(shifted[name], axis=None)) == pytest.approx(same, rel=1e-4, abs=1e-5), name


def test_jets_of_another_collection_and_radius(build, jets):
    fat = build(skim_columns(jets))
    columns = {name.replace("FatJet", "Jet"): values for name, values in skim_columns(jets).items()}
    small = build(columns, jet="Jet", radius=0.4)
    assert small.part_pt.to_list() == fat.part_pt.to_list()
    # single precision in the file
    assert small.jet_tau1.to_list() == pytest.approx((2 * fat.jet_tau1).to_list(), rel=1e-6)
    assert small.jet_lha.to_list() == pytest.approx((np.sqrt(2) * fat.jet_lha).to_list(), rel=1e-6)
    assert small.jet_rg.to_list() == fat.jet_rg.to_list()


def test_puppi_weights(build):
    pt = np.array([[100.0, 50.0, 30.0, 20.0], [0, 0.1, 0.2, 0.3], [0, 0.1, 0, 0.1], [0.1, 0.1, 0.1, 0.1]])
    columns = skim_columns([[pt]], PFCands_puppiWeight=[[1.0, 0.5, 0.0, 1.0]])
    features = build(columns)
    assert features.part_pt[0].to_list() == pytest.approx([100, 25, 20])
    assert features.part_mass[0].to_list() == pytest.approx([0.1, 0.05, 0.1])
    assert features.jet_multiplicity.to_list() == [3]
    features = build(columns, puppi_jets=[])
    assert features.part_pt[0].to_list() == pytest.approx([100, 50, 30, 20])


def test_largest_number_of_constituents(build, jets):
    everything, capped = build(skim_columns(jets)), build(skim_columns(jets), max_constituents=5)
    assert capped.jet_multiplicity.to_list() == everything.jet_multiplicity.to_list()
    assert capped.part_pt.to_list() == everything.part_pt[:, :5].to_list()
    assert ak.max(ak.num(capped.lund_psi)) == 4


def test_jet_without_constituents(build):
    rng = np.random.default_rng(0)
    columns = skim_columns([[toy_jet(rng, 5), toy_jet(rng, 3)]])
    columns["FatJetPFCands_jetIdx"] = [[0] * 5 + [0] * 3]
    features = build(columns)
    assert features.jet_multiplicity.to_list() == [8, 0]
    assert [features[name][1] for name in OBSERVABLES] == [0] * len(OBSERVABLES)
    assert features.part_pt[1].to_list() == []


def test_steps_give_one_file(build, jets, monkeypatch):
    whole = build(skim_columns(jets))
    monkeypatch.setattr(build_features, "STEP_SIZE", 2)
    pieces = build(skim_columns(jets))
    for name in COLUMNS:
        assert pieces[name].to_list() == whole[name].to_list(), name


@pytest.mark.parametrize("events", [0, 3])
def test_no_events_or_no_selected_jets(build, jets, events):
    columns = skim_columns(jets)
    types = build(columns).type.content
    some = {name: values[:events] for name, values in columns.items()}
    some["selectedJet_nominal"] = [[]] * events
    features = build(some)
    assert len(features) == 0
    assert features.type.content == types


def test_number_of_threads_does_not_matter(build, jets, tmp_path):
    build(skim_columns(jets * 20))
    files = []
    for threads in ("1", "2"):
        files.append(tmp_path / f"{threads}.parquet")
        command = [sys.executable, "-m", "lhcml.features.build_features", "--input", str(tmp_path / "skim.root"),
                   "--config", json.dumps(CONFIG), "--threads", threads, "--output", str(files[-1])]  # fmt: skip
        environment = os.environ | {"NUMBA_NUM_THREADS": "2", "PYTHONPATH": "src"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[2])
        assert done.returncode == 0, done.stderr
        assert "140 jets written" in done.stderr
    assert files[0].read_bytes() == files[1].read_bytes()


def test_data_has_no_generator_branches(build, jets):
    # the skim of collision data has unit weights, no genWeight and no shifts
    features = build(skim_columns(jets, weight_nominal=np.ones(5)))
    assert [name for name in features.fields if name.startswith("weight")] == ["weight_nominal"]


def broken(jets, name, change):
    columns = skim_columns(jets)
    columns[name] = change(columns[name])
    return columns


def set_first(value):
    def change(values):
        return [[value, *values[0][1:]], *values[1:]]

    return change


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("PFCands_pt", set_first(np.nan), "branch PFCands_pt .* NaN"),
        ("PFCands_eta", set_first(np.inf), "branch PFCands_eta .* infinite"),
        ("FatJet_mass", set_first(np.nan), "branch FatJet_mass .* NaN"),
        ("FatJet_pt", set_first(0.0), "pt <= 0"),
        ("weight_nominal", lambda w: w * np.nan, "weight_nominal .* NaN"),
        ("FatJetPFCands_jetIdx", set_first(7), "links point to no jet"),
        ("FatJetPFCands_pFCandsIdx", set_first(-1), "links point to no jet or to no candidate"),
        ("selectedJet_nominal", set_first(5), "selectedJet_nominal points to no jet"),
        ("PFCands_phi", lambda _: np.zeros(5), "PFCands_phi .* expected a list of numbers"),
        ("PFCands_charge", None, "no jet constituents: missing PFCands_charge(.|\n)*cutflow"),
        ("FatJet_eta", None, "no branch FatJet_eta"),
        ("weight_nominal", None, "no branch weight_nominal"),
    ],
)
def test_broken_input_is_named(build, jets, name, change, message):
    with pytest.raises(UserError, match=message) as caught:
        build(broken(jets, name, change or (lambda _: None)) if change else skim_columns(jets, **{name: None}))
    assert "skim.root" in str(caught.value)


def test_shift_that_the_skim_does_not_have(build, jets):
    with pytest.raises(UserError, match=r"selectedJet_jerUp(.|\n)*shifts"):
        build(skim_columns(jets), "jerUp")


def test_failed_job_leaves_no_file(build, jets, tmp_path):
    with pytest.raises(UserError):
        build(broken(jets, "PFCands_pt", set_first(np.nan)))
    assert not [path.name for path in tmp_path.iterdir() if "parquet" in path.name]


@pytest.mark.parametrize("content", ["missing", "empty", "text", "truncated", "no tree"])
def test_file_that_is_no_skim(tmp_path, jets, content):
    path = tmp_path / "skim.root"
    if content == "truncated":
        write_skim(path, skim_columns(jets * 50))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif content == "no tree":
        with uproot.recreate(path) as file:
            file.mktree("Other", {"x": np.dtype(np.float32)})
    elif content != "missing":
        path.write_text("" if content == "empty" else "no ROOT file\n" * 100)
    with pytest.raises(UserError, match=r"skim\.root"):
        list(build_features.build_features(path, "nominal", CONFIG))


@pytest.mark.skipif(not EXPERIMENT_FILES.is_dir(), reason="no experiment file here")
def test_experiment_file_agrees_with_its_own_substructure(tmp_path):
    """CMS simulation with PUPPI jets: tau_N of the same constituents, though with axes of another definition."""
    with uproot.open(EXPERIMENT_FILES / "pfnano.root") as file:
        tree = file["Events"]
        names = [f"FatJet_{name}" for name in ("pt", "eta", "phi", "mass")]
        names += ["FatJetPFCands_jetIdx", "FatJetPFCands_pFCandsIdx", "PFCands_puppiWeight"]
        names += [f"PFCands_{name}" for name in ("pt", "eta", "phi", "mass", "charge", "pdgId")]
        events = tree.arrays([*names, "run", "luminosityBlock", "event", "FatJet_tau1", "FatJet_tau2"])
    columns = {name: events[name].to_list() for name in names}
    columns |= {name: ak.to_numpy(events[name]) for name in ("run", "luminosityBlock", "event")}
    leading = [[0, 1] if len(pt) > 1 else [] for pt in columns["FatJet_pt"]]
    path = write_skim(tmp_path / "skim.root",
                      columns | {"weight_nominal": np.ones(len(events)), "selectedJet_nominal": leading})  # fmt: skip
    (features,) = build_features.build_features(path, "nominal", CONFIG)
    assert len(features["jet_pt"]) > 10
    for name, typical in (("tau1", 0.005), ("tau2", 0.03)):
        theirs = ak.to_numpy(ak.flatten(events[f"FatJet_{name}"][ak.Array(leading)]))
        difference = np.abs(features[f"jet_{name}"] / theirs - 1)
        # minimised axes there, winner-take-all axes here: they agree for most jets, and never differ by much
        assert np.median(difference) < typical, name
        assert difference.max() < 0.25, name
