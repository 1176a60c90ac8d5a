"""A network of fixed-point numbers as plain arrays, and what it computes, with NumPy alone.

Between two layers runs a lane: a word an element, with

    k  1 for a signed word, else 0
    i  bits before the point, without the sign
    f  bits after the point

of values -k 2^i ... 2^i - 2^-f. Words that do not fit are cut below their last bit (floor, `AP_TRN`: no adder) and
SATURATE at the ends (`AP_SAT`). A trigger for anomalies must not let words wrap around: the events that are looked for
are those that reach the ends. Each weight has its own number of bits f after the point; bits before it follow from its
value. A lane or a weight of no bits is 0 and costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lhcml.common.errors import UserError
from lhcml.firmware.encoding import Array

# bits of a float32, in which Keras computes: sums of integers up to 2^24 are exact in any order
EXACT_BITS = 24


@dataclass(frozen=True)
class Lane:
    """Formats of the words of a layer's input, one an element: arrays `signed` (0 or 1), `integer`, `fraction`."""

    signed: Array
    integer: Array
    fraction: Array

    @property
    def step(self) -> Array:
        """Distance of two neighbouring values."""
        return np.exp2(-self.fraction)

    @property
    def low(self) -> Array:
        """Lowest value."""
        return -self.signed * np.exp2(self.integer)

    @property
    def high(self) -> Array:
        """Highest value."""
        return np.exp2(self.integer) - self.step

    @property
    def bits(self) -> Array:
        """Bits of each word, the sign included; 0 where the word is always 0."""
        return np.where(self.integer + self.fraction > 0, self.integer + self.fraction + self.signed, 0)

    def cut(self, values: ArrayLike) -> Array:
        """Return values as words: saturated and cut below the last bit."""
        words = np.floor(np.clip(values, self.low, self.high) / self.step) * self.step
        return np.where(self.bits > 0, words, 0.0)


@dataclass(frozen=True)
class FixedLayer:
    """A dense layer of fixed-point weights.

    Parameters
    ----------
    name : str
        Name of the layer, that of the layer of the float network.
    lane : Lane
        Format of the inputs, shape (inputs,).
    kernel, bias : array of float64, shapes (inputs, units) and (units,)
        Weights, on the grids of `kernel_fraction` and `bias_fraction`.
    kernel_fraction, bias_fraction : array
        Bits after the point of each weight.
    relu : bool
        Whether negative outputs are set to 0.
    """

    name: str
    lane: Lane
    kernel: Array
    bias: Array
    kernel_fraction: Array
    bias_fraction: Array
    relu: bool

    def __call__(self, values: ArrayLike) -> Array:
        """Return the outputs for inputs of shape (events, inputs), exact in float64."""
        sums = self.lane.cut(values) @ self.kernel + self.bias
        return np.maximum(sums, 0.0) if self.relu else sums


@dataclass(frozen=True)
class FixedNetwork:
    """Layers one after the other, and how their output becomes a score.

    Parameters
    ----------
    family : str
        "vae": the score is the sum of the squares of the outputs; "autoencoder": the sum of the squares of the
        differences of inputs and outputs; "dense": the output itself.
    layers : tuple of FixedLayer
        In order.
    squares : Lane or None
        Format of the words that are squared; None for "dense".
    """

    family: str
    layers: tuple[FixedLayer, ...]
    squares: Lane | None

    def outputs(self, values: ArrayLike) -> Array:
        """Return what the last layer puts out, shape (events, outputs)."""
        for layer in self.layers:
            values = layer(values)
        return np.asarray(values)

    def score(self, values: ArrayLike) -> Array:
        """Return the score, shape (events,), of inputs on the grid; exact in float64."""
        outputs = self.outputs(values)
        if self.squares is None:
            return outputs[:, 0]
        if self.family == "autoencoder":
            outputs = self.layers[0].lane.cut(values) - outputs
        return np.sum(self.squares.cut(outputs) ** 2, axis=1)

    def parameters(self) -> int:
        """Return the number of weights and biases."""
        return sum(layer.kernel.size + layer.bias.size for layer in self.layers)

    def zero_share(self) -> float:
        """Return the share of weights (without biases) that are 0."""
        return float(np.mean(np.concatenate([layer.kernel.ravel() == 0 for layer in self.layers])))


def integer_bits(largest: ArrayLike, fraction: ArrayLike) -> Array:
    """Return the bits before the point that hold magnitudes up to `largest` on a grid of 2^-fraction.

    The largest word is 2^i - 2^-f, so i = ceil(log2(largest + 2^-f)); negative if the leading bits after the point are
    always 0, and -f (no bits at all) for 0.
    """
    return np.ceil(np.log2(np.asarray(largest, dtype=np.float64) + np.exp2(-np.asarray(fraction))))


def weight_bits(weights: ArrayLike, fraction: ArrayLike) -> Array:
    """Return the bits of weights on their grids without the sign, 0 for a weight of 0."""
    return np.maximum(integer_bits(np.abs(weights), fraction) + fraction, 0.0)


def count_ebops(network: FixedNetwork) -> float:
    """Return the effective bit operations of a network.

    A product of words of a and b bits counts a b, a bias its bits, a square of a bits a^2 (Chang Sun et al.,
    "Gradient-based Automatic Mixed Precision Quantization for Neural Networks On-Chip", arXiv:2405.00645). Words count
    their sign, weights do not: a sign costs no adder.
    """
    total = 0.0
    for layer in network.layers:
        total += float(np.sum(layer.lane.bits @ weight_bits(layer.kernel, layer.kernel_fraction)))
        total += float(np.sum(weight_bits(layer.bias, layer.bias_fraction)))
    if network.squares is not None:
        total += float(np.sum(network.squares.bits**2))
    return total


def check_exact(network: FixedNetwork) -> int:
    """Return the bits of the widest intermediate word, and raise if float32 does not hold it.

    For each output the sum of the largest magnitudes of all terms, in units of their common step, bounds every partial
    sum in any order.

    Raises
    ------
    UserError
        If a layer may exceed 24 bits, naming it.
    """
    widest = 0
    for layer in network.layers:
        reach = np.maximum(-layer.lane.low, layer.lane.high) * (layer.lane.bits > 0)
        bound = reach @ np.abs(layer.kernel) + np.abs(layer.bias)
        used = (layer.kernel != 0) & (layer.lane.bits > 0)[:, None]
        fractions = np.where(used, layer.lane.fraction[:, None] + layer.kernel_fraction, -np.inf).max(axis=0)
        finest = np.maximum(fractions, np.where(layer.bias != 0, layer.bias_fraction, -np.inf))
        steps = np.where(np.isfinite(finest), bound * np.exp2(finest), 0.0)
        widest = max(widest, check_word(layer.name, float(steps.max())))
    if network.squares is not None:
        lane = network.squares
        reach = np.maximum(-lane.low, lane.high) * (lane.bits > 0)
        finest = np.where(lane.bits > 0, lane.fraction, -np.inf).max()
        steps = np.sum(reach**2) * np.exp2(2 * finest) if np.isfinite(finest) else 0.0
        widest = max(widest, check_word("score", float(steps)))
    return widest


def check_word(name: str, steps: float) -> int:
    """Return the bits of a word that counts up to `steps`, and raise if there are more than a float32 holds."""
    bits = int(np.ceil(np.log2(steps + 1)))
    if bits > EXACT_BITS:
        raise UserError(
            f"layer {name} may reach words of {bits} bits, more than the {EXACT_BITS} that Keras computes with exactly",
            "use fewer bits for weights, activations or `encoding.bits`; the reference would not be exact",
        )
    return bits
