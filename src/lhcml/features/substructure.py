"""Substructure of many jets at once: the kernels for one jet, run over all jets in parallel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange

from lhcml.features.clustering import CAMBRIDGE_AACHEN, KT, cluster, four_momenta, winner_axes
from lhcml.features.compiled import kernel
from lhcml.features.kinematics import FloatArray, IntArray
from lhcml.features.lund import lund_declusterings, soft_drop
from lhcml.features.observables import angularity, energy_correlators, momentum_dispersion, nsubjettiness

# The 3 M - 4 = 20 of N-subjettiness that span the phase space of M = 8 bodies (arXiv:1704.08249, arXiv:1807.04769)
MOST_AXES = 7
TAUS = (
    *(f"jet_tau{n}_beta05" for n in range(1, MOST_AXES)),
    *(f"jet_tau{n}" for n in range(1, MOST_AXES + 1)),
    *(f"jet_tau{n}_beta2" for n in range(1, MOST_AXES + 1)),
)
# Columns of the result of `jet_observables`, in its order.
OBSERVABLES = (
    "jet_ptd", "jet_width", "jet_lha", "jet_tau21", "jet_tau32", "jet_tau43", "jet_c2", "jet_d2", "jet_n2", "jet_m2",
    "jet_msoftdrop", "jet_zg", "jet_rg", *TAUS,
)  # fmt: skip
LUND_VALUES = ("lund_ln_delta", "lund_ln_kt", "lund_ln_z", "lund_psi", "lund_ln_m")


@kernel()
def ratio(numerator: float, denominator: float) -> float:
    """Return a ratio, 0 where the denominator is 0 (too few constituents)."""
    return numerator / denominator if denominator > 0.0 else 0.0


@kernel()
def one_jet(
    nodes: FloatArray, n: int, radius: float, zcut: float, beta: float, row: FloatArray, values: FloatArray,
    parent: IntArray, depth: IntArray,
) -> None:  # fmt: skip
    """Fill the observables and the declusterings of one jet of n >= 1 constituents."""
    pt, y, phi = nodes[:n, 4].copy(), nodes[:n, 5].copy(), nodes[:n, 6].copy()
    children: IntArray = np.empty((n - 1, 2), np.int64)

    row[0] = momentum_dispersion(pt)

    cluster(nodes, n, KT, True, children)
    # tau_N is 0 for N or fewer constituents: each is an axis
    tau: Any = np.zeros((MOST_AXES, 3))
    nsubjettiness(pt, y, phi, winner_axes(nodes, children, n, min(MOST_AXES, n - 1)), tau)
    for count in range(1, 4):
        row[2 + count] = ratio(tau[count, 1], tau[count - 1, 1])
    row[13:19] = tau[:6, 0] / math.sqrt(radius)
    row[19:26] = tau[:, 1] / radius
    row[26:33] = tau[:, 2] / radius**2

    e2, e3_all, e3_two, e3_one = energy_correlators(pt, y, phi)
    row[6], row[7] = ratio(e3_all, e2**2), ratio(e3_all, e2**3)
    row[8], row[9] = ratio(e3_two, e2**2), ratio(e3_one, e2)

    # recoil moves the axis of the summed momenta, to which an angularity of beta < 1 is sensitive: hence the other axis
    cluster(nodes, n, CAMBRIDGE_AACHEN, True, children)
    whole = 2 * n - 2
    row[2] = angularity(pt, y, phi, nodes[whole, 5], nodes[whole, 6], 0.5) / math.sqrt(radius)

    cluster(nodes, n, CAMBRIDGE_AACHEN, False, children)
    row[1] = angularity(pt, y, phi, nodes[whole, 5], nodes[whole, 6], 1.0) / radius
    row[10], row[11], row[12] = soft_drop(nodes, children, n, zcut, beta, radius)
    lund_declusterings(nodes, children, n, values, parent, depth)


@kernel(parallel=True)
def all_jets(
    offsets: IntArray, pt: FloatArray, eta: FloatArray, phi: FloatArray, mass: FloatArray, radius: float, zcut: float,
    beta: float, lund_offsets: IntArray, table: FloatArray, values: FloatArray, parent: IntArray, depth: IntArray,
) -> None:  # fmt: skip
    """Run `one_jet` over all jets, in as many threads as numba has."""
    for jet in prange(offsets.shape[0] - 1):
        begin, end = offsets[jet], offsets[jet + 1]
        if end > begin:
            nodes = four_momenta(pt[begin:end], eta[begin:end], phi[begin:end], mass[begin:end])
            rows = slice(lund_offsets[jet], lund_offsets[jet + 1])
            one_jet(nodes, end - begin, radius, zcut, beta, table[jet], values[rows], parent[rows], depth[rows])


def jet_observables(
    counts: IntArray, pt: FloatArray, eta: FloatArray, phi: FloatArray, mass: FloatArray, *, radius: float, zcut: float,
    beta: float,
) -> tuple[FloatArray, IntArray, FloatArray, IntArray, IntArray]:  # fmt: skip
    """Return the substructure of jets given by their constituents.

    Parameters
    ----------
    counts : array of shape (jets,), int
        Number of constituents of each jet.
    pt, eta, phi, mass : arrays of shape (sum of counts,)
        Constituents, jet after jet, in GeV and rad; pt > 0.
    radius : float
        Radius R0 of the jets.
    zcut, beta : float
        Soft-drop condition z > zcut (ΔR / R0)^beta.

    Returns
    -------
    table : array of shape (jets, 33)
        The columns `OBSERVABLES`; a jet without constituents has 0 in all of them.
    lund_counts : array of shape (jets,), int
        Number of declusterings of each jet: one fewer than constituents, 0 without any.
    values : array of shape (sum of lund_counts, 5)
        The columns `LUND_VALUES`.
    parent, depth : arrays of shape (sum of lund_counts,), int
        See `lund_declusterings`.

    Raises
    ------
    ValueError
        If a constituent has no positive, finite pt or a momentum that is not finite.
    """
    pt, eta, phi, mass = (np.ascontiguousarray(values, dtype=np.float64) for values in (pt, eta, phi, mass))
    if not all(np.isfinite(values).all() for values in (pt, eta, phi, mass)) or (pt <= 0.0).any():
        raise ValueError("constituents must have pt > 0 and finite momenta")
    counts = np.asarray(counts, dtype=np.int64)
    lund_counts = np.maximum(counts - 1, 0)
    offsets, lund_offsets = (np.concatenate([[0], np.cumsum(c)]).astype(np.int64) for c in (counts, lund_counts))
    total = int(lund_offsets[-1])
    table = np.zeros((len(counts), len(OBSERVABLES)))
    values = np.empty((total, len(LUND_VALUES)))
    parent: IntArray = np.empty(total, np.int64)
    depth: IntArray = np.empty(total, np.int64)
    # the same types at each call: another signature would be compiled anew
    condition = float(radius), float(zcut), float(beta)
    all_jets(offsets, pt, eta, phi, mass, *condition, lund_offsets, table, values, parent, depth)
    return table, lund_counts, values, parent, depth
