"""The training loop of all networks: equal classes, schedule, early stopping, and resumption to the identical result.

Everything random in an epoch comes from the job's seed and the epoch's number, so a training that is killed and resumed
from its last finished epoch ends with the same weights, bit by bit, as one that was not.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cross_entropy

from lhcml.common.errors import UserError
from lhcml.common.files import write_atomic
from lhcml.common.seeds import derive_seed
from lhcml.taggers.jets import LabelledJets
from lhcml.taggers.metrics import roc_curve
from lhcml.taggers.packing import PackedJets

log = logging.getLogger("lhcml")

# Jets scored at a time: small enough for the activations to stay in the cache
SCORING_BATCH = 128
# How often a training whose loss became NaN goes back an epoch, each time with half the learning rate
LARGEST_RESTARTS = 3
OPTIMISERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


@dataclass
class State:
    """All that a training carries from epoch to epoch, and what `last.ckpt` holds."""

    model: dict[str, torch.Tensor]
    optimiser: dict[str, Any]
    best: dict[str, torch.Tensor]
    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    seconds: float = 0.0
    rate_factor: float = 1.0
    restarts: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


class NotFiniteError(Exception):
    """The loss became NaN or infinite."""


def learning_rate(step: int, steps: int, settings: Mapping[str, Any]) -> float:
    """Return the learning rate of a step.

    Parameters
    ----------
    step, steps : int
        Number of the step, from 0, and of all steps of all epochs.
    settings : mapping
        `learning_rate` (largest value), `warmup` (share of the steps in which it grows linearly), `schedule`:
        "constant", or "cosine", which falls from there to zero along half a period.
    """
    done = (step + 1) / steps
    warmup = settings["warmup"]
    largest = float(settings["learning_rate"])
    if done < warmup:
        return float(largest * done / warmup)
    if settings["schedule"] == "cosine":
        return largest * 0.5 * (1 + math.cos(math.pi * (done - warmup) / max(1 - warmup, 1e-12)))
    return largest


def predict(model: nn.Module, jets: PackedJets) -> NDArray[np.float64]:
    """Return the signal logit minus the background logit of each jet, shape (jets,)."""
    model.eval()
    with torch.inference_mode():
        logits = [model(batch) for batch in jets.in_order(SCORING_BATCH)]
    together = torch.cat(logits).double()
    return np.asarray((together[:, 1] - together[:, 0]).numpy())


def validate(
    model: nn.Module, jets: PackedJets, labels: NDArray[np.int64], weights: NDArray[np.float32]
) -> tuple[float, float]:
    """Return the loss (classes weighted equally) and the AUC on the validation split."""
    margin = predict(model, jets)
    if not np.isfinite(margin).all():
        raise NotFiniteError
    # cross entropy of two classes: log(1 + exp(-margin)) for signal, log(1 + exp(margin)) for background
    loss = np.average(np.logaddexp(0.0, np.where(labels == 1, -margin, margin)), weights=weights)
    return float(loss), roc_curve(margin, labels).auc()


class Training:
    """One training of one network.

    Parameters
    ----------
    model : nn.Module
        Network, initialised.
    train, validation : LabelledJets
        Samples.
    settings : mapping
        `optimiser`, `learning_rate`, `weight_decay`, `schedule`, `warmup`, `batch_size`, `epochs`, `patience`,
        `gradient_clip` (largest norm; 0: none).
    seed : int
        Seed of shuffling and dropout.
    """

    def __init__(
        self, model: nn.Module, train: LabelledJets, validation: LabelledJets, settings: Mapping[str, Any], seed: int
    ) -> None:
        self.model, self.settings, self.seed = model, settings, seed
        self.train_jets, self.validation_jets = PackedJets(train.jets), PackedJets(validation.jets)
        self.train_labels, self.train_weights = torch.from_numpy(train.labels), torch.from_numpy(train.weights())
        self.validation_labels, self.validation_weights = validation.labels, validation.weights()
        self.optimiser = OPTIMISERS[settings["optimiser"]](
            model.parameters(), lr=settings["learning_rate"], weight_decay=settings["weight_decay"]
        )

    def run(self, checkpoint: Path | None = None, identity: str = "") -> State:
        """Train to the end, or on from a checkpoint of the same identity.

        Parameters
        ----------
        checkpoint : Path, optional
            File to resume from and to write after each epoch.
        identity : str
            Digest of all that decides the result; a checkpoint with another one is not used.

        Returns
        -------
        State
            With the weights of the best epoch in `best`, which the model holds too.

        Raises
        ------
        UserError
            If the loss stays NaN or infinite after `LARGEST_RESTARTS` returns with half the learning rate.
        """
        state = load_checkpoint(checkpoint, identity) if checkpoint else None
        if state is None:
            state = self.snapshot(State({}, {}, {}))
        epochs = self.settings["epochs"]
        while state.epoch < epochs and state.epoch - state.best_epoch < self.settings["patience"]:
            begin = time.monotonic()
            self.model.load_state_dict(state.model)
            self.optimiser.load_state_dict(copy.deepcopy(state.optimiser))
            try:
                row = self.run_epoch(state.epoch, state.rate_factor)
            except NotFiniteError:
                state = self.step_back(state)
            else:
                state = self.snapshot(state)
                state.epoch += 1
                state.history = [*state.history, row]
                if row["validation_loss"] < state.best_loss:
                    state.best, state.best_epoch, state.best_loss = state.model, state.epoch, row["validation_loss"]
                log.info(
                    "epoch %d/%d: train loss %.4f, validation loss %.4f, validation AUC %.4f%s",
                    state.epoch, epochs, row["train_loss"], row["validation_loss"], row["validation_auc"],
                    " (best)" if state.best_epoch == state.epoch else "",
                )  # fmt: skip
            state.seconds += time.monotonic() - begin
            if checkpoint:
                save_checkpoint(checkpoint, identity, state)
        self.model.load_state_dict(state.best)
        return state

    def run_epoch(self, epoch: int, rate_factor: float) -> dict[str, float]:
        """Go once over the training sample, in an order of its own, and validate; return a row of the history."""
        torch.manual_seed(derive_seed(self.seed, "dropout", epoch))
        shuffle = torch.Generator().manual_seed(derive_seed(self.seed, "shuffle", epoch))
        batches = torch.randperm(len(self.train_jets), generator=shuffle).split(self.settings["batch_size"])
        self.model.train()
        total = 0.0
        for number, chosen in enumerate(batches):
            step = epoch * len(batches) + number
            rate = rate_factor * learning_rate(step, self.settings["epochs"] * len(batches), self.settings)
            self.optimiser.param_groups[0]["lr"] = rate
            logits = self.model(self.train_jets.take(chosen))
            loss = (
                cross_entropy(logits, self.train_labels[chosen], reduction="none") * self.train_weights[chosen]
            ).mean()
            value = loss.item()
            if not math.isfinite(value):
                raise NotFiniteError
            self.optimiser.zero_grad()
            loss.backward()
            if self.settings["gradient_clip"]:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.settings["gradient_clip"])
            self.optimiser.step()
            total += value * len(chosen)
        loss_value, auc = validate(self.model, self.validation_jets, self.validation_labels, self.validation_weights)
        return {
            "epoch": epoch + 1,
            "learning_rate": rate,
            "train_loss": total / len(self.train_jets),
            "validation_loss": loss_value,
            "validation_auc": auc,
        }

    def snapshot(self, state: State) -> State:
        """Return the state with copies of the present weights and optimiser."""
        state.model = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        state.optimiser = copy.deepcopy(self.optimiser.state_dict())
        return state

    def step_back(self, state: State) -> State:
        """Halve the learning rate for another attempt at the epoch, or give up."""
        if state.restarts == LARGEST_RESTARTS:
            raise UserError(
                f"the loss became NaN or infinite in epoch {state.epoch + 1}, also after halving the learning rate "
                f"{LARGEST_RESTARTS} times from {self.settings['learning_rate']}",
                "lower `learning_rate` of the tagger, set `gradient_clip` to 1, or look for extreme inputs",
            )
        state.restarts += 1
        state.rate_factor /= 2
        log.warning("the loss of epoch %d is NaN or infinite: again with half the learning rate", state.epoch + 1)
        return state


def save_checkpoint(path: Path, identity: str, state: State) -> None:
    """Write the state after an epoch, atomically."""
    with write_atomic(path) as temporary:
        torch.save({"identity": identity, **vars(state)}, temporary)


def load_checkpoint(path: Path, identity: str) -> State | None:
    """Read the state of a killed training, or None if there is none of this identity.

    Only tensors and plain values are loaded (`weights_only`). A file that cannot be read is reported and not used.
    """
    if not path.is_file():
        return None
    try:
        content = torch.load(path, weights_only=True)
        found = content.pop("identity")
        state = State(**content)
    except Exception as error:  # torch raises many kinds for a damaged file
        log.warning("%s cannot be read (%s): training starts anew", path, error)
        return None
    if found != identity:
        log.info("%s is of another configuration, code or data: training starts anew", path)
        return None
    log.info("resuming after epoch %d from %s", state.epoch, path)
    return state
