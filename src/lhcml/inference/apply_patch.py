"""Put one signal of a grid into its background: the workspace of one patch of a patchset, checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.files import read_json
from lhcml.inference.read_document import apply_operations, check_patchset, find_patch
from lhcml.inference.read_workspace import make_problem
from lhcml.inference.write_workspace import add_outputs, write_workspace


def main(argv: Sequence[str] | None = None) -> None:
    """Apply one patch."""
    parser = make_parser(__doc__)
    parser.add_argument("--background", required=True, type=Path, help="background workspace")
    parser.add_argument("--patchset", required=True, type=Path, help="pyhf patchset")
    parser.add_argument("--patch", required=True, help="name of the patch")
    parser.add_argument("--config", required=True, type=json_argument, help="the measurement, as in the configuration")
    add_outputs(parser)
    args = parser.parse_args(argv)
    start_log("pyhf", "numpy")
    background = read_json(args.background)
    patchset = check_patchset(read_json(args.patchset), str(args.patchset), background, str(args.background))
    patch = find_patch(patchset, args.patch, str(args.patchset))
    where = f"{args.background} with patch {args.patch}"
    spec = apply_operations(background, patch["patch"], where)
    problem = make_problem(spec, where, args.config.get("measurement"), args.config.get("poi"))
    metadata = patchset["metadata"]
    about = {
        "source": f"{args.patchset}#{args.patch}",
        "patch": {
            **patch["metadata"], "labels": metadata["labels"],
            "background_digest": metadata["digests"].get("sha256"),
        },
    }  # fmt: skip
    if "regions" in metadata:
        about["regions"] = metadata["regions"]
    if "luminosity" in metadata:
        about["luminosity"] = metadata["luminosity"]
    write_workspace(args, spec, problem, about)


if __name__ == "__main__":
    run_main(main)
