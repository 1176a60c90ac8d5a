import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lhcml.common.errors import UserError
from lhcml.firmware.pruning import prune_masks


def test_smallest_magnitudes_of_all_layers_go():
    kernels = [np.array([[0.1, -2.0], [0.5, 0.3]]), np.array([[-0.2], [4.0]])]
    masks = prune_masks(kernels, 50)
    assert masks[0].tolist() == [[0, 1], [1, 0]]
    assert masks[1].tolist() == [[0], [1]]


@given(st.integers(0, 90), st.integers(0, 5))
def test_share_is_exact(percent, seed):
    generator = np.random.default_rng(seed)
    kernels = [generator.normal(size=(7, 6)), generator.normal(size=(6, 5))]
    masks = prune_masks(kernels, percent)
    assert sum(int(np.sum(mask == 0)) for mask in masks) == round(percent / 100 * 72)
    magnitudes = np.abs(np.concatenate([kernel.ravel() for kernel in kernels]))
    kept = np.concatenate([mask.ravel() for mask in masks]) == 1
    assert magnitudes[kept].min() >= magnitudes[~kept].max(initial=0.0)


def test_equal_magnitudes_still_give_the_exact_share():
    masks = prune_masks([np.ones((4, 5))], 30)
    assert masks[0].sum() == 14


def test_impossible_shares_are_refused():
    for percent in (-1, 100):
        with pytest.raises(UserError, match="per cent"):
            prune_masks([np.ones((2, 2))], percent)
    with pytest.raises(UserError, match="layer without weights"):
        prune_masks([np.ones((4, 4)), np.full((4, 1), 1e-3)], 25)
