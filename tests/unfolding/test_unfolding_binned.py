"""Binned unfolding by hand, against PyUnfold and NumPy, and on Gaussians with losses, fakes and background."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lhcml.unfolding.binned import (
    Response,
    choose_tau,
    fill_response,
    find_bins,
    response_cells,
    unfold_bayes,
    unfold_inversion,
)
from lhcml.unfolding.metrics import chi_square

EDGES = np.linspace(-3, 3, 21)
BINS = len(EDGES) + 1
NONE = np.zeros(2)


def two_bins(**changes) -> Response:
    # of 100 events in each particle bin, 60 and 50 stay, 20 and 30 migrate, 20 are lost
    parts = {"migration": np.array([[60.0, 30], [20, 50]]), "missed": np.array([20.0, 20]), "fakes": NONE,
             "background": NONE} | changes  # fmt: skip
    return Response(**parts)


def simulate(seed, events, mean=0.0, width=1.0, losses=False, weights=None) -> tuple[Response, dict]:
    """Return the response of a Gaussian, smeared by 0.5 and lost with the efficiency sigmoid(2 (x + 1.5))."""
    rng = np.random.default_rng(seed)
    gen = rng.normal(mean, width, events)
    reco = gen + rng.normal(0, 0.5, events)
    seen = rng.uniform(size=events) < 1 / (1 + np.exp(-2 * (gen + 1.5))) if losses else np.ones(events, bool)
    true, found = find_bins(gen, EDGES), find_bins(reco, EDGES)
    cells = response_cells(true, found, np.ones(events, bool), seen, np.zeros(events, bool), BINS)
    weight = np.ones(events) if weights is None else weights(rng, events)
    return fill_response(cells, weight, BINS), {"cells": cells, "gen": true, "reco": found, "seen": seen}


def test_bins_are_those_of_numpy_with_the_outside():
    values = [-1, 0, 0.5, 1, 2.99, 3, 3.01]
    found = find_bins(values, [0, 1, 3])
    assert found.tolist() == [0, 1, 1, 2, 2, 2, 3]
    assert np.bincount(found)[1:3].tolist() == np.histogram(values, [0, 1, 3])[0].tolist()


def test_every_event_has_one_place():
    # both levels, missed, fake, background (whatever its pass_gen), background and signal that pass nothing
    gen, reco = np.array([1, 2, 1, 1, 1, 1]), np.array([2, 1, 1, 0, 1, 1])
    pass_gen = np.array([True, True, False, True, False, False])
    pass_reco = np.array([True, False, True, True, False, False])
    background = np.array([False, False, False, True, True, False])
    cells = response_cells(gen, reco, pass_gen, pass_reco, background, 3)
    response = fill_response(cells, [1, 2, 4, 8, 16, 32], 3)
    assert response.migration.tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert response.missed.tolist() == [0, 0, 2]
    assert response.fakes.tolist() == [0, 4, 0]
    assert response.background.tolist() == [8, 0, 0]
    assert response.prior.tolist() == [0, 1, 2]
    assert response.folded.tolist() == [8, 4, 1]
    # several sets of weights at once
    stacked = fill_response(cells, [[1, 2, 4, 8, 16, 32], [1] * 6], 3)
    np.testing.assert_array_equal(stacked.migration[0], response.migration)
    assert stacked.background[1].tolist() == [1, 0, 0]


def test_one_iteration_by_hand():
    # folded: 90 and 70. r_1 = (60 * 180/90 + 20 * 70/70) / 80 = 7/4, r_2 = (30 * 2 + 50) / 80 = 11/8
    unfolded = unfold_bayes([180, 70], two_bins(), 1)
    np.testing.assert_allclose(unfolded, [175, 137.5])


def test_fakes_and_background_by_hand():
    response = two_bins(fakes=np.array([10.0, 30]), background=np.array([20.0, 0]))
    # folded: 60 + 30 + 10 + 20 = 120 and 20 + 50 + 30 = 100; data twice and once as many
    # r_1 = (60 * 2 + 20) / 80, r_2 = (30 * 2 + 50) / 80, r_f = (10 * 2 + 30) / 40 = 5/4
    first = unfold_bayes([240, 100], response, 1)
    np.testing.assert_allclose(first, [175, 137.5])
    # with them: folded 105 + 41.25 + 12.5 + 20 = 178.75 and 35 + 68.75 + 37.5 = 141.25
    scale = np.array([240 / 178.75, 100 / 141.25])
    expected = first * [(60 * scale[0] + 20 * scale[1]) / 80, (30 * scale[0] + 50 * scale[1]) / 80]
    np.testing.assert_allclose(unfold_bayes([240, 100], response, 2), expected)


def test_agreement_with_pyunfold():
    reference = json.loads(Path(__file__).with_name("pyunfold_reference.json").read_text())
    migration, prior = np.array(reference["migration"]), np.array(reference["prior"])
    zeros = np.zeros(len(prior))
    response = Response(migration, prior - migration.sum(axis=0), zeros, zeros)
    for iterations, expected in enumerate(reference["unfolded"], start=1):
        np.testing.assert_allclose(unfold_bayes(reference["data"], response, iterations), expected, rtol=1e-12)


responses = arrays(float, (4, 4), elements=st.floats(0.1, 100))


@given(responses, arrays(float, 4, elements=st.floats(0, 1000)), st.integers(1, 6))
def test_events_are_conserved_without_losses(migration, data, iterations):
    response = Response(migration, np.zeros(4), np.zeros(4), np.zeros(4))
    assert unfold_bayes(data, response, iterations).sum() == pytest.approx(data.sum())


@given(responses, arrays(float, (3, 4), elements=st.floats(0, 50)), st.integers(0, 6))
def test_own_events_give_the_prior(migration, others, iterations):
    response = Response(migration, *others)
    np.testing.assert_allclose(unfold_bayes(response.folded, response, iterations), response.prior, rtol=1e-9)
    inversion = unfold_inversion(response.folded, response, tau=1.0)
    np.testing.assert_allclose(inversion.unfolded, response.prior, rtol=1e-6)


def test_many_iterations_invert_the_matrix():
    response, data = two_bins(), np.array([100.0, 75])
    exact = np.linalg.solve(response.migration / response.prior, data)
    np.testing.assert_allclose(unfold_bayes(data, response, 500), exact, rtol=1e-9)


def test_what_the_simulation_does_not_know():
    # the second particle bin is never seen and keeps its prior; data in the second detector bin can come from nowhere
    zeros = np.zeros(3)
    response = Response(np.diag([50.0, 0, 10]), np.array([50.0, 30, 0]), zeros, zeros)
    data = np.array([100.0, 7, 20])
    np.testing.assert_allclose(unfold_bayes(data, response, 3), [200, 30, 20])
    np.testing.assert_allclose(unfold_inversion(data, response, 0).unfolded, [200, 30, 20])


def test_inversion_as_numpy_solves_it():
    migration = np.array([[60.0, 30, 1], [20, 50, 3], [2, 5, 40]])
    response = Response(migration, np.array([20.0, 20, 10]), np.array([9.0, 27, 3]), np.array([20.0, 0, 5]))
    data = np.array([150.0, 120, 60])
    purity = np.array([91 / 100, 73 / 100, 47 / 50])
    matrix = migration / [102, 105, 54]
    result = unfold_inversion(data, response, tau=0)
    np.testing.assert_allclose(result.unfolded, np.linalg.solve(matrix, (data - [20, 0, 5]) * purity))
    transfer = np.linalg.inv(matrix) @ np.diag(purity)
    np.testing.assert_allclose(result.covariance, transfer @ np.diag(data) @ transfer.T)


def test_regularised_inversion_as_numpy_solves_it():
    response, _ = simulate(1, 20_000)
    data = simulate(2, 20_000, 0.2, 0.8)[0].folded
    tau, curvature = 3.0, np.diff(np.eye(BINS), n=2, axis=0)
    expected = data
    for _ in range(2):
        # normal equations, for the ratio to the prior; the second time with the variances of the first's prediction
        weighted = response.migration / np.maximum(expected, 1)[:, None]
        form = response.migration.T @ weighted
        strength = tau**2 * np.trace(form) / np.sum(curvature**2)
        ratio = np.linalg.solve(form + strength * curvature.T @ curvature, weighted.T @ data)
        expected = response.migration @ ratio
    unfolded = unfold_inversion(data, response, tau).unfolded
    np.testing.assert_allclose(unfolded, ratio * response.prior, rtol=1e-6, atol=1e-6)


def test_inversion_of_weighted_data():
    # data of weight 3 and a response of three times as many events: the same, with 9 times the variance; few events,
    # so that bins of less than one are among them
    response, _ = simulate(1, 2000)
    data = simulate(2, 2000, 0.2, 0.8)[0].folded
    tripled = Response(3 * response.migration, 3 * response.missed, 3 * response.fakes, 3 * response.background)
    one, three = unfold_inversion(data, response, 3.0), unfold_inversion(3 * data, tripled, 3.0, weight=3.0)
    np.testing.assert_allclose(three.unfolded, 3 * one.unfolded, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(np.diag(three.covariance), 9 * np.diag(one.covariance), rtol=1e-6)
    assert choose_tau(3 * data, tripled, 3.0) == choose_tau(data, response)


def test_strong_regularisation_leaves_a_straight_line():
    response, _ = simulate(1, 20_000)
    data = simulate(2, 20_000, 0.2, 0.8)[0].folded
    ratio = unfold_inversion(data, response, 1e6).unfolded / response.prior
    np.testing.assert_allclose(np.diff(ratio, n=2), 0, atol=1e-6)
    assert np.ptp(ratio) > 0.1


def test_covariance_of_the_inversion_is_that_of_toys():
    response, _ = simulate(1, 50_000)
    expected = simulate(2, 50_000, 0.2, 0.8)[0].folded
    toys = np.random.default_rng(3).poisson(expected, (2000, BINS)).astype(float)
    result = unfold_inversion(expected, response, 10.0)
    spread = unfold_inversion(toys, response, 10.0).unfolded.std(axis=0)
    # a standard deviation from 2000 toys has a relative error of 1 / sqrt(4000) = 1.6 %: 4 of these, in bins of many
    # events; in others the variances that the fit assumes fluctuate too, which the covariance leaves out
    full = expected > 1000
    assert full.sum() >= 12
    np.testing.assert_allclose(spread[full], np.sqrt(np.diag(result.covariance))[full], rtol=0.064)


@pytest.mark.parametrize("losses", [False, True])
@pytest.mark.parametrize("method", ["bayes", "inversion"])
def test_gaussians_with_and_without_losses(method, losses):
    """The truth of a different Gaussian comes back, and without correction for losses it would not."""
    response, _ = simulate(11, 50_000, losses=losses)
    data, _ = simulate(12, 50_000, 0.2, 0.8, losses=losses)
    if method == "bayes":
        toys = np.random.default_rng(13).poisson(data.folded, (200, BINS))
        unfolded = unfold_bayes(data.folded, response, 4)
        error = unfold_bayes(toys, response, 4).std(axis=0)
    else:
        tau = choose_tau(data.folded, response)
        result = unfold_inversion(data.folded, response, tau)
        unfolded, error = result.unfolded, np.sqrt(np.diag(result.covariance))
    truth = data.prior
    # in bins of 500 events and more: statistics of data and response (the latter about the same), and what both
    # regularisations leave of the prior's shape, which is 4 % here; the prior itself is wrong by up to 40 %
    full = truth > 500
    assert full.sum() >= 11
    tolerance = 4 * np.sqrt(2) * error + 0.04 * truth
    assert np.all(np.abs(unfolded - truth)[full] < tolerance[full])
    assert np.sum(np.abs(response.prior - truth)[full] > tolerance[full]) >= 5
    assert unfolded.sum() == pytest.approx(truth.sum(), rel=0.02)


def test_weights_of_any_sign():
    # a quarter of the events at -1, the others at 5/3: the same spectrum on average, from fewer effective events
    def signs(rng, events):
        return np.where(rng.uniform(size=events) < 0.25, -1.0, 5 / 3)

    response, _ = simulate(21, 200_000, losses=True, weights=signs)
    response = Response(response.migration / 4, response.missed / 4, response.fakes, response.background)
    data, _ = simulate(22, 50_000, 0.2, 0.8, losses=True)
    unfolded = unfold_bayes(data.folded, response, 4)
    full = data.prior > 1000
    # relative error of a bin of the response: sqrt(mean of w^2) / sqrt(4 * 1000) = 2.4 %, amplified about twice as it
    # is unfolded; 3 sigma with that of the data
    np.testing.assert_allclose(unfolded[full], data.prior[full], rtol=0.2)
    assert np.isfinite(unfolded).all()


def test_replicas_are_unfolded_one_by_one():
    responses = [simulate(seed, 5000, losses=True)[0] for seed in (31, 32)]
    data = np.stack([simulate(seed, 5000, 0.2, 0.8, losses=True)[0].folded for seed in (33, 34)])
    parts = ("migration", "missed", "fakes", "background")
    stacked = Response(*(np.stack([getattr(each, part) for each in responses]) for part in parts))
    together = unfold_bayes(data, stacked, 4)
    inverted = unfold_inversion(data, stacked, 2.0).unfolded
    for row, response in enumerate(responses):
        np.testing.assert_allclose(together[row], unfold_bayes(data[row], response, 4))
        # rounding of the pseudo-inverse, in units of events
        np.testing.assert_allclose(inverted[row], unfold_inversion(data[row], response, 2.0).unfolded, atol=1e-6)
    # data replicas on one response
    np.testing.assert_allclose(
        unfold_bayes(data, responses[0], 2)[1], unfold_bayes(data[1], responses[0], 2)
    )  # fmt: skip


def test_bootstrap_of_the_response_covers_its_error():
    """Pulls of the unfolded spectrum, errors of data and simulation together, are of unit size."""
    chosen = slice(8, 14)
    values = []
    for seed in range(30):
        response, sample = simulate(100 + seed, 20_000)
        data, _ = simulate(200 + seed, 20_000)
        rng = np.random.default_rng(seed)
        weights = rng.poisson(1.0, (20, 20_000))
        from_data = unfold_bayes(rng.poisson(data.folded, (20, BINS)), response, 4)
        from_simulation = unfold_bayes(data.folded, fill_response(sample["cells"], weights, BINS), 4)
        error = np.sqrt(from_data.var(axis=0, ddof=1) + from_simulation.var(axis=0, ddof=1))
        difference = unfold_bayes(data.folded, response, 4) - data.prior.sum() * EXPECTED
        values.append((difference / error)[chosen])
    pulls = np.array(values)
    # same density in data and simulation, so no bias from the prior. 30 x 6 pulls, neighbours correlated: about 60
    # independent ones, whose standard deviation has a relative error of 9 %; 3 sigma
    assert pulls.std() == pytest.approx(1, abs=0.3)


def normal_shares() -> np.ndarray:
    from scipy.stats import norm

    return np.diff(np.concatenate([[0], norm.cdf(EDGES), [1]]))


EXPECTED = normal_shares()


def test_bias_against_statistics_of_the_two_references():
    """Both references fit the data at detector level, so that their chi-square there is one of fluctuations."""
    response, _ = simulate(41, 200_000)
    data, _ = simulate(42, 20_000, 0.2, 0.8)
    matrix = response.migration / response.prior
    for unfolded in (
        unfold_bayes(data.folded, response, 6),
        unfold_inversion(data.folded, response, choose_tau(data.folded, response)).unfolded,
    ):
        folded = matrix @ unfolded
        assert chi_square(data.folded, folded, np.diag(np.maximum(data.folded, 1))).p_value > 0.001
