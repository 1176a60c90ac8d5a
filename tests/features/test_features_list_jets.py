"""Jets without constituents: the same rows as the full features have, and what happens to broken skims."""

import json

import numpy as np
import pytest
from feature_toys import CONFIG, skim_columns, toy_jet, write_skim

from lhcml.common.errors import UserError
from lhcml.common.files import read_parquet
from lhcml.features import build_features, list_jets

COLUMNS = ["run", "luminosityBlock", "event", "jet_rank", "split", "weight_nominal",
           "jet_pt", "jet_eta", "jet_phi", "jet_mass"]  # fmt: skip


@pytest.fixture
def columns():
    """A skim of five events of two, one, none, one and three jets, with a shift that drops a jet and swaps two."""
    rng = np.random.default_rng(3)
    jets = [[toy_jet(rng, rng.integers(1, 40)) for _ in range(n)] for n in (2, 1, 0, 1, 3)]
    plain = skim_columns(jets)
    shifted = {f"FatJet_{name}_jesUp": [[1.01 * x for x in event] for event in plain[f"FatJet_{name}"]]
               for name in ("pt", "mass")}  # fmt: skip
    tau = [[10.0 * event + jet for jet in range(len(jets[event]))] for event in range(5)]
    return skim_columns(jets, **shifted, selectedJet_jesUp=[[1, 0], [0], [], [], [2]], FatJet_tau2=tau)


@pytest.fixture
def listed(tmp_path):
    """Write a skim and return the list of its jets."""

    def run(columns, shift="nominal", branches=()):
        path = write_skim(tmp_path / "skim.root", columns)
        config = {"jet": "FatJet", "branches": list(branches), "split": CONFIG["split"]}
        output = tmp_path / f"jets_{shift}.parquet"
        list_jets.main(
            ["--input", str(path), "--shift", shift, "--config", json.dumps(config), "--output", str(output)]
        )
        return read_parquet(output)

    return run


@pytest.mark.parametrize("shift", ["nominal", "jesUp"])
def test_the_rows_are_those_of_the_features(listed, columns, tmp_path, shift):
    jets = listed(columns, shift)
    assert jets.fields == COLUMNS
    full = tmp_path / "full.parquet"
    arguments = ["--input", str(tmp_path / "skim.root"), "--shift", shift, "--config", json.dumps(CONFIG)]
    build_features.main([*arguments, "--output", str(full)])
    assert jets.to_list() == read_parquet(full, COLUMNS).to_list()


def test_branches_of_the_jets_become_columns(listed, columns):
    # the branches of others, kept for other purposes, are not of the jets
    branches = ["FatJet_tau2", "Photon_pt", "FatJet_pt"]
    assert listed(columns, "jesUp", branches).jet_tau2.to_list() == [1.0, 0.0, 10.0, 42.0]
    assert listed(columns, "jesUp", branches).fields == [*COLUMNS, "jet_tau2"]


def test_no_candidate_is_needed(listed, columns):
    without = {name: values for name, values in columns.items() if "PFCands" not in name}
    assert len(listed(without)) == 7


def test_no_event_gives_an_empty_list(listed):
    jets = listed(skim_columns([]))
    assert (len(jets), jets.fields) == (0, COLUMNS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"FatJet_mass": None}, "no branch FatJet_mass"),
        ({"FatJet_tau2": None}, "no branch FatJet_tau2"),
        ({"FatJet_tau2": [[np.nan, 0], [0], [], [0], [0, 0, 0]]}, "column jet_tau2 .* NaN"),
        ({"selectedJet_nominal": [[2], [0], [], [0], [0]]}, "selectedJet_nominal points to no jet"),
        ({"FatJet_pt": [[0, 1], [1], [], [1], [1, 1, 1]]}, "pt <= 0"),
    ],
)
def test_broken_input_is_named(listed, columns, change, message):
    broken = {name: values for name, values in (columns | change).items() if values is not None}
    with pytest.raises(UserError, match=message) as caught:
        listed(broken, branches=["FatJet_tau2"])
    assert "skim.root" in str(caught.value)
