"""Writing of a workspace that was built, taken in, patched or combined: itself, its digest and its description."""

from __future__ import annotations

import logging
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lhcml.common.files import write_json, write_text
from lhcml.inference.read_workspace import Problem

log = logging.getLogger("lhcml")


def add_outputs(parser: ArgumentParser) -> None:
    """Add the options for the three files."""
    parser.add_argument("--workspace", required=True, type=Path, help="workspace to write")
    parser.add_argument("--digest", required=True, type=Path, help="text file for its SHA-256")
    parser.add_argument("--description", required=True, type=Path, help="JSON of what it holds")


def write_workspace(args: Namespace, spec: Any, problem: Problem, about: Mapping[str, Any]) -> None:
    """Write the files of a workspace, and log what it is.

    Parameters
    ----------
    args : Namespace
        With the options of `add_outputs`.
    spec : JSON
        The workspace.
    problem : Problem
        The same, checked and compiled.
    about : mapping
        What else its description says. `regions` (bin edges of some regions) replaces numbered bins; `remarks` stand
        before those of the checks.
    """
    likelihood = problem.likelihood
    log.info("%d bins, %d parameters, digest %s", likelihood.bins, len(likelihood.names), problem.digest)
    remarks = [*about.get("remarks", []), *problem.remarks]
    for remark in remarks:
        log.warning("%s", remark)
    # a workspace knows no edges: bins are numbered unless the source says more
    regions = {name: {"bins": list(range(part.stop - part.start + 1))} for name, part in likelihood.channels.items()}
    for name, region in about.get("regions", {}).items():
        if name in regions and len(region["bins"]) == len(regions[name]["bins"]):
            regions[name] = region
    description = {"digest": problem.digest, "poi": problem.poi, "measurement": problem.measurement}
    description |= {key: value for key, value in about.items() if key not in ("regions", "remarks")}
    write_json(args.workspace, spec)
    write_text(args.digest, problem.digest + "\n")
    write_json(args.description, description | {"regions": regions, "remarks": remarks})
