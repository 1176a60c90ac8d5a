"""Jets as taggers read them: packed inputs, labels and splits from the feature files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.errors import UserError
from lhcml.common.files import read_parquet, require_finite
from lhcml.taggers.inputs import columns_of, computed_inputs

SIGNAL, BACKGROUND = 1, 0


@dataclass(frozen=True)
class Jets:
    """Inputs of jets, packed: the rows of all jets one after the other, without padding.

    A jet has as many rows as constituents where the inputs are jagged columns, and one row where they are flat.

    Attributes
    ----------
    values : ndarray of float32, shape (rows, inputs)
    lengths : ndarray of int64, shape (jets,)
        Number of rows of each jet; they add up to `len(values)`.
    """

    values: NDArray[np.float32]
    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lengths)


@dataclass(frozen=True)
class LabelledJets:
    """Jets of both classes with `labels` (1 signal, 0 background) of shape (jets,)."""

    jets: Jets
    labels: NDArray[np.int64]

    def count(self) -> dict[str, int]:
        """Return the number of jets of each class."""
        signal = int(self.labels.sum())
        return {"signal": signal, "background": len(self.labels) - signal}

    def weights(self) -> NDArray[np.float32]:
        """Return weights of mean 1 that make both classes count the same."""
        counts = np.bincount(self.labels, minlength=2)
        return (len(self.labels) / (2.0 * counts))[self.labels].astype(np.float32)

    def digest(self) -> str:
        """Return the SHA-256 of inputs, lengths and labels: which jets a model was trained on, and in what order."""
        total = hashlib.sha256()
        for array in (self.jets.values, self.jets.lengths, self.labels):
            total.update(str((array.shape, array.dtype)).encode())
            total.update(np.ascontiguousarray(array).data)
        return total.hexdigest()


def pack(table: Any, inputs: Sequence[str], where: str) -> Jets:
    """Pack inputs of an awkward table of features.

    Parameters
    ----------
    table : awkward.Array
        Records with `columns_of(inputs)`, all flat or all jagged with the same multiplicity.
    inputs : sequence of str
        Feature columns or what `lhcml.taggers.inputs` computes from them, in order.
    where : str
        Name of the file, for messages.

    Raises
    ------
    UserError
        If flat and jagged columns are mixed, multiplicities differ, a column is not numeric, or a value is not finite.
    """
    import awkward as ak

    columns = columns_of(inputs)
    dimensions = {name: table[name].ndim for name in columns}
    if len(set(dimensions.values())) != 1 or max(dimensions.values()) > 2:
        kinds = ", ".join(f"{name} {'flat' if depth == 1 else 'jagged'}" for name, depth in dimensions.items())
        raise UserError(
            f"inputs mix flat and jagged columns in {where}: {kinds}",
            "choose inputs of one kind: jet_* (one number a jet), part_* or lund_* (one a constituent or declustering)",
        )
    jagged = dimensions[columns[0]] == 2
    lengths = ak.to_numpy(ak.num(table[columns[0]])) if jagged else np.ones(len(table))
    lengths = lengths.astype(np.int64)
    flat: dict[str, NDArray[np.floating]] = {}
    for name in columns:
        column = table[name]
        if jagged and not np.array_equal(ak.to_numpy(ak.num(column)), lengths):
            raise UserError(
                f"{columns[0]} and {name} in {where} differ in multiplicity", "choose inputs of the same objects"
            )
        values = ak.to_numpy(ak.flatten(column) if jagged else column)
        if values.dtype.kind not in "fiub":
            raise UserError(f"column {name} in {where} is of type {values.dtype}", "choose columns of numbers")
        flat[name] = values.astype(np.float32)
        require_finite(f"column {name}", flat[name], where)
    flat |= computed_inputs(inputs, flat, lengths)
    packed: NDArray[np.float32] = np.empty((int(lengths.sum()), len(inputs)), dtype=np.float32)
    for position, name in enumerate(inputs):
        packed[:, position] = flat[name]
    return Jets(packed, lengths)


def concatenate(parts: Sequence[Jets]) -> Jets:
    """Put packed jets one after the other."""
    return Jets(np.concatenate([p.values for p in parts]), np.concatenate([p.lengths for p in parts]))


def read_split(files: Mapping[int, Sequence[Path]], inputs: Sequence[str], split: str) -> LabelledJets:
    """Read the jets of one split from the feature files of both classes.

    Parameters
    ----------
    files : mapping
        Feature files by label: `SIGNAL` and `BACKGROUND`.
    inputs : sequence of str
        As for `pack`.
    split : str
        "train", "validation" or "test".

    Raises
    ------
    UserError
        If a file cannot be read, lacks a column, or a class has no jet in this split.
    """
    parts: list[Jets] = []
    labels: list[NDArray[np.int64]] = []
    for label, name in ((SIGNAL, "signal"), (BACKGROUND, "background")):
        chosen = []
        for path in files[label]:
            table = read_parquet(path, columns=[*columns_of(inputs), "split"])
            chosen.append(pack(table[table["split"] == split], inputs, str(path)))
        jets = concatenate(chosen)
        if len(jets) == 0:
            raise UserError(
                f"there is no {name} jet in the {split} split of {', '.join(map(str, files[label]))}",
                f"check `taggers: {name}:`, generate more events, or give the split a larger share in `features:`",
            )
        parts.append(jets)
        labels.append(np.full(len(jets), label, dtype=np.int64))
    return LabelledJets(concatenate(parts), np.concatenate(labels))
