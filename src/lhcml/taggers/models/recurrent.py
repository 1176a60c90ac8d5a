"""Recurrent network: an LSTM reads the constituents from the softest to the hardest, a dense network its last state.

After Egan, Fedorko, Lister, Pearkes, Gay (arXiv:1711.09059): state of width 128, dense layer of 64. They order the
constituents by the clustering history, which they find better than by pT; here the order is by pT, and the coordinates
are aligned. The hardest come last because the last ones are remembered best: with 8,000 jets for training, AUC .973
after six epochs instead of .926 the other way round. 76,482 parameters with three inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from lhcml.taggers.layers import dense
from lhcml.taggers.packing import Batch, in_buckets, to_padded

# Width of the state of the LSTM, and of the dense layers that read its last one
ARCHITECTURE = {"state": 128, "f": [64]}
INPUTS = ["part_log_pt_rel", "aligned_deta", "aligned_dphi"]
# Groups of jets of similar length, each padded to its longest
BUCKETS = 4


class RecurrentNetwork(nn.Module):
    """LSTM over the rows of a jet.

    Parameters
    ----------
    state : int
        Width of the state.
    f : sequence of int
        Widths of the dense layers.
    mean, scale : torch.Tensor, shape (inputs,)
        Standardisation of the inputs, stored with the weights.
    """

    def __init__(self, state: int, f: Sequence[int], mean: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.lstm = nn.LSTM(len(mean), state, batch_first=True)
        self.f = nn.Sequential(*dense([state, *f]), nn.Linear(f[-1] if f else state, 2))

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the logits (background, signal) of each jet, shape (jets, 2)."""
        values = (batch.values - self.mean) / self.scale
        # the row at position p of n changes places with the one at position n - 1 - p
        length = batch.lengths.index_select(0, batch.jet)
        backwards = torch.arange(values.shape[0], device=values.device) + length - 1 - 2 * batch.position
        batch = replace(batch, values=values.index_select(0, backwards))
        if torch.compiler.is_exporting():
            state = self.last_state_by_scan(to_padded(batch.values, batch))
        else:
            state = in_buckets(self.last_state, batch, BUCKETS)
        logits: torch.Tensor = self.f(state)
        return logits

    def last_state(self, batch: Batch) -> torch.Tensor:
        """Return the state of each jet after its last row, shape (jets, state); zeros for a jet without rows.

        With padding after the last row this is on a CPU about eight times as fast as torch's `PackedSequence`.
        """
        jets = batch.lengths.shape[0]
        if batch.longest == 0:
            return batch.values.new_zeros(jets, self.lstm.hidden_size)
        states: torch.Tensor = self.lstm(to_padded(batch.values, batch))[0]
        last = (batch.lengths - 1).clamp(min=0)[:, None, None].expand(jets, 1, states.shape[2])
        return states.gather(1, last).squeeze(1) * (batch.lengths > 0)[:, None]

    def last_state_by_scan(self, values: torch.Tensor) -> torch.Tensor:
        """Return the same from values of jets of one length, shape (jets, length, inputs), without gradients.

        An exported `nn.LSTM` is as many copies of a step as the example has constituents, and takes jets of this length
        only. A scan is exported as a loop.
        """
        # not public yet, and needed for export only
        from torch._higher_order_ops.scan import scan

        lstm = self.lstm
        gates = nn.functional.linear(values, lstm.weight_ih_l0, lstm.bias_ih_l0 + lstm.bias_hh_l0).detach()
        weight = lstm.weight_hh_l0.detach().T

        def step(
            carry: tuple[torch.Tensor, torch.Tensor], gates: torch.Tensor
        ) -> tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
            state, cell = carry
            enter, keep, new, leave = (gates + state @ weight).chunk(4, 1)
            cell = torch.sigmoid(keep) * cell + torch.sigmoid(enter) * torch.tanh(new)
            state = torch.sigmoid(leave) * torch.tanh(cell)
            # a scan must not return one tensor twice
            return (state, cell), state.clone()

        start = values.new_zeros(values.shape[0], lstm.hidden_size)
        (state, _), _ = scan(step, (start, start.clone()), gates, dim=1)
        return state


def build_model(
    architecture: Mapping[str, Any], inputs: Sequence[str], mean: torch.Tensor, scale: torch.Tensor
) -> nn.Module:
    """Build the network of a configuration block."""
    return RecurrentNetwork(architecture["state"], architecture["f"], mean, scale)
