"""PELICAN (Bogatskiy et al., arXiv:2307.16506): permutation-equivariant layers on all products p_i.p_j.

The inputs of a jet are the matrix p_i.p_j of its particles and two beams, encoded with trainable powers. Blocks of a
message layer (on each pair by itself) and of an equivariant layer (all 15 linear maps of matrices to matrices that do
not depend on the order of particles) follow, then the two maps to a number (means of all and of the diagonal), and a
dense layer. Being made of products, the output is invariant under Lorentz transformations of all constituents; with
beams (the default, as published) only rotations about the beam are left.

Widths of message and equivariant layers 132 and 78 (the default) give 208,498 parameters, the published "208k"; 25 and
15 give 11,262, near the published "11k"; 10 and 6 (label 6) 2,912, and 5 and 3 (label 3) 1,192: about "3k" and "1k".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.functional import leaky_relu, linear

from lhcml.common.errors import UserError
from lhcml.taggers.dropout import Dropout
from lhcml.taggers.families import input_positions
from lhcml.taggers.minkowski import MOMENTUM, Particles, inner, make_particles, pair_rows, sum_over_particles
from lhcml.taggers.packing import Batch

# Blocks, width of their messages and of their equivariant layers, channels of the labels of beams (if there are beams),
# dropout, and number of particles by which sums are normalised
ARCHITECTURE = {
    "blocks": 5,
    "message": 132,
    "equivariant": 78,
    "label": 10,
    "dropout": 0.01,
    "beams": True,
    "typical_length": 49.0,
}
INPUTS = ["part_px", "part_py", "part_pz", "part_energy"]
# Range of the square roots of powers at the start, as published, and what keeps a power from being 0
POWERS = (0.05, 0.5)
SMALLEST_POWER = 1e-6
# Published: massless beams
BEAM_ENERGY = 1.0


def encode(product: torch.Tensor, root: torch.Tensor) -> torch.Tensor:
    """Return ((1 + x)^a - 1) / a with a = root^2, like log(1 + x) for small a: (pairs, 1) -> (pairs, powers)."""
    power = SMALLEST_POWER + root.square()
    return torch.expm1(torch.log1p(product) * power) / power


def dense_parts(values: torch.Tensor, particles: Particles) -> list[torch.Tensor]:
    """Return rows of pairs as one dense tensor a group of jets, each (jets, n, n, width)."""
    parts = values.split([jets * n * n for jets, n in particles.groups])
    return [part.view(jets, n, n, values.shape[1]) for part, (jets, n) in zip(parts, particles.groups, strict=True)]


def length_factor(particles: Particles, powers: torch.Tensor, typical: float) -> torch.Tensor:
    """Return (n / typical)^power for each jet: powers (k, width) -> (jets, k, width)."""
    return torch.exp(torch.log(particles.lengths.clamp(min=1) / typical)[:, :, None] * powers)


def margins(values: torch.Tensor, particles: Particles) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return diagonal, means of columns and of rows of the matrices, each (rows, width), from (pairs, width)."""
    parts = dense_parts(values, particles)
    diagonal = [dense.diagonal(dim1=1, dim2=2).transpose(1, 2).flatten(0, 1) for dense in parts]
    columns = [dense.sum(1).flatten(0, 1) for dense in parts]
    rows = [dense.sum(2).flatten(0, 1) for dense in parts]
    number = particles.lengths.index_select(0, particles.jet)
    return torch.cat(diagonal), torch.cat(columns) / number, torch.cat(rows) / number


def jet_mean(values: torch.Tensor, particles: Particles) -> torch.Tensor:
    """Average over particles: (rows, width) -> (jets, 1, width); zero for a jet without particles."""
    return (sum_over_particles(values, particles) / particles.lengths.clamp(min=1))[:, None]


def spread(at_i: torch.Tensor, at_j: torch.Tensor, on_diagonal: torch.Tensor, particles: Particles) -> torch.Tensor:
    """Return the matrices a_i + b_j + delta_ij c_i as rows of pairs, from three tensors (rows, width)."""
    sizes = [jets * n for jets, n in particles.groups]
    width = at_i.shape[1]
    results = []
    for (jets, n), a, b, c in zip(
        particles.groups, at_i.split(sizes), at_j.split(sizes), on_diagonal.split(sizes), strict=True
    ):
        dense = a.view(jets, n, 1, width) + b.view(jets, 1, n, width)
        diagonal = torch.diag_embed(c.view(jets, n, width).transpose(1, 2)).permute(0, 2, 3, 1)
        results.append((dense + diagonal).reshape(jets * n * n, width))
    return torch.cat(results)


class Message(nn.Module):
    """Dense layer on each pair by itself, leaky ReLU, batch normalisation over real pairs."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.dense = nn.Linear(before, after)
        self.norm = nn.BatchNorm1d(after)
        nn.init.kaiming_normal_(self.dense.weight, a=0.01)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return (pairs, after) of (pairs, before)."""
        result: torch.Tensor = self.norm(leaky_relu(self.dense(values)))
        return result


class Equivariant(nn.Module):
    """The 15 maps of a matrix T to a matrix, mixed with coefficients that factorise, then leaky ReLU.

    At place (i, j): T_ij and T_ji; diagonal, mean of columns and mean of rows at i, at j, and on the diagonal of the
    result; trace and total mean, everywhere and on the diagonal. Means are multiplied by (n / typical)^power with
    trainable powers. The coefficient of input channel c, output channel d and map b is A_bc M_dc + B_bd N_dc.
    """

    def __init__(self, before: int, after: int, typical: float) -> None:
        super().__init__()
        self.typical = typical
        # in this order: 2 maps of T, 3 of the diagonal, 3 of columns, 3 of rows, 2 of the trace, 2 of the total
        self.of_input = nn.Parameter(torch.randn(15, before) * 15**-0.5)
        self.of_output = nn.Parameter(torch.randn(15, after) * 15**-0.5)
        self.mix = nn.Parameter(torch.randn(2, after, before) * before**-0.5)
        self.powers = nn.Parameter(torch.rand(10, before))
        self.bias = nn.Parameter(torch.zeros(2, after))

    def forward(self, values: torch.Tensor, particles: Particles) -> torch.Tensor:
        """Return (pairs, after) of (pairs, before)."""
        mixing = self.of_input[:, None, :] * self.mix[0] + self.of_output[:, :, None] * self.mix[1]
        matrix, diagonal, columns, rows, trace, total = mixing.split([2, 3, 3, 3, 2, 2])
        of_diagonal, of_columns, of_rows = margins(values, particles)
        factor = length_factor(particles, self.powers, self.typical)
        by_row = factor[:, :6].index_select(0, particles.jet)
        terms = torch.einsum("rc,kdc->rkd", of_diagonal, diagonal)
        terms = terms + torch.einsum("rkc,kdc->rkd", of_columns[:, None] * by_row[:, :3], columns)
        terms = terms + torch.einsum("rkc,kdc->rkd", of_rows[:, None] * by_row[:, 3:], rows)
        overall = self.bias + torch.einsum("jkc,kdc->jkd", jet_mean(of_diagonal, particles) * factor[:, 6:8], trace)
        overall = overall + torch.einsum("jkc,kdc->jkd", jet_mean(of_rows, particles) * factor[:, 8:], total)
        everywhere, on_diagonal = overall.index_select(0, particles.jet).unbind(1)
        at_i, at_j, at_diagonal = terms.unbind(1)
        result = spread(at_i + everywhere, at_j, at_diagonal + on_diagonal, particles)
        straight, transposed = linear(values, matrix.flatten(0, 1)).split(self.bias.shape[1], dim=1)
        turned = [dense.transpose(1, 2).flatten(0, 2) for dense in dense_parts(transposed, particles)]
        return leaky_relu(result + straight + torch.cat(turned))


class Labels(nn.Module):
    """The five maps of labels of particles to a matrix: channels that tell beams from constituents."""

    def __init__(self, after: int, typical: float) -> None:
        super().__init__()
        self.typical = typical
        self.weights = nn.Parameter(torch.randn(5, after, 2) * 0.2**0.5)
        self.powers = nn.Parameter(torch.zeros(5, 2))
        self.bias = nn.Parameter(torch.zeros(after))

    def forward(self, particles: Particles) -> torch.Tensor:
        """Return (pairs, after)."""
        labels = torch.cat((particles.is_beam, 1 - particles.is_beam), 1)
        mean = jet_mean(labels, particles)[:, 0].index_select(0, particles.jet)
        inputs = torch.stack((labels, labels, labels, mean, mean), 1)
        inputs = inputs * length_factor(particles, self.powers, self.typical).index_select(0, particles.jet)
        at_i, at_j, on_diagonal, mean_everywhere, mean_on_diagonal = torch.einsum(
            "rkc,kdc->rkd", inputs, self.weights
        ).unbind(1)
        return spread(at_i + mean_everywhere + self.bias, at_j, on_diagonal + mean_on_diagonal, particles)


class Pelican(nn.Module):
    """The network.

    Parameters
    ----------
    architecture : mapping
        Settings, as `ARCHITECTURE`.
    columns : sequence of int
        Positions of px, py, pz, E among the inputs.
    """

    def __init__(self, architecture: Mapping[str, Any], columns: Sequence[int]) -> None:
        super().__init__()
        self.columns, self.beams, self.typical = list(columns), architecture["beams"], architecture["typical_length"]
        message, equivariant = architecture["message"], architecture["equivariant"]
        label = architecture["label"] if self.beams else 0
        if label >= message:
            raise UserError(
                f"pelican has {label} channels for labels of {message} in all", "give `label` less than `message`"
            )
        self.roots = nn.Parameter(torch.linspace(*POWERS, message - label))
        self.labels = Labels(label, self.typical) if self.beams else None
        blocks = range(architecture["blocks"])
        self.messages = nn.ModuleList(Message(message, equivariant) for _ in blocks)
        self.equivariant = nn.ModuleList(Equivariant(equivariant, message, self.typical) for _ in blocks)
        self.last_message = Message(message, equivariant)
        self.powers = nn.Parameter(torch.rand(2, equivariant))
        self.invariant = nn.Linear(2 * equivariant, message)
        self.dropout = Dropout(architecture["dropout"])
        self.out = nn.Linear(message, 2)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the logits (background, signal) of each jet, shape (jets, 2)."""
        particles = make_particles(batch, self.columns, BEAM_ENERGY if self.beams else None)
        first, second = pair_rows(particles, with_self=True)
        momentum = particles.momentum
        # rounding makes products of nearly parallel light particles slightly negative
        product = inner(momentum.index_select(0, first), momentum.index_select(0, second)).clamp(min=0)
        values = encode(product, self.roots)
        if self.labels is not None:
            values = torch.cat((values, self.labels(particles)), 1)
        for message, equivariant in zip(self.messages, self.equivariant, strict=True):
            values = equivariant(self.dropout(message(values)), particles)
        diagonal, _, rows = margins(self.dropout(self.last_message(values)), particles)
        means = torch.cat((jet_mean(rows, particles), jet_mean(diagonal, particles)), 1)
        means = leaky_relu(means * length_factor(particles, self.powers, self.typical)).flatten(1)
        logits: torch.Tensor = self.out(self.dropout(self.invariant(means)))
        return particles.restore(logits)


def build_model(
    architecture: Mapping[str, Any], inputs: Sequence[str], mean: torch.Tensor, scale: torch.Tensor
) -> nn.Module:
    """Build the network of a configuration block; inputs are not scaled, which would break the invariance."""
    return Pelican(architecture, input_positions(inputs, MOMENTUM, "pelican"))
