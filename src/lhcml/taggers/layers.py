"""Building blocks that several network families share."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import nn

from lhcml.common.errors import UserError
from lhcml.taggers.packing import Batch, segment_sum

# Inputs of a constituent that depend on its direction only
ANGLES = ("aligned_deta", "aligned_dphi", "part_deta", "part_dphi", "part_dr", "part_eta", "part_phi")


def dense(widths: Sequence[int]) -> list[nn.Module]:
    """Return dense layers, each followed by ReLU, initialised as He et al. (arXiv:1502.01852)."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        linear = nn.Linear(before, after)
        nn.init.kaiming_uniform_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
        # in place: the gradient of ReLU needs its output only, and memory traffic is what costs here
        layers += [linear, nn.ReLU(inplace=True)]
    return layers


def share_of_jet(pt: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return the share z_i of each row in the summed pT of its jet, both of shape (rows, 1); 0 if that sum is 0."""
    total = segment_sum(pt, batch)
    # a jet whose rows all have pT 0 gives 0 / 1
    return pt / torch.where(total > 0, total, 1.0).index_select(0, batch.jet)


def angle_positions(inputs: Sequence[str], family: str) -> list[int]:
    """Return where the angles are among the inputs of an infrared and collinear safe family.

    Raises
    ------
    UserError
        If there is none, or an input beside the angles and `part_pt`, with which the family would not be safe.
    """
    others = [name for name in inputs if name not in (*ANGLES, "part_pt")]
    angles = [position for position, name in enumerate(inputs) if name in ANGLES]
    if others or not angles:
        raise UserError(
            f"family {family} takes part_pt and angles, not {', '.join(others) or 'part_pt alone'}",
            f"choose `inputs:` among part_pt, {', '.join(ANGLES)}, or family pfn for any input",
        )
    return angles
