"""Luminosity sections of collision data: which are certified, and which a file holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.errors import UserError
from lhcml.common.files import read_json
from lhcml.skim.remote import FETCH_AGAIN, read_error

if TYPE_CHECKING:
    from lhcml.skim.read_source import Source


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


def compress_sections(run: NDArray[np.integer[Any]], block: NDArray[np.integer[Any]]) -> dict[str, list[list[int]]]:
    """Return sections as ``{"run": [[first, last], ...]}``, sorted, neighbours joined, each once.

    Parameters
    ----------
    run, block : ndarray
        Run and luminosity block, in any order, shape (sections,).
    """
    pairs = np.unique(np.stack([run, block], axis=1).astype(np.int64), axis=0)
    sections: dict[str, list[list[int]]] = {}
    for number, section in pairs.tolist():
        ranges = sections.setdefault(str(number), [])
        if ranges and ranges[-1][1] == section - 1:
            ranges[-1][1] = section
        else:
            ranges.append([section, section])
    return sections


def expand_sections(sections: Mapping[str, Sequence[Sequence[int]]]) -> NDArray[np.int64]:
    """Return each run and luminosity block of ``{"run": [[first, last], ...]}``, shape (sections, 2)."""
    pairs = [
        (int(run), section)
        for run, ranges in sections.items()
        for first, last in ranges
        for section in range(first, last + 1)
    ]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def read_sections(source: Source, golden: Mapping[int, NDArray[np.int64]] | None) -> dict[str, Any]:
    """Return the luminosity sections that a file holds and that are certified.

    Parameters
    ----------
    source : Source
        Open file.
    golden : mapping or None
        Result of `read_golden_json`; None takes all sections.

    Returns
    -------
    dict
        "sections", and "from", the tree they were read from. `LuminosityBlocks` knows the sections without an event;
        in a file without that tree they are those of its events.

    Raises
    ------
    UserError
        If the tree cannot be read.
    """
    names = ("run", "luminosityBlock")
    tree = "LuminosityBlocks" if "LuminosityBlocks" in source.directory.keys(cycle=False) else "Events"
    try:
        run, block = (np.asarray(source.directory[tree][name].array(), dtype=np.int64) for name in names)
    except Exception as error:
        raise read_error(
            source.path, f"cannot read the luminosity sections of {source.path}", error, f"it is damaged: {FETCH_AGAIN}"
        ) from error
    certified = np.ones(len(run), bool) if golden is None else luminosity_mask(run, block, golden)
    return {"from": tree, "sections": compress_sections(run[certified], block[certified])}
