"""A menu of trigger lines and what an anomaly trigger adds to it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lhcml.common.errors import UserError
from lhcml.firmware.collect_objects import input_names
from lhcml.firmware.detection import binomial_error
from lhcml.firmware.menu import jet_sum, menu_decisions, pure_contribution, takes_any

NAMES = input_names({"electrons": {"count": 2}, "muons": {"count": 3}, "jets": {"count": 4}})


def event(**objects):
    """Return the inputs of an event: `met=30, muon=[(25, 0.1)], ...`, each object as pT and eta."""
    inputs = np.zeros(len(NAMES), np.float32)
    inputs[0] = objects.pop("met", 0)
    for kind, group in objects.items():
        for rank, (pt, eta) in enumerate(group, start=1):
            inputs[NAMES.index(f"{kind}{rank}_pt")], inputs[NAMES.index(f"{kind}{rank}_eta")] = pt, eta
    return inputs


EVENTS = np.stack(
    [
        event(muon=[(22, 0)], met=10),
        event(muon=[(16, 0), (7, 1)], electron=[(20, 0)]),
        event(jet=[(200, 0), (150, 2.6), (100, -2), (30, 0)]),
        event(met=120, electron=[(35, 2)]),
        event(),
    ]
)


@pytest.mark.parametrize(
    ("line", "taken"),
    [
        ({"muon": [22]}, [1, 0, 0, 0, 0]),
        ({"muon": [15, 7]}, [0, 1, 0, 0, 0]),
        ({"muon": [7], "electron": [20]}, [0, 1, 0, 0, 0]),
        ({"jet": [150, 150]}, [0, 0, 1, 0, 0]),
        ({"met": 110}, [0, 0, 0, 1, 0]),
        # 200 + 100: the second jet is at |eta| 2.6, the fourth not above 30 GeV
        ({"ht": 300}, [0, 0, 1, 0, 0]),
        ({"ht": 301}, [0, 0, 0, 0, 0]),
        # an absent object does not pass a threshold of 0
        ({"muon": [0, 0]}, [0, 1, 0, 0, 0]),
    ],
)
def test_lines_by_hand(line, taken):
    """One line at a time."""
    decisions = menu_decisions(EVENTS, NAMES, {"line": line})
    assert decisions["line"].tolist() == [bool(one) for one in taken]


def test_menu_takes_what_any_line_takes():
    """Lines are alternatives; a menu without lines takes nothing."""
    decisions = menu_decisions(EVENTS, NAMES, {"a": {"muon": [22]}, "b": {"met": 110}})
    assert takes_any(decisions, len(EVENTS)).tolist() == [True, False, False, True, False]
    assert not takes_any({}, 3).any()


def test_jet_sum():
    """Jets above 30 GeV within 2.5."""
    np.testing.assert_allclose(jet_sum(EVENTS, NAMES), [0, 0, 300, 0, 0])


@given(st.integers(0, 200), st.integers(0, 200), st.sampled_from(["met", "ht", "jet", "muon"]), st.integers(0, 99))
def test_higher_thresholds_take_less(first, second, key, seed):
    """What the higher threshold takes, the lower one takes too."""
    inputs = np.random.default_rng(seed).exponential(40, (50, len(NAMES))).astype(np.float32)
    low, high = sorted((first, second))
    wrap = (lambda least: least) if key in ("met", "ht") else (lambda least: [least, least / 2])
    loose, tight = (menu_decisions(inputs, NAMES, {"x": {key: wrap(least)}})["x"] for least in (low, high))
    assert not np.any(tight & ~loose)


@pytest.mark.parametrize(
    ("menu", "match"),
    [
        ({"x": {"tau": [20]}}, "tau is not known"),
        ({"x": {"electron": [20, 10, 5]}}, "asks for 3 of electron, the inputs have 2"),
        ({"x": {}}, "no condition"),
    ],
)
def test_lines_that_cannot_be(menu, match):
    """Told by the name of the line."""
    with pytest.raises(UserError, match=f"menu line x.*{match}"):
        menu_decisions(EVENTS, NAMES, menu)


def test_missing_momentum_that_is_no_input():
    """Jets alone have no MET."""
    with pytest.raises(UserError, match="met is not known"):
        menu_decisions(EVENTS[:, 1:], NAMES[1:], {"x": {"met": 100}})


def test_pure_contribution_by_hand():
    """10 events: the anomaly trigger takes 4, the menu 5, both 1."""
    above = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], bool)
    menu = np.array([0, 0, 0, 1, 1, 1, 1, 1, 0, 0], bool)
    found = pure_contribution(above, menu, np.ones(10))
    assert found["anomaly"] == pytest.approx(0.4)
    assert found["menu"] == pytest.approx(0.5)
    assert found["pure"] == pytest.approx(0.3)
    assert found["pure_error"] == pytest.approx(binomial_error(0.3, 10))
    assert found["pure_of_anomaly"] == pytest.approx(0.75)
    assert found["relative"] == pytest.approx(0.6)
    # of the 8 events that either takes 3/8 are pure; d(q / (1 - q)) = dq / (1 - q)^2
    assert found["relative_error"] == pytest.approx(binomial_error(3 / 8, 8) / (5 / 8) ** 2)


def test_relative_error_is_that_of_repeated_samples():
    """The binomial formula against the spread over 2000 samples of 400 events."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(2000):
        kind = rng.choice(4, 400, p=[0.1, 0.05, 0.45, 0.4])
        found.append(pure_contribution(kind <= 1, (kind == 1) | (kind == 2), np.ones(400)))
    spread = np.std([one["relative"] for one in found])
    # 2000 samples fix the spread to 2 %; the error of one sample varies with its counts, its mean by far less
    assert np.mean([one["relative_error"] for one in found]) == pytest.approx(spread, rel=0.08)


def test_nothing_taken_has_no_shares():
    """Shares of nothing are None, not NaN."""
    none = np.zeros(3, bool)
    found = pure_contribution(none, none, np.ones(3))
    assert (found["pure"], found["pure_of_anomaly"], found["relative"], found["relative_error"]) == (
        0,
        None,
        None,
        None,
    )
