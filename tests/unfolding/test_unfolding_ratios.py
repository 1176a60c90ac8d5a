"""Estimates of ratios by networks and trees: their minimum, independence of replicas, weights of any sign, closure."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
import torch

from lhcml.common.errors import UserError
from lhcml.unfolding.networks import (
    Dense,
    ParticleFlow,
    Training,
    Vectors,
    dense_forward,
    dense_parameters,
    predict,
    ratio_loss,
    train,
)
from lhcml.unfolding.omnifold import Events, unfold
from lhcml.unfolding.ratios import NetworkRatios, TreeRatios, as_inputs, particle_features, standardise, vectors
from lhcml.unfolding.trees import Boosting, fit_trees, predict_trees


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Sums in one order, whatever runs beside."""
    torch.set_num_threads(1)


def generators(*seeds: int) -> list[torch.Generator]:
    """Return generators of these seeds."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_the_loss_is_that_of_two_copies_of_an_event() -> None:
    logits = torch.tensor([[0.3, -1.2]], dtype=torch.float64)
    positive, negative = torch.tensor([[2.0, 0.5]]), torch.tensor([[1.0, 3.0]])
    probability = torch.sigmoid(logits)
    by_hand = -(positive * probability.log() + negative * (1 - probability).log()).sum()
    assert ratio_loss(logits, positive, negative).item() == pytest.approx(by_hand.item(), rel=1e-12)


def test_the_loss_is_least_at_the_logarithm_of_the_ratio() -> None:
    best = torch.tensor([[np.log(3.0)]], dtype=torch.float64)
    losses = [ratio_loss(best + step, torch.tensor([[3.0]]), torch.tensor([[1.0]])).item() for step in (-0.01, 0, 0.01)]
    assert losses[1] < min(losses[0], losses[2])


def test_training_begins_at_a_ratio_of_one() -> None:
    inputs = Vectors(torch.randn(7, 3, generator=torch.Generator().manual_seed(1)))
    network = Dense((8, 8))
    assert (predict(network, inputs, network.initial(inputs, generators(1, 2))) == 0).all()


def test_a_replica_does_not_depend_on_those_beside_it() -> None:
    rng = np.random.default_rng(3)
    inputs = Vectors(torch.from_numpy(rng.normal(size=(400, 2)).astype(np.float32)))
    positive, negative = (torch.from_numpy(rng.uniform(0, 1, (400, 2)).astype(np.float32)) for _ in range(2))
    network, settings = Dense((16,)), Training(batch_size=100)
    rows = torch.arange(400)

    def trained(columns: list[int]) -> np.ndarray:
        start = network.initial(inputs, generators(*(7 + column for column in columns)))
        parameters, _ = train(
            network, inputs, rows, positive[:, columns], negative[:, columns], start, settings, 3, *generators(5)
        )
        return predict(network, inputs, parameters)

    together = trained([0, 1])
    # products of matrices of one replica or two may be summed in another order
    np.testing.assert_allclose(together[0], trained([0])[0], atol=2e-5)
    np.testing.assert_allclose(together[1], trained([1])[0], atol=2e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-2


def test_members_share_the_weights_of_their_replica() -> None:
    rng = np.random.default_rng(4)
    inputs = Vectors(torch.from_numpy(rng.normal(size=(300, 1)).astype(np.float32)))
    positive, negative = (torch.from_numpy(rng.uniform(0, 1, (300, 2)).astype(np.float32)) for _ in range(2))
    network, settings, rows = Dense((8,)), Training(batch_size=100), torch.arange(300)
    start = network.initial(inputs, generators(1, 2, 3, 4))
    four, losses = train(network, inputs, rows, positive, negative, start, settings, 2, *generators(5))
    doubled = [side[:, [0, 0, 1, 1]] for side in (positive, negative)]
    same, _ = train(network, inputs, rows, *doubled, start, settings, 2, *generators(5))
    assert losses[-1].shape == (4,)
    np.testing.assert_allclose(predict(network, inputs, four), predict(network, inputs, same), atol=1e-6)


def test_a_nan_loss_stops_and_names_the_replica() -> None:
    inputs = Vectors(torch.zeros(10, 1))
    network = Dense((4,))
    positive = torch.ones(10, 2) / 2
    positive[0, 1] = torch.nan
    with pytest.raises(UserError, match=r"replicas \[1\] is NaN"):
        train(
            network, inputs, torch.arange(10), positive, torch.ones(10, 2) / 2,
            network.initial(inputs, generators(1, 2)), Training(), 1, *generators(1),
        )  # fmt: skip


def gaussians(number: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x of two Gaussians of means -0.5 and 0.5, and which side each event is of: ln of their ratio is x."""
    rng = np.random.default_rng(seed)
    side = np.repeat([0.0, 1.0], number)
    return np.concatenate([rng.normal(-0.5, 1, number), rng.normal(0.5, 1, number)]), side, 1 - side


@pytest.mark.parametrize("kind", ["networks", "trees"])
@pytest.mark.parametrize("signs", ["positive", "both"])
def test_the_ratio_of_two_gaussians(kind: str, signs: str) -> None:
    x, positive, negative = gaussians(20_000, 5)
    if signs == "both":
        # a fifth of the events count -1: the densities are as before with 3/5 of the weight, noisier
        sign = np.where(np.random.default_rng(6).random(len(x)) < 0.2, -1.0, 1.0)
        positive, negative = positive * sign, negative * sign
    positive, negative = positive * (0.5 / positive.mean()), negative * (0.5 / negative.mean())
    values = x[:, None].astype(np.float32)
    grid = np.linspace(-1.5, 1.5, 61, dtype=np.float32)[:, None]
    if kind == "trees":
        booster = fit_trees(values, positive, negative, Boosting(), 1, 1)
        found = predict_trees(booster, grid, 1)
    else:
        network, inputs = Dense((32, 32)), Vectors(torch.from_numpy(values))
        weights = [torch.from_numpy(side[:, None].astype(np.float32)) for side in (positive, negative)]
        parameters, _ = train(
            network, inputs, torch.arange(len(x)), *weights, network.initial(inputs, generators(1)), Training(), 4,
            *generators(2),
        )  # fmt: skip
        found = predict(network, Vectors(torch.from_numpy(grid)), parameters)[0]
    # 20,000 events a side: bins of 0.3 hold at least 800 events, so 5 % each; with mixed signs, 8 %
    assert np.sqrt(np.mean((found - grid[:, 0]) ** 2)) < (0.08 if signs == "positive" else 0.13)


def gaussian_events(number: int, efficient: bool) -> tuple[Events, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return events of the closure on Gaussians: gen N(0, 1), truth N(0.2, 0.8), smeared by 0.5."""
    rng = np.random.default_rng(8)
    gen, truth = rng.normal(0, 1, number), rng.normal(0.2, 0.8, number)
    reco, data = (x + rng.normal(0, 0.5, number) for x in (gen, truth))
    kept, seen = (rng.random(number) < (1 / (1 + np.exp(-2 * (x + 1.5))) if efficient else 1.0) for x in (gen, truth))
    events = Events(
        np.ones(number, bool), kept, np.zeros(number, bool), np.ones((1, number)), np.ones((1, int(seen.sum())))
    )
    return events, gen, reco[kept], data[seen], truth


@pytest.mark.parametrize("kind", ["networks", "trees"])
@pytest.mark.parametrize("efficient", [False, True])
def test_closure_on_gaussians(kind: str, efficient: bool) -> None:
    events, gen, reco, data, truth = gaussian_events(20_000, efficient)
    detector, particle = vectors([np.concatenate([reco, data])]), vectors([gen])
    if kind == "trees":
        ratios: NetworkRatios | TreeRatios = TreeRatios(
            detector, particle, events.pass_reco, Boosting(min_child_weight=20), 1, [1], 1
        )
    else:
        ratios = NetworkRatios(
            Dense((32, 32)), as_inputs(detector), as_inputs(particle), events.pass_reco, Training(6, 4), 1, [1], True
        )
    push = unfold(events, ratios, 4).push[0]
    mean = np.average(gen, weights=push)
    width = np.sqrt(np.average((gen - mean) ** 2, weights=push))
    # before: 0 and 1. Statistics: 0.01 and 0.007 each from data and simulation; four iterations leave 0.01 of the width
    assert mean == pytest.approx(truth.mean(), abs=0.03)
    assert width == pytest.approx(truth.std(), abs=0.03)
    # the number of events comes out too, missed ones included: 1 % of statistics, 1 % of the shape where none is seen
    assert push.sum() == pytest.approx(len(truth), rel=0.03)


def test_particles_of_an_event_in_any_order_give_one_logit() -> None:
    rng = np.random.default_rng(9)
    counts = np.array([3, 0, 5, 1])
    values = [rng.uniform(1, 10, 9), rng.normal(size=9), rng.normal(size=9), rng.choice([211, 22, 130], 9)]
    order = np.array([2, 0, 1, 7, 3, 5, 4, 6, 8])
    network = ParticleFlow((8, 8), (8,))
    lists = [ak.unflatten(column, counts) for column in values]
    shuffled = [ak.unflatten(column[order], counts) for column in values]
    inputs, other = particle_features(*lists), particle_features(*shuffled)
    parameters = network.initial(inputs, generators(1, 2))
    # the last layer starts at zero: give it values
    parameters[-2] = torch.randn(parameters[-2].shape, generator=torch.Generator().manual_seed(3))
    logits = predict(network, inputs, parameters)
    assert logits.shape == (2, 4)
    np.testing.assert_allclose(logits, predict(network, other, parameters), atol=1e-5)
    # each event by itself
    for event in range(4):
        alone = network.forward(parameters, *inputs.take(torch.tensor([event])))
        np.testing.assert_allclose(alone[:, 0].numpy(), logits[:, event], atol=1e-5)
    # an event without particles is F(0)
    empty = dense_forward(parameters[4:], torch.zeros(1, 8))
    np.testing.assert_allclose(logits[:, 1], empty[:, 0, 0].numpy(), atol=1e-6)


def test_standardised_columns() -> None:
    found = standardise(np.array([[1.0, 5.0], [3.0, 5.0]]))
    np.testing.assert_array_equal(found, [[-1, 0], [1, 0]])


def test_parameters_of_a_replica_come_from_its_generator() -> None:
    pair = dense_parameters((2, 4, 1), generators(1, 2), flat_start=False)
    alone = dense_parameters((2, 4, 1), generators(2), flat_start=False)
    for both, one in zip(pair, alone, strict=True):
        assert torch.equal(both[1:], one)
