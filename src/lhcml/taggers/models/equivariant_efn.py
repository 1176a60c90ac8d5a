"""Equivariant Energy Flow Network (Dolan, Ore, arXiv:2012.00964): constituents see the jet before they are summed.

Between Phi of the Energy Flow Network and the weighted sum are layers x_i -> ReLU(x_i Lambda - (sum of z_j x_j) Gamma)
after the Deep Sets of Zaheer et al. (arXiv:1703.06114), z_j the share of the jet's pT. Their sum is weighted by z only,
and so the logits stay infrared and collinear safe; see the Energy Flow Network for what that asks of the inputs.

Phi (100, 100, 128), two such layers of width 100 and F (100, 100, 100) are the settings of the authors' code: 99,430
parameters with two angles.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from lhcml.taggers.families import input_positions
from lhcml.taggers.layers import angle_positions, dense, share_of_jet
from lhcml.taggers.packing import Batch, segment_sum

# Widths of the dense layers of Phi, of the equivariant layers after it, and of F, applied to the weighted sum
ARCHITECTURE = {"phi": [100, 100, 128], "equivariant": [100, 100], "f": [100, 100, 100]}
INPUTS = ["part_pt", "aligned_deta", "aligned_dphi"]


class EquivariantLayer(nn.Module):
    """ReLU(x_i Lambda - (sum of z_j x_j) Gamma).

    Parameters
    ----------
    before, after : int
        Widths of its input and output.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.own = nn.Linear(before, after, bias=False)
        self.jet = nn.Linear(before, after, bias=False)
        for linear in (self.own, self.jet):
            nn.init.kaiming_uniform_(linear.weight, nonlinearity="relu")

    def forward(self, x: torch.Tensor, z: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Apply the layer to rows x, shape (rows, before), with shares z, shape (rows, 1)."""
        jets: torch.Tensor = self.jet(segment_sum(z * x, batch))
        return torch.relu(self.own(x) - jets.index_select(0, batch.jet))


class EquivariantEnergyFlowNetwork(nn.Module):
    """F(sum of z_i x_i), x_i from Phi and the equivariant layers.

    Parameters
    ----------
    phi, equivariant, f : sequence of int
        Widths of the layers.
    pt : int
        Which input is the transverse momentum.
    angles : sequence of int
        Which inputs Phi sees.
    mean, scale : torch.Tensor, shape (inputs,)
        Standardisation of the inputs, stored with the weights; that of the transverse momentum is not used.
    """

    def __init__(
        self,
        phi: Sequence[int],
        equivariant: Sequence[int],
        f: Sequence[int],
        pt: int,
        angles: Sequence[int],
        mean: torch.Tensor,
        scale: torch.Tensor,
    ) -> None:
        super().__init__()
        self.pt, self.angles = pt, list(angles)
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.phi = nn.Sequential(*dense([len(angles), *phi]))
        self.equivariant = nn.ModuleList(
            EquivariantLayer(*widths) for widths in itertools.pairwise([phi[-1], *equivariant])
        )
        self.f = nn.Sequential(*dense([[*phi, *equivariant][-1], *f]), nn.Linear(f[-1], 2))

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the logits (background, signal) of each jet, shape (jets, 2)."""
        z = share_of_jet(batch.values[:, self.pt, None], batch)
        x = self.phi(((batch.values - self.mean) / self.scale)[:, self.angles])
        for layer in self.equivariant:
            x = layer(x, z, batch)
        logits: torch.Tensor = self.f(segment_sum(z * x, batch))
        return logits


def build_model(
    architecture: Mapping[str, Any], inputs: Sequence[str], mean: torch.Tensor, scale: torch.Tensor
) -> nn.Module:
    """Build the network of a configuration block."""
    (pt,) = input_positions(inputs, ["part_pt"], "equivariant_efn")
    angles = angle_positions(inputs, "equivariant_efn")
    phi, equivariant, f = (architecture[name] for name in ("phi", "equivariant", "f"))
    return EquivariantEnergyFlowNetwork(phi, equivariant, f, pt, angles, mean, scale)
