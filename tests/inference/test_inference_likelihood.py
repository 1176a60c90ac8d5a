"""The compiled likelihood against pyhf, and its derivatives against differences."""

from __future__ import annotations

import numpy as np
import pyhf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inference_models import EVERY_MODIFIER, build, counting, random_workspace

from lhcml.inference.compile_likelihood import compile_likelihood
from lhcml.inference.likelihood import code4_coefficients, interpolate_code4, interpolate_code4p, poisson_term
from lhcml.inference.quiet_pyhf import quiet_pyhf

MODEL, LIKELIHOOD = build(EVERY_MODIFIER)


def random_point(seed: int, spread: float = 0.7) -> np.ndarray:
    """Return parameters around the start, 0.05 inside the bounds (for differences), at times beyond |alpha| = 1."""
    generator = np.random.default_rng(seed)
    point = LIKELIHOOD.start + generator.normal(0, spread, len(LIKELIHOOD.start))
    return np.clip(point, LIKELIHOOD.lower + 0.05, LIKELIHOOD.upper - 0.05)


@given(st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_value_and_expectation_are_those_of_pyhf(seed):
    point = random_point(seed)
    data = np.random.default_rng(seed).poisson(np.append(LIKELIHOOD.rates(LIKELIHOOD.start), LIKELIHOOD.auxdata))
    data = data.astype(float)
    # rounding of two orders of summation
    np.testing.assert_allclose(LIKELIHOOD.expected(point), MODEL.expected_data(point), rtol=1e-12)
    theirs = -2 * float(MODEL.logpdf(point, data)[0])
    assert LIKELIHOOD.twice_nll(point, data) == pytest.approx(theirs, rel=1e-11)


@given(st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_derivatives_are_limits_of_differences(seed):
    point = random_point(seed)
    data = LIKELIHOOD.expected(LIKELIHOOD.start)
    # central differences with step h: error of order h^2 from curvature and 1e-16 / h from rounding
    step = 1e-6
    ends = [(point + step * unit, point - step * unit) for unit in np.eye(len(point))]
    slopes = [(LIKELIHOOD.twice_nll(up, data) - LIKELIHOOD.twice_nll(down, data)) / (2 * step) for up, down in ends]
    np.testing.assert_allclose(LIKELIHOOD.gradient(point, data), slopes, rtol=1e-4, atol=1e-3)
    cells = [(LIKELIHOOD.cells(up) - LIKELIHOOD.cells(down)) / (2 * step) for up, down in ends]
    np.testing.assert_allclose(LIKELIHOOD.cell_slopes(point), np.transpose(cells), rtol=1e-4, atol=1e-5)


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_any_workspace_has_the_likelihood_and_gradient_of_pyhf(seed):
    spec = random_workspace(seed)
    with quiet_pyhf():
        given_workspace = pyhf.Workspace(spec)
        model = given_workspace.model()
    likelihood = compile_likelihood(model)
    data = np.asarray(given_workspace.data(model), float)
    generator = np.random.default_rng(seed)
    point = likelihood.start + generator.normal(0, 0.4, len(likelihood.start))
    point = np.clip(point, likelihood.lower + 0.05, likelihood.upper - 0.05)
    # rounding of two orders of summation
    np.testing.assert_allclose(likelihood.expected(point), model.expected_data(point), rtol=1e-12, atol=1e-12)
    if (likelihood.rates(point) <= 0).any():
        return  # pyhf's logarithm has no value there
    theirs = -2 * float(model.logpdf(point, data)[0])
    assert likelihood.twice_nll(point, data) == pytest.approx(theirs, rel=1e-11)
    # central differences with step h: error of order h^2 from curvature and 1e-16 / h times the value from rounding
    step = 1e-6
    ends = [(point + step * unit, point - step * unit) for unit in np.eye(len(point))]
    slopes = [(likelihood.twice_nll(up, data) - likelihood.twice_nll(down, data)) / (2 * step) for up, down in ends]
    np.testing.assert_allclose(likelihood.gradient(point, data), slopes, rtol=1e-4, atol=1e-3)
    rates = [(likelihood.rates(up) - likelihood.rates(down)) / (2 * step) for up, down in ends]
    np.testing.assert_allclose(likelihood.rate_slopes(point), np.transpose(rates), rtol=1e-4, atol=1e-5)


def test_gradient_exists_where_a_factor_is_zero():
    # the derivative by mu at mu = 0 must not come from dividing by mu
    _, likelihood = build(counting())
    data = np.array([57.0])
    # -2 ln L = 2 (50 + 10 mu - 57 ln(50 + 10 mu)): slope 2 (10 - 57 * 10 / 50)
    assert likelihood.gradient(np.array([0.0]), data)[0] == pytest.approx(2 * (10 - 57 * 10 / 50))


@pytest.mark.parametrize("alpha", [-1.0, 1.0])
def test_interpolations_are_smooth_at_one_standard_deviation(alpha):
    log_up, log_down = np.log([1.3]), np.log([0.9])
    coefficients = code4_coefficients(log_up, log_down)
    for function in (
        lambda x: interpolate_code4(np.array([x]), log_up, log_down, coefficients),
        lambda x: interpolate_code4p(np.array([x]), np.array([4.0]), np.array([2.5])),
    ):
        inside, outside = function(alpha * (1 - 1e-9)), function(alpha * (1 + 1e-9))
        np.testing.assert_allclose(inside, outside, rtol=1e-7)
    # anchored at the given templates
    ends = interpolate_code4(np.array([alpha]), log_up, log_down, coefficients)[0]
    assert ends[0] == pytest.approx(1.3 if alpha > 0 else 0.9)


def test_poisson_term_stays_finite_and_rising_below_zero():
    rates = np.array([-1.0, -1e-3, 0.0, 1e-12, 1e-9, 1.0])
    values = poisson_term(np.full(6, 3.0), rates)
    assert np.isfinite(values).all()
    assert (np.diff(values) < 0).all()
    # for no event observed, the distance from zero counts
    assert poisson_term(np.zeros(2), np.array([-2.0, 2.0])).tolist() == [2.0, 2.0]


def test_pseudo_experiments_have_the_means_and_widths_of_the_model():
    generator = np.random.default_rng(2)
    point = LIKELIHOOD.start.copy()
    draws = np.array([LIKELIHOOD.sample(point, generator) for _ in range(4000)])
    mean = LIKELIHOOD.expected(point)
    bins = LIKELIHOOD.bins
    variance = mean.copy()
    variance[bins + LIKELIHOOD.normal.position] = LIKELIHOOD.normal.scale**2
    # 4000 draws: means to 5 standard errors, variances to 5 * sqrt(2 / 4000) = 11 %, a little more for few counts
    np.testing.assert_array_less(np.abs(draws.mean(axis=0) - mean), 5 * np.sqrt(variance / 4000))
    np.testing.assert_allclose(draws.var(axis=0), variance, rtol=0.14)
