"""Families on numbers of the jet: the dense network and the linear classifier on energy flow polynomials."""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from lhcml.common.errors import UserError
from lhcml.taggers.families import build_network, complete_architecture, default_inputs
from lhcml.taggers.jets import Jets, LabelledJets
from lhcml.taggers.packing import PackedJets
from lhcml.taggers.train_network import standardisation
from lhcml.taggers.training import Training, predict

POLYNOMIALS = 102


def build(family, architecture=None):
    torch.manual_seed(3)
    inputs = default_inputs(family)
    # a column of polynomials gives as many numbers
    width = POLYNOMIALS if family == "efp" else len(inputs)
    mean, scale = torch.linspace(0.1, 0.2, width), torch.linspace(0.5, 1.0, width)
    model = build_network(family, complete_architecture(family, architecture or {}), inputs, mean, scale)
    if family == "efp":
        torch.nn.init.normal_(model.linear.weight)
    return model.eval()


def random_jets(model, lengths, seed=0):
    rows = int(np.sum(lengths))
    values = np.random.default_rng(seed).normal(size=(rows, len(model.mean))).astype(np.float32)
    return Jets(values, np.asarray(lengths, dtype=np.int64))


@pytest.mark.parametrize(("family", "number"), [("dense", 57_502), ("efp", POLYNOMIALS + 1)])
def test_number_of_parameters(family, number):
    assert sum(tensor.numel() for tensor in build(family).parameters()) == number


def test_inputs_are_feature_columns():
    from lhcml.features.substructure import TAUS

    assert default_inputs("dense") == [*TAUS, "jet_mass", "jet_pt"]
    assert default_inputs("efp") == ["jet_efp"]


@pytest.mark.parametrize("family", ["dense", "efp"])
def test_written_out(family):
    model = build(family)
    jets = random_jets(model, [1] * 20)
    x = (jets.values.astype(float) - model.mean.numpy()) / model.scale.numpy()
    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear)]
    for number, layer in enumerate(layers):
        x = x @ layer.weight.detach().numpy().T.astype(float) + layer.bias.detach().numpy()
        if number < len(layers) - 1:
            x = np.maximum(x, 0)
    margin = x[:, 0] if family == "efp" else x[:, 1] - x[:, 0]
    # single precision in sums of up to 200 terms
    np.testing.assert_allclose(predict(model, PackedJets(jets)), margin, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["dense", "efp"])
def test_jets_of_any_number_of_rows(family):
    model = build(family)
    jets = random_jets(model, [1, 0, 3, 1, 0])
    scores = predict(model, PackedJets(jets))
    assert np.isfinite(scores).all()
    assert scores[1] == scores[4]
    mean = Jets(jets.values[1:4].mean(axis=0, keepdims=True), np.array([1]))
    np.testing.assert_allclose(scores[2], predict(model, PackedJets(mean))[0], rtol=1e-4, atol=1e-5)


def test_dropout_in_training_only():
    model = build("dense")
    packed = PackedJets(random_jets(model, [1] * 50))
    batch = packed.take(torch.arange(50))
    with torch.no_grad():
        assert torch.equal(model(batch), model(batch))
        model.train()
        assert not torch.equal(model(batch), model(batch))
    assert [layer.p for layer in model.modules() if isinstance(layer, torch.nn.Dropout)] == [0.2, 0.2, 0.1, 0.1]


def test_dropout_for_each_layer():
    with pytest.raises(UserError, match="2 hidden layers and 1 values of dropout"):
        build("dense", {"hidden": [10, 10], "dropout": [0.1]})


@pytest.mark.parametrize("family", ["dense", "efp"])
def test_every_parameter_learns(family):
    model = build(family).train()
    batch = PackedJets(random_jets(model, [1] * 64)).take(torch.arange(64))
    torch.nn.functional.cross_entropy(model(batch), torch.arange(64) % 2).backward()
    assert all(tensor.grad.isfinite().all() and tensor.grad.any() for tensor in model.parameters())


def two_classes(seed=0, jets=4000):
    """Gaussian classes of 600 and the rest, in ten correlated inputs of which one is constant and one there twice."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(jets) < 600).astype(np.int64)
    x = rng.normal(size=(jets, 8)) @ rng.normal(size=(8, 8)) + np.outer(labels, rng.normal(size=8))
    values = np.concatenate([x, x[:, :1], np.ones((jets, 1))], axis=1).astype(np.float32)
    return LabelledJets(Jets(values, np.ones(jets, dtype=np.int64)), labels)


def linear(train, inputs, shrinkage=1e-9):
    chosen = LabelledJets(Jets(train.jets.values[:, inputs], train.jets.lengths), train.labels)
    mean, scale = (torch.tensor(numbers) for numbers in standardisation(chosen.jets))
    model = build_network("efp", {"shrinkage": shrinkage}, ["jet_efp"], mean, scale)
    model.start(chosen)
    return predict(model, PackedJets(chosen.jets))


def test_start_is_the_linear_discriminant(monkeypatch):
    monkeypatch.setattr("lhcml.taggers.models.efp.ROWS_AT_ONCE", 1000)
    train = two_classes()
    x = train.jets.values[:, :8].astype(float)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", priors=[0.5, 0.5]).fit(x, train.labels)
    # logits of order 1 in single precision
    np.testing.assert_allclose(linear(train, slice(8)), theirs.decision_function(x), rtol=1e-4, atol=1e-4)


def test_start_with_inputs_that_say_nothing_new():
    train = two_classes()
    # what is there twice shares its weight: the same classifier
    np.testing.assert_allclose(linear(train, slice(10)), linear(train, slice(8)), rtol=1e-3, atol=1e-3)


def test_training_goes_on_from_the_start():
    train = two_classes()
    mean, scale = (torch.tensor(numbers) for numbers in standardisation(train.jets))
    settings = {
        "optimiser": "adamw", "learning_rate": 1e-3, "weight_decay": 0.0, "schedule": "cosine", "warmup": 0.1,
        "batch_size": 200, "epochs": 2, "patience": 2, "gradient_clip": 1.0, "precision": "float32",
    }  # fmt: skip
    losses = []
    for start in (False, True):
        model = build_network("efp", {"shrinkage": 1e-9}, ["jet_efp"], mean, scale)
        if start:
            model.start(train)
        losses.append(Training(model, train, two_classes(seed=0), settings, seed=1).run().best_loss)
    assert losses[1] < 0.8 * losses[0]
