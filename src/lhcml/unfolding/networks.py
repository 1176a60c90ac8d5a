"""Ratios of densities from neural networks, many replicas in one pass.

Bootstraps, members of an ensemble and variations of weights see the same events with other weights. Their networks are
trained together: each layer is one batched product of matrices, and events are read once for all replicas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import silu, softplus

from lhcml.common.errors import UserError

Parameters = list[torch.Tensor]

# rows times replicas evaluated at once: bounds the memory of predictions
PREDICT_ROWS = 1 << 17


class Inputs(Protocol):
    """Events as the networks see them, standardised."""

    def __len__(self) -> int: ...

    def take(self, index: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the arguments of a network's forward pass for the events at `index`."""


class Network(Protocol):
    """An architecture; its parameters have a leading axis of replicas."""

    def initial(self, inputs: Inputs, generators: Sequence[torch.Generator]) -> Parameters:
        """Return starting values, replica by replica from its own generator."""

    def forward(self, parameters: Parameters, *batch: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (replicas, events)."""


@dataclass(frozen=True)
class Vectors:
    """Events with a fixed number of observables: `values` of shape (events, observables)."""

    values: torch.Tensor

    def __len__(self) -> int:
        return len(self.values)

    def take(self, index: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the observables of the events."""
        return (self.values[index],)


@dataclass(frozen=True)
class Particles:
    """Events with lists of particles: `values` of shape (particles, features), `counts` of shape (events,)."""

    values: torch.Tensor
    counts: torch.Tensor
    starts: torch.Tensor

    def __len__(self) -> int:
        return len(self.counts)

    def take(self, index: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the particles of the events, the event that each is of, and the number of each event's."""
        counts = self.counts[index]
        event = torch.repeat_interleave(torch.arange(len(index)), counts)
        first = torch.repeat_interleave(self.starts[index] - torch.cumsum(counts, 0) + counts, counts)
        return self.values[first + torch.arange(len(event))], event, counts


def dense_parameters(widths: Sequence[int], generators: Sequence[torch.Generator], *, flat_start: bool) -> Parameters:
    """Return weights (replicas, in, out) and biases (replicas, 1, out) of dense layers, alternating.

    He's initialisation (arXiv:1502.01852). With `flat_start` the last layer is zero: training begins at a ratio of one.
    """
    parameters = []
    for layer, (fan_in, fan_out) in enumerate(pairwise(widths)):
        scale = 0.0 if flat_start and layer == len(widths) - 2 else math.sqrt(2.0 / fan_in)
        drawn = [torch.randn(fan_in, fan_out, generator=generator) for generator in generators]
        parameters += [scale * torch.stack(drawn), torch.zeros(len(generators), 1, fan_out)]
    return parameters


def dense_forward(parameters: Sequence[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Return the output of dense layers with SiLU between; `x` is (rows, in) or (replicas, rows, in).

    Smooth, as logarithms of ratios of densities are: nearer to the truth than rectifiers in the closure on Gaussians.
    """
    if x.ndim == 2:
        x = x.expand(len(parameters[0]), *x.shape)
    for layer in range(0, len(parameters), 2):
        # adds the bias in the same pass
        x = torch.baddbmm(parameters[layer + 1], x, parameters[layer])
        if layer < len(parameters) - 2:
            x = silu(x)
    return x


@dataclass(frozen=True)
class Dense:
    """Dense layers on a vector of observables."""

    hidden: tuple[int, ...]

    def initial(self, inputs: Inputs, generators: Sequence[torch.Generator]) -> Parameters:
        """Return starting values that give a ratio of one."""
        assert isinstance(inputs, Vectors)
        return dense_parameters((inputs.values.shape[1], *self.hidden, 1), generators, flat_start=True)

    def forward(self, parameters: Parameters, *batch: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (replicas, events)."""
        return dense_forward(parameters, batch[0]).squeeze(-1)


@dataclass(frozen=True)
class ParticleFlow:
    """Particle flow network: F(sum of Phi(particle)) (arXiv:1810.05165)."""

    phi: tuple[int, ...]
    f: tuple[int, ...]

    def initial(self, inputs: Inputs, generators: Sequence[torch.Generator]) -> Parameters:
        """Return starting values that give a ratio of one."""
        assert isinstance(inputs, Particles)
        phi = dense_parameters((inputs.values.shape[1], *self.phi), generators, flat_start=False)
        return phi + dense_parameters((self.phi[-1], *self.f, 1), generators, flat_start=True)

    def forward(self, parameters: Parameters, *batch: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (replicas, events)."""
        values, event, counts = batch
        split = 2 * len(self.phi)
        particles = silu(dense_forward(parameters[:split], values))
        latent = particles.new_zeros(len(particles), len(counts), self.phi[-1]).index_add(1, event, particles)
        return dense_forward(parameters[split:], latent).squeeze(-1)


@dataclass(frozen=True)
class Training:
    """How the networks of a step are trained.

    Attributes
    ----------
    epochs, warm_epochs : int
        Passes over the events in the first iteration, and in later ones that start from the networks before.
    batch_size : int
        Events a step of the optimiser.
    learning_rate, weight_decay : float
        AdamW (arXiv:1711.05101); the rate falls to zero along a cosine.
    """

    epochs: int = 10
    warm_epochs: int = 5
    batch_size: int = 1000
    learning_rate: float = 5e-3
    weight_decay: float = 0.0


def ratio_loss(logits: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """Return the cross entropy of each replica, whose minimum is ln(E[positive | x] / E[negative | x]).

    An event may weigh on both sides, as in step 2 of OmniFold: one pass serves for its two copies, which thereby are
    always in the same batch.

    Parameters
    ----------
    logits, positive, negative : Tensor
        Logits and the two weights of each event, shape (replicas, events).

    Returns
    -------
    Tensor
        Shape (replicas,): sum over events.
    """
    # softplus(-z) = softplus(z) - z
    return ((positive + negative) * softplus(logits) - positive * logits).sum(1)


def train(
    network: Network,
    inputs: Inputs,
    rows: torch.Tensor,
    positive: torch.Tensor,
    negative: torch.Tensor,
    parameters: Parameters,
    settings: Training,
    epochs: int,
    shuffle: torch.Generator,
) -> tuple[Parameters, list[NDArray[np.float64]]]:
    """Train replicated networks to separate events of two weights.

    Parameters
    ----------
    network, inputs : Network, Inputs
        Architecture and events.
    rows : Tensor
        Positions of the events to learn from.
    positive, negative : Tensor
        Weights of numerator and denominator, shape (rows, replicas), each of mean 1/2. If there are more networks than
        replicas, each replica has that many members, one after the other.
    parameters : list of Tensor
        Where to start; not changed.
    settings : Training
        Optimiser.
    epochs : int
        Passes over the events.
    shuffle : Generator
        Order of the events, the same for all replicas.

    Returns
    -------
    parameters : list of Tensor
        After the last step.
    losses : list of ndarray
        Mean loss of each epoch, shape (replicas,), in units of that of a ratio of one.

    Raises
    ------
    UserError
        If a loss is NaN or infinite.
    """
    parameters = [tensor.detach().clone().requires_grad_() for tensor in parameters]
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    events = len(rows)
    members = len(parameters[0]) // positive.shape[1]
    steps = epochs * -(-events // settings.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    losses = []
    for epoch in range(epochs):
        total = torch.zeros(len(parameters[0]))
        for index in torch.randperm(events, generator=shuffle).split(settings.batch_size):
            logits = network.forward(parameters, *inputs.take(rows[index]))
            sides = [weights[index].T.repeat_interleave(members, 0) for weights in (positive, negative)]
            loss = ratio_loss(logits, *sides)
            optimiser.zero_grad()
            (loss.sum() / len(index)).backward()
            optimiser.step()
            schedule.step()
            total += loss.detach()
        if not torch.isfinite(total).all():
            bad = torch.nonzero(~torch.isfinite(total)).flatten().tolist()
            raise UserError(
                f"the loss of replicas {bad} is NaN or infinite in epoch {epoch + 1}",
                "lower `training.learning_rate`, or look for weights that are too large (diagnostics.json)",
            )
        losses.append((total / (events * math.log(2))).double().numpy())
    return [tensor.detach() for tensor in parameters], losses


def predict(network: Network, inputs: Inputs, parameters: Parameters) -> NDArray[np.float64]:
    """Return logits of all events, shape (networks, events)."""
    rows = max(1, PREDICT_ROWS // len(parameters[0]))
    with torch.no_grad():
        parts = [network.forward(parameters, *inputs.take(index)) for index in torch.arange(len(inputs)).split(rows)]
    return torch.cat(parts, 1).double().numpy()
