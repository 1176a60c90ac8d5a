r"""Import events of one's own from Parquet files: columns by the names that the search knows.

docs/anomaly_inputs.md describes the columns.

By hand:

    PYTHONPATH=src python -m lhcml.anomaly.import_tables --input a.parquet b.parquet --output events.parquet
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import parquet_columns, read_parquet, require_finite, write_parquet
from lhcml.common.identity import EVENT_IDENTITY

# columns that the search itself writes
RESERVED = ("label", "fold", "score")
SEE = "name the columns as docs/anomaly_inputs.md says"


def read_table(path: Path, number: int) -> dict[str, Any]:
    """Return the columns of one file that hold a number an event; see `read_tables`."""
    import pyarrow.parquet
    from pyarrow.types import is_floating, is_integer

    present = parquet_columns(path)
    if "dijet_mass" not in present:
        raise UserError(f"{path} has no column dijet_mass; it has: {', '.join(present)}", SEE)
    lacking = [name for name in EVENT_IDENTITY if name not in present]
    if 0 < len(lacking) < len(EVENT_IDENTITY):
        raise UserError(f"{path} does not have all of {', '.join(EVENT_IDENTITY)}", "give all three, or none of them")
    types = {field.name: field.type for field in pyarrow.parquet.read_schema(path)}
    taken = [name for name in present if name not in RESERVED and (is_integer(types[name]) or is_floating(types[name]))]
    table = read_parquet(path, taken)
    rows = len(table)
    columns: dict[str, Any] = {"run": np.ones(rows, np.int64), "luminosityBlock": np.full(rows, number, np.int64)}
    columns |= {"event": np.arange(rows, dtype=np.int64), "weight_nominal": np.ones(rows)}
    for name in taken:
        # a gap is not finite either
        values = ak.to_numpy(ak.fill_none(table[name], np.nan))
        require_finite(f"column {name}", values, str(path))
        columns[name] = values.astype(np.int64 if name in EVENT_IDENTITY else np.float64)
    left_out = ", ".join(name for name in present if name not in taken)
    logging.getLogger("lhcml").info("%s: %d events; columns left out: %s", path, rows, left_out or "none")
    return columns


def read_tables(paths: Sequence[Path]) -> dict[str, Any]:
    """Return the columns of tables, checked, one table after the other.

    Parameters
    ----------
    paths : sequence of Path
        Parquet files with `dijet_mass` (GeV) and features. `weight_nominal` is 1 if there is none. Without `run`,
        `luminosityBlock` and `event`, the run is 1, the block the number of the file and the event its row.

    Returns
    -------
    dict of str to array of shape (n,)
        Identity as int64, all else as float64.

    Raises
    ------
    UserError
        If a file cannot be read or lacks a column that it needs or that the first has, a number is missing, NaN or
        infinite, `jet1` is the heavier jet, an event occurs twice, or there is none.
    """
    parts = [read_table(path, number) for number, path in enumerate(paths, start=1)]
    for path, part in zip(paths, parts, strict=True):
        differing = sorted(part.keys() ^ parts[0].keys())
        if differing:
            raise UserError(f"{paths[0]} and {path} do not both have numbers in {', '.join(differing)}", SEE)
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    names, rows = ", ".join(str(path) for path in paths), len(columns["dijet_mass"])
    if rows == 0:
        raise UserError(f"no rows in {names}", "give tables that hold events")
    if {"jet1_mass", "jet2_mass"} <= columns.keys() and (columns["jet1_mass"] > columns["jet2_mass"]).any():
        raise UserError(f"jet1 is heavier than jet2 in events of {names}", "call the lighter jet jet1")
    repeated = rows - np.unique(np.stack([columns[name] for name in EVENT_IDENTITY]), axis=1).shape[1]
    if repeated:
        raise UserError(
            f"{repeated} of {rows} events of {names} have the run, luminosityBlock and event of another",
            "give each event a number of its own, or leave out all three columns",
        )
    return columns


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--input", required=True, type=Path, nargs="+", help="tables of events, Parquet")
    parser.add_argument("--output", required=True, type=Path, help="events, Parquet")
    args = parser.parse_args(argv)
    log = start_log("numpy", "awkward", "pyarrow")
    columns = read_tables(args.input)
    write_parquet(args.output, columns)
    log.info("%d events, columns %s", len(columns["dijet_mass"]), ", ".join(columns))


if __name__ == "__main__":
    run_main(main)
