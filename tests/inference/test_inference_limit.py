"""CLs by hand, against pyhf, and against published values."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pyhf
import pytest
from inference_models import EVERY_MODIFIER, build, counting, data_of, random_workspace, two_bins
from scipy.optimize import brentq

from lhcml.common.errors import UserError
from lhcml.inference.compile_likelihood import compile_likelihood
from lhcml.inference.limit import Scan, cls_expected, cls_observed, normal_cdf, scan_points, upper_limits
from lhcml.inference.read_workspace import Problem, make_problem, quiet_pyhf
from lhcml.inference.scan_limit import scan_limit

CONFIG = {"level": 0.05, "points": 11, "test": 1.0}


def scan_of(model, observed: list[float]) -> Scan:
    return Scan(compile_likelihood(model), data_of(model, observed))


def test_two_bin_example_of_the_pyhf_documentation():
    # README of pyhf 0.7: CLs_obs 0.05251497, CLs_exp 0.06445321 (SciPy's optimiser); "Hello World" of 0.6.2:
    # 0.052515541856 and 0.064455212908 (a closer minimum). Ours lies within 1e-6 of both.
    result = scan_of(two_bins(), [51.0, 48.0]).test(1.0)
    assert result["cls_observed"] == pytest.approx(0.052515541856, abs=1e-6)
    assert result["cls_observed"] == pytest.approx(0.05251497, abs=1e-6)
    # documentation of pyhf.infer.hypotest
    bands = [0.00260626, 0.01382005, 0.06445321, 0.23525644, 0.57303621]
    np.testing.assert_allclose(result["cls_expected"], bands, atol=1e-5)


def test_one_bin_example_of_the_pyhf_documentation():
    # signal 6, background 9 +- 3, as in its chapter on calculators
    with quiet_pyhf():
        model = pyhf.simplemodels.uncorrelated_background([6], [9], [3])
        pyhf.set_backend("numpy")
        theirs, bands = pyhf.infer.hypotest(
            1.0, [9.0, *model.config.auxdata], model, test_stat="qtilde", return_expected_set=True
        )
    result = scan_of(model, [9.0]).test(1.0)
    assert result["cls_observed"] == pytest.approx(float(theirs), abs=1e-5)
    np.testing.assert_allclose(result["cls_expected"], [float(band) for band in bands], atol=1e-5)


@pytest.mark.parametrize("strength", [0.3, 1.0, 2.5])
def test_agrees_with_pyhf_on_a_model_with_every_modifier(strength):
    model, likelihood = build(EVERY_MODIFIER)
    observed = np.random.default_rng(1).poisson(likelihood.rates(likelihood.start)).astype(float)
    data = data_of(model, list(observed))
    with quiet_pyhf():
        # SciPy's default stops at 1e-6 in the value, which leaves 1e-4 in CLs here
        pyhf.set_backend("numpy", pyhf.optimize.scipy_optimizer(tolerance=1e-11))
        theirs, bands = pyhf.infer.hypotest(strength, data, model, test_stat="qtilde", return_expected_set=True)
        pyhf.set_backend("numpy")
    result = Scan(likelihood, data).test(strength)
    assert result["cls_observed"] == pytest.approx(float(theirs), abs=1e-5)
    np.testing.assert_allclose(result["cls_expected"], [float(band) for band in bands], atol=1e-5)


@pytest.mark.parametrize("count", [40, 50, 58])
def test_counting_experiment_by_hand(count):
    # known background b, signal s: q~ = 2 (mu s + b - n - n ln((mu s + b) / n)) above the fitted strength
    signal, background, strength = 10.0, 50.0, 1.5
    model, _ = build(counting(signal, background, mu=[0, 20]))

    def twice_nll(rate: float, n: float) -> float:
        return 2 * (rate - n * math.log(rate))

    total = strength * signal + background
    best = max(count, background)
    q = twice_nll(total, count) - twice_nll(best, count)
    q_asimov = twice_nll(total, background) - twice_nll(background, background)
    root = math.sqrt(q_asimov)
    statistic = math.sqrt(q) - root if q <= q_asimov else (q - q_asimov) / (2 * root)
    expected = (1 - normal_cdf(statistic + root)) / (1 - normal_cdf(statistic))
    result = scan_of(model, [float(count)]).test(strength)
    assert result["q"] == pytest.approx(q, abs=1e-5)
    assert result["cls_observed"] == pytest.approx(expected, abs=1e-5)
    assert result["cls_expected"][2] == pytest.approx(2 * (1 - normal_cdf(root)), abs=1e-5)


def test_limits_agree_with_pyhf_and_with_the_scan():
    model = two_bins()
    scan = scan_of(model, [51.0, 48.0])
    observed, expected = upper_limits(scan)
    with quiet_pyhf():
        pyhf.set_backend("numpy")
        theirs, bands = pyhf.infer.intervals.upper_limits.upper_limit(
            data_of(model, [51.0, 48.0]), model, scan=None, rtol=1e-6
        )
    # documented for toms748_scan: 1.01156939, and 1.06234693 expected, with its minimiser's 1e-6 in q; we agree to 1e-4
    assert observed == pytest.approx(1.01156939, rel=1e-4)
    assert expected[2] == pytest.approx(1.06234693, rel=1e-4)
    assert observed == pytest.approx(float(theirs), rel=1e-4)
    np.testing.assert_allclose(expected, [float(band) for band in bands], rtol=1e-4)
    assert scan.test(observed)["cls_observed"] == pytest.approx(0.05, abs=1e-6)
    assert scan.test(expected[0])["cls_expected"][0] == pytest.approx(0.05, abs=1e-6)
    # each point costs two fits; shared are those with free and without signal, and a check at each of six limits
    assert scan.fits <= 2 * len(scan.known) + 5 + 12


@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e7])
@pytest.mark.parametrize("high", [0.1, 10.0])
def test_limit_does_not_depend_on_unit_and_upper_bound(unit, high):
    # the signal in other units: the limit is in units of its inverse; known from the counting formula with n = b
    signal, background = 10.0, 50.0
    _, likelihood = build(counting(signal * unit, background, mu=[0, high]))
    observed, expected = upper_limits(Scan(likelihood, np.array([background])))

    def q(events: float) -> float:
        return 2 * (events - background * math.log1p(events / background))

    # without fluctuation observed and expected CLs are equal: CLs = 2 (1 - Phi(sqrt q)) = 0.05
    events = brentq(lambda events: math.sqrt(q(events)) - 1.959963985, 1.0, 100.0)
    assert observed == pytest.approx(events / (signal * unit), rel=1e-4)
    assert expected[2] == pytest.approx(events / (signal * unit), rel=1e-4)


def test_best_fit_beyond_the_upper_bound_moves_it_and_says_so():
    result = scan_limit(problem(counting(mu=[0, 1]), [82.0]), CONFIG)
    free = scan_limit(problem(counting(mu=[0, 100]), [82.0]), CONFIG)
    assert result["best_fit"] == pytest.approx(3.2, abs=1e-3)
    assert result["observed"] == pytest.approx(free["observed"], rel=1e-5)
    assert any("upper bound 1" in remark for remark in result["remarks"])
    assert free["remarks"] == []


def test_no_background_gives_the_limit_of_three_events():
    # no event observed, none expected: q = q_A = 2 s, CLs = 2 (1 - Phi(sqrt(2 s)))
    _, likelihood = build(counting(10.0, 0.0, mu=[0, 10]))
    observed, expected = upper_limits(Scan(likelihood, np.array([0.0])))
    assert observed == pytest.approx(1.959963985**2 / 2 / 10, rel=1e-4)
    assert expected[2] == pytest.approx(observed, rel=1e-4)


def test_free_background_in_the_same_bin_sets_no_limit():
    spec = counting(mu=[0, 10])
    spec["channels"][0]["samples"][1]["modifiers"] = [{"name": "free", "type": "normfactor", "data": None}]
    result = scan_limit(problem(spec, [52.0]), CONFIG)
    assert result["valid"]
    assert result["observed"] is None
    assert result["expected"] == [None] * 5
    assert any("set no limit" in remark for remark in result["remarks"])


def test_several_test_values_and_q():
    spec = counting(mu=[-10, 20])
    result = scan_limit(problem(spec, [40.0]), CONFIG | {"test": [0.5, 1.0]})
    assert [row["poi"] for row in result["tests"]] == [0.5, 1.0]
    assert result["test"] == result["tests"][0]
    # pyhf keeps the negative strength: with q~ (it warns) as `cls_unclipped`, rightly with q
    q = scan_limit(problem(spec, [40.0]), CONFIG | {"test_statistic": "q"})
    model, _ = build(spec)
    with quiet_pyhf():
        pyhf.set_backend("numpy")
        theirs = {
            name: float(pyhf.infer.hypotest(1.0, [40.0], model, test_stat=name)) for name in ("qtilde", "q")
        }  # fmt: skip
        clipped = float(pyhf.infer.hypotest(1.0, [40.0], model, par_bounds=[(0, 20)]))
    assert result["tests"][1]["cls_unclipped"] == pytest.approx(theirs["qtilde"], abs=1e-5)
    assert result["tests"][1]["cls_observed"] == pytest.approx(clipped, abs=1e-5)
    assert q["test"]["cls_observed"] == pytest.approx(theirs["q"], abs=1e-5)


@pytest.mark.parametrize("seed", [0, 3, 4, 16, 22])
def test_agrees_with_pyhf_on_random_workspaces(seed):
    spec = random_workspace(seed)
    found = make_problem(spec, "random")
    scan = Scan(found.likelihood, found.data)
    observed, _ = upper_limits(scan)
    assert observed is not None
    row = scan.test(0.9 * observed)
    with quiet_pyhf(), warnings.catch_warnings():
        # pyhf takes logarithms of factors at their lower bound, and square roots of -1e-12
        warnings.filterwarnings("ignore", message=".* encountered in ", category=RuntimeWarning)
        pyhf.set_backend("numpy", pyhf.optimize.scipy_optimizer(tolerance=1e-11))
        workspace = pyhf.Workspace(spec)
        model = workspace.model()
        theirs, bands = pyhf.infer.hypotest(row["poi"], workspace.data(model), model, return_expected_set=True)
        pyhf.set_backend("numpy")
    assert row.get("cls_unclipped", row["cls_observed"]) == pytest.approx(float(theirs), abs=1e-6)
    np.testing.assert_allclose(row["cls_expected"], [float(band) for band in bands], atol=1e-6)


def test_no_sensitivity_means_no_exclusion():
    assert cls_observed(0.0, 0.0) == 1.0
    assert cls_expected(0.0) == [1.0] * 5


def test_expected_bands_rise_with_the_background_fluctuation():
    bands = cls_expected(3.0)
    assert bands == sorted(bands)
    assert all(0 < band < 1 for band in bands)


def test_scan_reaches_beyond_every_limit():
    points = scan_points([1.2, None, 3.0], best=0.4, count=5)
    assert points[0] == 0
    assert points[-1] > 3.0
    assert len(points) == 5


def test_negative_fitted_strength_counts_as_zero():
    # q~ compares with mu = 0 where the fitted mu is below
    _, likelihood = build(counting(mu=[-10, 20]))
    scan = Scan(likelihood, np.array([40.0]))
    assert scan.best == pytest.approx(-1.0, abs=1e-3)
    bounded = Scan(build(counting(mu=[0, 20]))[1], np.array([40.0]))
    assert scan.statistics(1.0) == pytest.approx(bounded.statistics(1.0), abs=1e-5)


def problem(spec: dict, observed: list[float]) -> Problem:
    model, likelihood = build(spec)
    return Problem(likelihood, data_of(model, observed), "mu", "0" * 64, "fit")


def test_limit_file_holds_limits_scan_and_test_value():
    result = scan_limit(problem(counting(mu=[0, 20]), [52.0]), CONFIG)
    assert result["valid"]
    assert result["expected"] == sorted(result["expected"])
    assert result["expected_median"] == result["expected"][2]
    assert result["test"]["poi"] == 1.0
    assert len(result["scan"]) == 11
    assert result["scan"][0]["cls_observed"] == pytest.approx(1.0)


def test_poi_that_cannot_be_zero_is_an_error():
    with pytest.raises(UserError, match="include 0 in its bounds"):
        scan_limit(problem(counting(mu=[0.5, 20]), [52.0]), CONFIG)


def test_limit_of_a_fit_that_fails_is_not_valid_and_says_why():
    # a background that its bounds keep below zero: without signal no event count can be described
    spec = counting(mu=[0, 20])
    spec["channels"][0]["samples"][1]["modifiers"] = [{"name": "scale", "type": "normfactor", "data": None}]
    spec["parameters"].append({"name": "scale", "bounds": [[-2, -1]], "inits": [-1.0]})
    result = scan_limit(problem(spec, [50.0]), CONFIG)
    assert not result["valid"]
    assert result["observed"] is None
    assert "did not converge" in result["reason"]


def test_test_value_beyond_all_fits_leaves_the_limit():
    # 10^13 signal events of a sample with an uncertain shape: no fit describes 52
    spec = counting(1e13, 50.0, mu=[0, 10])
    shape = {"name": "shape", "type": "histosys", "data": {"hi_data": [1.1e13], "lo_data": [0.9e13]}}
    spec["channels"][0]["samples"][0]["modifiers"].append(shape)
    result = scan_limit(problem(spec, [52.0]), CONFIG)
    assert result["valid"]
    # 16.7 events without the uncertainty of 10 %
    assert 16.5 < result["observed"] * 1e13 < 17.5
