"""Iterations of OmniFold: equal to iterative Bayesian unfolding where ratios are those of bins, and its checks."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lhcml.common.errors import UserError
from lhcml.unfolding.binned import fill_response, response_cells, unfold_bayes
from lhcml.unfolding.metrics import effective_sample_size
from lhcml.unfolding.omnifold import Events, calibrate, unfold

BINS = 5


@dataclass
class Toy:
    """Simulated and data events whose observables are whole numbers, the bins."""

    gen: NDArray[Any]
    reco: NDArray[Any]
    events: Events
    data: NDArray[Any]


@dataclass
class BinRatios:
    """Ratios of the sums of weights in each bin: what a classifier of infinite capacity learns."""

    reco: NDArray[Any]
    data: NDArray[Any]
    gen: NDArray[Any]
    both: NDArray[Any]

    def ratio(self, bins: NDArray[Any], positive: Any, negative: Any) -> Any:
        """Return ln(sum of positive / sum of negative) of each bin, shape (replicas, bins)."""
        sums = [np.array([np.bincount(bins, row, BINS) for row in side]) for side in (positive, negative)]
        return np.log(sums[0] / sums[1])

    def step1(self, iteration: int, positive: Any, negative: Any) -> Any:
        """Detector level."""
        bins = np.concatenate([self.reco, self.data])
        return self.ratio(bins, positive, negative)[:, bins], np.ones(len(positive))

    def step2(self, iteration: int, positive: Any, negative: Any) -> Any:
        """Particle level."""
        return self.ratio(self.gen[self.both], positive, negative)[:, self.gen], np.ones(len(positive))


def make_toy(replicas: int = 2, fakes: bool = True, background: bool = True, misses: bool = True) -> Toy:
    """Return events that migrate by one bin, with misses that depend on the bin, fakes and background."""
    rng = np.random.default_rng(11)
    number, measured = 6000, 5000
    gen = rng.choice(BINS, number, p=[0.1, 0.2, 0.3, 0.25, 0.15])
    reco = np.clip(gen + rng.choice([-1, 0, 1], number, p=[0.2, 0.6, 0.2]), 0, BINS - 1)
    other = (rng.random(number) < 0.1) & background
    pass_gen = ~other & (~(rng.random(number) < 0.1) if fakes else np.ones(number, bool))
    seen = rng.random(number) < (0.5 + 0.1 * gen) if misses else np.ones(number, bool)
    pass_reco = seen | ~pass_gen
    weights = rng.uniform(0.5, 1.5, (replicas, number))
    data = rng.choice(BINS, measured, p=[0.25, 0.25, 0.2, 0.2, 0.1])
    data_weights = rng.poisson(1.0, (replicas, measured)).astype(float)
    return Toy(gen, reco, Events(pass_gen, pass_reco, other, weights, data_weights), data)


def ratios_of(toy: Toy) -> BinRatios:
    """Return the estimates for a toy."""
    events = toy.events
    gen = events.pass_gen
    return BinRatios(toy.reco[events.pass_reco], toy.data, toy.gen[gen], events.pass_reco[gen])


@pytest.mark.parametrize("fakes", [False, True])
@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("misses", [False, True])
def test_with_ratios_of_bins_it_is_iterative_bayesian_unfolding(fakes: bool, background: bool, misses: bool) -> None:
    toy = make_toy(fakes=fakes, background=background, misses=misses)
    events = toy.events
    result = unfold(events, ratios_of(toy), 5)
    gen = toy.gen[events.pass_gen]
    spectra = np.array([np.bincount(gen, row, BINS) for row in events.prior[:, events.pass_gen] * result.push])

    cells = response_cells(toy.gen, toy.reco, events.pass_gen, events.pass_reco, events.background, BINS)
    measured = np.array([np.bincount(toy.data, row, BINS) for row in events.data])
    expected = unfold_bayes(measured, fill_response(cells, events.prior, BINS), 5)
    # ratios of bins lead to the sums of the data by themselves
    assert np.allclose([row["normalisation_drift_step1"] for row in result.history], 1, atol=1e-12)
    np.testing.assert_allclose(spectra, expected, rtol=1e-10)


def test_a_miss_gets_the_mean_weight_of_events_like_it() -> None:
    # two particle-level bins; the second is seen half of the time. Data: 30 and 10 where 20 and 10 are expected, so the
    # weights are 1.5 and 1, and a missed event of bin 1 must get 1, not the mean of all
    gen = np.repeat([0, 1, 1], [20, 10, 10])
    seen = np.repeat([True, True, False], [20, 10, 10])
    events = Events(np.ones(40, bool), seen, np.zeros(40, bool), np.ones((1, 40)), np.ones((1, 40)))
    data = np.repeat([0, 1], [30, 10])
    result = unfold(events, BinRatios2(gen[seen], data, gen, seen), 3)
    np.testing.assert_allclose(result.push[0, gen == 0], 1.5)
    np.testing.assert_allclose(result.push[0, gen == 1], 1.0)


class BinRatios2(BinRatios):
    """The same with two bins."""

    def ratio(self, bins: NDArray[Any], positive: Any, negative: Any) -> Any:
        """Return the logarithms of the two bins."""
        sums = [np.array([np.bincount(bins, row, 2) for row in side]) for side in (positive, negative)]
        return np.log(sums[0] / sums[1])


def test_data_equal_to_the_simulation_change_nothing() -> None:
    toy = make_toy(fakes=False, background=False, misses=False)
    events = dataclasses.replace(toy.events, data=toy.events.prior)
    ratios = dataclasses.replace(ratios_of(toy), data=toy.reco)
    np.testing.assert_allclose(unfold(events, ratios, 3).push, 1.0, rtol=1e-12)


def test_the_history_tells_the_figures_of_each_iteration() -> None:
    toy = make_toy()
    result = unfold(toy.events, ratios_of(toy), 3)
    assert len(result.history) == 3
    last = result.history[-1]
    gen = toy.events.pass_gen
    prior = toy.events.prior[:, gen]
    np.testing.assert_allclose(
        last["effective_share"], effective_sample_size(prior * result.push) / effective_sample_size(prior), rtol=1e-12
    )
    mean = (prior * result.push).sum(1) / prior.sum(1)
    np.testing.assert_allclose(last["largest_weight"], result.push.max(1) / mean, rtol=1e-12)
    # it converges: each change is smaller than the one before
    changes = np.array([row["change"] for row in result.history])
    assert (np.diff(changes, axis=0) < 0).all()


def test_it_ends_when_told() -> None:
    toy = make_toy()
    result = unfold(toy.events, ratios_of(toy), 10, after=lambda result: len(result.history) == 2)
    assert len(result.history) == 2


def test_effective_size_by_hand() -> None:
    # (1 + 3)^2 / (1 + 9)
    assert effective_sample_size(np.array([1.0, 3.0])) == pytest.approx(1.6)


def test_calibration_by_hand() -> None:
    logarithm = np.log([0.5, 0.5, 2.0, 2.0])
    found = calibrate(logarithm, np.array([0.0, 1.0, 3.0, 1.0]), np.array([1.0, 1.0, 1.0, 1.0]), bins=2)
    assert found == [[pytest.approx(0.5), pytest.approx(0.5)], [pytest.approx(2.0), pytest.approx(2.0)]]


class Broken(BinRatios):
    """Ratios that fail in one way."""

    value = 0.0

    def step2(self, iteration: int, positive: Any, negative: Any) -> Any:
        """Return one wild event, or NaN."""
        logarithm, loss = super().step2(iteration, positive, negative)
        logarithm = logarithm.copy()
        logarithm[0, 0] = self.value
        return logarithm, loss


def broken(toy: Toy, value: float) -> Broken:
    """Return estimates of which one is `value`."""
    ratios = ratios_of(toy)
    made = Broken(ratios.reco, ratios.data, ratios.gen, ratios.both)
    made.value = value
    return made


def test_nan_weights_stop_with_the_cause() -> None:
    toy = make_toy()
    with pytest.raises(UserError, match=r"iteration 1 gave .* NaN or infinite"):
        unfold(toy.events, broken(toy, np.nan), 2)


def test_collapsing_weights_stop_with_the_cause() -> None:
    toy = make_toy()
    with pytest.raises(UserError, match=r"collapsed in iteration 1: .* \(replica 0\)"):
        unfold(toy.events, broken(toy, 100.0), 2, largest_ratio=1e9)


def test_wild_ratios_are_clipped_and_counted() -> None:
    toy = make_toy()
    result = unfold(toy.events, broken(toy, 100.0), 1, largest_ratio=10.0)
    events = toy.events.pass_gen.sum()
    assert result.history[0]["clipped_step2"] == [1 / events, 0.0]
    mean = (toy.events.prior[:, toy.events.pass_gen] * result.push).sum(1) / toy.events.prior[
        :, toy.events.pass_gen
    ].sum(1)
    # the bound is on the ratio, before what the normalisation multiplies all weights by
    assert result.push[0].max() / mean[0] < 20


@pytest.mark.parametrize("what", ["the data", "both levels"])
def test_nothing_to_unfold_is_an_error(what: str) -> None:
    toy = make_toy()
    if what == "the data":
        events = dataclasses.replace(toy.events, data=np.zeros_like(toy.events.data))
    else:
        events = dataclasses.replace(toy.events, pass_gen=~toy.events.pass_reco)
    with pytest.raises(UserError, match=f"the sum of weights of .*{what}"):
        unfold(events, ratios_of(toy), 1)
