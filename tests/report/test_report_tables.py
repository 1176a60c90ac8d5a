from __future__ import annotations

import json
from pathlib import Path

import pytest

from lhcml.common.errors import UserError
from lhcml.report import tabulate_benchmarks
from lhcml.report.tabulate_benchmarks import read_benchmark, suggest_profile, summarise_benchmarks

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def test_na_counts_as_zero_and_repetitions_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    path.write_text(
        HEADER + "10.5\t0:00:10\t812.3\t0\t0\t0\t0\t0\t50\t9.5\n0.1\t0:00:00\tNA\tNA\tNA\tNA\tNA\tNA\tNA\tNA\n"
    )
    assert read_benchmark(path) == [(10.5, 812.3, 9.5), (0.1, 0.0, 0.0)]


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text("a\tb\n1\t2\n")
    with pytest.raises(UserError, match="not a Snakemake benchmark"):
        read_benchmark(tmp_path / "x.tsv")


def test_rows_by_hand() -> None:
    jobs = [
        ("skim", "skim_events", 10.0, 400.0, 9.0),
        ("skim", "skim_events", 30.0, 500.0, 28.0),
        ("samples", "g", 400.0, 100.0, 1.0),
    ]
    rows = summarise_benchmarks(jobs)
    assert [row["rule"] for row in rows] == ["g", "skim_events"]
    assert rows[1]["jobs"] == 2
    assert rows[1]["seconds_total"] == 40.0
    # 500 MB x 1.5 = 750 MB exactly; 30 s x 3 = 90 s -> 5 min; 400 s x 3 = 20 min
    assert (rows[1]["suggested_mem_mb"], rows[1]["suggested_runtime"]) == (750, 5)
    assert rows[0]["suggested_runtime"] == 20
    assert "  skim_events: {mem_mb: 750, runtime: 5}" in suggest_profile(rows)


def test_command_line(tmp_path: Path) -> None:
    folder = tmp_path / "bench/skim/skim_events"
    folder.mkdir(parents=True)
    (folder / "a.tsv").write_text(HEADER + "2\t0:00:02\t100\t0\t0\t0\t0\t0\t50\t1\n")
    out = [tmp_path / name for name in ("t.csv", "t.json", "p.yaml")]
    tabulate_benchmarks.main(
        ["--folder", str(tmp_path / "bench"), "--csv", str(out[0]), "--json", str(out[1]), "--profile", str(out[2])]
    )
    assert json.loads(out[1].read_text())[0]["memory_mb_max"] == 100
    assert out[0].read_text().startswith("stage,rule,jobs")
    with pytest.raises(UserError, match="no benchmark files"):
        tabulate_benchmarks.main(
            ["--folder", str(tmp_path / "no"), "--csv", str(out[0]), "--json", str(out[1]), "--profile", str(out[2])]
        )
