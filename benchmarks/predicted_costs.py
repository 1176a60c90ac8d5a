"""Compare what `make plan` predicts from one run with what another run took.

  .venv/bin/python benchmarks/predicted_costs.py --costs workflow/costs.json --known ../quick config/quick.yaml \
      --predicted ../large config/quick.yaml large.yaml [--worst 10]

A run is its folder and its overlays; that of a large run may multiply all `events:` of the quick one by ten. The costs
measured in the known run, or in several (`--known` again), predict the jobs of the other; with `--costs` they correct
a cost model of other runs, as `make plan` does. Printed are processor time and output of each stage, of the jobs whose
rules are known, and the rules whose total is off most.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from list_jobs import list_jobs  # noqa: E402
from measure_costs import measure_costs  # noqa: E402

from lhcml.common.configuration import STAGES  # noqa: E402
from lhcml.common.files import read_json  # noqa: E402
from lhcml.report.cost_model import fit_costs  # noqa: E402
from lhcml.report.costs import Cost, Job, file_sizes, predict_costs  # noqa: E402

Pair = tuple[Job, Cost, Cost]
Run = tuple[Path, list[Path]]


def compare(costs: Path | None, known: list[Run], other: Run) -> tuple[list[Pair], int]:
    """Return the jobs of the other run with predicted and measured cost, and how many jobs it has in all."""
    entries = [entry for folder, overlays in known for entry in measure_costs(list_jobs(overlays, folder), folder)]
    model = fit_costs(entries, read_json(costs)["rules"] if costs else None)
    jobs = list_jobs(other[1], other[0])
    measured = {job.benchmark: cost for job, _, cost in measure_costs(jobs, other[0])}
    given = {path for job in jobs for path in job.inputs} - {path for job in jobs for path in job.outputs}
    present = {path: file_sizes(other[0] / path)[0] for path in given}
    pairs = [
        (job, cost, measured[job.benchmark])
        for job, _, cost in predict_costs(jobs, model, present)
        if cost and job.benchmark in measured
    ]
    return pairs, len(jobs)


def totals(pairs: list[Pair]) -> tuple[float, float, float, float]:
    """Return processor time (s) and output (MB) of jobs, each predicted and measured."""
    return (
        sum(predicted.cpu_seconds for _, predicted, _ in pairs),
        sum(measured.cpu_seconds for *_, measured in pairs),
        sum(predicted.table_mb + predicted.other_mb for _, predicted, _ in pairs),
        sum(measured.table_mb + measured.other_mb for *_, measured in pairs),
    )


def row(name: str, pairs: list[Pair]) -> str:
    """Return a row of the table."""
    cpu, cpu_found, disk, disk_found = totals(pairs)
    ratios = [f"{a / b:.2f}" if b else "-" for a, b in ((cpu, cpu_found), (disk, disk_found))]
    return (
        f"| {name} | {len(pairs)} | {cpu:.0f} | {cpu_found:.0f} | {ratios[0]} | "
        f"{disk:.1f} | {disk_found:.1f} | {ratios[1]} |"
    )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--costs", type=Path, help="cost model of other runs")
    parser.add_argument("--known", nargs="+", action="append", type=Path, default=[], help="folder, overlays")
    parser.add_argument("--predicted", nargs="+", type=Path, required=True, help="folder, overlays")
    parser.add_argument("--worst", type=int, default=10, help="how many rules are listed")
    args = parser.parse_args()
    known = [(run[0], run[1:]) for run in args.known]
    pairs, number = compare(args.costs, known, (args.predicted[0], args.predicted[1:]))
    print(f"{len(pairs)} of {number} jobs of known rules\n")
    print("| stage | jobs | CPU s predicted | measured | ratio | MB predicted | measured | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for stage in STAGES:
        if found := [pair for pair in pairs if pair[0].stage == stage]:
            print(row(stage, found))
    print(row("all", pairs))
    rules = defaultdict(list)
    for pair in pairs:
        rules[pair[0].rule].append(pair)
    print()
    differences = {rule: totals(found)[0] - totals(found)[1] for rule, found in rules.items()}
    for rule in sorted(rules, key=lambda rule: -abs(differences[rule]))[: args.worst]:
        print(row(rule, rules[rule]))


if __name__ == "__main__":
    main()
