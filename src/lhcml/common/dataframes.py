"""Data frames that pandas wrote to HDF5 (`DataFrame.to_hdf`), read with h5py block by block.

pandas has two layouts (its documentation, "HDF5 (PyTables)"). *fixed*: a group with `axis0` (names of columns), `axis1`
(index), and for each type of number its columns: `block0_items` (names), `block0_values` (rows, columns),
`block1_items`, ... *table*: a group with one dataset `table` of records, whose fields `values_block_0`, ... are arrays;
the names of their columns are in the attributes `values_block_0_kind`, ... as a pickled list. Nothing is unpickled, as
that runs what the file says: of a pickled list of texts the texts are read, other pickled names are not.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lhcml.common.errors import UserError

FloatArray: TypeAlias = "NDArray[np.float64]"


@dataclass(frozen=True)
class DataFrame:
    """A data frame in an open file.

    Attributes
    ----------
    path : Path
        The file.
    blocks : tuple
        Datasets that hold the columns, with the field for a dataset of records.
    names : tuple of str or None
        Names of the columns in the order of `blocks`; None if they are numbers or not readable as text.
    order : ndarray of int, shape (columns,)
        Order in which columns are returned: that of their numbers, or else as stored.
    rows : int
        Number of rows.
    """

    path: Path
    blocks: tuple[tuple[Any, str | None], ...]
    names: tuple[str, ...] | None
    order: NDArray[np.int64]
    rows: int

    @property
    def columns(self) -> int:
        """Number of columns."""
        return len(self.order)

    def read(self, start: int, stop: int) -> FloatArray:
        """Return rows `start` to `stop` (not included) as an array of shape (rows, columns).

        Raises
        ------
        UserError
            If the bytes of these rows are damaged.
        """
        parts = []
        # the fields of records are in one dataset, whose bytes are read and decompressed once
        read: dict[str, Any] = {}
        for dataset, field in self.blocks:
            try:
                if dataset.name not in read:
                    read[dataset.name] = dataset[start:stop]
            except (OSError, RuntimeError) as error:
                raise UserError(
                    f"cannot read rows {start} to {stop} of {dataset.name} in {self.path}: {error}",
                    "the file is damaged: fetch it again",
                ) from error
            values = read[dataset.name] if field is None else read[dataset.name][field]
            parts.append(values.reshape(len(values), -1).astype(np.float64))
        return np.concatenate(parts, axis=1)[:, self.order]


def open_hdf5(path: Path) -> Any:
    """Open an HDF5 file to read, also one that is compressed with Blosc, and return the `h5py.File`.

    Raises
    ------
    UserError
        If the file is missing, damaged or not HDF5.
    """
    import h5py  # type: ignore[import-not-found,import-untyped,unused-ignore]

    # registers Blosc, by which PyTables compresses: the events of the LHC Olympics need it
    import hdf5plugin  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: F401

    if not path.is_file():
        raise UserError(f"there is no file {path}", "check the path in the configuration")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise UserError(
            f"cannot open {path} as HDF5: {error}", "it is truncated or not an HDF5 file: fetch it again"
        ) from error


@contextmanager
def open_data_frame(path: str | Path, key: str = "df") -> Iterator[DataFrame]:
    """Open the data frame of an HDF5 file.

    Parameters
    ----------
    path : path
        File written by `DataFrame.to_hdf`.
    key : str
        Name of the frame; a file with another name and one frame only is read as well.

    Yields
    ------
    DataFrame

    Raises
    ------
    UserError
        If the file is missing, damaged, not HDF5, holds no data frame of a known layout, or is compressed in a way that
        HDF5 and hdf5plugin cannot read (LZO).
    """
    import h5py  # type: ignore[import-not-found,import-untyped,unused-ignore]

    path = Path(path)
    with open_hdf5(path) as file:
        groups = [name for name, item in file.items() if isinstance(item, h5py.Group)]
        if key not in groups and len(groups) != 1:
            raise UserError(
                f"{path} has no data frame {key!r}; it holds: {', '.join(file) or 'nothing'}",
                "give a file written by pandas with `to_hdf(path, key='df')`",
            )
        group = file[key if key in groups else groups[0]]
        yield table_frame(path, group) if "table" in group else fixed_frame(path, group)


def fixed_frame(path: Path, group: Any) -> DataFrame:
    """Return the frame of a group in the layout `fixed`."""
    blocks: list[tuple[Any, None]] = []
    names: list[str | int] | None = []
    while not blocks or f"block{len(blocks)}_values" in group:
        number = len(blocks)
        values = require_dataset(path, group, f"block{number}_values", 2)
        items = column_names(require_dataset(path, group, f"block{number}_items", None))
        rows = len(blocks[0][0]) if blocks else len(values)
        width = values.shape[1] if items is None else len(items)
        if values.shape != (rows, width):
            raise UserError(
                f"{values.name} of {path} has the shape {values.shape}, expected ({rows}, {width})",
                "write the file again with pandas: `to_hdf(path, key='df', format='fixed')`",
            )
        names = None if names is None or items is None else names + items
        blocks.append((values, None))
    width = sum(values.shape[1] for values, _ in blocks)
    order = np.arange(width)
    if names is not None and all(isinstance(name, int) for name in names):
        order, names = np.argsort(names, kind="stable"), None
    text = None if names is None else tuple(str(name) for name in names)
    return DataFrame(path, tuple(blocks), text, order, len(blocks[0][0]))


def table_frame(path: Path, group: Any) -> DataFrame:
    """Return the frame of a group in the layout `table`.

    Its columns stand in the order of their blocks.
    """
    table = require_dataset(path, group, "table", 1)
    fields = [name for name in table.dtype.names or () if name != "index"]
    kinds = {name: table.dtype[name] for name in fields}
    if not fields or any(kind.base.kind not in "fiub" or len(kind.shape) > 1 for kind in kinds.values()):
        raise UserError(
            f"{table.name} of {path} is {table.dtype}, expected records of numbers",
            "write the file again with pandas: `to_hdf(path, key='df', format='fixed')`",
        )
    names: list[str] | None = []
    for field, kind in kinds.items():
        # pandas keeps a column as a field of its own if asked to (`data_columns`)
        found = [field] if kind.shape == () else pickled_texts(table.attrs.get(f"{field}_kind"))
        fits = found is not None and len(found) == int(np.prod(kind.shape, dtype=int))
        names = names + found if names is not None and found is not None and fits else None
    width = sum(int(np.prod(kind.shape, dtype=int)) for kind in kinds.values())
    text = None if names is None else tuple(names)
    return DataFrame(path, tuple((table, name) for name in fields), text, np.arange(width), len(table))


# steps of unpickling that only put texts into a list
LIST_STEPS = {"PROTO", "FRAME", "MARK", "LIST", "EMPTY_LIST", "APPEND", "APPENDS", "PUT", "BINPUT", "LONG_BINPUT",
              "MEMOIZE", "STOP"}  # fmt: skip
TEXT_STEPS = {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"}


def pickled_texts(pickled: Any) -> list[str] | None:
    """Return the texts of a pickled list of texts without unpickling it; None if it is anything else."""
    if not isinstance(pickled, bytes):
        return None
    texts: list[str] = []
    try:
        for step, argument, _ in pickletools.genops(bytes(pickled)):
            if step.name in TEXT_STEPS:
                texts.append(str(argument))
            elif step.name not in LIST_STEPS:
                return None
    except ValueError:
        return None
    return texts


def require_dataset(path: Path, group: Any, name: str, dimensions: int | None) -> Any:
    """Return a dataset of a group after checking that it is there, readable, and of a number of dimensions."""
    import h5py  # type: ignore[import-not-found,import-untyped,unused-ignore]

    dataset = group.get(name)
    if not isinstance(dataset, h5py.Dataset):
        raise UserError(
            f"{path} has no dataset {group.name}/{name}; {group.name} holds: {', '.join(group) or 'nothing'}",
            "give a file written by pandas with `to_hdf(path, key='df')`",
        )
    if dimensions is not None and dataset.ndim != dimensions:
        raise UserError(
            f"{dataset.name} of {path} has {dataset.ndim} dimensions, expected {dimensions}",
            "give a file written by pandas with `to_hdf(path, key='df')`",
        )
    stored = dataset.id.get_create_plist()
    filters = [stored.get_filter(number) for number in range(stored.get_nfilters())]
    for code, *_, title in filters:
        if not h5py.h5z.filter_avail(code):
            name = title.decode() or f"filter {code}"
            raise UserError(
                f"{dataset.name} of {path} is compressed with {name}, which cannot be read",
                f"compress it with zlib: `ptrepack --complevel=5 --complib=zlib {path} new.h5` (package pytables)",
            )
    return dataset


def column_names(dataset: Any) -> list[str | int] | None:
    """Return the names of columns if they are text or numbers, None if they are pickled."""
    if dataset.ndim != 1 or dataset.dtype.kind not in "Siu":
        return None
    values = dataset[()]
    if values.dtype.kind == "S":
        return [name.decode(errors="replace") for name in values.tolist()]
    return [int(name) for name in values]
