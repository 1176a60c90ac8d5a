"""A quantised network of 4 inputs, 3 hidden nodes and a score, small enough to be compiled in seconds."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from lhcml.common.files import write_json
from lhcml.firmware.encoding import Encoding
from lhcml.firmware.stimuli import write_stimuli

PART = "xcvu9p-flga2104-2L-e"
BITS, INTEGER = 6, 3


def write_toy(folder: Path, events: int = 400) -> None:
    """Write `model.keras`, `encoding.json` and `stimuli.npz` of the network; its weights are drawn with a seed."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    from hgq.config import LayerConfigScope, QuantizerConfigScope
    from hgq.layers import QDense, QDot
    from hgq.utils import trace_minmax

    generator = np.random.default_rng(3)
    words = generator.integers(-(2 ** (BITS - 1)), 2 ** (BITS - 1) - 1, size=(events, 4), endpoint=True)
    inputs = words * 2.0 ** (INTEGER - BITS)
    keras.utils.set_random_seed(3)
    with (
        QuantizerConfigScope(place="weight", default_q_type="kbi", overflow_mode="SAT_SYM", b0=4),
        QuantizerConfigScope(place="datalane", default_q_type="kif", overflow_mode="WRAP", i0=3, f0=2),
        LayerConfigScope(enable_ebops=True, beta0=1e-6),
    ):
        entry = keras.Input((4,))
        hidden = QDense(3, activation="relu", name="hidden")(entry)
        mu = QDense(2, name="mu")(hidden)
        model = keras.Model(entry, QDot(axes=1, name="score")([mu, mu]))
    trace_minmax(model, inputs)
    model.save(folder / "model.keras")
    encoding = Encoding(("a", "b", "c", "d"), (0.0,) * 4, (1.0,) * 4, BITS, INTEGER)
    write_json(folder / "encoding.json", encoding.to_json())
    write_stimuli(folder / "stimuli.npz", inputs, model.predict(inputs, batch_size=events, verbose=0), events)
