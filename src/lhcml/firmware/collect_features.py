"""Collect high-level features of the jets of a dataset as inputs of a model.

By hand:
  python -m lhcml.firmware.collect_features --features results/features/toptag/top/nominal/0.parquet \
    --columns '["jet_mass", "jet_tau32"]' --output top.parquet
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import parquet_columns, require_finite
from lhcml.common.identity import JET_IDENTITY
from lhcml.firmware.input_table import write_inputs

# jets at a time
STEP = 50000


def read_jets(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the jets of a file of features some at a time; at least one part, which may hold no jet.

    Parameters
    ----------
    path : Path
        Features of one chunk.
    columns : sequence of str
        Features that become inputs, in this order.

    Raises
    ------
    UserError
        If the file cannot be read, a column is missing or does not hold one number a jet, or one is NaN or infinite.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    present = parquet_columns(path)
    missing = [name for name in (*JET_IDENTITY, "split", "weight_nominal", *columns) if name not in present]
    if missing:
        raise UserError(f"{path} has no column {', '.join(missing)}", f"choose among its columns: {', '.join(present)}")
    schema = pq.read_schema(path)
    for name in columns:
        kind = schema.field(name).type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
            raise UserError(f"column {name} of {path} holds {kind}, not one number a jet", "choose another feature")
    wanted = list(dict.fromkeys([*JET_IDENTITY, "split", "weight_nominal", *columns]))
    with pq.ParquetFile(path) as file:
        batches = file.iter_batches(STEP, columns=wanted) if file.metadata.num_rows else [schema.empty_table()]
        for batch in batches:
            values = {name: batch[name].to_numpy(zero_copy_only=False) for name in wanted}
            for name in ("weight_nominal", *columns):
                require_finite(f"column {name}", values[name], str(path))
            yield {
                **{name: values[name] for name in JET_IDENTITY},
                "split": values["split"],
                "weight": values["weight_nominal"],
                "inputs": np.stack([values[name].astype(np.float32) for name in columns], axis=1),
            }


def main(argv: Sequence[str] | None = None) -> None:
    """Collect the inputs of one dataset."""
    parser = make_parser(__doc__)
    parser.add_argument("--features", required=True, nargs="+", type=Path, help="features of the dataset, all chunks")
    parser.add_argument("--columns", required=True, type=json_argument, help="JSON list of features")
    parser.add_argument("--output", required=True, type=Path, help="inputs to write (Parquet)")
    args = parser.parse_args(argv)
    log = start_log("pyarrow", "numpy")
    rows = write_inputs(
        args.output, args.columns, (part for path in args.features for part in read_jets(path, args.columns))
    )
    if rows:
        log.info("%d jets", rows)
    else:
        log.warning("no jet is in the features: generate more of this dataset, or leave it out of the model")


if __name__ == "__main__":
    run_main(main)
