"""Table the cost of each rule from Snakemake's benchmark files and suggest resources for the next run."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import write_json, write_text

# Head room of the suggestions over the dearest job seen; other samples and other machines differ.
MEMORY_MARGIN = 1.5
TIME_MARGIN = 3.0


def read_benchmark(path: Path) -> list[tuple[float, float, float]]:
    """Return wall time (s), largest resident memory (MB) and CPU time (s) of each repetition in a benchmark file.

    Snakemake writes "NA" or "-" for a job too short to be sampled; that counts as 0.

    Raises
    ------
    UserError
        If the file is no benchmark table.
    """

    def number(text: str) -> float:
        return 0.0 if text in ("NA", "-") else float(text)

    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    try:
        return [(number(row["s"]), number(row["max_rss"]), number(row["cpu_time"])) for row in rows]
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} is not a Snakemake benchmark file ({error})", "delete it and rerun its job") from error


def summarise_benchmarks(jobs: Iterable[tuple[str, str, float, float, float]]) -> list[dict[str, Any]]:
    """Return one row a rule from `(stage, rule, seconds, MB, CPU seconds)` of its jobs, dearest rule first.

    The suggestions are the dearest job's memory times 1.5, rounded up to 250 MB, and its time times 3, rounded up to
    5 minutes.
    """
    grouped: dict[tuple[str, str], list[tuple[float, float, float]]] = defaultdict(list)
    for stage, rule, *cost in jobs:
        grouped[stage, rule].append((cost[0], cost[1], cost[2]))
    rows = []
    for (stage, rule), costs in grouped.items():
        seconds, memory, cpu = (list(column) for column in zip(*costs, strict=True))
        rows.append(
            {
                "stage": stage,
                "rule": rule,
                "jobs": len(costs),
                "seconds_total": round(sum(seconds), 2),
                "seconds_max": round(max(seconds), 2),
                "cpu_seconds_total": round(sum(cpu), 2),
                "memory_mb_max": round(max(memory), 1),
                "suggested_mem_mb": max(250, 250 * math.ceil(max(memory) * MEMORY_MARGIN / 250)),
                "suggested_runtime": max(5, 5 * math.ceil(max(seconds) * TIME_MARGIN / 300)),
            }
        )
    return sorted(rows, key=lambda row: -row["seconds_total"])


def suggest_profile(rows: Sequence[dict[str, Any]]) -> str:
    """Return the suggestions as a `set-resources` block for a Snakemake profile."""
    lines = [
        "# Measured in the last run, with head room: memory x 1.5, time x 3. Paste into a profile.",
        "set-resources:",
    ]
    for row in sorted(rows, key=lambda row: (row["stage"], row["rule"])):
        lines.append(f"  {row['rule']}: {{mem_mb: {row['suggested_mem_mb']}, runtime: {row['suggested_runtime']}}}")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Read `<folder>/<stage>/<rule>/*.tsv` and write the table (CSV, JSON) and a profile fragment."""
    parser = make_parser(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="folder of the benchmark files")
    parser.add_argument("--csv", type=Path, required=True, help="table to write")
    parser.add_argument("--json", type=Path, required=True, help="the same as JSON")
    parser.add_argument("--profile", type=Path, required=True, help="profile fragment to write")
    args = parser.parse_args(argv)
    log = start_log()
    jobs = [
        (*path.relative_to(args.folder).parts[:2], *cost)
        for path in sorted(args.folder.glob("*/*/**/*.tsv"))
        for cost in read_benchmark(path)
    ]
    if not jobs:
        raise UserError(f"no benchmark files in {args.folder}", "run the workflow first")
    rows = summarise_benchmarks(jobs)
    log.info("%d jobs of %d rules", len(jobs), len(rows))
    lines = [",".join(rows[0])] + [",".join(str(value) for value in row.values()) for row in rows]
    write_text(args.csv, "\n".join(lines) + "\n")
    write_json(args.json, rows)
    write_text(args.profile, suggest_profile(rows))


if __name__ == "__main__":
    run_main(main)
