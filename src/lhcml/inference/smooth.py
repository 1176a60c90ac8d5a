"""Smoothing and symmetrisation of shape variations."""

from __future__ import annotations

import numpy as np

from lhcml.inference.likelihood import Array

# Shorter histograms have nothing that a running median of five could smooth
FEWEST_BINS = 3
# Values that differ by less, in units of the largest one, are equal: rounding must not tell flat places from others
RESOLUTION = 1e-9


def smooth_353qh_twice(values: Array) -> Array:
    """Return values smoothed by running medians: the algorithm "353QH, twice".

    Running medians of 3, 5 and 3 bins, parabolas through flat places of three (Q), running means with weights 1/4, 1/2,
    1/4 (H); then the same for what the smooth curve leaves over, added to it (twice). The algorithm is J. W. Tukey's,
    as described by J. H. Friedman, CERN School of Computing 1974 (CERN 74-23), and in ROOT's TH1::Smooth.

    Parameters
    ----------
    values : array of shape (B,)
        At least three; a shorter array is returned as it is.
    """
    values = np.asarray(values, float)
    if len(values) < FEWEST_BINS:
        return values.copy()
    tolerance = RESOLUTION * float(np.abs(values).max())
    rough = _smooth_once(values, tolerance)
    return rough + _smooth_once(values - rough, tolerance)


def _smooth_once(values: Array, tolerance: float) -> Array:
    """Return values after 353QH."""
    smooth = _end_points(_running_median(values, 3))
    if len(values) > FEWEST_BINS:
        fives = _running_median(smooth, 5)
        # next to the ends there is room for three
        fives[1], fives[-2] = np.median(smooth[:3]), np.median(smooth[-3:])
        smooth = fives
    smooth = _bend_flat_places(_running_median(smooth, 3), tolerance)
    hanned = smooth.copy()
    hanned[1:-1] = smooth[:-2] / 4 + smooth[1:-1] / 2 + smooth[2:] / 4
    return hanned


def _running_median(values: Array, span: int) -> Array:
    """Return the median of the `span` bins around each bin; bins too near to an end stay."""
    result = values.copy()
    half = span // 2
    if len(values) >= span:
        windows = np.lib.stride_tricks.sliding_window_view(values, span)
        result[half : len(values) - half] = np.median(windows, axis=1)
    return result


def _end_points(values: Array) -> Array:
    """Return values whose ends are the median of themselves, their neighbour, and a line through the next two bins."""
    result = values.copy()
    result[0] = np.median([values[0], values[1], 3 * values[1] - 2 * values[2]])
    result[-1] = np.median([values[-1], values[-2], 3 * values[-2] - 2 * values[-3]])
    return result


def _bend_flat_places(values: Array, tolerance: float) -> Array:
    """Return values where three equal ones at a peak or a dip follow a parabola through the nearer outer bin."""
    result = values.copy()
    for middle in range(2, len(values) - 2):
        here = values[middle]
        if max(abs(values[middle - 1] - here), abs(values[middle + 1] - here)) > tolerance:
            continue
        left, right = values[middle - 2] - here, values[middle + 2] - here
        if left * right <= 0 or min(abs(left), abs(right)) <= tolerance:
            continue
        step = -1 if abs(right) > abs(left) + tolerance else 1
        near, far = values[middle - 2 * step], values[middle + 2 * step]
        result[middle] = -0.5 * near + here / 0.75 + far / 6
        result[middle + step] = 0.5 * (far - near) + here
    return result


def smooth_variation(nominal: Array, varied: Array) -> Array:
    """Return a varied template whose ratio to the nominal one is smooth and whose integral is that before.

    Bins without nominal events stay as they are and take no part.

    Parameters
    ----------
    nominal, varied : array of shape (B,)
        Events.
    """
    filled = nominal > 0
    result = varied.copy()
    if np.count_nonzero(filled) < FEWEST_BINS:
        return result
    # running medians need no positive numbers, events do
    smooth = np.maximum(smooth_353qh_twice(varied[filled] / nominal[filled]), 0.0) * nominal[filled]
    if smooth.sum() > 0:
        result[filled] = smooth * (varied[filled].sum() / smooth.sum())
    return result


def symmetrise(nominal: Array, up: Array, down: Array | None, how: str) -> tuple[Array, Array]:
    """Return the two sides of a variation made symmetric about the nominal template.

    Parameters
    ----------
    nominal, up, down : array of shape (B,)
        Events; `down` is not used for "one_sided".
    how : str
        "one_sided": the upward side is mirrored. "two_sided": half the difference of the sides, to either direction.
        "maximum": in each bin the side that is further from nominal, to either direction.

    Returns
    -------
    up, down : array of shape (B,)
        Not below zero: where a mirrored side would be, it is zero.
    """
    above = up - nominal
    if how == "one_sided" or down is None:
        change = above
    elif how == "two_sided":
        change = (up - down) / 2
    else:
        below = nominal - down
        change = np.where(np.abs(above) >= np.abs(below), above, below)
    return np.maximum(nominal + change, 0.0), np.maximum(nominal - change, 0.0)
