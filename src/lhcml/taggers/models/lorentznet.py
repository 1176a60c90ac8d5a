"""LorentzNet (Gong et al., arXiv:2201.08187): messages between all constituents, from Lorentz invariants.

Each particle has a four-vector x and scalars h. A message from j to i is a function of h_i, h_j, psi(|x_i - x_j|^2)
and psi(<x_i, x_j>); messages update h, and x along x_i - x_j. The output is invariant under Lorentz transformations of
all constituents; with the two beam particles as further nodes (the default, as published) only rotations about the
beam are left, since a boost along it changes products with the beams. The defaults give 224,072 parameters, the
published "224k".

The first layer of a message is linear in (h_i, h_j, invariants) and is split into terms of nodes and of pairs, so that
the large matrices act on n nodes instead of on n^2 pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear

from lhcml.taggers.families import input_positions
from lhcml.taggers.minkowski import MOMENTUM, Particles, inner, make_particles, pair_rows, sum_over_particles
from lhcml.taggers.packing import Batch

# Layers, their width, dropout before the last layer, size of the updates of x, and whether the beams are nodes
ARCHITECTURE = {"layers": 6, "width": 72, "dropout": 0.2, "coordinate_step": 0.005, "beams": True}
INPUTS = ["part_px", "part_py", "part_pz", "part_energy"]
# Published: beams of mass 1 GeV
BEAM_ENERGY = 2**0.5
# Largest move of x along one difference, a guard of the published code that is not met in practice
LARGEST_MOVE = 100.0


def psi(x: torch.Tensor) -> torch.Tensor:
    """Return sign(x) log(1 + |x|), which makes invariants of all sizes comparable."""
    return torch.sign(x) * torch.log1p(x.abs())


def sum_over_second(values: torch.Tensor, particles: Particles) -> torch.Tensor:
    """Add up pairs (i, j) over j: (pairs, width) -> (rows, width), pairs without i = j."""
    parts = values.split([jets * n * (n - 1) for jets, n in particles.groups])
    sums = [
        part.view(jets * n, n - 1, values.shape[1]).sum(1)
        for part, (jets, n) in zip(parts, particles.groups, strict=True)
    ]
    return torch.cat(sums)


class Layer(nn.Module):
    """Lorentz group equivariant block (equations 3.2 to 3.5 of the paper); the last one leaves x as it is."""

    def __init__(self, width: int, scalars: int, coordinate_step: float, last: bool) -> None:
        super().__init__()
        self.width, self.coordinate_step, self.last = width, coordinate_step, last
        self.message_in = nn.Linear(2 * width + 2, width, bias=False)
        self.message_norm = nn.BatchNorm1d(width)
        self.message_out = nn.Linear(width, width)
        self.gate = nn.Linear(width, 1)
        self.update = nn.Sequential(
            nn.Linear(2 * width + scalars, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width)
        )
        if not last:
            self.move = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1, bias=False))
            # published: x hardly moves at first
            nn.init.xavier_uniform_(self.move[2].weight, gain=0.001)

    def forward(
        self, h: torch.Tensor, x: torch.Tensor, scalars: torch.Tensor, pairs: tuple[torch.Tensor, torch.Tensor],
        particles: Particles,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """Return h (rows, width) and x (rows, 4) after the block."""
        first, second = pairs
        x1, x2 = x.index_select(0, first), x.index_select(0, second)
        difference = x1 - x2
        invariants = psi(torch.cat((inner(difference, difference), inner(x1, x2)), 1))
        of_first, of_second, of_pair = self.message_in.weight.split([self.width, self.width, 2], dim=1)
        message = linear(h, of_first).index_select(0, first) + linear(h, of_second).index_select(0, second)
        message = torch.relu(self.message_norm(message + linear(invariants, of_pair)))
        message = torch.relu(self.message_out(message))
        message = message * torch.sigmoid(self.gate(message))
        if not self.last:
            moves = (difference * self.move(message)).clamp(-LARGEST_MOVE, LARGEST_MOVE)
            others = (particles.lengths - 1).clamp(min=1).index_select(0, particles.jet)
            x = x + self.coordinate_step * sum_over_second(moves, particles) / others
        return h + self.update(torch.cat((h, sum_over_second(message, particles), scalars), 1)), x


class LorentzNet(nn.Module):
    """The network.

    Parameters
    ----------
    architecture : mapping
        Settings, as `ARCHITECTURE`.
    columns : sequence of int
        Positions of px, py, pz, E among the inputs.
    """

    def __init__(self, architecture: Mapping[str, Any], columns: Sequence[int]) -> None:
        super().__init__()
        self.columns, self.beams, width = list(columns), architecture["beams"], architecture["width"]
        # published: mass of the particle in one of two places, for constituents and for beams
        scalars = 2 if self.beams else 1
        self.embedding = nn.Linear(scalars, width)
        layers = architecture["layers"]
        self.layers = nn.ModuleList(
            Layer(width, scalars, architecture["coordinate_step"], number == layers - 1) for number in range(layers)
        )
        self.out = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(architecture["dropout"]), nn.Linear(width, 2)
        )

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the logits (background, signal) of each jet, shape (jets, 2)."""
        particles = make_particles(batch, self.columns, BEAM_ENERGY if self.beams else None)
        x = particles.momentum
        scalars = self.scalars(particles)
        pairs = pair_rows(particles, with_self=False)
        h = self.embedding(scalars)
        for layer in self.layers:
            h, x = layer(h, x, scalars, pairs, particles)
        mean = sum_over_particles(h, particles) / particles.lengths.clamp(min=1)
        logits: torch.Tensor = self.out(particles.restore(mean))
        return logits

    def scalars(self, particles: Particles) -> torch.Tensor:
        """Return masses of particles, (rows, 1), or with beams (rows, 2): one place for each kind of particle."""
        mass = torch.sqrt(inner(particles.momentum, particles.momentum).clamp(min=0))
        return torch.cat((mass * (1 - particles.is_beam), mass * particles.is_beam), 1) if self.beams else mass


def build_model(
    architecture: Mapping[str, Any], inputs: Sequence[str], mean: torch.Tensor, scale: torch.Tensor
) -> nn.Module:
    """Build the network of a configuration block; inputs are not scaled, which would break the invariance."""
    return LorentzNet(architecture, input_positions(inputs, MOMENTUM, "lorentznet"))
