"""Figures of merit of a trigger: ROC curve, AUC, working points, effective numbers, rates."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from lhcml.common.errors import UserError
from lhcml.firmware.detection import (
    auc_spread,
    binomial_error,
    counts_above,
    effective_above,
    effective_number,
    events_needed,
    join_samples,
    make_sample,
    roc_curve,
    sums_above,
    wilson_interval,
    working_point,
)
from lhcml.firmware.rates import crossing_rate, events_a_month, rate_of

# few distinct values, so that ties are frequent as in quantised scores
SCORES = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=30)


def samples(signal, background, signal_weights=None, background_weights=None):
    """Return signal, background and their curve."""
    one, zero = make_sample(signal, signal_weights, "signal"), make_sample(background, background_weights, "background")
    return one, zero, roc_curve(one, zero)


def test_curve_by_hand():
    """Four events a class, one tie: vertices where thresholds are scores."""
    *_, roc = samples([4, 3, 2, 1], [3, 1, 0, 0], [1, 1, 1, 1], [2, 1, 1, 1])
    assert roc.threshold.tolist() == [math.inf, 4, 3, 2, 1, 0]
    np.testing.assert_allclose(roc.tpr, [0, 0.25, 0.5, 0.75, 1, 1])
    np.testing.assert_allclose(roc.fpr, [0, 0, 0.4, 0.4, 0.6, 1])
    # pairs won by each signal event, ties half, over the background of weight 5: 5, 3 + 1, 3, 2 + 0.5
    assert roc.auc() == pytest.approx((5 + 4 + 3 + 2.5) / 20)


@given(SCORES, SCORES)
def test_auc_is_the_rank_statistic(signal, background):
    """Mann and Whitney's U over the number of pairs, ties counted half."""
    *_, roc = samples(signal, background)
    pairs = len(signal) * len(background)
    # sums of at most 900 halves are exact to rounding
    assert roc.auc() == pytest.approx(mannwhitneyu(signal, background).statistic / pairs, abs=1e-12)


@given(SCORES, SCORES, st.randoms(use_true_random=False))
def test_weighted_auc_is_the_double_sum(signal, background, random):
    """By definition: sum of products of weights of pairs in the right order."""
    w, v = ([random.uniform(0.1, 3) for _ in group] for group in (signal, background))
    *_, roc = samples(signal, background, w, v)
    won = sum(
        a * b * ((s > t) + 0.5 * (s == t))
        for s, a in zip(signal, w, strict=True)
        for t, b in zip(background, v, strict=True)
    )
    assert roc.auc() == pytest.approx(won / (sum(w) * sum(v)), abs=1e-12)


@given(SCORES, SCORES, st.randoms(use_true_random=False))
def test_curve_does_not_depend_on_scale_or_order(signal, background, random):
    """A growing function of the score, another order of the events, all weights 1: the same curve."""
    *_, roc = samples(signal, background)
    shuffled = random.sample(signal, len(signal))
    one = np.exp(np.asarray(shuffled))
    *_, other = samples(one, np.exp(background), np.ones(len(signal)), np.ones(len(background)))
    np.testing.assert_allclose(other.tpr, roc.tpr, atol=1e-12)
    np.testing.assert_allclose(other.fpr, roc.fpr, atol=1e-12)


@given(SCORES, SCORES, st.floats(0.01, 1), st.floats(0.01, 1))
def test_efficiency_grows_with_the_budget(signal, background, first, second):
    """A looser budget never takes less signal, and no budget is exceeded."""
    *_, roc = samples(signal, background)
    low, high = (roc.vertex(fpr) for fpr in sorted((first, second)))
    assert roc.tpr[low] <= roc.tpr[high]
    assert roc.fpr[high] <= max(first, second) * (1 + 1e-9)


def test_budget_is_met_exactly_where_it_can_be():
    """0.1 of 1000 equal weights of 0.1 is 100 events, whatever cumulative sums round to."""
    one, zero, roc = samples([2000.0], np.arange(1000.0), None, np.full(1000, 0.1))
    point = working_point(one, zero, roc, 0.1)
    assert (point.events_above, point.threshold) == (100, 900.0)
    assert point.effective_above == pytest.approx(100)
    assert point.threshold_error == pytest.approx(0.1)
    assert point.needed == {"100": pytest.approx(10), "30": pytest.approx(111.1, abs=0.1), "10": pytest.approx(1000)}


def test_working_point_by_hand():
    """16 of 1600 background events fix the threshold to a quarter: with 12 to 20 come 40 to 60 signal events."""
    background = np.arange(1600.0)
    signal = np.concatenate([np.full(40, 5000.0), np.full(10, 1582.5), np.full(10, 1579.5), np.zeros(40)])
    one, zero, roc = samples(signal, background)
    point = working_point(one, zero, roc, 0.01)
    # the 16 highest background events are 1584 ... 1599: below them only the next one would let signal in
    assert point.events_above == 16
    assert point.threshold_error == pytest.approx(0.25)
    assert point.tpr == pytest.approx(0.4)
    # with 20 the threshold may be anywhere above 1579, and is set where it takes the most signal
    assert point.tpr_threshold == pytest.approx(0.5 * (0.6 - 0.4))
    assert point.tpr_statistical == pytest.approx(binomial_error(0.4, 100))
    assert point.gain == pytest.approx(40)
    assert point.gain_error == pytest.approx(40 * math.hypot(point.tpr_statistical / 0.4, 0.25))


def test_too_few_background_events_give_no_efficiency():
    """An FPR of 1e-5 cannot be had from 1000 events: none is left above, and 1e5 are needed."""
    one, zero, roc = samples([1.0, 2.0], np.linspace(0, 1.5, 1000))
    point = working_point(one, zero, roc, 1e-5)
    assert (point.tpr, point.threshold, point.gain) == (None, None, None)
    assert point.needed["100"] == pytest.approx(1e5)
    assert "1000 events of background stands for a rate of 0.001; many more than 1e+05" in point.reason


def test_saturated_scores_give_no_efficiency():
    """A quantised score at its ceiling for too many events: the reason is the score, not the sample."""
    one, zero, roc = samples([31.0] * 10, [31.0] * 50 + [0.0] * 950)
    assert "50 background events share the highest score" in working_point(one, zero, roc, 0.01).reason
    assert working_point(one, zero, roc, 0.05).tpr == 1


def test_a_process_of_few_heavy_events_limits_the_threshold():
    """Two events for half of the background: a thousand light ones do not tell what is above."""
    light, heavy = make_sample(np.arange(1000.0), np.full(1000, 0.001), "w"), make_sample([1.0, 2.0], [0.5, 0.5], "qcd")
    background, signal = join_samples([light, heavy]), make_sample([999.0] * 5, None, "signal")
    point = working_point(signal, background, roc_curve(signal, background), 0.01)
    assert point.events_above == 20
    # 0.02 above; variance 20 * 0.001^2 of the light ones and one event of 0.5 of the heavy ones
    assert point.effective_above == pytest.approx(0.02**2 / (20e-6 + 0.25))
    assert "2 events of qcd stands for a rate of 0.25; many more than 50 of them are needed" in point.reason


def test_counts_above_by_hand():
    """Sums and variances of each process; without an event above, the mean square of the weights."""
    one, two = make_sample([1, 2, 3], [1, 2, 4], "a"), make_sample([0, 1], [3, 1], "b")
    sums, variances = counts_above(join_samples([one, two]), [4, 2, 1, 0])
    np.testing.assert_allclose(sums, [[0, 6, 7, 7], [0, 0, 1, 4]])
    np.testing.assert_allclose(variances, [[7, 20, 21, 21], [5, 5, 1, 10]])
    np.testing.assert_allclose(sums_above(join_samples([one, two]), [2])[1], [5.0])
    np.testing.assert_allclose(effective_above(one, [2]), [36 / 20])


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=20))
def test_effective_number_is_at_most_the_number(weights):
    """Equal to it for equal weights."""
    number = effective_number(np.asarray(weights))
    assert 1 - 1e-9 <= number <= len(weights) * (1 + 1e-9)
    assert effective_number(np.full(7, weights[0])) == pytest.approx(7)
    assert effective_number(np.zeros(0)) == 0


def test_wilson_interval_by_hand():
    """At z = 1: (p + 1/2n -+ sqrt(p q / n + 1/4n^2)) / (1 + 1/n); not empty at 0 and 1."""
    assert wilson_interval(0.5, 4) == (pytest.approx(0.5 - math.sqrt(0.05)), pytest.approx(0.5 + math.sqrt(0.05)))
    assert wilson_interval(0.0, 9) == (0.0, pytest.approx(0.1))
    assert wilson_interval(1.0, 9) == (pytest.approx(0.9), 1.0)
    assert wilson_interval(0.3, 0) == (0.0, 1.0)
    # of large samples it is the normal one
    assert binomial_error(0.2, 1e6) == pytest.approx(math.sqrt(0.16 / 1e6), rel=1e-4)


@settings(deadline=None, max_examples=5)
@given(st.integers(0, 100))
def test_spread_of_the_auc_is_that_of_repeated_samples(seed):
    """The bootstrap of one sample against the spread over 200 samples of the same Gaussians."""
    rng = np.random.default_rng(seed)
    draws = [samples(rng.normal(1, 1, 200), rng.normal(0, 1, 300)) for _ in range(200)]
    spread = np.std([roc.auc() for *_, roc in draws])
    # 200 replicas fix a standard deviation to 5 %, so do 200 samples; one sample's own spread varies by some 10 %
    assert auc_spread(draws[0][0], draws[0][1], 200, seed + 1) == pytest.approx(spread, rel=0.35)


def test_spread_is_repeatable_and_needs_replicas():
    """The same seed, the same figure; one replica has no spread."""
    one, zero, _ = samples([1, 2, 3, 3], [0, 2, 3, 1])
    assert auc_spread(one, zero, 50, 3) == auc_spread(one, zero, 50, 3) != auc_spread(one, zero, 50, 4)
    assert auc_spread(one, zero, 1, 3) is None


def test_spread_keeps_cross_sections():
    """Two processes, each of equal scores: their shares are known, so the AUC does not fluctuate."""
    background = join_samples([make_sample([0.0] * 5, None, "low"), make_sample([2.0] * 5, None, "high")])
    assert auc_spread(make_sample([1.0] * 4, None, "signal"), background, 20, 1) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("scores", "weights", "match"),
    [
        ([], None, "no event of x"),
        ([1.0, math.nan], None, "1 of 2 scores of x are NaN"),
        ([1.0, 2.0], [1.0], "shapes"),
        ([1.0, 2.0], [1.0, -1.0], "negative"),
        ([1.0], [0.0], "all 0"),
        ([1.0], [math.inf], "infinite"),
    ],
)
def test_bad_samples_are_refused(scores, weights, match):
    """With what is wrong with them."""
    with pytest.raises(UserError, match=match):
        make_sample(scores, weights, "x")


def test_events_needed():
    """1/(FPR rel^2): 1e5 for 1e-5, a hundred times more for 10 %."""
    needed = events_needed(1e-5)
    assert (needed["100"], needed["10"]) == (pytest.approx(1e5), pytest.approx(1e7))
    assert needed["30"] == pytest.approx(1e5 / 0.09)


def test_rates_by_hand():
    """1 nb at 2e34 is 20 Hz; 2760 bunches cross 31 million times a second; a month of 1 pb at 1e34, half the time."""
    assert float(rate_of(1000.0, 2e34)) == pytest.approx(20.0)
    assert crossing_rate(2760) == pytest.approx(31.04e6, rel=1e-3)
    # 1 pb at 1e34 is 0.01 Hz; 30 days are 2.592e6 s
    assert events_a_month(1.0, 0.25, 1e34, 0.5) == pytest.approx(0.01 * 0.25 * 1.296e6)


@pytest.mark.parametrize("bunches", [0, 3565])
def test_impossible_filling_schemes(bunches):
    """The LHC has 3564 slots."""
    with pytest.raises(UserError, match="1 to 3564"):
        crossing_rate(bunches)


@given(st.floats(1e-9, 1e9))
def test_one_event_is_one_event(weight):
    """Whatever its weight rounds to when squared: an FPR of 1 is known to 100 %."""
    one, zero, roc = samples([2.0, 0.0], [1.0], None, [weight])
    point = working_point(one, zero, roc, 1.0)
    assert (point.tpr, point.events_above) == (1.0, 1)
    assert point.threshold_error == pytest.approx(1)


def test_threshold_uncertainty_is_that_of_repeated_backgrounds():
    """The spread of the TPR over 300 backgrounds of 2000 events, 40 of them above; the signal is large and the same."""
    rng = np.random.default_rng(11)
    signal = make_sample(rng.normal(2, 1, 20000), None, "signal")
    points = []
    for _ in range(300):
        background = make_sample(rng.normal(0, 1, 2000), None, "background")
        points.append(working_point(signal, background, roc_curve(signal, background), 0.02))
    spread = np.std([point.tpr for point in points])
    # 300 samples fix the spread to 4 %; a change by 1/sqrt(40) is not small, the efficiency not straight in it
    assert np.mean([point.tpr_threshold for point in points]) == pytest.approx(spread, rel=0.15)


def test_error_of_a_mixture_is_that_of_repeated_samples():
    """Light and heavy events: the error of the sum above against its spread, mean number of heavy events above 3."""
    rng = np.random.default_rng(12)
    sums, errors = [], []
    for _ in range(1500):
        light, heavy = (rng.normal(0, 1, rng.poisson(size)) for size in (3000, 130))
        background = join_samples(
            [make_sample(light, np.full(len(light), 0.1), "w"), make_sample(heavy, np.full(len(heavy), 5.0), "qcd")]
        )
        found = sums_above(background, [2.0])
        sums.append(found[0][0])
        errors.append(found[1][0])
    # in quadrature: 5 % of the samples have no heavy event above, and count one, which adds 2 % to a variance of 3
    assert math.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(sums), rel=0.08)
