"""Linear classifier on energy flow polynomials (Komiske, Metodiev, Thaler, arXiv:1712.07124).

The polynomials span all infrared and collinear safe observables, so that a linear model on them can be any of these. It
has a weight for each polynomial and one more. The polynomials are so correlated that gradient descent would need
thousands of epochs; `start` gives it Fisher's discriminant, which the papers use, to go on from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from lhcml.taggers.jets import LabelledJets
from lhcml.taggers.packing import Batch, segment_mean

# Added to the variances, which are 1, in Fisher's discriminant. Large enough that weights stay below about 1e4, so that
# single precision is enough for their sum; small enough to cost no AUC.
ARCHITECTURE = {"shrinkage": 1e-9}
# Made if the configuration asks for them: `features: {efp: {degree: 7}}` for the published 1000 polynomials
INPUTS = ["jet_efp"]
ROWS_AT_ONCE = 8192


class LinearClassifier(nn.Module):
    """Logistic regression on the inputs of a jet; of a jet with several rows, on their mean.

    Parameters
    ----------
    shrinkage : float
        Added to the variances of the standardised inputs in Fisher's discriminant.
    mean, scale : torch.Tensor, shape (inputs,)
        Standardisation of the inputs, stored with the weights.
    """

    def __init__(self, shrinkage: float, mean: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__()
        self.shrinkage = shrinkage
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.linear = nn.Linear(len(mean), 1)
        # a random start has no use: the problem is convex
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def start(self, train: LabelledJets) -> None:
        """Set weights and bias to Fisher's discriminant of the training jets, which have one row each.

        With the means m and the covariances C of both classes (Annals Eugen. 7 (1936) 179): weights w =
        ((C_S + C_B)/2)^-1 (m_S - m_B), bias -w (m_S + m_B)/2. For Gaussian classes of equal covariance these are the
        logits.
        """
        inputs = len(self.mean)
        mean, scale = self.mean.double().cpu().numpy(), self.scale.double().cpu().numpy()
        centres, covariance = [], self.shrinkage * np.eye(inputs)
        for label in (1, 0):
            rows = np.flatnonzero(train.labels == label)
            total, squares = np.zeros(inputs), np.zeros((inputs, inputs))
            # some at a time: the inputs may be mapped from a file
            for begin in range(0, len(rows), ROWS_AT_ONCE):
                x = (train.jets.values[rows[begin : begin + ROWS_AT_ONCE]] - mean) / scale
                total += x.sum(axis=0)
                squares += x.T @ x
            centres.append(total / len(rows))
            covariance += 0.5 * (squares / len(rows) - np.outer(centres[-1], centres[-1]))
        weight = np.linalg.solve(covariance, centres[0] - centres[1])
        with torch.no_grad():
            self.linear.weight.copy_(torch.from_numpy(weight)[None])
            self.linear.bias.fill_(-0.5 * float(weight @ (centres[0] + centres[1])))

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the logits (background, signal) of each jet, shape (jets, 2); that of background is 0."""
        signal = self.linear(segment_mean((batch.values - self.mean) / self.scale, batch))
        return torch.cat([torch.zeros_like(signal), signal], dim=1)


def build_model(
    architecture: Mapping[str, Any], inputs: Sequence[str], mean: torch.Tensor, scale: torch.Tensor
) -> nn.Module:
    """Build the classifier of a configuration block."""
    return LinearClassifier(architecture["shrinkage"], mean, scale)
