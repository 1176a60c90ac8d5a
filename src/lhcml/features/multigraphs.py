"""Multigraphs without loops, up to relabelling of their vertices: each stands for an energy flow polynomial.

A multigraph is a tuple of edges (i, j, multiplicity), i < j, over vertices 0, 1, ... without gaps. The graph of no edge
is the empty tuple.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import TypeAlias

Graph: TypeAlias = tuple[tuple[int, int, int], ...]


def vertices(graph: Graph) -> int:
    """Return the number of vertices; the graph of no edge has one."""
    return max((j for _, j, _ in graph), default=0) + 1


def degree(graph: Graph) -> int:
    """Return the number of edges, each counted as often as it is there."""
    return sum(multiplicity for _, _, multiplicity in graph)


def refine(colours: list[int], adjacency: list[list[int]]) -> list[int]:
    """Split classes of vertices by the classes of their neighbours, until nothing splits (1-Weisfeiler-Leman)."""
    while True:
        signatures = [
            (colour, tuple(sorted((other, m) for other, m in zip(colours, row, strict=True) if m)))
            for colour, row in zip(colours, adjacency, strict=True)
        ]
        number = {signature: position for position, signature in enumerate(sorted(set(signatures)))}
        if len(number) == len(set(colours)):
            return colours
        colours = [number[signature] for signature in signatures]


def labellings(colours: list[int], adjacency: list[list[int]]) -> Iterator[list[int]]:
    """Yield all labellings of the vertices that respect their classes, but one of each set that only swaps twins."""
    colours = refine(colours, adjacency)
    classes: dict[int, list[int]] = {}
    for vertex, colour in enumerate(colours):
        classes.setdefault(colour, []).append(vertex)
    several = [classes[colour] for colour in sorted(classes) if len(classes[colour]) > 1]
    if not several:
        order = sorted(colours)
        yield [order.index(colour) for colour in colours]
        return
    tried: list[int] = []
    for vertex in several[0]:
        if any(are_twins(vertex, other, adjacency) for other in tried):
            continue
        tried.append(vertex)
        chosen = [2 * colour + 1 for colour in colours]
        chosen[vertex] -= 1
        yield from labellings(chosen, adjacency)


def are_twins(first: int, second: int, adjacency: list[list[int]]) -> bool:
    """Tell whether two vertices have the same edges to all others, so that swapping them changes nothing."""
    others = (v for v in range(len(adjacency)) if v not in (first, second))
    return all(adjacency[first][v] == adjacency[second][v] for v in others)


def canonical(graph: Graph) -> Graph:
    """Return the same graph for all labellings of its vertices: the least of those that `labellings` yields."""
    n = vertices(graph)
    adjacency = [[0] * n for _ in range(n)]
    for i, j, multiplicity in graph:
        adjacency[i][j] = adjacency[j][i] = multiplicity
    return min(
        tuple(sorted((min(new[i], new[j]), max(new[i], new[j]), m) for i, j, m in graph))
        for new in labellings([0] * n, adjacency)
    )


@cache
def connected_graphs(edges: int) -> tuple[Graph, ...]:
    """Return all connected multigraphs of a number of edges: 1, 1, 2, 5, 12, 33, 103, 333 for 0 to 7 edges.

    Each comes from one with an edge less, by an edge between two of its vertices or to a new one: a connected graph has
    an edge whose removal leaves it connected, or a vertex with one edge only.
    """
    if edges == 0:
        return ((),)
    found = set()
    for graph in connected_graphs(edges - 1):
        n = vertices(graph)
        present = {(i, j): multiplicity for i, j, multiplicity in graph}
        for i in range(n):
            for j in range(i + 1, n + 1):
                larger = present | {(i, j): present.get((i, j), 0) + 1}
                found.add(canonical(tuple((a, b, m) for (a, b), m in sorted(larger.items()))))
    return tuple(sorted(found, key=lambda graph: (vertices(graph), graph)))


@cache
def all_graphs(edges: int) -> tuple[tuple[Graph, ...], ...]:
    """Return all multigraphs of up to a number of edges, each as its connected parts.

    Ordered by the number of edges, so that those of fewer edges come first whatever the largest number; then connected
    ones before others. 1, 2, 5, 13, 36, 102, 314, 1000 of them for up to 0 to 7 edges; the first is that of no edge,
    of which no parts are given.
    """

    def compositions(left: int, first: int, pool: Sequence[Graph]) -> Iterator[tuple[Graph, ...]]:
        if left == 0:
            yield ()
        for position in range(first, len(pool)):
            if degree(pool[position]) <= left:
                for rest in compositions(left - degree(pool[position]), position, pool):
                    yield (pool[position], *rest)

    graphs: list[tuple[Graph, ...]] = []
    for number in range(edges + 1):
        pool = [graph for size in range(number, 0, -1) for graph in connected_graphs(size)]
        graphs += sorted(compositions(number, 0, pool), key=len)
    return tuple(graphs)
