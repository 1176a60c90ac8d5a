"""Pseudo-experiments: drawn, fitted, shared between batches, summarised."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inference_models import EVERY_MODIFIER, build, counting, data_of, two_bins, workspace

from lhcml.common.errors import UserError
from lhcml.inference import summarise_toys, throw_toys
from lhcml.inference.compile_likelihood import compile_likelihood
from lhcml.inference.distributions import binomial_uncertainty, chi_squared_survival, kolmogorov_survival
from lhcml.inference.draw_toys import batch_indices, draw_toys, true_parameters
from lhcml.inference.read_workspace import Problem

SETTINGS = {"count": 40, "batches": 1, "nuisances": "nominal", "auxiliary": True}


def problem_of(model: Any, observed: list[float]) -> Problem:
    return Problem(compile_likelihood(model), data_of(model, observed), "mu", "0" * 64, "fit")


@pytest.fixture(scope="module")
def every() -> Problem:
    """Return the model with every kind of modifier and data near its expectation."""
    model, likelihood = build(EVERY_MODIFIER)
    return problem_of(model, list(np.round(likelihood.rates(likelihood.start))))


@given(count=st.integers(0, 500), batches=st.integers(1, 20))
def test_batches_hold_every_number_once(count, batches):
    numbers = [number for batch in range(batches) for number in batch_indices(count, batch, batches)]
    assert numbers == list(range(count))


def test_pseudo_experiment_is_the_sample_of_its_seed(every):
    drawn = draw_toys(every, every.likelihood.start, [5], range(3, 6))
    for row, number in zip(drawn, range(3, 6), strict=True):
        expected = every.likelihood.sample(every.likelihood.start, np.random.default_rng([5, number]))
        np.testing.assert_array_equal(row, expected)


def test_auxiliary_data_stay_as_observed_if_wanted(every):
    bins = every.likelihood.bins
    drawn = draw_toys(every, every.likelihood.start, [5], range(4), auxiliary=False)
    np.testing.assert_array_equal(drawn[:, bins:], np.tile(every.data[bins:], (4, 1)))
    assert (drawn[:, :bins] != every.data[:bins]).any()


def test_truth_is_nominal_or_fitted_with_the_injected_value_held(every):
    likelihood = every.likelihood
    nominal = true_parameters(every, 0.5, "nominal")
    assert nominal[likelihood.poi] == 0.5
    np.testing.assert_array_equal(np.delete(nominal, likelihood.poi), np.delete(likelihood.start, likelihood.poi))
    fitted = true_parameters(every, 2.0, "fitted")
    assert fitted[likelihood.poi] == 2.0
    # more signal than the data hold: the fitted nuisance parameters lower the likelihood's price
    held = np.where(np.arange(len(fitted)) == likelihood.poi, 2.0, likelihood.start)
    assert likelihood.twice_nll(fitted, every.data) < likelihood.twice_nll(held, every.data) - 0.1


@pytest.mark.parametrize(("injected", "message"), [(30.0, "beyond its bounds"), (-8.0, "negative events")])
def test_impossible_truth_is_an_error(injected, message):
    model, _ = build(counting(mu=[-10, 20]))
    with pytest.raises(UserError, match=message):
        true_parameters(problem_of(model, [50.0]), injected, "nominal")


def test_counting_experiment_by_hand():
    # n events, known background b, signal s: mu = (n - b) / s +- sqrt(n) / s; t = 2 (r - n - n ln(r / n)), r = s + b
    signal, background = 10.0, 50.0
    model, _ = build(counting(signal, background, mu=[-4, 20]))
    problem = problem_of(model, [60.0])
    result = throw_toys.throw_toys(problem, "toys", {"injected": 1.0, "toys": SETTINGS}, seed=3)
    point = result["points"][0]
    n = draw_toys(problem, np.array([1.0]), [3], range(40))[:, 0]
    np.testing.assert_allclose(point["value"], (n - background) / signal, atol=1e-3)
    # the second derivative is taken at the fitted value: to its precision
    np.testing.assert_allclose(point["uncertainty"], np.sqrt(n) / signal, rtol=1e-3)
    rate = signal + background
    np.testing.assert_allclose(point["ratio"], 2 * (rate - n - n * np.log(rate / n)), atol=1e-4)


def test_result_does_not_depend_on_the_number_of_batches(every):
    config = {"injected": 1.0, "toys": SETTINGS}
    whole = throw_toys.throw_toys(every, "toys", config, seed=4)
    shared = config | {"toys": SETTINGS | {"batches": 3}}
    parts = [throw_toys.throw_toys(every, "toys", shared, 4, batch) for batch in range(3)]
    assert summarise_toys.summarise_toys(parts, {}) == summarise_toys.summarise_toys([whole], {})


def test_coverage_of_a_model_with_constraints():
    # 600 pseudo-experiments: width to 3.5 / sqrt(1200) = 0.10, coverage to 3.5 * 0.019 = 0.067, mean to 3.5 errors
    problem = problem_of(two_bins(), [51.0, 48.0])
    toys = SETTINGS | {"count": 600}
    result = summarise_toys.summarise_toys(
        [throw_toys.throw_toys(problem, "toys", {"injected": 1.5, "toys": toys}, seed=1)], {}
    )
    assert result["valid"]
    assert result["failed"] == 0
    assert abs(result["pull_mean"]) < 3.5 * result["pull_mean_uncertainty"]
    assert result["pull_width"] == pytest.approx(1, abs=0.10)
    assert result["coverage"] == pytest.approx(0.683, abs=0.067)
    assert result["coverage_ratio"] == pytest.approx(0.683, abs=0.067)


def part(values: list[float | None], injected: float = 1.0, failures: dict[str, int] | None = None) -> dict[str, Any]:
    errors = [None if value is None else 0.1 for value in values]
    ratios = [None if value is None else ((value - injected) / 0.1) ** 2 for value in values]
    return {
        "injected": injected,
        "value": values,
        "uncertainty": errors,
        "ratio": ratios,
        "at_bound": [False] * len(values),
        "failures": failures or {},
        "retried": 0,
    }


def test_summary_by_hand():
    # pulls -0.5, 0 in one batch; 0.5, 2 in the other
    summary = summarise_toys.summarise_point([part([0.95, 1.0]), part([1.05, 1.2])])
    assert summary["mean"] == pytest.approx(1.05)
    assert summary["bias"] == pytest.approx(0.05)
    assert summary["pull_mean"] == pytest.approx(0.5)
    assert summary["pull_width"] == pytest.approx(np.std([-0.5, 0, 0.5, 2], ddof=1))
    assert summary["coverage"] == summary["coverage_ratio"] == 0.75
    # Wilson: sqrt(0.75 * 0.25 / 4 + 1 / 64) / (1 + 1/4)
    assert summary["coverage_uncertainty"] == pytest.approx(0.2)


@pytest.mark.parametrize(("failed", "valid"), [(2, True), (3, False)])
def test_failed_fits_are_counted_and_more_than_5_percent_are_not_valid(failed, valid):
    # of 40: 2 are 5 %, 3 are more
    values: list[float | None] = [1.0 + 0.01 * k for k in range(40 - failed)]
    summary = summarise_toys.summarise_point([part(values + [None] * failed, failures={"call limit reached": failed})])
    assert summary["failed"] == failed
    assert summary["failures"] == {"call limit reached": failed}
    assert summary["valid"] is valid
    assert (summary["reason"] is None) is valid
    assert summary["mean"] == pytest.approx(np.mean(values))


def test_a_fit_without_curvature_is_valid_and_does_not_cover():
    # no event on no background: the strength is at its bound of zero and -2 ln L rises in a straight line
    problem = problem_of(build(counting(3.0, 0.0, mu=[0, 20]))[0], [2.0])
    point = throw_toys.throw_at(problem, 0.5, [3], range(30), SETTINGS)
    n = draw_toys(problem, np.array([0.5]), [3], range(30))[:, 0]
    assert (n == 0).any()
    assert [error is None for error in point["uncertainty"]] == (n == 0).tolist()
    # |n / 3 - 0.5| < sqrt(n) / 3
    summary = summarise_toys.summarise_point([point])
    assert summary["valid"]
    assert summary["failed"] == 0
    assert summary["without_uncertainty"] == (n == 0).sum()
    assert summary["coverage"] == np.mean(np.abs(n - 1.5) < np.sqrt(n))


def test_no_valid_fit_leaves_no_number():
    summary = summarise_toys.summarise_point([part([None, None])])
    assert not summary["valid"]
    assert summary["coverage"] is None


def test_data_that_cannot_be_fitted_make_a_result_that_says_so(tmp_path):
    # a background that its bounds keep below zero, and a signal too small to lift the sum above it
    spec = counting(mu=[0, 4])
    spec["channels"][0]["samples"][1]["modifiers"] = [{"name": "scale", "type": "normfactor", "data": None}]
    spec["parameters"].append({"name": "scale", "bounds": [[-2, -1]], "inits": [-1.0]})
    problem = problem_of(build(spec)[0], [50.0])
    config = {
        "injected": 1.0, "toys": SETTINGS | {"nuisances": "fitted"}, "linearity": {**SETTINGS, "injected": [0.0, 1.0]},
        "goodness_of_fit": SETTINGS, "toy_limit": SETTINGS | {"points": 3}, "limit": {"level": 0.05},
    }  # fmt: skip
    for ensemble, draw in summarise_toys.PLOTTERS.items():
        result = summarise_toys.summarise_toys([throw_toys.throw_toys(problem, ensemble, config, 1)], {})
        assert not result["valid"]
        assert "did not converge" in result["reason"]
        figure = draw(result, {"data": "Data", "left": "", "right": ""})
        assert any("did not" in text.get_text().replace("\n", " ") for text in figure.axes[0].texts)
        figure.savefig(tmp_path / f"{ensemble}.png")


def test_command_lines_of_all_ensembles(tmp_path):
    spec = workspace()
    (tmp_path / "workspace.json").write_text(json.dumps(spec))
    block = {"count": 21, "batches": 2}
    config = {
        "injected": 1.0, "fit": {}, "toys": SETTINGS | block, "linearity": {**block, "injected": [0.5, 1.0, 2.0]},
        "goodness_of_fit": block, "toy_limit": block | {"points": 3}, "limit": {"level": 0.05},
    }  # fmt: skip
    for ensemble in throw_toys.THROWERS:
        files = [str(tmp_path / f"{ensemble}_{batch}.json") for batch in (0, 1)]
        for batch, file in enumerate(files):
            throw_toys.main(
                ["--workspace", str(tmp_path / "workspace.json"), "--config", json.dumps(config), "--seed", "2",
                 "--ensemble", ensemble, "--batch", str(batch), "--output", file]
            )  # fmt: skip
        out, png = tmp_path / f"{ensemble}.json", tmp_path / f"{ensemble}.png"
        summarise_toys.main(
            ["--batches", *files, "--settings", '{"auxiliary": true}', "--output", str(out), "--plot", str(png),
             "--labels", '{"data": "Data", "left": "", "right": ""}']
        )  # fmt: skip
        result = json.loads(out.read_text())
        assert result["valid"], result["reason"]
        assert result["auxiliary"] is True
        assert result["failed"] == 0
        assert png.stat().st_size > 5000
        assert png.with_suffix(".pdf").stat().st_size > 5000


@settings(max_examples=60)
@given(value=st.floats(0, 200), degrees=st.integers(1, 60))
def test_chi_squared_and_kolmogorov_agree_with_scipy(value, degrees):
    from scipy.special import chdtrc, kolmogorov

    assert chi_squared_survival(value, degrees) == pytest.approx(chdtrc(degrees, value), rel=1e-9, abs=1e-12)
    assert kolmogorov_survival(value / 50) == pytest.approx(kolmogorov(value / 50), rel=1e-9, abs=1e-9)


def test_binomial_uncertainty_is_never_zero():
    assert binomial_uncertainty(0, 100) == pytest.approx(0.5 / 101)
    assert binomial_uncertainty(5000, 10000) == pytest.approx(0.005, rel=1e-3)
