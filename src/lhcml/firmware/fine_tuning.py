r"""Training of a network in fixed point, with torch, from the weights of the float network.

The forward pass rounds as hardware does; backwards, rounding is taken for the identity (straight-through estimator),
and the number of bits f after the point has the gradient of its own rounding error, d q / d f = ln 2 (x - q), as in HGQ
(arXiv:2405.00645). Numbers of bits before the point are not trained: they follow from the largest values.

Loss: `distillation` times the disagreement with the float network plus (1 - `distillation`) times the loss of the task.
Disagreement is the mean square difference of the outputs, and for anomaly scores also of log(score + median score).
Half of each batch of an anomaly network are events with a random share of their inputs drawn anew: the float network
tells what they score, and the fixed-point one must agree where no background is, without a look at any signal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lhcml.common.cli import Progress
from lhcml.common.errors import UserError
from lhcml.firmware.calibration import assemble, refit_lanes, round_to
from lhcml.firmware.encoding import Array, Encoding
from lhcml.firmware.fixed_point import FixedNetwork, Lane, count_ebops
from lhcml.firmware.networks import Plan
from lhcml.firmware.training import cosine_rate, draw_rows, start_torch

LN2 = float(np.log(2))
# bits after the point stay in this range
FRACTIONS = (-10.0, 12.0)
# learning rate of numbers of bits: a training must be able to take all bits of a weight away in some hundred steps
BITS_RATE = 0.03
# batches an epoch has at least, some events several times: small samples need their steps too
LEAST_BATCHES = 50
# share of the training after which the budget is to be reached; then the weights settle
SHRINKING = 0.6
# the budget is aimed at from below
AIM = 0.97
# how fast the price of a bit operation follows a budget that is not kept, in powers of e per step and factor e
PRICE_GAIN = 0.1
# how much of the largest value is forgotten in a step
FORGET = 0.01


@dataclass(frozen=True)
class Teacher:
    """What the fine-tuning aims at, and on which events.

    Attributes
    ----------
    family : str
        "vae", "autoencoder" or "dense".
    plans : list of Plan
        Layers.
    weights : list of (kernel, bias)
        Float weights.
    encoding : Encoding
        Format of the inputs.
    inputs : array, shape (events, inputs)
        Encoded inputs of the training split, not rounded.
    labels, weight : array, shape (events,)
        0 or 1; weights of mean 1.
    """

    family: str
    plans: list[Plan]
    weights: list[tuple[Array, Array]]
    encoding: Encoding
    inputs: Array
    labels: Array
    weight: Array


def cut(torch: Any, x: Any, lane: tuple[Any, Any, Any], *, nearest: bool) -> Any:
    """Return x as words, saturated; rounded to nearest, or cut below the last bit.

    Hidden words are rounded to nearest here and cut in hardware, where the bias makes up for the difference; the words
    of the inputs have no bias before them and are cut.
    """
    signed, integer, fraction = lane
    bits = fraction + (fraction.round() - fraction).detach()
    scale = torch.exp2(bits.detach())
    high = torch.exp2(integer) - 1 / scale
    inside = torch.minimum(torch.maximum(x, -signed * torch.exp2(integer)), high)
    words = torch.floor(inside * scale + 0.5 * nearest) / scale
    # a cut word is half a step low on average: that is no error, the bias after it takes it up
    error = inside - words - (0.0 if nearest else 0.5 / scale)
    words = inside + (words - inside).detach() + LN2 * error.detach() * (bits - bits.detach())
    return torch.where(integer + bits.detach() > 0, words, torch.zeros_like(words))


def round_weights(torch: Any, weights: Any, fraction: Any) -> tuple[Any, Any]:
    """Return weights rounded to nearest and their numbers of bits, both with gradients."""
    bits = fraction + (fraction.round() - fraction).detach()
    scale = torch.exp2(bits.detach())
    words = torch.floor(weights * scale + 0.5) / scale
    error = (weights - words).detach()
    integer = torch.ceil(torch.log2(words.detach().abs() + 1 / scale))
    words = weights + (words - weights).detach() + LN2 * error * (bits - bits.detach())
    return words, torch.relu(integer + bits)


class Tuner:
    """Weights and formats in training.

    Parameters
    ----------
    torch : module
        torch.
    teacher : Teacher
        What is aimed at.
    weights : sequence of (kernel, bias)
        Weights at the start.
    start : FixedNetwork or None
        Formats at the start; None: float, without rounding.
    masks : sequence of array
        0 where a weight stays 0.
    trained_bits : bool
        Whether numbers of bits are trained.
    """

    def __init__(
        self,
        torch: Any,
        teacher: Teacher,
        weights: Sequence[tuple[Array, Array]],
        start: FixedNetwork | None,
        masks: Sequence[Array],
        trained_bits: bool,
    ) -> None:
        self.torch, self.teacher, self.start, self.trained_bits = torch, teacher, start, trained_bits

        def tensor(array: Array, trained: bool = False) -> Any:
            return torch.tensor(array, dtype=torch.float32, requires_grad=trained)

        self.masks = [tensor(mask) for mask in masks]
        self.kernels = [tensor(kernel * mask, True) for (kernel, _), mask in zip(weights, masks, strict=True)]
        self.biases = [tensor(bias, True) for _, bias in weights]
        self.float_weights = [(tensor(kernel), tensor(bias)) for kernel, bias in teacher.weights]
        self.fractions: list[Any] = []
        self.lanes: list[list[Any]] = []
        if start is not None:
            self.fractions = [tensor(layer.kernel_fraction, trained_bits) for layer in start.layers]
            found = [layer.lane for layer in start.layers] + ([start.squares] if start.squares else [])
            self.lanes = [
                [tensor(lane.signed), tensor(lane.integer), tensor(lane.fraction, trained_bits)] for lane in found
            ]
            self.largest = [torch.exp2(lane[1]) - torch.exp2(-lane[2].detach()) for lane in self.lanes]

    def parameters(self) -> tuple[list[Any], list[Any]]:
        """Return the trained weights and the trained numbers of bits."""
        bits = [*self.fractions, *(lane[2] for lane in self.lanes)] if self.trained_bits else []
        return [*self.kernels, *self.biases], bits

    def word(self, n: int, x: Any) -> Any:
        """Return x in the format of lane n, whose bits before the point follow x if bits are trained."""
        if not self.lanes:
            return x
        lane = self.lanes[n]
        if self.trained_bits and n > 0:
            seen = x.detach().abs().amax(0)
            self.largest[n] = self.torch.maximum(self.largest[n] * (1 - FORGET), seen)
            step = self.torch.exp2(-lane[2].detach().round())
            lane[1] = self.torch.ceil(self.torch.log2(self.largest[n] + step))
        return cut(self.torch, x, (lane[0], lane[1], lane[2]), nearest=n > 0)

    def forward(self, x: Any) -> tuple[Any, Any, Any]:
        """Return outputs, score and effective bit operations for encoded inputs."""
        torch, ebops = self.torch, 0.0
        words = first = self.word(0, x)
        for n, plan in enumerate(self.teacher.plans):
            kernel = self.kernels[n] * self.masks[n]
            if self.lanes:
                kernel, bits = round_weights(torch, kernel, self.fractions[n])
                ebops = ebops + (self.lane_bits(n) @ bits).sum()
            words = words @ kernel + self.biases[n]
            words = torch.relu(words) if plan.relu else words
            if n < len(self.teacher.plans) - 1:
                words = self.word(n + 1, words)
        outputs = words
        if self.teacher.family == "dense":
            return outputs, outputs[:, 0], ebops
        squared = self.word(-1, first - outputs if self.teacher.family == "autoencoder" else outputs)
        if self.lanes:
            ebops = ebops + (self.lane_bits(-1) ** 2).sum()
        return outputs, (squared**2).sum(1), ebops

    def lane_bits(self, n: int) -> Any:
        """Return the bits of the words of a lane, with gradients."""
        signed, integer, fraction = self.lanes[n]
        bits = fraction + (fraction.round() - fraction).detach()
        present = (integer + bits.detach() > 0).to(bits.dtype)
        return self.torch.relu(integer + bits) + signed * present

    def constrain(self) -> None:
        """Keep weights in their formats and numbers of bits in their ranges."""
        with self.torch.no_grad():
            for kernel, mask in zip(self.kernels, self.masks, strict=True):
                kernel *= mask
            if self.start is not None and not self.trained_bits:
                for kernel, layer in zip(self.kernels, self.start.layers, strict=True):
                    most = float(np.abs(layer.kernel).max())
                    kernel.clamp_(-most, most)
            for fraction in self.parameters()[1]:
                fraction.clamp_(*FRACTIONS)
            if self.trained_bits:
                encoding = self.teacher.encoding
                self.lanes[0][2].clamp_(max=float(encoding.bits - encoding.integer))

    def teach(self, x: Any) -> tuple[Any, Any]:
        """Return outputs and score of the float network."""
        with self.torch.no_grad():
            words = x
            for plan, (kernel, bias) in zip(self.teacher.plans, self.float_weights, strict=True):
                words = words @ kernel + bias
                words = self.torch.relu(words) if plan.relu else words
            if self.teacher.family == "dense":
                return words, words[:, 0]
            return words, ((x - words if self.teacher.family == "autoencoder" else words) ** 2).sum(1)

    def weights(self) -> list[tuple[Array, Array]]:
        """Return kernels and biases, not rounded."""
        kernels = [(kernel * mask).detach() for kernel, mask in zip(self.kernels, self.masks, strict=True)]
        return [
            (np.asarray(kernel, dtype=np.float64), np.asarray(bias.detach(), dtype=np.float64))
            for kernel, bias in zip(kernels, self.biases, strict=True)
        ]

    def network(self, train: Array) -> FixedNetwork:
        """Return the network in fixed point; trained bits get their bits before the point from training data."""
        weights = self.weights()
        family, plans = self.teacher.family, self.teacher.plans
        fractions = [np.round(np.asarray(f.detach(), dtype=np.float64)) for f in self.fractions]
        kernels = [(round_to(w, f), f) for (w, _), f in zip(weights, fractions, strict=True)]
        lanes = [Lane(*(np.round(np.asarray(part.detach(), dtype=np.float64)) for part in lane)) for lane in self.lanes]
        squares = lanes.pop() if family != "dense" else None
        biases = [bias for _, bias in weights]
        network = assemble(family, plans, lanes, kernels, biases, squares)
        if not self.trained_bits:
            return network
        lanes, squares = refit_lanes(network, train)
        return assemble(family, plans, lanes, kernels, biases, squares)


def outliers(torch: Any, x: Any, ends: tuple[Any, Any], encoding: Encoding, generator: Any) -> Any:
    """Return inputs on the grid that background does not have: a random share of each event's inputs is drawn anew.

    The share is uniform from 0 to 1, the values are uniform between the ends of that input on the training events.
    """
    low, high = ends
    drawn = low + (high - low) * torch.rand(x.shape, generator=generator)
    drawn = torch.floor(drawn / encoding.step + 0.5) * encoding.step
    share = torch.rand((len(x), 1), generator=generator)
    return torch.where(torch.rand(x.shape, generator=generator) < share, drawn, x)


def fine_tune(
    teacher: Teacher,
    weights: Sequence[tuple[Array, Array]],
    start: FixedNetwork | None,
    masks: Sequence[Array],
    settings: Mapping[str, Any],
    budget: float | None,
    figure: Callable[[FixedNetwork], float] | None,
    seed: int,
    threads: int,
) -> tuple[list[tuple[Array, Array]], FixedNetwork | None, list[dict[str, float]]]:
    """Train weights, and numbers of bits if there is a budget.

    Parameters
    ----------
    teacher : Teacher
        What is aimed at.
    weights : sequence of (kernel, bias)
        Weights at the start.
    start : FixedNetwork or None
        Formats at the start; None to train without rounding, as after pruning.
    masks : sequence of array
        0 where a weight stays 0.
    settings : mapping
        `epochs`, `batch_size`, `learning_rate`, `distillation`.
    budget : float or None
        Effective bit operations to end at or below; None keeps the formats.
    figure : callable or None
        Figure of a network by which the epoch is chosen, lower is better; needed with `start`.
    seed, threads : int
        Seed of batches and outliers; number of threads.

    Returns
    -------
    weights : list of (kernel, bias)
        Of the last epoch, not rounded.
    network : FixedNetwork or None
        Of the best epoch within the budget; None without `start`.
    history : list of dict
        Per epoch: epoch, loss, ebops, figure.

    Raises
    ------
    UserError
        If the budget is never kept, or the loss becomes NaN.
    """
    torch = start_torch(seed, threads)
    tuner = Tuner(torch, teacher, weights, start, masks, budget is not None)
    trained, bits = tuner.parameters()
    groups = [{"params": trained}] + ([{"params": bits}] if bits else [])
    optimiser = torch.optim.Adam(groups, lr=settings["learning_rate"])
    encoding = teacher.encoding
    rounded = encoding.round(teacher.inputs)
    raw, x, y, w = (
        torch.tensor(a, dtype=torch.float32) for a in (teacher.inputs, rounded, teacher.labels, teacher.weight)
    )
    outputs, scores = tuner.teach(raw)
    ends = (x.amin(0), x.amax(0))
    size = min(settings["batch_size"], len(x))
    per_epoch = max(round(len(x) / size), LEAST_BATCHES)
    steps = settings["epochs"] * per_epoch
    middle, spread = float(scores.abs().median()) + 1e-6, float((outputs**2).mean()) + 1e-6
    generator, random = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    share = settings["distillation"]
    initial = count_ebops(start) if start is not None else 0.0
    price, step = np.log(1e-3), 0
    best: FixedNetwork | None = None
    lowest = np.inf
    history: list[dict[str, float]] = []
    progress_lines = Progress(settings["epochs"], "epochs")
    for epoch in range(settings["epochs"]):
        total, count = 0.0, 0
        for rows in draw_rows(len(x), size, per_epoch, generator):
            rate = cosine_rate(step, steps, settings["learning_rate"])
            for group, largest in zip(
                optimiser.param_groups, (1.0, BITS_RATE / settings["learning_rate"]), strict=False
            ):
                group["lr"] = rate * largest
            batch, aim, aim_score = x[rows], outputs[rows], scores[rows]
            if teacher.family != "dense":
                more = outliers(torch, batch, ends, encoding, random)
                aim, aim_score = (torch.cat(pair) for pair in zip((aim, aim_score), tuner.teach(more), strict=True))
                batch = torch.cat([batch, more])
            found, score, ebops = tuner.forward(batch)
            loss = share * disagreement(torch, teacher.family, (found, score), (aim, aim_score), spread, middle)
            loss = loss + (1 - share) * task_loss(torch, teacher.family, found, batch, y[rows], w[rows])
            if budget is not None:
                progress = min(step / (SHRINKING * steps), 1.0)
                target = initial ** (1 - progress) * (AIM * budget) ** progress
                # a price that rises while there are too many bits, and falls when there are too few
                price += PRICE_GAIN * float(np.clip(np.log(max(float(ebops.detach()), 1.0) / target), -1, 1))
                price = float(np.clip(price, -12, 4))
                loss = loss + float(np.exp(price)) * ebops / target
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            tuner.constrain()
            total, count, step = total + float(loss.detach()), count + 1, step + 1
        entry = {"epoch": epoch, "loss": total / count}
        if not np.isfinite(entry["loss"]):
            raise UserError(f"the loss is NaN in epoch {epoch}", "lower `quantisation.learning_rate` of the model")
        if start is not None and figure is not None:
            network = tuner.network(rounded)
            entry |= {"ebops": count_ebops(network), "figure": figure(network)}
            if entry["figure"] < lowest and (budget is None or entry["ebops"] <= budget):
                best, lowest = network, entry["figure"]
        history.append(entry)
        progress_lines.add(1)
    if start is not None and best is None:
        raise UserError(
            f"no epoch keeps to {budget:g} effective bit operations: the last has {history[-1]['ebops']:.0f}",
            "raise `quantisation.epochs`, or choose a point with a larger budget",
        )
    return tuner.weights(), best, history


def disagreement(
    torch: Any, family: str, found: tuple[Any, Any], aim: tuple[Any, Any], spread: float, middle: float
) -> Any:
    """Return how far outputs and score are from those of the float network; see the module."""
    if family == "dense":
        return ((found[0] - aim[0]) ** 2).mean() / spread
    # relative to the event's own outputs, so that the outliers are not all that counts
    outputs = (((found[0] - aim[0]) ** 2).mean(1) / (spread + (aim[0] ** 2).mean(1))).mean()
    return outputs + ((torch.log(found[1] + middle) - torch.log(aim[1] + middle)) ** 2).mean()


def task_loss(torch: Any, family: str, outputs: Any, inputs: Any, labels: Any, weight: Any) -> Any:
    """Return the loss of the task: cross-entropy, reconstruction error, or nothing for the encoder of a "vae" alone."""
    if family == "dense":
        losses = torch.nn.functional.binary_cross_entropy_with_logits(outputs[:, 0], labels, reduction="none")
        return (losses * weight).mean()
    if family == "autoencoder":
        # of the events, not of the outliers after them
        return (((inputs - outputs) ** 2)[: len(weight)].mean(1) * weight).mean()
    return torch.zeros(())
