"""Linear classifier on energy flow polynomials (Komiske, Metodiev, Thaler, arXiv:1712.07124).

The polynomials span all infrared and collinear safe observables, so that a linear model on them can be any of these. It
has a weight for each polynomial and one more. The papers (and arXiv:1902.09914) use Fisher's discriminant, fitted in
one step; here it is logistic regression, trained as all other networks are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from lhcml.taggers.packing import Batch, segment_mean

ARCHITECTURE: dict[str, Any] = {}
# Made if the configuration asks for them: `features: {efp: {degree: 7}}` for the published 1000 polynomials
INPUTS = ["jet_efp"]


class LinearClassifier(nn.Module):
    """Logistic regression on the inputs of a jet; of a jet with several rows, on their mean.

    Parameters
    ----------
    mean, scale : torch.Tensor, shape (inputs,)
        Standardisation of the inputs, stored with the weights.
    """

    def __init__(self, mean: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.linear = nn.Linear(len(mean), 1)
        # the same start for all seeds: the problem is convex
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the logits (background, signal) of each jet, shape (jets, 2); that of background is 0."""
        signal = self.linear(segment_mean((batch.values - self.mean) / self.scale, batch))
        return torch.cat([torch.zeros_like(signal), signal], dim=1)


def build_model(
    architecture: Mapping[str, Any], inputs: Sequence[str], mean: torch.Tensor, scale: torch.Tensor
) -> nn.Module:
    """Build the classifier of a configuration block, which has no settings."""
    return LinearClassifier(mean, scale)
