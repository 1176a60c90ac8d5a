#!/usr/bin/env python3
"""Predict what a configuration costs before it runs: jobs, time, disk and memory of each stage.

The jobs are those of Snakemake's dry run. What they cost follows from `workflow/costs.json`, measured in the default
run, and from what your last run in this folder took. `make plan` calls it; docs/costs.md tells how far to trust it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from list_jobs import ROOT, list_jobs
from measure_costs import measure_costs

from lhcml.common.cli import make_parser, run_main
from lhcml.common.configuration import STAGES
from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_json
from lhcml.report.cost_model import fit_costs
from lhcml.report.costs import Cost, Job, dependencies, file_sizes, predict_costs
from lhcml.report.schedule import elapsed_time

SHIPPED = ROOT / "workflow/costs.json"
# Configuration of the last run, as it is kept with its report
LAST_RUN = Path("results/report/config.json")
# Seconds that Snakemake takes for a job beside the job itself.
JOB_DELAY = 0.5
Predicted = Sequence[tuple[Job, float, Cost | None]]


def best_model() -> dict[str, Any]:
    """Return the shipped costs, corrected by those of the last run in this folder.

    The configuration of that run is known from its report; what was run after it may have had another.
    """
    model: dict[str, Any] = read_json(SHIPPED)["rules"] if SHIPPED.is_file() else {}
    if LAST_RUN.is_file():
        return fit_costs(measure_costs(list_jobs([LAST_RUN]), Path(), LAST_RUN.stat().st_mtime), model)
    return model


def stage_rows(predicted: Predicted) -> list[dict[str, Any]]:
    """Return jobs, hours, GB and the largest memory of each stage, in the order of the stages."""
    groups: dict[str, list[tuple[Job, Cost]]] = defaultdict(list)
    for job, _, cost in predicted:
        if cost:
            groups[job.stage].append((job, cost))
    rows = []
    for stage in STAGES:
        if stage in groups:
            largest, rule = max((cost.memory_mb, job.rule) for job, cost in groups[stage])
            costs = [cost for *_, cost in groups[stage]]
            rows.append(
                {
                    "stage": stage,
                    "jobs": len(costs),
                    "cpu_hours": sum(cost.cpu_seconds for cost in costs) / 3600,
                    "disk_gb": sum(cost.table_mb + cost.other_mb for cost in costs) / 1e3,
                    "largest_memory_mb": largest,
                    "largest_memory_rule": rule,
                }
            )
    return rows


def rule_rows(predicted: Predicted, model: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the same of each rule, dearest first, with how far its largest job lies beyond what was measured."""
    groups: dict[str, list[tuple[Job, float, Cost]]] = defaultdict(list)
    for job, size, cost in predicted:
        if cost:
            groups[job.rule].append((job, size, cost))
    rows = [
        {
            "rule": rule,
            "stage": model[rule]["stage"],
            "jobs": len(group),
            "cpu_hours": sum(cost.cpu_seconds for *_, cost in group) / 3600,
            "longest_job_hours": max(cost.cpu_seconds / job.threads for job, _, cost in group) / 3600,
            "disk_gb": sum(cost.table_mb + cost.other_mb for *_, cost in group) / 1e3,
            "largest_memory_mb": max(cost.memory_mb for *_, cost in group),
            "beyond_measured": max(size for _, size, _ in group) / largest
            if (largest := model[rule]["largest_size"])
            else 1,
        }
        for rule, group in groups.items()
    ]
    return sorted(rows, key=lambda row: -row["cpu_hours"])


def wall_hours(predicted: Predicted, cores: int, delay: float) -> float:
    """Return the hours of all jobs on a number of cores; each waits a delay (s), then uses its threads in full."""
    jobs = [job for job, _, _ in predicted]
    seconds = [delay + (cost.cpu_seconds / job.threads if cost else 0.0) for job, _, cost in predicted]
    return elapsed_time(seconds, [job.threads for job in jobs], dependencies(jobs), cores) / 3600


def make_plan(jobs: Sequence[Job], model: Mapping[str, Any], cores: int, slots: int, delay: float) -> dict[str, Any]:
    """Return the predicted costs of a configuration: by stage, by rule, in all, and what could not be predicted."""
    made = {path for job in jobs for path in job.outputs}
    given = {path for job in jobs for path in job.inputs} - made
    predicted = predict_costs(jobs, model, {path: file_sizes(path)[0] for path in given})
    stages = stage_rows(predicted)
    unknown: dict[str, int] = defaultdict(int)
    guessed: dict[str, set[str]] = defaultdict(set)
    for job, _, cost in predicted:
        if cost is None:
            unknown[job.rule] += 1
        elif job.variant not in model[job.rule]["variants"]:
            guessed[job.rule].add(job.variant)
    return {
        "stages": stages,
        "rules": rule_rows(predicted, model),
        "total": {
            "jobs": len(jobs),
            "cpu_hours": sum(row["cpu_hours"] for row in stages),
            "disk_gb": sum(row["disk_gb"] for row in stages),
            "largest_memory_mb": max((row["largest_memory_mb"] for row in stages), default=0.0),
            "wall_hours": {str(number): wall_hours(predicted, number, delay) for number in (cores, slots)},
        },
        "not_measured": dict(unknown),
        "variants_guessed": {rule: sorted(names) for rule, names in guessed.items()},
    }


def plan_text(plan: Mapping[str, Any], cores: int, slots: int) -> str:
    """Return the plan as a table for the terminal."""
    lines = [f"{'stage':10s}{'jobs':>8s}{'CPU hours':>12s}{'disk [GB]':>12s}{'largest memory [GB]':>22s}"]
    for row in plan["stages"]:
        lines.append(
            f"{row['stage']:10s}{row['jobs']:8d}{row['cpu_hours']:12.2f}{row['disk_gb']:12.2f}"
            f"{row['largest_memory_mb'] / 1e3:12.1f}  {row['largest_memory_rule']}"
        )
    total = plan["total"]
    lines.append(f"{'all':10s}{total['jobs']:8d}{total['cpu_hours']:12.2f}{total['disk_gb']:12.2f}")
    walls = total["wall_hours"]
    lines.append(f"\n{walls[str(cores)]:.2f} hours on {cores} cores, {walls[str(slots)]:.2f} hours on {slots} slots")
    lines.append("(a batch system's waiting time is not in it)\n\ndearest rules:")
    for row in plan["rules"][:8]:
        beyond = (
            f"; largest job {row['beyond_measured']:.0f} x what was measured" if row["beyond_measured"] > 20 else ""
        )
        lines.append(
            f"  {row['rule']:24s}{row['jobs']:6d} jobs{row['cpu_hours']:10.2f} CPU hours, "
            f"longest {row['longest_job_hours']:.2f} h{beyond}"
        )
    for row in sorted(plan["rules"], key=lambda row: -row["largest_memory_mb"])[:5]:
        if row["largest_memory_mb"] > 4000:
            lines.append(f"  {row['rule']:24s} needs {row['largest_memory_mb'] / 1e3:.0f} GB of memory")
    if plan["not_measured"]:
        counted = ", ".join(f"{rule} ({count})" for rule, count in sorted(plan["not_measured"].items()))
        lines.append(f"not in the sums, as never measured (jobs): {counted}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the plan of a configuration and write it as JSON."""
    parser = make_parser(__doc__)
    parser.add_argument("--configfile", nargs="*", type=Path, default=[], help="overlays, as for Snakemake")
    parser.add_argument("--cores", type=int, default=2, help="cores of one machine")
    parser.add_argument("--slots", type=int, default=500, help="cores of a batch system")
    parser.add_argument("--json", type=Path, default=Path("results/plan.json"), help="plan to write")
    args = parser.parse_args(argv)
    jobs = list_jobs(args.configfile)
    model = best_model()
    if not model:
        raise UserError("no measured costs", f"run the workflow first, or restore {SHIPPED}")
    plan = make_plan(jobs, model, args.cores, args.slots, JOB_DELAY)
    write_json(args.json, plan)
    print(plan_text(plan, args.cores, args.slots))


if __name__ == "__main__":
    run_main(main)
