"""Where in a grid of signals the upper limit is below the theory: ranges of one parameter, contours in a plane."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from lhcml.inference.likelihood import Array

Segment: TypeAlias = list[list[float]]


def interpolate_theory(points: Sequence[Sequence[float]], value: float) -> float | None:
    """Return the theory at a value, exponential between its points; None beyond them.

    Parameters
    ----------
    points : sequence of (value, theory)
        Theory above zero, in any order.
    """
    ordered = np.asarray(sorted(map(tuple, points)), float)
    if not ordered[0, 0] <= value <= ordered[-1, 0]:
        return None
    return float(np.exp(np.interp(value, ordered[:, 0], np.log(ordered[:, 1]))))


def excluded_ranges(values: Sequence[float], logs: Sequence[float | None]) -> list[list[float]]:
    """Return the ranges in which limits are below the theory, ln(limit / theory) being linear between points.

    A range ends at the last point where nothing is known of the next one; it is not continued beyond the points.

    Parameters
    ----------
    values : sequence of float
        Ascending.
    logs : sequence of float or None
        ln(limit / theory) at these values; None without a limit.
    """
    ranges: list[list[float]] = []
    for (left, low), (right, high) in pairwise(zip(values, logs, strict=True)):
        if low is not None and low < 0:
            _extend(ranges, left, left)
        if low is None or high is None or (low >= 0 and high >= 0):
            continue
        cross = left + (right - left) * low / (low - high) if low * high < 0 else None
        start = left if low < 0 else cross if cross is not None else right
        stop = right if high < 0 else cross if cross is not None else left
        _extend(ranges, start, stop)
    if logs and logs[-1] is not None and logs[-1] < 0:
        _extend(ranges, values[-1], values[-1])
    return ranges


def _extend(ranges: list[list[float]], start: float, stop: float) -> None:
    """Append a range, or lengthen the last one that it touches."""
    if ranges and start <= ranges[-1][1]:
        ranges[-1][1] = max(stop, ranges[-1][1])
    else:
        ranges.append([float(start), float(stop)])


def contour(points: Array, logs: Array) -> list[Segment]:
    """Return the line in a plane on which limit and theory are equal, as segments [[x, y], [x, y]].

    ln(limit / theory) is linear in each triangle of the Delaunay triangulation of the points.

    Parameters
    ----------
    points : array of shape (N, 2)
    logs : array of shape (N,)
        ln(limit / theory).

    Returns
    -------
    list
        Empty without a crossing, or if the points do not span a plane.
    """
    from scipy.spatial import Delaunay, QhullError

    span = np.ptp(points, axis=0) if len(points) else np.zeros(2)
    if len(points) < 3 or (span == 0).any():
        return []
    try:
        triangles = Delaunay((points - points.min(axis=0)) / span).simplices
    except QhullError:
        return []  # all on one line
    segments = []
    for corners in triangles:
        ends = []
        for first, second in ((0, 1), (1, 2), (2, 0)):
            a, b = corners[first], corners[second]
            if (logs[a] < 0) != (logs[b] < 0):
                share = logs[a] / (logs[a] - logs[b])
                ends.append((points[a] + share * (points[b] - points[a])).tolist())
        if len(ends) == 2 and ends[0] != ends[1]:
            segments.append(ends)
    return segments
