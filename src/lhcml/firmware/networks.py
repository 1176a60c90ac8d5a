"""Keras networks of the stage: float ones that are trained, fixed-point ones (HGQ2) that go into gates.

Families, with `hidden` [32, 16] and `latent` 8 on 57 inputs:

  vae           encoder 57-32-16-8 with the heads `mu` and `log_variance`; decoder 8-16-32-57. Hardware computes the
                encoder and the score sum mu^2 only, as the trigger networks of arXiv:2107.02157 do.
  autoencoder   57-32-16-8-16-32-57; score: sum of (x - x')^2
  dense         n-32-16-1; the score is the logit: a threshold on it is one on the probability

The layers between take the positive part (ReLU). A layer has the same name in both networks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lhcml.common.errors import UserError
from lhcml.common.files import write_atomic
from lhcml.firmware.encoding import Array
from lhcml.firmware.fixed_point import FixedNetwork, Lane, integer_bits

# events that Keras evaluates at once
BATCH = 8192


class Plan(NamedTuple):
    """A dense layer: name, number of outputs, whether the positive part is taken."""

    name: str
    units: int
    relu: bool


def load_keras() -> Any:
    """Return Keras, on torch.

    Raises
    ------
    UserError
        If Keras was already imported with another backend.
    """
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    if keras.backend.backend() != "torch":
        raise UserError(
            f"Keras runs on {keras.backend.backend()}", "set KERAS_BACKEND=torch in the environment of the job"
        )
    return keras


def plan_layers(block: Mapping[str, Any], inputs: int) -> list[Plan]:
    """Return the layers that hardware computes, in order.

    Parameters
    ----------
    block : mapping
        `family`, `hidden`, and `latent` for "vae" and "autoencoder".
    inputs : int
        Number of inputs.

    Raises
    ------
    UserError
        If the family is none of a network.
    """
    hidden = [Plan(f"hidden{n}", units, True) for n, units in enumerate(block["hidden"])]
    family = block["family"]
    if family == "vae":
        return [*hidden, Plan("mu", block["latent"], False)]
    if family == "autoencoder":
        back = [Plan(f"back{n}", units, True) for n, units in enumerate(reversed(block["hidden"]))]
        return [*hidden, Plan("latent", block["latent"], True), *back, Plan("reconstruction", inputs, False)]
    if family == "dense":
        return [*hidden, Plan("logit", 1, False)]
    raise UserError(f"family {family!r} is no network", "choose vae, autoencoder or dense; bdt has rules of its own")


def build_float(block: Mapping[str, Any], inputs: int) -> Any:
    """Return the float network.

    Its outputs are [mu, log_variance, reconstruction from mu] for "vae", else that of the last layer. The decoder of a
    "vae" is the nested model `decoder`.
    """
    keras = load_keras()

    def dense(plan: Plan, value: Any) -> Any:
        return keras.layers.Dense(plan.units, activation="relu" if plan.relu else None, name=plan.name)(value)

    entry = value = keras.Input((inputs,), name="inputs")
    plans = plan_layers(block, inputs)
    for plan in plans[:-1]:
        value = dense(plan, value)
    last = dense(plans[-1], value)
    if block["family"] != "vae":
        return keras.Model(entry, last)
    # near 0 at the start, so that the first samples of the latent space have a width of 1
    log_variance = keras.layers.Dense(block["latent"], kernel_initializer="zeros", name="log_variance")(value)
    start = back = keras.Input((block["latent"],), name="latent")
    for n, units in enumerate(reversed(block["hidden"])):
        back = dense(Plan(f"back{n}", units, True), back)
    decoder = keras.Model(start, dense(Plan("reconstruction", inputs, False), back), name="decoder")
    return keras.Model(entry, [last, log_variance, decoder(last)])


def predict(model: Any, values: Array) -> list[Array]:
    """Return the outputs of a Keras model as float64 arrays of shape (events, outputs)."""
    outputs = model.predict(np.asarray(values, dtype=np.float32), batch_size=BATCH, verbose=0)
    parts = outputs if isinstance(outputs, list) else [outputs]
    return [np.asarray(part, dtype=np.float64).reshape(len(values), -1) for part in parts]


def float_score(family: str, values: Array, outputs: Sequence[Array]) -> Array:
    """Return the score of the float network, shape (events,), from its outputs."""
    if family == "vae":
        return np.asarray(np.sum(outputs[0] ** 2, axis=1))
    if family == "autoencoder":
        return np.asarray(np.sum((values - outputs[0]) ** 2, axis=1))
    return outputs[0][:, 0]


def other_scores(family: str, outputs: Sequence[Array]) -> dict[str, Array]:
    """Return the scores of the float network that firmware does not compute, shape (events,) each.

    For "vae": `rz`, R_z = sum mu^2 / sigma^2 (arXiv:2108.03986), from the outputs mu and log sigma^2.
    """
    if family != "vae":
        return {}
    return {"rz": np.asarray(np.sum(outputs[0] ** 2 * np.exp(-outputs[1]), axis=1))}


def get_weights(model: Any, plans: Sequence[Plan]) -> list[tuple[Array, Array]]:
    """Return kernel and bias of the layers of a plan as float64."""
    found = []
    for plan in plans:
        kernel, bias = model.get_layer(plan.name).get_weights()
        found.append((np.asarray(kernel, dtype=np.float64), np.asarray(bias, dtype=np.float64)))
    return found


def lane_config(overflow: str = "SAT") -> Any:
    """Return HGQ2's configuration of a lane: every element on its own, cut below its last bit."""
    from hgq.config import QuantizerConfig

    return QuantizerConfig(
        "kif", "datalane", k0=True, i0=1, f0=1, round_mode="TRN", overflow_mode=overflow, homogeneous_axis=(0,),
        ic=None, fc=None, ir=None, fr=None,
    )  # fmt: skip


def weight_config() -> Any:
    """Return HGQ2's configuration of weights: every weight on its own."""
    from hgq.config import QuantizerConfig

    return QuantizerConfig(
        "kif", "weight", k0=True, i0=1, f0=1, round_mode="RND", overflow_mode="SAT_SYM", homogeneous_axis=(),
        ic=None, fc=None, ir=None, fr=None,
    )  # fmt: skip


def set_lane(quantiser: Any, lane: Lane) -> None:
    """Give a quantiser the formats of a lane."""
    inner = quantiser.quantizer
    # a word that is always 0 has no sign either
    signed = np.where(lane.bits > 0, lane.signed, 0)
    inner._k.assign(signed[None].astype(np.uint8))
    inner._i.assign(np.where(lane.bits > 0, lane.integer, -lane.fraction)[None])
    inner._f.assign(lane.fraction[None])


def set_weights(quantiser: Any, weights: Array, fraction: Array) -> None:
    """Give a quantiser the bits that weights on their grids need."""
    inner = quantiser.quantizer
    inner._i.assign(integer_bits(np.abs(weights), fraction))
    inner._f.assign(fraction)


def build_quantised(network: FixedNetwork, inputs: int) -> Any:
    """Return the Keras model (HGQ2 layers) of a fixed-point network; its one output is the score.

    Parameters
    ----------
    network : FixedNetwork
        Weights and formats.
    inputs : int
        Number of inputs.
    """
    keras = load_keras()
    from hgq.layers import QDense, QDot, QSubtract
    from hgq.quantizer import Quantizer

    entry = value = keras.Input((inputs,), name="inputs")
    if network.family == "autoencoder":
        value = Quantizer(lane_config("WRAP"), name="words")(entry)
    words = value
    for layer in network.layers:
        # the encoding has saturated the inputs already, and alkaid takes inputs of hardware without saturation only
        overflow = "WRAP" if layer is network.layers[0] else "SAT"
        squared = network.family == "vae" and layer is network.layers[-1]
        value = QDense(
            len(layer.bias), activation="relu" if layer.relu else None, name=layer.name, enable_ebops=True,
            iq_conf=lane_config(overflow), kq_conf=weight_config(), bq_conf=weight_config(),
            enable_oq=squared, oq_conf=lane_config() if squared else None,
        )(value)  # fmt: skip
    if network.family == "autoencoder":
        difference = QSubtract(
            name="difference", enable_iq=False, enable_oq=True, oq_conf=lane_config(), enable_ebops=False
        )
        value = difference([words, value])
    if network.squares is not None:
        value = QDot(axes=1, name="score", enable_iq=False, enable_ebops=False)([value, value])
    model = keras.Model(entry, value)
    set_formats(model, network)
    return model


def set_formats(model: Any, network: FixedNetwork) -> None:
    """Give a Keras model the weights and the formats of a network."""
    for layer in network.layers:
        dense = model.get_layer(layer.name)
        dense._kernel.assign(layer.kernel)
        dense.bias.assign(layer.bias)
        set_lane(dense.iq, layer.lane)
        set_weights(dense.kq, layer.kernel, layer.kernel_fraction)
        set_weights(dense.bq, layer.bias, layer.bias_fraction)
    if network.family == "autoencoder":
        set_lane(model.get_layer("words"), network.layers[0].lane)
    if network.squares is not None:
        set_lane(model.get_layer("difference" if network.family == "autoencoder" else "mu").oq, network.squares)


def save_model(model: Any, path: str | Path) -> None:
    """Write a Keras model (`.keras`) atomically."""
    with write_atomic(path) as temporary:
        model.save(temporary)
