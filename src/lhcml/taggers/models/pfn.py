"""Particle Flow Network (Komiske, Metodiev, Thaler, arXiv:1810.05165): F(sum over constituents of Phi(constituent)).

With Phi (100, 100, 256), F (100, 100, 100), three inputs a constituent and two outputs it has 82,458 parameters, the
"82k" of the top-tagging comparison (arXiv:1902.09914).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from lhcml.taggers.layers import dense
from lhcml.taggers.packing import Batch, segment_sum

# Widths of the layers of Phi, applied to each constituent, and of F, applied to the sum over a jet's constituents
ARCHITECTURE = {"phi": [100, 100, 256], "f": [100, 100, 100]}
# Aligned: centred, rotated and mirrored, so that a small sample need not teach that orientation is without meaning
INPUTS = ["part_log_pt_rel", "aligned_deta", "aligned_dphi"]


class ParticleFlowNetwork(nn.Module):
    """F(sum Phi).

    Parameters
    ----------
    phi, f : sequence of int
        Widths of the layers.
    mean, scale : torch.Tensor, shape (inputs,)
        Standardisation of the inputs, stored with the weights.
    """

    def __init__(self, phi: Sequence[int], f: Sequence[int], mean: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.phi = nn.Sequential(*dense([len(mean), *phi]))
        self.f = nn.Sequential(*dense([phi[-1], *f]), nn.Linear(f[-1], 2))

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the logits (background, signal) of each jet, shape (jets, 2)."""
        constituents = self.phi((batch.values - self.mean) / self.scale)
        logits: torch.Tensor = self.f(segment_sum(constituents, batch))
        return logits


def build_model(
    architecture: Mapping[str, Any], inputs: Sequence[str], mean: torch.Tensor, scale: torch.Tensor
) -> nn.Module:
    """Build the network of a configuration block."""
    return ParticleFlowNetwork(architecture["phi"], architecture["f"], mean, scale)
