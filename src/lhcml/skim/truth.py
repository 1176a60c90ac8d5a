"""Matching of jets to hadronically decaying top quarks at generator level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from lhcml.skim.systematics import delta_r

TOP, W_BOSON = 6, 24
HEAVIEST_QUARK_IN_A_DECAY = 5


def origins(pdg: NDArray[np.integer[Any]], mother: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """Return for each particle its first ancestor of another kind; copies of a particle in the record are skipped.

    Parameters
    ----------
    pdg : ndarray
        PDG codes, shape (particles,), all events together.
    mother : ndarray
        Position of the mother in the same array, -1 if none.

    Returns
    -------
    ndarray
        Position of that ancestor, -1 if none.
    """
    origin = mother.copy()
    while True:
        same = (origin >= 0) & (pdg[origin] == pdg)
        if not same.any():
            return origin
        origin[same] = mother[origin[same]]


def hadronic_tops(particles: Mapping[str, ak.Array]) -> dict[str, ak.Array]:
    """Find the top quarks that decay to three quarks, with the directions of top and quarks.

    Parameters
    ----------
    particles : mapping of str to ak.Array
        Columns "eta", "phi", "pdgId", "genPartIdxMother" of NanoAOD's GenPart, shape (events, var).

    Returns
    -------
    dict of str to ak.Array
        "eta" and "phi" of shape (events, tops, 4): the top after radiation, the quark from its decay, the two quarks
        from the W boson's.
    """
    counts = ak.to_numpy(ak.num(particles["pdgId"]))
    starts: NDArray[np.int64] = np.repeat(np.cumsum(counts) - counts, counts)
    event: NDArray[np.int64] = np.repeat(np.arange(len(counts)), counts)
    pdg = ak.to_numpy(ak.flatten(particles["pdgId"])).astype(np.int64)
    local = ak.to_numpy(ak.flatten(particles["genPartIdxMother"])).astype(np.int64)
    mother = np.where(local >= 0, local + starts, -1)
    kind, position = np.abs(pdg), np.arange(len(pdg))
    origin = origins(pdg, mother)

    has_mother, has_origin = mother >= 0, origin >= 0
    # the last copy of a top is the mother of its W; the W's first copy has the top as its origin too
    quark = (kind >= 1) & (kind <= HEAVIEST_QUARK_IN_A_DECAY) & has_mother
    # copies of the decay quarks after radiation have themselves as mother: their first copy is the decay product
    first = quark & (pdg[mother] != pdg)
    from_top = first & (kind[mother] == TOP)
    from_w = first & (kind[mother] == W_BOSON) & has_origin
    w_parent = np.where(from_w, origin[origin], -1)
    from_w &= (w_parent >= 0) & (kind[w_parent] == TOP)

    # one row per top quark with exactly one quark of its own and two of its W
    owner = np.where(from_top, mother, np.where(from_w, w_parent, -1))
    n_own = np.bincount(owner[from_top], minlength=len(pdg))
    n_w = np.bincount(owner[from_w], minlength=len(pdg))
    tops = position[(kind == TOP) & (n_own == 1) & (n_w == 2)]
    row = np.full(len(pdg) + 1, -1)
    row[tops] = np.arange(len(tops))
    table: NDArray[np.int64] = np.zeros((len(tops), 4), np.int64)
    table[:, 0] = tops
    own = position[from_top & (row[owner] >= 0)]
    table[row[owner[own]], 1] = own
    pair = position[from_w & (row[owner] >= 0)]
    pair = pair[np.argsort(row[owner[pair]], kind="stable")]
    table[:, 2:] = pair.reshape(-1, 2)

    tops_per_event = np.bincount(event[tops], minlength=len(counts))
    found = {}
    for name in ("eta", "phi"):
        values = ak.to_numpy(ak.flatten(particles[name])).astype(np.float64)[table]
        found[name] = ak.unflatten(values, tops_per_event)
    return found


def holds_top(jets: Mapping[str, ak.Array], tops: Mapping[str, ak.Array], radius: float) -> ak.Array:
    """Tell for each jet whether a top quark and its three decay quarks are all within `radius` of its axis.

    Parameters
    ----------
    jets : mapping of str to ak.Array
        Columns "eta", "phi", shape (events, var).
    tops : mapping of str to ak.Array
        Result of `hadronic_tops`.
    radius : float
        Largest distance in pseudorapidity and azimuth.

    Returns
    -------
    ak.Array
        bool, shape of the jets.
    """
    inside = None
    for member in range(4):
        eta, top_eta = ak.unzip(ak.cartesian([jets["eta"], tops["eta"][:, :, member]], nested=True))
        phi, top_phi = ak.unzip(ak.cartesian([jets["phi"], tops["phi"][:, :, member]], nested=True))
        near = delta_r(eta, phi, top_eta, top_phi) < radius
        inside = near if inside is None else inside & near
    return ak.any(inside, axis=2)
