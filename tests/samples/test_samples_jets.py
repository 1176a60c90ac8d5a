from __future__ import annotations

import math

import fastjet
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from particle_toys import particles, random_particles

from lhcml.samples.jets import cluster, match
from lhcml.samples.veto import direction, parton_jets


def classic(toy, event, radius, min_pt):
    """Jets of one event from FastJet's classic interface, by descending pT."""
    mine = np.flatnonzero(toy.event == event)
    inputs = []
    for number, i in enumerate(mine):
        pt, eta, phi = toy.pt[i], toy.eta[i], toy.phi[i]
        jet = fastjet.PseudoJet(pt * math.cos(phi), pt * math.sin(phi), pt * math.sinh(eta), toy.energy[i])
        jet.set_user_index(int(mine[number]))
        inputs.append(jet)
    # kept in a name: the jets refer to it
    sequence = fastjet.ClusterSequence(inputs, fastjet.JetDefinition(fastjet.antikt_algorithm, radius))
    found = fastjet.sorted_by_pt(sequence.inclusive_jets(min_pt))
    return [(j.pt(), j.eta(), j.m(), sorted(c.user_index() for c in j.constituents())) for j in found]


@pytest.mark.parametrize("radius", [0.4, 0.8, 1.0])
def test_jets_agree_with_the_classic_interface(radius):
    toy = random_particles(np.random.default_rng(5), 6, 60, [211, 22, 130])
    jets = cluster(toy, events=6, radius=radius, min_pt=5.0)
    starts = np.cumsum(jets.constituent_counts) - jets.constituent_counts
    first = np.cumsum(jets.counts) - jets.counts
    for event in range(6):
        expected = classic(toy, event, radius, 5.0)
        assert jets.counts[event] == len(expected)
        for number, (pt, eta, mass, members) in enumerate(expected):
            jet = first[event] + number
            assert jets.pt[jet] == pytest.approx(pt)
            assert jets.eta[jet] == pytest.approx(eta)
            assert jets.mass[jet] == pytest.approx(mass, abs=1e-4)
            mine = jets.constituents[starts[jet] : starts[jet] + jets.constituent_counts[jet]]
            assert mine.tolist() == members


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_jets_conserve_momentum(seed):
    toy = random_particles(np.random.default_rng(seed), 2, 30, [211, 22])
    # every particle is in a jet when the threshold is none
    jets = cluster(toy, events=2, radius=0.4, min_pt=0.0, max_eta=np.inf)
    assert sorted(jets.constituents.tolist()) == list(range(60))
    for event in range(2):
        mine = np.repeat(np.arange(2), jets.counts) == event
        px = (jets.pt * np.cos(jets.phi))[mine].sum()
        assert px == pytest.approx((toy.pt * np.cos(toy.phi))[toy.event == event].sum(), abs=1e-8)
        energy = np.sqrt(jets.mass**2 + (jets.pt * np.cosh(jets.eta)) ** 2)[mine].sum()
        assert energy == pytest.approx(toy.energy[toy.event == event].sum(), rel=1e-6)


def test_events_without_particles_have_no_jets():
    toy = particles([(1, 22, 50, 0.0, 0.0), (3, 22, 60, 1.0, 1.0)])
    jets = cluster(toy, events=5, radius=0.4, min_pt=10.0)
    assert jets.counts.tolist() == [0, 1, 0, 1, 0]
    assert jets.leading_pt.tolist() == pytest.approx([0, 50, 0, 60, 0])
    assert jets.mass.tolist() == pytest.approx([0, 0], abs=1e-5)


def test_acceptance():
    toy = particles([(0, 22, 50, 3.0, 0.0), (0, 22, 40, 1.0, 1.0)])
    assert cluster(toy, events=1, radius=0.4, min_pt=10.0, max_eta=2.5).pt.tolist() == pytest.approx([40])


def test_nearest_match():
    reco = cluster(
        particles([(0, 22, 50, 0, 3.1), (0, 22, 40, 1, 1), (1, 22, 30, 0, 0)]), events=2, radius=0.4, min_pt=5
    )
    gen = cluster(
        particles([(0, 22, 45, 1.1, 1), (0, 22, 44, 0, -3.1), (0, 22, 20, 1.3, 1.3)]), events=2, radius=0.2, min_pt=5
    )
    # across the seam of phi, the nearer of two, and an event without targets
    assert match(reco, gen, 0.4).tolist() == [1, 0, -1]
    assert match(gen, reco, 0.05).tolist() == [-1, -1, -1]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.floats(1, 800), st.floats(-3, 3), st.floats(-3.14, 3.14)), min_size=1, max_size=7, unique=True
    )
)
def test_veto_finds_the_jets_of_fastjet(rows):
    momenta = [(pt * math.cos(p), pt * math.sin(p), pt * math.sinh(e), pt * math.cosh(e)) for pt, e, p in rows]
    sequence = fastjet.ClusterSequence(
        [fastjet.PseudoJet(*momentum) for momentum in momenta], fastjet.JetDefinition(fastjet.antikt_algorithm, 0.8)
    )
    expected = sorted((jet.pt() for jet in sequence.inclusive_jets()), reverse=True)
    assert [jet[0] for jet in parton_jets(momenta, 0.8)] == pytest.approx(expected, rel=1e-6)


def test_direction():
    assert direction((3.0, 4.0, 0.0, 5.0)) == pytest.approx((5.0, 0.0, math.atan2(4, 3)))
    assert direction((0.0, 0.0, -7.0, 7.0))[1] == -99.0
