"""Energy flow polynomials (Komiske, Metodiev, Thaler, arXiv:1712.07124) of many jets at once.

A multigraph stands for the sum, over a constituent for each vertex, of the product of the shares z_i = pt_i / sum of pt
of all vertices and of theta_ij = ΔR_ij^beta of all edges; unconnected parts multiply. Written out, n^vertices terms;
summed vertex by vertex instead (variable elimination), each step is a product of a matrix with a vector (vertices of
one neighbour) or with a matrix (two neighbours). Steps that several graphs share are done once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from lhcml.features.constituents import first_of_event
from lhcml.features.kinematics import FloatArray, IntArray
from lhcml.features.multigraphs import Graph, all_graphs, connected_graphs, vertices

# A matrix over pairs of constituents: number of the step that makes it, and whether it is transposed
Matrix: TypeAlias = tuple[int, bool]
# What multiplies z at a vertex: numbers of the steps that make these vectors, sorted
Weight: TypeAlias = tuple[int, ...]

THETA: Matrix = (0, False)
# Graphs of up to 7 edges need no more than what `Plan.eliminate` can do
LARGEST_DEGREE = 7
# Numbers in a batch's matrix: small enough that the matrices of a few steps stay in the cache
BATCH_ELEMENTS = 32768


@dataclass
class Plan:
    """Steps that make the polynomials of connected graphs, each step once.

    Attributes
    ----------
    steps : list of tuple
        What to compute: its kind, then what it is computed from, by the numbers of earlier steps.
    symmetric : dict of int to bool
        Whether the matrix of a step is symmetric.
    results : list of int
        Step of each polynomial.
    """

    steps: list[tuple[Any, ...]] = field(default_factory=lambda: [("theta",)])
    symmetric: dict[int, bool] = field(default_factory=lambda: {0: True})
    results: list[int] = field(default_factory=list)
    numbers: dict[tuple[Any, ...], int] = field(default_factory=dict)

    def number(self, *step: Any) -> int:
        """Return the number of a step, adding it if it is new."""
        if step not in self.numbers:
            self.numbers[step] = len(self.steps)
            self.steps.append(step)
        return self.numbers[step]

    def flipped(self, matrix: Matrix) -> Matrix:
        """Return the transposed matrix."""
        return matrix if self.symmetric[matrix[0]] else (matrix[0], not matrix[1])

    def product(self, factors: list[Matrix]) -> Matrix:
        """Return the product of matrices, element by element."""
        if len(factors) == 1:
            return factors[0]
        straight, turned = sorted(factors), sorted(map(self.flipped, factors))
        number = self.number("product", *min(straight, turned))
        self.symmetric[number] = straight == turned
        return number, turned < straight

    def path_steps(self, first: Matrix, weight: Weight, second: Matrix) -> tuple[tuple[Any, ...], bool]:
        """Return the step of the matrix sum_k first_ak z_k weight_k second_kb, and whether it gives the transposed."""
        straight, turned = (first, weight, second), (self.flipped(second), weight, self.flipped(first))
        return ("path", *min(straight, turned)), turned < straight

    def path(self, first: Matrix, weight: Weight, second: Matrix) -> Matrix:
        """Return the matrix of `path_steps`."""
        step, turned = self.path_steps(first, weight, second)
        number = self.number(*step)
        self.symmetric[number] = first == self.flipped(second)
        return number, turned and not self.symmetric[number]

    def eliminate(self, graph: Graph) -> int:
        """Add the steps of a connected graph and return the number of the last one."""
        weights: dict[int, Weight] = dict.fromkeys(range(vertices(graph)), ())
        edges: dict[int, dict[int, Matrix]] = {vertex: {} for vertex in weights}

        def connect(a: int, b: int, factors: list[Matrix]) -> None:
            edges[a][b] = self.product(factors)
            edges[b][a] = self.flipped(edges[a][b])

        for i, j, multiplicity in graph:
            connect(i, j, [THETA] * multiplicity)
        while len(weights) > 1:
            fewest = min(len(neighbours) for neighbours in edges.values())
            candidates = [vertex for vertex in weights if len(edges[vertex]) == fewest]
            if fewest == 1:
                steps = {u: ("matvec", self.flipped(m), weights[u]) for u in candidates for m in edges[u].values()}
                u = next((u for u in candidates if steps[u] in self.numbers), candidates[0])
                (a,) = edges[u]
                weights[a] = tuple(sorted([*weights[a], self.number(*steps[u])]))
            elif fewest == 2:
                paths = {}
                for u in candidates:
                    a, b = edges[u]
                    paths[u] = (self.flipped(edges[u][a]), weights[u], edges[u][b])
                u = next((u for u in candidates if self.path_steps(*paths[u])[0] in self.numbers), candidates[0])
                a, b = edges[u]
                present = [edges[a][b]] if b in edges[a] else []
                connect(a, b, [*present, self.path(*paths[u])])
            else:
                # of the graphs of up to 7 edges, only four vertices with an edge between any two are left here
                weights = self.eliminate_pair(weights, edges)
                break
            for neighbour in edges.pop(u):
                del edges[neighbour][u]
            del weights[u]
        (weight,) = weights.values()
        return self.number("sum", weight)

    def eliminate_pair(self, weights: dict[int, Weight], edges: dict[int, dict[int, Matrix]]) -> dict[int, Weight]:
        """Sum over two of four vertices that are all connected, then over a third; return the weight of the last."""
        plain = [v for v in weights if not weights[v]]
        pairs = [(c, d) for c in plain for d in plain if c < d]
        # a pair whose five edges are plain ones: then the step is the same for all graphs
        c, d = next((c, d) for c, d in pairs if all(m == THETA for v in (c, d) for m in edges[v].values()))
        a, b = (v for v in weights if v not in (c, d))
        matrix = self.product([edges[a][b], (self.tetrahedron(), False)])
        vector = self.number("matvec", matrix, weights[b])
        return {a: tuple(sorted([*weights[a], vector]))}

    def tetrahedron(self) -> int:
        """Return the step of the matrix sum_cd z_c z_d theta_ac theta_ad theta_bc theta_bd theta_cd."""
        number = self.number("tetrahedron")
        self.symmetric[number] = True
        return number


@cache
def make_plan(degree: int) -> Plan:
    """Return the steps for all connected graphs of 1 to `degree` edges, in the order of `connected_graphs`."""
    if not 1 <= degree <= LARGEST_DEGREE:
        raise ValueError(f"energy flow polynomials of degree {degree}: between 1 and {LARGEST_DEGREE} is possible")
    plan = Plan()
    plan.results = [plan.eliminate(graph) for size in range(1, degree + 1) for graph in connected_graphs(size)]
    return plan


@cache
def product_factors(degree: int) -> IntArray:
    """Return which connected graphs make each of `all_graphs`, by their positions, filled up with that after the last.

    Returns
    -------
    array of shape (graphs, degree), int
    """
    position = {graph: i for i, graph in enumerate(g for size in range(1, degree + 1) for g in connected_graphs(size))}
    factors = np.full((len(all_graphs(degree)), degree), len(position))
    for row, parts in zip(factors, all_graphs(degree), strict=True):
        row[: len(parts)] = [position[part] for part in parts]
    return factors


def evaluate(plan: Plan, z: FloatArray, theta: FloatArray) -> FloatArray:
    """Return the polynomials of a plan.

    Parameters
    ----------
    plan : Plan
    z : array of shape (jets, n)
        Shares of the transverse momentum; 0 for what fills up a jet of fewer than n constituents, which adds nothing.
    theta : array of shape (jets, n, n)
        Distances to the power beta.

    Returns
    -------
    array of shape (jets, polynomials)
    """
    values: dict[int, FloatArray] = {0: theta}
    last_use = {used: number for number, step in enumerate(plan.steps) for used in matrices_of(step)}

    def matrix(of: Matrix) -> FloatArray:
        return values[of[0]].swapaxes(1, 2) if of[1] else values[of[0]]

    def weighted(weight: Weight) -> FloatArray:
        result = z
        for number in weight:
            result = result * values[number]
        return result

    for number, (kind, *operands) in enumerate(plan.steps):
        if kind == "product":
            result = matrix(operands[0]) * matrix(operands[1])
            for factor in operands[2:]:
                result *= matrix(factor)
        elif kind == "path":
            first, weight, second = operands
            result = matrix(first) @ (weighted(weight)[:, :, None] * matrix(second))
        elif kind == "matvec":
            result = (matrix(operands[0]) @ weighted(operands[1])[:, :, None])[:, :, 0]
        elif kind == "tetrahedron":
            result = tetrahedron(z, theta)
        elif kind == "sum":
            result = weighted(operands[0]).sum(axis=1)
        else:
            continue
        values[number] = result
        for used in matrices_of(plan.steps[number]):
            if last_use[used] == number:
                del values[used]
    return np.stack([values[number] for number in plan.results], axis=1)


def matrices_of(step: tuple[Any, ...]) -> set[int]:
    """Return the steps whose matrices a step takes; the vectors are small and kept."""
    return {
        operand[0] for operand in step[1:] if isinstance(operand, tuple) and operand and isinstance(operand[-1], bool)
    }


def tetrahedron(z: FloatArray, theta: FloatArray) -> FloatArray:
    """Return the sum over c and d of z_c z_d theta_ac theta_ad theta_bc theta_bd theta_cd, shape (jets, n, n)."""
    result = np.empty_like(theta)
    for jet in range(len(z)):
        n = int(np.count_nonzero(z[jet]))
        one = theta[jet, :n, :n]
        first, second = np.tril_indices(n)
        both = one[first] * one[second] * z[jet, :n]
        result[jet] = 0.0
        result[jet, first, second] = result[jet, second, first] = np.einsum("pc,pc->p", both @ one, both)
    return result


def energy_flow_polynomials(
    counts: IntArray, pt: FloatArray, y: FloatArray, phi: FloatArray, *, degree: int, beta: float
) -> FloatArray:
    """Return all energy flow polynomials of up to a number of edges.

    Parameters
    ----------
    counts : array of shape (jets,), int
        Constituents of each jet.
    pt, y, phi : arrays of shape (sum of counts,)
        Constituents, jet after jet: GeV, rapidity, rad.
    degree : int
        Largest number of edges, 1 to 7.
    beta : float
        Power of the distances.

    Returns
    -------
    array of shape (jets, polynomials)
        In the order of `all_graphs`; a jet without constituents has 0 for all but the first, which is 1 for any jet.
    """
    plan = make_plan(degree)
    factors = product_factors(degree)
    result = np.zeros((len(counts), len(factors)))
    result[:, 0] = 1.0
    starts = first_of_event(counts)
    order = np.argsort(counts, kind="stable")
    order = order[counts[order] > 0]
    while len(order):
        # as many of the largest jets left as fill a batch, filled up to the largest
        n = int(counts[order[-1]])
        chosen = order[-max(1, BATCH_ELEMENTS // n**2) :]
        order = order[: -len(chosen)]
        real = np.arange(n) < counts[chosen, None]
        rows = (starts[chosen, None] + np.arange(n))[real]
        z, dense_y, dense_phi = np.zeros((3, len(chosen), n))
        z[real], dense_y[real], dense_phi[real] = pt[rows], y[rows], phi[rows]
        z /= z.sum(axis=1, keepdims=True)
        dphi = np.abs(dense_phi[:, :, None] - dense_phi[:, None, :]) % (2 * math.pi)
        dphi = np.minimum(dphi, 2 * math.pi - dphi)
        theta = ((dense_y[:, :, None] - dense_y[:, None, :]) ** 2 + dphi**2) ** (0.5 * beta)
        with_one = np.concatenate([evaluate(plan, z, theta), np.ones((len(chosen), 1))], axis=1)
        result[chosen] = with_one[:, factors].prod(axis=2)
    return result
