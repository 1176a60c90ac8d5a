"""Mass sculpting by hand, against scipy, and on taggers that do or do not know the mass."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from lhcml.taggers.sculpting import divergence, evaluate_sculpting, threshold_at

COUNTS = st.lists(st.integers(0, 50), min_size=4, max_size=4).filter(any)


def test_divergence_by_hand():
    assert divergence(np.array([1.0, 0.0]), np.array([0.0, 3.0])) == 1
    assert divergence(np.array([1.0, 3.0]), np.array([2.0, 6.0])) == 0
    # p (1, 0), q (1/2, 1/2), mean (3/4, 1/4): (log2(4/3) + (log2(2/3) + log2(2)) / 2) / 2
    by_hand = 0.5 * (np.log2(4 / 3) + 0.5 * (np.log2(2 / 3) + 1))
    assert divergence(np.array([1.0, 0.0]), np.array([1.0, 1.0])) == pytest.approx(by_hand)
    assert np.isnan(divergence(np.zeros(2), np.ones(2)))


@settings(max_examples=100, deadline=None)
@given(COUNTS, COUNTS)
def test_divergence_agrees_with_scipy(first, second):
    p, q = np.array(first, dtype=float), np.array(second, dtype=float)
    value = divergence(p, q)
    # scipy returns the square root, which loses digits near 0
    assert value == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-12)
    assert 0 <= value <= 1 + 1e-12
    assert value == pytest.approx(divergence(q, p), abs=1e-12)


def test_threshold_by_hand():
    scores = np.array([0.1, 0.9, 0.5, 0.5, 0.7, 0.2, 0.3, 0.4, 0.6, 0.8])
    assert threshold_at(scores, 0.3) == 0.7
    assert threshold_at(scores, 0.31) == 0.6
    assert threshold_at(scores, 1.0) == 0.1
    # the jet at 0.9 counted six times is six of 15: 0.4
    assert threshold_at(scores, 0.4, np.where(scores == 0.9, 6.0, 1.0)) == 0.9


def sample(knows_mass, jets=4000, seed=3):
    rng = np.random.default_rng(seed)
    signal = np.arange(jets) < jets // 2
    mass = np.where(signal, rng.normal(173, 15, jets), rng.exponential(60, jets) + 20)
    score = np.exp(-np.abs(mass - 173) / 50) if knows_mass else rng.normal(signal, 1)
    return score, signal, mass


def test_a_tagger_without_the_mass_stays_at_the_noise():
    result = evaluate_sculpting(*sample(False), replicas=50, seed=1)
    # passing: Phi(-1) = 16 % of 2000 jets; the noise scatters by less than half of itself with ~20 occupied bins
    assert 0.1 < result["passing_50"] / 2000 < 0.25
    assert result["jsd_50"] == pytest.approx(result["jsd_50_noise"], rel=0.6)
    assert result["inverse_jsd_50"] == pytest.approx(1 / result["jsd_50"])


def test_a_tagger_of_the_mass_sculpts():
    result = evaluate_sculpting(*sample(True), replicas=50, seed=1)
    assert result["jsd_50"] > 0.5 > 5 * result["jsd_50_noise"]
    assert 0 < result["jsd_50_bootstrap_std"] < 0.1


def test_nothing_passes():
    _, signal, mass = sample(True)
    result = evaluate_sculpting(np.where(signal, 1.0, 0.0), signal, mass, replicas=5, seed=1)
    assert (result["jsd_30"], result["inverse_jsd_30"], result["jsd_30_noise"], result["passing_30"]) == (None,) * 3 + (
        0,
    )
