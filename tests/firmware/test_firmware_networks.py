from itertools import pairwise

import numpy as np
import pytest

from lhcml.common.errors import UserError
from lhcml.firmware.fixed_point import FixedLayer, FixedNetwork, Lane, count_ebops, weight_bits
from lhcml.firmware.load_network import load_network
from lhcml.firmware.networks import (
    build_float,
    build_quantised,
    float_score,
    get_weights,
    other_scores,
    plan_layers,
    predict,
    save_model,
)

# Keras' own variables warn when NumPy 2 makes arrays of them
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

INPUTS = 6
FAMILIES = ["vae", "autoencoder", "dense"]


def make_layer(generator, name, inputs, units, *, relu, signed, integer=2.0):
    """A layer of words and weights of mixed widths, some of no bits at all."""
    lane = Lane(
        np.full(inputs, float(signed)), np.full(inputs, integer), generator.integers(1, 5, inputs).astype(float)
    )
    if not signed:
        lane.fraction[0] = -lane.integer[0]
    fraction = generator.integers(1, 5, (inputs, units)).astype(float)
    kernel = np.round(generator.normal(size=(inputs, units)) * 2**fraction) / 2**fraction
    kernel[generator.random(kernel.shape) < 0.3] = 0
    bias = np.round(generator.normal(size=units) * 8) / 8
    return FixedLayer(name, lane, kernel, bias, fraction, np.full(units, 3.0), relu)


def make_network(family, seed=1):
    generator = np.random.default_rng(seed)
    last, size = {"vae": ("mu", 3), "autoencoder": ("reconstruction", INPUTS), "dense": ("logit", 1)}[family]
    layers = (
        make_layer(generator, "hidden0", INPUTS, 5, relu=True, signed=1),
        make_layer(generator, last, 5, size, relu=False, signed=0),
    )
    squares = None if family == "dense" else Lane(np.ones(size), np.full(size, 2.0), np.full(size, 3.0))
    return FixedNetwork(family, layers, squares)


def draw_words(count=2000):
    # words of ap_fixed<8, 3>, over the whole range
    return np.random.default_rng(3).integers(-128, 128, size=(count, INPUTS)) / 32


@pytest.mark.parametrize("family", FAMILIES)
def test_keras_model_is_exact_arithmetic_and_so_is_hardware(family, tmp_path):
    from alkaid.converter import trace_model
    from alkaid.trace import trace

    network, words = make_network(family), draw_words()
    model = build_quantised(network, INPUTS)
    save_model(model, tmp_path / "model.keras")
    loaded = load_network(tmp_path / "model.keras")
    expected = network.score(words)
    assert len(np.unique(expected)) > 50
    for one in (model, loaded):
        assert np.array_equal(predict(one, words)[0][:, 0], expected)
    logic = trace(*trace_model(loaded))
    assert np.array_equal(np.ravel(logic.predict(words)), expected)


def test_score_of_a_vae_by_integers():
    """The forward pass in integers, with Python's own shifts and no float at all."""
    lane = Lane(np.ones(2), np.full(2, 2.0), np.full(2, 3.0))
    hidden = FixedLayer(
        "hidden0", lane, np.array([[0.5, -1.25], [1.0, 0.75]]), np.array([0.25, -0.5]), np.full((2, 2), 2.0),
        np.full(2, 2.0), True,
    )  # fmt: skip
    mu = FixedLayer(
        "mu", Lane(np.zeros(2), np.full(2, 1.0), np.full(2, 2.0)), np.array([[1.5], [-0.5]]), np.array([0.5]),
        np.full((2, 1), 1.0), np.full(1, 1.0), False,
    )  # fmt: skip
    network = FixedNetwork("vae", (hidden, mu), Lane(np.ones(1), np.ones(1), np.ones(1)))
    counts = np.random.default_rng(1).integers(-32, 32, size=(200, 2))
    expected = []
    for a, b in counts.tolist():
        # inputs in 1/8, weights in 1/4: sums in 1/32; the bias 1/4 is 8/32
        sums = [max(2 * a + 4 * b + 8, 0), max(-5 * a + 3 * b - 16, 0)]
        # words in 1/4 from 0 to 7/4: eight 32ths are one
        words = [min(total >> 3, 7) for total in sums]
        # words in 1/4, weights in 1/2: sums in 1/8; cut to 1/2, from -2 to 3/2
        mean = max(min((3 * words[0] - words[1] + 4) >> 2, 3), -4)
        expected.append(mean * mean / 4)
    assert np.array_equal(predict(build_quantised(network, 2), counts / 8)[0][:, 0], expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_ebops_are_those_of_hgq_apart_from_what_it_leaves_out(family):
    from hgq.utils import trace_minmax

    network = make_network(family)
    model = build_quantised(network, INPUTS)
    # at 0, so that the widths stay as they are
    found = trace_minmax(model, np.zeros((4, INPUTS), dtype=np.float32), reset=False)
    first = network.layers[0]
    # HGQ counts no sign of words that are not saturated, the inputs, and no squares here
    signs = float(np.sum(weight_bits(first.kernel, first.kernel_fraction).sum(axis=1) * first.lane.signed))
    squares = float(np.sum(network.squares.bits**2)) if network.squares else 0.0
    assert found == count_ebops(network) - signs - squares


@pytest.mark.parametrize("family", FAMILIES)
def test_float_network_has_the_layers_of_the_plan(family):
    block = {"family": family, "hidden": [5, 4], "latent": 3}
    model = build_float(block, INPUTS)
    plans = plan_layers(block, INPUTS)
    values = draw_words(20)
    words = values
    for plan, (kernel, bias) in zip(plans, get_weights(model, plans), strict=True):
        words = np.maximum(words @ kernel + bias, 0) if plan.relu else words @ kernel + bias
    outputs = predict(model, values)
    # float32 sums of some ten terms
    assert outputs[0] == pytest.approx(words, abs=1e-5)
    score = float_score(family, values, outputs)
    expected = words[:, 0] if family == "dense" else ((words if family == "vae" else values - words) ** 2).sum(1)
    assert score == pytest.approx(expected, abs=1e-4)


def test_published_sizes():
    plans = plan_layers({"family": "vae", "hidden": [28, 15], "latent": 8}, 57)
    sizes = [57, *(plan.units for plan in plans)]
    assert sum(a * b + b for a, b in pairwise(sizes)) == 2187


def test_scores_beside_that_of_the_firmware():
    # mu = 1, 2 and sigma^2 = 1, 4
    found = other_scores("vae", [np.array([[1.0, 2.0]]), np.log([[1.0, 4.0]]), np.zeros((1, 3))])
    assert found["rz"] == pytest.approx([1 + 4 / 4])
    assert other_scores("dense", [np.zeros((1, 1))]) == {}


def test_trees_are_no_network():
    with pytest.raises(UserError, match="bdt"):
        plan_layers({"family": "bdt", "hidden": [4]}, 3)
