"""ParticleNet (Qu, Gouskos, arXiv:1902.08570): edge convolutions on the nearest neighbours of each constituent.

The first graph joins each constituent to its nearest ones in (eta, phi), the following ones in the space of the
features that the network has learned. With the defaults it has 366,160 parameters, the published 366k; ParticleNet-Lite
is `neighbours: 7, edge_convs: [[32, 32, 32], [64, 64, 64]], dense: [128]` with 26,416 (26k).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from lhcml.taggers.families import input_positions
from lhcml.taggers.graphs import BatchNorm, EdgeConv, Graph
from lhcml.taggers.packing import Batch, from_padded, is_row, make_batch, rows_of, segment_mean, to_padded

# Neighbours of each constituent, widths of the layers of each edge convolution, and of the dense layers on the jet
ARCHITECTURE = {
    "neighbours": 16,
    "edge_convs": [[64, 64, 64], [128, 128, 128], [256, 256, 256]],
    "dense": [256],
    "dropout": 0.1,
}
INPUTS = [
    "part_deta",
    "part_dphi",
    "part_log_pt",
    "part_log_energy",
    "part_log_pt_rel",
    "part_log_energy_rel",
    "part_dr",
]
# Jets whose distances are computed together, padded to the longest of them
JETS_TOGETHER = 8


def nearest_in_jets(points: torch.Tensor, batch: Batch, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the nearest other rows of the same jet.

    Parameters
    ----------
    points : torch.Tensor, shape (rows, dimensions)
    batch : Batch
        Says which row is of which jet.
    count : int
        Neighbours of each row.

    Returns
    -------
    position : torch.Tensor of int64, shape (rows, count)
        Positions within the jet, in any order.
    exists : torch.Tensor of bool, shape (rows, count)
        False in jets that have no more other rows; the position there has no meaning.
    """
    dense = to_padded(points, batch)
    # |x - y|^2 but for the term that is the same for all candidates y, with the sign changed
    size = torch.where(is_row(batch), dense.square().sum(2), torch.inf)
    closeness = torch.baddbmm(-size[:, None, :], dense, dense.mT, alpha=2)
    number = torch.arange(batch.longest, device=points.device)
    closeness = closeness.masked_fill(number[:, None] == number, -torch.inf)
    # as many candidates as are asked for, also where a jet has fewer rows
    closeness = torch.nn.functional.pad(closeness, (0, count), value=-torch.inf)
    value, position = closeness.topk(count, sorted=False)
    return from_padded(position, batch), from_padded(value, batch) > -torch.inf


def neighbour_graph(points: torch.Tensor, batch: Batch, count: int) -> Graph:
    """Return the graph in which each row has an edge from its `count` nearest rows of the same jet, or all."""
    first = torch.cumsum(batch.lengths, 0) - batch.lengths
    rows = torch.arange(points.shape[0], device=points.device)
    centre = rows[:, None].expand(-1, count)
    if batch.equal:
        position, exists = nearest_in_jets(points, batch, count)
        neighbour = torch.where(exists, first[batch.jet][:, None] + position, 0)
        return Graph(centre.flatten(), neighbour.flatten(), batch.lengths, exists.flatten())
    neighbour = rows.new_empty(len(rows), count)
    exists = torch.empty_like(neighbour, dtype=torch.bool)
    for chosen in torch.argsort(batch.lengths, stable=True).split(JETS_TOGETHER):
        here = rows_of(batch, chosen)
        part = make_batch(points[here], batch.lengths[chosen])
        # distances of close neighbours need the full precision
        with torch.autocast(points.device.type, enabled=False):
            position, found = nearest_in_jets(part.values, part, count)
        neighbour[here], exists[here] = first[chosen][part.jet][:, None] + position, found
    return Graph(centre[exists], neighbour[exists], batch.lengths)


class ParticleNet(nn.Module):
    """Edge convolutions, mean over the constituents, dense layers.

    Parameters
    ----------
    neighbours, edge_convs, dense, dropout
        Settings, see `ARCHITECTURE`.
    coordinates : sequence of int
        Columns of the inputs in which the first neighbours are found.
    mean, scale : torch.Tensor, shape (inputs,)
        Standardisation of the inputs, stored with the weights. The coordinates are used as they are.
    """

    def __init__(
        self,
        neighbours: int,
        edge_convs: Sequence[Sequence[int]],
        dense: Sequence[int],
        dropout: float,
        coordinates: Sequence[int],
        mean: torch.Tensor,
        scale: torch.Tensor,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.neighbours, self.coordinates = neighbours, list(coordinates)
        self.input_norm = BatchNorm(len(mean))
        widths = [len(mean), *(layers[-1] for layers in edge_convs)]
        self.edge_convs = nn.ModuleList(EdgeConv(*pair) for pair in zip(widths[:-1], edge_convs, strict=True))
        head: list[nn.Module] = []
        for before, after in itertools.pairwise([widths[-1], *dense]):
            head += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
        self.head = nn.Sequential(*head, nn.Linear([widths[-1], *dense][-1], 2))

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the logits (background, signal) of each jet, shape (jets, 2)."""
        points = batch.values[:, self.coordinates]
        values = self.input_norm((batch.values - self.mean) / self.scale)
        for layer in self.edge_convs:
            with torch.no_grad():
                graph = neighbour_graph(points, batch, self.neighbours)
            values = layer(values, graph)
            points = values
        logits: torch.Tensor = self.head(segment_mean(values, batch))
        return logits


def build_model(
    architecture: Mapping[str, Any], inputs: Sequence[str], mean: torch.Tensor, scale: torch.Tensor
) -> nn.Module:
    """Build the network of a configuration block; `part_deta` and `part_dphi` must be among the inputs."""
    coordinates = input_positions(inputs, ["part_deta", "part_dphi"], "particlenet")
    return ParticleNet(**architecture, coordinates=coordinates, mean=mean, scale=scale)
