"""Take in a grid of signals: a background workspace, and a patchset that puts one signal at a time into it.

Both are checked, the digests of the patchset too, and written unchanged. `apply_patch` makes the workspace of a signal.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.files import write_json
from lhcml.inference.check_model import check_workspace, require_workspace
from lhcml.inference.read_document import find_patch, read_document, read_patchset


def main(argv: Sequence[str] | None = None) -> None:
    """Import one grid."""
    parser = make_parser(__doc__)
    parser.add_argument("--input", required=True, type=Path, help="background: pyhf workspace (JSON)")
    parser.add_argument("--signals", required=True, type=Path, help="pyhf patchset (JSON)")
    parser.add_argument("--config", required=True, type=json_argument, help="the measurement, as in the configuration")
    parser.add_argument("--background", required=True, type=Path, help="background to write")
    parser.add_argument("--patchset", required=True, type=Path, help="patchset to write")
    args = parser.parse_args(argv)
    log = start_log("pyhf", "numpy")
    background = read_document(args.input)
    require_workspace(background, str(args.input))
    # a background may lack the parameter of interest, and samples that the signals fill
    for remark in check_workspace(background, str(args.input), strict=False):
        log.warning("%s", remark)
    patchset = read_patchset(args.signals, background, str(args.input))
    for name in args.config.get("patches", []):
        find_patch(patchset, name, str(args.signals))
    log.info("%s: %d patches", args.signals, len(patchset["patches"]))
    write_json(args.background, background)
    write_json(args.patchset, patchset)


if __name__ == "__main__":
    run_main(main)
