"""Limits and significances against pyhf and counting formulas; the cross section for 5 sigma."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyhf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm

from lhcml.anomaly.bump_hunter import signed_root
from lhcml.anomaly.likelihood_fit import Model, fit_one
from lhcml.anomaly.limits import eigen_variations, make_model, make_workspace, upper_limits
from lhcml.anomaly.plot_injections import main as plot_main
from lhcml.anomaly.scan_injections import asimov_z, crossing, main, monotone, summarise
from lhcml.anomaly.signal_shape import CrystalBall
from lhcml.anomaly.spectrum_fit import Background, fit_background
from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_json

SQRT_S = 13000.0
EDGES = np.linspace(2800.0, 5200.0, 25)
TEMPLATE = CrystalBall(3500, 120).template(EDGES)


def falling(events: float) -> np.ndarray:
    x = 0.5 * (EDGES[1:] + EDGES[:-1]) / SQRT_S
    values = (1 - x) ** 8 / x**5.5
    return np.asarray(values * events / values.sum())


def fitted(counts: np.ndarray) -> Background:
    return fit_background(EDGES, counts, SQRT_S, ["dijet3"], 0.05)


def known(counts: np.ndarray, expected: np.ndarray) -> Background:
    """Return a background that is known exactly."""
    background = fitted(counts)
    fits = replace(background.fits, covariance=np.zeros_like(background.fits.covariance))
    background = replace(background, fits=fits)
    np.testing.assert_allclose(background.expected, expected, rtol=0.2)
    return background


@pytest.mark.parametrize("injected", [0, 60, 200])
def test_discovery_agrees_with_pyhf(injected: int) -> None:
    counts = np.random.default_rng(8).poisson(falling(3000) + injected * TEMPLATE).astype(float)
    background = fitted(counts)
    fits, _ = fit_one(Model(background.function, TEMPLATE), counts, background.fits)
    root = float(signed_root(background.fits, fits)[0])
    workspace = make_workspace(background, counts, TEMPLATE, 100.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        model = make_model(workspace)
        bounds = [(0.0, 100.0), *[(-5.0, 5.0)] * (len(model.config.suggested_init()) - 1)]
        q0 = pyhf.infer.test_statistics.q0(
            0.0, counts.tolist() + model.config.auxdata, model, model.config.suggested_init(), bounds,
            model.config.suggested_fixed(),
        )  # fmt: skip
    # pyhf's background has the freedom of the function to first order in the bin width, and 1 % more information
    assert math.sqrt(float(q0)) == pytest.approx(max(root, 0.0), rel=0.01, abs=0.01)


def test_discovery_with_known_background_is_the_counting_formula() -> None:
    # all signal in one bin: q0 = 2 (n ln(n / b) - (n - b)) if nothing else can move
    counts = falling(3000).round()
    background = known(counts, falling(3000))
    single = np.zeros(24)
    single[7] = 1.0
    data = background.expected.copy()
    data[7] = background.expected[7] + 40
    model = make_model(make_workspace(background, data, single))
    bounds = [(0.0, 100.0), *[(-5.0, 5.0)] * (len(model.config.suggested_init()) - 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        q0 = pyhf.infer.test_statistics.q0(
            0.0, data.tolist() + model.config.auxdata, model, model.config.suggested_init(), bounds,
            model.config.suggested_fixed(),
        )  # fmt: skip
    assert math.sqrt(float(q0)) == pytest.approx(asimov_z(np.array([40.0]), float(background.expected[7]))[0], rel=1e-3)


def test_limit_with_known_background_is_that_of_the_asymptotic_formula() -> None:
    counts = falling(3000).round()
    background = known(counts, falling(3000))
    found = upper_limits(background, background.expected, TEMPLATE, 50.0)

    def q(signal: float) -> float:
        total = background.expected + signal * TEMPLATE
        return float(
            2 * np.sum(total - background.expected - background.expected * np.log(total / background.expected))
        )

    # data equal to the expectation: CLs = 2 (1 - Phi(sqrt(q))), for the median with sqrt(q) = 1.96
    limit = brentq(lambda signal: 2 * norm.sf(math.sqrt(q(signal))) - 0.05, 1, 1000)
    # precision 1e-3 of the scan, and that of the minimiser
    assert found["observed"] == pytest.approx(limit, rel=5e-3)
    assert found["expected"][2] == pytest.approx(limit, rel=5e-3)
    assert found["expected"] == sorted(found["expected"])


def test_limit_with_fitted_background_agrees_with_the_profile_likelihood() -> None:
    """CLs is 0.05 at pyhf's limit if q~ is computed with the dijet function itself."""
    counts = np.random.default_rng(9).poisson(falling(2000)).astype(float)
    background = fitted(counts)
    free, _ = fit_one(Model(background.function, TEMPLATE), counts, background.fits)
    guess = max(float(free.yields[0]), 0.0) + 2 * float(free.yield_errors[0])
    limit = upper_limits(background, counts, TEMPLATE, guess)["observed"]

    def statistic(data: np.ndarray) -> float:
        without, _ = fit_one(Model(background.function), data)
        best, _ = fit_one(Model(background.function, TEMPLATE), data, without)
        fixed, _ = fit_one(Model(background.function, TEMPLATE, limit), data, without)
        least = best.deviance[0] if best.yields[0] >= 0 else without.deviance[0]
        return max(0.0, float(fixed.deviance[0] - least))

    q, q_asimov = statistic(counts), statistic(background.expected)
    root = math.sqrt(q_asimov)
    cls = norm.sf(math.sqrt(q)) / norm.cdf(root - math.sqrt(q)) if q <= q_asimov else (
        norm.sf((q + q_asimov) / (2 * root)) / norm.sf((q - q_asimov) / (2 * root)))  # fmt: skip
    assert cls == pytest.approx(0.05, abs=0.004)


@given(st.lists(st.floats(-5, 20), min_size=1, max_size=12))
@settings(deadline=None)
def test_monotone_is_the_projection(values: list[float]) -> None:
    data = np.array(values)
    smooth = monotone(data)
    assert (np.diff(smooth) >= -1e-9).all()
    # pooling keeps sums, and a sequence that does not fall is left alone
    assert smooth.sum() == pytest.approx(data.sum(), abs=1e-6)
    np.testing.assert_allclose(monotone(np.sort(data)), np.sort(data))


def test_crossing_between_points() -> None:
    assert crossing(np.array([0.0, 10.0, 20.0]), np.array([0.0, 4.0, 6.0]), 50.0) == (15.0, False)


def test_crossing_beyond_points_follows_the_law() -> None:
    # s = 2 x over b = 50
    x = np.array([0.0, 5.0, 8.0])
    value, extrapolated = crossing(x, asimov_z(2 * x, 50.0), 50.0)
    assert extrapolated
    assert value is not None
    assert asimov_z(np.array([2 * value]), 50.0)[0] == pytest.approx(5.0, rel=1e-4)


def test_no_sensitivity_has_no_crossing() -> None:
    assert crossing(np.array([0.0, 5.0]), np.array([0.3, 0.0]), 50.0) == (None, True)


def found_search(method: str, seed: int, cross_section: float, z: float) -> dict[str, Any]:
    """Return a search.json with what a scan reads."""
    return {
        "method": method, "mixture": f"x{cross_section:g}", "seed": seed, "window": [3300, 3700],
        "injected": {"events": int(20 * cross_section), "signal_to_background": 0.001 * cross_section,
                     "cross_section_fb": cross_section},
        "z_local": z, "z_global": z - 1, "p_local": float(norm.sf(z)), "p_global": float(norm.sf(z - 1)),
        "signal": {"background": 100.0}, "limit": {"observed": 30.0, "expected": [10, 15, 20, 30, 40]},
        "limit_fb": {"observed": 3.0, "expected": [1, 1.5, 2, 3, 4]}, "status": "ok",
    }  # fmt: skip


def test_scan_of_seeds(tmp_path: Path) -> None:
    paths = []
    for seed, slope in ((1, 0.4), (2, 0.5), (3, 1.0)):
        for cross_section in (0.0, 5.0, 20.0):
            paths.append(tmp_path / f"{seed}_{cross_section}.json")
            write_json(paths[-1], found_search("cwola", seed, cross_section, slope * cross_section))
    main(["--searches", *map(str, paths), "--label", "CWoLa", "--output", str(tmp_path / "cwola.json")])
    result = read_json(tmp_path / "cwola.json")
    # medians 0, 2.5, 10 at 0, 5, 20 fb; each seed is a straight line
    assert result["xsec_5sigma"] == pytest.approx(10.0)
    assert result["per_seed"] == pytest.approx({"1": 12.5, "2": 10.0, "3": 5.0})
    assert result["xsec_5sigma_std"] == pytest.approx(np.std([12.5, 10, 5], ddof=1))
    assert not result["extrapolated"]
    assert len(result["points"]) == 9
    plot_main(["--scans", str(tmp_path / "cwola.json"), "--output", str(tmp_path / "scan.png")])
    assert (tmp_path / "scan.pdf").stat().st_size > 1000


def test_scans_that_cannot_be_made(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", found_search("a", 1, 1.0, 1.0))
    write_json(tmp_path / "b.json", found_search("b", 1, 1.0, 1.0))
    data = found_search("a", 1, 1.0, 1.0) | {"injected": {"events": None}}
    write_json(tmp_path / "data.json", data)
    for second, message in (("b", "several methods"), ("data", "no injected signal")):
        with pytest.raises(UserError, match=message):
            main(["--searches", str(tmp_path / "a.json"), str(tmp_path / f"{second}.json"), "--label", "a",
                  "--output", str(tmp_path / "out.json")])  # fmt: skip


def test_an_extrapolation_needs_its_strongest_signal() -> None:
    """A fluctuation at a weak signal and nothing at the strongest one is no sensitivity."""
    x = np.array([0.0, 6.0, 20.0])
    assert crossing(x, np.array([0.0, 1.2, 0.9]), 100.0) == (None, True)
    assert crossing(x, np.array([0.0, 0.3, 2.0]), 100.0)[0] == pytest.approx(53, abs=3)


def test_seeds_of_a_mixture_are_one_point() -> None:
    base = {"background": 100.0, "seed": 1}
    points = [
        base | {"mixture": "weak", "cross_section_fb": 5.9, "z_local": 1.0},
        base | {"mixture": "weak", "cross_section_fb": 6.1, "z_local": 3.0, "seed": 2},
        base | {"mixture": "strong", "cross_section_fb": 20.0, "z_local": 8.0},
    ]
    result = summarise(points, "cross_section_fb")
    assert result["curve"]["x"] == pytest.approx([6.0, 20.0])
    assert result["curve"]["median"] == [2.0, 8.0]
    # on the straight line from (6, 2) to (20, 8)
    assert result["xsec_5sigma"] == pytest.approx(13.0)


def test_profile_gives_the_shape_at_any_mass() -> None:
    shape = CrystalBall(3490, 60, 1.4, 5.0, 1.8, 2.1)
    profile = shape.profile(3500, EDGES)
    # linear interpolation in steps of a twelfth of the width: 1e-3 of the peak's share
    for mass in (3000.0, 4200.0):
        shares = np.diff(np.interp(EDGES / mass, profile["ratio"], profile["cumulative"]))
        np.testing.assert_allclose(shares / shares.sum(), shape.moved(mass, 3500).template(EDGES), atol=1e-3)


def test_eigen_variations_add_up_to_the_variance_of_the_fit() -> None:
    background = fitted(falling(3000).round())
    variations = eigen_variations(background)
    # the same propagation of errors without eigenvectors
    expected, slope = (part[0] for part in background.function.with_gradient(background.fits.internal))
    variance = np.einsum("bk,kl,bl->b", slope, background.fits.covariance[0], slope) / expected**2
    np.testing.assert_allclose((variations**2).sum(axis=1), variance, rtol=1e-9)
