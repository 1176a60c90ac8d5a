"""Candidates of the selected jets, with their cross references renumbered."""

from __future__ import annotations

import awkward as ak
import numpy as np

from lhcml.common.errors import UserError
from lhcml.skim.jagged import Integers, Mask, counts, flat, owners, per_event, starts

ELECTRON, MUON, CHARGED_HADRON = 11, 13, 211


def particle_flow_charge(pdg: ak.Array) -> ak.Array:
    """Return the charge of particle-flow candidates from their PDG codes; recent NanoAOD does not store it.

    Candidates are charged hadrons (211), electrons (11) and muons (13), whose negative codes are the positive ones,
    photons and neutral hadrons.
    """
    kind, sign = abs(pdg), np.sign(pdg)
    charge = ak.where(kind == CHARGED_HADRON, sign, ak.where((kind == ELECTRON) | (kind == MUON), -sign, 0))
    return ak.values_astype(charge, np.int32)


def link_table(
    jet_index: ak.Array,
    candidate_index: ak.Array,
    n_jets: Integers,
    n_candidates: Integers,
    where: str,
) -> tuple[Integers, Integers, Integers, int]:
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
    jet, candidate, event = flat(jet_index), flat(candidate_index), owners(counts(jet_index))
    real = (jet.astype(np.int64) >= 0) & (candidate.astype(np.int64) >= 0)
    dropped = int(len(real) - np.count_nonzero(real))
    event, jet, candidate = event[real], jet[real].astype(np.int64), candidate[real].astype(np.int64)
    if (jet >= n_jets[event]).any() or (candidate >= n_candidates[event]).any():
        raise UserError(
            f"a link between jets and candidates in {where} points beyond the jets or candidates of its event",
            "the file was made inconsistently; set `keep.constituents: false` to skim it without candidates",
        )
    jet += starts(n_jets)[event]
    candidate += starts(n_candidates)[event]
    return event, jet, candidate, dropped


def keep_constituents(
    candidates: dict[str, ak.Array],
    jet_index: ak.Array,
    candidate_index: ak.Array,
    wanted: Mask,
    n_jets: Integers,
    where: str,
) -> tuple[dict[str, ak.Array], dict[str, ak.Array], int]:
    """Keep the candidates of wanted jets and renumber the links to them.

    Parameters
    ----------
    candidates : dict of str to ak.Array
        Columns of the candidates, shape (events, candidates).
    jet_index, candidate_index : ak.Array
        Links, shape (events, links).
    wanted : ndarray
        Jets wanted, all events together, shape (jets,).
    n_jets : ndarray
        Number of jets, shape (events,).
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
    n_candidates = counts(next(iter(candidates.values())))
    event, jet, candidate, dropped = link_table(jet_index, candidate_index, n_jets, n_candidates, where)
    chosen = wanted[jet]
    event, jet, candidate = event[chosen], jet[chosen], candidate[chosen]

    n_events = len(n_candidates)
    kept: Mask = np.zeros(int(n_candidates.sum()), bool)
    kept[candidate] = True
    kept_counts = per_event(kept, owners(n_candidates), n_events)
    new_position = np.cumsum(kept) - 1
    links = {
        "jetIdx": jet - starts(n_jets)[event],
        "pFCandsIdx": new_position[candidate] - starts(kept_counts)[event],
    }
    link_counts = np.bincount(event, minlength=n_events)
    columns = {name: ak.unflatten(flat(values)[kept], kept_counts) for name, values in candidates.items()}
    renumbered = {name: ak.unflatten(values.astype(np.int32), link_counts) for name, values in links.items()}
    return columns, renumbered, dropped
