r"""Import rows of a public file of events or jets as a ROOT file with NanoAOD and PFNano names.

Layouts: `toptag` (Top Quark Tagging Reference), `olympics` (LHC Olympics), `omnifold` (Z + jet of OmniFold), `trigger`
(40 MHz), `jetclass` (JetClass). docs/public_data.md tells what becomes what. Weights are 1.

By hand:

    PYTHONPATH=src python -m lhcml.samples.import_events --layout olympics --input events_anomalydetection_v2.h5 \
        --label signal --first-row 0 --rows 4000 --content '{"fat_jet_radius": 1.0}' --output events.root
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.cli import Progress, json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.samples.imported import EventTable
from lhcml.samples.nanoaod import EventFile

LAYOUTS = ("toptag", "olympics", "omnifold", "trigger", "jetclass")


def check_rows(table: EventTable, first: int, rows: int) -> None:
    """Raise a UserError if a file has fewer rows than are asked for."""
    if first + rows > table.rows:
        raise UserError(
            f"{table.path} has {table.rows} rows; rows {first} to {first + rows} are asked for",
            f"set `events` of its dataset to {table.rows} or less",
        )


def import_rows(
    path: Path,
    output: Path,
    *,
    layout: str,
    label: str,
    content: Mapping[str, Any],
    first: int,
    rows: int,
    offset: int,
    block: int,
) -> None:
    """Write the events of a label among some rows of a file.

    Parameters
    ----------
    path : Path
        File of the layout.
    output : Path
        ROOT file.
    layout : str
        One of `LAYOUTS`.
    label : str
        A truth label of the layout, or "all".
    content : mapping
        The channel's `samples` block.
    first, rows : int
        First row, number of rows.
    offset : int
        Number of the event that row 0 of the file becomes, and row 1 the next.
    block : int
        luminosityBlock.

    Raises
    ------
    UserError
        If the file is missing, damaged, of another layout, or has fewer rows, or the layout has no such label.
    """
    module = importlib.import_module(f"lhcml.samples.layouts.{layout}")
    if label != "all" and label not in module.LABELS:
        raise UserError(
            f"layout {layout} has no label {label!r}", f"choose among: {', '.join(['all', *module.LABELS])}"
        )
    progress = Progress(rows, "rows")
    written = bad = 0
    with module.open_table(path, label, content) as table:
        check_rows(table, first, rows)
        with EventFile(output) as file:
            for start in range(first, first + rows, table.step):
                stop = min(start + table.step, first + rows)
                batch = table.read(start, stop)
                size = len(batch.rows)
                identity = {
                    "run": np.ones(size, dtype=np.uint32),
                    "luminosityBlock": np.full(size, block, dtype=np.uint32),
                    "event": (offset + start + batch.rows).astype(np.uint64),
                    "genWeight": np.ones(size, dtype=np.float32),
                }
                file.add(identity | batch.branches)
                written += size
                bad += batch.bad
                progress.add(stop - start)
            file.finish(
                {
                    "run": np.ones(1, dtype=np.uint32),
                    "genEventCount": np.array([written], dtype=np.int64),
                    "genEventSumw": np.array([float(written)]),
                    "genEventSumw2": np.array([float(written)]),
                }
            )
    logging.getLogger("lhcml").info(
        "%s: rows %d to %d, %d events of label %r; left out: %d rows whose numbers describe no event (NaN, infinity, "
        "negative pT or energy, no particle)",
        path, first, first + rows, written, label, bad,
    )  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--layout", required=True, choices=LAYOUTS, help="what the file looks like")
    parser.add_argument("--input", required=True, type=Path, help="file, or archive.tar/member")
    parser.add_argument("--label", default="all", help="events to take, by their truth label; default all")
    parser.add_argument("--first-row", default=0, type=int, help="first row of the file")
    parser.add_argument("--rows", required=True, type=int, help="number of rows")
    parser.add_argument("--event-offset", default=0, type=int, help="number of the event of row 0 of the file")
    parser.add_argument("--luminosity-block", default=1, type=int, help="luminosityBlock of all events")
    parser.add_argument("--content", default={}, type=json_argument, help="channel's `samples` block, JSON")
    parser.add_argument("--output", required=True, type=Path, help="ROOT file to write")
    args = parser.parse_args(argv)
    start_log("h5py", "fastjet", "awkward", "uproot", "numpy")
    content = {"collections": ["FatJet", "PFCands"], "fat_jet_radius": 0.8} | args.content
    import_rows(
        args.input,
        args.output,
        layout=args.layout,
        label=args.label,
        content=content,
        first=args.first_row,
        rows=args.rows,
        offset=args.event_offset,
        block=args.luminosity_block,
    )


if __name__ == "__main__":
    run_main(main)
