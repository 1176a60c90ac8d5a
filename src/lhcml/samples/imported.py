"""What the layouts of public files have in common: batches of events, and jets that come with their constituents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lhcml.common.errors import UserError
from lhcml.samples.arrays import Floats, Integers, Mask
from lhcml.samples.detector import Particles
from lhcml.samples.jets import Jets
from lhcml.samples.nanoaod import Columns

# Four-momenta in float32 know the square of a mass to a few 1e-7 of the square of the energy: less is rounding
MASS_ROUNDING = 1e-6


@dataclass(frozen=True)
class Batch:
    """Events of some rows of a file.

    Attributes
    ----------
    rows : ndarray of int64, shape (events,)
        Rows that became events, counted from the first row of the batch.
    branches : Columns
        Branches of the events but for their identity and weight.
    bad : int
        Rows of the label that were left out, because their numbers describe no event.
    """

    rows: Integers
    branches: Columns
    bad: int


@dataclass(frozen=True)
class EventTable:
    """Events in an open file.

    Attributes
    ----------
    path : Path
        The file.
    rows : int
        Number of rows.
    step : int
        Rows to read at a time, so that memory does not depend on the size of the file.
    read : callable
        `read(start, stop)` returns the `Batch` of these rows.
    """

    path: Path
    rows: int
    step: int
    read: Callable[[int, int], Batch]


def label_mask(values: Floats, label: str, codes: dict[str, int], path: Path, start: int) -> Mask:
    """Return which rows have a truth label, or all of them for "all".

    Parameters
    ----------
    values : ndarray, shape (rows,)
        Truth of the rows as in the file.
    label : str
        A name among `codes`, or "all".
    codes : dict
        Number of each label.
    path, start : Path, int
        File and its first row among these, for messages.

    Raises
    ------
    UserError
        If a value is none of the codes.
    """
    bad = np.flatnonzero(~np.isin(values, list(codes.values())))
    if len(bad):
        meaning = ", ".join(f"{code} ({name})" for name, code in codes.items())
        raise UserError(
            f"label of row {start + bad[0]} of {path} is {values[bad[0]]:g}, expected {meaning}",
            "the columns are not those of this layout: check `layout` and the file",
        )
    return np.ones(len(values), bool) if label == "all" else values == codes[label]


def by_falling_pt(particles: Particles) -> tuple[Particles, Integers]:
    """Return particles sorted by event and falling pT, and their positions before."""
    order = np.lexsort((-particles.pt, particles.event))
    columns = (particles.event, particles.pt, particles.eta, particles.phi, particles.mass, particles.pdg_id,
               particles.charge)  # fmt: skip
    return Particles(*(column[order] for column in columns)), order


def from_cartesian(px: Floats, py: Floats, pz: Floats, energy: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return pT, eta, phi and mass of four-momenta in GeV; a mass that float32 cannot tell from 0 is 0."""
    pt = np.hypot(px, py)
    square = energy**2 - pt**2 - pz**2
    mass = np.sqrt(np.where(square > MASS_ROUNDING * energy**2, square, 0.0))
    # a particle along the beam has a large finite eta, which is outside of every acceptance
    return pt, np.arcsinh(pz / np.maximum(pt, 1e-10)), np.arctan2(py, px), mass


def summed_momentum(particles: Particles, events: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Return pT, eta, phi and mass of the sum of the particles of each event, shape (events,); 0 without particles."""
    parts = (
        particles.pt * np.cos(particles.phi),
        particles.pt * np.sin(particles.phi),
        particles.pt * np.sinh(particles.eta),
        particles.energy,
    )
    px, py, pz, energy = (np.bincount(particles.event, part, minlength=events) for part in parts)
    pt = np.hypot(px, py)
    eta = np.arcsinh(np.divide(pz, pt, out=np.zeros(events), where=pt > 0))
    return pt, eta, np.arctan2(py, px), np.sqrt(np.maximum(energy**2 - pt**2 - pz**2, 0.0))


def single_jets(particles: Particles, momentum: tuple[Floats, Floats, Floats, Floats]) -> Jets:
    """Return one jet an event, made of all its particles; an event whose jet has no pT has none.

    Parameters
    ----------
    particles : Particles
        Constituents, sorted by event.
    momentum : tuple of ndarray, shape (events,)
        pT, eta, phi and mass of the jets.
    """
    there = momentum[0] > 0
    pt, eta, phi, mass = (values[there] for values in momentum)
    return Jets(
        counts=there.astype(np.int64),
        pt=pt,
        eta=eta,
        phi=phi,
        mass=mass,
        constituent_counts=np.bincount(particles.event, minlength=len(there))[there],
        constituents=np.flatnonzero(there[particles.event]),
    )
