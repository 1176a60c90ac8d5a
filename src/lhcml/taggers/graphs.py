"""Edge convolutions (arXiv:1801.07829) on the rows of packed jets, for any graph between them.

A layer computes for each edge from row j to row i a small network of [x_i, x_j - x_i] and averages it over the edges of
row i. On a CPU the cost is memory traffic, not arithmetic, as there are many more edges than rows. Therefore

- the first dense layer acts on rows: W [x_i, x_j - x_i] = (W_1 - W_2) x_i + W_2 x_j, two terms to add on each edge;
- there is no padding: batch norm and all products see existing edges only;
- edges are worked on in pieces of whole jets that stay in the cache while they are normalised, rectified and
  multiplied. Only what enters each batch norm is kept for the gradient, which `EdgeNetwork` computes by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
from torch import nn
from torch.nn.functional import linear

# Numbers in a piece of edges, (edges, width) float32: 0.5 MB, so that a few of them fit in a second-level cache
PIECE = 2**17
EPSILON = 1e-5
Moments = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Graph:
    """Edges between rows of the same jet, sorted by `centre`.

    Attributes
    ----------
    centre, neighbour : torch.Tensor of int64, shape (edges,)
        The row that an edge ends on and the row that it comes from.
    lengths : torch.Tensor of int64, shape (jets,)
        Rows of each jet.
    exists : torch.Tensor of bool, shape (edges,), optional
        False for slots without an edge, for batches of equal jets, whose shapes must not depend on values (export).
        Default: all exist.
    incidence : torch.Tensor of bool, shape (jets, n, slots of a jet), optional
        Beside `exists`: which slots end on which row of a jet of n rows, if rows do not have equally many, in turn.
    """

    centre: torch.Tensor
    neighbour: torch.Tensor
    lengths: torch.Tensor
    exists: torch.Tensor | None = None
    incidence: torch.Tensor | None = None


def sum_listed(table: torch.Tensor, listed: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
    """Add up listed rows of a table: result i is the sum of `table[listed[starts[i]:starts[i + 1]]]`.

    Gather and sum in one pass, parallel and in fixed order; `index_add` takes three times as long on a CPU.
    """
    if len(listed) == 0:
        return table.new_zeros(len(starts), table.shape[1])
    return torch.embedding_bag(table, listed, starts, mode=0)[0]


def starts_of(degree: torch.Tensor) -> torch.Tensor:
    """Return where the edges of each row begin in a list sorted by rows."""
    return torch.cumsum(degree, 0) - degree


def moments_of(pieces: Sequence[torch.Tensor]) -> Moments:
    """Return mean and variance (biased) of each column over all pieces, each (edges, width), with at least one edge."""
    # as an image of one channel a column, channels last: the fastest of torch's kernels for column moments
    images = [piece.view(1, len(piece), 1, -1).permute(0, 3, 1, 2) for piece in pieces]
    parts = [torch.batch_norm_update_stats(image, None, None, 0.0) for image in images]
    counts = pieces[0].new_tensor([len(piece) for piece in pieces])[:, None]
    means, variances = (torch.stack(part) for part in zip(*parts, strict=True))
    mean = (counts * means).sum(0) / counts.sum()
    return mean, (counts * (variances + (means - mean) ** 2)).sum(0) / counts.sum()


def edge_pieces(graph: Graph, degree: torch.Tensor, width: int) -> list[tuple[slice, slice]]:
    """Cut the batch between jets into pieces of about `PIECE / width` edges a thread; return their rows and edges."""
    rows = torch.cumsum(graph.lengths, 0)
    edges = torch.cumsum(torch.nn.functional.pad(degree, (1, 0)), 0)[rows]
    total = len(graph.centre)
    # each core has a cache of its own
    count = max(1, round(total * width / (PIECE * torch.get_num_threads())))
    wanted = torch.arange(1, count + 1, device=rows.device) * total // count
    cuts = torch.searchsorted(edges, wanted).unique()
    row_cuts, edge_cuts = [0, *rows[cuts].tolist()], [0, *edges[cuts].tolist()]
    pieces = [(slice(*r), slice(*e)) for r, e in zip(pairwise(row_cuts), pairwise(edge_cuts), strict=True)]
    return [(row, edge) for row, edge in pieces if edge.stop > edge.start]


class EdgeNetwork(torch.autograd.Function):
    """Mean over a row's edges of ReLU(norm(... W_2 ReLU(norm(own_i + other_j)))), and the moments of each norm.

    Arguments: `table` of shape (2 rows, width), own and other terms of each row in turn; the graph; moments of each
    batch norm, or none to take those of the edges at hand; then all gains, all biases and all weights of the norms and
    of the layers between them.
    """

    @staticmethod
    def forward(
        ctx: Any, table: torch.Tensor, graph: Graph, moments: list[Moments] | None, *parameters: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Return the mean over edges, (rows, width), then mean and variance before each norm."""
        count = (len(parameters) + 1) // 3
        gains, biases, weights = parameters[:count], parameters[count : 2 * count], parameters[2 * count :]
        rows = len(table) // 2
        degree = torch.bincount(graph.centre, minlength=rows)
        pieces = edge_pieces(graph, degree, gains[-1].numel())
        ends = torch.stack([2 * graph.centre, 2 * graph.neighbour + 1], 1)
        values = []
        for _, edges in pieces:
            listed = ends[edges].flatten()
            values.append(sum_listed(table, listed, torch.arange(0, len(listed), 2, device=listed.device)))
        kept, found = [], []
        for layer in range(count):
            found.append(moments[layer] if moments else moments_of(values))
            kept.append(values)
            if layer + 1 < count:
                scale, shift = affine(found[layer], gains[layer], biases[layer])
                values = [rectified(piece, scale, shift) @ weights[layer].T for piece in values]
        result = table.new_zeros(rows, gains[-1].numel())
        scale, shift = affine(found[-1], gains[-1], biases[-1])
        for (rows_here, _), piece in zip(pieces, values, strict=True):
            every = torch.arange(len(piece), device=degree.device)
            result[rows_here] = sum_listed(rectified(piece, scale, shift), every, starts_of(degree[rows_here]))
        result /= degree.clamp(min=1)[:, None]
        ctx.graph, ctx.pieces, ctx.degree, ctx.batch_moments = graph, pieces, degree, moments is None
        flat = [tensor for pair in found for tensor in pair]
        ctx.mark_non_differentiable(*flat)
        ctx.save_for_backward(*parameters, *flat, *(piece for values in kept for piece in values))
        return result, *flat

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of the table and of all parameters."""
        pieces, degree, graph = ctx.pieces, ctx.degree, ctx.graph
        saved = list(ctx.saved_tensors)
        count = (len(saved) + 1) // (5 + len(pieces))
        gains, biases, weights = (saved[a:b] for a, b in ((0, count), (count, 2 * count), (2 * count, 3 * count - 1)))
        del saved[: 3 * count - 1]
        found = [(saved[2 * layer], saved[2 * layer + 1]) for layer in range(count)]
        kept = [saved[2 * count + layer * len(pieces) :][: len(pieces)] for layer in range(count)]
        by_row = gradients[0] / degree.clamp(min=1)[:, None]
        number = max(1, len(graph.centre))

        # gradients after the ReLU of the last layer, masked by it, and their sums for the batch norm
        scale, shift = affine(found[-1], gains[-1], biases[-1])
        values = []
        sums = [torch.zeros_like(gains[-1]), torch.zeros_like(gains[-1])]
        for (_, edges), piece in zip(pieces, kept[-1], strict=True):
            gradient = by_row.index_select(0, graph.centre[edges])
            values.append(masked(gradient, torch.addcmul(shift, piece, scale), piece, sums))
        d_gains: list[torch.Tensor] = []
        d_biases: list[torch.Tensor] = []
        d_weights: list[torch.Tensor] = []
        for layer in reversed(range(count)):
            mean, variance = found[layer]
            inverse = torch.rsqrt(variance + EPSILON)
            scale = gains[layer] * inverse
            total, moment = sums[0], inverse * (sums[1] - mean * sums[0])
            d_gains.insert(0, moment)
            d_biases.insert(0, total)
            # gradient before the norm: scale (g - mean(g) - normalised mean(g normalised)), as a g + b x + c
            slope = -scale * inverse * moment / number if ctx.batch_moments else torch.zeros_like(scale)
            constant = -scale * total / number - slope * mean if ctx.batch_moments else torch.zeros_like(scale)
            if layer:
                below = affine(found[layer - 1], gains[layer - 1], biases[layer - 1])
                sums = [torch.zeros_like(gains[layer - 1]), torch.zeros_like(gains[layer - 1])]
                d_weight = torch.zeros_like(weights[layer - 1])
            for index, piece in enumerate(kept[layer]):
                before = torch.addcmul(constant, piece, slope).addcmul_(values[index], scale)
                if layer:
                    output = rectified(kept[layer - 1][index], *below)
                    d_weight.addmm_(before.T, output)
                    values[index] = masked(before @ weights[layer - 1], output, kept[layer - 1][index], sums)
                else:
                    values[index] = before
            if layer:
                d_weights.insert(0, d_weight)
        # a row's edges, and those that come from it, are all in the piece of its jet
        order = torch.argsort(graph.neighbour.int(), stable=True)
        own, other = starts_of(degree), starts_of(torch.bincount(graph.neighbour, minlength=len(degree)))
        d_table = by_row.new_zeros(len(degree), 2, gains[0].numel())
        for (rows, edges), piece in zip(pieces, values, strict=True):
            every = torch.arange(len(piece), device=order.device)
            d_table[rows, 0] = sum_listed(piece, every, own[rows] - edges.start)
            d_table[rows, 1] = sum_listed(piece, order[edges] - edges.start, other[rows] - edges.start)
        return d_table.flatten(0, 1), None, None, *d_gains, *d_biases, *d_weights


def affine(moments: Moments, gain: torch.Tensor, bias: torch.Tensor) -> Moments:
    """Return scale and shift of a batch norm."""
    scale = gain * torch.rsqrt(moments[1] + EPSILON)
    return scale, bias - scale * moments[0]


def rectified(values: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Return ReLU(scale values + shift)."""
    return torch.addcmul(shift, values, scale).relu_()


def masked(
    gradient: torch.Tensor, output: torch.Tensor, before: torch.Tensor, sums: list[torch.Tensor]
) -> torch.Tensor:
    """Zero a gradient in place where the ReLU was not active; add it, and it times what entered the norm, to `sums`."""
    torch.ops.aten.threshold_backward.grad_input(gradient, output, 0, grad_input=gradient)
    sums[0] += gradient.sum(0)
    sums[1] += (gradient * before).sum(0)
    return gradient


class BatchNorm(nn.BatchNorm1d):
    """Batch norm over rows, (rows, width), that uses the running moments where fewer than two rows leave none."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Normalise."""
        if self.training and len(values) > 1:
            return super().forward(values)
        return torch.nn.functional.batch_norm(
            values, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )

    def update(self, moments: Moments, count: int) -> None:
        """Move the running moments towards those of a batch of `count` rows, as torch does."""
        self.running_mean.lerp_(moments[0], self.momentum or 0.0)
        self.running_var.lerp_(moments[1] * count / max(1, count - 1), self.momentum or 0.0)


class EdgeConv(nn.Module):
    """Edge convolution with batch norm, ReLU and a shortcut: ReLU(mean over edges + shortcut).

    The shortcut is linear with a batch norm, or the identity where the width stays the same (arXiv:1902.08570).

    Parameters
    ----------
    width : int
        Width of the rows.
    widths : sequence of int
        Widths of the layers on edges; the last one is that of the result.
    """

    def __init__(self, width: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.first = nn.Linear(2 * width, widths[0], bias=False)
        self.deeper = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(BatchNorm(after) for after in widths)
        self.shortcut = (
            nn.Identity()
            if width == widths[-1]
            else nn.Sequential(nn.Linear(width, widths[-1], bias=False), BatchNorm(widths[-1]))
        )

    def forward(self, values: torch.Tensor, graph: Graph) -> torch.Tensor:
        """Return the new rows, (rows, width) -> (rows, widths[-1])."""
        if graph.exists is not None:
            return torch.relu(self.plain(self.table(values), graph, graph.exists) + self.shortcut(values))
        # in float32 under autocast too: neither the kernels for sums nor the running moments take bfloat16
        with torch.autocast(values.device.type, enabled=False):
            values = values.to(self.first.weight.dtype)
            return torch.relu(self.mean_of_edges(self.table(values), graph) + self.shortcut(values))

    def table(self, values: torch.Tensor) -> torch.Tensor:
        """Return the first layer's terms of each row, own and other in turn, (rows, width) -> (2 rows, widths[0])."""
        own, difference = self.first.weight.chunk(2, dim=1)
        return linear(values, torch.cat([own - difference, difference])).unflatten(1, (2, -1)).flatten(0, 1)

    def mean_of_edges(self, table: torch.Tensor, graph: Graph) -> torch.Tensor:
        """Return the mean over the edges of each row, (2 rows, widths[0]) -> (rows, widths[-1])."""
        edges = len(graph.centre)
        from_batch = self.training and edges > 1
        running = [(norm.running_mean, norm.running_var) for norm in self.norms]
        mean, *found = EdgeNetwork.apply(
            table, graph, None if from_batch else running,
            *(norm.weight for norm in self.norms), *(norm.bias for norm in self.norms),
            *(layer.weight for layer in self.deeper),
        )  # fmt: skip
        if from_batch:
            for norm, moments in zip(self.norms, zip(found[::2], found[1::2], strict=True), strict=True):
                norm.update(moments, edges)
        return cast(torch.Tensor, mean)

    def plain(self, table: torch.Tensor, graph: Graph, exists: torch.Tensor) -> torch.Tensor:
        """Return the mean over edges with plain layers, in which slots without an edge count nothing."""
        edges = table.index_select(0, 2 * graph.centre) + table.index_select(0, 2 * graph.neighbour + 1)
        edges = torch.relu(self.norms[0](edges))
        for layer, norm in zip(self.deeper, list(self.norms)[1:], strict=True):
            edges = torch.relu(norm(layer(edges)))
        # as sums over an axis: the scattered sums of an exported model are not safe with many threads
        shape = (graph.lengths.shape[0], -1) if graph.incidence is not None else (table.shape[0] // 2, -1)
        edges, weight = edges.view(*shape, edges.shape[1]), exists.to(edges.dtype).view(*shape)
        if graph.incidence is None:
            total, degree = (edges * weight[:, :, None]).sum(1), weight.sum(1, keepdim=True)
        else:
            share = graph.incidence * weight[:, None]
            total, degree = (share @ edges).flatten(0, 1), share.sum(2).view(-1, 1)
        return total / degree.clamp(min=1)
