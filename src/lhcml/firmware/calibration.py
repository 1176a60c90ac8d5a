"""Fixed-point formats from a float network and training data: no training.

Weights of a layer share one format, as `ap_fixed<bits, integer>`, with the bits before the point that the largest of
them needs. Words between layers have `bits` bits each, placed so that the largest value on the training data just fits.
Rounding words to nearest would cost an adder each: they are cut instead, and half of the last bit is added to the bias
of the layer before, which is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from lhcml.firmware.encoding import Array, Encoding
from lhcml.firmware.fixed_point import FixedLayer, FixedNetwork, Lane, integer_bits
from lhcml.firmware.networks import Plan

# bits of a bias beyond the last bit of the words it shifts: half of that bit, and an eighth as rounding error
BIAS_BITS = 2
# bits that a word between layers may be finer than the coarsest one of its layer: its weights may be larger
FINER = 3.0
# bits after the point that a bias has where nothing is cut after it
OUTPUT_BIAS_FRACTION = 8.0


def round_to(values: ArrayLike, fraction: ArrayLike) -> Array:
    """Return values rounded to multiples of 2^-fraction, halves upwards."""
    step = np.exp2(-np.asarray(fraction, dtype=np.float64))
    return np.asarray(np.floor(np.asarray(values) / step + 0.5) * step)


def input_lane(encoding: Encoding) -> Lane:
    """Return the lane of encoded inputs, one word a name."""
    size = len(encoding.names)
    return Lane(
        np.ones(size), np.full(size, encoding.integer - 1.0), np.full(size, float(encoding.bits - encoding.integer))
    )


def fit_lane(values: Array, bits: int, *, signed: bool) -> Lane:
    """Return the lane of `bits` bits a word, sign included, that just holds all values; no bits where all are 0.

    Parameters
    ----------
    values : array, shape (events, words)
        Values on the training data.
    bits : int
        Bits of a word.
    signed : bool
        Whether there are negative values.
    """
    largest = np.abs(values).max(axis=0)
    # the largest value may reach 2^i - 2^-f only
    integer = np.ceil(np.log2(np.maximum(largest, np.finfo(np.float32).tiny)))
    fraction = bits - float(signed) - integer
    integer = np.where(integer_bits(largest, fraction) > integer, integer + 1, integer)
    fraction = np.where(largest > 0, bits - float(signed) - integer, 0.0)
    return Lane(np.full(largest.shape, float(signed)), np.where(largest > 0, integer, 0.0), fraction)


def share_step(lane: Lane, finer: float = 0.0) -> Lane:
    """Return a lane of no step finer than that of the coarsest word by more than `finer` bits.

    Words that are added up are worth no finer one, and sums would need many bits. Words of smaller values lose their
    last bits, down to none.
    """
    active = lane.bits > 0
    most = lane.fraction[active].min(initial=np.inf) + finer
    fraction = np.where(active, np.minimum(lane.fraction, most), lane.fraction)
    return Lane(lane.signed, np.where(active, np.maximum(lane.integer, -fraction), lane.integer), fraction)


def cut_weights(weights: Array, bits: int) -> tuple[Array, Array]:
    """Return weights in one format of `bits` bits, sign included, and their bits after the point."""
    largest = float(np.abs(weights).max())
    fraction = np.full(weights.shape, bits - 1 - (np.ceil(np.log2(largest)) if largest > 0 else 0.0))
    most = np.exp2(bits - 1 - fraction) - np.exp2(-fraction)
    return np.clip(round_to(weights, fraction), -most, most), fraction


def shift_bias(bias: Array, after: Lane | None, sign: float = 1.0) -> tuple[Array, Array]:
    """Return a bias on its grid and its bits after the point, shifted so that cutting the words after it rounds them.

    Parameters
    ----------
    bias : array
        Bias.
    after : Lane or None
        Format of the words after the layer; None if the output is not cut.
    sign : float
        -1 if what is cut is the negative of the output.
    """
    if after is None:
        fraction = np.full(bias.shape, OUTPUT_BIAS_FRACTION)
        return round_to(bias, fraction), fraction
    fraction = np.where(after.bits > 0, after.fraction + BIAS_BITS, 0.0)
    return round_to(bias + sign * np.where(after.bits > 0, after.step / 2, 0.0), fraction), fraction


def assemble(
    family: str,
    plans: Sequence[Plan],
    lanes: Sequence[Lane],
    kernels: Sequence[tuple[Array, Array]],
    biases: Sequence[Array],
    squares: Lane | None,
) -> FixedNetwork:
    """Return the network of given formats.

    Parameters
    ----------
    family : str
        See `FixedNetwork`.
    plans : sequence of Plan
        Layers.
    lanes : sequence of Lane
        Format of the inputs of each layer.
    kernels : sequence of (array, array)
        Weights on their grids and their bits after the point.
    biases : sequence of array
        Not rounded, for words that are rounded to nearest.
    squares : Lane or None
        Format of the words that are squared.
    """
    layers = []
    for n, plan in enumerate(plans):
        last = n == len(plans) - 1
        after = squares if last else lanes[n + 1]
        bias, fraction = shift_bias(biases[n], after, -1.0 if last and family == "autoencoder" else 1.0)
        layers.append(FixedLayer(plan.name, lanes[n], kernels[n][0], bias, kernels[n][1], fraction, plan.relu))
    return FixedNetwork(family, tuple(layers), squares)


def quantise_after_training(
    family: str,
    plans: Sequence[Plan],
    weights: Sequence[tuple[Array, Array]],
    encoding: Encoding,
    train: Array,
    bits: int,
) -> FixedNetwork:
    """Return a float network in fixed point, weights and words of `bits` bits, calibrated on training data.

    Parameters
    ----------
    family : str
        See `FixedNetwork`.
    plans : sequence of Plan
        Layers.
    weights : sequence of (kernel, bias)
        Float weights.
    encoding : Encoding
        Format of the inputs, which keep their own bits.
    train : array, shape (events, inputs)
        Encoded, rounded inputs of the training split.
    bits : int
        Bits of weights and of words between layers, sign included.
    """
    lanes = [input_lane(encoding)]
    values = train
    for n, (plan, (kernel, bias)) in enumerate(zip(plans, weights, strict=True)):
        values = values @ kernel + bias
        values = np.maximum(values, 0.0) if plan.relu else values
        if n < len(plans) - 1:
            lanes.append(share_step(fit_lane(values, bits, signed=not plan.relu), FINER))
    squares = None
    if family != "dense":
        squares = share_step(fit_lane(train - values if family == "autoencoder" else values, bits, signed=True))
    kernels = [cut_weights(kernel, bits) for kernel, _ in weights]
    return assemble(family, plans, lanes, kernels, [bias for _, bias in weights], squares)


def refit_lanes(network: FixedNetwork, train: Array) -> tuple[list[Lane], Lane | None]:
    """Return the lanes of a network with the bits before the point that training data need; bits after it stay.

    The input lane keeps its format.
    """
    lanes = [network.layers[0].lane]
    values = train
    for layer, after in zip(network.layers, [*network.layers[1:], None], strict=True):
        values = replace(layer, lane=lanes[-1])(values)
        if after is not None:
            lanes.append(refit(after.lane, values))
    if network.squares is None:
        return lanes, None
    if network.family == "autoencoder":
        values = lanes[0].cut(train) - values
    return lanes, refit(network.squares, values)


def refit(lane: Lane, values: Array) -> Lane:
    """Return a lane with the bits before the point that values need, none where all are cut to 0."""
    # cut below the last bit a value is on the grid; its magnitude then fixes the bits before the point
    largest = np.abs(np.floor(values / lane.step) * lane.step).max(axis=0)
    return Lane(lane.signed, np.where(largest > 0, integer_bits(largest, lane.fraction), -lane.fraction), lane.fraction)
