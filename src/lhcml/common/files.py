"""Reading and writing of each kind of file, atomically and with errors that name the file."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lhcml.common.errors import UserError

if TYPE_CHECKING:
    import awkward as ak


# what the system answers when a file system takes no more: full, over quota, over the limit of a file, read-only
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
# a file system with less free bytes is full: libraries in C++ tell that in words of their own
FULL = 100_000


def find_no_room(folder: Path, error: Exception) -> str | None:
    """Return what says that a file system takes no more, or None if an error in writing has another cause.

    Parameters
    ----------
    folder : Path
        Where the file was written.
    error : Exception
        Its cause may be another error, which a library ran into and hid.
    """
    found: BaseException | None = error
    while found is not None:
        if getattr(found, "errno", None) in NO_ROOM:
            return str(found)
        found = found.__context__
    return str(error) if shutil.disk_usage(folder).free <= FULL else None


@contextmanager
def write_atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` and rename it to `path` when the block ends well.

    A job that is killed or fails in mid-write leaves no file under the final name. The content is on the disk before
    the name is, so that this holds for a power cut as well, and a quota that shows up only then is an error.

    Raises
    ------
    UserError
        If the folder cannot be written, or has no room for the file.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}",
            "check the permissions and the free space of that folder, or choose another with `--directory`",
        ) from error
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except Exception as error:
        reason = None if isinstance(error, UserError) else find_no_room(path.parent, error)
        if reason is None:
            raise
        raise UserError(
            f"cannot write {path}: {reason} ({shutil.disk_usage(path.parent).free // 10**6} MB are free)",
            "make room (or raise the quota) and run the same command again; what is complete is kept",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically."""
    with write_atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically, indented, NaN and infinity refused.

    Raises
    ------
    ValueError
        If the value holds NaN or infinity, which JSON cannot say; use None and report why.
    """
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    UserError
        If the file is missing or not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "check the path") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON: {error}", "delete it and run again, or mend it") from error


def is_remote(path: str) -> bool:
    """Tell whether a file name is an address, e.g. `root://host//path`."""
    return "://" in path


def read_list(path: str | Path) -> list[str]:
    """Read a file of file names, one a line; used where a rule has many inputs."""
    return [line for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]


def write_parquet(path: str | Path, columns: Mapping[str, Any]) -> None:
    """Write columns (NumPy or jagged awkward arrays of one length) to a Parquet file, zstd-compressed.

    Raises
    ------
    ValueError
        If the columns differ in length.
    """
    write_parquet_parts(path, [columns])


def write_parquet_parts(path: str | Path, parts: Iterable[Mapping[str, Any]]) -> None:
    """Write a Parquet file part by part, each a row group, so that only one is in memory.

    Parameters
    ----------
    path : path
        Final name.
    parts : iterable of mapping
        At least one; columns as in `write_parquet`, of the same names and types in each part.

    Raises
    ------
    ValueError
        If the columns of a part differ in length.
    """
    import awkward as ak

    def records() -> Iterator[ak.Array]:
        for columns in parts:
            lengths = {name: len(column) for name, column in columns.items()}
            if len(set(lengths.values())) > 1:
                raise ValueError(f"columns of different lengths for {path}: {lengths}")
            yield ak.Array(ak.zip(dict(columns), depth_limit=1))

    with write_atomic(path) as temporary:
        ak.to_parquet_row_groups(records(), temporary, compression="zstd", list_to32=True)


def parquet_columns(path: str | Path) -> list[str]:
    """Return the column names of a Parquet file.

    Raises
    ------
    UserError
        If the file is missing, truncated or not Parquet.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        return list(pyarrow.parquet.read_schema(path).names)
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(f"cannot read {path} as Parquet: {error}", "delete it and run again, or replace it") from error


def read_parquet(paths: str | Path | Sequence[str | Path], columns: Sequence[str] | None = None) -> ak.Array:
    """Read columns of one or several Parquet files into one awkward record array.

    Parameters
    ----------
    paths : path or sequence of paths
        Files, concatenated in the order given.
    columns : sequence of str, optional
        Columns to read; all if not given.

    Raises
    ------
    UserError
        If a file cannot be read or lacks a column, naming both.
    """
    import awkward as ak

    if isinstance(paths, (str, Path)):
        paths = [paths]
    parts = []
    for path in paths:
        present = parquet_columns(path)
        missing = [name for name in columns or [] if name not in present]
        if missing:
            raise UserError(
                f"{path} has no column {', '.join(missing)}", f"choose among its columns: {', '.join(present)}"
            )
        parts.append(ak.from_parquet(path, columns=None if columns is None else list(columns)))
    return parts[0] if len(parts) == 1 else ak.concatenate(parts)


def require_finite(name: str, values: Any, where: str) -> None:
    """Raise a UserError if numbers hold NaN or infinity.

    Parameters
    ----------
    name : str
        What the numbers are, e.g. "column jet_mass".
    values : array_like
        Numbers, flat or jagged.
    where : str
        File or step they come from.
    """
    import awkward as ak
    import numpy as np

    flat = ak.to_numpy(ak.flatten(ak.Array(values), axis=None)) if not isinstance(values, np.ndarray) else values
    bad = int(np.count_nonzero(~np.isfinite(flat)))
    if bad:
        raise UserError(
            f"{bad} of {flat.size} values of {name} in {where} are NaN or infinite",
            "find the events concerned in the input file; a NaN never enters a training or a fit",
        )


def finite_or_none(value: float) -> float | None:
    """Return a float for JSON, None where it is NaN or infinite."""
    return float(value) if math.isfinite(value) else None
