"""Anti-kT jets with FastJet, from columns of particles (arXiv:0802.1189, arXiv:1111.6097)."""

from __future__ import annotations

from dataclasses import dataclass

import awkward as ak
import fastjet
import numpy as np

from lhcml.samples.arrays import Floats, Integers
from lhcml.samples.detector import Particles


@dataclass(frozen=True)
class Jets:
    """Jets of all events, sorted by event and descending pT; GeV and rad.

    Attributes
    ----------
    counts : ndarray of int64, shape (events,)
        Number of jets of each event.
    pt, eta, phi, mass : ndarray of float64, shape (jets,)
        Momentum (sum of four-momenta).
    constituent_counts : ndarray of int64, shape (jets,)
        Number of constituents of each jet.
    constituents : ndarray of int64, shape (constituents,)
        Positions of the constituents in the input columns, jet by jet, in the order of the input.
    """

    counts: Integers
    pt: Floats
    eta: Floats
    phi: Floats
    mass: Floats
    constituent_counts: Integers
    constituents: Integers

    @property
    def leading_pt(self) -> Floats:
        """Transverse momentum of each event's leading jet in GeV, 0 where there is none; shape (events,)."""
        leading = np.zeros(len(self.counts))
        first = np.cumsum(self.counts) - self.counts
        some = self.counts > 0
        leading[some] = self.pt[first[some]]
        return leading


def cluster(particles: Particles, *, events: int, radius: float, min_pt: float, max_eta: float = 5.0) -> Jets:
    """Cluster particles with the anti-kT algorithm, event by event.

    Parameters
    ----------
    particles : Particles
        Particles of either level, sorted by event.
    events : int
        Number of events; some may have no particle.
    radius : float
        Jet radius.
    min_pt : float
        Least pT of a jet in GeV.
    max_eta : float
        Largest absolute pseudorapidity of a jet.
    """
    pt, phi = particles.pt, particles.phi
    counts = np.bincount(particles.event, minlength=events)
    momenta = ak.zip(
        {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(particles.eta), "E": particles.energy},
        with_name="Momentum4D",
    )
    with_particles = np.flatnonzero(counts)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    sequence = fastjet.ClusterSequence(
        ak.unflatten(momenta, counts[with_particles]), fastjet.JetDefinition(fastjet.antikt_algorithm, radius)
    )
    found = sequence.inclusive_jets(min_pt=min_pt)
    index = sequence.constituent_index(min_pt=min_pt)

    jet_counts = ak.to_numpy(ak.num(found))
    jet_event: Integers = np.repeat(with_particles, jet_counts)
    flat = ak.flatten(found)
    px, py, jet_pz, energy = (ak.to_numpy(flat[name]) for name in ("px", "py", "pz", "E"))
    jet_pt = np.hypot(px, py)
    jet_eta = np.arcsinh(jet_pz / jet_pt)
    mass2 = energy**2 - jet_pt**2 - jet_pz**2
    sizes = ak.to_numpy(ak.flatten(ak.num(index, axis=2)))
    members = ak.to_numpy(ak.flatten(index, axis=None)) + np.repeat(offsets[jet_event], sizes)
    starts = np.cumsum(sizes) - sizes

    accepted = np.flatnonzero(np.abs(jet_eta) < max_eta)
    order = accepted[np.lexsort((-jet_pt[accepted], jet_event[accepted]))]
    kept_sizes = sizes[order]
    inside = np.arange(kept_sizes.sum()) - np.repeat(np.cumsum(kept_sizes) - kept_sizes, kept_sizes)
    constituents = members[np.repeat(starts[order], kept_sizes) + inside]
    # ascending positions in each jet: the input is sorted by pT, and so are the constituents
    jet_of: Integers = np.repeat(np.arange(len(order)), kept_sizes)
    constituents = constituents[np.lexsort((constituents, jet_of))]
    return Jets(
        counts=np.bincount(jet_event[order], minlength=events),
        pt=jet_pt[order],
        eta=jet_eta[order],
        phi=np.arctan2(py[order], px[order]),
        # rounding may make the mass of a one-particle jet slightly imaginary
        mass=np.sqrt(np.maximum(mass2[order], 0.0)),
        constituent_counts=kept_sizes,
        constituents=constituents,
    )


def match(jets: Jets, targets: Jets, radius: float) -> Floats:
    """Return for each jet the number, in its event, of the nearest target jet within a radius, -1 if none.

    Parameters
    ----------
    jets, targets : Jets
        Jets of the same events, e.g. detector level and particle level.
    radius : float
        Largest distance in eta and phi.

    Returns
    -------
    ndarray of int32, shape (jets,)
    """
    if len(jets.pt) == 0 or len(targets.pt) == 0:
        return np.full(len(jets.pt), -1, dtype=np.int32)
    first = np.cumsum(targets.counts) - targets.counts
    event: Integers = np.repeat(np.arange(len(jets.counts)), jets.counts)
    lengths = targets.counts[event]
    width = int(lengths.max())
    column = np.arange(width)
    position = np.minimum(first[event][:, None] + column, len(targets.pt) - 1)
    delta_phi = np.abs(jets.phi[:, None] - targets.phi[position])
    delta_phi = np.minimum(delta_phi, 2 * np.pi - delta_phi)
    distance = np.hypot(jets.eta[:, None] - targets.eta[position], delta_phi)
    distance = np.where(column < lengths[:, None], distance, np.inf)
    nearest = distance.argmin(axis=1)
    matched = distance[np.arange(len(nearest)), nearest] < radius
    return np.where(matched, nearest, -1).astype(np.int32)
