"""Energy Flow Network (Komiske, Metodiev, Thaler, arXiv:1810.05165): F(sum of z_i Phi(angles of constituent i)).

z_i is a constituent's share of the jet's pT. The logits are infrared and collinear safe: they do not change if a
constituent splits into parallel ones, or if one of vanishing pT is added. With an input that depends on the momentum or
the kind of a constituent they would, which is why only angles are allowed. The alignment is safe too, being made of
moments that are linear in pT, but for jets whose orientation is not defined (two equal axes, or third moments of 0).

With Phi (100, 100, 256), F (100, 100, 100) and two angles it has 82,358 parameters, the "82k" of arXiv:1902.09914.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from lhcml.taggers.families import input_positions
from lhcml.taggers.layers import angle_positions, dense, share_of_jet
from lhcml.taggers.packing import Batch, segment_sum

# Widths of the layers of Phi, applied to each constituent, and of F, applied to their weighted sum
ARCHITECTURE = {"phi": [100, 100, 256], "f": [100, 100, 100]}
INPUTS = ["part_pt", "aligned_deta", "aligned_dphi"]


class EnergyFlowNetwork(nn.Module):
    """F(sum z Phi).

    Parameters
    ----------
    phi, f : sequence of int
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
        self.f = nn.Sequential(*dense([phi[-1], *f]), nn.Linear(f[-1], 2))

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the logits (background, signal) of each jet, shape (jets, 2)."""
        z = share_of_jet(batch.values[:, self.pt, None], batch)
        angles = ((batch.values - self.mean) / self.scale)[:, self.angles]
        logits: torch.Tensor = self.f(segment_sum(z * self.phi(angles), batch))
        return logits


def build_model(
    architecture: Mapping[str, Any], inputs: Sequence[str], mean: torch.Tensor, scale: torch.Tensor
) -> nn.Module:
    """Build the network of a configuration block."""
    (pt,) = input_positions(inputs, ["part_pt"], "efn")
    return EnergyFlowNetwork(architecture["phi"], architecture["f"], pt, angle_positions(inputs, "efn"), mean, scale)
