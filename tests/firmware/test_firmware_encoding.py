import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lhcml.common.errors import UserError
from lhcml.common.files import write_json
from lhcml.firmware.encoding import (
    Encoding,
    encoding_from_json,
    fit_features,
    fit_objects,
    nearest_power,
    read_encoding,
)

NAMES = ["a_pt", "a_eta", "b_pt", "b_eta"]
formats = st.integers(2, 12).flatmap(lambda bits: st.tuples(st.just(bits), st.integers(1, bits)))
values = arrays(np.float64, (7, 1), elements=st.floats(-1e4, 1e4))


def one(bits, integer, scale=4.0, offset=1.0):
    return Encoding(("x",), (offset,), (scale,), bits, integer)


def test_words_by_hand():
    # ap_fixed<4, 2>: -2 ... 1.75 in steps of 0.25; x' = (x - 1) / 4
    encoding = one(4, 2)
    assert (encoding.low, encoding.high, encoding.step) == (-2.0, 1.75, 0.25)
    raw = [[1.0], [2.0], [1.5], [0.5], [8.0], [8.6], [-7.0], [-7.6], [1e9]]
    words, saturated = encoding.encode(raw)
    # 0.5/4 = 0.125 is half a step: upwards; -0.125 rounds up to 0; 7.6/4 = 1.9 rounds to 2, outside; -8.6/4 to -2.25
    assert words.ravel().tolist() == [0.0, 0.25, 0.25, 0.0, 1.75, 1.75, -2.0, -2.0, 1.75]
    assert saturated == {"x": 3 / 9}


def test_not_rounded_is_shifted_and_saturated_only():
    words, saturated = one(4, 2).encode([[1.4], [100.0]], rounded=False)
    assert words.ravel() == pytest.approx([0.1, 1.75])
    assert saturated == {"x": 0.5}


@given(formats, values)
def test_words_are_on_the_grid_and_stay_there(form, raw):
    encoding = one(*form)
    words, _ = encoding.encode(raw)
    counts = words / encoding.step
    assert np.array_equal(counts, np.round(counts))
    assert words.min() >= encoding.low
    assert words.max() <= encoding.high
    assert len(np.unique(words)) <= 2 ** form[0]
    again, saturated = one(*form, scale=1.0, offset=0.0).encode(words)
    assert np.array_equal(again, words)
    assert saturated == {"x": 0.0}


@given(formats, values)
def test_order_is_kept_and_the_error_is_half_a_step(form, raw):
    encoding = one(*form)
    words, _ = encoding.encode(np.sort(raw, axis=0))
    assert np.all(np.diff(words, axis=0) >= 0)
    exact = (np.sort(raw, axis=0) - 1) / 4
    inside = (exact >= encoding.low) & (exact <= encoding.high)
    assert np.all(np.abs(words - exact)[inside] <= encoding.step / 2)


@given(arrays(np.float64, 20, elements=st.floats(-30, 30)))
def test_saturated_counts_values_that_moved_by_more_than_rounding(raw):
    encoding = one(6, 3, scale=1.0, offset=0.0)
    _, saturated = encoding.encode(raw[:, None])
    # a value up to half a step outside rounds to the end of the range
    outside = (raw >= encoding.high + encoding.step / 2) | (raw < encoding.low - encoding.step / 2)
    assert saturated["x"] == np.mean(outside)


def test_objects_have_a_scale_an_input_and_zero_stays_zero():
    raw = np.array([[100.0, 1.0, 0.0, 0.0], [50.0, -2.0, 30.0, 0.6]])
    encoding = fit_objects(NAMES, raw, [1.0, 1.0], 8, 4)
    # root mean squares with the zeros: 79, 1.6, 21, 0.42
    assert encoding.scale == (64.0, 2.0, 16.0, 0.5)
    assert encoding.offset == (0.0,) * 4
    words, _ = encoding.encode(raw)
    assert words[0].tolist() == [1.5625, 0.5, 0.0, 0.0]


def test_weights_of_events_set_the_scale():
    raw = np.array([[100.0, 1.0, 0.0, 0.0], [4.0, 1.0, 0.0, 0.0]])
    assert fit_objects(NAMES, raw, [1.0, 0.0], 8, 4).scale[0] == 128.0
    assert fit_objects(NAMES, raw, [0.0, 1.0], 8, 4).scale[0] == 4.0
    assert fit_features(["x"], [[0.0], [8.0]], [1.0, 3.0], 8, 4).offset == (6.0,)


def test_features_are_centred_and_a_constant_one_has_scale_one():
    raw = np.array([[0.1, 10.0], [0.1, 14.0]])
    encoding = fit_features(["flat", "x"], raw, [1.0, 1.0], 8, 4)
    assert encoding.scale == (1.0, 2.0)
    assert encoding.offset == pytest.approx((0.1, 12.0))
    # nothing but constants, and objects that are never there
    assert fit_features(["flat"], [[0.1]] * 3, [1.0] * 3, 8, 4).scale == (1.0,)
    assert fit_objects(["a_pt"], [[0.0]] * 3, [1.0] * 3, 8, 4).scale == (1.0,)


@given(st.floats(1e-6, 1e6))
def test_nearest_power_is_the_nearest_of_all(width):
    powers = 2.0 ** np.arange(-24, 24)
    distance = np.abs(np.log2(powers) - np.log2(width))
    # at equal distance either is right
    assert abs(np.log2(nearest_power(width)) - np.log2(width)) == pytest.approx(distance.min(), abs=1e-9)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_name_the_input(bad):
    raw = np.ones((5, 2))
    raw[3, 1] = bad
    encoding = Encoding(("first", "second"), (0.0, 0.0), (1.0, 1.0), 8, 4)
    with pytest.raises(UserError, match=r"second \(1\), of 5 events"):
        encoding.encode(raw)
    with pytest.raises(UserError, match="second"):
        fit_features(["first", "second"], raw, np.ones(5), 8, 4)


def test_impossible_formats_and_samples_are_refused():
    for bits, integer in [(1, 1), (19, 4), (8, 0), (8, 9)]:
        with pytest.raises(UserError, match="encoding"):
            fit_features(["x"], [[1.0]], [1.0], bits, integer)
    with pytest.raises(UserError, match="0 events"):
        fit_features(["x"], np.zeros((0, 1)), [], 8, 4)
    with pytest.raises(UserError, match="do not fit the 1 names"):
        fit_features(["x"], np.zeros((3, 2)), np.ones(3), 8, 4)


def test_file_returns_the_encoding(tmp_path):
    encoding = fit_features(["x", "y"], [[0.3, 2.0], [0.7, 9.0]], [1.0, 2.0], 8, 4)
    write_json(tmp_path / "encoding.json", encoding.to_json())
    assert read_encoding(tmp_path / "encoding.json") == encoding


def test_damaged_file_is_named():
    whole = one(8, 4).to_json()
    for key in whole:
        with pytest.raises(UserError, match=r"encoding.json"):
            encoding_from_json({name: value for name, value in whole.items() if name != key}, "encoding.json")
    with pytest.raises(UserError, match="different number"):
        encoding_from_json(whole | {"offset": [0.0, 1.0]}, "encoding.json")
