"""Dropout by gaps has the distribution of element-wise dropout."""

import numpy as np
import pytest
import torch

from lhcml.taggers.dropout import Dropout


def dropped(p, shape, seed=0):
    torch.manual_seed(seed)
    return (Dropout(p)(torch.ones(shape)) == 0).numpy()


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5])
def test_fraction_and_independence(p):
    mask = dropped(p, (1000, 1000))
    # binomial, 1e6 elements; five standard deviations
    assert abs(mask.mean() - p) < 5 * np.sqrt(p * (1 - p) / mask.size)
    # neighbours, rows and columns are uncorrelated: a covariance has a standard error of p (1 - p) / sqrt(N)
    for shifted in (mask[:, 1:] & mask[:, :-1], mask[1:] & mask[:-1]):
        assert abs(shifted.mean() - p**2) < 5 * np.sqrt(p**2 * (1 - p**2) / shifted.size) * 1.5
    # the end is treated as the beginning: no element is out of reach
    assert dropped(p, (200000, 10)).reshape(-1, 20)[:, [0, -1]].mean(0) == pytest.approx(
        [p, p], abs=5 * np.sqrt(p / 1e5)
    )


def test_value_gradient_and_repetition():
    layer = Dropout(0.25)
    x = torch.randn(50, 40, requires_grad=True)
    torch.manual_seed(1)
    result = layer(x)
    result.sum().backward()
    kept = result != 0
    torch.testing.assert_close(result[kept], x[kept] / 0.75)
    # the gradient passes exactly where values do, with the same factor
    torch.testing.assert_close(x.grad, kept / 0.75)
    torch.manual_seed(1)
    assert torch.equal(layer(x), result)
    assert not torch.equal(layer(x), result)


def test_nothing_is_dropped_in_evaluation_or_from_nothing():
    x = torch.randn(5, 4)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x
    assert Dropout(0.5)(x[:0]).shape == (0, 4)
