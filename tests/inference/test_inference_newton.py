"""Gauss-Newton refits: the same minima as MIGRAD's, within bounds, and the reason where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inference_models import EVERY_MODIFIER, build, counting, data_of, two_bins

from lhcml.inference.compile_likelihood import compile_likelihood
from lhcml.inference.minimise import minimise
from lhcml.inference.newton import descend

_, EVERY = build(EVERY_MODIFIER)


def toy(likelihood, seed):
    data = likelihood.expected(likelihood.start)
    data[: likelihood.bins] = np.random.default_rng(seed).poisson(data[: likelihood.bins])
    return data


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), index=st.integers(0, len(EVERY.names) - 1), shift=st.floats(-1.5, 1.5))
def test_refits_reach_the_minimum_of_migrad(seed, index, shift):
    data = toy(EVERY, seed)
    value = EVERY.start[index] + 0.3 * shift
    slow = minimise(EVERY, data, constant={index: value}, covariance=False)
    fixed = EVERY.fixed.copy()
    fixed[index] = True
    start = EVERY.start.copy()
    start[index] = value
    fast = descend(EVERY, data, fixed, start)
    if slow.valid and not fast.reason:
        # both stop within 2e-6 of the minimum as they estimate it; 1e-4 of -2 ln L is 1 % of a standard deviation
        assert fast.twice_nll == pytest.approx(slow.twice_nll, abs=1e-4)
    # what fails here falls back to MIGRAD in `minimise`, so that no refit is worse
    again = minimise(EVERY, data, constant={index: value}, start=start, covariance=False)
    assert again.valid == slow.valid or again.valid


def test_minimum_at_the_bound():
    model = two_bins()
    likelihood = compile_likelihood(model)
    end = descend(likelihood, data_of(model, [40.0, 40.0]), likelihood.fixed, likelihood.start)
    assert not end.reason
    assert end.values[likelihood.poi] == 0.0
    slope = likelihood.gradient(end.values, data_of(model, [40.0, 40.0]))
    # conditions of Karush, Kuhn and Tucker: uphill into the allowed side, flat in all others
    assert slope[likelihood.poi] > 0
    np.testing.assert_allclose(np.delete(slope, likelihood.poi), 0, atol=1e-3)


def test_counting_experiment_by_hand():
    _, likelihood = build(counting(signal=10, background=50))
    end = descend(likelihood, np.array([61.0]), likelihood.fixed, np.array([15.0]))
    assert not end.reason
    assert end.values[0] == pytest.approx(1.1, abs=1e-5)
    assert end.edm < 1e-8


def test_no_event_and_no_bound_is_no_minimum():
    # -2 ln L falls to where nothing is expected, and there it has a kink
    _, likelihood = build(counting())
    end = descend(likelihood, np.array([0.0]), likelihood.fixed, likelihood.start)
    assert "expected events in a bin" in end.reason
    assert not minimise(likelihood, np.array([0.0]), start=likelihood.start).valid


def test_not_a_number_is_told():
    _, likelihood = build(counting())
    end = descend(likelihood, np.array([np.nan]), likelihood.fixed, likelihood.start)
    assert end.reason == "-2 ln L is not finite"


def test_start_gives_the_same_fit_and_covariance():
    data = toy(EVERY, 3)
    cold = minimise(EVERY, data)
    warm = minimise(EVERY, data, start=EVERY.start + 0.02)
    assert cold.valid
    assert warm.valid
    assert warm.attempts[0]["name"] == "Gauss-Newton"
    free = ~EVERY.fixed
    np.testing.assert_allclose((warm.values - cold.values)[free] / cold.errors[free], 0, atol=3e-3)
    np.testing.assert_allclose(warm.errors[free], cold.errors[free], rtol=1e-2)
