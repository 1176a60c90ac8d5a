"""Matching of jets to hadronically decaying top quarks at generator level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.skim.jagged import Floats, Integers, Mask, owners, pairs, starts
from lhcml.skim.systematics import delta_r

TOP, Z_BOSON, W_BOSON = 6, 23, 24
# bit of NanoAOD's statusFlags
IS_LAST_COPY = 1 << 13
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


def hadronic_tops(particles: Mapping[str, NDArray[Any]], numbers: Integers) -> tuple[dict[str, Floats], Integers]:
    """Find the top quarks that decay to three quarks, with the directions of top and quarks.

    Parameters
    ----------
    particles : mapping of str to ndarray
        Columns "eta", "phi", "pdgId", "genPartIdxMother" of NanoAOD's GenPart, all events together.
    numbers : ndarray
        Number of particles, shape (events,).

    Returns
    -------
    directions : dict of str to ndarray
        "eta" and "phi" of shape (tops, 4): the top after radiation, the quark from its decay, the two quarks from the
        W boson's.
    numbers : ndarray
        Number of such tops, shape (events,).
    """
    pdg = particles["pdgId"].astype(np.int64)
    local = particles["genPartIdxMother"].astype(np.int64)
    mother = np.where(local >= 0, local + np.repeat(starts(numbers), numbers), -1)
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
    table: Integers = np.zeros((len(tops), 4), np.int64)
    table[:, 0] = tops
    own = position[from_top & (row[owner] >= 0)]
    table[row[owner[own]], 1] = own
    pair = position[from_w & (row[owner] >= 0)]
    pair = pair[np.argsort(row[owner[pair]], kind="stable")]
    table[:, 2:] = pair.reshape(-1, 2)

    directions = {name: particles[name].astype(np.float64)[table] for name in ("eta", "phi")}
    of_event: Integers = np.bincount(owners(numbers)[tops], minlength=len(numbers))
    return directions, of_event


def z_pt(particles: Mapping[str, NDArray[Any]], numbers: Integers) -> Floats:
    """Return the pT in GeV of the hardest Z boson of each event's record, last copies only; NaN if there is none.

    Parameters
    ----------
    particles : mapping of str to ndarray
        Columns "pt", "pdgId", "statusFlags" of GenPart, all events together.
    numbers : ndarray
        Number of particles, shape (events,).
    """
    chosen = (particles["pdgId"] == Z_BOSON) & (particles["statusFlags"].astype(np.int64) & IS_LAST_COPY > 0)
    hardest: Floats = np.full(len(numbers), -np.inf)
    np.maximum.at(hardest, owners(numbers)[chosen], particles["pt"][chosen])
    return np.where(np.isfinite(hardest), hardest, np.nan)


def holds_top(
    jets: Mapping[str, Floats], numbers: Integers, tops: Mapping[str, Floats], top_numbers: Integers, radius: float
) -> Mask:
    """Tell for each jet whether a top quark and its three decay quarks are all within `radius` of its axis.

    Parameters
    ----------
    jets : mapping of str to ndarray
        "eta", "phi" of the jets, all events together.
    numbers : ndarray
        Number of jets, shape (events,).
    tops, top_numbers
        Result of `hadronic_tops`.
    radius : float
        Largest distance in pseudorapidity and azimuth.

    Returns
    -------
    ndarray
        bool, shape (jets,).
    """
    jet, top = pairs(numbers, top_numbers)
    eta, phi = jets["eta"][jet][:, None], jets["phi"][jet][:, None]
    inside = (delta_r(eta, phi, tops["eta"][top], tops["phi"][top]) < radius).all(axis=1)
    holds: Mask = np.zeros(len(jets["eta"]), bool)
    holds[jet[inside]] = True
    return holds
