"""The cost model: bases and slopes of all rules, from the jobs of one run or several.

One run of one size cannot tell the start of a job from its work. What other runs, of two sizes, found of a rule tells
it: their base, and their slope where the jobs did little but start.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from lhcml.report.costs import QUANTITIES, Cost, Job, predict_job

# Jobs that read less (MB) tell little of a slope
SMALL = 1.0
# No job holds more than this multiple of what it reads: tables are compressed two to five times, and may be held as
# often in double precision
LARGEST_MEMORY = 20.0
# Rules that read their tables step by step: their memory does not grow (benchmarks/scaling.py)
STREAMING = ("skim_events", "merge_cutflow", "collect_dijets", "collect_objects", "build_matrices")
# Starts of the names of rules whose time is flat unless two sizes tell: figures, and what looks at a sample of jets
FLAT = ("plot_", "cost_", "export_")
# Rules whose first job in a run compiles what the others find compiled, so that one job tells nothing of its kind
COMPILING = ("build_features", "build_levels")
# Sizes must differ by this factor before their spread tells base and slope apart.
SPREAD = 1.5

Points = Mapping[str, Sequence[tuple[float, float]]]
Measured = tuple[Job, float, Cost]


def has_spread(points: Sequence[tuple[float, float]]) -> bool:
    """Return whether the sizes of jobs, given as (size, cost), tell what grows with them."""
    return min(size for size, _ in points) * SPREAD < max(size for size, _ in points)


def fit_base(points: Points, floor: float) -> float:
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
        groups = [group for group in groups if has_spread(group)]
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


def variant_slope(points: Sequence[tuple[float, float]], base: float, expected: float, largest: float) -> float:
    """Return the slope of the jobs of one variant.

    Jobs that do little but start, or read less than `SMALL`, tell nothing of a slope: they have the one expected, but
    no more than explains the whole of what they took.

    Parameters
    ----------
    points : sequence of (size, cost)
        Its measured jobs; sizes times the passes where the cost grows with them.
    base, expected : float
        Base of the rule, and the slope of such jobs in other runs or the mean of the rule.
    largest : float
        Size of the largest job, without passes.
    """
    total, read = sum(cost for _, cost in points), sum(size for size, _ in points)
    if read and total >= 2 * base * len(points) and largest >= SMALL:
        return fit_slope(points, base)
    return min(expected, total / read) if read else expected


def time_points(job: Job, points: Points) -> Points:
    """Return the jobs of the rule of one job by variant, as its processor time is fitted.

    Flat rules measured in one size have no size. Kinds of jobs one of which compiles share a slope, as variant "".
    """
    flat = job.rule.startswith(FLAT) and job.events is None
    if flat and not any(has_spread(group) for group in points.values()):
        return {variant: [(0.0, cost) for _, cost in group] for variant, group in points.items()}
    if job.rule in COMPILING:
        return {"": [point for group in points.values() for point in group]}
    return points


def rescale_times(known: Mapping[str, Any], measured: Sequence[Measured]) -> dict[str, Any]:
    """Return a cost model in times of the machine that jobs were measured on, by the median of their ratios."""
    pairs = [(cost.cpu_seconds, predict_job(job, size, known)) for job, size, cost in measured]
    ratios = [seconds / expected.cpu_seconds for seconds, expected in pairs if expected and expected.cpu_seconds]
    speed = median(ratios) if ratios else 1.0

    def scaled(values: Mapping[str, float]) -> dict[str, float]:
        return {**values, "cpu_seconds": values["cpu_seconds"] * speed}

    return {
        rule: entry
        | {
            "base": scaled(entry["base"]),
            "variants": {variant: scaled(slopes) for variant, slopes in entry["variants"].items()},
        }
        for rule, entry in known.items()
    }


def fit_rule(
    entries: Sequence[Measured], floors: Mapping[str, float], known: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the cost model of one rule.

    Parameters
    ----------
    entries : sequence of (Job, float, Cost)
        Its jobs.
    floors : mapping of str to float
        Base of each quantity if the jobs tell nothing of it.
    known : mapping, optional
        Cost model of the rule from other runs.
    """
    groups: dict[str, list[Measured]] = defaultdict(list)
    for entry in entries:
        groups[entry[0].variant].append(entry)
    base: dict[str, float] = {}
    slopes: dict[str, dict[str, float]] = defaultdict(dict)
    for name, with_passes in QUANTITIES.items():
        points: Points = {
            variant: [(size * (job.passes if with_passes else 1), getattr(cost, name)) for job, size, cost in members]
            for variant, members in groups.items()
        }
        if name == "cpu_seconds":
            points = time_points(entries[0][0], points)
        base[name] = fit_base(points, known["base"][name] if known else floors.get(name, 0.0))
        if entries[0][0].rule in STREAMING and name == "memory_mb":
            # of small jobs less than of larger ones, until what is held at once is full
            base[name] = max([cost.memory_mb for *_, cost in entries] + ([known["base"][name]] if known else []))
        read = {variant: sum(size for size, _ in members) for variant, members in points.items()}
        found = {variant: fit_slope(members, base[name]) for variant, members in points.items()}
        mean = sum(found[variant] * read[variant] for variant in found) / (sum(read.values()) or 1.0)
        limit = LARGEST_MEMORY if name == "memory_mb" else math.inf
        slopes[""][name] = known["variants"][""][name] if known else min(max(mean, 0.0), limit)
        for variant, group in groups.items():
            members = points[variant if variant in points else ""]
            largest = max(size for _, size, _ in group)
            expected = known["variants"].get(variant, known["variants"][""])[name] if known else mean
            slopes[variant][name] = min(max(variant_slope(members, base[name], expected, largest), 0.0), limit)
    for variant, group in (groups | {"": list(entries)}).items():
        slopes[variant]["other_mb"] = sum(cost.other_mb for _, _, cost in group) / len(group)
    largest = max(size for _, size, _ in entries)
    return {
        "stage": entries[0][0].stage,
        "jobs": len(entries),
        "largest_size": max(largest, known["largest_size"]) if known else largest,
        "base": base,
        "variants": (known["variants"] if known else {}) | dict(slopes),
    }


def fit_costs(measured: Iterable[Measured], known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the cost model of all rules.

    Parameters
    ----------
    measured : iterable of (Job, float, Cost)
        Jobs with their size and what they took.
    known : mapping, optional
        Cost model from other runs, perhaps of another machine; its rules are in the result, measured here or not.

    Returns
    -------
    dict
        By rule: `stage`, `jobs`, `largest_size` (measured), `base` of each quantity, and `variants` with the slope of
        each quantity and the MB of other files; variant "" stands for all.
    """
    rules: dict[str, list[Measured]] = defaultdict(list)
    starts: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    measured = list(measured)
    for job, size, cost in measured:
        rules[job.rule].append((job, size, cost))
        for name in ("cpu_seconds", "memory_mb"):
            starts[job.environment][name].append(getattr(cost, name))
    known = rescale_times(known or {}, measured)
    model = dict(known)
    for rule, entries in sorted(rules.items()):
        floors = {name: median(values) for name, values in starts[entries[0][0].environment].items()}
        model[rule] = fit_rule(entries, floors, known.get(rule))
    return model
