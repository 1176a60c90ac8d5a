"""CLs and limits from pseudo-experiments, beside the asymptotic formulae."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.inference.distributions import (
    binomial_uncertainty,
    kolmogorov_survival,
    normal_distribution,
    q_tilde_background,
    q_tilde_signal,
)

# Statistics this near are the same outcome: the precision of the fits. It matters where few outcomes are possible.
SAME_OUTCOME = 1e-4
HISTOGRAM_BINS = 30


def summarise_limit_toys(batches: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return CLs at each tested value, the limits where they cross the level, and the discovery p-value.

    Parameters
    ----------
    batches : sequence of mapping
        Batch files of `throw_limit_toys`.
    """
    first = batches[0]
    observed, asymptotic, bands = first["observed"], first["asymptotic"], first["bands"]
    points = []
    for number, value in enumerate(first["values"]):
        with_signal = _valid(batch["signal"][number] for batch in batches)
        without = _valid(batch["background"][number] for batch in batches)
        q, reference = observed["q"][number], asymptotic["points"][number]
        points.append(
            {
                "poi": value,
                "q": q,
                **cls_of_toys(q, with_signal, without),
                "expected": [expected_cls(band, with_signal, without) for band in bands],
                "asymptotic": reference,
                "distance_signal": distance(with_signal, q_tilde_signal, reference["q_asimov"]),
                "distance_background": distance(without, q_tilde_background, reference["q_asimov"]),
            }
        )
    level = first["level"]
    expected = [crossing(points, partial(_expected, band=k), level) for k in range(len(bands))]
    # the distribution is shown at the tested value next to the expected limit
    goal = asymptotic["expected"][bands.index(0)] or points[len(points) // 2]["poi"]
    middle = min(range(len(points)), key=lambda k: abs(points[k]["poi"] - goal))
    return {
        "level": level,
        "bands": bands,
        "at_bound": first["at_bound"],
        "best_fit": observed["best"],
        "observed": crossing(points, lambda point: point, level),
        "expected": expected,
        "asymptotic": {
            "observed": asymptotic["observed"],
            "expected": asymptotic["expected"],
            "curve": asymptotic["curve"],
        },
        "points": points,
        "discovery": discovery(observed["q_zero"], _valid(batch["q_zero"] for batch in batches)),
        "distribution": histogram(
            points[middle],
            _valid(batch["signal"][middle] for batch in batches),
            _valid(batch["background"][middle] for batch in batches),
        ),
    }


def _expected(point: Mapping[str, Any], band: int) -> Mapping[str, Any]:
    """Return one of the expected CLs of a point."""
    row: Mapping[str, Any] = point["expected"][band]
    return row


def _valid(columns: Any) -> NDArray[np.float64]:
    """Return the values of all batches that are not None."""
    return np.array([value for column in columns for value in column if value is not None])


def cls_of_toys(q: float, with_signal: NDArray[np.float64], without: NDArray[np.float64]) -> dict[str, Any]:
    """Return the shares of pseudo-experiments at least as far from the signal as q, and their ratio CLs.

    Returns
    -------
    dict
        "cls_plus_b", "cl_b", "cls", each with "_uncertainty" (binomial, the ensembles independent).
    """
    result: dict[str, Any] = {}
    relative = 0.0
    for name, toys in (("cls_plus_b", with_signal), ("cl_b", without)):
        above = int((toys >= q - SAME_OUTCOME).sum())
        share, error = above / len(toys), binomial_uncertainty(above, len(toys))
        result |= {name: share, f"{name}_uncertainty": error}
        relative += (error / max(share, 1 / len(toys))) ** 2
    numerator, denominator = result["cls_plus_b"], result["cl_b"]
    value = min(1.0, numerator / denominator) if denominator > 0 else 0.0
    # no pseudo-experiment above q: the uncertainty is that of one
    least = (1 / len(with_signal)) / max(denominator, 1 / len(without))
    return result | {"cls": value, "cls_uncertainty": max(value, least) * math.sqrt(relative)}


def expected_cls(band: float, with_signal: NDArray[np.float64], without: NDArray[np.float64]) -> dict[str, Any]:
    """Return CLs of the pseudo-experiment without signal that lies `band` standard deviations from the middle one."""
    q = float(np.quantile(without, 1 - normal_distribution(band), method="inverted_cdf"))
    return cls_of_toys(q, with_signal, without)


def crossing(
    points: Sequence[Mapping[str, Any]], pick: Callable[[Mapping[str, Any]], Mapping[str, Any]], level: float
) -> dict[str, Any]:
    """Return where CLs falls to the level, ln CLs interpolated linearly between tested values.

    Parameters
    ----------
    points : sequence of mapping
        In ascending order of "poi".
    pick : callable
        Returns "cls" and "cls_uncertainty" of a point.
    level : float

    Returns
    -------
    dict
        "limit" and "uncertainty" (statistics of the pseudo-experiments), or None with a "reason".
    """
    rows = [pick(point) for point in points]
    # a CLs of zero is less than one pseudo-experiment: its uncertainty stands in for it
    logs = [math.log(max(row["cls"], 0.5 * row["cls_uncertainty"])) for row in rows]
    target = math.log(level)
    for k in range(len(points) - 1):
        if logs[k] >= target > logs[k + 1]:
            low, high = points[k]["poi"], points[k + 1]["poi"]
            share = (logs[k] - target) / (logs[k] - logs[k + 1])
            errors = [
                row["cls_uncertainty"] / math.exp(value)
                for row, value in zip(rows[k : k + 2], logs[k : k + 2], strict=True)
            ]
            error = math.hypot((1 - share) * errors[0], share * errors[1])
            return {
                "limit": low + share * (high - low),
                "uncertainty": error * (high - low) / (logs[k] - logs[k + 1]),
                "reason": None,
            }
    side = "below the first" if logs[0] < target else "beyond the last"
    return {"limit": None, "uncertainty": None, "reason": f"{side} of the tested values"}


def distance(
    toys: NDArray[np.float64], cumulative: Callable[[float, float], float], q_asimov: float
) -> dict[str, float]:
    """Return the largest distance of the distribution of q~ to the asymptotic one, and its probability (Kolmogorov).

    Both have half of their events, or some other share, at q~ = 0; there the test is conservative.
    """
    values = np.sort(np.where(toys < SAME_OUTCOME, 0.0, toys))
    count = len(values)
    expected = np.array([cumulative(float(value), q_asimov) for value in values])
    above = np.searchsorted(values, values, side="right") / count
    below = np.searchsorted(values, values, side="left") / count
    # left of zero both distributions are zero
    left = np.where(values > 0, np.abs(below - expected), 0.0)
    largest = float(np.maximum(np.abs(above - expected), left).max())
    return {"distance": largest, "p_value": kolmogorov_survival(largest * math.sqrt(count))}


def discovery(q_zero: float, without: NDArray[np.float64]) -> dict[str, float]:
    """Return the probability of q0 without signal, from pseudo-experiments and asymptotic."""
    above = int((without >= q_zero - SAME_OUTCOME).sum())
    return {
        "q_zero": q_zero,
        "p_value": above / len(without),
        "p_value_uncertainty": binomial_uncertainty(above, len(without)),
        "p_value_asymptotic": 1 - normal_distribution(math.sqrt(q_zero)),
    }


def histogram(
    point: Mapping[str, Any], with_signal: NDArray[np.float64], without: NDArray[np.float64]
) -> dict[str, Any]:
    """Return histograms of q~ at one tested value with what the asymptotic distributions expect in each bin."""
    q_asimov = point["asymptotic"]["q_asimov"]
    top = max(float(np.quantile(with_signal, 0.995)), float(np.quantile(without, 0.995)), point["q"], 1.0)
    edges = np.arange(HISTOGRAM_BINS + 1) * (1.05 * top / HISTOGRAM_BINS)
    result: dict[str, Any] = {"poi": point["poi"], "q": point["q"], "edges": [float(edge) for edge in edges]}
    shapes = (("signal", with_signal, q_tilde_signal), ("background", without, q_tilde_background))
    for name, toys, cumulative in shapes:
        # zero itself, which holds about half of the events, counts in the first bin; rare ones beyond in the last
        steps = np.diff([0.0, *(cumulative(float(edge), q_asimov) for edge in edges[1:-1]), 1.0])
        result[name] = [int(count) for count in np.histogram(np.clip(toys, 0, edges[-1]), edges)[0]]
        result[f"{name}_asymptotic"] = [len(toys) * float(step) for step in steps]
    return result
