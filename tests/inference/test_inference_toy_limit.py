"""CLs from pseudo-experiments: by hand, against pyhf, and against the asymptotic formulae."""

from __future__ import annotations

import numpy as np
import pyhf
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from inference_models import build, counting, data_of
from scipy.stats import poisson

from lhcml.common.errors import UserError
from lhcml.inference.batch_likelihood import BatchLikelihood
from lhcml.inference.compile_likelihood import compile_likelihood
from lhcml.inference.distributions import q_tilde_background, q_tilde_signal
from lhcml.inference.draw_toys import draw_toys
from lhcml.inference.limit import cls_observed
from lhcml.inference.profile_toys import profile_toys
from lhcml.inference.read_workspace import Problem, quiet_pyhf
from lhcml.inference.summarise_limit_toys import cls_of_toys, crossing, distance
from lhcml.inference.summarise_toys import summarise_toys
from lhcml.inference.throw_limit_toys import limit_values
from lhcml.inference.throw_toys import throw_toys


def run(problem: Problem, count: int, seed: int = 3, **block: object) -> dict:
    config = {"limit": {"level": 0.05}, "toy_limit": {"count": count, "batches": 1, "points": 5} | block}
    return summarise_toys([throw_toys(problem, "toy_limit", config, seed)], {})


def counting_problem(signal: float, background: float, observed: float, low: float = 0) -> Problem:
    model, likelihood = build(counting(signal, background, mu=[low, 20]))
    return Problem(likelihood, data_of(model, [observed]), "mu", "0" * 64, "fit")


@pytest.fixture(scope="module")
def uncertain() -> tuple[pyhf.Model, Problem]:
    """Return pyhf's example of one bin: signal 6, background 9 +- 3, observed 9."""
    with quiet_pyhf():
        model = pyhf.simplemodels.uncorrelated_background([6], [9], [3])
    return model, Problem(compile_likelihood(model), data_of(model, [9.0]), "mu", "0" * 64, "fit")


@pytest.mark.parametrize("low", [0, -0.5])
def test_few_events_by_hand(low):
    # q~ falls with the number of events, so that the probabilities are sums of Poisson terms up to the observed number;
    # a bound below zero changes nothing, for q~ counts a negative strength as zero
    signal, background, observed = 3.0, 3.0, 2
    result = run(counting_problem(signal, background, observed, low), 4000, values=[0.5, 1.0, 1.5])
    for point in result["points"]:
        with_signal = poisson.cdf(observed, point["poi"] * signal + background)
        without = poisson.cdf(observed, background)
        # below the fitted background all numbers of events have q~ of their own: no ties; 3.5 binomial errors
        assert abs(point["cls_plus_b"] - with_signal) < 3.5 * point["cls_plus_b_uncertainty"]
        assert abs(point["cl_b"] - without) < 3.5 * point["cl_b_uncertainty"]
        assert abs(point["cls"] - with_signal / without) < 3.5 * point["cls_uncertainty"]
    # q0 is positive from 4 events on
    assert result["discovery"]["q_zero"] == pytest.approx(0.0, abs=1e-6)
    assert result["discovery"]["p_value"] == 1.0


def test_discovery_by_hand():
    result = run(counting_problem(3.0, 3.0, 7.0), 4000, values=[1.0, 2.0])
    found = result["discovery"]
    # 7 or more events of 3 expected: 0.0335; the asymptotic formula says sqrt(2 (7 ln(7/3) - 4)) = 1.97, p 0.024
    assert abs(found["p_value"] - poisson.sf(6, 3.0)) < 3.5 * found["p_value_uncertainty"]
    assert found["q_zero"] == pytest.approx(2 * (7 * np.log(7 / 3) - 4), abs=1e-4)
    assert found["p_value_asymptotic"] == pytest.approx(0.0244, abs=1e-3)


def test_statistic_of_each_pseudo_experiment_agrees_with_pyhf(uncertain):
    model, problem = uncertain
    truth = problem.likelihood.start
    data = draw_toys(problem, truth, [1], range(12))
    profiles = profile_toys(BatchLikelihood(problem.likelihood), data, truth, [1.0])
    with quiet_pyhf():
        pyhf.set_backend("numpy")
        theirs = [
            float(
                pyhf.infer.test_statistics.qmu_tilde(
                    1.0, row, model, model.config.suggested_init(), model.config.suggested_bounds(), [False, False]
                )
            )
            for row in data
        ]
    # SciPy's optimiser stops at 1e-6 of the value, here 1e-5
    np.testing.assert_allclose(profiles.q_tilde(1.0), theirs, atol=1e-4)


# pyhf 0.7.6 calls np.percentile by an old name
@pytest.mark.filterwarnings("ignore:the `interpolation=` argument to percentile:DeprecationWarning")
def test_probabilities_agree_with_the_toy_calculator_of_pyhf(uncertain):
    model, problem = uncertain
    ours = run(problem, 2000, values=[1.0, 1.5])["points"][0]
    count = 120
    with quiet_pyhf():
        pyhf.set_backend("numpy")
        # pyhf draws from NumPy's global generator
        np.random.seed(1)  # noqa: NPY002
        _, tails = pyhf.infer.hypotest(
            1.0, list(problem.data), model, calctype="toybased", test_stat="qtilde", ntoys=count, track_progress=False,
            return_tail_probs=True,
        )  # fmt: skip
    for theirs, key in zip(tails, ("cls_plus_b", "cl_b"), strict=True):
        error = np.hypot((float(theirs) * (1 - float(theirs)) / count) ** 0.5, ours[f"{key}_uncertainty"])
        assert abs(float(theirs) - ours[key]) < 3.5 * error


def test_many_events_agree_with_the_asymptotic_formulae():
    # 100 background events: CLs to 3.5 errors at each value, limits to 3.5 errors and 3 %
    result = run(counting_problem(20.0, 100.0, 104.0), 3000)
    for point in result["points"]:
        difference = point["cls"] - point["asymptotic"]["cls_observed"]
        assert abs(difference) < 3.5 * point["cls_uncertainty"] + 0.03 * point["asymptotic"]["cls_observed"]
    pairs = [(result["observed"], result["asymptotic"]["observed"])]
    pairs += list(zip(result["expected"], result["asymptotic"]["expected"], strict=True))[1:4]
    for ours, asymptotic in pairs:
        assert abs(ours["limit"] - asymptotic) < 3.5 * ours["uncertainty"] + 0.03 * asymptotic


def test_distribution_agrees_with_the_asymptotic_one_for_many_events():
    # 1000 events are still integers, which puts steps of 1 / sqrt(2 pi 1000) = 1.3 % into the distribution
    result = run(counting_problem(60.0, 1000.0, 1000.0), 400, values=[0.5, 1.0])
    for point in result["points"]:
        assert point["distance_signal"]["p_value"] > 1e-3
        assert point["distance_background"]["p_value"] > 1e-3


def test_distance_by_hand():
    # half at zero, the rest at 1: the asymptotic one has half at zero and 0.841 below 1
    toys = np.array([0.0] * 50 + [1.0] * 50)
    result = distance(toys, q_tilde_signal, 4.0)
    assert result["distance"] == pytest.approx(0.3413, abs=1e-3)


@given(q=st.floats(0, 30), q_asimov=st.floats(0.01, 25))
def test_distributions_give_the_asymptotic_cls(q, q_asimov):
    # 1 - F loses digits in the tail: up to five standard deviations
    assume(max(q**0.5, (q + q_asimov) / (2 * q_asimov**0.5)) < 5)
    ratio = (1 - q_tilde_signal(q, q_asimov)) / (1 - q_tilde_background(q, q_asimov))
    assert ratio == pytest.approx(cls_observed(q, q_asimov), rel=1e-6)


def test_cls_of_toys_by_hand():
    # 10 of 100 and 40 of 100 above: 0.25, error 0.25 * sqrt((0.0300/0.1)^2 + (0.0488/0.4)^2)
    with_signal, without = np.r_[np.full(10, 5.0), np.zeros(90)], np.r_[np.full(40, 5.0), np.zeros(60)]
    result = cls_of_toys(2.0, with_signal, without)
    assert result["cls"] == pytest.approx(0.25)
    errors = [np.sqrt(p * (1 - p) / 100 + 1 / 40000) / 1.01 for p in (0.1, 0.4)]
    assert result["cls_uncertainty"] == pytest.approx(0.25 * np.hypot(errors[0] / 0.1, errors[1] / 0.4))
    none = cls_of_toys(9.0, with_signal, without)
    assert none["cls"] == 0.0
    assert none["cls_uncertainty"] > 0


def test_crossing_is_logarithmic_and_tells_when_there_is_none():
    points = [{"poi": x, "cls": y, "cls_uncertainty": 0.1 * y} for x, y in ((1.0, 0.2), (2.0, 0.02))]

    def pick(point: dict) -> dict:
        return point

    found = crossing(points, pick, 0.2 * 10**-0.5)
    assert found["limit"] == pytest.approx(1.5)
    # both values to 10 %, half of each: 0.1 / sqrt 2 in ln CLs, whose slope is ln 10
    assert found["uncertainty"] == pytest.approx(0.1 / 2**0.5 / np.log(10))
    assert crossing(points, pick, 0.5)["limit"] is None
    assert "below the first" in crossing(points, pick, 0.5)["reason"]
    assert "beyond the last" in crossing(points, pick, 0.001)["reason"]


def test_nuisance_parameters_at_a_bound_are_named():
    # 200 events of 50 expected: without signal a background of 10 % would have to go up by 14 deviations, 5 are allowed
    spec = counting(10.0, 50.0, mu=[0, 20])
    spec["channels"][0]["samples"][1]["modifiers"] = [
        {"name": "rate", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}
    ]
    model, likelihood = build(spec)
    far = run(Problem(likelihood, data_of(model, [200.0]), "mu", "0" * 64, "fit"), 20)
    near = run(Problem(likelihood, data_of(model, [52.0]), "mu", "0" * 64, "fit"), 20)
    assert far["at_bound"] == ["rate"]
    assert near["at_bound"] == []


def test_tested_values_enclose_the_limits():
    values = limit_values(3.0, [0.5, 0.7, 1.0, None, 2.0], 4)
    assert values == sorted(values)
    assert values[0] < 0.5
    assert len([value for value in values if value < 2.5]) == 4
    assert values[-2] < 3.0 < values[-1]
    assert len(limit_values(1.5, [0.5, 2.0], 4)) == 4


def test_poi_that_cannot_be_zero_is_an_error():
    model, likelihood = build(counting(mu=[0.5, 20]))
    problem = Problem(likelihood, data_of(model, [52.0]), "mu", "0" * 64, "fit")
    with pytest.raises(UserError, match="include 0 in its bounds"):
        run(problem, 5)
