"""Collect the limits of a grid of signals: every point with its values, what is excluded, and what failed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_json
from lhcml.inference.exclusion import contour, excluded_ranges, interpolate_theory
from lhcml.inference.limit import BANDS

# What is excluded is computed for the observed limit and for these bands of the expected one
LINES = {"observed": None, "expected": 0, "expected_minus": -1, "expected_plus": 1}


def collect_limits(
    patchset: Mapping[str, Any], limits: Mapping[str, Mapping[str, Any]], config: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the content of limits.json.

    Parameters
    ----------
    patchset : mapping
        pyhf patchset: names, labels and values of the signals.
    limits : mapping
        limit.json of each patch by name.
    config : mapping
        Block `grid`.

    Raises
    ------
    UserError
        If a limit is of no patch, or `axes` names no label.
    """
    patches = {patch["metadata"]["name"]: patch["metadata"] for patch in patchset["patches"]}
    unknown = sorted(set(limits) - set(patches))
    if unknown:
        raise UserError(f"the patchset has no patch {', '.join(unknown)}", f"choose among: {', '.join(patches)}")
    labels = patchset["metadata"]["labels"]
    used = [metadata for name, metadata in patches.items() if name in limits]
    axes = choose_axes(labels, [metadata["values"] for metadata in used], config.get("axes"))
    theory = config.get("theory")
    points = [
        describe_point(metadata, limits[metadata["name"]], point_at(metadata["values"], labels, axes), theory)
        for metadata in used
    ]
    points.sort(key=lambda point: (point["at"], point["patch"]))
    first = next(iter(limits.values()))
    result: dict[str, Any] = {
        "digest": patchset["metadata"]["digests"], "labels": labels, "axes": axes, "poi": first["poi"],
        "level": first["level"], "bands": list(BANDS), "valid": all(point["valid"] for point in points),
        "failed": [point["patch"] for point in points if not point["valid"]],
        "titles": config.get("titles", {}), "theory": theory, "points": points, "excluded": None, "contours": None,
    }  # fmt: skip
    if len(axes) == 1:
        values = [point["at"][0] for point in points]
        result["excluded"] = {
            line: excluded_ranges(values, [log_ratio(point, band) for point in points]) for line, band in LINES.items()
        }
    elif len(axes) == 2:
        result["contours"] = {line: _contour(points, band) for line, band in LINES.items()}
    return result


def choose_axes(labels: Sequence[str], values: Sequence[Sequence[Any]], wanted: Sequence[str] | None) -> list[str]:
    """Return one or two labels to show limits against: those asked for, or the first ones whose numbers differ.

    Empty if no label has numbers that differ: limits are then shown patch by patch.

    Raises
    ------
    UserError
        If a label asked for is unknown or has values that are not numbers.
    """
    numbers = [all(isinstance(row[index], (int, float)) for row in values) for index in range(len(labels))]
    for name in wanted or []:
        if name not in labels or not numbers[labels.index(name)]:
            known = [label for label, numeric in zip(labels, numbers, strict=True) if numeric]
            raise UserError(f"`grid.axes`: {name!r} is no number of the patchset", f"choose among: {', '.join(known)}")
    if wanted:
        return list(wanted)
    differ = [len({row[index] for row in values}) > 1 for index in range(len(labels))]
    varied = [label for label, numeric, several in zip(labels, numbers, differ, strict=True) if numeric and several]
    return varied[:2] or [label for label, numeric in zip(labels, numbers, strict=True) if numeric][:1]


def point_at(values: Sequence[Any], labels: Sequence[str], axes: Sequence[str]) -> list[float]:
    """Return the place of a signal on the axes."""
    return [float(values[labels.index(name)]) for name in axes]


def theory_at(theory: Mapping[str, Any] | None, at: Sequence[float]) -> float | None:
    """Return the value of the parameter of interest that the theory predicts; None where it predicts none."""
    if theory is None:
        return None
    if "points" in theory:
        return interpolate_theory(theory["points"], at[0]) if at else None
    return float(theory["value"])


def describe_point(
    metadata: Mapping[str, Any], limit: Mapping[str, Any], at: list[float], theory: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what limits.json says of one signal."""
    point = {
        "patch": metadata["name"], "values": metadata["values"], "at": at, "valid": limit["valid"],
        "reason": limit["reason"], "digest": limit["digest"], "best_fit": limit["best_fit"],
        "observed": limit["observed"], "expected": limit["expected"], "theory": theory_at(theory, at),
        "test": limit["test"], "cross_section": None,
    }  # fmt: skip
    efficiency = metadata.get("efficiency")
    if efficiency and limit["valid"]:
        scaled = [None if value is None else value / efficiency for value in (limit["observed"], *limit["expected"])]
        point["cross_section"] = {"efficiency": efficiency, "observed": scaled[0], "expected": scaled[1:]}
    return point


def log_ratio(point: Mapping[str, Any], band: int | None) -> float | None:
    """Return ln(limit / theory) of a point: observed, or expected of a band; None where there is none."""
    if not point["valid"] or not point["theory"]:
        return None
    limit = point["observed"] if band is None else point["expected"][BANDS.index(band)]
    return None if limit is None else math.log(max(limit, 1e-300) / point["theory"])


def _contour(points: Sequence[Mapping[str, Any]], band: int | None) -> list[Any]:
    """Return the contour of a line; points without a limit are left out."""
    rows = [(*point["at"], value) for point in points if (value := log_ratio(point, band)) is not None]
    table = np.asarray(rows, float).reshape(-1, 3)
    return contour(table[:, :2], table[:, 2])


def main(argv: Sequence[str] | None = None) -> None:
    """Collect the limits of one grid; each file lies in the folder of its patch."""
    parser = make_parser(__doc__)
    parser.add_argument("--patchset", required=True, type=Path, help="patchset.json")
    parser.add_argument("--limits", required=True, nargs="+", type=Path, help="<patch>/limit.json of every patch")
    parser.add_argument("--config", required=True, type=json_argument, help="block `grid`")
    parser.add_argument("--output", required=True, type=Path, help="limits.json to write")
    args = parser.parse_args(argv)
    log = start_log("numpy", "scipy")
    limits = {path.parent.name: read_json(path) for path in args.limits}
    result = collect_limits(read_json(args.patchset), limits, args.config)
    write_json(args.output, result)
    log.info(
        "%d signals; excluded: %s; failed: %s", len(result["points"]), result["excluded"], result["failed"] or "none"
    )


if __name__ == "__main__":
    run_main(main)
