"""What jobs cost: measured in one run, predicted for another.

The cost of a job is a base plus a slope times its size. The size is what the job reads: MB of tables of events (ROOT,
Parquet, HDF5, NumPy), or the number of events or pseudo-experiments that it makes. Time also grows with the passes that
the job is told to make over what it reads (epochs, boosting rounds). The sizes of files that do not exist yet are
predicted in the same way, from file to file through the graph of jobs.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median
from typing import Any

# Files that grow with the number of events; models, figures and JSON results do not.
TABLES = (".root", ".parquet", ".h5", ".hdf5", ".npz")
# What is fitted with a line, and whether it grows with the passes too
QUANTITIES = {"cpu_seconds": True, "memory_mb": False, "table_mb": False}
# Snakemake samples a job every half second, then every 30 seconds; what comes after the last sample it does not see.
DENSE_SAMPLES, DENSE_STEP, STEP = 15.5, 0.5, 30.0
# Last line of the log of each module of this package
COST_LINE = re.compile(r" cost: ([\d.]+) s of processor time, ([\d.]+) MB$", flags=re.MULTILINE)
# Jobs that read less (MB) tell little of a slope
SMALL = 1.0
# No job holds more than this multiple of what it reads: tables are compressed two to five times, and may be held as
# often in double precision
LARGEST_MEMORY = 20.0
# Rules that read their tables step by step: their memory does not grow (benchmarks/scaling.py)
STREAMING = ("skim_events", "merge_cutflow", "collect_dijets", "collect_objects", "build_matrices")
# Sizes must differ by this factor before their spread tells base and slope apart.
SPREAD = 1.5


@dataclass(frozen=True)
class Job:
    """A job of the workflow, as far as its cost goes.

    Parameters
    ----------
    rule, stage : str
        Its rule, and the stage of the rule.
    variant : str
        What tells jobs of one rule apart whose cost per size differs: the wildcards but those that only number jobs.
    environment : str
        Its environment file; "" without one.
    threads : int
        Cores that it uses.
    inputs, outputs : tuple of str
        Files without source code.
    events : float, optional
        Events or pseudo-experiments that it makes; None for a job that reads them.
    passes : float
        How often it goes through what it reads.
    benchmark, log : str
        Where its cost is measured; "" if it is not.
    """

    rule: str
    stage: str
    variant: str
    environment: str
    threads: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    events: float | None
    passes: float
    benchmark: str
    log: str


@dataclass(frozen=True)
class Cost:
    """What one job takes: processor time (s), memory (MB), output in tables and in other files (MB).

    Processor time, as the time on the clock of a benchmark is longer where others use the machine.
    """

    cpu_seconds: float
    memory_mb: float
    table_mb: float
    other_mb: float


def processor_time(seconds: float, sampled: float, threads: int) -> float:
    """Return the processor time of a job from its time on the clock and what its benchmark saw.

    It sees the job up to its last sample. The rest is taken to have used the processor as much as the part before.
    """
    if seconds < DENSE_SAMPLES:
        last = DENSE_STEP * (seconds // DENSE_STEP)
    else:
        last = DENSE_SAMPLES + STEP * ((seconds - DENSE_SAMPLES) // STEP)
    # a job that ended before the first sample is taken to have been busy
    return min(sampled * seconds / last, seconds * threads) if last > 0 else seconds


def logged_cost(text: str) -> tuple[float, float] | None:
    """Return processor time (s) and largest memory (MB) from the log of a job; None if it tells nothing of them."""
    found = [(float(seconds), float(memory)) for seconds, memory in COST_LINE.findall(text)]
    return (sum(seconds for seconds, _ in found), max(memory for _, memory in found)) if found else None


def file_sizes(path: str | Path) -> tuple[float, float]:
    """Return the MB of tables and of other files in a file or folder; zeros if it does not exist."""
    path = Path(path)
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    sizes = [0.0, 0.0]
    for file in files:
        if file.is_file():
            sizes[file.suffix not in TABLES] += file.stat().st_size / 1e6
    return sizes[0], sizes[1]


def in_order(jobs: Sequence[Job]) -> list[Job]:
    """Return jobs such that each comes after those whose outputs it reads."""
    return [jobs[index] for index in TopologicalSorter(dependencies(jobs)).static_order()]


def dependencies(jobs: Sequence[Job]) -> dict[int, set[int]]:
    """Return the positions of the jobs that each job waits for."""
    makers = {path: index for index, job in enumerate(jobs) for path in job.outputs}
    return {
        index: {makers[path] for path in job.inputs if path in makers and makers[path] != index}
        for index, job in enumerate(jobs)
    }


def job_size(job: Job, table_mb: Mapping[str, float]) -> float:
    """Return the size of a job: the events that it makes, or the MB of tables that it reads."""
    return job.events if job.events is not None else sum(table_mb.get(path, 0.0) for path in job.inputs)


def fit_base(points: Mapping[str, Sequence[tuple[float, float]]], floor: float) -> float:
    """Return the part of a rule's cost that does not grow with the size.

    Least squares of `base + slope x size` with relative errors: one base for the rule, one slope for each variant. If
    the sizes of a variant do not differ, one slope for all; if those do not differ either, the floor is taken.

    Parameters
    ----------
    points : mapping of str to sequence of (size, cost)
        Measured jobs of each variant.
    floor : float
        Base of a rule that tells nothing of it, e.g. what half of the jobs in its environment take: most of them do
        little but start.

    Returns
    -------
    float
        Between 0 and the cheapest measured job.
    """
    everything = [point for group in points.values() for point in group]
    cheapest = min(cost for _, cost in everything)
    if max(size for size, _ in everything) == 0:
        return sum(cost for _, cost in everything) / len(everything)
    for one_variant, groups in ((True, list(points.values())), (False, [everything])):
        groups = [group for group in groups if min(x for x, _ in group) * SPREAD < max(x for x, _ in group)]
        top = bottom = 0.0
        for group in groups:
            weights = [1 / max(cost, 1e-6) ** 2 for _, cost in group]
            xx = sum(w * x * x for w, (x, _) in zip(weights, group, strict=True))
            x_mean = sum(w * x for w, (x, _) in zip(weights, group, strict=True)) / xx
            xy_mean = sum(w * x * y for w, (x, y) in zip(weights, group, strict=True)) / xx
            # what is left of the constant and of the costs when the slope is taken out
            top += sum(w * (1 - x * x_mean) * (y - x * xy_mean) for w, (x, y) in zip(weights, group, strict=True))
            bottom += sum(w * (1 - x * x_mean) ** 2 for w, (x, _) in zip(weights, group, strict=True))
        if bottom > 0:
            # between variants also other things differ than the size: no less than the floor
            return min(max(top / bottom, 0.0 if one_variant else floor), cheapest)
    return min(floor, cheapest)


def fit_slope(points: Sequence[tuple[float, float]], base: float) -> float:
    """Return the median slope of jobs above their base, each job counted by its size.

    The median, as one job in a run compiles what the others find in a cache.
    """
    half = sum(size for size, _ in points) / 2
    for slope, size in sorted(((cost - base) / size, size) for size, cost in points if size):
        half -= size
        if half <= 0:
            return slope
    return 0.0


def variant_slope(points: Sequence[tuple[float, float]], base: float, mean: float, largest: float) -> float:
    """Return the slope of the jobs of one variant.

    Jobs that do little but start, or read less than `SMALL`, tell nothing of a slope: they have that of their rule, but
    no more than explains the whole of what they took.

    Parameters
    ----------
    points : sequence of (size, cost)
        Its measured jobs; sizes times the passes where the cost grows with them.
    base, mean : float
        Base and mean slope of the rule.
    largest : float
        Size of the largest job, without passes.
    """
    total, read = sum(cost for _, cost in points), sum(size for size, _ in points)
    if read and total >= 2 * base * len(points) and largest >= SMALL:
        return fit_slope(points, base)
    return min(mean, total / read) if read else mean


def fit_costs(measured: Iterable[tuple[Job, float, Cost]]) -> dict[str, Any]:
    """Return the cost model of all rules.

    Parameters
    ----------
    measured : iterable of (Job, float, Cost)
        Jobs with their size and what they took.

    Returns
    -------
    dict
        By rule: `stage`, `jobs`, `largest_size` (measured), `base` of each quantity, and `variants` with the slope of
        each quantity and the MB of other files; variant "" stands for all.
    """
    rules: dict[str, list[tuple[Job, float, Cost]]] = defaultdict(list)
    for entry in measured:
        rules[entry[0].rule].append(entry)
    starts: dict[tuple[str, str], list[float]] = defaultdict(list)
    for entries in rules.values():
        for job, _, cost in entries:
            for name in ("cpu_seconds", "memory_mb"):
                starts[job.environment, name].append(getattr(cost, name))
    floors = {key: median(values) for key, values in starts.items()}
    model: dict[str, Any] = {}
    for rule, entries in sorted(rules.items()):
        groups: dict[str, list[tuple[Job, float, Cost]]] = defaultdict(list)
        for entry in entries:
            groups[entry[0].variant].append(entry)
        base = {}
        slopes: dict[str, dict[str, float]] = defaultdict(dict)
        for name, with_passes in QUANTITIES.items():
            points = {
                variant: [
                    (size * (job.passes if with_passes else 1), getattr(cost, name)) for job, size, cost in members
                ]
                for variant, members in groups.items()
            }
            base[name] = fit_base(points, floors.get((entries[0][0].environment, name), 0.0))
            if rule in STREAMING and name == "memory_mb":
                base[name] = max(cost.memory_mb for *_, cost in entries)
            read = {variant: sum(size for size, _ in members) for variant, members in points.items()}
            found = {variant: fit_slope(members, base[name]) for variant, members in points.items()}
            mean = sum(found[variant] * read[variant] for variant in found) / (sum(read.values()) or 1.0)
            limit = LARGEST_MEMORY if name == "memory_mb" else math.inf
            slopes[""][name] = min(max(mean, 0.0), limit)
            for variant, members in points.items():
                largest = max(size for _, size, _ in groups[variant])
                slopes[variant][name] = min(max(variant_slope(members, base[name], mean, largest), 0.0), limit)
        for variant, group in (groups | {"": entries}).items():
            slopes[variant]["other_mb"] = sum(cost.other_mb for _, _, cost in group) / len(group)
        model[rule] = {
            "stage": entries[0][0].stage,
            "jobs": len(entries),
            "largest_size": max(size for _, size, _ in entries),
            "base": base,
            "variants": dict(slopes),
        }
    return model


def predict_job(job: Job, size: float, model: Mapping[str, Any]) -> Cost | None:
    """Return the cost of a job of a given size; None if its rule was not measured.

    A variant that was not measured has the mean slope of its rule.
    """
    if job.rule not in model:
        return None
    entry = model[job.rule]
    slopes = entry["variants"].get(job.variant, entry["variants"][""])
    values = {
        name: entry["base"][name] + slopes[name] * size * (job.passes if with_passes else 1)
        for name, with_passes in QUANTITIES.items()
    }
    return Cost(**values, other_mb=slopes["other_mb"])


def predict_costs(
    jobs: Sequence[Job], model: Mapping[str, Any], present: Mapping[str, float]
) -> list[tuple[Job, float, Cost | None]]:
    """Return jobs in the order they can run, with their predicted size and cost.

    Parameters
    ----------
    jobs : sequence of Job
        All jobs of a configuration.
    model : mapping
        As `fit_costs` returns.
    present : mapping of str to float
        MB of the files that no job makes.
    """
    table_mb = dict(present)
    predicted = []
    for job in in_order(jobs):
        size = job_size(job, table_mb)
        cost = predict_job(job, size, model)
        predicted.append((job, size, cost))
        tables = [path for path in job.outputs if Path(path).suffix in TABLES] or job.outputs[:1]
        for path in tables:
            # the tables of a job are taken to share what it writes
            table_mb[path] = cost.table_mb / len(tables) if cost else 0.0
    return predicted
