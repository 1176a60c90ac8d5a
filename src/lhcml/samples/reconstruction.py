"""From stable particles to energy-flow candidates, identified leptons and missing energy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lhcml.samples.arrays import Floats, Integers, Mask
from lhcml.samples.calorimeter import ECAL, HCAL, run_energy_flow
from lhcml.samples.detector import (
    Particles,
    Tracks,
    find_tracks,
    propagate,
    track_mass,
)
from lhcml.samples.generator import EventRecord

# Neutrinos, a Z boson kept stable, and the lightest neutralino.
INVISIBLE = (12, 14, 16, 23, 1000022)

# Isolation of the card: sum of pT of candidates of at least 0.5 GeV within 0.5, over the pT of the lepton.
ISOLATION_CONE = 0.5
ISOLATION_MIN_PT = 0.5
ISOLATION_MAX = {11: 0.12, 13: 0.25}
LEPTON_MIN_PT = 10.0


@dataclass(frozen=True)
class Leptons:
    """Identified electrons or muons, sorted by event and descending pT; columns of shape (leptons,), GeV and rad.

    Attributes
    ----------
    relative_isolation_03 : ndarray of float64
        Sum of pT within 0.3 over the pT of the lepton.
    isolated : ndarray of bool
        Isolation of the card (within 0.5).
    """

    event: Integers
    pt: Floats
    eta: Floats
    phi: Floats
    charge: Integers
    relative_isolation_03: Floats
    isolated: Mask


def visible_particles(record: EventRecord, charge: Integers) -> Particles:
    """Return the stable particles that a detector can see, sorted by event and descending pT.

    Parameters
    ----------
    record : EventRecord
        Generated events.
    charge : ndarray, shape (particles,)
        Charge of each particle of the record in units of e.
    """
    keep = np.flatnonzero((record.status > 0) & ~np.isin(np.abs(record.pdg_id), INVISIBLE))
    px, py, pz = record.px[keep], record.py[keep], record.pz[keep]
    pt = np.hypot(px, py)
    event = record.event[keep]
    order = np.lexsort((-pt, event))
    keep, pt = keep[order], pt[order]
    return Particles(
        event=event[order],
        pt=pt,
        # a beam remnant may go exactly along the beam: a large finite eta is outside of every acceptance
        eta=np.arcsinh(pz[order] / np.maximum(pt, 1e-10)),
        phi=np.arctan2(py[order], px[order]),
        mass=record.mass[keep],
        pdg_id=record.pdg_id[keep],
        charge=charge[keep].astype(np.int32),
    )


def find_candidates(
    particles: Particles,
    rng: np.random.Generator,
    *,
    inefficiency: bool = True,
    smearing: bool = True,
    thresholds: bool = True,
    field: float | None = None,
) -> Particles:
    """Return the energy-flow candidates: tracks, ECAL photons and HCAL neutral hadrons.

    Their codes are those of particle flow: 11, 13 and 211 with their signs, 22, and 130 for neutral hadrons.

    Parameters
    ----------
    particles : Particles
        Stable particles.
    rng : Generator
        Random numbers.
    inefficiency, smearing, thresholds : bool
        Switches of the detector effects, for tests.
    field : float, optional
        Magnetic field in T; that of the card if not given.
    """
    impact = propagate(particles) if field is None else propagate(particles, field)
    tracks = find_tracks(particles, rng, inefficiency=inefficiency, smearing=smearing)
    objects = []
    for calorimeter in (ECAL, HCAL):
        neutrals, scale = run_energy_flow(
            calorimeter, particles, impact, tracks, rng, smearing=smearing, thresholds=thresholds
        )
        pt = neutrals.energy / np.cosh(neutrals.eta)
        code = np.full(len(pt), calorimeter.neutral_id)
        zero = np.zeros(len(pt))
        objects.append((neutrals.event, pt, neutrals.eta, neutrals.phi, zero, code, zero))
        scaled = tracks.pt * scale
        mass = track_mass(particles.pdg_id[tracks.source])
        energy = np.hypot(scaled * np.cosh(particles.eta[tracks.source]), mass)
        tracks = Tracks(tracks.source, scaled, energy, tracks.resolution)
    source = tracks.source
    code, charge = particles.pdg_id[source], particles.charge[source]
    flow_code = np.where(np.isin(np.abs(code), (11, 13)), code, (211 * np.sign(charge)).astype(np.int64))
    event = particles.event[source]
    eta, phi = particles.eta[source], particles.phi[source]
    objects.append((event, tracks.pt, eta, phi, track_mass(code), flow_code, charge))
    columns = [np.concatenate(parts) for parts in zip(*objects, strict=True)]
    order = np.lexsort((-columns[1], columns[0]))
    event, pt, eta, phi, mass, code, charge = (column[order] for column in columns)
    return Particles(event, pt, eta, phi, mass, code.astype(np.int32), charge.astype(np.int32))


def identification_efficiency(code: int, pt: Floats, eta: Floats) -> Floats:
    """Return the probability that the track of an electron (11) or muon (13) is identified; pT in GeV."""
    limit = 2.5 if code == 11 else 2.7
    efficiency = np.where(np.abs(eta) <= 1.5, 0.95, 0.85)
    return np.where((pt > LEPTON_MIN_PT) & (np.abs(eta) <= limit), efficiency, 0.0)


def find_leptons(code: int, candidates: Particles, rng: np.random.Generator, *, inefficiency: bool = True) -> Leptons:
    """Return identified leptons with their isolation.

    Electrons and muons do not count in the isolation sums, as in the card.

    Parameters
    ----------
    code : int
        11 or 13.
    candidates : Particles
        Energy-flow candidates.
    rng : Generator
        Random numbers.
    inefficiency : bool
        Off for tests: every lepton in acceptance is identified.
    """
    found = np.flatnonzero(np.abs(candidates.pdg_id) == code)
    efficiency = identification_efficiency(code, candidates.pt[found], candidates.eta[found])
    found = found[(rng.random(len(found)) < efficiency) if inefficiency else (efficiency > 0)]
    counted = np.flatnonzero(~np.isin(np.abs(candidates.pdg_id), (11, 13)) & (candidates.pt > ISOLATION_MIN_PT))
    sums = {cone: _cone_sums(candidates, found, counted, cone) / candidates.pt[found] for cone in (0.3, ISOLATION_CONE)}
    return Leptons(
        event=candidates.event[found],
        pt=candidates.pt[found],
        eta=candidates.eta[found],
        phi=candidates.phi[found],
        charge=candidates.charge[found],
        relative_isolation_03=sums[0.3],
        isolated=sums[ISOLATION_CONE] < ISOLATION_MAX[code],
    )


def _cone_sums(candidates: Particles, centres: Integers, counted: Integers, cone: float) -> Floats:
    # candidates are sorted by event: those of one event are a range
    low = np.searchsorted(candidates.event[counted], candidates.event[centres], side="left")
    high = np.searchsorted(candidates.event[counted], candidates.event[centres], side="right")
    lengths = high - low
    centre: Integers = np.repeat(np.arange(len(centres)), lengths)
    inside = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    other = counted[np.repeat(low, lengths) + inside]
    one = centres[centre]
    delta_phi = np.abs(candidates.phi[one] - candidates.phi[other])
    delta_phi = np.minimum(delta_phi, 2 * np.pi - delta_phi)
    near = np.hypot(candidates.eta[one] - candidates.eta[other], delta_phi) < cone
    return np.bincount(centre, np.where(near, candidates.pt[other], 0.0), minlength=len(centres))


def missing_momentum(event: Integers, pt: Floats, phi: Floats, events: int) -> tuple[Floats, Floats, Floats]:
    """Return missing pT, its angle, and the scalar pT sum of each event; shape (events,), GeV and rad."""
    px = -np.bincount(event, pt * np.cos(phi), minlength=events)
    py = -np.bincount(event, pt * np.sin(phi), minlength=events)
    return np.hypot(px, py), np.arctan2(py, px), np.bincount(event, pt, minlength=events)
