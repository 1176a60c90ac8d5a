"""What the description of a workspace that is built here holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lhcml.inference.assemble_workspace import Report


def observable(config: Mapping[str, Any], region: Mapping[str, Any]) -> str:
    """Return the column that a region histograms: its own, or the measurement's."""
    name: str = region.get("observable") or config["observable"]
    return name


def describe(config: Mapping[str, Any], edges: Mapping[str, Sequence[float]], report: Report) -> dict[str, Any]:
    """Return what the description of every workspace built here holds.

    Parameters
    ----------
    config : Mapping
        A measurement of the configuration.
    edges : mapping
        Bin edges of each region.
    report : Report
        What was made of the variations.
    """
    regions = {}
    for name, cut in config["regions"].items():
        regions[name] = {key: cut[key] for key in ("tagged", "cuts", "label") if key in cut}
        regions[name] |= {"bins": [float(edge) for edge in edges[name]]}
        if "observable" in cut or "observable" in config:
            regions[name]["observable"] = observable(config, cut)
    return {
        "poi": config["poi"], "measurement": "measurement", "injected": config["injected"], "regions": regions,
        "systematics": report.rows, "remarks": report.remarks(),
    }  # fmt: skip
