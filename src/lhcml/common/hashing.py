"""A hash of an event's identity, the same on every machine, for decisions that must not depend on order or chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit integers (the finaliser of SplitMix64, Steele, Lea, Flood 2014); wrap-around is meant."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def hash_events(*identity: Any) -> NDArray[np.uint64]:
    """Return a 64-bit hash of what identifies events, shape of the inputs.

    Parameters
    ----------
    *identity : integer arrays of one shape
        NanoAOD's `run`, `luminosityBlock`, `event`.
    """
    key = np.zeros(np.shape(identity[0]), np.uint64)
    for part in identity:
        key = mix((key ^ np.asarray(part).astype(np.uint64)) + GOLDEN)
    return key


def to_uniform(bits: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return numbers in [0, 1) from the upper 53 bits of hashes."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
