"""Working point, templates and pseudo-data on hand-made jets."""

from __future__ import annotations

import numpy as np
import pytest

from lhcml.common.errors import UserError
from lhcml.inference.read_rows import Rows
from lhcml.inference.templates import (
    accept_events,
    fill_template,
    in_region,
    largest_luminosity,
    score_threshold,
    split_scale,
)


def jets(score=(), observable=None, split=None, weight=None, event=None) -> Rows:
    size = len(score)
    mass = np.array(observable if observable is not None else np.zeros(size), float)
    return Rows(
        columns={"jet_mass": mass, "score": np.array(score, float)},
        weights={"nominal": np.array(weight if weight is not None else np.ones(size), float)},
        event=np.array(event if event is not None else np.arange(size)),
        split=np.array(split if split is not None else ["test"] * size),
    )


def test_threshold_keeps_the_share_asked_for_on_validation_jets_only():
    score = np.arange(100) / 100
    both = jets(np.concatenate([score, np.zeros(50)]), split=["validation"] * 100 + ["test"] * 50)
    threshold = score_threshold([both], [1.0], 0.3)
    # of 0.00 ... 0.99, the highest 30 are 0.70 ... 0.99
    assert threshold == 0.70
    assert (score >= threshold).mean() == 0.3


def test_threshold_weighs_jets_and_datasets():
    # one dataset counts three times as much: 20 jets at 0.9 hold 60 % of the weight
    high = jets([0.9] * 20, split=["validation"] * 20)
    low = jets([0.2] * 40, split=["validation"] * 40)
    assert score_threshold([high, low], [3.0, 1.0], 0.5) == 0.9
    assert score_threshold([high, low], [3.0, 1.0], 0.7) == 0.2


def test_too_few_validation_jets():
    with pytest.raises(UserError, match="3 signal jets in the validation split"):
        score_threshold([jets([0.1, 0.2, 0.3], split=["validation"] * 3)], [1.0], 0.5)


def test_split_scale_is_the_ratio_of_weights():
    some = jets([0] * 4, split=["test", "train", "test", "validation"], weight=[1, 2, 3, 4])
    assert split_scale(some, "test", "top") == pytest.approx(10 / 4)
    assert split_scale(some, "all", "top") == 1
    with pytest.raises(UserError, match="top: no jets in split 'test'"):
        split_scale(jets([0.5], split=["train"]), "test", "top")


def test_template_by_hand():
    some = jets([0.9, 0.8, 0.1, 0.95, 0.7], observable=[100, 150, 150, 200, 400], weight=[1, 2, 4, 8, 16])
    use = in_region(some, {"tagged": True}, 0.7)
    assert use.tolist() == [True, True, False, True, True]
    template = fill_template(some, use, "jet_mass", [50, 120, 200], "nominal", 0.5)
    # 100 in the first bin; 150 and, at the last edge, 200 in the second; 400 outside
    assert template.events.tolist() == [0.5, 5.0]
    assert template.variance.tolist() == [0.25, 17.0]
    assert template.raw.tolist() == [1, 2]
    total = template + template
    assert total.variance.tolist() == [0.5, 34.0]
    assert in_region(some, {"tagged": False}, 0.7).tolist() == [False, False, True, False, False]


def test_pseudo_data_are_unbiased_and_fluctuate_as_they_should():
    # weights 1 and 3 in two bins; factor * luminosity * 1000 = 0.2: probabilities 0.2 and 0.6
    size = 3000
    some = jets(np.zeros(2 * size), observable=[1] * size + [3] * size, weight=[1] * size + [3] * size)
    counts = []
    for seed in range(300):
        use = accept_events(some, 1e-4, 2.0, np.random.default_rng(seed), "x")
        counts.append(np.bincount(some.columns["jet_mass"][use].astype(int), minlength=4)[[1, 3]])
    mean, variance = np.mean(counts, axis=0), np.var(counts, axis=0)
    expected = np.array([0.2, 0.6]) * size
    binomial = expected * (1 - np.array([0.2, 0.6]))
    # 300 draws: means to 5 standard errors, variances (relative error sqrt(2 / 300) = 8 %) to 4
    np.testing.assert_array_less(np.abs(mean - expected), 5 * np.sqrt(binomial / 300))
    np.testing.assert_allclose(variance, binomial, rtol=0.33)


def test_pseudo_data_are_the_same_with_the_same_seed():
    some = jets(np.zeros(500))
    draws = [accept_events(some, 1e-4, 5.0, np.random.default_rng(seed), "x") for seed in (7, 7, 8)]
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


def test_jets_of_an_event_are_kept_or_dropped_together():
    some = jets(np.zeros(1000), event=np.repeat(np.arange(500), 2))
    use = accept_events(some, 1e-4, 5.0, np.random.default_rng(1), "x").reshape(500, 2)
    assert 0 < use.sum() < 1000
    assert np.array_equal(use[:, 0], use[:, 1])


def test_luminosity_beyond_the_sample_is_an_error_that_names_the_largest():
    # 100 events of 0.05 pb each: 20 /pb = 0.02 /fb
    some = jets(np.zeros(100))
    assert largest_luminosity(some, 0.05) == pytest.approx(0.02)
    assert accept_events(some, 0.05, 0.02, np.random.default_rng(1), "qcd").all()
    with pytest.raises(UserError, match=r"pseudo-data from qcd: .* too small for 0.05/fb .*needed 2.5 times") as caught:
        accept_events(some, 0.05, 0.05, np.random.default_rng(1), "qcd")
    assert "to 0.02 or less" in caught.value.fix
    assert "2.5 times more events" in caught.value.fix


def test_negative_weights_cannot_be_drawn():
    with pytest.raises(UserError, match="2 jets have negative weights"):
        accept_events(jets([0, 0, 0], weight=[1, -1, -1]), 1e-4, 1.0, np.random.default_rng(1), "x")


def test_no_jets_give_no_pseudo_data():
    assert len(accept_events(jets(), 1.0, 1.0, np.random.default_rng(1), "x")) == 0
