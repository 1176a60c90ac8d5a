"""The channel of the 24 observables from generator to levels: both levels describe the same events."""

import json
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import yaml

from lhcml.common.configuration import load_configuration
from lhcml.common.files import read_parquet
from lhcml.features import build_levels
from lhcml.features.dileptons import OBSERVABLES
from lhcml.samples import generate_events
from lhcml.skim import skim_events

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def levels(tmp_path_factory):
    """Levels of 120 events, nominal and jesUp."""
    folder = tmp_path_factory.mktemp("zmumu")
    overlay = yaml.safe_load((ROOT / "config/unfolding24.yaml").read_text())
    given = {"seed": 1, "channels": overlay["channels"], "features": overlay["features"]}
    config = load_configuration(given, ROOT / "workflow/schemas")
    channel, features = config["channels"]["zmumu"], config["features"]
    selection = channel["selection"]
    generate_events.main(
        ["--generate", json.dumps(channel["datasets"]["nominal"]["generate"]), "--events", "120", "--seed", "3",
         "--content", json.dumps(channel["samples"]), "--output", str(folder / "events.root")]
    )  # fmt: skip
    skim = {"skim": config["skim"], "selection": selection, "data": False, "cross_section": None}
    skim_events.main(
        ["--input", str(folder / "events.root"), "--dataset", "nominal", "--config", json.dumps(skim),
         "--output", str(folder / "skim.root"), "--summary", str(folder / "skim.json")]
    )  # fmt: skip
    settings = {key: features[key] for key in ("max_constituents", "puppi_jets", "soft_drop")} | {
        "jet": selection["jets"]["collection"],
        "radius": selection["jets"]["radius"],
        "selection": {key: selection[key] for key in ("muons", "z_candidate")}
        | {"candidates": selection["jets"]["candidates"]},
        "levels": features["levels"]["zmumu"],
        "data": False,
    }
    made = []
    for shift in ("nominal", "jesUp"):
        build_levels.main(
            ["--input", str(folder / "skim.root"), "--shift", shift, "--config", json.dumps(settings),
             "--output", str(folder / f"{shift}.parquet")]
        )  # fmt: skip
        made.append(read_parquet(folder / f"{shift}.parquet"))
    return made


def test_all_events_are_there_and_a_part_passes(levels):
    nominal, _ = levels
    assert nominal.event.to_list() == list(range(1, 121))
    passes = {level: int(ak.sum(nominal[f"pass_{level}"])) for level in ("gen", "reco")}
    # 17 % pass the particle level and 13 % the detector level in 300 other events: binomial spread of 4 events
    assert 5 < passes["gen"] < 40
    assert 5 < passes["reco"] < 35


def test_the_leptons_of_both_levels_are_the_same(levels):
    nominal, _ = levels
    both = nominal[nominal.pass_gen & nominal.pass_reco]
    assert len(both) > 4
    for name in OBSERVABLES:
        reco, gen = (ak.to_numpy(both[f"{level}_{name}"]).astype(float) for level in ("reco", "gen"))
        if name.endswith("_pt"):
            # muons are measured to 2 to 6 %: half of the events lie closer than twice that
            assert np.median(np.abs(reco / gen - 1)) < 0.1, name
    # at least most pairs are ordered alike, and directions are exact
    aligned = np.abs(ak.to_numpy(both.reco_lepton1_eta - both.gen_lepton1_eta)) < 1e-5
    assert aligned.mean() > 0.8
    assert np.median(np.abs(ak.to_numpy(both.reco_jet_pt / both.gen_jet_pt) - 1)) < 0.1


def test_events_are_within_the_region_of_the_selection(levels):
    nominal, _ = levels
    for level in ("gen", "reco"):
        passing = nominal[nominal[f"pass_{level}"]]
        assert ak.min(passing[f"{level}_ll_pt"]) >= 200
        assert ak.min(passing[f"{level}_lepton2_pt"]) >= 25
        assert ak.min(passing[f"{level}_jet2_pt"]) >= 20
        assert ak.all(passing[f"{level}_jet_pt"] >= passing[f"{level}_jet2_pt"])
        for lepton in ("lepton1", "lepton2"):
            turn = passing[f"{level}_jet_phi"] - passing[f"{level}_{lepton}_phi"]
            turn = (turn + np.pi) % (2 * np.pi) - np.pi
            # rounding of single precision at the edge
            assert ak.min(np.hypot(passing[f"{level}_jet_eta"] - passing[f"{level}_{lepton}_eta"], turn)) > 0.4 - 1e-5


def test_jet_scale_moves_jets_of_the_detector_level_only(levels):
    nominal, shifted = levels
    for name in nominal.fields:
        if name.startswith(("gen_", "pass_gen", "weight_")):
            assert ak.all(nominal[name] == shifted[name]), name
    both = ak.to_numpy(nominal.pass_reco & shifted.pass_reco)
    for name in OBSERVABLES:
        assert ak.all(nominal[f"reco_{name}"][both] == shifted[f"reco_{name}"][both]), name
    ratio = ak.to_numpy(shifted.reco_jet_pt[both] / nominal.reco_jet_pt[both])
    # one jet energy scale uncertainty, in single precision
    assert ratio == pytest.approx(1.01, rel=1e-5)
