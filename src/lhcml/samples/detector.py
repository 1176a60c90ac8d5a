"""Tracking of a parametric detector: propagation in the field, efficiencies, momentum resolutions.

All numbers are those of the ATLAS card of the fast simulation Delphes (arXiv:1307.6346; card delphes_card_ATLAS.tcl).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from lhcml.samples.arrays import Floats, Integers, Mask

# Tracker: solenoid field in T, radius and half-length of its volume in m.
FIELD = 2.0
RADIUS = 1.15
HALF_LENGTH = 3.51

MUON_MASS = 0.1056584
ELECTRON_MASS = 0.000511
PION_MASS = 0.1395704


@dataclass(frozen=True)
class Particles:
    """Stable particles or energy-flow candidates of all events, in one set of columns of shape (particles,).

    Attributes
    ----------
    event : ndarray of int64
        Event of each particle, ascending; by descending pT inside an event.
    pt, eta, phi, mass : ndarray of float64
        Momentum at the origin in GeV and rad.
    pdg_id, charge : ndarray of int32
        Particle code, charge in units of e.
    """

    event: Integers
    pt: Floats
    eta: Floats
    phi: Floats
    mass: Floats
    pdg_id: Integers
    charge: Integers

    @cached_property
    def energy(self) -> Floats:
        """Energy in GeV."""
        return np.hypot(self.pt * np.cosh(self.eta), self.mass)

    def of_events(self, keep: Mask) -> Particles:
        """Return the particles of the events flagged in `keep`, shape (events,), which are counted anew."""
        mask = keep[self.event]
        columns = {field.name: getattr(self, field.name)[mask] for field in fields(self)}
        columns["event"] = (np.cumsum(keep) - 1)[columns["event"]]
        return Particles(**columns)


@dataclass(frozen=True)
class Tracks:
    """Reconstructed tracks, columns of shape (tracks,).

    Attributes
    ----------
    source : ndarray of int64
        Position of the particle in `Particles`.
    pt, energy : ndarray of float64
        Measured, in GeV; the direction is that of the particle.
    resolution : ndarray of float64
        Relative pT resolution.
    """

    source: Integers
    pt: Floats
    energy: Floats
    resolution: Floats


def wrap_phi(phi: Floats) -> Floats:
    """Return angles moved into [-pi, pi)."""
    return (phi + np.pi) % (2 * np.pi) - np.pi


def propagate(particles: Particles, field: float = FIELD) -> tuple[Floats, Floats]:
    """Return eta and phi of the point where each particle, produced at the origin, leaves the tracker volume.

    A charged particle moves on a helix of radius r = pT / (0.3 B q) [m, GeV, T]; a positive one turns towards smaller
    phi in a field along +z. Those that never reach the barrel leave through an end.

    Parameters
    ----------
    particles : Particles
        Particles from the origin.
    field : float
        Field in T; 0 gives straight lines.

    Returns
    -------
    eta, phi : ndarray of float64, shape (particles,)
    """
    eta, phi = particles.eta.copy(), particles.phi.copy()
    bent = np.flatnonzero((particles.charge != 0) & (field != 0))
    if len(bent) == 0:
        return eta, phi
    charge = particles.charge[bent]
    radius = particles.pt[bent] / (0.299792458 * field * np.abs(charge))
    slope = np.sinh(particles.eta[bent])
    with np.errstate(divide="ignore"):
        turn_barrel = np.where(2 * radius > RADIUS, 2 * np.arcsin(np.minimum(RADIUS / (2 * radius), 1.0)), np.inf)
        turn_end = HALF_LENGTH / (radius * np.abs(slope))
    turn = np.minimum(turn_barrel, turn_end)
    # a looper exactly at eta = 0 never leaves: it is lost in the tracker, told by an infinite eta
    lost = ~np.isfinite(turn)
    turn[lost] = 0.0
    half = 0.5 * turn
    chord = 2 * radius * np.abs(np.sin(half))
    z = radius * turn * slope
    eta[bent] = np.where(lost, np.inf, np.arcsinh(z / np.maximum(chord, 1e-12)))
    # beyond a half turn the chord points the other way
    direction = particles.phi[bent] - np.sign(charge) * half + np.where(np.sin(half) < 0, np.pi, 0.0)
    phi[bent] = wrap_phi(direction)
    return eta, phi


def tracking_efficiency(pdg_id: Integers, pt: Floats, eta: Floats) -> Floats:
    """Return the probability that a charged particle gives a track.

    Parameters
    ----------
    pdg_id, pt, eta : ndarray, shape (particles,)
        Code, pT in GeV, pseudorapidity.
    """
    code = np.abs(pdg_id)
    barrel = np.abs(eta) <= 1.5
    # (soft barrel, soft end, hard barrel, hard end), soft: 0.1 < pT <= 1 GeV
    hadron = np.where(pt <= 1, np.where(barrel, 0.70, 0.60), np.where(barrel, 0.95, 0.85))
    electron = np.where(
        pt <= 1,
        np.where(barrel, 0.73, 0.50),
        np.where(pt <= 100, np.where(barrel, 0.95, 0.83), np.where(barrel, 0.99, 0.90)),
    )
    muon = np.where(pt <= 1, np.where(barrel, 0.75, 0.70), np.where(barrel, 0.99, 0.98))
    efficiency = np.where(code == 11, electron, np.where(code == 13, muon, hadron))
    return np.where((pt > 0.1) & (np.abs(eta) <= 2.5), efficiency, 0.0)


def track_resolution(pdg_id: Integers, pt: Floats, eta: Floats) -> Floats:
    """Return the relative pT resolution of tracks, sqrt(a^2 + (b pT)^2), at most 1.

    Parameters
    ----------
    pdg_id, pt, eta : ndarray, shape (tracks,)
        Code, pT in GeV, pseudorapidity.
    """
    code = np.abs(pdg_id)
    zone = np.digitize(np.abs(eta), [0.5, 1.5], right=True)
    constant = np.array([[0.06, 0.10, 0.25], [0.03, 0.05, 0.15], [0.01, 0.015, 0.025]])
    slope = np.array([[1.3e-3, 1.7e-3, 3.1e-3], [1.3e-3, 1.7e-3, 3.1e-3], [1.0e-4, 1.5e-4, 3.5e-4]])
    kind = np.where(code == 11, 1, np.where(code == 13, 2, 0))
    return np.minimum(np.hypot(constant[kind, zone], slope[kind, zone] * pt), 1.0)


def smear(mean: Floats, sigma: Floats, rng: np.random.Generator) -> Floats:
    """Return positive values with the given mean and standard deviation, log-normally distributed.

    A mean of zero stays zero. The log-normal keeps energies positive without shifting their mean.
    """
    positive = mean > 0
    ratio = np.divide(sigma, mean, out=np.zeros_like(mean), where=positive)
    width = np.sqrt(np.log1p(ratio**2))
    return np.where(positive, mean * np.exp(width * rng.standard_normal(len(mean)) - 0.5 * width**2), 0.0)


def track_mass(pdg_id: Integers) -> Floats:
    """Return the mass given to tracks in GeV: electrons and muons their own, all others the pion's."""
    code = np.abs(pdg_id)
    return np.where(code == 11, ELECTRON_MASS, np.where(code == 13, MUON_MASS, PION_MASS))


def find_tracks(
    particles: Particles, rng: np.random.Generator, *, inefficiency: bool = True, smearing: bool = True
) -> Tracks:
    """Return the tracks of charged particles within abs(eta) < 2.5.

    Parameters
    ----------
    particles : Particles
        Stable particles.
    rng : Generator
        Random numbers.
    inefficiency, smearing : bool
        Off for tests: every charged particle in acceptance gives a track, with its true momentum.
    """
    charged = np.flatnonzero(particles.charge != 0)
    pdg_id, pt, eta = particles.pdg_id[charged], particles.pt[charged], particles.eta[charged]
    efficiency = tracking_efficiency(pdg_id, pt, eta)
    found = rng.random(len(charged)) < efficiency if inefficiency else efficiency > 0
    source = charged[found]
    pt, eta, pdg_id = pt[found], eta[found], pdg_id[found]
    resolution = track_resolution(pdg_id, pt, eta)
    if smearing:
        pt = smear(pt, resolution * pt, rng)
    energy = np.hypot(pt * np.cosh(eta), track_mass(pdg_id))
    return Tracks(source, pt, energy, resolution)
