"""Jets as taggers read them: packed inputs, labels and splits from the feature files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.errors import UserError
from lhcml.common.files import parquet_columns, require_finite
from lhcml.taggers.inputs import columns_of, computed_inputs

SIGNAL, BACKGROUND = 1, 0
CLASSES = {SIGNAL: "signal", BACKGROUND: "background"}
# Jets scored at a time: small enough for the activations of a network to stay in the cache
SCORING_BATCH = 128
# Jets held in memory while files are read: about 150 MB with all inputs of 200 constituents
ROWS_AT_ONCE = 20_000


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


def read_batches(path: Path, columns: Sequence[str], rows: int = ROWS_AT_ONCE) -> Iterator[Any]:
    """Yield columns of a feature file as awkward records, some rows at a time.

    Raises
    ------
    UserError
        If the file cannot be read or lacks a column.
    """
    import awkward as ak
    import pyarrow
    import pyarrow.parquet

    present = parquet_columns(path)
    missing = [name for name in columns if name not in present]
    if missing:
        raise UserError(f"{path} has no column {', '.join(missing)}", f"choose among its columns: {', '.join(present)}")
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if file.metadata.num_rows == 0:
                yield ak.from_arrow(file.read(list(columns)))
            for batch in file.iter_batches(batch_size=rows, columns=list(columns)):
                yield ak.from_arrow(batch)
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(f"cannot read {path}: {error}", "the file is damaged: make or copy it again") from error


def pack(table: Any, inputs: Sequence[str], where: str) -> Jets:
    """Pack inputs of an awkward table of features.

    Parameters
    ----------
    table : awkward.Array
        Records with `columns_of(inputs)`: all flat, or all jagged with the same multiplicity. A flat column may hold
        lists of one length, such as `jet_efp`; it gives as many inputs.
    inputs : sequence of str
        Feature columns or what `lhcml.taggers.inputs` computes from them, in order.
    where : str
        Name of the file, for messages.

    Raises
    ------
    UserError
        If flat and jagged columns are mixed, multiplicities differ, a column is not numeric, or a value is missing or
        not finite.
    """
    import awkward as ak

    columns = columns_of(inputs)
    jagged = {name: isinstance(table[name].type.content, ak.types.ListType) for name in columns}
    if len(set(jagged.values())) != 1 or any(table[name].ndim > 2 for name in columns):
        kinds = ", ".join(f"{name} {'jagged' if jagged[name] else 'flat'}" for name in columns)
        raise UserError(
            f"inputs mix flat and jagged columns in {where}: {kinds}",
            "choose inputs of one kind: jet_* (one number a jet), part_* or lund_* (one a constituent or declustering)",
        )
    with_lists = jagged[columns[0]]
    lengths = ak.to_numpy(ak.num(table[columns[0]])) if with_lists else np.ones(len(table))
    lengths = lengths.astype(np.int64)
    flat: dict[str, NDArray[np.floating]] = {}
    for name in columns:
        column = table[name]
        if with_lists and not np.array_equal(ak.to_numpy(ak.num(column)), lengths):
            raise UserError(
                f"{columns[0]} and {name} in {where} differ in multiplicity", "choose inputs of the same objects"
            )
        try:
            values = ak.to_numpy(ak.flatten(column) if with_lists else column, allow_missing=False)
        except ValueError as error:
            raise UserError(f"column {name} in {where} has missing values", "fill or drop them") from error
        if values.dtype.kind not in "fiub":
            raise UserError(f"column {name} in {where} is of type {values.dtype}", "choose columns of numbers")
        flat[name] = values.astype(np.float32)
        require_finite(f"column {name}", flat[name], where)
    flat |= computed_inputs(inputs, flat, lengths)
    chosen = [flat[name] if flat[name].ndim == 2 else flat[name][:, None] for name in inputs]
    return Jets(np.concatenate(chosen, axis=1, dtype=np.float32), lengths)


def concatenate(parts: Sequence[Jets]) -> Jets:
    """Put packed jets one after the other."""
    return Jets(np.concatenate([p.values for p in parts]), np.concatenate([p.lengths for p in parts]))


def count_jets(files: Mapping[int, Sequence[Path]], split: str) -> dict[int, int]:
    """Return the number of jets of each class in a split.

    Raises
    ------
    UserError
        If a class has none.
    """
    counts = {}
    for label, name in CLASSES.items():
        counts[label] = sum(
            int(np.count_nonzero(table["split"] == split))
            for path in files[label]
            for table in read_batches(path, ["split"], 10 * ROWS_AT_ONCE)
        )
        if counts[label] == 0:
            raise UserError(
                f"there is no {name} jet in the {split} split of {', '.join(map(str, files[label]))}",
                f"check `taggers: {name}:`, generate more events, or give the split a larger share in `features:`",
            )
    return counts


def choose(counts: Mapping[int, int], size: int, seed: int) -> dict[int, NDArray[np.bool_]]:
    """Choose jets of both classes at random; the choice of a smaller size is part of that of a larger one.

    Parameters
    ----------
    counts : mapping
        Number of jets by label.
    size : int
        Jets to choose among all.
    seed : int
        Seed of the choice.

    Returns
    -------
    mapping
        Label -> whether each jet is chosen, shape (jets of the class,).

    Raises
    ------
    UserError
        If there are fewer jets, or none of a class is chosen.
    """
    total = sum(counts.values())
    if size > total:
        raise UserError(
            f"{size} training jets are asked for and there are {total}", "take a smaller size or generate more events"
        )
    chosen: NDArray[np.bool_] = np.zeros(total, dtype=bool)
    chosen[np.random.default_rng(seed).permutation(total)[:size]] = True
    first = counts[SIGNAL]
    result = {SIGNAL: chosen[:first], BACKGROUND: chosen[first:]}
    for label, name in CLASSES.items():
        if not result[label].any():
            raise UserError(f"no {name} jet is among the {size} training jets", "take a larger size")
    return result


def read_split(
    files: Mapping[int, Sequence[Path]],
    inputs: Sequence[str],
    split: str,
    folder: Path,
    chosen: Mapping[int, NDArray[np.bool_]] | None = None,
) -> LabelledJets:
    """Read the jets of one split from the feature files of both classes.

    The inputs go to a file in `folder` and are mapped from there, so that samples larger than the memory can be read:
    what stays in memory are lengths and labels, 16 bytes a jet, to which a training adds 12.

    Parameters
    ----------
    files : mapping
        Feature files by label: `SIGNAL` and `BACKGROUND`.
    inputs : sequence of str
        As for `pack`.
    split : str
        "train", "validation" or "test".
    folder : Path
        Folder for the packed inputs; must exist as long as the jets are used.
    chosen : mapping, optional
        As from `choose`: the jets of the split to keep, in the order of the files; all if not given.

    Raises
    ------
    UserError
        If a file cannot be read, lacks a column, or a class has no jet in this split.
    """
    lengths: list[NDArray[np.int64]] = []
    labels: list[NDArray[np.int64]] = []
    width = 0
    packed = folder / f"{split}.float32"
    counts = count_jets(files, split)
    with packed.open("wb") as stream:
        for label in CLASSES:
            keep = np.ones(counts[label], dtype=bool) if chosen is None else chosen[label]
            seen = 0
            for path in files[label]:
                for table in read_batches(path, [*columns_of(inputs), "split"]):
                    of_split = table[table["split"] == split]
                    jets = pack(of_split[keep[seen : seen + len(of_split)]], inputs, str(path))
                    seen += len(of_split)
                    jets.values.tofile(stream)
                    lengths.append(jets.lengths)
                    labels.append(np.full(len(jets), label, dtype=np.int64))
                    width = jets.values.shape[1]
    together = np.concatenate(lengths)
    # copy on write: torch wants arrays it could write to
    shape = (int(together.sum()), width)
    values: NDArray[np.float32] = (
        np.memmap(packed, np.float32, "c", shape=shape) if shape[0] else np.empty(shape, np.float32)
    )
    return LabelledJets(Jets(values, together), np.concatenate(labels))
