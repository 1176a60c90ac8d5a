"""Workspaces of a resonance: the likelihood of the search, in plain pyhf."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyhf
import pytest
from scipy.stats import norm

from lhcml.common.errors import UserError
from lhcml.inference.build_resonance import (
    POI,
    WIDENING,
    build_background,
    build_patchset,
    main,
    signal_shares,
)
from lhcml.inference.check_resonances import check_resonances
from lhcml.inference.limit import Scan, upper_limits
from lhcml.inference.quiet_pyhf import quiet_pyhf
from lhcml.inference.read_workspace import make_problem

EDGES = np.linspace(2800.0, 5200.0, 25)
CENTRES = 0.5 * (EDGES[1:] + EDGES[:-1])
MEAN, WIDTH = 0.99, 0.03


def search(signal: float = 0.0) -> dict[str, Any]:
    """Return what build_resonance reads of a search: a Gaussian resonance on an exponential of uncertain slope."""
    ratio = np.geomspace(EDGES[0] / EDGES[-1], EDGES[-1] / EDGES[0], 801)
    background = 40 * np.exp(-(CENTRES - 2800) / 500)
    counts = background + signal * np.diff(norm.cdf(EDGES, MEAN * 3500, WIDTH * 3500))
    tilt = (CENTRES - 3200) / 500
    return {
        "method": "toy", "mixture": "toys", "signal_efficiency": 0.2, "background_fit": {"valid": True},
        "signal_model": {
            "mass": 3500.0, "simulated_mass": 3500,
            "profile": {"ratio": ratio.tolist(), "cumulative": norm.cdf(ratio, MEAN, WIDTH).tolist()},
        },
        "spectrum": {
            "edges": EDGES.tolist(), "counts": np.round(counts).tolist(), "background": background.tolist(),
            "background_variations": [np.full(24, 0.08).tolist(), (0.15 * tilt).tolist()],
        },
    }  # fmt: skip


def patched(content: dict[str, Any], mass: int, **config: Any) -> dict[str, Any]:
    background = build_background(content, 2.0)
    patchset = build_patchset(content, background, 2.0, {"masses": [mass]} | config, 0.1)
    with quiet_pyhf():
        return dict(pyhf.PatchSet(patchset).apply(background, f"m{mass}"))


@pytest.mark.parametrize("mass", [3000, 3500, 4200])
def test_shape_scales_with_the_mass(mass):
    # cubic interpolation in steps of a twentieth of the width is good to 1e-6
    expected = np.diff(norm.cdf(EDGES, MEAN * mass, WIDTH * mass))
    np.testing.assert_allclose(signal_shares(search(), mass), expected / expected.sum(), atol=2e-6)


@pytest.mark.parametrize("mass", [2500, 5600, 20000])
def test_mass_outside_the_spectrum_is_refused(mass):
    with pytest.raises(UserError, match="outside the spectrum"):
        signal_shares(search(), mass)


def test_patchset_is_valid_and_belongs_to_the_background():
    content = search()
    background = build_background(content, 2.0)
    patchset = build_patchset(content, background, 2.0, {"masses": [3000, 3500], "uncertainties": {"rate": 0.1}}, 0.1)
    with quiet_pyhf():
        pyhf.schema.validate(patchset, "patchset.json")
        pyhf.PatchSet(patchset).verify(background)
    assert [patch["metadata"]["efficiency"] for patch in patchset["patches"]] == [None, 0.1]
    assert [patch["metadata"]["name"] for patch in patchset["patches"]] == ["m3000", "m3500"]


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.7, -0.4), (-3.0, 2.5)])
def test_background_is_exponential_in_its_parameters_with_the_default_codes(shift):
    content = search()
    with quiet_pyhf():
        model = pyhf.Workspace(patched(content, 3500)).model()
    parameters = np.array(model.config.suggested_init())
    parameters[model.config.poi_index] = 0.0
    logs = np.array(content["spectrum"]["background_variations"])
    for number, standard_deviations in enumerate(shift):
        parameters[model.config.par_order.index(f"function_{number}")] += standard_deviations / WIDENING
    expected = np.array(content["spectrum"]["background"]) * np.exp(np.array(shift) @ logs)
    np.testing.assert_allclose(model.expected_actualdata(parameters), expected, rtol=1e-9)


def test_signal_of_one_femtobarn_is_the_luminosity():
    with quiet_pyhf():
        model = pyhf.Workspace(patched(search(), 3500)).model()
    parameters = np.array(model.config.suggested_init())
    rates = []
    for parameters[model.config.poi_index] in (0.0, 1.0):
        rates.append(model.expected_actualdata(parameters).sum())
    assert rates[1] - rates[0] == pytest.approx(2.0, rel=1e-9)


def test_signal_is_found_where_it_is():
    content = search(signal=40)
    limits = {}
    for mass in (3000, 3500, 4000):
        problem = make_problem(patched(content, mass), "grid")
        scan = Scan(problem.likelihood, problem.data)
        limits[mass] = (scan.best, *upper_limits(scan))
    # 40 events at 2/fb; counts are rounded and the background takes some of them
    assert limits[3500][0] == pytest.approx(20, rel=0.15)
    assert limits[3500][1] > limits[3500][2][4]
    for mass in (3000, 4000):
        assert limits[mass][1] < limits[mass][2][4]


def test_rate_uncertainty_weakens_the_limit():
    known, unknown = (
        upper_limits(Scan(problem.likelihood, problem.data))[1][2]
        for problem in (
            make_problem(patched(search(), 3500, **extra), "grid") for extra in ({}, {"uncertainties": {"rate": 0.5}})
        )
    )
    assert known is not None
    assert unknown is not None
    assert 1.02 * known < unknown < 2 * known


def run(folder: Path, content: dict[str, Any], info: dict[str, Any], config: dict[str, Any]) -> None:
    (folder / "search.json").write_text(json.dumps(content))
    (folder / "mixture.json").write_text(json.dumps(info))
    main(["--search", str(folder / "search.json"), "--info", str(folder / "mixture.json"),
          "--config", json.dumps({"resonance": {"masses": [3500]}} | config),
          "--background", str(folder / "background.json"), "--patchset", str(folder / "patchset.json")])  # fmt: skip


def test_command_line(tmp_path: Path):
    run(tmp_path, search(), {"luminosity_fb": 3.0, "events_per_fb": 0.6}, {})
    metadata = json.loads((tmp_path / "patchset.json").read_text())["metadata"]
    # acceptance 0.2 (events per fb over 3/fb) times efficiency 0.2
    assert metadata["efficiency"] == pytest.approx(0.04)
    assert metadata["luminosity"] == 3.0
    spec = json.loads((tmp_path / "background.json").read_text())
    assert spec["measurements"][0]["config"]["poi"] == POI


@pytest.mark.parametrize(
    ("spoil", "info", "message"),
    [
        (lambda content: content["background_fit"].update(valid=False), {"luminosity_fb": 1.0}, "not valid"),
        (lambda content: content["spectrum"].pop("background_variations"), {"luminosity_fb": 1.0}, "older version"),
        (lambda content: content["spectrum"]["background"].__setitem__(3, 0.0), {"luminosity_fb": 1.0}, "no expected"),
        (lambda content: None, {}, "no luminosity"),
    ],
)
def test_search_that_cannot_be_used_is_refused(tmp_path: Path, spoil, info, message):
    content = search()
    spoil(content)
    with pytest.raises(UserError, match=message):
        run(tmp_path, content, info, {})


@pytest.mark.parametrize(
    "change", [{"mixture": "other"}, {"seed": 7}, {"method": "cwola"}, {"window": "1-2"}, {"method": "none"}]
)
def test_search_that_nobody_makes_is_refused(change):
    block = {"mixture": "injected", "seed": 1, "method": "cathode", "masses": [3500]}
    anomaly = {
        "mixtures": {"injected": {"seeds": [1], "methods": ["cathode"]}},
        "methods": {"cathode": {}, "cwola": {}},
    }
    check_resonances({"m": {"resonance": block}, "other": {"channel": "a"}}, anomaly, ["3300-3700"])
    key = next(iter(change))
    with pytest.raises(UserError, match=f"m.resonance.{key}"):
        check_resonances({"m": {"resonance": block | change}}, anomaly, ["3300-3700"])
