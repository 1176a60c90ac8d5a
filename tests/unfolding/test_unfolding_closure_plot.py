"""The figure of the tests: what it shows of given numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.files import write_json
from lhcml.unfolding.plot_closure import draw_closure, main


def closure_json(coverage: float | None) -> dict[str, Any]:
    """Return the content of a closure.json of two observables."""
    row = {
        "closure": {"triangular_e3": 1.0, "before_e3": 1.5, "floor_e3": 0.8},
        "stress": {"triangular_e3": 2.0, "before_e3": 20.0, "floor_e3": 0.8},
        "coverage": {"coverage": coverage, "error": None if coverage is None else 0.02, "bins": 10},
    }
    return {"tests": {}, "observables": {"jet_mass": row, "jet_zg": row}}


def test_the_numbers_are_drawn() -> None:
    figure = draw_closure({"multifold": closure_json(0.7)}, "14 TeV")
    left, middle = figure.axes
    drawn = [tuple(line.get_ydata()) for line in left.lines]
    assert (1.0, 1.0) in drawn
    assert (2.0, 2.0) in drawn
    assert np.allclose(middle.containers[0].lines[0].get_ydata(), [0.7, 0.7])


def test_no_coverage_draws_nothing(tmp_path: Path) -> None:
    write_json(tmp_path / "multifold/closure.json", closure_json(None))
    main(["--closure", str(tmp_path / "multifold/closure.json"), "--output", str(tmp_path / "closure.png")])
    assert (tmp_path / "closure.pdf").stat().st_size > 1000
