"""Observables at both levels: who passes which level, agreement with the features of jets, shifts, broken input."""

import json

import awkward as ak
import numpy as np
import pytest
from feature_toys import CONFIG, jet_momentum, toy_jet, write_skim
from level_toys import LEVELS, record, two_levels

from lhcml.common.errors import UserError
from lhcml.common.files import read_parquet
from lhcml.features import build_features, build_levels, levels
from lhcml.features.levels import JET_OBSERVABLES
from lhcml.features.lund import LEAST_MASS

Z, QUARK = 23, 1
LAST_COPY = 1 << 13


@pytest.fixture
def build(tmp_path):
    """Write a skim and return its levels."""

    def run(columns, shift="nominal", **config):
        path = write_skim(tmp_path / "skim.root", columns)
        build_levels.main(
            ["--input", str(path), "--shift", shift, "--config", json.dumps(LEVELS | config),
             "--output", str(tmp_path / "levels.parquet")]
        )  # fmt: skip
        return read_parquet(tmp_path / "levels.parquet")

    return run


@pytest.fixture
def events():
    """Jets at both levels of five events: both levels, no particle-level jet, no detector-level jet, neither, both."""
    rng = np.random.default_rng(5)
    jets = [[toy_jet(rng, int(n)) for n in rng.integers(2, 40, 3)] for _ in range(10)]
    return [jets[0], jets[1], [], [], jets[4]], [jets[5], [], jets[7], [], jets[9]]


def hardest(jets):
    """The jet of the largest pt."""
    return max(jets, key=lambda particles: jet_momentum(particles)[0])


def test_columns_and_who_passes(build, events):
    reco, gen = events
    columns = two_levels(reco, gen, weight_fsrUp=np.arange(5.0))
    made = build(columns)
    names = [f"{level}_jet_{name}" for level in ("gen", "reco") for name in JET_OBSERVABLES]
    ids = ["run", "luminosityBlock", "event", "weight_nominal", "weight_fsrUp", "pass_gen", "pass_reco"]
    assert sorted(made.fields) == sorted([*ids, *names])
    assert made.event.to_list() == [1, 2, 3, 4, 5]
    assert made.weight_fsrUp.to_list() == [0, 1, 2, 3, 4]
    assert made.pass_reco.to_list() == [True, True, False, False, True]
    assert made.pass_gen.to_list() == [True, False, True, False, True]
    for name in names:
        values = ak.to_numpy(made[name])
        assert values.dtype == np.float32
        assert not values[~ak.to_numpy(made["pass_" + name.split("_")[0]])].any()


def test_particle_level_jet_is_the_hardest_and_the_detector_level_jet_that_of_the_skim(build, events):
    reco, gen = events
    last = [[len(event) - 1] if event else [] for event in reco]
    made = build(two_levels(reco, gen, selectedJet_nominal=last))
    for row, of_reco, of_gen in zip(made, reco, gen, strict=True):
        # single precision in the file
        if of_gen:
            assert row.gen_jet_pt == pytest.approx(jet_momentum(hardest(of_gen))[0], rel=1e-5)
            assert row.gen_jet_multiplicity == hardest(of_gen).shape[1]
        if of_reco:
            assert row.reco_jet_pt == pytest.approx(jet_momentum(of_reco[-1])[0], rel=1e-5)
            assert row.reco_jet_ntracks == row.reco_jet_multiplicity == of_reco[-1].shape[1]


def test_event_cuts_of_the_skim_hold_at_detector_level_only(build, events):
    reco, gen = events
    passes = np.array([False, True, False, False, True])
    selected = [list(range(len(jets))) if passed else [] for jets, passed in zip(reco, passes, strict=True)]
    made = build(two_levels(reco, gen, passes_nominal=passes, selectedJet_nominal=selected))
    assert made.pass_reco.to_list() == passes.tolist()
    assert made.pass_gen.to_list() == [True, False, True, False, True]


@pytest.mark.parametrize("level", ["reco", "gen"])
def test_observables_are_those_of_the_features(tmp_path, build, events, level):
    reco, _ = events
    # the same jets as detector level of a feature file, and as either level here
    columns = two_levels(reco, reco)
    path = write_skim(tmp_path / "features.root", columns)
    config = CONFIG | {"jet": "Jet", "radius": 0.4}
    [features] = build_features.build_features(path, "nominal", config)
    first = features["jet_rank"] == 0
    if level == "gen":
        pt = [[jet_momentum(jet)[0] for jet in event] for event in reco]
        order = [list(np.argsort(-np.array(event))) for event in pt]
        first = np.concatenate([np.arange(len(event)) == event[0] for event in order if event])
    made = build(columns)
    made = made[made[f"pass_{level}"]]
    for name in ("pt", "eta", "phi", "mass", "multiplicity", "width", "tau1", "tau2", "tau3", "tau21", "zg"):
        # float32 of the same numbers
        assert made[f"{level}_jet_{name}"].to_list() == features[f"jet_{name}"][first].tolist(), name
    rho = 2 * np.log(features["jet_msoftdrop"][first] / features["jet_pt"][first])
    # the logarithm of numbers of single precision
    assert ak.to_numpy(made[f"{level}_jet_lnrho"]) == pytest.approx(rho, abs=1e-5)


def test_charged_constituents_are_tracks(build):
    # every second particle of the first particle-level jet is charged
    jet = np.array([[40.0, 30.0, 20.0, 10.0, 5.0], [0.0, 0.1, 0.2, 0.0, 0.1], np.zeros(5), np.full(5, 0.1)])
    row = build(two_levels([[jet]], [[jet]]))[0]
    assert [row.gen_jet_multiplicity, row.gen_jet_ntracks, row.reco_jet_ntracks] == [5, 2, 5]


def test_rapidity_and_floor_by_hand(build):
    massless = np.array([[100.0], [1.0], [0.5], [0.0]])
    # pt 3, eta 0 and m 4 give E = 5; boosted along the beam by eta = asinh(5/3): pz = 5, E = sqrt(50)
    massive = np.array([[3.0], [np.arcsinh(5 / 3)], [0.0], [4.0]])
    made = build(two_levels([[massless]], [[massive]]))
    row = made[0]
    assert row.reco_jet_y == pytest.approx(1.0, rel=1e-6)
    assert row.gen_jet_y == pytest.approx(np.arctanh(5 / np.sqrt(50)), rel=1e-6)
    assert row.reco_jet_lnrho == pytest.approx(2 * np.log(LEAST_MASS / 100), rel=1e-6)
    # one constituent left by soft drop keeps its mass
    assert row.gen_jet_lnrho == pytest.approx(2 * np.log(4 / 3), rel=1e-5)
    assert [row.reco_jet_multiplicity, row.reco_jet_width, row.reco_jet_tau1, row.reco_jet_zg] == [1, 0, 0, 0]


def test_of_equal_jets_the_first_in_the_file_is_the_leading_one(build):
    first, second = (np.array([[50.0, 50.0], [eta, eta], [0.1, 0.1], [0.1, 0.1]]) for eta in (0.5, -0.5))
    for jets in ([first, second], [second, first]):
        row = build(two_levels([jets], [jets]))[0]
        assert row.gen_jet_eta == row.reco_jet_eta == pytest.approx(jets[0][1][0], rel=1e-6)


def test_two_jets(build, events):
    reco, gen = events
    gen = [gen[0][:1], *gen[1:]]
    columns = two_levels(reco, gen)
    two, one = build(columns, levels={"jets": 2, "leptons": False, "constituents": False}), build(columns)
    assert two.pass_gen.to_list() == [False, False, True, False, True]
    assert two.pass_reco.to_list() == one.pass_reco.to_list()
    assert two.reco_jet_mass.to_list() == one.reco_jet_mass.to_list()
    assert two.gen_jet_mass[[2, 4]].to_list() == one.gen_jet_mass[[2, 4]].to_list()
    assert sum(name.startswith("gen_jet2_") for name in two.fields) == len(JET_OBSERVABLES)
    pt = sorted((jet_momentum(jet)[0] for jet in gen[4]), reverse=True)
    assert [two.gen_jet_pt[4], two.gen_jet2_pt[4]] == pytest.approx(pt[:2], rel=1e-5)
    assert two.gen_jet2_pt[0] == two.gen_jet_pt[0] == 0


def test_constituents_of_the_leading_jet(build, events):
    reco, gen = events
    made = build(two_levels(reco, gen), levels={"jets": 2, "leptons": False, "constituents": True})
    for row, jets in zip(made, gen, strict=True):
        if not jets:
            assert row.gen_part_pt.to_list() == row.gen_part_pdgId.to_list() == []
            continue
        jet = hardest(jets)
        order = np.argsort(-jet[0])
        _, eta, phi, _ = jet_momentum(jet)
        assert row.gen_part_pt.to_list() == pytest.approx(list(jet[0][order]), rel=1e-5)
        # differences of numbers of single precision
        assert row.gen_part_deta.to_list() == pytest.approx(list((jet[1] - eta)[order]), abs=2e-6)
        turn = (jet[2] - phi + np.pi) % (2 * np.pi) - np.pi
        assert row.gen_part_dphi.to_list() == pytest.approx(list(turn[order]), abs=2e-6)
        assert set(row.gen_part_pdgId.to_list()) <= {22, 211}
    assert made.reco_part_pdgId[3].to_list() == []


def test_kinematic_shift_changes_the_detector_level_only(build, events):
    reco, gen = events
    columns = two_levels(reco, gen)
    nominal = build(columns)
    for name in ("pt", "mass"):
        columns[f"Jet_{name}_jesUp"] = [[1.25 * x for x in event] for event in columns[f"Jet_{name}"]]
    # the shift moves the second event out of the selection
    columns["passes_jesUp"] = np.array([True, False, False, False, True])
    columns["selectedJet_jesUp"] = [columns["selectedJet_nominal"][0], [], [], [], columns["selectedJet_nominal"][4]]
    shifted = build(columns, "jesUp")
    assert shifted.pass_reco.to_list() == columns["passes_jesUp"].tolist()
    for name in nominal.fields:
        if not name.startswith(("reco_", "pass_reco")):
            assert shifted[name].to_list() == nominal[name].to_list(), name
    both = ak.to_numpy(shifted.pass_reco)
    for name in JET_OBSERVABLES:
        scale = 1.25 if name in ("pt", "mass") else 1.0
        expected = scale * ak.to_numpy(nominal[f"reco_jet_{name}"])[both]
        # products of numbers in single precision
        assert ak.to_numpy(shifted[f"reco_jet_{name}"])[both] == pytest.approx(expected, rel=1e-4, abs=1e-5), name


def test_cuts_on_candidates_hold_at_particle_level(build):
    rng = np.random.default_rng(8)
    jets = [toy_jet(rng, 20) for _ in range(4)]
    four = sorted((jet_momentum(jet)[:2] for jet in jets), reverse=True)
    cut = {"pt": {"min": float(four[2][0])}, "abs_eta": {"max": abs(float(four[0][1])) - 1e-3}}
    wanted = [pt for pt, eta in four if abs(eta) < cut["abs_eta"]["max"] and pt > 0.999 * cut["pt"]["min"]]
    made = build(two_levels([jets], [jets]), selection={"candidates": cut})
    assert made.pass_gen.to_list() == [bool(wanted)]
    assert made.gen_jet_pt[0] == pytest.approx(wanted[0] if wanted else 0, rel=1e-5)
    assert made.reco_jet_pt[0] == pytest.approx(jet_momentum(jets[0])[0], rel=1e-5)


def test_generated_z(build, events):
    reco, gen = events
    particles = [
        [(250.0, 0.0, 0.0, Z, 62, LAST_COPY)],
        [(250.0, 0.0, 0.0, Z, 62, LAST_COPY)],
        [(300.0, 0.0, 0.0, Z, 22, 0), (199.0, 0.0, 0.0, Z, 62, LAST_COPY)],
        [],
        [(pt, 0.0, 0.0, code, 62, LAST_COPY) for pt, code in ((199.0, Z), (200.0, Z), (900.0, QUARK))],
    ]
    selection = {"candidates": {}, "generated_z": {"pt": {"min": 200}}}
    made = build(two_levels(reco, gen, **record(particles)), selection=selection)
    assert made.pass_gen.to_list() == [True, False, False, False, True]


def test_collision_data_have_no_particle_level(build, events):
    reco, gen = events
    columns = {name: values for name, values in two_levels(reco, gen).items() if not name.startswith("Gen")}
    made = build(columns, data=True)
    assert made.pass_reco.to_list() == [True, True, False, False, True]
    assert not [name for name in made.fields if "gen" in name]


def test_large_radius_jets_with_puppi_weights(build, events):
    small = build(two_levels(*events))
    renamed = {"GenJet_": "GenJetAK8_", "GenJetCands_": "GenFatJetCands_"}
    renamed |= {"Jet_": "FatJet_", "JetPFCands_": "FatJetPFCands_"}
    columns = {}
    for name, values in two_levels(*events).items():
        prefix = next((old for old in renamed if name.startswith(old)), "")
        columns[renamed.get(prefix, "") + name.removeprefix(prefix)] = values
    # every second candidate of the detector level is pile-up
    columns["PFCands_puppiWeight"] = [[float(i % 2) for i in range(len(pt))] for pt in columns["PFCands_pt"]]
    large = build(columns, jet="FatJet", radius=0.8, puppi_jets=["FatJet"])
    assert large.gen_jet_multiplicity.to_list() == small.gen_jet_multiplicity.to_list()
    # halves of numbers of single precision
    assert large.gen_jet_tau1.to_list() == pytest.approx((small.gen_jet_tau1 / 2).to_list(), rel=1e-6)
    whole, half = (ak.to_numpy(made.reco_jet_multiplicity) for made in (small, large))
    assert (np.abs(half - whole / 2) <= 0.5).all()


def test_steps_give_the_same(tmp_path, events):
    path = write_skim(tmp_path / "skim.root", two_levels(*events))
    [whole] = levels.read_levels(path, "nominal", LEVELS, 10)
    parts = list(levels.read_levels(path, "nominal", LEVELS, 2))
    assert [len(part["event"]) for part in parts] == [2, 2, 1]
    for name, values in whole.items():
        assert np.concatenate([part[name] for part in parts]).tolist() == values.tolist(), name


@pytest.mark.parametrize("constituents", [True, False])
def test_skim_without_events_and_without_particle_level(build, events, constituents):
    asked = {"jets": 2, "leptons": False, "constituents": constituents}
    columns = two_levels(*events)
    full = build(columns, levels=asked)
    empty = {name: values[:0] for name, values in columns.items() if not name.startswith("Gen")}
    made = build(empty, levels=asked)
    assert len(made) == 0
    assert made.fields == full.fields


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"GenJet_pt": None, "GenCands_charge": None}, "no particle level: missing GenJet_pt, GenCands_charge"),
        ({"passes_nominal": None}, "no branch passes_nominal"),
        ({"selectedJet_nominal": None}, "no branch selectedJet_nominal"),
        ({"JetPFCands_jetIdx": None}, "no jet constituents"),
        ({"GenCands_pt": [[float("nan")] * 99] + [[1.0]] * 4}, "branch GenCands_pt in .* NaN"),
        ({"weight_fsrUp": np.array([1.0, np.inf, 1.0, 1.0, 1.0])}, "1 of 5 values of branch weight_fsrUp"),
        ({"GenJetCands_pFCandsIdx": [[99]] * 5, "GenJetCands_jetIdx": [[0]] * 5}, "links point to no jet"),
    ],
)
def test_broken_skims_are_named(build, events, change, message):
    with pytest.raises(UserError, match=message):
        build(two_levels(*events, **change))


def test_shift_that_the_skim_lacks(build, events):
    with pytest.raises(UserError, match="Jet_pt_jerUp"):
        build(two_levels(*events), "jerUp")
