"""Fits with answers known by hand, agreement with pyhf's optimiser, and fits that are hard or impossible."""

from __future__ import annotations

import numpy as np
import pyhf
import pytest
from inference_models import EVERY_MODIFIER, build, counting, data_of, two_bins

from lhcml.inference.compile_likelihood import compile_likelihood
from lhcml.inference.minimise import FitError, minimise, require_valid
from lhcml.inference.read_workspace import quiet_pyhf


@pytest.mark.parametrize("count", [20, 50, 61, 200])
def test_counting_experiment(count):
    _, likelihood = build(counting(signal=10, background=50))
    fit = minimise(likelihood, np.array([float(count)]))
    assert fit.valid
    assert fit.values[0] == pytest.approx((count - 50) / 10, abs=2e-3 * np.sqrt(count) / 10)
    # variance of a Poisson mean at its estimate: n
    assert fit.errors[0] == pytest.approx(np.sqrt(count) / 10, rel=1e-3)


def test_no_event_observed():
    # with mu >= 0 the best fit is at the bound; without a bound it lies where no event is expected, which is no minimum
    _, bounded = build(counting(mu=[0, 10]))
    fit = minimise(bounded, np.array([0.0]))
    assert fit.valid
    assert fit.at_bound == ["mu"]
    _, unbounded = build(counting())
    assert not minimise(unbounded, np.array([0.0])).valid


def test_counting_experiment_with_constrained_background():
    spec = counting(signal=10, background=50)
    spec["channels"][0]["samples"][1]["modifiers"] = [
        {"name": "rate", "type": "shapesys", "data": [5.0]},
    ]
    _, likelihood = build(spec)
    fit = minimise(likelihood, data_of(build(spec)[0], [61.0]))
    # two Poisson counts: b = 100 gamma tau with tau = 100 auxiliary events for 50, so mu = (61 - 50) / 10 and
    # var = (61 + 50^2 / 100) / 10^2
    assert fit.values[likelihood.poi] == pytest.approx(1.1, abs=1e-3)
    assert fit.errors[likelihood.poi] == pytest.approx(np.sqrt(61 + 25) / 10, rel=1e-3)


def test_agrees_with_pyhf_and_scipy_on_a_model_with_every_modifier():
    model, likelihood = build(EVERY_MODIFIER)
    data = likelihood.expected(likelihood.start)
    data[: likelihood.bins] = np.random.default_rng(5).poisson(data[: likelihood.bins])
    fit = minimise(likelihood, data)
    assert fit.valid
    with quiet_pyhf():
        pyhf.set_backend("numpy", "minuit")
        values, twice_nll = pyhf.infer.mle.fit(data, model, return_uncertainties=True, return_fitted_val=True)
        pyhf.set_backend("numpy", "scipy")
        _, twice_nll_scipy = pyhf.infer.mle.fit(data, model, return_fitted_val=True)
    # pyhf's Minuit stops within 2e-4 of the minimum, SciPy and ours nearer
    assert fit.twice_nll == pytest.approx(float(twice_nll), abs=4e-4)
    assert fit.twice_nll <= float(twice_nll) + 1e-5
    assert fit.twice_nll <= float(twice_nll_scipy) + 1e-5
    free = ~likelihood.fixed
    np.testing.assert_allclose(fit.values[free], values[free, 0], atol=0.01)
    # HESSE differs by its transformation of bounded parameters
    np.testing.assert_allclose(fit.errors[free], values[free, 1], rtol=0.05)


def test_parameter_at_its_bound_is_told_with_the_curvature_there():
    model = two_bins()
    likelihood = compile_likelihood(model)
    fit = minimise(likelihood, data_of(model, [40.0, 40.0]))
    assert fit.valid
    assert fit.at_bound == ["mu"]
    assert fit.values[likelihood.poi] == pytest.approx(0, abs=1e-4)
    assert fit.errors[likelihood.poi] > 0


def degenerate() -> dict:
    spec = counting(signal=5)
    spec["channels"][0]["samples"][1]["modifiers"] = [{"name": "scale", "type": "normfactor", "data": None}]
    return spec


def test_degenerate_parameters_are_never_valid_and_are_named():
    _, likelihood = build(degenerate())
    fit = minimise(likelihood, np.array([61.0]))
    assert not fit.valid
    assert fit.covariance is None
    assert fit.errors is None
    assert len(fit.attempts) == 6
    assert all("mu" in attempt["reasons"][0] and "scale" in attempt["reasons"][0] for attempt in fit.attempts)
    with pytest.raises(FitError, match=r"the test did not converge.*degenerate"):
        require_valid(fit, "the test")


def test_unused_parameter_is_told_and_the_fit_goes_on():
    spec = counting()
    spec["channels"][0]["samples"].append(
        {"name": "none", "data": [0.0], "modifiers": [{"name": "idle", "type": "normfactor", "data": None}]}
    )
    _, likelihood = build(spec)
    fit = minimise(likelihood, np.array([61.0]))
    assert fit.valid
    assert fit.unused == ["idle"]
    assert fit.errors[likelihood.poi] == pytest.approx(np.sqrt(61) / 10, rel=1e-3)


# Huge asymmetric uncertainties with a signal strength free over 2000: found among random models for being hard.
HARD = {
    "distance too large at first": (
        {
            "signal": [1.202757085677035, 1.8494284336214635, 1.3915677399926834],
            "background": [6.434139340949675, 15.61571179693823, 49.747398901490044],
            "start": -500.0,
        },
        [(7.229783775813143, 0.598327263374252), (8.201429922303921, 0.6510676520213315)],
        [29.0, 3.0, 39.0],
    ),
    "a start far off": (
        {"signal": [1.365, 1.312], "background": [38.74, 37.99], "start": 1.0},
        [(8.61, 0.154), (7.73, 0.48), (3.93, 0.74), (8.6, 0.336)],
        [54.0, 62.0],
    ),
}


def hard(block: dict, factors: list[tuple[float, float]]) -> dict:
    spec = counting(mu=[-1000, 1000])
    signal, background = spec["channels"][0]["samples"]
    signal["data"], background["data"] = block["signal"], block["background"]
    background["modifiers"] = [
        {"name": f"rate{number}", "type": "normsys", "data": {"hi": high, "lo": low}}
        for number, (high, low) in enumerate(factors)
    ]
    background["modifiers"].append({"name": "scale", "type": "normfactor", "data": None})
    spec["parameters"][0]["inits"] = [block["start"]]
    return spec


@pytest.mark.parametrize("name", HARD)
def test_hard_fit_is_tried_again_and_succeeds(name):
    block, factors, observed = HARD[name]
    model, likelihood = build(hard(block, factors))
    data = data_of(model, observed)
    fit = minimise(likelihood, data)
    assert fit.valid
    assert len(fit.attempts) > 1
    assert not fit.attempts[0]["valid"]
    assert fit.attempts[0]["reasons"]
    assert fit.attempts[-1]["valid"]
    # no point nearby is lower
    generator = np.random.default_rng(1)
    for _ in range(200):
        near = fit.values + 0.01 * generator.normal(size=len(fit.values))
        near = np.clip(near, likelihood.lower, likelihood.upper)
        assert likelihood.twice_nll(near, data) >= fit.twice_nll - 1e-5


def test_constant_parameter_may_lie_beyond_its_bounds():
    model = two_bins()
    likelihood = compile_likelihood(model)
    fit = minimise(likelihood, data_of(model, [51.0, 48.0]), constant={likelihood.poi: 25.0}, covariance=False)
    assert fit.valid
    assert fit.values[likelihood.poi] == 25.0


def test_everything_constant_needs_no_minimisation():
    _, likelihood = build(counting())
    fit = minimise(likelihood, np.array([61.0]), constant={0: 1.0})
    assert fit.valid
    assert fit.twice_nll == pytest.approx(likelihood.twice_nll(np.array([1.0]), np.array([61.0])))


def test_the_lower_of_two_minima_is_found():
    # a variation that is up on both sides: minima at negative and positive values of the parameter; MIGRAD takes the
    # higher one, 0.55 above the other
    spec = counting(mu=[0, 10])
    signal, background = spec["channels"][0]["samples"]
    signal["data"], background["data"] = [2.0, 1.0], [50.0, 50.0]
    background["modifiers"] = [
        {"name": "shape", "type": "histosys", "data": {"hi_data": [79.0, 59.0], "lo_data": [46.0, 39.0]}}
    ]
    model, likelihood = build(spec)
    data = data_of(model, [64.0, 47.0])
    fit = minimise(likelihood, data)
    assert fit.valid
    at = {name: likelihood.names.index(name) for name in ("mu", "shape")}
    grid = []
    for strength, shape in np.stack(np.meshgrid(np.linspace(0, 10, 101), np.linspace(-3, 3, 121)), -1).reshape(-1, 2):
        point = np.empty(2)
        point[[at["mu"], at["shape"]]] = strength, shape
        grid.append(likelihood.twice_nll(point, data))
    assert fit.twice_nll <= min(grid) + 1e-6
    assert fit.attempts[-1]["name"] == "migrad from a lower minimum"


def random_model(seed: int) -> tuple:
    """Return a model with large uncertainties, and data far off its expectation, at bounds and without events."""
    generator = np.random.default_rng(seed)
    channels = []
    for number in range(2):
        size = int(generator.integers(1, 4))
        scale = 10 ** generator.uniform(-0.5, 2.5)
        nominal = generator.uniform(0.2, 1, size) * scale
        modifiers = [
            {"name": f"stat{number}", "type": "staterror", "data": list(nominal * generator.uniform(0.02, 0.6, size))},
            {"name": f"bins{number}", "type": "shapesys", "data": list(nominal * generator.uniform(0.02, 0.9, size))},
        ]
        for name in ("a", "b", "c"):
            low, high = 1 + generator.normal(0, 0.15, 2)
            modifiers.append({"name": name, "type": "normsys", "data": {"hi": max(high, 0.1), "lo": max(low, 0.1)}})
        shifted = {side: list(nominal * generator.uniform(0.8, 1.2, size)) for side in ("hi_data", "lo_data")}
        modifiers.append({"name": "shape", "type": "histosys", "data": shifted})
        strength = [{"name": "mu", "type": "normfactor", "data": None}]
        channels.append(
            {
                "name": f"c{number}",
                "samples": [
                    {"name": "s", "data": list(generator.uniform(0.05, 0.5, size) * scale), "modifiers": strength},
                    {"name": "b", "data": list(nominal), "modifiers": modifiers},
                ],
            }
        )
    model, likelihood = build({"channels": channels})
    data = likelihood.expected(likelihood.start)
    rates = data[: likelihood.bins] * generator.uniform(0.2, 1.6, likelihood.bins)
    data[: likelihood.bins] = generator.poisson(rates)
    return model, likelihood, data


@pytest.mark.parametrize("seed", range(8))
def test_random_models_reach_the_minimum_of_pyhf(seed):
    model, likelihood, data = random_model(seed)
    fit = minimise(likelihood, data)
    assert fit.valid
    with quiet_pyhf():
        pyhf.set_backend("numpy", "scipy")
        _, theirs = pyhf.infer.mle.fit(data, model, return_fitted_val=True)
    # the published digits of pyhf hold to 1e-4; where the models have several minima ours may be lower
    assert fit.twice_nll <= float(theirs) + 1e-4
    warm = minimise(likelihood, data, start=fit.values, covariance=False)
    assert warm.valid
    assert warm.twice_nll == pytest.approx(fit.twice_nll, abs=1e-4)


def test_no_events_where_the_simulation_is_uncertain():
    # nothing observed: the factor of the bin, known from one auxiliary event, is pulled down
    spec = counting(signal=1, background=5, mu=[0, 10])
    spec["channels"][0]["samples"][1]["modifiers"] = [{"name": "bins", "type": "shapesys", "data": [5.0]}]
    model, likelihood = build(spec)
    fit = minimise(likelihood, data_of(model, [0.0]))
    assert fit.valid
    assert fit.at_bound == ["mu"]
    # d/dg [5 g + g - ln g] = 0 at g = 1/6
    assert fit.values[likelihood.names.index("bins[0]")] == pytest.approx(1 / 6, abs=1e-3)
