"""Candidates of the selected jets, with their cross references renumbered."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from lhcml.common.errors import UserError


def flatten(array: ak.Array) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the values of a jagged array, and how many each event has."""
    return ak.to_numpy(ak.flatten(array)), ak.to_numpy(ak.num(array)).astype(np.int64)


def link_table(
    jet_index: ak.Array,
    candidate_index: ak.Array,
    n_jets: NDArray[np.int64],
    n_candidates: NDArray[np.int64],
    where: str,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], int]:
    """Return the links of a chunk with positions counted over all its events; links to nothing (-1) are dropped.

    Parameters
    ----------
    jet_index, candidate_index : ak.Array
        Positions within the event, shape (events, links).
    n_jets, n_candidates : ndarray
        Numbers of jets and candidates, shape (events,).
    where : str
        File, for messages.

    Returns
    -------
    event, jet, candidate : ndarray
        Shape (links,).
    dropped : int
        Number of links dropped.

    Raises
    ------
    UserError
        If a link points beyond the jets or candidates of its event.
    """
    jet, counts = flatten(jet_index)
    candidate, _ = flatten(candidate_index)
    event: NDArray[np.int64] = np.repeat(np.arange(len(counts)), counts)
    real = (jet.astype(np.int64) >= 0) & (candidate.astype(np.int64) >= 0)
    dropped = int(len(real) - np.count_nonzero(real))
    event, jet, candidate = event[real], jet[real].astype(np.int64), candidate[real].astype(np.int64)
    if (jet >= n_jets[event]).any() or (candidate >= n_candidates[event]).any():
        raise UserError(
            f"a link between jets and candidates in {where} points beyond the jets or candidates of its event",
            "the file was made inconsistently; set `keep.constituents: false` to skim it without candidates",
        )
    jet += (np.cumsum(n_jets) - n_jets)[event]
    candidate += (np.cumsum(n_candidates) - n_candidates)[event]
    return event, jet, candidate, dropped


def keep_constituents(
    candidates: dict[str, ak.Array], jet_index: ak.Array, candidate_index: ak.Array, wanted: ak.Array, where: str
) -> tuple[dict[str, ak.Array], dict[str, ak.Array], int]:
    """Keep the candidates of wanted jets and renumber the links to them.

    Parameters
    ----------
    candidates : dict of str to ak.Array
        Columns of the candidates, shape (events, candidates).
    jet_index, candidate_index : ak.Array
        Links, shape (events, links).
    wanted : ak.Array
        bool per jet, shape (events, jets).
    where : str
        File, for messages.

    Returns
    -------
    candidates : dict of str to ak.Array
        Candidates that belong to a wanted jet, in their order.
    links : dict of str to ak.Array
        "jetIdx" (unchanged) and "pFCandsIdx" (into the kept candidates), int32.
    dropped : int
        Number of links to nothing (index -1) in the file.
    """
    wanted_flat, n_jets = flatten(wanted)
    n_candidates = ak.to_numpy(ak.num(next(iter(candidates.values())))).astype(np.int64)
    event, jet, candidate, dropped = link_table(jet_index, candidate_index, n_jets, n_candidates, where)
    chosen = wanted_flat[jet]
    event, jet, candidate = event[chosen], jet[chosen], candidate[chosen]

    n_events = len(n_candidates)
    kept: NDArray[np.bool_] = np.zeros(int(n_candidates.sum()), bool)
    kept[candidate] = True
    owner: NDArray[np.int64] = np.repeat(np.arange(n_events), n_candidates)
    kept_counts = np.bincount(owner[kept], minlength=n_events)
    new_position = np.cumsum(kept) - 1
    links = {
        "jetIdx": jet - (np.cumsum(n_jets) - n_jets)[event],
        "pFCandsIdx": new_position[candidate] - (np.cumsum(kept_counts) - kept_counts)[event],
    }
    link_counts = np.bincount(event, minlength=n_events)
    columns = {
        name: ak.unflatten(ak.to_numpy(ak.flatten(values))[kept], kept_counts) for name, values in candidates.items()
    }
    renumbered = {name: ak.unflatten(values.astype(np.int32), link_counts) for name, values in links.items()}
    return columns, renumbered, dropped
