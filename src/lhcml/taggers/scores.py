"""The table of scores of one tagger on one dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.cli import Progress
from lhcml.common.files import require_finite, write_parquet
from lhcml.common.identity import JET_IDENTITY
from lhcml.taggers.inputs import columns_of
from lhcml.taggers.jets import Jets, pack, read_batches

# What tells a jet apart, carried over from the features in the same order
SPLITS = ("train", "validation", "test")
KEYS = (*JET_IDENTITY, "split")


def score_files(
    files: Sequence[Path],
    inputs: Sequence[str],
    predict: Callable[[Jets], NDArray[np.float64]],
    output: Path,
    splits: Sequence[str] = SPLITS,
) -> int:
    """Score feature files one after the other and write one table, rows in the order of the files.

    Parameters
    ----------
    files : sequence of Path
        Feature files of all chunks.
    inputs : sequence of str
        Inputs of the tagger.
    predict : callable
        Jets -> scores in 0..1, shape (jets,).
    output : Path
        Parquet file with `KEYS` and `score`.
    splits : sequence of str
        Splits whose jets are scored; the others have no row.

    Returns
    -------
    int
        Number of jets.
    """
    parts: dict[str, list[Any]] = {name: [] for name in (*KEYS, "score")}
    progress = Progress(len(files), "files")
    for path in files:
        for everything in read_batches(path, [*KEYS, *columns_of(inputs)]):
            table = everything[np.isin(np.asarray(everything["split"], dtype=str), splits)]
            jets = pack(table, inputs, str(path))
            scores = predict(jets) if len(jets) else np.empty(0)
            require_finite("the score", scores, str(path))
            for name in KEYS:
                parts[name].append(table[name])
            parts["score"].append(scores)
        progress.add(1)
    import awkward as ak

    columns = {name: ak.concatenate(arrays) for name, arrays in parts.items()}
    write_parquet(output, columns)
    return len(columns["score"])
