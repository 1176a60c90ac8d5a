"""The choice of the tagger of a measurement."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_parquet
from lhcml.inference.choose_tagger import area_under_curve, choose_tagger, main

SCORES = st.lists(st.floats(0, 1), min_size=2, max_size=20)


def write_scores(path: Path, validation: list[float], test: list[float]) -> str:
    """Write a score file with these scores of validation and test jets."""
    path.parent.mkdir(parents=True, exist_ok=True)
    split = ["validation"] * len(validation) + ["test"] * len(test)
    write_parquet(path, {"split": split, "score": np.array(validation + test)})
    return str(path)


@pytest.fixture
def scores(tmp_path: Path) -> dict[str, dict[str, list[str]]]:
    """Return two taggers: `fair` is better on validation jets, `lucky` on test jets."""

    def files(name: str, kind: str, validation: list[float], test: list[float]) -> list[str]:
        return [write_scores(tmp_path / name / kind / "nominal.parquet", validation, test)]

    return {
        "lucky": {
            "signal": files("lucky", "top", [0.4, 0.6, 0.9], [0.9, 0.9]),
            "background": files("lucky", "qcd", [0.1, 0.5], [0.1, 0.1]),
        },
        "fair": {
            "signal": files("fair", "top", [0.7, 0.8, 0.9], [0.1, 0.1]),
            "background": files("fair", "qcd", [0.1, 0.2], [0.9, 0.9]),
        },
    }


def test_the_best_on_validation_jets_is_taken(scores: dict[str, dict[str, list[str]]], tmp_path: Path) -> None:
    main(["--scores", json.dumps(scores), "--output", str(tmp_path / "tagger.json")])
    chosen = read_json(tmp_path / "tagger.json")
    assert chosen["tagger"] == "fair"
    # lucky: five of the six pairs of validation jets are ordered rightly
    assert [row["auc"] for row in chosen["candidates"]] == pytest.approx([1.0, 5 / 6])


def test_an_area_by_hand() -> None:
    # pairs ordered rightly: 0.3 > 0.2; 0.8 > 0.2, 0.5; tie of 0.5 with 0.5 counts half; 0.5 > 0.2
    area, error = area_under_curve(np.array([0.3, 0.5, 0.8]), np.array([0.2, 0.5]))
    assert area == pytest.approx((1 + 1.5 + 2) / 6)
    # placements of the background (3/3, 1.5/3) and of the signal (1/2, 3/4, 1), variances over their numbers
    assert error == pytest.approx(np.sqrt(np.var([1, 0.5], ddof=1) / 2 + np.var([0.5, 0.75, 1], ddof=1) / 3))


@given(SCORES, SCORES)
@settings(deadline=None)
def test_swapping_the_classes_mirrors_the_area(signal: list[float], background: list[float]) -> None:
    one = area_under_curve(np.array(signal), np.array(background))
    other = area_under_curve(np.array(background), np.array(signal))
    assert one[0] + other[0] == pytest.approx(1)
    assert one[1] == pytest.approx(other[1])


def test_the_error_is_the_spread_of_areas() -> None:
    generator = np.random.default_rng(3)
    pairs = [area_under_curve(generator.normal(1, 1, 60), generator.normal(0, 1, 90)) for _ in range(400)]
    areas, errors = np.array(pairs).T
    # the spread of 400 areas is known to 3.5 %
    assert errors.mean() == pytest.approx(areas.std(ddof=1), rel=0.12)


def test_too_few_validation_jets(tmp_path: Path) -> None:
    one = [write_scores(tmp_path / "a/top/nominal.parquet", [0.5], [0.1])]
    with pytest.raises(UserError, match="1 validation jets"):
        choose_tagger({"a": {"signal": one, "background": one}})
