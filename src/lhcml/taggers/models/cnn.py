"""Convolutional network on jet images (Macaluso, Shih, arXiv:1803.00107; "CNN" of arXiv:1902.09914).

Four convolutions with kernels of 4 x 4 and 128, 64, 64, 64 channels, the largest of 2 x 2 pixels after the second and
the fourth, dense layers of 64, 256, 256. On 40 x 40 pixels, with one pixel of padding on each side in each convolution,
these are 609,666 parameters: the published 610k.

What differs: the pixels, which add up to 1, are multiplied by a constant so that the layers see numbers of order 1. The
range is our choice: 0.8 on each side of the centroid, the radius of the jets, which holds all but 1e-4 of their pT.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from lhcml.taggers.families import input_positions
from lhcml.taggers.images import form_images
from lhcml.taggers.layers import dense
from lhcml.taggers.packing import Batch

# Pixels a side and range of the image; channels of the convolutions, a list before each pooling; widths of dense layers
ARCHITECTURE = {
    "pixels": 40,
    "half_width": 0.8,
    "channels": [[128, 64], [64, 64]],
    "kernel": 4,
    "dense": [64, 256, 256],
}
INPUTS = ["part_pt", "aligned_deta", "aligned_dphi"]
# A pixel with a hundredth of the pT of the jet counts 1
BRIGHTNESS = 100.0


class ImageNetwork(nn.Module):
    """Convolutions and dense layers on jet images.

    Parameters
    ----------
    architecture : mapping
        As `ARCHITECTURE`.
    columns : sequence of int
        Which inputs are pT and the two coordinates.
    """

    def __init__(self, architecture: Mapping[str, Any], columns: Sequence[int]) -> None:
        super().__init__()
        self.columns = list(columns)
        self.pixels, self.half_width = architecture["pixels"], architecture["half_width"]
        channels, kernel = architecture["channels"], architecture["kernel"]
        layers: list[nn.Module] = []
        before, side = 1, self.pixels
        for block in channels:
            for after in block:
                convolution = nn.Conv2d(before, after, kernel, padding=1)
                nn.init.kaiming_uniform_(convolution.weight, nonlinearity="relu")
                nn.init.zeros_(convolution.bias)
                layers += [convolution, nn.ReLU(inplace=True)]
                before, side = after, side + 3 - kernel
            layers.append(nn.MaxPool2d(2))
            side //= 2
        self.convolutions = nn.Sequential(*layers)
        widths = architecture["dense"]
        self.f = nn.Sequential(*dense([before * side**2, *widths]), nn.Linear(widths[-1], 2))

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the logits (background, signal) of each jet, shape (jets, 2)."""
        pt, first, second = (batch.values[:, column] for column in self.columns)
        images = BRIGHTNESS * form_images(pt, first, second, batch, self.pixels, self.half_width)
        logits: torch.Tensor = self.f(self.convolutions(images[:, None]).flatten(1))
        return logits


def build_model(
    architecture: Mapping[str, Any], inputs: Sequence[str], mean: torch.Tensor, scale: torch.Tensor
) -> nn.Module:
    """Build the network of a configuration block; the standardisation is not used, an image has its own scaling."""
    return ImageNetwork(architecture, input_positions(inputs, INPUTS, "cnn"))
