"""Matrices of skims, the autoencoder with its regions, and the search in the nine masses."""

from __future__ import annotations

import json
import math

import awkward as ak
import numpy as np
import pytest

from lhcml.anomaly import build_matrices, search_pairs, train_event_autoencoder
from lhcml.anomaly.rapidity_mass import MASSES, mass_cells
from lhcml.anomaly.search_pairs import empty_reasons, largest_excess, pair_edges, search_mass
from lhcml.anomaly.train_event_autoencoder import define_region, input_cells, unweight
from lhcml.common.errors import UserError
from lhcml.common.files import read_json, read_parquet, write_json, write_parquet
from lhcml.common.objects import apart
from lhcml.skim.write_skim import SkimWriter

COUNTS = {"jets": 2, "bjets": 2, "muons": 1, "electrons": 1, "photons": 1}
MATRICES = {
    "jets": "Jet", "met": "MET", "energy": 13000, "overlap": 0.4, "luminosity": None,
    "btag": {"column": "btag", "min": 0.5},
    "objects": {kind: {"count": count, "cuts": {}} for kind, count in COUNTS.items()},
}  # fmt: skip
SEARCH = {
    "bins": {"min": 200, "max": 2000, "width": 0.15}, "start": {}, "sqrt_s": 13000, "functions": ["dijet2", "dijet3"],
    "f_test": 0.05, "widths": [0.0], "resolution": 0.05, "toys": 60,
    "limits": {"masses": [500], "level": 0.05, "asymptotic_minimum": 10, "toys": 500},
}  # fmt: skip


def write_skim(path, jets, muons=None, photons=None, weights=None):
    """Write a skim; objects are lists of events of lists of (pt, eta, phi, mass, tag)."""
    events = len(jets)
    columns = {
        "run": np.ones(events, np.uint32), "luminosityBlock": np.ones(events, np.uint32),
        "event": np.arange(events, dtype=np.uint64), "weight_nominal": np.asarray(weights or np.ones(events)),
        "MET_pt": np.full(events, 30, np.float32), "MET_phi": np.zeros(events, np.float32),
    }  # fmt: skip
    counts = np.array([len(event) for event in jets], np.int64)
    columns["selectedJet_nominal"] = ak.local_index(ak.unflatten(np.zeros(counts.sum()), counts))
    tables = {"Jet": (jets, ("pt", "eta", "phi", "mass", "btag"))}
    if muons is not None:
        tables["Muon"] = (muons, ("pt", "eta", "phi", "mass"))
    if photons is not None:
        tables["Photon"] = (photons, ("pt", "eta", "phi"))
    for name, (objects, fields) in tables.items():
        flat = np.array([thing for event in objects for thing in event], np.float32).reshape(-1, len(fields))
        for column, field in enumerate(fields):
            columns[f"{name}_{field}"] = ak.unflatten(
                flat[:, column], np.array([len(event) for event in objects], np.int64)
            )
    with SkimWriter(path) as writer:
        writer.add(columns)


def build(folder, config=None, data=False):
    """Run build_matrices on the skim in a folder; return events and summary."""
    cutflow = {"datasets": {"x": {"data": data, "weight_to_pb": 0.5, "cross_section_pb": 10.0}}}
    write_json(folder / "cutflow.json", cutflow)
    build_matrices.main([
        "--skims", str(folder / "skim.root"), "--cutflow", str(folder / "cutflow.json"), "--dataset", "x",
        "--config", json.dumps(config or MATRICES), "--output", str(folder / "x.parquet"),
        "--summary", str(folder / "x.json"),
    ])  # fmt: skip
    return read_parquet(folder / "x.parquet"), read_json(folder / "x.json")


def test_matrices_of_a_skim(tmp_path):
    # first event: two light jets, a b-jet, and a jet that is the muon; second: one jet; third: nothing
    jets = [
        [(100, 0, 0, 0, 0.1), (80, 0, math.pi, 0, 0.2), (60, 0.0, 1.5, 0, 0.9), (41, 1.0, 3.0, 0, 0.0)],
        [(50, 0, 0, 0, 0)],
        [],
    ]
    write_skim(tmp_path / "skim.root", jets, muons=[[(40, 1.05, 3.0, 0.1)], [], []], weights=[1.0, 2.0, 1.0])
    events, summary = build(tmp_path)
    assert ak.to_numpy(events["n_jets"]).tolist() == [2, 1, 0]
    assert ak.to_numpy(events["n_bjets"]).tolist() == [1, 0, 0]
    assert ak.to_numpy(events["weight_pb"]).tolist() == [0.5, 1.0, 0.5]
    # back to back at eta 0: m² = 4 pt1 pt2; single precision in the file
    assert events["m_jj"][0] == pytest.approx(2 * math.sqrt(100 * 80), rel=1e-6)
    assert events["m_jb"][0] == pytest.approx(math.sqrt(2 * 100 * 60 * (1 - math.cos(1.5))), rel=1e-6)
    assert ak.all(events["m_jj"][1:] == 0)
    matrix = ak.to_numpy(events["matrix"]).reshape(3, 8, 8)
    row, column = mass_cells(COUNTS)["m_jb"]
    assert matrix[0, row, column] == pytest.approx(events["m_jb"][0] / 13000, rel=1e-6)
    assert np.count_nonzero(matrix[2]) == 1
    assert summary["masses"]["m_jmu"] == 1
    assert summary["accepted_pb"] == 2.0
    # nothing is dropped without a word
    assert summary["empty"]["m_jgamma"] == "the skims have no photons"
    assert summary["empty"]["m_je"] == "the skims have no electrons"
    assert summary["empty"]["m_bb"] == "no event has both objects"


def test_without_a_tag_all_jets_are_light_and_the_summary_says_so(tmp_path):
    write_skim(tmp_path / "skim.root", [[(100, 0, 0, 0, 1), (80, 0, 3, 0, 1)]], photons=[[(70, 2.0, 1.0)]])
    config = MATRICES | {"btag": {"column": "hadronFlavour", "min": 5}}
    events, summary = build(tmp_path, config)
    assert events["n_jets"][0] == 2
    assert events["n_photons"][0] == 1
    assert summary["empty"]["m_bb"] == "the skims have no branch Jet_hadronFlavour, so no b-jets"
    assert empty_reasons([summary])["m_bb"] == summary["empty"]["m_bb"]
    assert "m_jgamma" not in empty_reasons([summary])


def test_cuts_of_objects_and_the_weight_of_collision_data(tmp_path):
    write_skim(tmp_path / "skim.root", [[(100, 0, 0, 0, 0), (80, 2.6, 3, 0, 0)]])
    objects = MATRICES["objects"] | {"jets": {"count": 2, "cuts": {"pt": {"min": 20}, "abs_eta": {"max": 2.5}}}}
    events, summary = build(tmp_path, MATRICES | {"objects": objects, "luminosity": 2.0}, data=True)
    assert events["n_jets"][0] == 1
    # 2/fb: an event is 1 / 2000 pb
    assert events["weight_pb"][0] == 1 / 2000
    assert summary["cross_section_pb"] is None
    with pytest.raises(UserError, match="luminosity of x"):
        build(tmp_path, data=True)


def test_a_cut_on_a_column_that_is_not_there_is_an_error(tmp_path):
    write_skim(tmp_path / "skim.root", [[(100, 0, 0, 0, 0)]])
    objects = MATRICES["objects"] | {"jets": {"count": 2, "cuts": {"jetId": {"min": 2}}}}
    with pytest.raises(UserError, match="no branch Jet_jetId"):
        build(tmp_path, MATRICES | {"objects": objects})


def test_nan_and_bad_files_are_errors(tmp_path):
    write_skim(tmp_path / "skim.root", [[(float("nan"), 0, 0, 0, 0)]])
    with pytest.raises(UserError, match="NaN"):
        build(tmp_path)
    (tmp_path / "skim.root").write_bytes(b"no file of ROOT")
    with pytest.raises(UserError, match=r"cannot read .*skim\.root"):
        build(tmp_path)


def test_a_skim_without_events_gives_a_table_without_rows(tmp_path):
    write_skim(tmp_path / "skim.root", [])
    events, summary = build(tmp_path)
    assert len(events) == 0
    assert summary["events"] == 0
    assert len(summary["empty"]) == 9


def test_objects_near_others_across_the_cut_of_phi():
    def one(eta, phi):
        return ak.Array([[{"eta": eta, "phi": phi}]])

    assert ak.num(apart(one(0.0, 3.1), one(0.0, -3.1), 0.4))[0] == 0
    assert ak.num(apart(one(0.0, 3.1), one(0.5, 3.1), 0.4))[0] == 1
    assert ak.num(apart(one(0.0, 3.1), one(0.0, 3.1)[:, :0], 0.4))[0] == 1


def test_pseudo_data_have_one_weight_and_the_luminosity_of_the_largest():
    rng = np.random.default_rng(5)
    weights = np.repeat([2.0, 0.5], [4000, 4000])
    pseudo = unweight(weights, rng)
    assert pseudo.luminosity == 0.5
    assert pseudo.kept[:4000].all()
    # 1000 expected, binomial standard deviation 27; 5 of them
    assert abs(pseudo.kept[4000:].sum() - 1000) < 137
    assert unweight(np.full(7, 3.0), rng).kept.all()
    for bad in (np.zeros(0), np.zeros(3), np.array([1.0, -1.0])):
        with pytest.raises(UserError, match="not positive"):
            unweight(bad, rng)


def test_inputs_are_cells_with_content_other_than_the_nine_masses():
    matrices = np.zeros((3, 64), dtype=np.float32)
    cells = [row * 8 + column for row, column in mass_cells(COUNTS).values()]
    matrices[:, cells] = 1.0
    matrices[1, 0] = matrices[2, 9] = 1.0
    assert input_cells(matrices, COUNTS).tolist() == [0, 9]
    with pytest.raises(UserError, match="64 cells"):
        input_cells(matrices, COUNTS | {"jets": 3})
    with pytest.raises(UserError, match="all cells"):
        input_cells(np.zeros((3, 64)), COUNTS)


def test_regions_by_rate():
    losses = np.random.default_rng(2).permutation(np.arange(100.0))
    # 4 pb at 5/pb are 20 events: losses 80 .. 99
    region = define_region(losses, 5.0, 4.0)
    assert region["threshold"] == 80
    assert region["events"] == 20
    assert region["obtained_pb"] == 4
    assert region["obtained_error_pb"] == pytest.approx(math.sqrt(20) / 5)
    assert define_region(losses, 5.0, 0.01)["threshold"] is None
    assert define_region(losses, 5.0, 30.0)["reason"] == "more than all 100 events"


def toy_events(rng, number, heavy):
    """Return a table of events: two jets; heavy ones have more missing momentum than their jets explain."""
    matrices = np.zeros((number, 64), dtype=np.float32)
    scale = rng.exponential(0.01, number) + 0.005
    matrices[:, 9], matrices[:, 18] = scale, rng.uniform(0, 1, number) * 0.1
    matrices[:, 0] = scale * (10.0 if heavy else 0.3)
    masses = {name: np.zeros(number) for name in MASSES}
    masses["m_jj"] = 200 / (1 - rng.uniform(0, 0.999, number)) ** 0.25
    return {
        "run": np.ones(number, np.int64), "luminosityBlock": np.ones(number, np.int64), "event": np.arange(number),
        "weight_pb": np.full(number, 0.01), **masses, "matrix": ak.from_numpy(matrices, regulararray=True),
    }  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the folder of a training on toy events, and a function that repeats it."""
    folder = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(11)
    write_parquet(folder / "data.parquet", toy_events(rng, 3000, heavy=False))
    write_parquet(folder / "signal.parquet", toy_events(rng, 400, heavy=True))
    config = {
        "objects": {kind: {"count": count} for kind, count in COUNTS.items()}, "train_share": 0.4,
        "layers": [16, 1, 16],
        "training": {"epochs": 15, "batch_size": 64, "learning_rate": 0.01, "weight_decay": 0, "validation": 0.2},
        "regions": [10, 1, 0.001],
    }  # fmt: skip

    def run(name):
        train_event_autoencoder.main([
            "--data", f"data={folder / 'data.parquet'}", "--signals", f"heavy={folder / 'signal.parquet'}",
            "--config", json.dumps(config), "--seed", "3", "--scores", str(folder / f"{name}.parquet"),
            "--regions", str(folder / f"{name}.json"),
        ])  # fmt: skip

    run("scores")
    return folder, run


def test_autoencoder_finds_what_it_was_not_trained_on(trained):
    folder, _ = trained
    content, scores = read_json(folder / "scores.json"), read_parquet(folder / "scores.parquet")
    assert content["inputs"] == 3
    # 3000 events of 0.01 pb are 100/pb; those trained on are left out of both
    assert content["events"] + content["trained_on"] == 3000
    assert content["luminosity_pb"] == pytest.approx(100 * content["events"] / 3000)
    data = ak.to_numpy(scores["loss"])[ak.to_numpy(scores["data"])]
    assert len(data) == content["events"]
    for region in content["regions"][:2]:
        assert np.count_nonzero(data >= region["threshold"]) == region["events"]
        # rounding to whole events
        assert region["obtained_pb"] == pytest.approx(region["cross_section_pb"], abs=1 / content["luminosity_pb"])
    assert content["regions"][2]["threshold"] is None
    signal = content["signals"]["heavy"]
    # the relation of missing momentum and jets is another: far apart by construction
    assert signal["auc"] > 0.9
    assert signal["regions"][0]["efficiency"] > 0.5
    assert signal["regions"][2] is None


def test_the_same_seed_gives_the_same_scores(trained):
    folder, run = trained
    run("again")
    assert (folder / "again.parquet").read_bytes() == (folder / "scores.parquet").read_bytes()


def test_too_few_events_to_train_on(trained, tmp_path):
    folder, _ = trained
    with pytest.raises(UserError, match="at least 100"):
        train_event_autoencoder.main([
            "--data", f"data={folder / 'signal.parquet'}", "--config", json.dumps({
                "objects": {kind: {"count": count} for kind, count in COUNTS.items()}, "train_share": 0.01,
                "layers": [4], "regions": [1],
                "training": {
                    "epochs": 1, "batch_size": 64, "learning_rate": 0.01, "weight_decay": 0, "validation": 0.2
                },
            }), "--seed", "3", "--scores", str(tmp_path / "s.parquet"), "--regions", str(tmp_path / "r.json"),
        ])  # fmt: skip


def test_bins_are_a_share_of_their_mass_and_begin_at_the_start():
    edges = pair_edges({"min": 100, "max": 1000, "width": 0.1}, None)
    assert edges[0] == pytest.approx(100)
    assert edges[-1] == pytest.approx(1000)
    # 24 bins of 10.07 %: the nearest whole number
    np.testing.assert_allclose(edges[1:] / edges[:-1], 10 ** (1 / 24))
    later = pair_edges({"min": 100, "max": 1000, "width": 0.1}, 300)
    assert later[0] == edges[edges >= 300][0]
    with pytest.raises(UserError, match="no bin"):
        pair_edges({"min": 100, "max": 1000, "width": 0.1}, 1000)


def falling(rng, number):
    """Return masses in GeV of a smoothly falling spectrum above 200 GeV: density m^-4."""
    return 200 / (1 - rng.uniform(size=number)) ** (1 / 3)


# pyhf 0.7 checks its workspaces with a resolver that jsonschema will drop
@pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning")
def test_a_resonance_is_found_and_its_limit_is_above_it():
    rng = np.random.default_rng(8)
    masses = np.concatenate([falling(rng, 1500), rng.normal(600, 30, 60), np.zeros(500)])
    edges = pair_edges(SEARCH["bins"], None)
    result = search_mass(masses, edges, 2.0, SEARCH | {"limits": SEARCH["limits"] | {"masses": [600, 100]}}, 4)
    assert result["status"] == "ok"
    # zeros are events without the pair
    assert result["events"] == np.count_nonzero((masses >= 200) & (masses < 2000))
    scan = result["scans"][0]
    # 60 events on about 18 under the peak
    assert scan["z_best"] > 5
    assert scan["best_mass"] == pytest.approx(600, rel=0.05)
    assert result["bump"]["window"][0] < 600 < result["bump"]["window"][1]
    inside, outside = result["limits"]
    assert inside["events"]["observed"] > 45
    assert inside["pb"]["observed"] == pytest.approx(inside["events"]["observed"] / 2.0)
    assert inside["events"]["observed"] > 2 * inside["events"]["expected"][2]
    assert outside["reason"] == "outside the spectrum"
    assert outside["pb"] is None


def test_background_alone_has_no_excess_and_few_events_no_fit():
    rng = np.random.default_rng(9)
    edges = pair_edges(SEARCH["bins"], None)
    none = search_mass(falling(rng, 1500), edges, 1.0, SEARCH | {"limits": {"masses": []}}, 4)
    # a fixed seed; one in twenty seeds has less
    assert none["scans"][0]["p_global"] > 0.05
    few = search_mass(falling(rng, 5), edges, 1.0, SEARCH, 4)
    assert few["status"] == f"{few['events']} events, a fit needs 10"
    assert few["limits"] == []


def test_the_largest_excess_pays_for_all_scans():
    def block(*values):
        return {"scans": [{"width": 0, "best_mass": 1.0, "z_best": 1.0, "p_global": value} for value in values]}

    found = largest_excess({"m_jj": block(0.5, 0.3), "m_je": block(0.1), "m_bb": block()})
    assert found["pair"] == "m_je"
    assert found["p_all_scans"] == pytest.approx(1 - 0.9**3)
    assert largest_excess({"m_bb": block()}) is None


def test_search_of_a_region_by_command_line(trained, tmp_path):
    folder, _ = trained
    search_pairs.main([
        "--scores", str(folder / "scores.parquet"), "--regions", str(folder / "scores.json"), "--region", "10",
        "--config", json.dumps(SEARCH | {"limits": {"masses": []}, "toys": 20}), "--seed", "1",
        "--output", str(tmp_path / "s.json"),
    ])  # fmt: skip
    result, content = read_json(tmp_path / "s.json"), read_json(folder / "scores.json")
    assert set(result["masses"]) == set(MASSES)
    jets = result["masses"]["m_jj"]
    # all toy events have two jets; a few are beyond the last bin
    assert 0.95 * content["regions"][0]["events"] < jets["events"] <= content["regions"][0]["events"]
    assert result["masses"]["m_bb"]["status"] == "0 events, a fit needs 10"
    with pytest.raises(UserError, match="no region of 7 pb"):
        search_pairs.find_region(content["regions"], 7.0)
