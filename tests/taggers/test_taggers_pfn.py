"""The packed Particle Flow Network against a padded one, and its symmetries."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lhcml.taggers.jets import Jets
from lhcml.taggers.models.pfn import build_model
from lhcml.taggers.packing import PackedJets
from lhcml.taggers.training import predict


def random_jets(lengths, seed=0):
    rng = np.random.default_rng(seed)
    lengths = np.asarray(lengths, dtype=np.int64)
    return Jets(rng.normal(size=(int(lengths.sum()), 3)).astype(np.float32), lengths)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    return build_model(
        {"phi": [20, 30], "f": [20, 20]}, [], torch.tensor([0.1, 0.2, 0.3]), torch.tensor([1.0, 2.0, 0.5])
    )


def padded(model, jets):
    """The same network on a padded array, zeroing the padding after Phi; plain NumPy in double precision."""
    phi, f = ([layer for layer in part if isinstance(layer, torch.nn.Linear)] for part in (model.phi, model.f))
    longest = max(1, int(jets.lengths.max()))
    x = np.zeros((len(jets), longest, 3))
    mask = np.arange(longest) < jets.lengths[:, None]
    x[mask] = jets.values
    x = (x - model.mean.numpy()) / model.scale.numpy()

    def apply(layer, x):
        return x @ layer.weight.detach().numpy().T.astype(float) + layer.bias.detach().numpy()

    for layer in phi:
        x = np.maximum(apply(layer, x), 0)
    x = (x * mask[:, :, None]).sum(axis=1)
    for layer in f[:-1]:
        x = np.maximum(apply(layer, x), 0)
    logits = apply(f[-1], x)
    return logits[:, 1] - logits[:, 0]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=20), st.integers(0, 1000))
def test_packed_equals_padded(model, lengths, seed):
    jets = random_jets(lengths, seed)
    expected = padded(model, jets)
    # float32 rounding over sums of up to 12 terms of order 10
    np.testing.assert_allclose(predict(model, PackedJets(jets)), expected, rtol=1e-4, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(0, 1000))
def test_order_of_constituents_does_not_matter(model, length, seed):
    jets = random_jets([length], seed)
    shuffled = Jets(jets.values[np.random.default_rng(seed).permutation(length)], jets.lengths)
    # not bitwise: float32 sums in another order
    np.testing.assert_allclose(
        predict(model, PackedJets(shuffled)), predict(model, PackedJets(jets)), rtol=1e-4, atol=1e-4
    )


def test_jets_do_not_see_each_other(model):
    jets = random_jets([5, 0, 1, 7, 0, 3])
    packed = PackedJets(jets)
    together = predict(model, packed)
    order = torch.tensor([3, 1, 5, 0])
    with torch.inference_mode():
        logits = model(packed.take(order)).double()
    np.testing.assert_allclose((logits[:, 1] - logits[:, 0]).numpy(), together[order.numpy()], rtol=1e-4, atol=1e-5)
    # empty jets: F(0), the same for all
    assert together[1] == together[4]
    assert np.isfinite(together).all()


def test_only_empty_jets(model):
    scores = predict(model, PackedJets(random_jets([0, 0, 0])))
    assert np.isfinite(scores).all()
    assert np.ptp(scores) == 0


def test_gradient_agrees_with_finite_differences():
    torch.manual_seed(0)
    model = build_model({"phi": [6, 5], "f": [4]}, [], torch.zeros(3), torch.ones(3)).double()
    packed = PackedJets(random_jets([3, 0, 2]))
    packed.values = packed.values.double()
    batch = packed.take(torch.arange(3))
    weight = model.phi[0].weight
    model(batch)[:, 1].sum().backward()
    analytic = weight.grad[2, 1].item()
    with torch.no_grad():
        values = []
        for step in (1e-6, -1e-6):
            weight[2, 1] += step
            values.append(model(batch)[:, 1].sum().item())
            weight[2, 1] -= step
    assert analytic == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-8)
