"""The three files of a measurement that is built here: workspace, digest, and description of how it was made."""

from __future__ import annotations

import logging
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhcml.common.files import write_json, write_text
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


def add_outputs(parser: ArgumentParser) -> None:
    """Add the options for the three files that `write_workspace` writes."""
    parser.add_argument("--workspace", required=True, type=Path, help="workspace to write")
    parser.add_argument("--digest", required=True, type=Path, help="text file for its SHA-256")
    parser.add_argument("--description", required=True, type=Path, help="JSON of how it was made")


def write_workspace(
    workspace: Mapping[str, Any], description: Mapping[str, Any], args: Namespace, strict: bool = True
) -> None:
    """Check a workspace as any other and write it with its digest and description.

    Parameters
    ----------
    args : Namespace
        With the options of `add_outputs`.
    strict : bool
        Whether faults that are harmless to the likelihood are errors too; they are remarks else.
    """
    from lhcml.inference.read_workspace import make_problem

    problem = make_problem(workspace, "the workspace built", poi=description["poi"], strict=strict)
    remarks = [*description["remarks"], *problem.remarks]
    write_json(args.workspace, workspace)
    write_text(args.digest, problem.digest + "\n")
    write_json(args.description, {**description, "digest": problem.digest, "remarks": remarks})
    log = logging.getLogger("lhcml")
    for remark in remarks:
        log.info("remark: %s", remark)
    log.info("%s: %d parameters, digest %s", args.workspace, len(problem.likelihood.names), problem.digest)
