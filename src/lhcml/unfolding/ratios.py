"""The two classifiers of OmniFold: what they see, and their training with a warm or a fresh start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import awkward as ak
import numpy as np
import torch
from numpy.typing import NDArray

from lhcml.unfolding.networks import Inputs, Network, Parameters, Particles, Training, Vectors, predict, train
from lhcml.unfolding.trees import Boosting, fit_trees, predict_trees

Floats: TypeAlias = "NDArray[np.float64]"

# PDG codes of long-lived charged particles
CHARGED = (11, 13, 211, 321, 2212, 3112, 3222, 3312, 3334)


def standardise(values: Floats) -> NDArray[np.float32]:
    """Return columns of mean 0 and standard deviation 1, shape (events, observables); constant columns become 0."""
    spread = values.std(0)
    return np.asarray((values - values.mean(0)) / np.where(spread > 0, spread, 1.0), dtype=np.float32)


def particle_features(pt: ak.Array, deta: ak.Array, dphi: ak.Array, pdg: ak.Array) -> Particles:
    """Return the constituents of jets as inputs: ln pt, deta, dphi, whether charged.

    Parameters
    ----------
    pt, deta, dphi, pdg : awkward array
        Lists, an event each: GeV, distances from the axis of the jet in rad, PDG codes.
    """
    counts = ak.to_numpy(ak.num(pt)).astype(np.int64)
    columns = [np.log(ak.to_numpy(ak.flatten(pt))), ak.to_numpy(ak.flatten(deta)), ak.to_numpy(ak.flatten(dphi))]
    columns.append(np.isin(np.abs(ak.to_numpy(ak.flatten(pdg))), CHARGED))
    values = standardise(np.stack([column.astype(np.float64) for column in columns], axis=1))
    starts = np.cumsum(counts) - counts
    return Particles(torch.from_numpy(values), torch.from_numpy(counts), torch.from_numpy(starts))


@dataclass
class NetworkRatios:
    """Ratios from neural networks.

    Attributes
    ----------
    network : Network
        Architecture of both steps.
    detector, particle : Inputs
        Simulated events at detector level followed by those of the data; simulated events at particle level.
    both : ndarray
        Which events at particle level pass detector level too, shape (events,).
    training : Training
        Optimiser.
    members : int
        Networks whose logarithms are averaged in each step, for each replica.
    seeds : sequence of int
        One a replica.
    warm_start : bool
        Whether an iteration starts from the networks of the one before.
    """

    network: Network
    detector: Inputs
    particle: Inputs
    both: NDArray[np.bool_]
    training: Training
    members: int
    seeds: Sequence[int]
    warm_start: bool
    parameters: dict[int, Parameters] = field(default_factory=dict)

    def estimate(
        self, step: int, iteration: int, inputs: Inputs, rows: torch.Tensor, positive: Floats, negative: Floats
    ) -> tuple[Floats, Floats]:
        """Train the networks of a step and return the logarithms of all events of `inputs`, and losses."""
        warm = self.warm_start and iteration > 0
        if not warm:
            drawn = [
                torch.Generator().manual_seed(seed + 2 * member + step - 1)
                for seed in self.seeds
                for member in range(self.members)
            ]
            self.parameters[step] = self.network.initial(inputs, drawn)
        above, below = (torch.from_numpy(np.ascontiguousarray(side.T, np.float32)) for side in (positive, negative))
        # the order of events belongs to the first replica's seed: it is the same for all
        shuffle = torch.Generator().manual_seed(self.seeds[0] + 1000 * iteration + 500 * step)
        self.parameters[step], losses = train(
            self.network, inputs, rows, above, below, self.parameters[step], self.training,
            self.training.warm_epochs if warm else self.training.epochs, shuffle,
        )  # fmt: skip
        shape = (len(self.seeds), self.members)
        logits = predict(self.network, inputs, self.parameters[step])
        return logits.reshape(*shape, -1).mean(1), losses[-1].reshape(shape).mean(1)

    def step1(self, iteration: int, positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
        """Learn from simulation and data at detector level."""
        return self.estimate(1, iteration, self.detector, torch.arange(len(self.detector)), positive, negative)

    def step2(self, iteration: int, positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
        """Learn from the events that pass both levels, evaluate all of particle level."""
        rows = torch.from_numpy(np.flatnonzero(self.both))
        return self.estimate(2, iteration, self.particle, rows, positive, negative)


@dataclass
class TreeRatios:
    """Ratios from boosted trees, a replica after the other; attributes as those of `NetworkRatios`."""

    detector: NDArray[np.float32]
    particle: NDArray[np.float32]
    both: NDArray[np.bool_]
    boosting: Boosting
    members: int
    seeds: Sequence[int]
    threads: int

    def estimate(
        self, learn: NDArray[np.float32], apply: NDArray[np.float32], positive: Floats, negative: Floats
    ) -> tuple[Floats, Floats]:
        """Return the logarithms of the events of `apply`, and the loss of those of `learn`."""
        logarithms, losses = [], []
        for seed, above, below in zip(self.seeds, positive, negative, strict=True):
            boosters = [
                fit_trees(learn, above, below, self.boosting, self.threads, seed + member)
                for member in range(self.members)
            ]
            logarithms.append(np.mean([predict_trees(booster, apply, self.threads) for booster in boosters], axis=0))
            margin = np.mean([predict_trees(booster, learn, self.threads) for booster in boosters], axis=0)
            loss = (above + below) * np.logaddexp(0, margin) - above * margin
            losses.append(loss.mean() / np.log(2))
        return np.array(logarithms), np.array(losses)

    def step1(self, iteration: int, positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
        """Learn from simulation and data at detector level."""
        return self.estimate(self.detector, self.detector, positive, negative)

    def step2(self, iteration: int, positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
        """Learn from the events that pass both levels, evaluate all of particle level."""
        return self.estimate(self.particle[self.both], self.particle, positive, negative)


def vectors(columns: Sequence[Floats]) -> NDArray[np.float32]:
    """Return observables as standardised inputs, shape (events, observables)."""
    return standardise(np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1))


def as_inputs(values: NDArray[np.float32]) -> Vectors:
    """Return standardised observables as inputs of networks."""
    return Vectors(torch.from_numpy(values))
