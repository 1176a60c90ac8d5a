"""Reclustering of the constituents of one jet, compiled.

A jet has tens of particles, where building FastJet's objects costs more than the clustering itself. The kernel here is
the nearest-neighbour algorithm of FastJet (arXiv:hep-ph/0512210) without tiles and without a beam: everything ends in
one jet, which is FastJet's result for a radius larger than the jet.
"""

from __future__ import annotations

import math

import numpy as np

from lhcml.features.compiled import kernel
from lhcml.features.kinematics import REORDER, TWO_PI, FloatArray, IntArray, distance2, rapidity

CAMBRIDGE_AACHEN = 0
KT = 1
# squared distance of a particle to itself, for the search of neighbours; larger than any other
FAR = 1e300


@kernel()
def four_momenta(pt: FloatArray, eta: FloatArray, phi: FloatArray, mass: FloatArray) -> FloatArray:
    """Return the nodes of a clustering tree with its leaves filled.

    Parameters
    ----------
    pt, eta, phi, mass : arrays of shape (n,)
        Constituents in GeV and rad.

    Returns
    -------
    array of shape (max(2 n - 1, 0), 7)
        Columns px, py, pz, energy, pt, rapidity, azimuth in [0, 2 pi); the first n rows are the constituents, the
        others are left for the merges.
    """
    n = pt.shape[0]
    nodes = np.zeros((max(2 * n - 1, 0), 7))
    for i in range(n):
        px, py, pz = pt[i] * math.cos(phi[i]), pt[i] * math.sin(phi[i]), pt[i] * math.sinh(eta[i])
        energy = math.sqrt((pt[i] * math.cosh(eta[i])) ** 2 + mass[i] ** 2)
        nodes[i, 0], nodes[i, 1], nodes[i, 2], nodes[i, 3], nodes[i, 4] = px, py, pz, energy, pt[i]
        nodes[i, 5] = rapidity(px, py, pz, energy)
        nodes[i, 6] = phi[i] % TWO_PI
    return nodes


@kernel()
def merge_nodes(nodes: FloatArray, first: int, second: int, new: int, winner_takes_all: bool) -> None:
    """Write the recombination of two nodes into a third.

    E-scheme: the four-momenta add. Winner-take-all: the transverse momenta add and the direction is that of the harder
    one (arXiv:1310.7584, arXiv:1401.2158); such a node has no four-momentum.
    """
    if winner_takes_all:
        harder = first if nodes[first, 4] >= nodes[second, 4] else second
        nodes[new, 4] = nodes[first, 4] + nodes[second, 4]
        nodes[new, 5], nodes[new, 6] = nodes[harder, 5], nodes[harder, 6]
        return
    for column in range(4):
        nodes[new, column] = nodes[first, column] + nodes[second, column]
    px, py = nodes[new, 0], nodes[new, 1]
    nodes[new, 4] = math.sqrt(px * px + py * py)
    nodes[new, 5] = rapidity(px, py, nodes[new, 2], nodes[new, 3])
    nodes[new, 6] = math.atan2(py, px) % TWO_PI


@kernel(fastmath=REORDER)
def nearest(slot: int, left: int, y: FloatArray, phi: FloatArray, d2: FloatArray) -> int:
    """Return the nearest of the first `left` slots to one of them; `d2` is filled with the squared distances to it."""
    own_y, own_phi = y[slot], phi[slot]
    for a in range(left):
        d2[a] = distance2(y[a], phi[a], own_y, own_phi)
    d2[slot] = FAR
    position: int = first_minimum(d2, left)
    return position


@kernel(fastmath=REORDER)
def first_minimum(values: FloatArray, count: int) -> int:
    """Return the position of the least of the first `count` numbers, the first of equal ones."""
    least, position = values[0], 0
    for a in range(1, count):
        if values[a] < least:
            least, position = values[a], a
    return position


@kernel()
def cluster(nodes: FloatArray, n: int, algorithm: int, winner_takes_all: bool, children: IntArray) -> None:
    """Cluster n constituents into one jet and note the tree on the way.

    Parameters
    ----------
    nodes : array of shape (2 n - 1, 7)
        From `four_momenta`; rows n and later are filled, in the order of the merges, the whole jet last.
    n : int
        Number of constituents.
    algorithm : int
        `CAMBRIDGE_AACHEN`, which merges the closest pair (hep-ph/9707323), or `KT`, the pair of least
        min(pt_i, pt_j)² ΔR_ij² (hep-ph/9305266).
    winner_takes_all : bool
        Recombination, see `merge_nodes`.
    children : array of shape (n - 1, 2), int
        Filled with the two nodes that merge k joined into node n + k, the harder one (by pt) first.
    """
    slot_node: IntArray = np.arange(n)
    y, phi, pt2, d2 = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    neighbour: IntArray = np.zeros(n, np.int64)
    # squared distance to the neighbour, and the distance measure of that pair
    near: FloatArray = np.empty(n)
    measure: FloatArray = np.empty(n)
    for i in range(n):
        y[i], phi[i] = nodes[i, 5], nodes[i, 6]
        pt2[i] = nodes[i, 4] ** 2 if algorithm == KT else 1.0
    for i in range(n):
        neighbour[i] = nearest(i, n, y, phi, d2)
        near[i] = d2[neighbour[i]]
    for i in range(n):
        measure[i] = near[i] * min(pt2[i], pt2[neighbour[i]])

    for left in range(n, 1, -1):
        # the pair of least measure is among the pairs of geometric neighbours (arXiv:hep-ph/0512210)
        i = first_minimum(measure, left)
        j = neighbour[i]
        if j < i:
            i, j = j, i

        new = 2 * n - left
        first, second = int(slot_node[i]), int(slot_node[j])
        if nodes[first, 4] < nodes[second, 4]:
            first, second = second, first
        children[new - n, 0], children[new - n, 1] = first, second
        merge_nodes(nodes, first, second, new, winner_takes_all)

        # the new node takes slot i; the last slot moves into j
        last = left - 1
        slot_node[i], y[i], phi[i] = new, nodes[new, 5], nodes[new, 6]
        pt2[i] = nodes[new, 4] ** 2 if algorithm == KT else 1.0
        slot_node[j], y[j], phi[j], pt2[j] = slot_node[last], y[last], phi[last], pt2[last]
        near[j], neighbour[j], measure[j] = near[last], neighbour[last], measure[last]
        for a in range(last):
            if a == i:
                continue
            if neighbour[a] == i or neighbour[a] == j:
                neighbour[a] = nearest(a, last, y, phi, d2)
                near[a] = d2[neighbour[a]]
                measure[a] = near[a] * min(pt2[a], pt2[neighbour[a]])
            elif neighbour[a] == last:
                neighbour[a] = j
        neighbour[i] = nearest(i, last, y, phi, d2)
        near[i] = d2[neighbour[i]]
        measure[i] = near[i] * min(pt2[i], pt2[neighbour[i]])
        for a in range(last):
            if d2[a] < near[a]:
                near[a], neighbour[a] = d2[a], i
                measure[a] = near[a] * min(pt2[a], pt2[i])


@kernel()
def winner_axes(nodes: FloatArray, children: IntArray, n: int, most: int) -> FloatArray:
    """Return the axes of the exclusive jets of a winner-take-all tree.

    The direction of a merger is that of its harder branch, so that the last merge but N adds one axis to those of N
    exclusive jets, that of its softer branch, and changes none.

    Returns
    -------
    array of shape (min(most, n), 2)
        Rapidity and azimuth; the first N rows are the axes of the N exclusive jets.
    """
    axes = np.empty((min(most, n), 2))
    for a in range(axes.shape[0]):
        node = 2 * n - 2 if a == 0 else children[n - 1 - a, 1]
        axes[a, 0], axes[a, 1] = nodes[node, 5], nodes[node, 6]
    return axes
