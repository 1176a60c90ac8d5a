"""The two leptons of the Z candidate at both levels, and jets beside them."""

import json

import numpy as np
import pytest
from feature_toys import toy_jet, write_skim
from hypothesis import given, settings
from hypothesis import strategies as st
from level_toys import LEVELS, MUON_MASS, Z_SELECTION, muons, record, two_levels

from lhcml.common.files import read_parquet
from lhcml.features import build_levels
from lhcml.features.dileptons import OBSERVABLES, momenta, z_pairs

PROMPT, FROM_TAU = 1, 1 << 2
LEPTONS = {"jets": 1, "leptons": True, "constituents": False}


@pytest.fixture
def build(tmp_path):
    """Write a skim of events with the same jet at both levels and return its levels."""

    def run(reco, gen, jet=None, selection=None, **more):
        jets = [[toy_jet(np.random.default_rng(1), 10) if jet is None else jet]] * len(reco)
        columns = two_levels(jets, jets, **muons(reco), **gen, **more)
        path = write_skim(tmp_path / "skim.root", columns)
        config = LEVELS | {"levels": LEPTONS, "selection": selection or Z_SELECTION}
        build_levels.main(
            ["--input", str(path), "--config", json.dumps(config), "--output", str(tmp_path / "levels.parquet")]
        )
        return read_parquet(tmp_path / "levels.parquet")

    return run


def back_to_back(pt, eta=0.0, phi=0.0):
    """Two muons of opposite charge and direction in the plane, whose mass is 2 pt at eta 0."""
    return [(pt, eta, phi, 1, 1), (pt, eta, phi + np.pi, -1, 1)]


def final(leptons, status=1, flags=PROMPT):
    """The same muons as particles of the record."""
    return [(pt, eta, phi, -13 * charge, status, flags) for pt, eta, phi, charge, _ in leptons]


PAIR = [(60.0, 0.5, 0.2, -1, 1), (35.0, 0.3, -2.9, 1, 1)]


def test_observables_by_hand(build):
    made = build([PAIR[::-1]], record([final(PAIR)]))
    assert made.pass_reco.to_list() == made.pass_gen.to_list() == [True]
    x, y = (sum(pt * turn(phi) for pt, _, phi, *_ in PAIR) for turn in (np.cos, np.sin))
    z = sum(pt * np.sinh(eta) for pt, eta, *_ in PAIR)
    energy = sum(np.sqrt((pt * np.cosh(eta)) ** 2 + MUON_MASS**2) for pt, eta, *_ in PAIR)
    expected = [np.hypot(x, y), 0.5 * np.log((energy + z) / (energy - z)), *PAIR[0][:3], *PAIR[1][:3]]
    for level in ("reco", "gen"):
        # muons of single precision in the file
        assert [made[f"{level}_{name}"][0] for name in OBSERVABLES] == pytest.approx(expected, rel=2e-6), level


def test_who_passes_which_level(build):
    good, bad = back_to_back(45.6), back_to_back(30.0)
    broken = [(*lepton[:4], 0) for lepton in good]
    same_charge = [(*lepton[:3], 1, 1) for lepton in good]
    reco = [good, good, [], broken, same_charge, good[:1], good]
    gen = [
        final(good),
        final(bad),  # mass of 60 GeV
        final(good),
        final(good),
        final(good),
        final(back_to_back(45.6, eta=2.6)),  # outside of abs_eta
        final(good, flags=FROM_TAU),
    ]
    made = build(reco, record(gen))
    assert made.pass_reco.to_list() == [True, True, False, False, False, False, True]
    assert made.pass_gen.to_list() == [True, False, True, True, True, False, False]
    for level in ("reco", "gen"):
        failed = made[~made[f"pass_{level}"]]
        assert not any(failed[f"{level}_{name}"].to_list() != [0] * len(failed) for name in OBSERVABLES)


def test_intermediate_copies_do_not_count(build):
    good = back_to_back(45.6)
    made = build([good], record([final(back_to_back(47.0), status=23) + final(good)]))
    assert made.gen_lepton1_pt[0] == pytest.approx(45.6, rel=1e-6)


def test_dressed_leptons_where_the_file_has_them(build):
    good = back_to_back(45.6)
    dressed = {f"GenDressedLepton_{name}": [[row[i] for row in final(good)]] for i, name in
               enumerate(("pt", "eta", "phi", "pdgId"))}  # fmt: skip
    made = build([good], record([final(back_to_back(44.0))]) | dressed)
    assert made.gen_lepton1_pt[0] == pytest.approx(45.6, rel=1e-6)


def test_particle_level_jets_near_leptons_are_no_candidates(build):
    good = back_to_back(45.6, phi=1.0)
    jet = np.array([[80.0, 20.0], [0.1, 0.2], [1.1, 0.9], [0.1, 0.1]])
    near = Z_SELECTION | {"candidates": {"away_from_leptons": 0.4}}
    far = Z_SELECTION | {"candidates": {"away_from_leptons": 0.05}}
    assert build([good], record([final(good)]), jet, near).pass_gen.to_list() == [False]
    assert build([good], record([final(good)]), jet, far).pass_gen.to_list() == [True]
    # across the boundary of the azimuth
    good, jet[2] = back_to_back(45.6, phi=-3.1), (3.1, 3.1)
    assert build([good], record([final(good)]), jet, near).pass_gen.to_list() == [False]


def test_bits_of_further_columns(build):
    good = back_to_back(45.6)
    muon_cuts = Z_SELECTION["muons"] | {"branches": {"charge": {"max": 1}, "isIsolated": {"bits": 2}}}
    selection = Z_SELECTION | {"muons": muon_cuts}
    flagged = [(*lepton[:4], 3) for lepton in good]
    made = build([good, flagged], record([final(good), final(good)]), selection=selection)
    assert made.pass_reco.to_list() == [False, True]


LEPTON = st.tuples(st.floats(5, 200), st.floats(-2.5, 2.5), st.floats(-3.1, 3.1), st.sampled_from([-1, 1]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.lists(LEPTON, max_size=4), st.lists(LEPTON, max_size=3)), min_size=1, max_size=4))
def test_pairs_are_those_of_a_loop(events):
    import awkward as ak

    masses = (MUON_MASS, 0.000511)
    kinds = []
    for kind, mass in enumerate(masses):
        # a first event gives the types that empty lists lack
        rows = [[(1.0, 0.0, 0.0, 1)], *(event[kind] for event in events)]
        columns = [ak.Array([[lepton[i] for lepton in event] for event in rows])[1:] for i in range(4)]
        kinds.append(momenta(*columns, mass))
    found, columns = z_pairs(kinds)
    for event, (muons_of, electrons_of) in enumerate(events):
        best = None
        for leptons, mass in zip((muons_of, electrons_of), masses, strict=True):
            for i, a in enumerate(leptons):
                for b in leptons[i + 1 :]:
                    if a[3] != b[3]:
                        x, y, z = (
                            sum(p[0] * f(p) for p in (a, b))
                            for f in (lambda p: np.cos(p[2]), lambda p: np.sin(p[2]), lambda p: np.sinh(p[1]))
                        )
                        energy = sum(np.sqrt((p[0] * np.cosh(p[1])) ** 2 + mass**2) for p in (a, b))
                        found_mass = np.sqrt(max(energy**2 - x**2 - y**2 - z**2, 0.0))
                        if best is None or abs(found_mass - 91.1876) < abs(best[0] - 91.1876):
                            best = found_mass, np.hypot(x, y), max(a[0], b[0]), min(a[0], b[0])
        assert found[event] == (best is not None)
        if best is not None:
            got = [columns[name][event] for name in ("ll_mass", "ll_pt", "lepton1_pt", "lepton2_pt")]
            # the mass is a small difference of large squares: E up to 1200 GeV, rounding 1e-16 E² / m
            assert got == pytest.approx(best, rel=1e-6, abs=1e-4)
