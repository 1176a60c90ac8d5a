"""Batches of jets for torch, packed: no padding, each row knows its jet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from lhcml.taggers.jets import Jets


@dataclass(frozen=True)
class Batch:
    """Inputs of some jets.

    Attributes
    ----------
    values : torch.Tensor of float32, shape (rows, inputs)
    lengths : torch.Tensor of int64, shape (jets,)
        Rows of each jet; may be 0.
    jet : torch.Tensor of int64, shape (rows,)
        Position of the jet that a row belongs to.
    """

    values: torch.Tensor
    lengths: torch.Tensor
    jet: torch.Tensor


def segment_sum(values: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Add up the rows of each jet: (rows, width) -> (jets, width); zero for a jet without rows.

    `index_add` is on a CPU 1.4 times as fast, forward and backward, as `segment_reduce`, and deterministic.
    """
    return values.new_zeros(len(batch.lengths), values.shape[1]).index_add(0, batch.jet, values)


class PackedJets:
    """Jets in torch tensors, from which batches are gathered.

    Parameters
    ----------
    jets : Jets
        Packed jets.
    """

    def __init__(self, jets: Jets) -> None:
        self.values = torch.from_numpy(jets.values)
        self.lengths = torch.from_numpy(jets.lengths)
        self.starts = torch.cumsum(self.lengths, 0) - self.lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, chosen: torch.Tensor) -> Batch:
        """Return the batch of the jets at positions `chosen`, shape (jets,)."""
        lengths = self.lengths[chosen]
        jet = torch.repeat_interleave(torch.arange(len(chosen)), lengths)
        first = torch.cumsum(lengths, 0) - lengths
        rows = torch.arange(len(jet)) + (self.starts[chosen] - first)[jet]
        return Batch(self.values.index_select(0, rows), lengths, jet)

    def in_order(self, size: int) -> Iterator[Batch]:
        """Yield all jets in their order, `size` at a time."""
        for positions in torch.arange(len(self)).split(size):
            yield self.take(positions)
