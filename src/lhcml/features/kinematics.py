"""Rapidities and distances inside compiled kernels, with FastJet's conventions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lhcml.features.compiled import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

TWO_PI = 2.0 * math.pi
# Rapidity given to a momentum along the beam, FastJet's `MaxRap`; such a particle has no direction in the plane.
MAX_RAPIDITY = 1e5

# Lets sums and minima of finite numbers be taken in another order, so that they compile to vector instructions.
REORDER = {"reassoc", "contract", "nsz", "nnan", "ninf"}


@kernel()
def rapidity(px: float, py: float, pz: float, energy: float) -> float:
    """Return the rapidity of a four-momentum in GeV.

    Written with the transverse mass, so that it does not lose its digits for forward particles; a mass squared that
    rounding made negative counts as zero, as in FastJet.
    """
    pt2 = px * px + py * py
    m2 = max(energy * energy - pz * pz - pt2, 0.0)
    mt2 = pt2 + m2
    if mt2 == 0.0:
        return math.copysign(MAX_RAPIDITY, pz)
    y = -0.5 * math.log(mt2 / (energy + abs(pz)) ** 2)
    return -y if pz < 0.0 else y


@kernel()
def delta_phi(phi1: float, phi2: float) -> float:
    """Return phi2 - phi1 in [-pi, pi), for angles in rad of any range."""
    return (phi2 - phi1 + math.pi) % TWO_PI - math.pi


@kernel(fastmath=REORDER)
def distance2(y1: float, phi1: float, y2: float, phi2: float) -> float:
    """Return the squared distance in the rapidity-azimuth plane, for azimuths in one turn (they differ by < 2 pi)."""
    dphi = abs(phi1 - phi2)
    # the shorter way round; a minimum and not a branch, for vector instructions
    dphi = min(dphi, TWO_PI - dphi)
    dy = y1 - y2
    return dy * dy + dphi * dphi
