"""Networks on the list of constituents: convolutions at the borders of jets, recurrence, against single jets."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lhcml.taggers.families import build_network, complete_architecture
from lhcml.taggers.jets import Jets
from lhcml.taggers.models.pcnn import every_second, windows
from lhcml.taggers.packing import PackedJets, make_batch
from lhcml.taggers.training import predict

INPUTS = ["part_log_pt_rel", "aligned_deta", "aligned_dphi"]
MEAN, SCALE = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([1.0, 2.0, 0.5])
LENGTHS = [5, 0, 1, 2, 8, 0, 3, 13, 1]


def random_jets(lengths, seed=0):
    lengths = np.asarray(lengths, dtype=np.int64)
    values = np.random.default_rng(seed).normal(size=(int(lengths.sum()), 3))
    return Jets(values.astype(np.float32), lengths)


def build(family, architecture):
    torch.manual_seed(4)
    return build_network(family, complete_architecture(family, architecture), INPUTS, MEAN, SCALE).eval()


def single(jets):
    """Yield the rows of each jet, (rows, inputs)."""
    return torch.from_numpy(jets.values).split(jets.lengths.tolist())


def test_windows_by_hand():
    batch = make_batch(torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]]), torch.tensor([3, 0, 1, 2]))
    expected = [[0, 1, 2], [1, 2, 3], [2, 3, 0], [0, 4, 0], [0, 5, 6], [5, 6, 0]]
    assert windows(batch).values.tolist() == expected
    second = every_second(batch)
    assert second.values.flatten().tolist() == [1, 3, 4, 5]
    assert second.lengths.tolist() == [2, 0, 1, 1]
    assert second.jet.tolist() == [0, 0, 2, 3]
    assert second.position.tolist() == [0, 1, 0, 0]
    assert second.longest == 2


def pcnn_of_one_jet(model, rows):
    """The same network with torch's own convolutions on one jet, (rows, inputs) -> (2,)."""

    def convolve(part, x, stride=1):
        linear, norm, _ = part
        kernel = linear.weight.view(linear.out_features, 3, -1).transpose(1, 2)
        x = nn.functional.conv1d(x, kernel, stride=stride, padding=1)
        return torch.relu(norm(x))

    x = ((rows - model.mean) / model.scale).T[None]
    x = convolve(model.first, x)
    for unit in model.units:
        stride = 2 if unit.halve else 1
        inner = convolve(unit.second, convolve(unit.first, x, stride))
        if isinstance(unit.shortcut, nn.Linear):
            x = nn.functional.conv1d(x, unit.shortcut.weight[:, :, None], stride=stride)
        x = x + inner
    return model.f(x.mean(dim=2))[0]


def test_convolutions_against_single_jets():
    model = build("pcnn", {"first": 5, "stages": [[6, 6], [8], [7, 7]], "dense": 10})
    # running averages as after a training
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm1d)):
        nn.init.normal_(norm.running_mean, std=0.3)
        nn.init.uniform_(norm.running_var, 0.5, 2.0)
    jets = random_jets(LENGTHS)
    with torch.inference_mode():
        together = model(PackedJets(jets).take(torch.arange(len(jets))))
        for logits, rows in zip(together, single(jets), strict=True):
            if len(rows):
                torch.testing.assert_close(logits, pcnn_of_one_jet(model, rows), rtol=1e-4, atol=1e-5)
            else:
                torch.testing.assert_close(logits, model.f(torch.zeros(1, 7))[0])


def test_normalisation_is_over_constituents():
    model = build("pcnn", {"first": 5, "stages": [[6]], "dense": 10}).train()
    jets = random_jets([4, 0, 9])
    model(PackedJets(jets).take(torch.arange(3)))
    linear, norm, _ = model.first
    scaled = (torch.from_numpy(jets.values) - MEAN) / SCALE
    kernel = linear.weight.view(5, 3, 3).transpose(1, 2)
    rows = [nn.functional.conv1d(jet.T[None], kernel, padding=1)[0].T for jet in scaled.split([4, 9])]
    # torch moves its running average a tenth of the way from 0
    torch.testing.assert_close(norm.running_mean, 0.1 * torch.cat(rows).mean(dim=0).detach(), rtol=1e-4, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(0, 1000))
def test_recurrence_against_single_jets(lengths, seed):
    model = build("recurrent", {"state": 7, "f": [6]})
    jets = random_jets(lengths, seed)
    with torch.inference_mode():
        together = model(PackedJets(jets).take(torch.arange(len(jets))))
        for logits, rows in zip(together, single(jets), strict=True):
            state = torch.zeros(1, 7)
            if len(rows):
                # the constituents come with falling pT, and are read the other way round
                _, (last, _) = model.lstm(((rows.flip(0) - MEAN) / SCALE)[None])
                state = last[0]
            torch.testing.assert_close(logits, model.f(state)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "architecture"), [("pcnn", {"first": 6, "stages": [[6]], "dense": 8}), ("recurrent", {"state": 8})]
)
def test_order_matters(family, architecture):
    model = build(family, architecture)
    jets = random_jets([12])
    backwards = Jets(jets.values[::-1].copy(), jets.lengths)
    assert abs(predict(model, PackedJets(jets))[0] - predict(model, PackedJets(backwards))[0]) > 1e-4
