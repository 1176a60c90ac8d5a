"""Figures of merit by hand and against SciPy; bootstrap weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from lhcml.unfolding.bootstrap import poisson_weights
from lhcml.unfolding.metrics import (
    bottom_line_test,
    chi_square,
    effective_sample_size,
    replica_covariance,
    triangular_discriminator,
    wasserstein_distance,
)

counts = arrays(float, 6, elements=st.floats(0, 1e6)).filter(lambda values: values.sum() > 1)


def test_triangular_discriminator_by_hand():
    # densities 1/4, 3/8 and 3/4, 1/8 in bins of width 1 and 2:
    # 1/2 * ((1/2)^2 / 1 * 1 + (1/4)^2 / (1/2) * 2) = 1/4
    assert triangular_discriminator([1, 3], [30, 10], [1, 2]) == pytest.approx(250)
    # nothing in common: 1/2 * (1 + 1) = 1; a bin empty in both adds nothing
    assert triangular_discriminator([5, 0, 0], [0, 0, 2], [1, 1, 1]) == pytest.approx(1000)
    # a negative bin counts as empty
    assert triangular_discriminator([1, 1, -1], [1, 1, 0], [1, 1, 1]) == 0


@given(counts, counts, arrays(float, 6, elements=st.floats(0.1, 10)))
def test_triangular_discriminator_is_a_symmetric_measure_of_shapes(p, q, widths):
    value = triangular_discriminator(p, q, widths)
    assert 0 <= value <= 1000 * (1 + 1e-12)
    assert triangular_discriminator(q, p, widths) == pytest.approx(value)
    assert triangular_discriminator(3 * p, q, widths) == pytest.approx(value, abs=1e-9)
    assert triangular_discriminator(p, p, widths) == 0


def test_triangular_discriminator_of_two_samples():
    # K / (2 N) on average for two samples of N events: 50 / 20,000 = 2.5e-3, here from 200 pairs. The sum over bins is
    # close to a chi-square of 49 degrees of freedom: relative spread sqrt(2 / 49) = 0.2, 0.014 of the mean; 4 sigma
    rng = np.random.default_rng(1)
    pairs = rng.multinomial(10_000, np.full(50, 0.02), (200, 2))
    values = [triangular_discriminator(p, q, np.ones(50)) for p, q in pairs]
    assert np.mean(values) == pytest.approx(2.5 * 49 / 50, rel=0.057)


def test_spectrum_without_events():
    with pytest.raises(ValueError, match="without events in range"):
        triangular_discriminator([0, 0], [1, 2], [1, 1])


@given(counts, counts)
def test_wasserstein_distance_as_in_scipy(p, q):
    edges = np.array([0, 1, 3, 4, 4.5, 7, 12])
    centres = (edges[1:] + edges[:-1]) / 2
    expected = stats.wasserstein_distance(centres, centres, p, q)
    assert wasserstein_distance(p, q, edges) == pytest.approx(expected, abs=1e-9)


def test_chi_square_of_a_full_covariance():
    rng = np.random.default_rng(2)
    root = rng.normal(size=(4, 4))
    covariance, a, b = root @ root.T, rng.normal(size=4), rng.normal(size=4)
    result = chi_square(a, b, covariance)
    assert result.value == pytest.approx((a - b) @ np.linalg.solve(covariance, a - b))
    assert result.degrees == 4
    assert result.p_value == pytest.approx(stats.chi2.sf(result.value, 4))


def test_chi_square_of_singular_covariances():
    # a bin that cannot vary is left out: 2^2 / 4 + 3^2 / 9
    result = chi_square([2, 3, 5], [0, 0, 0], np.diag([4, 9, 0]))
    assert (result.value, result.degrees) == (pytest.approx(2), 2)
    # fully correlated bins are one measurement: both differ by two standard deviations
    result = chi_square([2, 20], [0, 0], [[1, 10], [10, 100]])
    assert (result.value, result.degrees) == (pytest.approx(4), 1)
    with pytest.raises(ValueError, match="no variance"):
        chi_square([1], [0], [[0]])


def test_chi_square_of_an_estimated_covariance():
    # 20 replicas of 5 bins: factor (20 - 5 - 2) / (20 - 1); its mean over estimates is the true chi-square. The
    # chi-square's relative spread over estimates is about sqrt(2 / 13) = 0.4, 0.008 of 2500: 4 sigma
    rng = np.random.default_rng(3)
    a = np.array([1.0, -1, 2, 0, 1])
    values = [
        chi_square(a, np.zeros(5), replica_covariance(rng.normal(size=(20, 5))), replicas=20).value
        for _ in range(2500)
    ]  # fmt: skip
    assert np.mean(values) == pytest.approx(a @ a, rel=0.035)
    with pytest.raises(ValueError, match="7 replicas cannot give the inverse covariance of 5 bins"):
        chi_square(a, np.zeros(5), np.eye(5), replicas=7)


def test_bottom_line():
    response = np.array([[0.8, 0.2], [0.2, 0.8]])
    data, model = np.array([110.0, 90.0]), np.array([80.0, 120.0])
    covariance, inverse = np.diag(data), np.linalg.inv(response)
    exact = bottom_line_test(
        data, response @ model, covariance, inverse @ data, model, inverse @ covariance @ inverse.T
    )
    # an invertible transformation of data, model and covariance leaves the chi-square as it is
    assert exact["passed"]
    assert exact["particle"]["value"] == pytest.approx(exact["detector"]["value"])
    assert exact["detector"]["value"] == pytest.approx(22**2 / 110 + 22**2 / 90)
    # a covariance that leaves out the anticorrelations and is too small claims more than the data can say
    claimed = bottom_line_test(data, response @ model, covariance, inverse @ data, model, covariance)
    assert not claimed["passed"]
    # an estimate from 8 replicas: factor (8 - 2 - 2) / (8 - 1)
    scaled = bottom_line_test(data, response @ model, covariance, inverse @ data, model, covariance, replicas=8)
    assert scaled["particle"]["value"] == pytest.approx(4 / 7 * claimed["particle"]["value"])


def test_covariance_of_replicas():
    replicas = np.random.default_rng(4).normal(size=(7, 3))
    np.testing.assert_allclose(replica_covariance(replicas), np.cov(replicas, rowvar=False))
    with pytest.raises(ValueError, match="two replicas or more"):
        replica_covariance(replicas[:1])


def test_effective_sample_size():
    assert effective_sample_size([2, 2, 2]) == pytest.approx(3)
    assert effective_sample_size([1, 1, -1]) == pytest.approx(1 / 3)
    assert effective_sample_size([]) == 0


def identity(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    number = np.arange(size)
    return np.ones(size, np.int64), 1 + number // 1000, number


def test_bootstrap_weights_follow_the_poisson_law():
    weights = poisson_weights(1, "data", 0, *identity(200_000))
    observed = np.bincount(np.minimum(weights.astype(int), 6), minlength=7)
    expected = 200_000 * np.append(stats.poisson.pmf(range(6), 1), stats.poisson.sf(5, 1))
    # a wrong probability in any class fails at this size; one fixed seed in 1000 would by chance
    assert stats.chisquare(observed, expected).pvalue > 1e-3
    # errors of mean and variance are sqrt(1 / n) and sqrt(3 / n): 4 sigma
    assert weights.mean() == pytest.approx(1, abs=4 * np.sqrt(1 / 200_000))
    assert weights.var() == pytest.approx(1, abs=4 * np.sqrt(3 / 200_000))


def test_bootstrap_weights_belong_to_events():
    run, block, event = identity(5000)
    order = np.random.default_rng(5).permutation(5000)
    weights = poisson_weights(1, "data", 3, run, block, event)
    np.testing.assert_array_equal(poisson_weights(1, "data", 3, run[order], block[order], event[order]), weights[order])
    np.testing.assert_array_equal(poisson_weights(1, "data", 3, run[:7], block[:7], event[:7]), weights[:7])


@pytest.mark.parametrize(("seed", "kind", "replica"), [(1, "data", 1), (1, "simulation", 0), (2, "data", 0)])
def test_bootstrap_replicas_are_independent(seed, kind, replica):
    events = identity(100_000)
    a, b = poisson_weights(1, "data", 0, *events), poisson_weights(seed, kind, replica, *events)
    # a correlation coefficient of independent samples has error 1 / sqrt(n)
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(100_000)


def test_bootstrap_weights_are_the_published_ones():
    # made anew by anybody, on any machine: these numbers must never change
    weights = poisson_weights(20260101, "simulation", 2, [1] * 12, [1] * 12, range(12))
    assert weights.tolist() == [0, 0, 2, 0, 0, 0, 1, 0, 2, 1, 1, 1]
