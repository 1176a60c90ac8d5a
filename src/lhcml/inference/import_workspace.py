"""Take in a model made elsewhere: a pyhf workspace with patches, or HistFactory XML with its ROOT histograms.

It is checked, and written as a workspace with its digest. Everything after this step treats it as one built here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.inference.check_model import require_workspace
from lhcml.inference.histfactory import read_histfactory
from lhcml.inference.read_document import apply_patch_file, read_document
from lhcml.inference.read_workspace import make_problem
from lhcml.inference.write_workspace import add_outputs, write_workspace


def main(argv: Sequence[str] | None = None) -> None:
    """Import one workspace."""
    parser = make_parser(__doc__)
    parser.add_argument("--input", required=True, type=Path, help="pyhf workspace (JSON), or HistFactory XML")
    parser.add_argument("--config", required=True, type=json_argument, help="the measurement, as in the configuration")
    add_outputs(parser)
    args = parser.parse_args(argv)
    start_log("pyhf", "uproot", "numpy")
    config, where = args.config, str(args.input)
    remarks: list[str] = []
    if "histfactory" in config:
        spec, remarks = read_histfactory(args.input)
    else:
        spec = read_document(args.input)
    require_workspace(spec, where)
    for given in config.get("patch", []):
        spec = apply_patch_file(spec, given, where)
        where = f"{where} with {given}"
    problem = make_problem(spec, where, config.get("measurement"), config.get("poi"))
    about = {"source": str(args.input), "patches": config.get("patch", []), "remarks": remarks}
    write_workspace(args, spec, problem, about)


if __name__ == "__main__":
    run_main(main)
