"""Many data sets fitted at once: the same likelihood, minima and uncertainties as one by one."""

from __future__ import annotations

import numpy as np
import pytest
from inference_models import EVERY_MODIFIER, build, counting

from lhcml.inference.batch_likelihood import BatchLikelihood
from lhcml.inference.minimise import minimise
from lhcml.inference.minimise_batch import minimise_batch, poi_uncertainties


@pytest.fixture(scope="module")
def every():
    """Return the model with every kind of modifier, and 30 pseudo-experiments of it."""
    _, likelihood = build(EVERY_MODIFIER)
    generator = np.random.default_rng(7)
    return likelihood, np.array([likelihood.sample(likelihood.start, generator) for _ in range(30)])


def test_value_gradient_and_rates_are_those_of_the_likelihood(every):
    likelihood, data = every
    batch = BatchLikelihood(likelihood)
    generator = np.random.default_rng(1)
    # wide enough for both sides of |alpha| = 1, where the interpolations change
    points = likelihood.start + generator.normal(size=(30, len(likelihood.start))) * np.where(
        likelihood.constrained, 0.2, 0.1
    ) * np.where(likelihood.start == 0, 8, 1)
    one_by_one = list(zip(points, data, strict=True))
    # sums in another order: rounding
    np.testing.assert_allclose(batch.rates(points), [likelihood.rates(x) for x, _ in one_by_one], rtol=1e-12)
    np.testing.assert_allclose(
        batch.twice_nll(points, data), [likelihood.twice_nll(x, d) for x, d in one_by_one], rtol=1e-11
    )
    gradients = [likelihood.gradient(x, d) for x, d in one_by_one]
    np.testing.assert_allclose(batch.gradient(points, data), gradients, rtol=1e-8, atol=1e-8)
    value, gradient, _ = batch.expand(points, data)
    np.testing.assert_allclose(value, batch.twice_nll(points, data), rtol=1e-13)
    np.testing.assert_allclose(gradient, gradients, rtol=1e-8, atol=1e-8)


def test_expected_curvature_is_the_mean_of_the_second_derivatives(every):
    # on Asimov data observed and expected second derivatives agree; differences of the gradient to 1e-6
    likelihood, _ = every
    batch = BatchLikelihood(likelihood)
    asimov = likelihood.expected(likelihood.start)
    _, _, matrix = batch.expand(likelihood.start[None], asimov[None])
    for index in range(len(likelihood.start)):
        step = np.zeros(len(likelihood.start))
        step[index] = 1e-5
        ends = [likelihood.gradient(likelihood.start + sign * step, asimov) for sign in (1, -1)]
        np.testing.assert_allclose((ends[0] - ends[1]) / 2e-5, matrix[0, index], rtol=1e-4, atol=1e-3)


def test_minima_and_uncertainties_agree_with_those_of_one_by_one(every):
    likelihood, data = every
    batch = BatchLikelihood(likelihood)
    fits = minimise_batch(batch, data, likelihood.start)
    errors = poi_uncertainties(batch, data, fits)
    assert fits.valid.all()
    for index, row in enumerate(data):
        one = minimise(likelihood, row, start=likelihood.start)
        assert one.errors is not None
        # both are within 2e-5 of the minimum, which is 0.005 standard deviations in a parameter
        assert fits.twice_nll[index] == pytest.approx(one.twice_nll, abs=4e-5)
        assert fits.values[index] == pytest.approx(one.values, abs=0.01 * one.errors.max())
        assert errors[index] == pytest.approx(one.errors[likelihood.poi], rel=0.005)


def test_a_parameter_may_be_held_beyond_its_bounds(every):
    likelihood, data = every
    fits = minimise_batch(BatchLikelihood(likelihood), data[:3], likelihood.start, {likelihood.poi: 11.5})
    assert (fits.values[:, likelihood.poi] == 11.5).all()
    for index in range(3):
        one = minimise(likelihood, data[index], constant={likelihood.poi: 11.5}, covariance=False)
        assert fits.twice_nll[index] == pytest.approx(one.twice_nll, abs=4e-5)


def test_each_data_set_goes_its_own_way(every):
    # to the last digit, so that results do not depend on how pseudo-experiments are shared between jobs
    likelihood, data = every
    batch = BatchLikelihood(likelihood)
    together = minimise_batch(batch, data, likelihood.start)
    for part in (slice(0, 1), slice(1, 12), slice(12, 30)):
        apart = minimise_batch(batch, data[part], likelihood.start)
        np.testing.assert_array_equal(apart.values, together.values[part])
        np.testing.assert_array_equal(apart.twice_nll, together.twice_nll[part])


def test_minimum_at_a_bound_by_hand():
    # 3 events on a background of 5: the strength ends at its bound, -2 ln L = 2 (5 - 3 ln 5 + ln 3!)
    _, likelihood = build(counting(10.0, 5.0, mu=[0, 20]))
    fits = minimise_batch(BatchLikelihood(likelihood), np.array([[3.0], [25.0]]), likelihood.start)
    assert fits.values[:, 0] == pytest.approx([0.0, 2.0], abs=1e-4)
    assert fits.at_bound[:, 0].tolist() == [True, False]
    assert fits.twice_nll[0] == pytest.approx(2 * (5 - 3 * np.log(5) + np.log(6)), abs=1e-9)


def test_no_events_at_all():
    # nothing observed: the strength takes the expectation to zero, where the likelihood is one
    _, likelihood = build(counting(10.0, 5.0, mu=[-0.5, 20]))
    fits = minimise_batch(BatchLikelihood(likelihood), np.zeros((1, 1)), likelihood.start)
    assert fits.valid.all()
    assert fits.values[0, 0] == pytest.approx(-0.5, abs=1e-6)
    assert fits.twice_nll[0] == pytest.approx(0.0, abs=1e-5)


def test_a_fit_without_an_answer_is_not_valid_and_says_why():
    # a background that its bounds keep below zero
    spec = counting(mu=[0, 1e-3])
    spec["channels"][0]["samples"][1]["modifiers"] = [{"name": "scale", "type": "normfactor", "data": None}]
    spec["parameters"].append({"name": "scale", "bounds": [[-2, -1]], "inits": [-1.0]})
    _, likelihood = build(spec)
    fits = minimise_batch(BatchLikelihood(likelihood), np.array([[50.0]]), likelihood.start)
    assert not fits.valid[0]
    assert "negative expected events" in fits.reasons[0]
    assert fits.retried == 1
