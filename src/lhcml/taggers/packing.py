"""Batches of jets for torch, packed: no padding, each row knows its jet.

Most layers act on rows and need no more. Where a network compares the constituents of a jet with each other,
`to_padded` gives a dense tensor as long as the longest jet of the batch, and `in_buckets` calls it on groups of jets of
similar length, so that little of it is padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

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
    position : torch.Tensor of int64, shape (rows,)
        Position of the row within its jet.
    longest : int
        Rows of the longest jet.
    equal : bool
        Whether all jets are known to have `longest` rows. No scatter is needed then: the form in which networks are
        exported.
    """

    values: torch.Tensor
    lengths: torch.Tensor
    jet: torch.Tensor
    position: torch.Tensor
    longest: int
    equal: bool = False

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        if self.values.device == device:
            return self
        return replace(
            self,
            values=self.values.to(device),
            lengths=self.lengths.to(device),
            jet=self.jet.to(device),
            position=self.position.to(device),
        )


def make_batch(values: torch.Tensor, lengths: torch.Tensor) -> Batch:
    """Return the batch of packed rows, shape (rows, inputs), of jets of given lengths, shape (jets,)."""
    jet = torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), lengths, output_size=len(values))
    first = torch.cumsum(lengths, 0) - lengths
    position = torch.arange(len(values), device=lengths.device) - first[jet]
    return Batch(values, lengths, jet, position, int(lengths.max()) if len(lengths) else 0)


def equal_batch(values: torch.Tensor) -> Batch:
    """Return the batch of jets that all have the same number of rows, from their inputs, shape (jets, rows, inputs)."""
    jets, rows, _ = values.shape
    jet = torch.arange(jets, device=values.device)[:, None].expand(jets, rows).reshape(-1)
    position = torch.arange(rows, device=values.device)[None].expand(jets, rows).reshape(-1)
    lengths = torch.full((jets,), rows, device=values.device)
    return Batch(values.flatten(0, 1), lengths, jet, position, rows, equal=True)


def segment_sum(values: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Add up the rows of each jet: (rows, width) -> (jets, width); zero for a jet without rows.

    `index_add` is on a CPU 1.4 times as fast, forward and backward, as `segment_reduce`, and deterministic.
    """
    if batch.equal:
        return to_padded(values, batch).sum(dim=1)
    return values.new_zeros(batch.lengths.shape[0], values.shape[1]).index_add(0, batch.jet, values)


def segment_mean(values: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Average the rows of each jet: (rows, width) -> (jets, width); zero for a jet without rows."""
    return segment_sum(values, batch) / batch.lengths.clamp(min=1)[:, None]


def to_padded(values: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return rows as a dense tensor: (rows, width) -> (jets, longest, width), zero where a jet has no row."""
    jets, width = batch.lengths.shape[0], values.shape[1]
    if batch.equal:
        return values.view(jets, batch.longest, width)
    dense = values.new_zeros(jets * batch.longest, width)
    return dense.index_copy(0, batch.jet * batch.longest + batch.position, values).view(jets, batch.longest, width)


def from_padded(dense: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return the rows of a dense tensor: (jets, longest, width) -> (rows, width); the inverse of `to_padded`."""
    if batch.equal:
        return dense.flatten(0, 1)
    return dense.flatten(0, 1).index_select(0, batch.jet * batch.longest + batch.position)


def is_row(batch: Batch) -> torch.Tensor:
    """Return where a padded tensor holds rows of the jets, bool, shape (jets, longest)."""
    return torch.arange(batch.longest, device=batch.lengths.device) < batch.lengths[:, None]


def rows_of(batch: Batch, chosen: torch.Tensor) -> torch.Tensor:
    """Return the positions of the rows of the chosen jets, one jet after the other, shape (their rows,)."""
    lengths = batch.lengths[chosen]
    starts = (torch.cumsum(batch.lengths, 0) - batch.lengths)[chosen]
    first = torch.cumsum(lengths, 0) - lengths
    return torch.arange(int(lengths.sum()), device=lengths.device) + torch.repeat_interleave(starts - first, lengths)


def in_buckets(function: Callable[[Batch], torch.Tensor], batch: Batch, buckets: int) -> torch.Tensor:
    """Apply a function to groups of jets of similar length, and return its results in the order of the jets.

    The jets of the batch stay the same, only how they are padded changes: no result depends on `buckets`.

    Parameters
    ----------
    function : callable
        Batch -> (jets, ...), each jet by itself.
    batch : Batch
    buckets : int
        Largest number of groups, of equal numbers of jets. 1 calls the function on the batch itself.

    Returns
    -------
    torch.Tensor, shape (jets, ...)
    """
    if buckets <= 1 or batch.equal:
        return function(batch)
    order = torch.argsort(batch.lengths, stable=True)
    results = [
        function(make_batch(batch.values.index_select(0, rows_of(batch, chosen)), batch.lengths[chosen]))
        for chosen in order.chunk(buckets)
    ]
    return torch.cat(results).index_select(0, torch.argsort(order))


class PackedJets:
    """Jets in torch tensors, from which batches are gathered.

    Parameters
    ----------
    jets : Jets
        Packed jets; their values may be mapped from a file, of which a batch then reads the rows it needs.
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
        first = torch.cumsum(lengths, 0) - lengths
        rows = torch.arange(int(lengths.sum())) + torch.repeat_interleave(self.starts[chosen] - first, lengths)
        return make_batch(self.values.index_select(0, rows), lengths)

    def in_order(self, size: int) -> Iterator[Batch]:
        """Yield all jets in their order, `size` at a time."""
        for positions in torch.arange(len(self)).split(size):
            yield self.take(positions)
