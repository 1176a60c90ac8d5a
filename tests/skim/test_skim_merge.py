"""Sums over the files of a channel, and what the cutflow figure shows."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from lhcml.common.errors import UserError
from lhcml.skim.merge_cutflow import main, merge_dataset
from lhcml.skim.plot_cutflow import efficiencies, yield_ratios
from lhcml.skim.plot_cutflow import main as plot


def summary(scale: float = 1.0, **changes: Any) -> dict[str, Any]:
    """A file of 1000 generated events of weight 2 x scale, of which 100 pass."""
    weight = 2.0 * scale

    def rows(passed: int) -> list[dict[str, Any]]:
        return [
            {"cut": cut, "raw": count, "weighted": count * weight, "weighted_squared": count * weight**2}
            for cut, count in (("all events", 800), ("jets", 400), ("leading jet", passed))
        ]

    base: dict[str, Any] = {
        "source": "file.root", "data": False, "events": 800, "kept": 120, "normalisation_from": "Runs", "count": 1000,
        "sum_genWeight": 1000 * weight, "sum_weight": {"nominal": 1000 * weight, "isrUp": 1100 * weight},
        "cross_section_pb": 10.0, "cross_section_from": "Runs", "candidate_links_dropped": 1, "notes": ["a note"],
        "skipped": [], "cutflow": {"nominal": rows(100), "jesUp": rows(110), "isrUp": rows(121)},
    }  # fmt: skip
    return base | changes


SKIPPED = summary(
    count=0, events=0, kept=0, sum_genWeight=0.0, sum_weight={}, cross_section_pb=None, cutflow={},
    normalisation_from=None, notes=[], source="bad.root", skipped=[{"file": "bad.root", "cause": "truncated"}],
)  # fmt: skip


def test_sums_and_factor() -> None:
    merged = merge_dataset([summary(), summary(3.0)], "top")
    assert merged["sum_genWeight"] == 1000 * 2 + 1000 * 6
    assert merged["weight_to_pb"] == pytest.approx(10.0 / 8000)
    assert merged["cutflow"]["nominal"][-1] == {
        "cut": "leading jet", "raw": 200, "weighted": 800.0, "weighted_squared": 100 * 4 + 100 * 36
    }  # fmt: skip
    assert merged["files"] == 2


def test_skipped_file_leaves_the_normalised_yield() -> None:
    """A lost file changes statistics, not the expected yield."""
    both, one = merge_dataset([summary(), summary()], "top"), merge_dataset([summary(), SKIPPED], "top")
    yields = [block["cutflow"]["nominal"][-1]["weighted"] * block["weight_to_pb"] for block in (both, one)]
    assert yields[0] == pytest.approx(yields[1])
    assert one["skipped_files"] == ["bad.root"]
    assert one["skipped"][0]["cause"] == "truncated"
    assert one["files"] == 1


def test_all_files_skipped() -> None:
    merged = merge_dataset([SKIPPED], "top")
    assert merged["weight_to_pb"] is None
    assert merged["cutflow"]["nominal"][0]["raw"] == 0


def test_cross_section_is_averaged_over_generated_events() -> None:
    merged = merge_dataset([summary(), summary(count=3000, cross_section_pb=14.0)], "top")
    assert merged["cross_section_pb"] == pytest.approx(13.0)


def test_collision_data_has_no_normalisation() -> None:
    data = summary(data=True, sum_weight={}, sum_genWeight=None, cross_section_pb=None, normalisation_from=None)
    merged = merge_dataset([data, data], "data")
    assert merged["sum_genWeight"] is None
    assert merged["weight_to_pb"] is None


def test_files_that_do_not_fit_together() -> None:
    lacking = summary()
    lacking["cutflow"] = {"nominal": lacking["cutflow"]["nominal"], "jesUp": lacking["cutflow"]["jesUp"]}
    with pytest.raises(UserError, match="isrUp"):
        merge_dataset([summary(), lacking], "top")
    with pytest.raises(UserError, match=r"other\.root has no cross section"):
        merge_dataset([summary(), summary(cross_section_pb=None, source="other.root")], "top")


def test_figure_numbers() -> None:
    merged = merge_dataset([summary()], "top")
    fractions, errors = efficiencies(merged["cutflow"]["nominal"])
    assert fractions == pytest.approx([1, 0.5, 0.125])
    # equal weights: binomial
    assert errors == pytest.approx([0, (0.25 / 800) ** 0.5, (0.125 * 0.875 / 800) ** 0.5])
    # 110/100; 121/100 with 1.1 times the sum of weights
    assert yield_ratios(merged) == pytest.approx({"jesUp": 1.1, "isrUp": 1.1})


@pytest.mark.parametrize("kind", ["simulation", "data", "nothing"])
def test_commands(tmp_path: Path, kind: str) -> None:
    blocks = {
        "simulation": [summary(), SKIPPED],
        "data": [summary(data=True, cutflow={"nominal": summary()["cutflow"]["nominal"]})] * 2,
        "nothing": [SKIPPED, SKIPPED],
    }
    for number, block in enumerate(blocks[kind]):
        path = tmp_path / f"top/{number}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(block))
    outputs = ["--output", str(tmp_path / "cutflow.json"), "--table", str(tmp_path / "cutflow.csv")]
    outputs += ["--files", str(tmp_path / "files.csv")]
    main(["--skims", str(tmp_path), "--chunks", '{"top": 2}', *outputs])
    rows = list(csv.DictReader((tmp_path / "cutflow.csv").read_text().splitlines()))
    if kind == "simulation":
        assert [row["raw"] for row in rows if row["shift"] == "jesUp"] == ["800", "400", "110"]
        assert float(rows[2]["efficiency"]) == 0.125
        assert float(rows[2]["weighted_error"]) == 20.0
        files = list(csv.DictReader((tmp_path / "files.csv").read_text().splitlines()))
        # what needs a look comes first
        assert [(row["status"], row["file"], row["events"], row["cause"]) for row in files] == [
            ("skipped", "bad.root", "0", "truncated"),
            ("read", "file.root", "800", ""),
        ]
        assert files[0]["skim"] == str(tmp_path / "top/1.root")
    plot(["--cutflow", str(tmp_path / "cutflow.json"), "--label", "13 TeV", "--output", str(tmp_path / "cutflow.png")])
    assert (tmp_path / "cutflow.png").stat().st_size > 5000
    assert (tmp_path / "cutflow.pdf").read_bytes().startswith(b"%PDF")
