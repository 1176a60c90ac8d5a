"""Inputs of a jet tagger from files of features."""

from __future__ import annotations

import json

import awkward as ak
import numpy as np
import pytest

from lhcml.common.errors import UserError
from lhcml.common.files import write_parquet
from lhcml.firmware import collect_features
from lhcml.firmware.input_table import read_inputs


def write_features(path, mass, start=0):
    """Write features of jets."""
    count = len(mass)
    write_parquet(
        path,
        {
            "run": np.ones(count, np.int64), "luminosityBlock": np.ones(count, np.int64),
            "event": np.arange(start, start + count), "jet_rank": np.zeros(count, np.int64),
            "split": ak.Array(["train", "test"] * count)[:count], "weight_nominal": np.full(count, 2.0),
            "jet_mass": np.asarray(mass, np.float32), "jet_multiplicity": np.arange(count),
            "part_pt": ak.unflatten(np.ones(count), np.ones(count, np.int64)),
        },
    )  # fmt: skip


def collect(folder, columns, files):
    """Run the module and return the table."""
    collect_features.main(
        [
            "--features", *(str(folder / name) for name in files), "--columns", json.dumps(columns), "--output",
            str(folder / "out.parquet"),
        ]
    )  # fmt: skip
    return read_inputs(folder / "out.parquet")


def test_columns_in_the_order_asked_for(tmp_path):
    """Chunks one after the other; integers become numbers like others."""
    write_features(tmp_path / "0.parquet", [1.5, 2.5, 3.5])
    write_features(tmp_path / "1.parquet", [7.5], start=10)
    table = collect(tmp_path, ["jet_multiplicity", "jet_mass"], ["0.parquet", "1.parquet"])
    assert table.names == ("jet_multiplicity", "jet_mass")
    assert table.inputs.tolist() == [[0, 1.5], [1, 2.5], [2, 3.5], [0, 7.5]]
    assert table.identity[:, 2].tolist() == [0, 1, 2, 10]
    assert table.split.tolist() == ["train", "test", "train", "train"]
    assert table.weight.tolist() == [2, 2, 2, 2]


def test_parts_make_the_same_table(tmp_path, monkeypatch):
    """Reading some jets at a time changes nothing."""
    write_features(tmp_path / "0.parquet", np.arange(11))
    whole = collect(tmp_path, ["jet_mass"], ["0.parquet"])
    monkeypatch.setattr(collect_features, "STEP", 3)
    np.testing.assert_array_equal(whole.inputs, collect(tmp_path, ["jet_mass"], ["0.parquet"]).inputs)


def test_no_jets_make_an_empty_table(tmp_path):
    """A chunk without jets adds no row."""
    write_features(tmp_path / "0.parquet", [])
    assert collect(tmp_path, ["jet_mass"], ["0.parquet"]).inputs.shape == (0, 1)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_not_finite_is_refused_by_column_and_file(tmp_path, bad):
    """A NaN never reaches a network."""
    write_features(tmp_path / "0.parquet", [1.0, bad])
    with pytest.raises(UserError, match=r"1 of 2 values of column jet_mass in .*0\.parquet"):
        collect(tmp_path, ["jet_mass"], ["0.parquet"])


@pytest.mark.parametrize(
    ("column", "match"), [("jet_tau9", "no column jet_tau9"), ("part_pt", "not one number a jet"), ("split", "string")]
)
def test_columns_that_are_no_feature(tmp_path, column, match):
    """Missing, a list, a text."""
    write_features(tmp_path / "0.parquet", [1.0])
    with pytest.raises(UserError, match=match):
        collect(tmp_path, [column], ["0.parquet"])
