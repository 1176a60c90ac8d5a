"""The summary of a model: areas by hand, the pairs of a bootstrap, what the gates saw, the front of the points."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from lhcml.common.errors import UserError
from lhcml.common.files import write_json, write_parquet
from lhcml.firmware import plot_pareto, plot_quantisation, summarise_firmware

SCORES = {
    # three background and two signal events of the test split; the fixed score merges two of them
    "dataset": ["b", "b", "b", "s", "s", "s"],
    "split": ["test"] * 5 + ["validation"],
    "label": [0, 0, 0, 1, 1, 1],
    "weight": [1.0, 1.0, 2.0, 1.0, 1.0, 1.0],
    "score_float": [0.1, 0.2, 0.6, 0.5, 0.9, 0.0],
    "score": [0.0, 0.0, 0.5, 0.5, 1.0, 0.0],
}


def write_point(folder: Path, lut: int, events: int = 6) -> Path:
    """Write the files of a point."""
    write_parquet(folder / "scores.parquet", {key: ak.Array(values) for key, values in SCORES.items()})
    method = folder.name.rstrip("0123456789")
    quantised = {"method": method, "bits": 8, "pruned": 0, "ebops": None, "parameters": 5, "zero_share": 0.0}
    write_json(folder / "quantised.json", quantised | {"saturated": {"x": 0.0}})
    rtl = {"latency_cycles": 4, "latency_ns": 10.0, "clock_mhz": 400.0, "initiation_interval": 1}
    write_json(folder / "rtl.json", rtl)
    write_json(folder / "simulation.json", {"events": events, "mismatches": 0})
    synthesis: dict[str, Any] = dict.fromkeys(("ff", "carry", "dsp", "bram", "depth"), 0)
    write_json(folder / "synthesis.json", synthesis | {"lut": lut, "tool": "a tool"})
    emulation = {"compiled": True, "events": 6, "mismatches": 0, "max_abs_diff": 0.0}
    write_json(folder / "hls/vitis_reuse1.json", emulation)
    write_json(folder / "hls/oneapi_reuse1.json", emulation | {"compiled": False, "events": None, "mismatches": None})
    return folder


def summarise(tmp_path: Path, *folders: Path, published: str | None = "trigger") -> dict[str, Any]:
    """Run the module on points and return the summary."""
    config = {"label": "A", "family": "vae", "signals": ["s", "none"], "published": published, "replicas": 20}
    known = Path(summarise_firmware.__file__).with_name("published.json")
    arguments = ["--points", *map(str, folders), "--config", json.dumps(config), "--published", str(known)]
    output = ["--json", str(tmp_path / "summary.json"), "--csv", str(tmp_path / "summary.csv")]
    summarise_firmware.main([*arguments, "--seed", "1", *output])
    summary: dict[str, Any] = json.loads((tmp_path / "summary.json").read_text())
    return summary


def test_areas_by_hand(tmp_path: Path) -> None:
    summary = summarise(tmp_path, write_point(tmp_path / "post8", 1000), write_point(tmp_path / "aware4", 90))
    # float: 0.5 is above 2 of 4 units of background, 0.9 above 4; fixed: 0.5 ties with 2 units (half of them count)
    assert summary["auc_float"] == pytest.approx((2 + 4) / 8)
    assert summary["auc_fixed"] == pytest.approx((3 + 4) / 8)
    assert summary["auc_loss"] == pytest.approx(-1 / 8)
    assert summary["signals"]["none"]["auc_float"] is None
    assert summary["lut_vu9p_percent"] == pytest.approx(100 * 1000 / 1182240)
    assert summary["emulation_max_abs_diff"] == 0
    assert summary["published"][0]["latency_ns"] == 80
    assert [row["point"] for row in summary["points"]] == ["post8", "aware4"]
    table = list(csv.DictReader((tmp_path / "summary.csv").read_text().splitlines()))
    assert [row["lut"] for row in table] == ["1000", "90"]


def test_the_loss_of_a_pair_is_known_better_than_the_area() -> None:
    rng = np.random.default_rng(1)
    label = np.arange(400) % 2
    score = rng.normal(size=400) + label
    table = {
        "dataset": np.where(label == 1, "s", "b"), "label": label, "weight": np.ones(400), "score_float": score,
        "score": score + 0.01 * rng.normal(size=400),
    }  # fmt: skip
    found = summarise_firmware.compare_scores(table, ["s"], 100, 1)["s"]
    assert abs(found["auc_loss"]) < 0.005
    assert found["auc_loss_std"] < 0.1 * found["auc_float_std"]


def test_gates_of_other_numbers_of_events_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gates saw 5, 6 events"):
        summarise(tmp_path, write_point(tmp_path / "post8", 1000, events=5))


def test_unknown_published_figures_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="trigger, jets"):
        summarise(tmp_path, write_point(tmp_path / "post8", 1000), published="nothing")


def test_front_of_the_points() -> None:
    rows = [{"lut": lut, "auc_fixed": auc} for lut, auc in ((100, 0.7), (50, 0.8), (200, 0.9), (200, 0.85), (300, 0.9))]
    assert [(row["lut"], row["auc_fixed"]) for row in plot_pareto.pareto_front(rows)] == [(50, 0.8), (200, 0.9)]


def test_figures_are_drawn(tmp_path: Path) -> None:
    summarise(tmp_path, write_point(tmp_path / "post8", 1000), write_point(tmp_path / "ebops100", 90))
    plot_pareto.main(["--summary", str(tmp_path / "summary.json"), "--output", str(tmp_path / "pareto.png")])
    options = ["--scores", str(tmp_path / "post8/scores.parquet"), "--label", "A"]
    plot_quantisation.main([*options, "--output", str(tmp_path / "quantisation.png")])
    for name in ("pareto", "quantisation"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
        assert (tmp_path / f"{name}.pdf").is_file()


def test_efficiency_at_a_share_of_the_background() -> None:
    signal, background = np.array([0.5, 1.5, 2.5, 3.5]), np.array([0.0, 1.0, 2.0, 3.0])
    weights = np.array([1.0, 1.0, 1.0, 1.0])
    found = plot_quantisation.efficiency_at(np.array([0.25, 0.5, 1.0]), signal, background, weights)
    # thresholds 3, 2 and 0
    np.testing.assert_allclose(found, [0.25, 0.5, 1.0])
