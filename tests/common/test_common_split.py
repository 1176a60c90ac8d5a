"""The split: a function of the event's identity alone, with the fractions asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lhcml.common.hashing import hash_events, mix, to_uniform
from lhcml.common.split import SPLITS, split_events

FRACTIONS = {"train": 0.4, "validation": 0.1, "test": 0.5}
N = 100_000
FROZEN = [8112600223918159332, 4941388768090179157]
FROZEN_SPLIT = [
    "test",
    "train",
    "train",
    "test",
    "validation",
    "test",
    "validation",
    "train",
    "test",
    "test",
    "test",
    "test",
]


def simulated(n=N):
    """Run 1 with a hundred events a luminosity block, as simulation has."""
    return np.ones(n, np.int64), np.arange(n) // 100 + 1, np.arange(n) + 1


@pytest.mark.parametrize("fractions", [FRACTIONS, {"train": 0.8, "validation": 0.2, "test": 0.0}])
def test_fractions(fractions):
    split = split_events(*simulated(), fractions=fractions)
    for name in SPLITS:
        p = fractions[name]
        # five standard deviations of a binomial
        assert np.mean(split == name) == pytest.approx(p, abs=5 * np.sqrt(p * (1 - p) / N))


def test_numbers_that_differ_in_one_part_only_are_independent():
    n = 20_000
    one, many = np.ones(n, np.int64), np.arange(n)
    splits = [split_events(*ids, fractions=FRACTIONS) == "test" for ids in ((many, one, one), (one, many, one),
                                                                           (one, one, many))]  # fmt: skip
    for first, second in ((0, 1), (0, 2), (1, 2)):
        # independent: both in the test part in a quarter of the cases, within five standard deviations
        both = np.mean(splits[first] & splits[second])
        assert both == pytest.approx(0.25, abs=5 * np.sqrt(0.25 * 0.75 / n))


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_stable_under_order_and_subsets(seed):
    rng = np.random.default_rng(seed)
    ids = [part[:2000] for part in simulated()]
    split = split_events(*ids, fractions=FRACTIONS)
    chosen = rng.permutation(2000)[: rng.integers(1, 2000)]
    assert (split_events(*(part[chosen] for part in ids), fractions=FRACTIONS) == split[chosen]).all()


def test_a_larger_training_part_takes_from_the_next_only():
    ids = simulated(10_000)
    before = split_events(*ids, fractions=FRACTIONS)
    after = split_events(*ids, fractions={"train": 0.45, "validation": 0.05, "test": 0.5})
    assert (after[before == "train"] == "train").all()
    assert (after[before == "test"] == "test").all()


def test_values_are_frozen():
    """A change of the hash would move events between the parts of everybody's trained models."""
    assert [int(x) for x in hash_events(np.array([1, 1]), np.array([1, 1]), np.array([1, 2]))] == FROZEN
    split = split_events(np.full(12, 1), np.full(12, 1), np.arange(12), fractions=FRACTIONS)
    assert list(split) == FROZEN_SPLIT


def test_unsigned_and_signed_identifiers_agree():
    events = np.array([2**40 + 3, 17, 2**62], dtype=np.int64)
    one = np.ones(3, np.uint32)
    assert (hash_events(one, one, events) == hash_events(one.astype(np.int64), one, events.astype(np.uint64))).all()


def test_mixing_is_one_to_one_and_uniform():
    values = mix(np.arange(N, dtype=np.uint64) + np.uint64(1))
    assert len(np.unique(values)) == N
    uniform = to_uniform(values)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    # mean and variance of a uniform number, within five standard deviations
    assert uniform.mean() == pytest.approx(0.5, abs=5 / np.sqrt(12 * N))
    assert uniform.var() == pytest.approx(1 / 12, abs=5 / np.sqrt(180 * N))


def test_fractions_that_do_not_sum_to_one_are_refused():
    with pytest.raises(ValueError, match=r"sum to 0\.9"):
        split_events(*simulated(10), fractions={"train": 0.4, "validation": 0.1, "test": 0.4})
