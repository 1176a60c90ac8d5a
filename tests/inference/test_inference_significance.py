"""Discovery significances by hand and against pyhf."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyhf
import pytest
from inference_models import EVERY_MODIFIER, build, counting, data_of, two_bins, workspace

from lhcml.inference.compile_likelihood import compile_likelihood
from lhcml.inference.compute_significance import compute_significance, main
from lhcml.inference.quiet_pyhf import quiet_pyhf
from lhcml.inference.read_workspace import Problem


def problem_of(model: object, observed: list[float]) -> Problem:
    return Problem(compile_likelihood(model), data_of(model, observed), "mu", "0" * 64, "fit")


@pytest.mark.parametrize("which", ["two bins", "every modifier"])
def test_agrees_with_pyhf(which):
    model = two_bins() if which == "two bins" else build(EVERY_MODIFIER)[0]
    observed = [61.0, 65.0] if which == "two bins" else [62.0, 70.0, 44.0, 60.0, 66.0, 50.0, 61.0]
    result = compute_significance(problem_of(model, observed), 1.0)
    with quiet_pyhf():
        pyhf.set_backend("numpy", pyhf.optimize.scipy_optimizer(tolerance=1e-11))
        theirs, bands = pyhf.infer.hypotest(
            0.0, data_of(model, observed), model, test_stat="q0", return_expected_set=True
        )
        pyhf.set_backend("numpy")
    assert result["observed"]["p_value"] == pytest.approx(float(theirs), abs=1e-6)
    expected = result["expected"]["postfit"]
    # pyhf lists fluctuations of +2 first
    assert expected["p_bands"][::-1] == pytest.approx([float(band) for band in bands], abs=1e-6)
    assert expected["p_value"] == pytest.approx(float(bands[2]), abs=1e-6)


def test_counting_experiment_by_hand():
    # q0 = 2 (n ln(n / b) - (n - b)), arXiv:1007.1727, eq. 97
    model, _ = build(counting(10.0, 50.0, mu=[0, 20]))
    result = compute_significance(problem_of(model, [70.0]), 1.5)

    def z(n: float) -> float:
        return math.sqrt(2 * (n * math.log(n / 50) - (n - 50)))

    assert result["observed"]["z"] == pytest.approx(z(70), abs=1e-5)
    assert result["observed"]["best_fit"] == pytest.approx(2.0, abs=1e-3)
    for kind in ("prefit", "postfit"):
        assert result["expected"][kind]["z"] == pytest.approx(z(65), abs=1e-5)


@pytest.mark.parametrize("low", [0, -10])
def test_deficit_has_no_significance(low):
    model, _ = build(counting(mu=[low, 20]))
    result = compute_significance(problem_of(model, [30.0]), 1.0)
    assert result["observed"]["p_value"] == pytest.approx(0.5)
    assert result["observed"]["z"] == 0.0


def test_best_fit_beyond_the_bound_moves_it():
    model, _ = build(counting(mu=[0, 1]))
    result = compute_significance(problem_of(model, [90.0]), 1.0)
    assert result["observed"]["best_fit"] == pytest.approx(4.0, abs=1e-3)
    assert any("upper bound 1" in remark for remark in result["remarks"])


def test_command_line_writes_the_file(tmp_path: Path):
    path, output = tmp_path / "workspace.json", tmp_path / "significance.json"
    path.write_text(json.dumps(workspace()))
    config = {"injected": 2.0, "fit": {"blinded": ["a"]}}
    main(["--workspace", str(path), "--config", json.dumps(config), "--output", str(output)])
    written = json.loads(output.read_text())
    assert written["valid"]
    assert written["blinded"] == ["a"]
    assert written["injected"] == 2.0
    assert np.isfinite(written["expected"]["prefit"]["z"])
