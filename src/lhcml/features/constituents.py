"""Constituents of jets from flat columns: gathering, ordering, relative kinematics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

# Per-constituent columns that `relative_kinematics` computes.
RELATIVE = (
    "part_deta", "part_dphi", "part_dr", "part_log_pt", "part_log_energy", "part_log_pt_rel", "part_log_energy_rel",
)  # fmt: skip


def constituent_lists(jet_count: Any, candidate_count: Any, link_jet: Any, link_candidate: Any) -> ak.Array:
    """Return the candidates of every jet, from NanoAOD's table of links.

    Parameters
    ----------
    jet_count, candidate_count : integer arrays of shape (events,)
        Numbers of jets and of candidates of each event.
    link_jet, link_candidate : ak.Array of shape (events, var)
        Index of the jet and of the candidate in the event, e.g. `FatJetPFCands_jetIdx`, `FatJetPFCands_pFCandsIdx`.

    Returns
    -------
    ak.Array of shape (jets of all events, var)
        Positions in the flat list of the candidates of all events; the order of links is kept.

    Raises
    ------
    IndexError
        If a link points to a jet or a candidate that the event does not have.
    """
    jet_count, candidate_count = np.asarray(jet_count), np.asarray(candidate_count)
    event: NDArray[np.int64] = np.repeat(np.arange(len(jet_count)), ak.to_numpy(ak.num(link_jet)))
    jet = ak.to_numpy(ak.flatten(link_jet)).astype(np.int64)
    candidate = ak.to_numpy(ak.flatten(link_candidate)).astype(np.int64)
    outside = (jet < 0) | (jet >= jet_count[event]) | (candidate < 0) | (candidate >= candidate_count[event])
    if outside.any():
        raise IndexError(f"{int(outside.sum())} of {outside.size} links point to no jet or to no candidate")
    flat_jet = first_of_event(jet_count)[event] + jet
    flat_candidate = first_of_event(candidate_count)[event] + candidate
    order = np.argsort(flat_jet, kind="stable")
    return ak.unflatten(flat_candidate[order], np.bincount(flat_jet, minlength=int(jet_count.sum())))


def first_of_event(counts: NDArray[Any]) -> NDArray[np.int64]:
    """Return the position of each event's first object in the flat list of all objects."""
    return (np.cumsum(counts) - counts).astype(np.int64)


def order_by_pt(pt: NDArray[Any], counts: NDArray[Any], most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the order of constituents by falling pt inside each jet, keeping the hardest `most` of a jet.

    Parameters
    ----------
    pt : array of shape (sum of counts,)
        Transverse momenta, jet after jet; equal ones keep their order.
    counts : integer array of shape (jets,)
        Constituents of each jet.
    most : int
        Largest number kept.

    Returns
    -------
    order : array of shape (constituents kept,)
        Positions in `pt`.
    kept : array of shape (jets,)
        New counts.
    """
    jet: NDArray[np.int64] = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((-pt, jet))
    position = np.arange(len(pt)) - np.repeat(first_of_event(counts), counts)
    return order[position < most], np.minimum(counts, most)


def relative_kinematics(
    parts: Mapping[str, NDArray[Any]], jets: Mapping[str, NDArray[Any]], counts: NDArray[Any]
) -> dict[str, NDArray[np.float64]]:
    """Return the kinematics of constituents relative to their jet, the inputs of ParticleNet (arXiv:1902.08570).

    Parameters
    ----------
    parts : mapping of str to array of shape (sum of counts,)
        "pt", "eta", "phi", "mass" of the constituents, in GeV and rad, jet after jet.
    jets : mapping of str to array of shape (jets,)
        The same of the jets.
    counts : integer array of shape (jets,)
        Constituents of each jet.

    Returns
    -------
    dict of str to array of shape (sum of counts,)
        `RELATIVE`: eta - eta_jet, phi - phi_jet in [-pi, pi), their length, the natural logarithms of pt and of energy
        in GeV, and those of pt / pt_jet and energy / energy_jet.
    """
    jet: dict[str, NDArray[np.float64]] = {
        name: np.repeat(np.asarray(values, np.float64), counts) for name, values in jets.items()
    }
    part = {name: np.asarray(values, np.float64) for name, values in parts.items()}
    log_energy, jet_log_energy = (
        0.5 * np.log((p["pt"] * np.cosh(p["eta"])) ** 2 + p["mass"] ** 2) for p in (part, jet)
    )
    deta = part["eta"] - jet["eta"]
    dphi = (part["phi"] - jet["phi"] + np.pi) % (2 * np.pi) - np.pi
    log_pt = np.log(part["pt"])
    columns = (
        deta, dphi, np.hypot(deta, dphi), log_pt, log_energy, log_pt - np.log(jet["pt"]), log_energy - jet_log_energy,
    )  # fmt: skip
    return dict(zip(RELATIVE, columns, strict=True))
