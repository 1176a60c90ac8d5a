"""Dense network on observables of the jet: the N-subjettiness tagger of arXiv:1807.04769 and arXiv:1902.09914.

The default inputs are its 8-body basis with mass and pT. With hidden layers of 200, 200, 50, 50 and these 22 inputs it
has 57,502 parameters; the comparison says 58k.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from lhcml.common.errors import UserError
from lhcml.taggers.layers import dense
from lhcml.taggers.packing import Batch, segment_mean

# Widths of the hidden layers, and the dropout after each
ARCHITECTURE = {"hidden": [200, 200, 50, 50], "dropout": [0.2, 0.2, 0.1, 0.1]}
INPUTS = [
    "jet_tau1_beta05", "jet_tau2_beta05", "jet_tau3_beta05", "jet_tau4_beta05", "jet_tau5_beta05", "jet_tau6_beta05",
    "jet_tau1", "jet_tau2", "jet_tau3", "jet_tau4", "jet_tau5", "jet_tau6", "jet_tau7",
    "jet_tau1_beta2", "jet_tau2_beta2", "jet_tau3_beta2", "jet_tau4_beta2", "jet_tau5_beta2", "jet_tau6_beta2",
    "jet_tau7_beta2", "jet_mass", "jet_pt",
]  # fmt: skip


class DenseNetwork(nn.Module):
    """Dense layers with dropout on the inputs of a jet; of a jet with several rows, on their mean.

    Parameters
    ----------
    hidden : sequence of int
        Widths of the hidden layers.
    dropout : sequence of float
        Share of the outputs of each hidden layer that is dropped in training.
    mean, scale : torch.Tensor, shape (inputs,)
        Standardisation of the inputs, stored with the weights.
    """

    def __init__(
        self, hidden: Sequence[int], dropout: Sequence[float], mean: torch.Tensor, scale: torch.Tensor
    ) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        layers: list[nn.Module] = []
        for (before, after), share in zip(itertools.pairwise([len(mean), *hidden]), dropout, strict=True):
            layers += [*dense([before, after]), nn.Dropout(share)]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden[-1], 2))

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the logits (background, signal) of each jet, shape (jets, 2)."""
        logits: torch.Tensor = self.layers(segment_mean((batch.values - self.mean) / self.scale, batch))
        return logits


def build_model(
    architecture: Mapping[str, Any], inputs: Sequence[str], mean: torch.Tensor, scale: torch.Tensor
) -> nn.Module:
    """Build the network of a configuration block.

    Raises
    ------
    UserError
        If there is not one dropout for each hidden layer.
    """
    hidden, dropout = architecture["hidden"], architecture["dropout"]
    if not hidden or len(hidden) != len(dropout):
        raise UserError(
            f"architecture of family dense: {len(hidden)} hidden layers and {len(dropout)} values of dropout",
            "give as many of one as of the other, at least one",
        )
    return DenseNetwork(hidden, dropout, mean, scale)
