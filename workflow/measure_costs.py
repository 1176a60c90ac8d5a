#!/usr/bin/env python3
"""Write the cost model of all rules, measured in one run or several: `workflow/costs.json`, which `make plan` reads.

  python workflow/measure_costs.py --run . --run ../small small.yaml --output workflow/costs.json

A run is its folder, and the overlays of its configuration. Runs of different size tell apart what of a cost grows with
the events.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from list_jobs import list_jobs

from lhcml.common.cli import make_parser, run_main
from lhcml.common.errors import UserError
from lhcml.common.files import write_json
from lhcml.report.cost_model import fit_costs
from lhcml.report.costs import Cost, Job, file_sizes, job_size, logged_cost, processor_time
from lhcml.report.tabulate_benchmarks import read_benchmark


def measure_costs(jobs: Sequence[Job], folder: Path, until: float = math.inf) -> list[tuple[Job, float, Cost]]:
    """Return the jobs that have a benchmark and results in a folder, with their size and what they took.

    Benchmarks written after `until` (s, as of files) are left out.
    """
    sizes: dict[str, tuple[float, float]] = {}

    def size_of(path: str) -> tuple[float, float]:
        if path not in sizes:
            sizes[path] = file_sizes(folder / path)
        return sizes[path]

    measured = []
    for job in jobs:
        path = folder / job.benchmark
        if path.is_file() and path.stat().st_mtime <= until and all((folder / name).exists() for name in job.outputs):
            seconds, memory, cpu = read_benchmark(path)[0]
            log = folder / job.log
            exact = (
                logged_cost(log.read_text(encoding="utf-8", errors="replace")) if job.log and log.is_file() else None
            )
            outputs = [size_of(name) for name in job.outputs]
            tables, others = (sum(column) for column in zip(*outputs, strict=True))
            cpu, memory = exact or (processor_time(seconds, cpu, job.threads), memory)
            cost = Cost(cpu, memory, tables, others)
            measured.append((job, job_size(job, {name: size_of(name)[0] for name in job.inputs}), cost))
    return measured


def rounded(value: Any) -> Any:
    """Return nested numbers to four digits, which are more than the measurement is good for."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def machine() -> str:
    """Return what the costs were measured on."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.is_file() else ""
    names = [line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return f"{os.cpu_count()} cores, {names[0] if names else platform.machine()}, {platform.system()}"


def main(argv: Sequence[str] | None = None) -> None:
    """Measure runs and write their cost model."""
    parser = make_parser(__doc__)
    parser.add_argument("--run", nargs="+", action="append", required=True, metavar="PATH", help="folder, overlays")
    parser.add_argument("--output", type=Path, required=True, help="cost model to write (JSON)")
    args = parser.parse_args(argv)
    measured = []
    for folder, *overlays in args.run:
        jobs = list_jobs([Path(path) for path in overlays], Path(folder))
        found = measure_costs(jobs, Path(folder))
        if not found:
            raise UserError(f"no job of this configuration is in {folder}/results", "name the overlays of the run")
        print(f"{folder}: {len(found)} of {len(jobs)} jobs")
        measured += found
    write_json(args.output, {"machine": machine(), "rules": rounded(fit_costs(measured))})


if __name__ == "__main__":
    run_main(main)
