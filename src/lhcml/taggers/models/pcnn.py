"""P-CNN: one-dimensional convolutions along the constituents ordered in pT, with shortcuts as in ResNet.

The particle branch of the CMS tagger DeepAK8 (arXiv:2004.08262) in the form that arXiv:1902.08570 and arXiv:1902.09914
compare with: kernels of 3, a first layer of 32 channels, units of two layers with 64, 64 | 64, 64 | 128, 128 channels,
each | halving the positions, mean over positions, a dense layer of 512. With seven inputs 348,386 parameters, the
published 348k.

What differs: jets are not cut to 100 constituents nor filled up to 100. A convolution sees zeros outside its jet, and
averages, of batches and of jets, are over the constituents that exist. Standardised inputs stand for a first batch
normalisation, and coordinates are aligned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from lhcml.taggers.layers import dense
from lhcml.taggers.packing import Batch, segment_mean

# Channels of the first layer and of the units, a list a stage; width of the dense layer and its dropout
ARCHITECTURE = {"first": 32, "stages": [[64, 64], [64, 64], [128, 128]], "dense": 512, "dropout": 0.2}
INPUTS = [
    "aligned_deta",
    "aligned_dphi",
    "part_log_pt",
    "part_log_energy",
    "part_log_pt_rel",
    "part_log_energy_rel",
    "part_dr",
]


def windows(batch: Batch) -> Batch:
    """Put beside each row the one before and the one after it in its jet: (rows, width) -> (rows, 3 width).

    Where a jet has no row before or after, there are zeros.
    """
    values = batch.values
    first = (batch.position == 0)[:, None]
    last = (batch.position == batch.lengths.index_select(0, batch.jet) - 1)[:, None]
    before = values.roll(1, 0).masked_fill(first, 0.0)
    after = values.roll(-1, 0).masked_fill(last, 0.0)
    return replace(batch, values=torch.cat([before, values, after], dim=1))


def every_second(batch: Batch) -> Batch:
    """Keep the rows at positions 0, 2, 4, ... of each jet."""
    lengths, longest = (batch.lengths + 1) // 2, (batch.longest + 1) // 2
    if batch.equal:
        # how many rows are kept must not depend on values
        row = torch.arange(batch.lengths.shape[0] * longest, device=batch.values.device)
        kept = row // lengths[:1] * batch.lengths[:1] + 2 * (row % lengths[:1])
    else:
        kept = torch.nonzero(batch.position % 2 == 0).squeeze(1)
    jet, position = batch.jet.index_select(0, kept), batch.position.index_select(0, kept) // 2
    return Batch(batch.values.index_select(0, kept), lengths, jet, position, longest, batch.equal)


class Convolution(nn.Sequential):
    """Weights of a convolution with kernel 3, to apply to `windows`; batch normalisation; ReLU.

    Parameters
    ----------
    before, after : int
        Channels.
    """

    def __init__(self, before: int, after: int) -> None:
        linear = nn.Linear(3 * before, after, bias=False)
        nn.init.kaiming_uniform_(linear.weight, nonlinearity="relu")
        super().__init__(linear, nn.BatchNorm1d(after), nn.ReLU(inplace=True))


class Unit(nn.Module):
    """Two convolutions and a shortcut past both.

    Parameters
    ----------
    before, after : int
        Channels.
    halve : bool
        Keep every second position.
    """

    def __init__(self, before: int, after: int, halve: bool) -> None:
        super().__init__()
        self.halve = halve
        self.first, self.second = Convolution(before, after), Convolution(after, after)
        same = before == after and not halve
        self.shortcut = nn.Identity() if same else nn.Linear(before, after, bias=False)

    def forward(self, batch: Batch) -> Batch:
        """Return the batch with new values, shape (rows, after)."""
        inner = windows(batch)
        if self.halve:
            inner, batch = every_second(inner), every_second(batch)
        inner = windows(replace(inner, values=self.first(inner.values)))
        return replace(inner, values=self.second(inner.values) + self.shortcut(batch.values))


class ParticleConvolutions(nn.Module):
    """P-CNN.

    Parameters
    ----------
    architecture : mapping
        As `ARCHITECTURE`.
    mean, scale : torch.Tensor, shape (inputs,)
        Standardisation of the inputs, stored with the weights.
    """

    def __init__(self, architecture: Mapping[str, Any], mean: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        width: int = architecture["first"]
        self.first = Convolution(len(mean), width)
        units: list[nn.Module] = []
        for stage, widths in enumerate(architecture["stages"]):
            for number, after in enumerate(widths):
                units.append(Unit(width, after, halve=stage > 0 and number == 0))
                width = after
        self.units = nn.Sequential(*units)
        self.f = nn.Sequential(
            *dense([width, architecture["dense"]]),
            nn.Dropout(architecture["dropout"]),
            nn.Linear(architecture["dense"], 2),
        )

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the logits (background, signal) of each jet, shape (jets, 2)."""
        batch = windows(replace(batch, values=(batch.values - self.mean) / self.scale))
        batch = self.units(replace(batch, values=self.first(batch.values)))
        logits: torch.Tensor = self.f(segment_mean(batch.values, batch))
        return logits


def build_model(
    architecture: Mapping[str, Any], inputs: Sequence[str], mean: torch.Tensor, scale: torch.Tensor
) -> nn.Module:
    """Build the network of a configuration block."""
    return ParticleConvolutions(architecture, mean, scale)
