"""Reading tables of scores, from here or from elsewhere: Parquet or CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lhcml.common.errors import UserError


def read_columns(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Any]:
    """Read flat columns of a Parquet or CSV file as NumPy arrays; of the optional ones those that are there.

    Raises
    ------
    UserError
        If the file is of another kind, cannot be read, lacks a column, or a value is missing.
    """
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    readers = {".parquet": pyarrow.parquet.read_table, ".csv": pyarrow.csv.read_csv}
    if path.suffix not in readers:
        raise UserError(f"{path} is neither .parquet nor .csv", "store the scores in one of these formats")
    try:
        table = readers[path.suffix](path)
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(f"cannot read {path}: {error}", "check that the file is there and whole") from error
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise UserError(
            f"{path} has no column {', '.join(missing)}", f"choose among its columns: {', '.join(table.column_names)}"
        )
    present = [*columns, *(name for name in optional if name in table.column_names)]
    for name in present:
        if table[name].null_count:
            raise UserError(f"column {name} of {path} has {table[name].null_count} empty values", "fill or drop them")
    return {name: table[name].to_numpy() for name in present}


def read_scores(
    files: Sequence[Path], label: int | None, score: str, label_column: str, weight: str | None, split: str | None
) -> dict[str, Any]:
    """Read scores, labels and weights of files that hold one class (`label` given) or a column of labels.

    Returns
    -------
    dict
        "score", "label" and, if asked for, "weight": arrays of shape (jets,).
    """
    import numpy as np

    columns = [score] + ([label_column] if label is None else []) + ([weight] if weight else [])
    parts: dict[str, list[Any]] = {"score": [], "label": [], "weight": []}
    for path in files:
        table = read_columns(path, [*columns, *(["split"] if split else [])])
        chosen = table["split"] == split if split else np.ones(len(table[score]), dtype=bool)
        parts["score"].append(table[score][chosen])
        parts["label"].append(table[label_column][chosen] if label is None else np.full(int(chosen.sum()), label))
        if weight:
            parts["weight"].append(table[weight][chosen])
    return {name: np.concatenate(arrays) for name, arrays in parts.items() if arrays}
