"""Observables of one jet, compiled: angularities, N-subjettiness, energy correlators.

z_i is the share of constituent i in the scalar sum of transverse momenta, distances are in rapidity and azimuth, and R0
is the radius of the jet. All definitions have beta = 1 unless they say otherwise, and give 0 where a jet has too few
constituents to define them.
"""

from __future__ import annotations

import math

import numpy as np

from lhcml.features.compiled import kernel
from lhcml.features.kinematics import REORDER, FloatArray, distance2


@kernel()
def momentum_dispersion(pt: FloatArray) -> float:
    """Return pTD = sqrt(sum pt²) / sum pt (CMS, arXiv:1409.3072): 1 for one particle. Not collinear safe."""
    total = pt.sum()
    return math.sqrt((pt * pt).sum()) / total if total > 0.0 else 0.0


@kernel()
def angularity(pt: FloatArray, y: FloatArray, phi: FloatArray, axis_y: float, axis_phi: float, beta: float) -> float:
    """Return the sum of pt_i ΔR(i, axis)^beta over the sum of pt_i, in rad^beta.

    Divided by R0^beta it is the angularity lambda^1_beta (arXiv:1408.3122).
    """
    total = pt.sum()
    if total <= 0.0:
        return 0.0
    value = 0.0
    for i in range(pt.shape[0]):
        value += pt[i] * distance2(y[i], phi[i], axis_y, axis_phi) ** (0.5 * beta)
    return float(value / total)


@kernel(fastmath=REORDER)
def nsubjettiness(pt: FloatArray, y: FloatArray, phi: FloatArray, axes: FloatArray, tau: FloatArray) -> None:
    """Fill tau_N^(beta) times R0^beta: the sum of pt_i min_a ΔR(i, a)^beta over the sum of pt_i (arXiv:1011.2268).

    Parameters
    ----------
    pt, y, phi : arrays of shape (n,)
        Constituents, pt in GeV.
    axes : array of shape (a, 2)
        Rapidity and azimuth; the first N are the axes of tau_N, for every beta.
    tau : array of shape (at least a, 3)
        Row N - 1 is filled with tau_N for beta = 0.5, 1, 2, in rad^beta.
    """
    n = pt.shape[0]
    z = pt / pt.sum()
    nearest = np.full(n, np.inf)
    for a in range(axes.shape[0]):
        axis_y, axis_phi = axes[a, 0], axes[a, 1]
        half, one, two = 0.0, 0.0, 0.0
        for i in range(n):
            d2 = min(nearest[i], distance2(y[i], phi[i], axis_y, axis_phi))
            nearest[i] = d2
            d = math.sqrt(d2)
            half += z[i] * math.sqrt(d)
            one += z[i] * d
            two += z[i] * d2
        tau[a, 0], tau[a, 1], tau[a, 2] = half, one, two


@kernel(fastmath=REORDER)
def energy_correlators(pt: FloatArray, y: FloatArray, phi: FloatArray) -> tuple[float, float, float, float]:
    """Return the energy correlation functions e2, 3e3, 2e3 and 1e3 for beta = 1.

    e2 is the sum over pairs of z_i z_j theta_ij; v_e3 the sum over triplets of z_i z_j z_k times the product of the v
    smallest of the three angles, so that 3e3 is the e3 of arXiv:1305.0007 and arXiv:1409.6298, and 2e3 and 1e3 are
    those of arXiv:1609.07483. Exact; n³/6 terms, summed by vector instructions.

    Parameters
    ----------
    pt, y, phi : arrays of shape (n,)
        Constituents, pt in GeV.
    """
    n = pt.shape[0]
    total = pt.sum()
    if total <= 0.0:
        return 0.0, 0.0, 0.0, 0.0
    z = pt / total
    theta = np.empty((n, n))
    for i in range(n):
        for j in range(i + 1):
            theta[i, j] = theta[j, i] = math.sqrt(distance2(y[i], phi[i], y[j], phi[j]))
    e2, e3_all, e3_two, e3_one = 0.0, 0.0, 0.0, 0.0
    # k < j < i: loops from zero compile to vector instructions, loops from j + 1 do not (indices might be negative)
    for i in range(n):
        row_i = theta[i]
        for j in range(i):
            row_j = theta[j]
            ij = row_i[j]
            sum_all, sum_two, sum_one = 0.0, 0.0, 0.0
            for k in range(j):
                product, low = row_i[k] * row_j[k], min(row_i[k], row_j[k])
                sum_all += z[k] * product
                # the product of the two smallest is the least of the three products
                sum_two += z[k] * min(product, ij * low)
                sum_one += z[k] * min(ij, low)
            zz = z[i] * z[j]
            e2 += zz * ij
            e3_all += zz * ij * sum_all
            e3_two += zz * sum_two
            e3_one += zz * sum_one
    return e2, e3_all, e3_two, e3_one
