"""LundNet (Dreyer, Qu, arXiv:2012.08526): edge convolutions on the Cambridge/Aachen tree of declusterings of a jet.

Nodes are the declusterings with their Lund coordinates; a node is joined to the one that made the branch it splits and
to the splittings of its own two branches. With ln z, ln Delta and ln kt it is LundNet-3, with psi and ln m in addition
LundNet-5: the inputs decide, and `lund_parent` among them is the tree. Layers follow the authors' code, with 391,724
parameters for LundNet-5 and 391,528 for LundNet-3.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from lhcml.taggers.families import input_positions
from lhcml.taggers.graphs import BatchNorm, EdgeConv, Graph
from lhcml.taggers.packing import Batch, segment_mean

# Widths of the two layers of each edge convolution, of the layer on all their results, and of the layers on the jet
ARCHITECTURE = {
    "edge_convs": [[32, 32], [32, 32], [64, 64], [64, 64], [128, 128], [128, 128]],
    "fusion": 384,
    "dense": [256],
    "dropout": 0.1,
}
INPUTS = ["lund_ln_z", "lund_ln_delta", "lund_ln_kt", "lund_psi", "lund_ln_m", "lund_parent"]


def tree_graph(parent: torch.Tensor, batch: Batch) -> Graph:
    """Return the graph with an edge in both directions between each node and its parent.

    Parameters
    ----------
    parent : torch.Tensor of int64, shape (rows,)
        Position of the parent within the jet; negative for the root.
    batch : Batch
        Says which row is of which jet.
    """
    first = torch.cumsum(batch.lengths, 0) - batch.lengths
    node = torch.arange(parent.shape[0], device=parent.device)
    exists = parent >= 0
    above = torch.where(exists, first[batch.jet] + parent, node)
    if batch.equal:
        # two slots a node: from its parent to it, and from it to its parent
        ends = torch.stack([node, above], 1)
        numbers = torch.arange(batch.longest, device=parent.device)
        of_jets = torch.stack([batch.position, parent], 1).view(batch.lengths.shape[0], 1, -1)
        incidence = of_jets == numbers[:, None]
        twice = exists[:, None].expand(-1, 2).flatten()
        return Graph(ends.flatten(), ends.flip(1).flatten(), batch.lengths, twice, incidence)
    node, above = node[exists], above[exists]
    centre, order = torch.sort(torch.cat([node, above]), stable=True)
    return Graph(centre, torch.cat([above, node])[order], batch.lengths)


class LundNet(nn.Module):
    """Edge convolutions, a layer on all their results together, mean over the nodes, dense layers.

    Parameters
    ----------
    edge_convs, fusion, dense, dropout
        Settings, see `ARCHITECTURE`.
    features : sequence of int
        Columns of the inputs that are coordinates of a node.
    parent : int
        Column that is the position of its parent.
    mean, scale : torch.Tensor, shape (features,)
        Standardisation of the coordinates, stored with the weights.
    """

    def __init__(
        self,
        edge_convs: Sequence[Sequence[int]],
        fusion: int,
        dense: Sequence[int],
        dropout: float,
        features: Sequence[int],
        parent: int,
        mean: torch.Tensor,
        scale: torch.Tensor,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.features, self.parent = list(features), parent
        self.input_norm = BatchNorm(len(self.features))
        widths = [len(self.features), *(layers[-1] for layers in edge_convs)]
        self.edge_convs = nn.ModuleList(EdgeConv(*pair) for pair in zip(widths[:-1], edge_convs, strict=True))
        self.fusion = nn.Sequential(nn.Linear(sum(widths[1:]), fusion), nn.ReLU(), BatchNorm(fusion))
        head: list[nn.Module] = []
        for before, after in itertools.pairwise([fusion, *dense]):
            head += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
        self.head = nn.Sequential(*head, nn.Linear([fusion, *dense][-1], 2))

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the logits (background, signal) of each jet, shape (jets, 2)."""
        graph = tree_graph(batch.values[:, self.parent].long(), batch)
        values = self.input_norm((batch.values[:, self.features] - self.mean) / self.scale)
        results = []
        for layer in self.edge_convs:
            values = layer(values, graph)
            results.append(values)
        logits: torch.Tensor = self.head(segment_mean(self.fusion(torch.cat(results, 1)), batch))
        return logits


def build_model(
    architecture: Mapping[str, Any], inputs: Sequence[str], mean: torch.Tensor, scale: torch.Tensor
) -> nn.Module:
    """Build the network of a configuration block; `lund_parent` must be among the inputs."""
    (parent,) = input_positions(inputs, ["lund_parent"], "lundnet")
    features = [position for position in range(len(inputs)) if position != parent]
    return LundNet(**architecture, features=features, parent=parent, mean=mean[features], scale=scale[features])
