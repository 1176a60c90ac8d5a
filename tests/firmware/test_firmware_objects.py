"""Inputs of a trigger network from skims: layout, order, cuts, overlap, weights, split, and what goes wrong."""

from __future__ import annotations

import json
import math

import awkward as ak
import numpy as np
import pytest
import uproot

from lhcml.common.errors import UserError
from lhcml.common.files import write_json
from lhcml.common.objects import apart
from lhcml.firmware import collect_objects
from lhcml.firmware.collect_objects import input_names
from lhcml.firmware.input_table import read_inputs, write_inputs

OBJECTS = {
    "electrons": {"count": 2, "cuts": {"abs_eta": {"max": 3.0}}},
    "muons": {"count": 2, "cuts": {"pt": {"min": 3}, "abs_eta": {"max": 2.1}}},
    "jets": {"count": 3, "cuts": {"pt": {"min": 15}, "abs_eta": {"max": 4.0}}},
    "overlap": 0.4,
}
CONFIG = {
    "objects": OBJECTS, "jets": "Jet", "met": "MET", "split": {"train": 0.5, "validation": 0.2, "test": 0.3},
}  # fmt: skip
CUTFLOW = {"datasets": {"tt": {"data": False, "weight_to_pb": 0.5}, "run2": {"data": True}}}


def write_skim(path, electrons, muons, jets, selected=None, weights=None, met=None):
    """Write a skim; objects are lists of events of lists of (pt, eta, phi)."""
    count = len(jets)
    columns = {
        "run": np.ones(count, np.uint32), "luminosityBlock": np.full(count, 7, np.uint32),
        "event": np.arange(count, dtype=np.uint64), "weight_nominal": np.asarray(weights or np.ones(count), float),
        "MET_pt": np.asarray(met or np.full(count, 30), np.float32), "MET_phi": np.full(count, -1.5, np.float32),
    }  # fmt: skip
    chosen = selected or [list(range(len(event))) for event in jets]
    columns["selectedJet_nominal"] = ak.unflatten(
        np.array([place for event in chosen for place in event], np.int32),
        np.array([len(event) for event in chosen], np.int64),
    )
    for name, objects in (("Electron", electrons), ("Muon", muons), ("Jet", jets)):
        flat = np.array([thing for event in objects for thing in event], np.float32).reshape(-1, 3)
        lengths = np.array([len(event) for event in objects], np.int64)
        for place, quantity in enumerate(("pt", "eta", "phi")):
            columns[f"{name}_{quantity}"] = ak.unflatten(flat[:, place], lengths)
    with uproot.recreate(path) as file:
        file["Events"] = columns


def collect(folder, config=None, dataset="tt", skims=("0.root",)):
    """Run the module and return the table."""
    write_json(folder / "cutflow.json", CUTFLOW)
    collect_objects.main(
        [
            "--skims", *(str(folder / name) for name in skims), "--cutflow", str(folder / "cutflow.json"), "--dataset",
            dataset, "--config", json.dumps(config or CONFIG), "--output", str(folder / "inputs.parquet"),
        ]
    )  # fmt: skip
    return read_inputs(folder / "inputs.parquet")


def test_names_are_the_57_of_the_benchmark():
    """MET, 4 electrons, 4 muons, 10 jets, each pT, eta, phi."""
    names = input_names({"electrons": {"count": 4}, "muons": {"count": 4}, "jets": {"count": 10}})
    assert len(names) == len(set(names)) == 57
    assert names[:6] == ["met_pt", "met_eta", "met_phi", "electron1_pt", "electron1_eta", "electron1_phi"]
    assert (names[15], names[27], names[56]) == ("muon1_pt", "jet1_pt", "jet10_phi")


def test_one_event_by_hand(tmp_path):
    """Order by pT, cuts, zeros for what is absent, jets near leptons left out, unselected jets too."""
    electrons = [[(10, 0.5, 0.1), (40, -1.0, 3.1), (99, 3.2, 0.0)]]
    muons = [[(50, 2.2, 0.0), (2, 0.0, 0.0)]]
    jets = [[(25, 2.0, 1.0), (41, -1.0, -3.1), (60, 0.0, 2.0), (14, 0, -2), (30, -4.5, 0), (80, 1.5, -1), (35, 3, 2)]]
    # the jet of 41 GeV is the electron of 40: 6.2 rad apart in phi is 0.08 across pi; the one of 80 is not selected
    write_skim(tmp_path / "0.root", electrons, muons, jets, selected=[[0, 1, 2, 3, 4, 6]], weights=[3.0], met=[12.5])
    table = collect(tmp_path)
    rows = table.inputs[0].reshape(-1, 3)
    expected = [
        (12.5, 0, -1.5), (40, -1.0, 3.1), (10, 0.5, 0.1), (0, 0, 0), (0, 0, 0), (60, 0, 2), (35, 3, 2), (25, 2, 1),
    ]  # fmt: skip
    np.testing.assert_array_equal(rows, np.asarray(expected, np.float32))
    assert table.weight.tolist() == [1.5]
    assert table.identity.tolist() == [[1, 7, 0]]


def test_more_objects_than_slots_are_cut_off(tmp_path):
    """The softest go."""
    write_skim(tmp_path / "0.root", [[(10 + k, 0, 0) for k in range(4)]], [[]], [[]])
    table = collect(tmp_path)
    assert table.inputs[0, 3::3][:2].tolist() == [13, 12]


def test_parts_make_the_same_table(tmp_path, monkeypatch):
    """Reading some events at a time changes nothing."""
    rng = np.random.default_rng(1)
    jets = [[(20 + 100 * rng.random(), rng.normal(), rng.normal()) for _ in range(rng.integers(5))] for _ in range(23)]
    write_skim(tmp_path / "0.root", [[]] * 23, [[(30, 0, 0)]] * 23, jets)
    whole = collect(tmp_path)
    monkeypatch.setattr(collect_objects, "STEP", 4)
    parts = collect(tmp_path)
    np.testing.assert_array_equal(whole.inputs, parts.inputs)
    np.testing.assert_array_equal(whole.split, parts.split)
    assert len(parts.weight) == 23


@pytest.mark.parametrize(("eta", "phi", "kept"), [(0.39, 0, False), (0.41, 0, True), (0, 2 * math.pi - 0.3, False)])
def test_distance_to_leptons(eta, phi, kept):
    """Within 0.4, also across the end of phi."""
    jets = ak.Array([[{"pt": 50.0, "eta": float(eta), "phi": phi - math.pi}]])
    leptons = ak.Array([[{"pt": 30.0, "eta": 0.0, "phi": -math.pi}]])
    assert len(apart(jets, leptons, 0.4)[0]) == int(kept)


def test_no_events_make_an_empty_table(tmp_path):
    """A process that the selection rejects whole is not an error."""
    write_skim(tmp_path / "0.root", [], [], [])
    table = collect(tmp_path)
    assert table.inputs.shape == (0, len(table.names))


def test_nan_is_refused_by_branch_and_file(tmp_path):
    """A NaN never reaches a network."""
    write_skim(tmp_path / "0.root", [[(float("nan"), 0, 0)]], [[]], [[]])
    with pytest.raises(UserError, match=r"1 of 1 values of branch Electron_pt in .*0\.root"):
        collect(tmp_path)


def test_missing_branch_is_named(tmp_path):
    """A cut on a column that the skim does not keep."""
    write_skim(tmp_path / "0.root", [[(9, 0, 0)]], [[]], [[]])
    objects = {**OBJECTS, "muons": {"count": 2, "cuts": {"isolation": {"max": 0.1}}}}
    with pytest.raises(UserError, match="no branch Muon_isolation"):
        collect(tmp_path, {**CONFIG, "objects": objects})


def test_damaged_skim_is_named(tmp_path):
    """Not a ROOT file."""
    (tmp_path / "0.root").write_bytes(b"not a ROOT file" * 100)
    with pytest.raises(UserError, match=r"cannot read .*0\.root"):
        collect(tmp_path)


@pytest.mark.parametrize(("dataset", "match"), [("run2", "collision data"), ("none", "no dataset none")])
def test_datasets_without_cross_section(tmp_path, dataset, match):
    """Data have none; a name that is not in the cutflow neither."""
    write_skim(tmp_path / "0.root", [[]], [[]], [[(20, 0, 0)]])
    with pytest.raises(UserError, match=match):
        collect(tmp_path, dataset=dataset)


def test_table_keeps_names_and_order(tmp_path):
    """What is written is read, whole or one part of the split."""
    part = {
        "run": [1, 1], "luminosityBlock": [2, 2], "event": [3, 4], "jet_rank": [0, 1], "split": ["train", "test"],
        "weight": [0.5, 2.0], "inputs": [[1.0, 2.0], [3.0, 4.0]],
    }  # fmt: skip
    assert write_inputs(tmp_path / "x.parquet", ["b", "a"], [part, part]) == 4
    table = read_inputs(tmp_path / "x.parquet", ["test"])
    assert table.names == ("b", "a")
    assert table.identity.tolist() == [[1, 2, 4, 1]] * 2
    assert table.inputs.tolist() == [[3, 4]] * 2
    assert table.weight.tolist() == [2, 2]


def test_other_parquet_files_are_refused(tmp_path):
    """A file of scores is not one of inputs; a text file is not Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"run": [1], "score": [0.5]}), tmp_path / "x.parquet")
    with pytest.raises(UserError, match="no columns luminosityBlock"):
        read_inputs(tmp_path / "x.parquet")
    (tmp_path / "y.parquet").write_text("no")
    with pytest.raises(UserError, match="as Parquet"):
        read_inputs(tmp_path / "y.parquet")


def test_order_in_the_skim_does_not_matter(tmp_path):
    """Objects are ordered by pT here, whatever wrote the skim; selected jets are told by their index."""
    rng = np.random.default_rng(4)
    jets = [[(rng.uniform(5, 200), rng.normal(), rng.uniform(-3, 3)) for _ in range(6)] for _ in range(10)]
    muons = [[(rng.uniform(2, 90), rng.normal(), rng.uniform(-3, 3)) for _ in range(3)] for _ in range(10)]
    write_skim(tmp_path / "0.root", [[]] * 9 + [[(50, 0, 0)]], muons, jets, selected=[[0, 1, 2, 3]] * 10)
    first = collect(tmp_path)
    # reversed, the jets 0 to 3 are 5 to 2
    flipped = [[event[::-1] for event in group] for group in (muons, jets)]
    write_skim(tmp_path / "0.root", [[]] * 9 + [[(50, 0, 0)]], *flipped, selected=[[5, 4, 3, 2]] * 10)
    np.testing.assert_array_equal(first.inputs, collect(tmp_path).inputs)
