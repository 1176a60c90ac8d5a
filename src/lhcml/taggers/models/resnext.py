"""ResNeXt-50 on jet images, reduced as in arXiv:1902.08570 and arXiv:1902.09914.

ResNeXt-50 (Xie et al., arXiv:1611.05431): blocks of a 1 x 1, a grouped 3 x 3 and a 1 x 1 convolution with a shortcut
past them. For jets, all channels but those of the first convolution are a quarter of the original ones, the image has
64 x 64 pixels of 0.025, and half of the features are dropped before the last layer. 1,453,090 parameters; published are
1.46M (a first convolution for images of three colours would give 1,459,362). Also different: the image is aligned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from lhcml.taggers.families import input_positions
from lhcml.taggers.images import form_images
from lhcml.taggers.packing import Batch

# Pixels a side and range of the image; channels of the first convolution; of each stage the number of blocks, their
# inner and outer channels; groups of the 3 x 3 convolutions; dropout before the last layer
ARCHITECTURE = {
    "pixels": 64,
    "half_width": 0.8,
    "first": 64,
    "blocks": [3, 4, 6, 3],
    "inner": [32, 64, 128, 256],
    "outer": [64, 128, 256, 512],
    "groups": 32,
    "dropout": 0.5,
}
INPUTS = ["part_pt", "aligned_deta", "aligned_dphi"]


def convolution(before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Return a convolution that keeps the size of the image but for its stride, and batch normalisation."""
    layer = nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return [layer, nn.BatchNorm2d(after)]


class Block(nn.Module):
    """1 x 1, grouped 3 x 3 and 1 x 1 convolutions and a shortcut past them.

    Parameters
    ----------
    before, inner, outer : int
        Channels of the input, between the convolutions, and of the output.
    stride : int
        Of the 3 x 3 convolution.
    groups : int
        Groups of its channels.
    """

    def __init__(self, before: int, inner: int, outer: int, stride: int, groups: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *convolution(before, inner, 1),
            nn.ReLU(inplace=True),
            *convolution(inner, inner, 3, stride, groups),
            nn.ReLU(inplace=True),
            *convolution(inner, outer, 1),
        )
        same = before == outer and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*convolution(before, outer, 1, stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (jets, before, height, width) to (jets, outer, ...)."""
        return torch.relu(self.layers(x) + self.shortcut(x))


class ResNeXt(nn.Module):
    """Residual network of grouped convolutions on jet images.

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
        width: int = architecture["first"]
        layers: list[nn.Module] = [*convolution(1, width, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, padding=1)]
        stages = zip(architecture["blocks"], architecture["inner"], architecture["outer"], strict=True)
        for stage, (blocks, inner, outer) in enumerate(stages):
            for number in range(blocks):
                stride = 2 if stage > 0 and number == 0 else 1
                layers.append(Block(width, inner, outer, stride, architecture["groups"]))
                width = outer
        self.layers = nn.Sequential(*layers)
        self.f = nn.Sequential(nn.Dropout(architecture["dropout"]), nn.Linear(width, 2))

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the logits (background, signal) of each jet, shape (jets, 2)."""
        pt, first, second = (batch.values[:, column] for column in self.columns)
        images = form_images(pt, first, second, batch, self.pixels, self.half_width)
        logits: torch.Tensor = self.f(self.layers(images[:, None]).mean(dim=(2, 3)))
        return logits


def build_model(
    architecture: Mapping[str, Any], inputs: Sequence[str], mean: torch.Tensor, scale: torch.Tensor
) -> nn.Module:
    """Build the network of a configuration block; the standardisation is not used, an image has its own scaling."""
    return ResNeXt(architecture, input_positions(inputs, INPUTS, "resnext"))
