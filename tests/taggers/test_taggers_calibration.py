"""Calibration error and temperature by hand, on scores of known calibration, and against scipy."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from lhcml.taggers.calibration import (
    calibration_error,
    class_weights,
    curve,
    evaluate_calibration,
    fit_temperature,
    noise,
)
from lhcml.taggers.logits import logit, sigmoid


def probabilities(jets, temperature, seed):
    """Return scores of the best classifier of Gaussians at -1 and 1, its logit times a temperature."""
    rng = np.random.default_rng(seed)
    signal = np.arange(jets) < jets // 3
    # log-likelihood ratio of N(1,1) and N(-1,1) is 2x
    margin = 2 * rng.normal(np.where(signal, 1, -1), 1)
    return sigmoid(margin * temperature), signal


def test_error_by_hand():
    # bins of width 1/15: [.4,.4667) holds .41 and .45 of both classes, [.8,.8667) one signal jet
    score, signal = np.array([0.41, 0.45, 0.85]), np.array([True, False, True])
    weight = class_weights(signal)
    np.testing.assert_allclose(weight, [0.25, 0.5, 0.25])
    first = abs((0.25 * 0.41 + 0.5 * 0.45) / 0.75 - 0.25 / 0.75)
    assert calibration_error(score, signal, weight) == pytest.approx(0.75 * first + 0.25 * 0.15)
    low, high = curve(score, signal)
    assert (low["jets"], low["signal_share"]) == (2, pytest.approx(1 / 3))
    assert high == {"jets": 1, "score": pytest.approx(0.85), "signal_share": 1.0}


def test_a_perfect_classifier_is_calibrated_whatever_the_class_sizes():
    score, signal = probabilities(60_000, 1.0, 1)
    # 15 bins of ~4000 jets: |share - score| is about sqrt(2/pi) * 0.4/sqrt(4000) = 0.005, much less near 0 and 1
    assert calibration_error(score, signal, class_weights(signal)) < 0.01
    # slope of the loss: T is known to about 1/sqrt(jets * <m^2 p(1-p)>) = 1 %; 4 standard deviations
    assert fit_temperature(score, signal) == pytest.approx(1, abs=0.04)


def test_noise_is_the_error_of_right_scores():
    # the error of independent right samples of this size scatters around it; 30 of them know their mean to 4 %
    samples = [probabilities(2000, 1.0, seed) for seed in range(30)]
    measured = np.mean([calibration_error(score, signal, class_weights(signal)) for score, signal in samples])
    assert noise(*samples[0], replicas=50, seed=1) == pytest.approx(measured, rel=0.15)
    assert noise(*samples[0], replicas=50, seed=1) > 0.005


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_temperature_is_found_and_mends(temperature):
    validation, test = probabilities(30_000, temperature, 2), probabilities(30_000, temperature, 3)
    result = evaluate_calibration(*test, validation, replicas=20, seed=1)
    assert result["temperature"] == pytest.approx(temperature, rel=0.05)
    assert result["ece_calibrated"] < 0.015 < result["ece"]
    assert 0 < result["ece_bootstrap_std"] < 0.01


def test_temperature_agrees_with_scipy():
    score, signal = probabilities(500, 1.7, 4)
    margin, weight = logit(score), class_weights(signal)

    def loss(log_temperature):
        return np.sum(weight * np.logaddexp(0, np.where(signal, -1, 1) * margin / np.exp(log_temperature)))

    best = np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9}).x)
    assert fit_temperature(score, signal) == pytest.approx(best, rel=1e-6)


def test_extremes():
    signal = np.array([True, True, False, False])
    # separated, scores of exactly 0 and 1, no information: at the limits and finite
    assert fit_temperature(np.array([0.9, 0.8, 0.2, 0.1]), signal) == pytest.approx(0.01)
    assert fit_temperature(np.array([1.0, 0.0, 1.0, 0.0]), signal) == pytest.approx(100)
    assert evaluate_calibration(np.array([1.0, 1.0, 0.0, 0.0]), signal, None, 0, 1) == {
        "temperature": None, "ece": 0.0, "ece_bootstrap_std": None, "ece_calibrated": None,
        "ece_bootstrap_std_calibrated": None, "reliability_calibrated": None, "ece_noise": None,
        "ece_noise_calibrated": None,
        "reliability": [{"jets": 2, "score": 0.0, "signal_share": 0.0}, {"jets": 2, "score": 1.0, "signal_share": 1.0}],
    }  # fmt: skip
