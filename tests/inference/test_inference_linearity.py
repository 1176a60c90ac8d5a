"""Fitted against injected values: the line by hand, and a model that is linear."""

from __future__ import annotations

import numpy as np
import pytest
from inference_models import build, counting, data_of, two_bins

from lhcml.common.errors import UserError
from lhcml.inference.compile_likelihood import compile_likelihood
from lhcml.inference.read_workspace import Problem
from lhcml.inference.summarise_toys import fit_line, summarise_toys
from lhcml.inference.throw_toys import throw_toys

SETTINGS = {"nuisances": "nominal", "auxiliary": True}


def point(injected: float, mean: float, error: float, at_bound: int = 0) -> dict:
    row = {"injected": injected, "mean": mean, "mean_uncertainty": error}
    return row | {"at_bound": at_bound, "count": 100, "valid": True}


def test_line_by_hand():
    # three points of equal error 0.1 at 0, 1, 2: slope (y2 - y0) / 2, error 0.1 / sqrt 2; intercept mean(y) - slope,
    # error 0.1 sqrt(5/6); the middle one lies 0.3 high: residuals -0.1, 0.2, -0.1, chi2 6
    line = fit_line([point(0, 0.1, 0.1), point(1, 1.4, 0.1), point(2, 2.1, 0.1)])
    assert line["slope"] == pytest.approx(1.0)
    assert line["slope_uncertainty"] == pytest.approx(0.1 / 2**0.5)
    assert line["intercept"] == pytest.approx(0.2)
    assert line["intercept_uncertainty"] == pytest.approx(0.1 * (5 / 6) ** 0.5)
    assert line["chi2"] == pytest.approx(6.0)
    assert line["degrees_of_freedom"] == 1
    # chi-squared of one degree above 6: 0.0143
    assert line["p_value"] == pytest.approx(0.0143, abs=1e-4)
    # against fitted = injected: 1 + 16 + 1
    assert line["chi2_identity"] == pytest.approx(18.0)


def test_points_at_a_bound_are_not_in_the_line():
    line = fit_line([point(0, 0.3, 0.01, at_bound=50), point(1, 1.0, 0.1), point(2, 2.0, 0.1)])
    assert line["used"] == [1, 2]
    assert line["slope"] == pytest.approx(1.0)
    assert line["p_value"] is None  # no degree of freedom is left
    assert fit_line([point(0, 0.3, 0.01, at_bound=50), point(1, 1.0, 0.1)])["slope"] is None


def test_linear_model_gives_slope_one_and_intercept_zero():
    model = two_bins()
    likelihood = compile_likelihood(model)
    problem = Problem(likelihood, data_of(model, [51.0, 48.0]), "mu", "0" * 64, "fit")
    block = {"injected": [0, 1.5, 3], "count": 300, "batches": 1}
    result = summarise_toys([throw_toys(problem, "linearity", {"toys": SETTINGS, "linearity": block}, seed=8)], {})
    assert result["valid"]
    # half of the fits without signal end at the bound of zero, and their mean is high; 1.5 is 2.9 deviations away
    without, *rest = result["points"]
    assert 100 < without["at_bound"] < 200
    assert without["bias"] > 5 * without["mean_uncertainty"]
    assert result["line"]["used"] == [1.5, 3]
    for row in rest:
        assert abs(row["bias"]) < 3.5 * row["mean_uncertainty"]
    assert abs(result["line"]["slope"] - 1) < 3.5 * result["line"]["slope_uncertainty"]
    # with equal seeds two values are different pseudo-experiments
    assert np.corrcoef([row["mean"] for row in rest], [1.5, 3])[0, 1] > 0.99


def test_injected_value_beyond_the_bounds_is_an_error():
    model, likelihood = build(counting(mu=[0, 1.5]))
    problem = Problem(likelihood, data_of(model, [55.0]), "mu", "0" * 64, "fit")
    block = {"injected": [0, 2], "count": 3, "batches": 1}
    with pytest.raises(UserError, match="injected value 2 of mu is beyond its bounds"):
        throw_toys(problem, "linearity", {"toys": SETTINGS, "linearity": block}, seed=8)
