"""Take in a pyhf workspace made elsewhere: validate, check, and copy it unchanged with its digest.

Everything after this step treats it as a workspace built here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.files import read_json, write_json, write_text
from lhcml.inference.read_workspace import make_problem


def main(argv: Sequence[str] | None = None) -> None:
    """Import one workspace."""
    parser = make_parser(__doc__)
    parser.add_argument("--input", required=True, type=Path, help="pyhf workspace JSON")
    parser.add_argument("--config", required=True, type=json_argument, help="the measurement, as in the configuration")
    parser.add_argument("--workspace", required=True, type=Path, help="workspace to write")
    parser.add_argument("--digest", required=True, type=Path, help="text file for its SHA-256")
    parser.add_argument("--description", required=True, type=Path, help="JSON of what it holds")
    args = parser.parse_args(argv)
    log = start_log("pyhf", "numpy")
    spec = read_json(args.input)
    problem = make_problem(spec, str(args.input), args.config.get("measurement"), args.config.get("poi"))
    likelihood = problem.likelihood
    log.info(
        "%s: %d bins, %d parameters, digest %s", args.input, likelihood.bins, len(likelihood.names), problem.digest
    )
    for remark in problem.remarks:
        log.warning("%s", remark)
    write_json(args.workspace, spec)
    write_text(args.digest, problem.digest + "\n")
    regions = {name: {"bins": list(range(part.stop - part.start + 1))} for name, part in likelihood.channels.items()}
    description = {
        "digest": problem.digest, "poi": problem.poi, "measurement": problem.measurement, "regions": regions,
        "source": str(args.input), "remarks": problem.remarks,
    }  # fmt: skip
    write_json(args.description, description)


if __name__ == "__main__":
    run_main(main)
