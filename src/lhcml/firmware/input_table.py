"""The table of a model's inputs: who a row is, its part of the split, its weight, and the raw physical values.

A Parquet file with the identity columns, `split`, `weight` and `inputs`, a list of fixed length of float32; the names
of the inputs stand as JSON in the schema's metadata under the key `inputs`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.errors import UserError
from lhcml.common.files import write_atomic
from lhcml.common.identity import EVENT_IDENTITY, JET_IDENTITY

METADATA = b"inputs"


@dataclass(frozen=True)
class InputTable:
    """Rows of a file of inputs.

    Attributes
    ----------
    names : tuple of str
        Names of the inputs.
    identity : ndarray of int64, shape (rows, 3 or 4)
        run, luminosityBlock, event, and jet_rank where rows are jets.
    split : ndarray of str, shape (rows,)
        "train", "validation" or "test".
    weight : ndarray of float64, shape (rows,)
        Weight in pb for events.
    inputs : ndarray of float32, shape (rows, inputs)
        Raw values: GeV, rad; 0 for an object that is not there.
    """

    names: tuple[str, ...]
    identity: NDArray[np.int64]
    split: NDArray[np.str_]
    weight: NDArray[np.float64]
    inputs: NDArray[np.float32]


def write_inputs(path: Path, names: Sequence[str], parts: Iterable[Mapping[str, Any]]) -> int:
    """Write a table of inputs part by part, each a row group, so that only one is in memory; return its rows.

    Parameters
    ----------
    path : Path
        Final name.
    names : sequence of str
        Names of the inputs.
    parts : iterable of mapping
        At least one; identity columns (with `jet_rank` for jets), `split`, `weight`, and `inputs` of shape
        (rows, inputs).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = 0
    with write_atomic(path) as temporary:
        writer = None
        for part in parts:
            columns = [name for name in JET_IDENTITY if name in part]
            fields = [pa.field(name, pa.int64(), nullable=False) for name in columns]
            fields += [
                pa.field("split", pa.string(), nullable=False),
                pa.field("weight", pa.float64(), nullable=False),
                pa.field("inputs", pa.list_(pa.float32(), len(names)), nullable=False),
            ]
            schema = pa.schema(fields, metadata={METADATA: json.dumps(list(names)).encode()})
            if writer is None:
                writer = pq.ParquetWriter(temporary, schema, compression="zstd")
            flat = pa.array(np.ascontiguousarray(part["inputs"], np.float32).reshape(-1))
            arrays = [pa.array(np.asarray(part[name], np.int64)) for name in columns]
            arrays += [pa.array(list(part["split"]), pa.string()), pa.array(np.asarray(part["weight"], np.float64))]
            arrays.append(pa.FixedSizeListArray.from_arrays(flat, len(names)))
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            rows += len(part["weight"])
        if writer is None:
            raise ValueError(f"no part to write to {path}")
        writer.close()
    return rows


def read_inputs(path: Path, splits: Sequence[str] | None = None) -> InputTable:
    """Read a table of inputs.

    Parameters
    ----------
    path : Path
        File that `write_inputs` wrote.
    splits : sequence of str, optional
        Parts of the split to read; all if not given.

    Raises
    ------
    UserError
        If the file cannot be read or is not such a table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, filters=None if splits is None else [("split", "in", list(splits))])
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"cannot read {path} as Parquet: {error}", "delete it and run again, or check the path"
        ) from error
    metadata = table.schema.metadata or {}
    missing = [name for name in (*EVENT_IDENTITY, "split", "weight", "inputs") if name not in table.column_names]
    if missing or METADATA not in metadata:
        what = f"columns {', '.join(missing)}" if missing else "names of its inputs"
        raise UserError(f"{path} has no {what}", "make it with collect_objects or collect_features")
    identity = [table[name].to_numpy() for name in JET_IDENTITY if name in table.column_names]
    names = tuple(json.loads(metadata[METADATA]))
    inputs = table["inputs"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return InputTable(
        names,
        np.stack(identity, axis=1),
        np.asarray(table["split"].to_pylist(), np.str_),
        table["weight"].to_numpy(),
        inputs.reshape(-1, len(names)),
    )
