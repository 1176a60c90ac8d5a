"""Finding the same jets in two tables by their keys, whatever the order of the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lhcml.common.errors import UserError
from lhcml.common.identity import JET_IDENTITY

# What tells a jet of one dataset apart
Columns: TypeAlias = Mapping[str, NDArray[np.int64]]


def identities(tables: Sequence[Columns], names: Sequence[str] = JET_IDENTITY) -> list[NDArray[np.int64]]:
    """Return one number a row of each table, equal where all key columns are equal, in any of the tables.

    Parameters
    ----------
    tables : sequence of mapping
        Columns of integers, those of a table of one length.
    names : sequence of str
        Key columns.
    """
    lengths = [len(table[names[0]]) for table in tables]
    number: NDArray[np.int64] = np.zeros(sum(lengths), dtype=np.int64)
    for name in names:
        values = np.unique(np.concatenate([table[name] for table in tables]), return_inverse=True)[1]
        # after each column the numbers are made dense again, so that the product never overflows
        number = np.unique(number * (values.max(initial=0) + 1) + values, return_inverse=True)[1]
    return np.split(number, np.cumsum(lengths)[:-1])


def positions_of(wanted: NDArray[np.int64], available: NDArray[np.int64], where: str) -> NDArray[np.int64]:
    """Return for each wanted identity its row among the available ones; -1 if it is not there.

    Raises
    ------
    UserError
        If an available identity occurs twice, so that its row is not defined.
    """
    order = np.argsort(available, kind="stable")
    ordered = available[order]
    repeated = int(np.count_nonzero(ordered[1:] == ordered[:-1]))
    if repeated:
        raise UserError(
            f"{repeated} jets of {where} occur more than once (same {', '.join(JET_IDENTITY)})",
            "keep one row a jet; if jets of several datasets share these numbers, add a column `dataset`",
        )
    if not available.size:
        return np.full(len(wanted), -1)
    place = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    return np.where(ordered[place] == wanted, order[place], -1)


def require_same_rows(first: Columns, second: Columns, where: str) -> None:
    """Raise a UserError unless two tables hold the same jets in the same order."""
    if any(not np.array_equal(first[name], second[name]) for name in JET_IDENTITY):
        raise UserError(
            f"the jets of {where} differ", "delete these files and run again: all come from the same features"
        )
