"""Limits of grids of signals: what is excluded, contours, what failed, figures."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from lhcml.common.errors import UserError
from lhcml.inference import collect_limits as module
from lhcml.inference import plot_grid
from lhcml.inference.collect_limits import collect_limits
from lhcml.inference.exclusion import contour, excluded_ranges, interpolate_theory

LABELS = {"data": "Data", "left": "", "right": "13 TeV"}


def limit(observed: float, valid: bool = True) -> dict[str, Any]:
    return {
        "poi": "mu", "level": 0.05, "valid": valid, "reason": None if valid else "a fit failed", "digest": "0",
        "best_fit": 0.0, "observed": observed if valid else None, "test": None,
        "expected": [observed * factor for factor in (0.5, 0.7, 1.0, 1.4, 2.0)] if valid else None,
    }  # fmt: skip


def patchset(values: dict[str, list[Any]], labels: list[str]) -> dict[str, Any]:
    patches = [{"metadata": {"name": name, "values": row}, "patch": []} for name, row in values.items()]
    return {"metadata": {"labels": labels, "digests": {"sha256": "0" * 64}}, "patches": patches, "version": "1.0.0"}


def line(**changes: Any) -> dict[str, Any]:
    """Return the collection of limits that rise from e^-0.5 to e^0.5 between 1000 and 2000."""
    masses = [2000, 1000, 1250, 1750]
    limits = {f"m{mass}": limit(math.exp((mass - 1500) / 1000)) for mass in masses} | changes.pop("limits", {})
    return collect_limits(
        patchset({f"m{mass}": [mass] for mass in masses}, ["mass"]), limits, {"theory": {"value": 1.0}} | changes
    )


def test_excluded_range_ends_where_the_limit_crosses_the_theory():
    result = line()
    assert [point["at"] for point in result["points"]] == [[1000], [1250], [1750], [2000]]
    # ln(limit) is linear in the mass and zero at 1500; the bands are shifted by ln 0.7 and ln 1.4
    assert result["excluded"]["observed"] == [[1000, pytest.approx(1500)]]
    assert result["excluded"]["expected_minus"] == [[1000, pytest.approx(1500 - 1000 * math.log(0.7))]]
    assert result["excluded"]["expected_plus"] == [[1000, pytest.approx(1500 - 1000 * math.log(1.4))]]
    assert result["valid"]


def test_failed_point_is_listed_and_not_bridged():
    result = line(limits={"m1250": limit(0.0, valid=False)})
    assert result["failed"] == ["m1250"]
    assert not result["valid"]
    assert result["excluded"]["observed"] == [[1000, 1000]]


def test_theory_between_points_is_exponential_and_ends_with_them():
    theory = [[2000, 0.01], [1000, 1.0]]
    assert interpolate_theory(theory, 1500) == pytest.approx(0.1)
    assert interpolate_theory(theory, 2001) is None
    assert line(theory={"points": [[1000, 1.0], [1400, 1.0]]})["excluded"]["observed"] == [[1000, 1250]]


def test_no_theory_excludes_nothing():
    assert line(theory=None)["excluded"]["observed"] == []


@given(st.lists(st.floats(-3, 3).filter(lambda value: abs(value) > 1e-3), min_size=2, max_size=12))
def test_ranges_hold_the_excluded_points_and_no_others(logs):
    ranges = excluded_ranges(list(range(len(logs))), logs)
    for value, log in enumerate(logs):
        assert any(low <= value <= high for low, high in ranges) == (log < 0)
    assert all(first[1] < second[0] for first, second in pairwise(ranges))


def test_contour_of_a_plane_lies_on_it():
    x, y = np.meshgrid(np.linspace(400, 1200, 9), np.linspace(0, 300, 7))
    points = np.column_stack([x.ravel(), y.ravel()])
    # a function linear in the plane is interpolated exactly
    segments = np.array(contour(points, points[:, 0] / 400 + points[:, 1] / 150 - 3))
    assert len(segments) > 5
    np.testing.assert_allclose(segments[..., 0] / 400 + segments[..., 1] / 150, 3, atol=1e-9)


@pytest.mark.parametrize("points", [[[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], [[0.0, 0.0], [1.0, 1.0]], []])
def test_no_contour_without_a_plane(points):
    assert contour(np.array(points).reshape(-1, 2), np.arange(len(points)) - 0.5) == []


def plane() -> dict[str, Any]:
    values = {f"s_{x}_{y}": [x, 60, y] for x in range(400, 1100, 100) for y in range(0, x - 100, 100)}
    limits = {name: limit(math.exp((row[0] + row[2] - 1000) / 200)) for name, row in values.items()}
    limits["s_400_0"] = limit(0.0, valid=False)
    return collect_limits(patchset(values, ["m_heavy", "m_fixed", "m_light"]), limits, {"theory": {"value": 1.0}})


def test_plane_uses_the_labels_that_differ():
    result = plane()
    assert result["axes"] == ["m_heavy", "m_light"]
    ends = np.array(result["contours"]["expected"])
    np.testing.assert_allclose(ends.sum(axis=-1), 1000, atol=1e-6)


def test_axis_that_is_no_number_is_refused():
    with pytest.raises(UserError, match="no number of the patchset") as caught:
        collect_limits(patchset({"a": ["x", 1]}, ["model", "mass"]), {"a": limit(1.0)}, {"axes": ["model"]})
    assert "mass" in caught.value.fix


def test_limit_of_an_unknown_patch_is_refused():
    with pytest.raises(UserError, match="no patch b"):
        collect_limits(patchset({"a": [1]}, ["mass"]), {"b": limit(1.0)}, {})


def test_command_lines_write_file_and_figures(tmp_path: Path):
    values = {"m1000": [1000], "m2000": [2000]}
    (tmp_path / "patchset.json").write_text(json.dumps(patchset(values, ["mass"])))
    files = []
    for name in values:
        files.append(tmp_path / name / "limit.json")
        files[-1].parent.mkdir()
        files[-1].write_text(json.dumps(limit(0.5 if name == "m1000" else 2.0)))
    out = tmp_path / "limits.json"
    module.main(["--patchset", str(tmp_path / "patchset.json"), "--limits", *map(str, files),
                 "--config", '{"theory": {"value": 1.0}}', "--output", str(out)])  # fmt: skip
    assert json.loads(out.read_text())["excluded"]["observed"] == [[1000, pytest.approx(1500)]]
    (tmp_path / "plane.json").write_text(json.dumps(plane()))
    for name in ("limits", "plane"):
        figure = tmp_path / f"{name}.png"
        plot_grid.main(["--limits", str(tmp_path / f"{name}.json"), "--labels", json.dumps(LABELS),
                        "--output", str(figure)])  # fmt: skip
        assert figure.with_suffix(".pdf").exists()
        assert imread(figure).std() > 0.05
