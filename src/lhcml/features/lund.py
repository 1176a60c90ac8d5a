"""Lund declusterings and soft drop of one Cambridge/Aachen tree, compiled."""

from __future__ import annotations

import math

import numpy as np

from lhcml.features.compiled import kernel
from lhcml.features.kinematics import FloatArray, IntArray, delta_phi, distance2

# Particles may coincide within the precision of a file. Distances and masses below these floors count as the floor in
# the logarithms: far below any tracker's resolution, at the rounding of a 1 TeV four-momentum.
LEAST_DELTA = 1e-5
LEAST_MASS = 1e-5


@kernel()
def node_mass(nodes: FloatArray, node: int) -> float:
    """Return the mass of a node in GeV; a mass squared that rounding made negative counts as zero."""
    px, py, pz, energy = nodes[node, 0], nodes[node, 1], nodes[node, 2], nodes[node, 3]
    return math.sqrt(max(energy * energy - px * px - py * py - pz * pz, 0.0))


@kernel()
def branch_distance(nodes: FloatArray, first: int, second: int) -> float:
    """Return the distance of two nodes in rapidity and azimuth."""
    return math.sqrt(distance2(nodes[first, 5], nodes[first, 6], nodes[second, 5], nodes[second, 6]))


@kernel()
def soft_drop(
    nodes: FloatArray, children: IntArray, n: int, zcut: float, beta: float, radius: float
) -> tuple[float, float, float]:
    """Return mass (GeV), z_g and R_g (rad) after soft drop (arXiv:1402.2657).

    The tree is followed from the whole jet along the harder branch, by pt, until
    min(pt1, pt2) / (pt1 + pt2) > zcut (ΔR12 / R0)^beta. If no splitting passes, one particle is left: its mass, z_g = 0
    and R_g = 0, as FastJet contrib does in its grooming mode.
    """
    if n == 0:
        return 0.0, 0.0, 0.0
    node = 2 * n - 2
    while node >= n:
        harder, softer = children[node - n]
        z = nodes[softer, 4] / (nodes[softer, 4] + nodes[harder, 4])
        distance = branch_distance(nodes, harder, softer)
        threshold = zcut if beta == 0.0 else zcut * (distance / radius) ** beta
        if z > threshold:
            return node_mass(nodes, node), z, distance
        node = harder
    return node_mass(nodes, node), 0.0, 0.0


@kernel()
def lund_declusterings(
    nodes: FloatArray, children: IntArray, n: int, values: FloatArray, parent: IntArray, depth: IntArray
) -> None:
    """Write every declustering of a jet of n constituents, the widest-angle one (the last merge) first.

    Of a splitting into a harder branch a and a softer branch b, by pt (arXiv:1807.04758): Delta = ΔR_ab,
    kt = pt_b Delta, z = pt_b / (pt_a + pt_b), psi = atan2(y_b - y_a, phi_b - phi_a), m the mass of a + b.

    Parameters
    ----------
    nodes, children : arrays
        The Cambridge/Aachen tree of `cluster`.
    n : int
        Number of constituents.
    values : array of shape (n - 1, 5)
        Filled with ln Delta, ln (kt / GeV), ln z, psi (rad), ln (m / GeV).
    parent : array of shape (n - 1,), int
        Filled with the row of the declustering that made the branch split here; -1 for the first.
    depth : array of shape (n - 1,), int
        Filled with the number of softer branches taken on the way from the whole jet: 0 is the primary Lund plane, 1 a
        leaf that sprouts from it, and so on.
    """
    row_of_parent: IntArray = np.full(2 * n - 1, -1)
    depth_of: IntArray = np.zeros(2 * n - 1, np.int64)
    for row in range(n - 1):
        node = 2 * n - 2 - row
        a, b = children[node - n]
        row_of_parent[a], row_of_parent[b] = row, row
        depth_of[a], depth_of[b] = depth_of[node], depth_of[node] + 1
        delta = max(branch_distance(nodes, a, b), LEAST_DELTA)
        values[row, 0] = math.log(delta)
        values[row, 1] = math.log(nodes[b, 4] * delta)
        values[row, 2] = math.log(nodes[b, 4] / (nodes[a, 4] + nodes[b, 4]))
        values[row, 3] = math.atan2(nodes[b, 5] - nodes[a, 5], delta_phi(nodes[a, 6], nodes[b, 6]))
        values[row, 4] = math.log(max(node_mass(nodes, node), LEAST_MASS))
        parent[row], depth[row] = row_of_parent[node], depth_of[node]
