import numpy as np
import pytest

from lhcml.common.errors import UserError
from lhcml.firmware.encoding import Encoding
from lhcml.firmware.stimuli import draw_inputs, read_stimuli, write_stimuli

ENCODING = Encoding(("x", "y"), (0.0, 0.0), (1.0, 1.0), 4, 2)


def events(count):
    return ENCODING.encode(np.random.default_rng(1).normal(size=(count, 2)))[0]


def test_events_first_then_corners_then_words_of_the_whole_grid():
    inputs, count = draw_inputs(events(20), ENCODING, 1000, 3)
    assert inputs.shape == (1000, 2)
    assert count == 20
    assert np.array_equal(inputs[:20], events(20))
    assert inputs[20:23].tolist() == [[-2.0, -2.0], [1.75, 1.75], [0.0, 0.0]]
    # 977 draws of 16 words: all of them
    assert np.unique(inputs[23:]).tolist() == (np.arange(-8, 8) / 4).tolist()


def test_all_events_are_there_and_a_fifth_of_the_number_is_random():
    inputs, count = draw_inputs(events(5000), ENCODING, 1000, 3)
    assert inputs.shape == (5200, 2)
    assert count == 5000
    assert np.array_equal(inputs[:5000], events(5000))


def test_same_seed_same_words():
    first, again, other = (draw_inputs(events(50), ENCODING, 100, seed)[0] for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_too_few_are_refused():
    with pytest.raises(UserError, match="no test events"):
        draw_inputs(events(0), ENCODING, 100, 1)
    with pytest.raises(UserError, match="stimuli"):
        draw_inputs(events(5), ENCODING, 9, 1)


def test_file_returns_what_was_written(tmp_path):
    inputs, count = draw_inputs(events(20), ENCODING, 100, 3)
    write_stimuli(tmp_path / "stimuli.npz", inputs, inputs.sum(axis=1), count)
    read = read_stimuli(tmp_path / "stimuli.npz")
    assert np.array_equal(read.inputs, inputs)
    assert np.array_equal(read.outputs, inputs.sum(axis=1)[:, None])
    assert read.events == 20


def test_damaged_files_are_named(tmp_path):
    path = tmp_path / "stimuli.npz"
    with pytest.raises(UserError, match="cannot read"):
        read_stimuli(path)
    path.write_bytes(b"PK\x03\x04 not a zip file")
    with pytest.raises(UserError, match="cannot read"):
        read_stimuli(path)
    np.savez(path, inputs=np.array([{"a": 1}], dtype=object), outputs=np.zeros((1, 1)), events=1)
    with pytest.raises(UserError, match="cannot read"):
        read_stimuli(path)
    np.savez(path, inputs=np.zeros((3, 2)))
    with pytest.raises(UserError, match="cannot read"):
        read_stimuli(path)
    np.savez(path, inputs=np.zeros((3, 2)), outputs=np.zeros((2, 1)), events=1)
    with pytest.raises(UserError, match=r"shape \(3, 2\)"):
        read_stimuli(path)
    write_stimuli(path, np.zeros((3, 2)), np.zeros(3), 4)
    with pytest.raises(UserError, match="4 of its 3 rows"):
        read_stimuli(path)
    write_stimuli(path, np.zeros((3, 2)), np.full(3, np.nan), 3)
    with pytest.raises(UserError, match="NaN"):
        read_stimuli(path)
