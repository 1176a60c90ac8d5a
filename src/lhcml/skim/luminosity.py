"""Certified luminosity sections of collision data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.errors import UserError
from lhcml.common.files import read_json


def read_golden_json(path: str | Path) -> dict[int, NDArray[np.int64]]:
    """Read a file of certified sections, ``{"run": [[first, last], ...]}``.

    Returns
    -------
    dict of int to ndarray
        Run to its ranges, ends included, shape (ranges, 2).

    Raises
    ------
    UserError
        If the file is not of that form.
    """
    content: Any = read_json(path)
    try:
        ranges = {int(run): np.array(sections, dtype=np.int64).reshape(-1, 2) for run, sections in content.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is not a file of certified luminosity sections",
            'give JSON of the form {"run": [[first, last], ...], ...}',
        ) from error
    return ranges


def luminosity_mask(
    run: NDArray[np.integer[Any]], block: NDArray[np.integer[Any]], golden: Mapping[int, NDArray[np.int64]]
) -> NDArray[np.bool_]:
    """Tell which events lie in a certified section.

    Parameters
    ----------
    run, block : ndarray
        Run and luminosity block, shape (events,).
    golden : mapping
        Result of `read_golden_json`.
    """
    certified: NDArray[np.bool_] = np.zeros(len(run), bool)
    for number in np.unique(run):
        of_run = run == number
        sections: Sequence[Any] | NDArray[np.int64] = golden.get(int(number), np.empty((0, 2), np.int64))
        for first, last in sections:
            certified |= of_run & (block >= first) & (block <= last)
    return certified
