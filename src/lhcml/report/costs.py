"""What jobs cost: read from one run, predicted for another.

The cost of a job is a base plus a slope times its size. The size is what the job reads: MB of tables of events (ROOT,
Parquet, HDF5, NumPy), or the number of events or pseudo-experiments that it makes. Time also grows with the passes that
the job is told to make over what it reads (epochs, boosting rounds). The sizes of files that do not exist yet are
predicted in the same way, from file to file through the graph of jobs. `lhcml.report.cost_model` fits bases and slopes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

# Files that grow with the number of events; models, figures and JSON results do not.
TABLES = (".root", ".parquet", ".h5", ".hdf5", ".npz")
# What is a base and a slope times the size, and whether it grows with the passes too
QUANTITIES = {"cpu_seconds": True, "memory_mb": False, "table_mb": False}
# Snakemake samples a job every half second, then every 30 seconds; what comes after the last sample it does not see.
DENSE_SAMPLES, DENSE_STEP, STEP = 15.5, 0.5, 30.0
# Last line of the log of each module of this package
COST_LINE = re.compile(r" cost: ([\d.]+) s of processor time, ([\d.]+) MB$", flags=re.MULTILINE)


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
        As `lhcml.report.cost_model.fit_costs` returns.
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
