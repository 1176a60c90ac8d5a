"""Scans and MINOS: exact profiles known by hand, intervals, pairs, agreement with iminuit."""

from __future__ import annotations

import json

import iminuit
import numpy as np
import pytest
from inference_models import EVERY_MODIFIER, build, counting, workspace
from scipy.optimize import brentq

from lhcml.common.errors import UserError
from lhcml.inference import plot_scan, scan_likelihood
from lhcml.inference.fit_asimov import asimov_problem
from lhcml.inference.fit_workspace import asymmetric_errors, describe_fit
from lhcml.inference.minimise import minimise
from lhcml.inference.profile_likelihood import Profile, minos
from lhcml.inference.read_workspace import make_problem
from lhcml.inference.scan_likelihood import describe_scan, interval


def count(events: float, **bounds: object) -> tuple:
    _, likelihood = build(counting(signal=10, background=50, **bounds))
    data = np.array([events])
    return likelihood, data, minimise(likelihood, data)


def test_minos_of_a_counting_experiment():
    likelihood, data, fit = count(61.0)
    sides = minos(Profile(likelihood, data, fit), 0)

    def rise(n: float) -> float:
        return 2 * (n - 61 + 61 * np.log(61 / n)) - 1

    assert sides["reasons"] == []
    # searched to 1e-4 standard deviations from a minimum known to 1e-3 of them
    assert sides["up"] == pytest.approx((brentq(rise, 61, 90) - 61) / 10, abs=1.5e-3)
    assert sides["down"] == pytest.approx((brentq(rise, 30, 61) - 61) / 10, abs=1.5e-3)


def test_minos_stops_at_a_bound():
    likelihood, data, fit = count(53.0, mu=[0, 10])
    sides = minos(Profile(likelihood, data, fit), 0)
    assert sides["down"] is None
    assert "bound 0 is nearer" in sides["reasons"][0]
    assert sides["up"] > 0


def test_minos_agrees_with_iminuit():
    _, likelihood = build(EVERY_MODIFIER)
    data = likelihood.expected(likelihood.start)
    data[: likelihood.bins] = np.random.default_rng(5).poisson(data[: likelihood.bins])
    fit = minimise(likelihood, data)
    minuit = iminuit.Minuit(
        lambda values: likelihood.twice_nll(values, data), fit.values, grad=lambda x: likelihood.gradient(x, data)
    )
    minuit.errordef, minuit.tol = 1, 1e-3
    minuit.limits = list(zip(likelihood.lower, likelihood.upper, strict=True))
    minuit.fixed = list(likelihood.fixed)
    minuit.migrad()
    profile = Profile(likelihood, data, fit)
    for name in ("mu", "jes", "stat_b[0]"):
        index = likelihood.names.index(name)
        minuit.minos(index)
        theirs, ours = minuit.merrors[f"x{index}"], minos(profile, index)
        assert theirs.is_valid
        # Minuit searches the crossing to about 1 % of a standard deviation
        assert ours["up"] == pytest.approx(theirs.upper, abs=0.02 * fit.errors[index])
        assert ours["down"] == pytest.approx(theirs.lower, abs=0.02 * fit.errors[index])


def test_a_lower_minimum_is_told():
    likelihood, data, fit = count(61.0)
    false = type(fit)(fit.values + 1, fit.covariance, likelihood.twice_nll(fit.values + 1, data), True, 0.0)
    sides = minos(Profile(likelihood, data, false), 0)
    assert sides["down"] is None
    assert "lower by" in sides["reasons"][0]


def test_scan_of_a_counting_experiment():
    spec = {
        "version": "1.0.0",
        "channels": counting()["channels"],
        "observations": [{"name": "count", "data": [61.0]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": counting()["parameters"]}}],
    }
    scan = describe_scan(make_problem(spec, "w"), {"scan": {"points": 11, "width": 2}})
    curve = scan["parameters"]["mu"]
    assert scan["valid"]
    expected = np.array(curve["values"]) * 10 + 50
    exact = 2 * (expected - 61 + 61 * np.log(61 / expected))
    np.testing.assert_allclose(curve["rise"], exact, atol=1e-5)
    # nothing but statistics here
    np.testing.assert_allclose(curve["rise_statistical"], exact, atol=1e-5)
    assert min(curve["rise"]) == pytest.approx(0, abs=1e-6)


def test_interval_of_a_parabola_is_exact():
    values = np.linspace(-3, 3, 13)
    rises = [float(value**2) for value in values]
    assert interval(values, rises, 0.0, 1.0) == pytest.approx([-1.0, 1.0])
    assert interval(values, rises, 0.0, 2.0) == pytest.approx([-(2**0.5), 2**0.5])
    assert interval(values, rises, 0.0, 100.0) == [None, None]


def test_scan_of_a_full_model_with_pairs(tmp_path):
    config = {"scan": {"parameters": ["jes", "stat_b"], "pairs": [["poi", "jes"]], "points": 9, "pair_points": 7}}
    source, output = tmp_path / "workspace.json", tmp_path / "scan.json"
    source.write_text(json.dumps(workspace()))
    scan_likelihood.main(["--workspace", str(source), "--config", json.dumps(config), "--output", str(output)])
    scan = json.loads(output.read_text())
    assert scan["valid"]
    assert set(scan["parameters"]) == {"mu", "jes", "stat_b[0]", "stat_b[1]", "stat_b[2]"}
    curve = scan["parameters"]["mu"]
    # to hold nuisance parameters makes a curve steeper
    assert all(alone >= full - 1e-6 for alone, full in zip(curve["rise_statistical"], curve["rise"], strict=True))
    (pair,) = scan["pairs"]
    surface = np.array(pair["rise"])
    assert surface.shape == (7, 7)
    # the profile of one parameter is the lowest of the surface, up to the spacing of the other
    at = [int(np.argmin(np.abs(np.array(curve["values"]) - x))) for x in pair["x"]]
    for column, place in enumerate(at):
        if abs(curve["values"][place] - pair["x"][column]) < 1e-9:
            assert surface[:, column].min() >= curve["rise"][place] - 1e-5
    plot_scan.main(
        ["--scan", str(output), "--labels", json.dumps({"left": "", "right": ""}), "--output", str(tmp_path / "s.png")]
    )
    assert (tmp_path / "s.png").stat().st_size > 5000


def test_wrong_names_are_told():
    problem = make_problem(workspace(), "w")
    with pytest.raises(UserError, match="no free parameter"):
        describe_scan(problem, {"scan": {"parameters": ["nothing"]}})
    for pair in (["poi", "mu"], ["poi", "stat_b"]):
        with pytest.raises(UserError, match="two different parameters"):
            describe_scan(problem, {"scan": {"pairs": [pair]}})
    with pytest.raises(UserError, match=r"fit\.minos"):
        asymmetric_errors(problem, minimise(problem.likelihood, problem.data), ["nothing"])


def test_minos_in_the_fit():
    problem = make_problem(workspace(), "w")
    fit = minimise(problem.likelihood, problem.data)
    sides = asymmetric_errors(problem, fit, ["poi", "je*"])
    result = describe_fit(problem, fit, {"injected": 1.0}, sides)
    assert set(sides) == {"mu", "jes"}
    assert result["poi"]["minos"] == sides["mu"]
    assert result["parameters"]["rate"]["minos"] is None
    assert result["blinded"] == []


@pytest.mark.parametrize("nuisances", ["nominal", "fitted"])
def test_asimov_data_are_fitted_by_what_made_them(nuisances):
    problem = make_problem(workspace(), "w")
    config = {"injected": 1.7, "fit": {"asimov_nuisances": nuisances}}
    asimov = asimov_problem(problem, config)
    fit = minimise(asimov.likelihood, asimov.data)
    assert fit.valid
    assert fit.values[problem.likelihood.poi] == pytest.approx(1.7, abs=5e-3)
    nominal = np.allclose(asimov.data[problem.likelihood.bins :], problem.data[problem.likelihood.bins :])
    assert nominal == (nuisances == "nominal")
