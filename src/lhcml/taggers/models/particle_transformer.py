"""Particle Transformer (Qu, Li, Qian, arXiv:2202.03772): self-attention biased by the kinematics of each pair.

Attention of constituent i to j gets an additive bias, one a head, from ln dR, ln kT, ln z and ln m^2 of the pair
through a small network. A class token then gathers the constituents in two more blocks. The defaults are the published
settings; with seven features and two classes there are 2,141,134 parameters, the published "2.1M".

No padding is computed on where it costs: constituents are packed rows, the network of the pairs runs on the pairs
i <= j that exist (so its batch normalisation sees real pairs only), and attention on groups of jets of similar length.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.functional import gelu, linear

from lhcml.taggers.dropout import Dropout
from lhcml.taggers.families import input_positions
from lhcml.taggers.packing import (
    Batch,
    from_padded,
    is_row,
    make_batch,
    rows_of,
    segment_sum,
    to_padded,
)

# Widths of the networks of constituents and pairs, numbers of attention heads and blocks, width of the hidden layer
# of a block in units of its own, dropout in the particle blocks (the class blocks have none)
ARCHITECTURE = {
    "embedding": [128, 512, 128],
    "pair_embedding": [64, 64, 64],
    "heads": 8,
    "blocks": 8,
    "class_blocks": 2,
    "hidden_ratio": 4,
    "dropout": 0.1,
}
INPUTS = [
    "part_deta",
    "part_dphi",
    "part_log_pt",
    "part_log_energy",
    "part_log_pt_rel",
    "part_log_energy_rel",
    "part_dr",
    "part_px",
    "part_py",
    "part_pz",
    "part_energy",
]
MOMENTUM = ["part_px", "part_py", "part_pz", "part_energy"]
# Published scaling (x - shift) * factor, then clipped; other inputs are standardised
PUBLISHED_SCALING = {
    "part_deta": (0.0, 1.0),
    "part_dphi": (0.0, 1.0),
    "part_log_pt": (1.7, 0.7),
    "part_log_energy": (2.0, 0.7),
    "part_log_pt_rel": (-4.7, 0.7),
    "part_log_energy_rel": (-4.7, 0.7),
    "part_dr": (0.2, 4.0),
}
LARGEST_INPUT = 5.0
# Smallest argument of the logarithms of pair features, as published
SMALLEST = 1e-8
# Bias that keeps attention off padding; finite, so that a jet without constituents gives no NaN
OFF = -1e9
# Jets attended to together: more have more padding, fewer more calls
JETS_IN_BUCKET = 16


def kinematics(momentum: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return pT, rapidity and azimuth of four-momenta (px, py, pz, E), shape (..., 4)."""
    px, py, pz, energy = momentum.unbind(-1)
    rapidity = 0.5 * torch.log1p(2 * pz / (energy - pz).clamp(min=1e-20))
    return torch.sqrt(px.square() + py.square()), rapidity, torch.atan2(py, px)


def pair_features(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return ln kT, ln z, ln dR, ln m^2 of pairs of constituents (equation 3 of the paper).

    Parameters
    ----------
    first, second : torch.Tensor, shape (..., 4)
        px, py, pz, E in GeV.

    Returns
    -------
    torch.Tensor, shape (..., 4)
        dR = sqrt(dy^2 + dphi^2) with rapidities, kT = min(pT) dR, z = min(pT) / (pT1 + pT2), m the mass of the pair;
        each argument of a logarithm is at least 1e-8.
    """
    (pt1, y1, phi1), (pt2, y2, phi2) = kinematics(first), kinematics(second)
    dphi = torch.remainder(phi1 - phi2 + math.pi, 2 * math.pi) - math.pi
    distance = torch.sqrt((y1 - y2).square() + dphi.square())
    softer = torch.minimum(pt1, pt2)
    # double: E^2 - p^2 of a light pair is a small difference of large numbers
    px, py, pz, energy = (first.double() + second.double()).unbind(-1)
    mass2 = (energy.square() - px.square() - py.square() - pz.square()).to(first.dtype)
    columns = (softer * distance, softer / (pt1 + pt2).clamp(min=SMALLEST), distance, mass2)
    return torch.log(torch.stack(columns, -1).clamp(min=SMALLEST))


@dataclass(frozen=True)
class Bucket:
    """Jets of similar length, on which the blocks act together, and the bias of attention (heads, jets, n, n)."""

    batch: Batch
    bias: torch.Tensor


class PairNetwork(nn.Module):
    """Network of the pair features, with batch normalisation over real pairs; last layer one output a head."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.BatchNorm1d(widths[0])]
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.GELU()]
        # published: no activation before the bias
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return biases (pairs, heads) of features (pairs, 4)."""
        result: torch.Tensor = self.layers(features)
        return result


class Block(nn.Module):
    """What particle and class blocks share: projections, and all that follows attention (NormFormer, with scales)."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.attended_norm = nn.LayerNorm(width)
        self.head_scale = nn.Parameter(torch.ones(heads))
        self.hidden_in_norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, hidden)
        self.hidden_norm = nn.LayerNorm(hidden)
        self.hidden_out = nn.Linear(hidden, width)
        self.residual_scale = nn.Parameter(torch.ones(width))
        self.dropout = Dropout(dropout)
        nn.init.xavier_uniform_(self.query_key_value.weight)
        nn.init.zeros_(self.query_key_value.bias)
        nn.init.zeros_(self.out.bias)

    def finish(self, residual: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """Return the output of the block from its input and the result of attention, both (rows, width)."""
        # the scale of each head is applied to the small matrix instead of to all rows
        scale = self.head_scale.repeat_interleave(len(self.residual_scale) // self.heads)
        attended = linear(attended, self.out.weight * scale[:, None], self.out.bias * scale)
        x = residual + self.dropout(self.attended_norm(attended))
        hidden = self.dropout(gelu(self.hidden(self.hidden_in_norm(x))))
        result: torch.Tensor = torch.addcmul(
            self.dropout(self.hidden_out(self.hidden_norm(hidden))), self.residual_scale, x
        )
        return result


class ParticleBlock(Block):
    """Constituents of a jet attend to each other."""

    def forward(self, x: torch.Tensor, bucket: Bucket) -> torch.Tensor:
        """Return the updated rows, (rows, width)."""
        jets, n, width = bucket.batch.lengths.shape[0], bucket.batch.longest, x.shape[1]
        size = width // self.heads
        dense = to_padded(self.query_key_value(self.norm(x)), bucket.batch).view(jets, n, 3, self.heads, size)
        query, key, value = dense.permute(2, 3, 0, 1, 4).flatten(1, 2).unbind(0)
        scores = torch.baddbmm(bucket.bias.flatten(0, 1), query, key.transpose(1, 2), alpha=size**-0.5)
        attended = torch.bmm(self.dropout(torch.softmax(scores, dim=-1)), value)
        attended = attended.view(self.heads, jets, n, size).permute(1, 2, 0, 3).reshape(jets, n, width)
        return self.finish(x, from_padded(attended, bucket.batch))


class ClassBlock(Block):
    """The token of a jet attends to itself and to the constituents."""

    def forward(self, token: torch.Tensor, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the updated token of each jet, (jets, width)."""
        width, size = token.shape[1], token.shape[1] // self.heads
        weight, bias = self.query_key_value.weight, self.query_key_value.bias
        # published: the query is the token as it is, keys and values are of the normalised token and constituents
        query = linear(token, weight[:width], bias[:width]).unflatten(1, (self.heads, size)) * size**-0.5
        own_key, own_value = self.keys_values(token)
        key, value = self.keys_values(x)
        own_score = (query * own_key).sum(-1)[:, None]
        score = to_padded((query.index_select(0, batch.jet) * key).sum(-1), batch)
        score = score.masked_fill(~is_row(batch)[:, :, None], OFF)
        share = torch.softmax(torch.cat((own_score, score), 1), dim=1)
        weighted = value * from_padded(share[:, 1:], batch)[:, :, None]
        attended = segment_sum(weighted.flatten(1), batch) + (own_value * share[:, 0, :, None]).flatten(1)
        return self.finish(token, attended)

    def keys_values(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values of rows, each (rows, heads, size)."""
        width = x.shape[1]
        both = linear(self.norm(x), self.query_key_value.weight[width:], self.query_key_value.bias[width:])
        key, value = both.unflatten(1, (2, self.heads, width // self.heads)).unbind(1)
        return key, value


class ParticleTransformer(nn.Module):
    """The network.

    Parameters
    ----------
    architecture : mapping
        Settings, as `ARCHITECTURE`.
    features, momentum : sequence of int
        Positions of the embedded inputs and of px, py, pz, E.
    mean, scale : torch.Tensor, shape (inputs,)
        Scaling of the inputs, stored with the weights.
    """

    def __init__(
        self,
        architecture: Mapping[str, Any],
        features: Sequence[int],
        momentum: Sequence[int],
        mean: torch.Tensor,
        scale: torch.Tensor,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.features, self.momentum = list(features), list(momentum)
        embedding, heads = architecture["embedding"], architecture["heads"]
        width = embedding[-1]
        self.input_norm = nn.BatchNorm1d(len(features))
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise([len(features), *embedding]):
            layers += [nn.LayerNorm(before), nn.Linear(before, after), nn.GELU()]
        self.embedding = nn.Sequential(*layers)
        self.pairs = PairNetwork([4, *architecture["pair_embedding"], heads])
        sizes = width, heads, architecture["hidden_ratio"] * width
        self.blocks = nn.ModuleList(
            ParticleBlock(*sizes, architecture["dropout"]) for _ in range(architecture["blocks"])
        )
        self.class_blocks = nn.ModuleList(ClassBlock(*sizes, 0.0) for _ in range(architecture["class_blocks"]))
        self.token = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, width), std=0.02))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, 2)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the logits (background, signal) of each jet, shape (jets, 2)."""
        if batch.equal:
            return self.score(self.input_norm(self.scaled(batch)), self.one_bucket(batch))
        order = torch.argsort(batch.lengths, stable=True)
        batch = make_batch(batch.values.index_select(0, rows_of(batch, order)), batch.lengths[order])
        buckets = self.make_buckets(batch)
        # batch normalisation is over all jets; all that follows acts on each jet by itself and is applied a bucket at a
        # time, whose activations fit into the cache
        rows = self.input_norm(self.scaled(batch)).split([bucket.batch.jet.shape[0] for bucket in buckets])
        logits = [self.score(part, bucket) for part, bucket in zip(rows, buckets, strict=True)]
        return torch.cat(logits).index_select(0, torch.argsort(order))

    def scaled(self, batch: Batch) -> torch.Tensor:
        """Return the scaled inputs to embed, (rows, features)."""
        inputs = ((batch.values - self.mean) / self.scale).clamp(-LARGEST_INPUT, LARGEST_INPUT)
        return inputs[:, self.features]

    def score(self, inputs: torch.Tensor, bucket: Bucket) -> torch.Tensor:
        """Return the logits of the jets of a bucket, (jets, 2), from their inputs, (rows, features)."""
        x = self.embedding(inputs)
        for block in self.blocks:
            x = block(x, bucket)
        token = self.token.expand(bucket.batch.lengths.shape[0], -1)
        for block in self.class_blocks:
            token = block(token, x, bucket.batch)
        logits: torch.Tensor = self.out(self.norm(token))
        return logits

    def one_bucket(self, batch: Batch) -> Bucket:
        """Return all jets as one bucket, with all ordered pairs: simpler, for export."""
        jets, n = batch.lengths.shape[0], batch.longest
        momentum = to_padded(batch.values[:, self.momentum], batch)
        shape = (jets, n, n, 4)
        features = pair_features(momentum[:, :, None].expand(shape), momentum[:, None].expand(shape))
        bias = self.pairs(features.reshape(-1, 4)).view(jets, n, n, -1).permute(3, 0, 1, 2)
        return Bucket(batch, bias.masked_fill(~is_row(batch)[:, None, :], OFF))

    def make_buckets(self, batch: Batch) -> list[Bucket]:
        """Return buckets of jets sorted by length, with the biases of their pairs."""
        parts, firsts, seconds, places = [], [], [], []
        start = 0
        for lengths in batch.lengths.split(JETS_IN_BUCKET):
            part = make_batch(batch.values[start : start + int(lengths.sum())], lengths)
            n = part.longest
            i, j = torch.triu_indices(n, n, device=lengths.device)
            exists = j < lengths[:, None]
            first = start + torch.cumsum(lengths, 0) - lengths
            firsts.append((first[:, None] + i)[exists])
            seconds.append((first[:, None] + j)[exists])
            places.append((torch.arange(len(lengths), device=lengths.device)[:, None] * n * n + i * n + j)[exists])
            parts.append(part)
            start += len(part.values)
        row1, row2 = torch.cat(firsts), torch.cat(seconds)
        momentum = batch.values[:, self.momentum]
        bias = self.pairs(pair_features(momentum.index_select(0, row1), momentum.index_select(0, row2)))
        # a pair of a constituent with itself is met twice when the triangle is added to its mirror image
        bias = bias * torch.where(row1 == row2, 0.5, 1.0)[:, None]
        buckets = []
        for part, values, place in zip(parts, bias.split([len(p) for p in places]), places, strict=True):
            jets, n = len(part.lengths), part.longest
            upper = bias.new_zeros(jets * n * n, bias.shape[1]).index_copy(0, place, values)
            upper = upper.view(jets, n, n, bias.shape[1]).permute(3, 0, 1, 2)
            off = torch.where(is_row(part), 0.0, OFF)[:, None, :]
            buckets.append(Bucket(part, upper + upper.transpose(2, 3) + off))
        return buckets


def build_model(
    architecture: Mapping[str, Any], inputs: Sequence[str], mean: torch.Tensor, scale: torch.Tensor
) -> nn.Module:
    """Build the network of a configuration block; inputs other than the four-momentum are embedded."""
    momentum = input_positions(inputs, MOMENTUM, "particle_transformer")
    mean, scale = mean.clone(), scale.clone()
    for position, name in enumerate(inputs):
        if name in PUBLISHED_SCALING:
            shift, factor = PUBLISHED_SCALING[name]
            mean[position], scale[position] = shift, 1.0 / factor
    features = [position for position, name in enumerate(inputs) if name not in MOMENTUM]
    return ParticleTransformer(architecture, features, momentum, mean, scale)
