"""Goodness of fit from pseudo-experiments: the statistic one by one, its distribution, and where chi-squared fails."""

from __future__ import annotations

import numpy as np
import pytest
from inference_models import EVERY_MODIFIER, build, data_of

from lhcml.inference.draw_toys import draw_toys
from lhcml.inference.fit_workspace import goodness_of_fit
from lhcml.inference.minimise import minimise
from lhcml.inference.read_workspace import Problem
from lhcml.inference.summarise_toys import summarise_toys
from lhcml.inference.throw_toys import throw_toys


def run(problem: Problem, count: int) -> dict:
    config = {"goodness_of_fit": {"count": count, "batches": 1}}
    return summarise_toys([throw_toys(problem, "goodness_of_fit", config, seed=6)], {})


def falling(events: list[float], observed: list[float]) -> Problem:
    """Return a background of one free normalisation, and data."""
    spec = {
        "channels": [
            {
                "name": "spectrum",
                "samples": [
                    {
                        "name": "background",
                        "data": events,
                        "modifiers": [{"name": "mu", "type": "normfactor", "data": None}],
                    }
                ],
            }
        ]
    }
    model, likelihood = build(spec)
    return Problem(likelihood, data_of(model, observed), "mu", "0" * 64, "fit")


def test_statistic_of_each_pseudo_experiment_is_that_of_a_fit_of_it():
    model, likelihood = build(EVERY_MODIFIER)
    observed = np.random.default_rng(2).poisson(likelihood.rates(likelihood.start)).astype(float)
    problem = Problem(likelihood, data_of(model, list(observed)), "mu", "0" * 64, "fit")
    result = run(problem, 12)
    fit = minimise(likelihood, problem.data)
    assert result["statistic"] == pytest.approx(goodness_of_fit(problem, fit)["statistic"], abs=1e-6)
    parts = sum(block["statistic"] for block in result["channels"].values())
    assert parts + result["constraints"] == pytest.approx(result["statistic"], abs=1e-6)
    for row, statistic in zip(draw_toys(problem, fit.values, [6], range(12)), result["toys"], strict=True):
        toy = Problem(likelihood, row, "mu", "0" * 64, "fit")
        assert statistic == pytest.approx(goodness_of_fit(toy, minimise(likelihood, row))["statistic"], abs=1e-4)


def test_statistic_of_one_free_factor_by_hand():
    # the fitted factor is the ratio of the sums; 2 sum(n ln(n / nu))
    template, observed = [100.0, 60.0, 40.0], [90.0, 75.0, 35.0]
    result = run(falling(template, observed), 2)
    expected = np.array(template) * sum(observed) / sum(template)
    terms = 2 * (np.array(observed) * np.log(np.array(observed) / expected) - np.array(observed) + expected)
    assert result["statistic"] == pytest.approx(terms.sum(), abs=1e-6)
    block = result["channels"]["spectrum"]
    np.testing.assert_allclose(np.square(block["residuals"]), terms, atol=1e-4)
    assert np.sign(block["residuals"]).tolist() == [-1, 1, -1]


def test_many_events_follow_chi_squared():
    # 500 pseudo-experiments of 9 degrees of freedom: mean to 3.5 sqrt(18 / 500), p-value to 3.5 binomial errors
    template = list(np.linspace(400, 100, 10))
    generator = np.random.default_rng(12)
    result = run(falling(template, list(generator.poisson(template).astype(float))), 500)
    assert result["degrees_of_freedom"] == 9
    assert np.mean(result["toys"]) == pytest.approx(9, abs=3.5 * (18 / 500) ** 0.5)
    assert abs(result["p_value_toys"] - result["p_value"]) < 3.5 * result["p_value_toys_uncertainty"]


def test_few_events_do_not_and_pseudo_experiments_tell():
    # 0.3 events a bin: the deviance of a bin is mostly 2 nu = 0.6 instead of 1 on average. Three bins of two events are
    # rare (0.04 with 2000 pseudo-experiments), and chi-squared finds them ordinary (0.25)
    result = run(falling([0.3] * 20, [2.0] * 3 + [0.0] * 17), 400)
    assert np.mean(result["toys"]) < 0.9 * result["degrees_of_freedom"]
    assert result["p_value"] == pytest.approx(0.248, abs=1e-3)
    # 3.5 of the 1 % to which 400 pseudo-experiments tell 0.04
    assert result["p_value_toys"] == pytest.approx(0.04, abs=0.035)


def test_a_wrong_model_is_found():
    result = run(falling([100.0, 60.0, 40.0], [40.0, 60.0, 100.0]), 200)
    assert result["p_value_toys"] == 0.0
    # no pseudo-experiment beyond: less than about one in 200
    assert result["p_value_toys_uncertainty"] == pytest.approx(0.5 / 201)
    assert result["p_value"] < 1e-6


def test_without_pseudo_experiments_the_asymptotic_probability_is_left():
    result = run(falling([100.0, 60.0, 40.0], [90.0, 75.0, 35.0]), 0)
    assert result["valid"]
    assert result["p_value_toys"] is None
    assert 0 < result["p_value"] < 1
