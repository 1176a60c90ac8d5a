"""Calorimeter towers and energy flow of the parametric detector.

Geometry, fractions, resolutions and thresholds are those of the ATLAS card of Delphes (arXiv:1307.6346), and so is
the energy-flow rule: a tower whose energy exceeds that of its tracks significantly gives a neutral object with the
excess; in any other tower the tracks are scaled to the weighted mean of track and calorimeter energies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lhcml.samples.arrays import Floats, Integers
from lhcml.samples.detector import Particles, Tracks, smear


@dataclass(frozen=True)
class Calorimeter:
    """One calorimeter: a grid in eta and phi, its response and its thresholds.

    Attributes
    ----------
    eta_edges : ndarray of float64, shape (rings + 1,)
        Edges of the rings of towers.
    phi_towers : ndarray of int64, shape (rings,)
        Number of towers around each ring; the first one begins at phi = -pi.
    fraction : function
        Share of a particle's energy that it absorbs, from the absolute particle code.
    resolution : function
        Energy resolution sigma(eta, energy) of a tower in GeV.
    energy_min, significance_min : float
        A tower or neutral excess counts above this energy in GeV and this number of sigmas.
    neutral_id : int
        Particle code of its neutral objects.
    """

    eta_edges: Floats
    phi_towers: Integers
    fraction: Callable[[Floats], Floats]
    resolution: Callable[[Floats, Floats], Floats]
    energy_min: float
    significance_min: float
    neutral_id: int

    def tower(self, eta: Floats, phi: Floats) -> Floats:
        """Return the tower number of each point, -1 outside; shape of `eta`."""
        ring = np.searchsorted(self.eta_edges, eta) - 1
        inside = (ring >= 0) & (ring < len(self.phi_towers))
        ring = np.where(inside, ring, 0)
        towers = self.phi_towers[ring]
        step = np.floor((phi + np.pi) / (2 * np.pi) * towers).astype(np.int64) % towers
        first = np.concatenate([[0], np.cumsum(self.phi_towers)])
        return np.where(inside, first[ring] + step, -1)

    def edges(self, tower: Integers) -> tuple[Floats, Floats, Floats, Floats]:
        """Return eta low, eta high, phi low, phi high of towers."""
        first = np.concatenate([[0], np.cumsum(self.phi_towers)])
        ring = np.searchsorted(first, tower, side="right") - 1
        width = 2 * np.pi / self.phi_towers[ring]
        low = -np.pi + (tower - first[ring]) * width
        return self.eta_edges[ring], self.eta_edges[ring + 1], low, low + width

    @property
    def towers(self) -> int:
        """Number of towers."""
        return int(self.phi_towers.sum())


def _ecal_fraction(code: Integers) -> Floats:
    return np.where((code == 11) | (code == 22), 1.0, np.where((code == 310) | (code == 3122), 0.3, 0.0))


def _hcal_fraction(code: Integers) -> Floats:
    absent = (code == 11) | (code == 22) | (code == 13)
    return np.where(absent, 0.0, np.where((code == 310) | (code == 3122), 0.7, 1.0))


def _ecal_resolution(eta: Floats, energy: Floats) -> Floats:
    central = np.abs(eta) <= 3.2
    constant, stochastic = np.where(central, 0.0017, 0.035), np.where(central, 0.101, 0.285)
    return np.sqrt((constant * energy) ** 2 + stochastic**2 * energy)


def _hcal_resolution(eta: Floats, energy: Floats) -> Floats:
    zone = np.digitize(np.abs(eta), [1.7, 3.2], right=True)
    constant = np.array([0.0302, 0.0500, 0.0942])[zone]
    stochastic = np.array([0.5205, 0.706, 1.0])[zone]
    noise = np.array([1.59, 0.0, 0.0])[zone]
    return np.sqrt((constant * energy) ** 2 + stochastic**2 * energy + noise**2)


def _ecal() -> Calorimeter:
    # 0.0174 x 1 degree for abs(eta) < 2.958, then the rings of a forward calorimeter with 10 degrees
    fine = 0.0174 * np.arange(-170, 171)
    outer = np.array([3.125, 3.3, 3.475, 3.65, 3.825, 4.0, 4.175, 4.35, 4.525, 4.7, 5.0])
    edges = np.concatenate([-outer[::-1], fine, outer])
    phi_towers = np.where(np.abs(edges[:-1] + edges[1:]) / 2 < 2.958, 360, 36)
    return Calorimeter(edges, phi_towers, _ecal_fraction, _ecal_resolution, 0.5, 2.0, 22)


def _hcal() -> Calorimeter:
    # 0.1 x 10 degrees for abs(eta) < 2.6, then 20 degrees
    fine = 0.1 * np.arange(-26, 27)
    outer = np.array([2.8, 3.0, 3.2, 3.5, 3.7, 3.9, 4.1, 4.3, 4.5, 4.7, 4.9])
    edges = np.concatenate([-outer[::-1], fine, outer])
    phi_towers = np.where(np.abs(edges[:-1] + edges[1:]) / 2 < 2.6, 36, 18)
    return Calorimeter(edges, phi_towers, _hcal_fraction, _hcal_resolution, 1.0, 2.0, 130)


ECAL = _ecal()
HCAL = _hcal()


@dataclass(frozen=True)
class Neutrals:
    """Neutral energy-flow objects, columns of shape (objects,); massless, momenta in GeV."""

    event: Integers
    eta: Floats
    phi: Floats
    energy: Floats


def sum_in_towers(tower: Integers, values: Floats, towers: int) -> Floats:
    """Return the sum of `values` in each tower, float64 of shape (towers,)."""
    # the sum of no values at all would be of integers
    return np.bincount(tower, values, minlength=towers).astype(np.float64)


def run_energy_flow(
    calorimeter: Calorimeter,
    particles: Particles,
    impact: tuple[Floats, Floats],
    tracks: Tracks,
    rng: np.random.Generator,
    *,
    smearing: bool = True,
    thresholds: bool = True,
) -> tuple[Neutrals, Floats]:
    """Return the neutral objects of a calorimeter and the factor by which it scales each track.

    Parameters
    ----------
    calorimeter : Calorimeter
        ECAL or HCAL.
    particles : Particles
        Stable particles.
    impact : tuple of ndarray, shape (particles,)
        eta and phi where they enter the calorimeter.
    tracks : Tracks
        Tracks, with energies as they stand (the ECAL comes first).
    rng : Generator
        Random numbers.
    smearing, thresholds : bool
        Off for tests: towers measure their energy exactly, keep their centre, and any excess counts.

    Returns
    -------
    neutrals : Neutrals
        Neutral objects.
    scale : ndarray of float64, shape (tracks,)
        Factors on the momenta of the tracks.
    """
    code = np.abs(particles.pdg_id)
    fraction = calorimeter.fraction(code)
    cell = calorimeter.tower(*impact)
    # one number for a tower of an event
    key = particles.event * calorimeter.towers + cell
    hit = np.flatnonzero((fraction > 0) & (cell >= 0))
    own = np.flatnonzero((fraction[tracks.source] > 0) & (cell[tracks.source] >= 0))
    keys, position = np.unique(np.concatenate([key[hit], key[tracks.source[own]]]), return_inverse=True)
    at_particle, at_track = position[: len(hit)], position[len(hit) :]
    towers = len(keys)
    eta_low, eta_high, phi_low, phi_high = calorimeter.edges(keys % calorimeter.towers)
    centre = 0.5 * (eta_low + eta_high)

    deposit = sum_in_towers(at_particle, fraction[hit] * particles.energy[hit], towers)
    energy = smear(deposit, calorimeter.resolution(centre, deposit), rng) if smearing else deposit
    sigma = calorimeter.resolution(centre, energy)
    least, factor = (calorimeter.energy_min, calorimeter.significance_min) if thresholds else (0.0, 0.0)
    energy = np.where((energy < least) | (energy < factor * sigma), 0.0, energy)

    share = fraction[tracks.source[own]]
    track_energy = tracks.energy[own]
    charged = sum_in_towers(at_track, share * track_energy, towers)
    # the resolution of a track counts on its share where the track is the better measurement of the two
    calorimeter_better = calorimeter.resolution(centre[at_track], track_energy) / track_energy < tracks.resolution[own]
    guess = np.where(calorimeter_better, share * track_energy, track_energy)
    charged_sigma = np.sqrt(sum_in_towers(at_track, (tracks.resolution[own] * guess) ** 2, towers))

    excess = np.maximum(energy - charged, 0.0)
    total_sigma = np.hypot(charged_sigma, sigma)
    neutral = (excess > least) & (excess > factor * total_sigma)
    track_weight = np.divide(1.0, charged_sigma**2, out=np.zeros(towers), where=charged_sigma > 0)
    tower_weight = np.divide(1.0, sigma**2, out=np.zeros(towers), where=sigma > 0)
    best = np.divide(
        track_weight * charged + tower_weight * energy,
        track_weight + tower_weight,
        out=charged.copy(),
        where=track_weight + tower_weight > 0,
    )
    tower_scale = np.divide(best, charged, out=np.ones(towers), where=~neutral & (charged > 0))
    scale = np.ones(len(tracks.source))
    scale[own] = tower_scale[at_track]

    if smearing:
        # a position anywhere in the tower: no grid shows in the angles between constituents
        eta, phi = np.asarray(rng.uniform(eta_low, eta_high)), np.asarray(rng.uniform(phi_low, phi_high))
    else:
        eta, phi = centre, 0.5 * (phi_low + phi_high)
    neutrals = Neutrals(keys[neutral] // calorimeter.towers, eta[neutral], phi[neutral], excess[neutral])
    return neutrals, scale
