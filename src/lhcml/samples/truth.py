"""Pruned generator particles with NanoAOD's status codes, flags and mother indices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lhcml.samples.arrays import Floats, Integers, Mask
from lhcml.samples.generator import EventRecord

# Bits of GenPart_statusFlags as documented by NanoAOD.
IS_PROMPT = 1 << 0
IS_TAU_DECAY_PRODUCT = 1 << 2
IS_PROMPT_TAU_DECAY_PRODUCT = 1 << 3
IS_DIRECT_TAU_DECAY_PRODUCT = 1 << 4
IS_DIRECT_PROMPT_TAU_DECAY_PRODUCT = 1 << 5
IS_HARD_PROCESS = 1 << 7
FROM_HARD_PROCESS = 1 << 8
IS_FIRST_COPY = 1 << 12
IS_LAST_COPY = 1 << 13

_LEPTONS = (11, 12, 13, 14, 15, 16)
# W, Z, Higgs bosons, top, leptoquark, excited bosons; other new particles by their large codes
_HEAVY = (6, 23, 24, 25, 32, 33, 34, 35, 36, 37, 42)


@dataclass(frozen=True)
class GenParticles:
    """Generator particles that are kept, columns of shape (particles,) in the order of the record; GeV and rad."""

    counts: Integers
    pt: Floats
    eta: Floats
    phi: Floats
    mass: Floats
    pdg_id: Integers
    status: Integers
    status_flags: Integers
    mother: Integers


def follow(links: Integers) -> Floats:
    """Return where each chain of links ends; `links[i] == i` marks an end. Shape of `links`.

    Each step doubles the length covered, so even a chain of a thousand links takes ten.

    Raises
    ------
    ValueError
        If the links go round in a circle.
    """
    for _ in range(32):
        further = links[links]
        if np.array_equal(further, links):
            return links
        links = further
    raise ValueError("mother links of the event record go round in a circle")


def prune(record: EventRecord) -> GenParticles:
    """Select the generator particles of physics interest and link them to each other.

    Kept are, after NanoAOD's rules: the incoming and outgoing particles of the hard process and of its resonance decays
    (status 21 to 29), the last copies of these, heavy bosons, tops and new particles in their first and last copies,
    leptons and neutrinos that do not come from hadrons, and the direct decay products of such taus. The mother of a
    kept particle is its nearest kept ancestor. Hadrons and the shower are left out.

    Status codes are those of NanoAOD: 1 final, 2 decayed hadron or tau, else the absolute Pythia code.
    """
    size = len(record.pdg_id)
    code = np.abs(record.pdg_id)
    itself = np.arange(size)
    absolute_status = np.abs(record.status)
    # a gluon that splits into two has no copy: either could be called so, and a jet's whole shower would
    same = (record.pdg_id[record.mother] == record.pdg_id) & (record.mother != itself) & (record.pdg_id != 21)
    first = ~same
    has_copy: Mask = np.zeros(size, dtype=bool)
    has_copy[record.mother[same]] = True
    last = ~has_copy
    hard = (absolute_status >= 21) & (absolute_status <= 29)
    # beam particles, system entry: codes 11 and 12 of Pythia
    material = (absolute_status > 19) | (record.status > 0)
    # along copies up to a particle of the hard process
    origin = follow(np.where(same & ~hard, record.mother, itself))
    from_hard = hard[origin]
    first_copy = follow(np.where(same, record.mother, itself))
    parent = record.mother[first_copy]
    parent_code = code[parent]
    # codes of hadrons have at least three digits; 21-25 and the like are not among them
    parent_hadron = ((parent_code > 100) & (parent_code < 1_000_000)) | (absolute_status[parent] > 80)
    lepton = np.isin(code, _LEPTONS)
    from_tau = (parent_code == 15) & (parent != first_copy)
    prompt = lepton & ~parent_hadron & ~from_tau
    prompt_tau_product = from_tau & prompt[parent]
    heavy = np.isin(code, _HEAVY) | (code > 1_000_000) & (code < 10_000_000)
    keep = material & (
        hard | (from_hard & last) | (heavy & (first | last)) | (prompt & (first | last)) | prompt_tau_product
    )

    chosen = np.flatnonzero(keep)
    number = np.cumsum(keep) - 1
    ancestor = follow(np.where(keep, itself, record.mother))
    mother = ancestor[record.mother[chosen]]
    has_mother = keep[mother] & (mother != chosen)
    first_of_event = number[chosen[np.searchsorted(record.event[chosen], record.event[chosen])]]

    flags: Integers = np.zeros(size, dtype=np.int64)
    flags |= np.where((prompt | from_hard) & ~from_tau, IS_PROMPT, 0)
    tau_bits = IS_TAU_DECAY_PRODUCT | IS_DIRECT_TAU_DECAY_PRODUCT
    prompt_tau_bits = IS_PROMPT_TAU_DECAY_PRODUCT | IS_DIRECT_PROMPT_TAU_DECAY_PRODUCT
    flags |= np.where(from_tau, tau_bits, 0) | np.where(prompt_tau_product, prompt_tau_bits, 0)
    flags |= np.where(hard, IS_HARD_PROCESS, 0) | np.where(from_hard, FROM_HARD_PROCESS, 0)
    flags |= np.where(first, IS_FIRST_COPY, 0) | np.where(last, IS_LAST_COPY, 0)

    decayed = (record.status < 0) & ((code == 15) | (code > 100)) & (code < 1_000_000) & last
    status = np.where(record.status > 0, 1, np.where(decayed, 2, absolute_status))
    pt = np.hypot(record.px[chosen], record.py[chosen])
    return GenParticles(
        counts=np.bincount(record.event[chosen], minlength=record.size),
        pt=pt,
        # incoming partons have no pT: a large finite eta
        eta=np.arcsinh(record.pz[chosen] / np.maximum(pt, 1e-10)),
        phi=np.arctan2(record.py[chosen], record.px[chosen]),
        mass=record.mass[chosen],
        pdg_id=record.pdg_id[chosen],
        status=status[chosen].astype(np.int32),
        status_flags=flags[chosen].astype(np.int32),
        mother=np.where(has_mother, number[mother] - first_of_event, -1).astype(np.int32),
    )
