from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from particle_toys import particles, random_particles

from lhcml.samples.calorimeter import ECAL, HCAL, run_energy_flow
from lhcml.samples.detector import (
    FIELD,
    HALF_LENGTH,
    RADIUS,
    find_tracks,
    propagate,
    smear,
    track_resolution,
    tracking_efficiency,
)
from lhcml.samples.reconstruction import find_candidates, find_leptons, missing_momentum

PERFECT = {"inefficiency": False, "smearing": False, "thresholds": False}


def generator() -> np.random.Generator:
    return np.random.default_rng(1)


@pytest.mark.parametrize(
    ("code", "pt", "eta", "expected"),
    [
        (211, 0.05, 0.0, 0.0), (211, 0.5, 0.0, 0.70), (211, 5.0, 0.0, 0.95), (-321, 0.5, 2.0, 0.60),
        (211, 5.0, -2.0, 0.85), (211, 5.0, 2.6, 0.0), (11, 50.0, 1.0, 0.95), (-11, 150.0, 1.0, 0.99),
        (11, 50.0, 2.0, 0.83),
        (11, 150.0, 2.0, 0.90), (13, 0.5, 0.0, 0.75), (13, 5.0, 0.0, 0.99), (-13, 5.0, 2.0, 0.98),
    ],
)  # fmt: skip
def test_tracking_efficiency_follows_the_card(code, pt, eta, expected):
    assert tracking_efficiency(np.array([code]), np.array([pt]), np.array([eta]))[0] == expected


@pytest.mark.parametrize(
    ("code", "pt", "eta", "expected"),
    [
        (211, 100.0, 0.0, np.hypot(0.06, 0.13)), (211, 100.0, -1.0, np.hypot(0.10, 0.17)),
        (11, 100.0, 2.0, np.hypot(0.15, 0.31)), (13, 100.0, 0.0, np.hypot(0.01, 0.01)), (211, 1e4, 2.0, 1.0),
    ],
)  # fmt: skip
def test_track_resolution_follows_the_card(code, pt, eta, expected):
    assert track_resolution(np.array([code]), np.array([pt]), np.array([eta]))[0] == pytest.approx(expected)


def test_smearing_keeps_mean_and_width():
    values = smear(np.full(200_000, 20.0), np.full(200_000, 6.0), generator())
    # 5 standard errors: 6/sqrt(2e5) = 0.013; the width of a log-normal of 30 % has an error below 1 %
    assert values.mean() == pytest.approx(20.0, abs=0.07)
    assert values.std() == pytest.approx(6.0, rel=0.02)
    assert values.min() > 0
    assert smear(np.zeros(3), np.ones(3), generator()).tolist() == [0, 0, 0]


@given(eta=st.floats(-4, 4), phi=st.floats(-3.1, 3.1), pt=st.floats(0.2, 500))
def test_neutral_particles_fly_straight(eta, phi, pt):
    toy = particles([(0, 22, pt, eta, phi)])
    assert np.allclose(propagate(toy), [[eta], [phi]])
    charged = particles([(0, 211, pt, eta, phi)])
    assert np.allclose(propagate(charged, field=0.0), [[eta], [phi]])


def test_helix_by_hand():
    # pT = 0.3 B r with r = the tracker radius: the particle leaves after a turn of 2 asin(1/2) = 60 degrees,
    # at an azimuth turned by half of it, with z = r * turn * sinh(eta)
    pt = 0.299792458 * FIELD * RADIUS
    eta, phi = propagate(particles([(0, 211, pt, 0.5, 0.0)]))
    assert phi[0] == pytest.approx(-np.pi / 6)
    assert np.sinh(eta[0]) == pytest.approx(RADIUS * (np.pi / 3) * np.sinh(0.5) / RADIUS)
    _, opposite = propagate(particles([(0, -211, pt, 0.5, 0.0)]))
    assert opposite[0] == pytest.approx(np.pi / 6)


@given(eta=st.floats(-3, 3).filter(lambda x: abs(x) > 0.01), pt=st.floats(0.11, 300))
def test_bending_only_moves_tracks_forward(eta, pt):
    # a helix is longer than a straight line to the same radius: it can only end at a larger abs(eta), on the same side
    eta_out, phi_out = propagate(particles([(0, 211, pt, eta, 0.3)]))
    assert np.sign(eta_out[0]) == np.sign(eta)
    assert abs(eta_out[0]) >= abs(eta) - 1e-9
    assert -np.pi <= phi_out[0] < np.pi


def test_looper_leaves_through_the_end():
    # r = 0.125 m at 0.075 GeV: a turn of HALF_LENGTH / (r sinh(eta)) at the end, chord 2 r |sin(turn / 2)|
    pt, eta = 0.075, 1.0
    radius = pt / (0.299792458 * FIELD)
    assert 2 * radius < RADIUS
    turn = HALF_LENGTH / (radius * np.sinh(eta))
    eta_out, _ = propagate(particles([(0, 211, pt, eta, 0.0)]))
    assert np.sinh(eta_out[0]) == pytest.approx(HALF_LENGTH / (2 * radius * abs(np.sin(turn / 2))))


def test_stiff_tracks_barely_bend():
    toy = particles([(0, 211, 1000.0, 1.0, 0.5)])
    assert np.allclose(propagate(toy), [[1.0], [0.5]], atol=1e-3)


def test_tracks_need_charge_and_acceptance():
    toy = particles([(0, 211, 5, 0.1, 0), (0, 22, 9, 0.1, 0), (0, 211, 4, 2.6, 0), (0, 13, 3, -2.4, 1)])
    tracks = find_tracks(toy, generator(), inefficiency=False, smearing=False)
    assert sorted(tracks.pt.tolist()) == [3, 5]
    assert np.allclose(tracks.energy, toy.energy[tracks.source])


def test_efficiency_is_realised():
    toy = random_particles(generator(), 1, 4000, [211])
    tracks = find_tracks(toy, generator())
    expected = tracking_efficiency(toy.pdg_id, toy.pt, toy.eta)
    # 5 standard deviations of a sum of Bernoulli trials
    assert abs(len(tracks.source) - expected.sum()) < 5 * np.sqrt((expected * (1 - expected)).sum())


@pytest.mark.parametrize(("calorimeter", "eta_max"), [(ECAL, 5.0), (HCAL, 4.9)])
def test_every_point_lies_in_its_tower(calorimeter, eta_max):
    rng = generator()
    eta, phi = rng.uniform(-eta_max, eta_max, 5000), rng.uniform(-np.pi, np.pi, 5000)
    tower = calorimeter.tower(eta, phi)
    assert tower.min() >= 0
    assert tower.max() < calorimeter.towers
    eta_low, eta_high, phi_low, phi_high = calorimeter.edges(tower)
    assert ((eta_low <= eta) & (eta <= eta_high) & (phi_low <= phi) & (phi <= phi_high)).all()
    assert calorimeter.tower(np.array([5.1, -5.1, np.inf]), np.zeros(3)).tolist() == [-1, -1, -1]


def test_tower_numbers_are_distinct():
    for calorimeter in (ECAL, HCAL):
        numbers = np.arange(calorimeter.towers)
        eta_low, eta_high, phi_low, phi_high = calorimeter.edges(numbers)
        assert (calorimeter.tower((eta_low + eta_high) / 2, (phi_low + phi_high) / 2) == numbers).all()


def test_tower_sizes_are_those_of_the_card():
    eta_low, eta_high, phi_low, phi_high = ECAL.edges(ECAL.tower(np.array([0.5]), np.array([1.0])))
    assert (eta_high - eta_low)[0] == pytest.approx(0.0174)
    assert (phi_high - phi_low)[0] == pytest.approx(np.pi / 180)
    eta_low, eta_high, phi_low, phi_high = HCAL.edges(HCAL.tower(np.array([0.55, 3.6]), np.array([1.0, 1.0])))
    assert (eta_high - eta_low).tolist() == pytest.approx([0.1, 0.2])
    assert (phi_high - phi_low).tolist() == pytest.approx([np.pi / 18, np.pi / 9])


def test_photon_and_neutral_hadron_end_in_tower_centres():
    toy = particles([(0, 22, 50, 0.501, 1.001), (0, 130, 30, -1.03, -2.0)])
    found = find_candidates(toy, generator(), **PERFECT)
    assert found.pdg_id.tolist() == [22, 130]
    energy = found.pt * np.cosh(found.eta)
    assert energy == pytest.approx(toy.energy)
    assert found.eta[0] == pytest.approx(0.501, abs=0.0174)
    assert found.eta[1] == pytest.approx(-1.05)
    assert found.mass.tolist() == [0, 0]


def test_k_short_shares_its_energy():
    toy = particles([(0, 310, 40, 0.2, 0.2)])
    found = find_candidates(toy, generator(), **PERFECT)
    energy = dict(zip(found.pdg_id.tolist(), found.pt * np.cosh(found.eta), strict=True))
    assert energy[22] == pytest.approx(0.3 * toy.energy[0])
    assert energy[130] == pytest.approx(0.7 * toy.energy[0])


def test_muons_leave_no_energy():
    found = find_candidates(particles([(0, 13, 40, 0.2, 0.2)]), generator(), **PERFECT)
    assert found.pdg_id.tolist() == [13]
    assert found.pt[0] == 40


def test_charged_hadron_beside_a_neutral_one():
    # both in one HCAL tower (no field): the excess over the track is the neutral hadron
    toy = particles([(0, 211, 20, 0.05, 0.05), (0, 130, 30, 0.06, 0.06)])
    found = find_candidates(toy, generator(), **PERFECT, field=0.0)
    assert sorted(found.pdg_id.tolist()) == [130, 211]
    energy = dict(zip(found.pdg_id.tolist(), found.energy, strict=True))
    assert energy[130] == pytest.approx(toy.energy[toy.pdg_id == 130][0])


def test_track_without_excess_is_scaled_to_the_weighted_mean():
    # a track measured 20 % too high in a tower measured exactly; no smearing: the combination is by hand
    toy = particles([(0, 211, 50, 0.05, 0.05)])
    tracks = find_tracks(toy, generator(), inefficiency=False, smearing=False)
    high = type(tracks)(tracks.source, 1.2 * tracks.pt, 1.2 * tracks.energy, tracks.resolution)
    _, scale = run_energy_flow(HCAL, toy, (toy.eta, toy.phi), high, generator(), smearing=False)
    energy = toy.energy[0]
    sigma = HCAL.resolution(np.array([0.05]), np.array([energy]))[0]
    track_sigma = tracks.resolution[0] * 1.2 * energy
    mean = (1.2 * energy / track_sigma**2 + energy / sigma**2) / (1 / track_sigma**2 + 1 / sigma**2)
    assert scale[0] == pytest.approx(mean / (1.2 * energy))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_energy_flow_conserves_energy_without_smearing(seed):
    toy = random_particles(np.random.default_rng(seed), 3, 25, [211, -211, 22, 130, 11, -11, 13, 310])
    found = find_candidates(toy, generator(), **PERFECT)
    for event in range(3):
        assert found.energy[found.event == event].sum() == pytest.approx(toy.energy[toy.event == event].sum(), rel=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_candidates_and_missing_momentum_balance(seed):
    toy = random_particles(np.random.default_rng(seed), 2, 30, [211, 22, 130, 13])
    found = find_candidates(toy, np.random.default_rng(seed))
    pt, phi, total = missing_momentum(found.event, found.pt, found.phi, 2)
    for event in range(2):
        mine = found.event == event
        assert pt[event] * np.cos(phi[event]) == pytest.approx(-(found.pt * np.cos(found.phi))[mine].sum(), abs=1e-9)
        assert total[event] == pytest.approx(found.pt[mine].sum())
    assert (np.diff(found.pt)[np.diff(found.event) == 0] <= 0).all()


def test_calorimeter_noise_drops_soft_towers():
    toy = particles([(0, 22, 0.3, 0.0, 0.0), (0, 130, 0.8, 1.0, 1.0)])
    assert len(find_candidates(toy, generator(), smearing=False).pt) == 0


def test_jet_energy_is_unbiased_on_average():
    # many 50 GeV photons: 5 standard errors of a resolution of 1.5 %
    toy = particles([(event, 22, 50, 0.1, 0.1) for event in range(2000)])
    found = find_candidates(toy, generator())
    energy = found.pt * np.cosh(found.eta)
    sigma = ECAL.resolution(np.array([0.1]), np.array([50.0]))[0]
    assert energy.mean() == pytest.approx(toy.energy[0], abs=5 * sigma / np.sqrt(2000))
    assert energy.std() == pytest.approx(sigma, rel=0.1)


def test_lepton_isolation_by_hand():
    rows = [
        (0, 13, 40, 0.0, 0.0),
        (0, 211, 5, 0.2, 0.0),
        (0, 211, 4, 0.4, 0.0),
        (0, 211, 9, 1.0, 0.0),
        (1, 13, 30, 0, 0),
    ]
    found = find_candidates(particles(rows), generator(), **PERFECT)
    muons = find_leptons(13, found, generator(), inefficiency=False)
    assert muons.pt.tolist() == [40, 30]
    assert muons.relative_isolation_03.tolist() == pytest.approx([5 / 40, 0])
    # 9/40 within 0.5 is below the limit of 0.25
    assert muons.isolated.tolist() == [True, True]
    soft = find_candidates(particles([(0, 11, 9.9, 0.0, 0.0)]), generator(), **PERFECT)
    assert len(find_leptons(11, soft, generator(), inefficiency=False).pt) == 0


def test_isolation_limits_differ():
    rows = [(0, 13, 40, 0.0, 0.0), (0, 211, 8, 0.2, 0.0), (0, 11, 40, 2.0, 2.0), (0, 211, 8, 2.2, 2.0)]
    found = find_candidates(particles(rows), generator(), **PERFECT)
    assert find_leptons(13, found, generator(), inefficiency=False).isolated.tolist() == [True]
    assert find_leptons(11, found, generator(), inefficiency=False).isolated.tolist() == [False]
