"""Four-momenta of jets in groups of equal length, for networks on all pairs of constituents.

Jets are sorted by their number of particles; those of equal number form a group. A tensor with a row for each pair is
then, a group at a time, a dense tensor (jets, n, n, width) without padding: sums over j are dense sums, and batch
normalisation over the rows sees real pairs only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lhcml.taggers.packing import Batch, rows_of

MOMENTUM = ["part_px", "part_py", "part_pz", "part_energy"]


@dataclass(frozen=True)
class Particles:
    """Particles of jets sorted by length.

    Attributes
    ----------
    momentum : torch.Tensor, shape (rows, 4)
        px, py, pz, E in GeV.
    is_beam : torch.Tensor of the same dtype, shape (rows, 1)
        1 for a beam particle, 0 for a constituent.
    jet : torch.Tensor of int64, shape (rows,)
        Position of the jet, in sorted order, that a row belongs to.
    lengths : torch.Tensor of the same dtype, shape (jets, 1)
        Particles of each jet.
    groups : list of (int, int)
        Numbers of jets and of particles in each of them, one entry a length; jets without particles are left out.
    original : torch.Tensor of int64, shape (jets,) or None
        Position in sorted order of each jet of the batch; None if the order is that of the batch.
    """

    momentum: torch.Tensor
    is_beam: torch.Tensor
    jet: torch.Tensor
    lengths: torch.Tensor
    groups: list[tuple[int, int]]
    original: torch.Tensor | None

    def restore(self, values: torch.Tensor) -> torch.Tensor:
        """Return rows that belong to sorted jets, (jets, width), in the order of the batch."""
        return values if self.original is None else values.index_select(0, self.original)


def make_particles(batch: Batch, columns: Sequence[int], beam_energy: float | None) -> Particles:
    """Sort jets by length and, if wanted, put two beam particles first in each: momentum 1 GeV along +-z.

    Parameters
    ----------
    batch : Batch
        Jets with px, py, pz, E among their inputs.
    columns : sequence of int
        Positions of these four.
    beam_energy : float or None
        Energy of a beam particle in GeV (1 makes it massless); None adds none.
    """
    extra = 0 if beam_energy is None else 2
    original = None
    if batch.equal:
        values, jet, lengths = batch.values, batch.jet, batch.lengths
        groups = [(lengths.shape[0], batch.longest + extra)]
    else:
        order = torch.argsort(batch.lengths, stable=True)
        original = torch.argsort(order)
        lengths = batch.lengths[order]
        values = batch.values.index_select(0, rows_of(batch, order))
        jet = torch.repeat_interleave(torch.arange(len(order), device=order.device), lengths)
        different, counts = torch.unique_consecutive(lengths, return_counts=True)
        groups = [(jets, n + extra) for jets, n in zip(counts.tolist(), different.tolist(), strict=True) if n + extra]
        # a group without jets where there is no particle at all: tensors without rows
        groups = groups or [(0, 1)]
    momentum = values[:, list(columns)]
    particles = (lengths + extra).to(momentum.dtype)[:, None]
    if beam_energy is None:
        return Particles(momentum, torch.zeros_like(momentum[:, :1]), jet, particles, groups, original)
    jets = lengths.shape[0]
    beam = momentum.new_tensor([[0.0, 0.0, sign, beam_energy, 1.0] for sign in (1.0, -1.0)]).repeat(jets, 1)
    # a constituent comes after the beams of its own and of all earlier jets
    place = torch.arange(jet.shape[0], device=jet.device) + 2 * (jet + 1)
    together = momentum.new_zeros(place.shape[0] + 2 * jets, 5).index_copy(
        0, place, torch.nn.functional.pad(momentum, (0, 1))
    )
    number = torch.arange(jets, device=jet.device)
    first = torch.cumsum(lengths, 0) - lengths + 2 * number
    places = (first[:, None] + torch.arange(2, device=jet.device)).reshape(-1)
    together = together.index_copy(0, places, beam)
    all_jets = jet.new_zeros(together.shape[0]).index_copy(0, place, jet)
    all_jets = all_jets.index_copy(0, places, number.repeat_interleave(2))
    return Particles(together[:, :4], together[:, 4:], all_jets, particles, groups, original)


def pair_rows(particles: Particles, with_self: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rows i and j of all ordered pairs within jets, sorted by jet and i, each of shape (pairs,)."""
    device = particles.jet.device
    first, second = [], []
    start = 0
    for jets, n in particles.groups:
        i = torch.arange(n, device=device)[:, None]
        if with_self:
            j = torch.arange(n, device=device).expand(n, n)
        else:
            j = torch.arange(n - 1, device=device)
            # leave out j = i
            j = j + (j >= i)
        base = start + n * torch.arange(jets, device=device)[:, None]
        first.append((base + i.expand(j.shape).reshape(-1)).reshape(-1))
        second.append((base + j.reshape(-1)).reshape(-1))
        start = start + jets * n
    return torch.cat(first), torch.cat(second)


def sum_over_particles(values: torch.Tensor, particles: Particles) -> torch.Tensor:
    """Add up the particles of each jet: (rows, width) -> (jets, width) in sorted order; zero for a jet without."""
    parts = values.split([jets * n for jets, n in particles.groups])
    sums = [part.view(jets, n, values.shape[1]).sum(1) for part, (jets, n) in zip(parts, particles.groups, strict=True)]
    # jets without particles come first and are in no group
    without = particles.lengths.shape[0] - sum(jets for jets, _ in particles.groups)
    return torch.cat([values.new_zeros(without, values.shape[1]), *sums])


def inner(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the Minkowski product (metric +---) of (px, py, pz, E): (..., 4) -> (..., 1)."""
    product = first * second
    return product[..., 3:] - product[..., :3].sum(-1, keepdim=True)
