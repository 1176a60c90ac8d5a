from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lhcml.common.errors import UserError
from lhcml.firmware.calibration import cut_weights, fit_lane, quantise_after_training, refit, share_step, shift_bias
from lhcml.firmware.encoding import Encoding
from lhcml.firmware.fine_tuning import Teacher, fine_tune
from lhcml.firmware.fixed_point import (
    FixedLayer,
    FixedNetwork,
    Lane,
    check_exact,
    count_ebops,
    integer_bits,
    weight_bits,
)
from lhcml.firmware.networks import plan_layers
from lhcml.firmware.quantise_network import Point, rank_correlation, read_point

SETTINGS = {"epochs": 8, "batch_size": 256, "learning_rate": 0.003, "distillation": 0.9}


def encoding(inputs, bits=8, integer=3):
    return Encoding(tuple(f"x{n}" for n in range(inputs)), (0.0,) * inputs, (1.0,) * inputs, bits, integer)


def lane(signed, integer, fraction, size=1):
    return Lane(*(np.full(size, float(value)) for value in (signed, integer, fraction)))


def make_teacher(family="vae", inputs=6, events=2000, seed=1):
    generator = np.random.default_rng(seed)
    block = {"family": family, "hidden": [8], "latent": 3}
    plans = plan_layers(block, inputs)
    sizes = [inputs, *(plan.units for plan in plans)]
    weights = [
        (generator.normal(size=pair) / np.sqrt(pair[0]), generator.normal(size=pair[1]) / 4) for pair in pairwise(sizes)
    ]
    values = np.clip(generator.normal(size=(events, inputs)), -4, 4)
    labels = (values[:, 0] > 0).astype(np.int64)
    return Teacher(family, plans, weights, encoding(inputs), values, labels, np.ones(events))


def float_outputs(teacher):
    values = teacher.inputs
    for plan, (kernel, bias) in zip(teacher.plans, teacher.weights, strict=True):
        values = np.maximum(values @ kernel + bias, 0) if plan.relu else values @ kernel + bias
    return values


def test_words_by_hand():
    # ap_ufixed<3, 1>: 0 ... 1.75 in steps of 0.25; ap_fixed<3, 2>: -2 ... 1.5 in steps of 0.5
    assert lane(0, 1, 2).cut([[-1.0], [0.49], [1.99], [2.0], [9.0]]).ravel().tolist() == [0, 0.25, 1.75, 1.75, 1.75]
    assert lane(1, 1, 1).cut([[-9.0], [-0.1], [0.74], [9.0]]).ravel().tolist() == [-2, -0.5, 0.5, 1.5]
    assert lane(0, 1, 2).bits.tolist() == [3]
    assert lane(1, 1, 1).bits.tolist() == [3]
    # 1/8 and 1/16: all leading bits 0, two bits are enough
    assert lane(0, -2, 4).cut([[0.3]]).tolist() == [[0.1875]]
    # no bits
    assert lane(1, -2, 2).bits.tolist() == [0]
    assert lane(1, -2, 2).cut([[0.3]]).tolist() == [[0.0]]


def test_layer_by_hand():
    layer = FixedLayer(
        "a", lane(1, 2, 1, 2), np.array([[0.5, -1.0], [2.0, 0.25]]), np.array([0.25, -4.0]),
        np.full((2, 2), 2.0), np.full(2, 2.0), True,
    )  # fmt: skip
    # 1.3 -> 1.0 and -0.2 -> -0.5: 0.5 - 1.0 + 0.25 = -0.25 -> 0, and -1 - 0.125 - 4 -> 0;
    # 9 -> 3.5 and -9 -> -4: 1.75 - 8 + 0.25 < 0; -9 and 9: -2 + 7 + 0.25 = 5.25 and 4 + 0.875 - 4 = 0.875
    values = [[1.3, -0.2], [9.0, -9.0], [-9.0, 9.0]]
    assert layer(values).tolist() == [[0, 0], [0, 0], [5.25, 0.875]]


def test_scores_by_hand():
    layer = FixedLayer("mu", lane(1, 3, 0, 2), np.eye(2), np.zeros(2), np.zeros((2, 2)), np.zeros(2), False)
    squares = lane(1, 2, 0, 2)
    values = np.array([[1.0, -2.0], [7.0, -8.0]])
    # 7 saturates at 3, -8 at -4
    assert FixedNetwork("vae", (layer,), squares).score(values).tolist() == [5.0, 25.0]
    half = FixedLayer("mu", lane(1, 3, 0, 2), np.eye(2) / 2, np.zeros(2), np.ones((2, 2)), np.zeros(2), False)
    # x - x/2 = 0.5, -1 -> cut to 0, -1; 3.5, -4 -> 3, -4
    assert FixedNetwork("autoencoder", (half,), squares).score(values).tolist() == [1.0, 25.0]


def test_bits_and_ebops_by_hand():
    assert weight_bits([0.0, 0.5, 0.75, 1.0, -3.0], np.full(5, 2.0)).tolist() == [0, 2, 2, 3, 4]
    assert integer_bits([0.0], [3.0]).tolist() == [-3.0]
    layer = FixedLayer(
        "mu", lane(1, 2, 1, 2), np.array([[0.5], [0.0]]), np.array([1.0]), np.ones((2, 1)), np.zeros(1), False
    )
    # words of 4 bits, a weight 0.5 of 1 bit, a bias 1 of 1 bit, a square of 5 bits
    assert count_ebops(FixedNetwork("vae", (layer,), lane(1, 2, 2))) == 4 * 1 + 1 + 25


def test_words_too_wide_for_float32_are_refused():
    def network(fraction):
        layer = FixedLayer(
            "mu", lane(1, 8, 8), np.array([[1.0]]), np.zeros(1), np.full((1, 1), fraction), np.zeros(1), False
        )
        return FixedNetwork("dense", (layer,), None)

    # 2^8 steps of 2^-8 times a weight 1 on a grid of 2^-8: up to 2^24
    assert check_exact(network(7.0)) == 24
    with pytest.raises(UserError, match="layer mu"):
        check_exact(network(8.0))
    wide = FixedNetwork("vae", network(0.0).layers, lane(1, 6, 7))
    with pytest.raises(UserError, match="layer score"):
        check_exact(wide)


@given(st.integers(2, 10), st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=5))
def test_lane_holds_the_largest_value_and_is_no_wider(bits, largest):
    found = fit_lane(np.array([largest]), bits, signed=False)
    assert np.all(found.bits == bits)
    assert np.all(found.high >= np.array(largest) * (1 - 1e-12) - found.step)
    assert np.all(found.high < 2 * np.array(largest) * (1 + 2.0**-bits) + 2 * found.step)


def test_words_that_are_added_up_share_the_step_of_the_coarsest():
    found = share_step(fit_lane(np.array([[3.0, 0.4, 0.1, 0.0]]), 4, signed=True))
    # 3 needs 2 bits before the point, so 1 is left after it; 0.4 and 0.1 are below that step
    assert found.fraction[:3].tolist() == [1, 1, 1]
    assert found.bits.tolist() == [4, 0, 0, 0]
    even = share_step(fit_lane(np.array([[3.0, 1.4]]), 6, signed=True))
    assert even.fraction.tolist() == [3, 3]
    assert even.bits.tolist() == [6, 5]


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=6))
def test_refit_saturates_nothing_on_its_values(values):
    wide = lane(1, 20, 3)
    column = np.array(values)[:, None]
    found = refit(wide, column)
    assert np.array_equal(found.cut(column), wide.cut(column))


@given(st.lists(st.floats(-8, 8), min_size=1, max_size=20), st.integers(-1, 5), st.integers(0, 1))
def test_cut_after_a_shifted_bias_is_rounding_to_nearest(sums, fraction, signed):
    after = lane(signed, 2, fraction)
    bias, _ = shift_bias(np.zeros(1), after)
    # sums of hardware lie on some grid
    grid = np.floor(np.array(sums)[:, None] * 64) / 64
    step = 2.0**-fraction
    nearest = np.clip(np.floor(grid / step + 0.5) * step, after.low, after.high)
    assert np.array_equal(after.cut(np.maximum(grid + bias, 0) if not signed else grid + bias), nearest)


def test_weights_of_a_layer_share_a_format():
    weights, fraction = cut_weights(np.array([[0.9, -0.26], [0.1, 0.03]]), 4)
    # 0.9 needs no bit before the point: steps of 1/8, at most 7/8
    assert weights.tolist() == [[0.875, -0.25], [0.125, 0.0]]
    assert np.all(fraction == 3)


@pytest.mark.parametrize("family", ["vae", "autoencoder", "dense"])
def test_more_bits_come_closer_to_the_float_network(family):
    teacher = make_teacher(family)
    words = teacher.encoding.round(teacher.inputs)
    errors = []
    for bits in (4, 6, 8, 10):
        network = quantise_after_training(family, teacher.plans, teacher.weights, encoding(6, 14, 3), words, bits)
        errors.append(np.sqrt(np.mean((network.outputs(words) - float_outputs(teacher)) ** 2)))
    # two bits more are a quarter of the rounding error; half of it leaves room for saturation and for rounded inputs
    assert all(after < before / 2 for before, after in pairwise(errors[:3]))
    assert errors[3] < 0.05 * np.std(float_outputs(teacher))


def test_no_word_wraps_around_on_the_whole_grid():
    teacher = make_teacher()
    words = teacher.encoding.round(teacher.inputs)
    network = quantise_after_training("vae", teacher.plans, teacher.weights, teacher.encoding, words, 6)
    generator = np.random.default_rng(2)
    values = teacher.encoding.step * generator.integers(-128, 128, size=(5000, 6))
    layer = network.layers[1]
    before = network.layers[0](values)
    cut = layer.lane.cut(before)
    outside = (before > layer.lane.high) | (before < layer.lane.low)
    assert outside.any()
    # at the end of the range that was left, never at another place
    assert np.array_equal(cut[outside], np.clip(before, layer.lane.low, layer.lane.high)[outside])
    # so the order of a word is that of its value
    for column in range(before.shape[1]):
        assert np.all(np.diff(cut[np.argsort(before[:, column], kind="stable"), column]) >= 0)


@pytest.mark.parametrize(("family", "budget"), [("vae", 300.0), ("dense", 200.0), ("autoencoder", 600.0)])
def test_budget_is_kept_and_used(family, budget):
    teacher = make_teacher(family, events=500)
    words = teacher.encoding.round(teacher.inputs)
    start = quantise_after_training(family, teacher.plans, teacher.weights, teacher.encoding, words, 8)
    assert count_ebops(start) > 2 * budget
    masks = [np.ones(kernel.shape) for kernel, _ in teacher.weights]
    last = []

    def figure(network):
        last.append(count_ebops(network))
        return -float(len(last))

    _, network, history = fine_tune(
        teacher, teacher.weights, start, masks, SETTINGS | {"epochs": 6}, budget, figure, 1, 1
    )
    assert network is not None
    # aimed at from below by 3 %; the control leaves a wide margin on so small a network
    assert 0.6 * budget < count_ebops(network) <= budget
    assert [entry["ebops"] for entry in history] == last
    assert check_exact(network) <= 24


def test_a_budget_out_of_reach_is_told():
    teacher = make_teacher(events=300)
    words = teacher.encoding.round(teacher.inputs)
    start = quantise_after_training("vae", teacher.plans, teacher.weights, teacher.encoding, words, 8)
    masks = [np.ones(kernel.shape) for kernel, _ in teacher.weights]
    with pytest.raises(UserError, match="no epoch keeps"):
        fine_tune(teacher, teacher.weights, start, masks, SETTINGS | {"epochs": 1}, 5.0, lambda n: 0.0, 1, 1)


def test_training_in_few_bits_beats_rounding_and_is_reproducible():
    teacher = make_teacher("vae")
    words = teacher.encoding.round(teacher.inputs)
    aim = np.sum(float_outputs(teacher) ** 2, axis=1)

    def error(network):
        return 1 - rank_correlation(network.score(words), aim)

    start = quantise_after_training("vae", teacher.plans, teacher.weights, teacher.encoding, words, 4)
    masks = [np.ones(kernel.shape) for kernel, _ in teacher.weights]
    runs = [fine_tune(teacher, teacher.weights, start, masks, SETTINGS, None, error, 7, 1)[1] for _ in range(2)]
    # the epoch is chosen by this figure; the loss has inputs beyond the events in it too
    assert error(runs[0]) < error(start)
    for one, other in zip(runs[0].layers, runs[1].layers, strict=True):
        assert np.array_equal(one.kernel, other.kernel)
        assert np.array_equal(one.bias, other.bias)
        # widths stay those of the start
        assert np.array_equal(one.lane.fraction, start.layers[runs[0].layers.index(one)].lane.fraction)


def test_rank_correlation_by_hand():
    assert rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 90.0])) == 1.0
    assert rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0])) == -1.0
    # ranks 1, 2, 3, 4 and 1, 2.5, 2.5, 4: covariance 4.5, variances 5 and 4.5
    found = rank_correlation(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.0, 5.0, 5.0, 9.0]))
    assert found == pytest.approx(4.5 / np.sqrt(5 * 4.5))
    assert rank_correlation(np.ones(3), np.arange(3.0)) == 0.0


def test_points_are_read():
    assert read_point("post8") == Point("post", 8, 0)
    assert read_point("aware6_pruned25") == Point("aware", 6, 25)
    assert read_point("ebops2000_pruned50") == Point("ebops", 2000, 50)
    for bad in ("post", "post1", "aware17", "ebops0", "ebops2000_pruned", "float"):
        with pytest.raises(UserError):
            read_point(bad)
