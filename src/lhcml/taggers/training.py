"""The training loop of all networks: equal classes, schedule, early stopping, and resumption to the identical result.

Everything random in an epoch comes from the job's seed and the epoch's number, so a training that is killed and resumed
from its last finished epoch ends with the same weights, bit by bit, as one that was not.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Mapping, Sequence
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
from lhcml.taggers.jets import SCORING_BATCH, LabelledJets
from lhcml.taggers.metrics import roc_curve
from lhcml.taggers.packing import PackedJets

log = logging.getLogger("lhcml")

CPU = torch.device("cpu")
# How often a training whose loss became NaN goes back an epoch, each time with half the learning rate
LARGEST_RESTARTS = 3
# Ranger is RAdam with Lookahead: every so many steps the weights go back half-way to where they were
OPTIMISERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "ranger": torch.optim.RAdam}
LOOKAHEAD_STEPS = 6
# A line in the log so often within an epoch
REPORT_SECONDS = 60.0


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
    training_seconds: float = 0.0
    rate_factor: float = 1.0
    restarts: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


class NotFiniteError(Exception):
    """The loss became NaN or infinite."""


def schedule_factor(done: float, name: str) -> float:
    """Return the learning rate after the warm-up in units of its largest value.

    Parameters
    ----------
    done : float
        Share of the steps after the warm-up that are done, 0..1.
    name : str
        "constant"; "cosine": half a period down to zero; "one_cycle" (ParticleNet, arXiv:1902.08570): from a tenth
        linearly up over 40 % of the steps, back over 40 %, and down to nearly zero in the last 20 %; "flat_exponential"
        (Particle Transformer, arXiv:2202.03772): constant over 70 %, then exponentially down to 1 %.
    """
    if name == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    if name == "one_cycle":
        return float(np.interp(done, [0, 0.4, 0.8, 1], [0.1, 1, 0.1, 1e-4]))
    if name == "flat_exponential":
        return float(0.01 ** (max(done - 0.7, 0) / 0.3))
    return 1.0


def learning_rate(step: int, steps: int, settings: Mapping[str, Any]) -> float:
    """Return the learning rate of a step.

    Parameters
    ----------
    step, steps : int
        Number of the step, from 0, and of all steps of all epochs.
    settings : mapping
        `learning_rate` (largest value), `warmup` (share of the steps in which it grows linearly), `schedule` as for
        `schedule_factor`.
    """
    done = (step + 1) / steps
    warmup = settings["warmup"]
    if done < warmup:
        return float(settings["learning_rate"] * done / warmup)
    return float(
        settings["learning_rate"] * schedule_factor((done - warmup) / max(1 - warmup, 1e-12), settings["schedule"])
    )


def deterministic() -> None:
    """Let torch use deterministic algorithms only."""
    torch.use_deterministic_algorithms(True)
    # else each new tensor is filled with NaN, which finds uses of memory that was never written and costs up to a fifth
    torch.utils.deterministic.fill_uninitialized_memory = False


def choose_device(gpus: int) -> torch.device:
    """Return the GPU if one is asked for, else the CPU.

    Raises
    ------
    UserError
        If a GPU is asked for and torch finds none.
    """
    if gpus == 0:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError(
            "a GPU is asked for and torch finds none",
            "set `gpus: 0` of the tagger, or use a node with a GPU and a build of torch for it (envs/torch.yaml)",
        )
    return torch.device("cuda")


def predict(model: nn.Module, jets: PackedJets, device: torch.device = CPU) -> NDArray[np.float64]:
    """Return the signal logit minus the background logit of each jet, shape (jets,)."""
    model.eval()
    with torch.inference_mode():
        logits = [model(batch.to(device)) for batch in jets.in_order(SCORING_BATCH)]
    together = torch.cat(logits).double().cpu()
    return np.asarray((together[:, 1] - together[:, 0]).numpy())


def validate(
    margin: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float32]
) -> tuple[float, float]:
    """Return the loss (classes weighted equally) and the AUC on the validation split, from what `predict` gives.

    Raises
    ------
    NotFiniteError
        If a logit is NaN or infinite.
    """
    if not np.isfinite(margin).all():
        raise NotFiniteError
    # cross entropy of two classes: log(1 + exp(-margin)) for signal, log(1 + exp(margin)) for background
    loss = np.average(np.logaddexp(0.0, np.where(labels == 1, -margin, margin)), weights=weights)
    return float(loss), roc_curve(margin, labels).auc()


def split_batches(order: torch.Tensor, size: int) -> list[torch.Tensor]:
    """Split the jets of an epoch into batches; a single last jet, which has no variance, joins the batch before."""
    batches = list(order.split(size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


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
        self,
        model: nn.Module,
        train: LabelledJets,
        validation: LabelledJets,
        settings: Mapping[str, Any],
        seed: int,
        device: torch.device = CPU,
    ) -> None:
        self.model, self.settings, self.seed, self.device = model, settings, seed, device
        self.train_jets, self.validation_jets = PackedJets(train.jets), PackedJets(validation.jets)
        self.train_labels, self.train_weights = torch.from_numpy(train.labels), torch.from_numpy(train.weights())
        self.validation_labels, self.validation_weights = validation.labels, validation.weights()
        self.optimiser = OPTIMISERS[settings["optimiser"]](
            model.parameters(), lr=settings["learning_rate"], weight_decay=settings["weight_decay"]
        )
        self.lookahead = settings["optimiser"] == "ranger"

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
                seconds, row = self.run_epoch(state.epoch, state.rate_factor)
            except NotFiniteError:
                state = self.step_back(state)
            else:
                state = self.snapshot(state)
                state.epoch += 1
                state.training_seconds += seconds
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

    def run_epoch(self, epoch: int, rate_factor: float) -> tuple[float, dict[str, float]]:
        """Go once over the training sample, in an order of its own, and validate.

        Returns
        -------
        seconds : float
            Time of the steps alone.
        row : dict
            Row of the history.
        """
        torch.manual_seed(derive_seed(self.seed, "dropout", epoch))
        shuffle = torch.Generator().manual_seed(derive_seed(self.seed, "shuffle", epoch))
        batches = split_batches(torch.randperm(len(self.train_jets), generator=shuffle), self.settings["batch_size"])
        self.model.train()
        slow = [parameter.detach().clone() for parameter in self.model.parameters()] if self.lookahead else []
        total = 0.0
        begin = reported = time.monotonic()
        for number, chosen in enumerate(batches):
            step = epoch * len(batches) + number
            rate = rate_factor * learning_rate(step, self.settings["epochs"] * len(batches), self.settings)
            self.optimiser.param_groups[0]["lr"] = rate
            total += self.step(chosen) * len(chosen)
            if slow and ((number + 1) % LOOKAHEAD_STEPS == 0 or number + 1 == len(batches)):
                self.look_back(slow)
            if time.monotonic() - reported > REPORT_SECONDS:
                reported = time.monotonic()
                jets = (number + 1) * self.settings["batch_size"]
                log.info(
                    "epoch %d: %d %%, %.0f jets/s, train loss %.4f",
                    epoch + 1, 100 * (number + 1) // len(batches), jets / (reported - begin), total / jets,
                )  # fmt: skip
        seconds = time.monotonic() - begin
        margin = predict(self.model, self.validation_jets, self.device)
        loss, auc = validate(margin, self.validation_labels, self.validation_weights)
        return seconds, {
            "epoch": epoch + 1,
            "learning_rate": rate,
            "train_loss": total / len(self.train_jets),
            "validation_loss": loss,
            "validation_auc": auc,
        }

    def step(self, chosen: torch.Tensor) -> float:
        """Take a step on the jets at positions `chosen`; return their loss before it."""
        batch = self.train_jets.take(chosen).to(self.device)
        low = self.settings["precision"] == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=low):
            logits = self.model(batch).float()
        losses = cross_entropy(logits, self.train_labels[chosen].to(self.device), reduction="none")
        loss = (losses * self.train_weights[chosen].to(self.device)).mean()
        value = float(loss.item())
        if not math.isfinite(value):
            raise NotFiniteError
        self.optimiser.zero_grad()
        loss.backward()
        if self.settings["gradient_clip"]:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings["gradient_clip"])
        self.optimiser.step()
        return value

    def look_back(self, slow: Sequence[torch.Tensor]) -> None:
        """Move slow weights half-way to the present ones and go on from there (Lookahead, arXiv:1907.08610)."""
        with torch.no_grad():
            for parameter, average in zip(self.model.parameters(), slow, strict=True):
                average.lerp_(parameter, 0.5)
                parameter.copy_(average)

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
