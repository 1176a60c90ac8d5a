"""Blinded regions: their data have no influence, and the rest of the likelihood stays what it is."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
from inference_models import EVERY_MODIFIER, build, workspace

from lhcml.common.errors import UserError
from lhcml.inference.blind import blinded_problem, keep_channels
from lhcml.inference.minimise import minimise
from lhcml.inference.read_workspace import make_problem


@pytest.mark.parametrize("kept", [["a"], ["b"], ["b", "c"], ["c", "a"]])
def test_likelihood_of_some_channels_is_that_of_the_model_without_the_others(kept):
    _, full = build(EVERY_MODIFIER)
    part = keep_channels(full, kept)
    spec = copy.deepcopy(EVERY_MODIFIER)
    spec["channels"] = [channel for channel in spec["channels"] if channel["name"] in kept]
    if "b" not in kept:
        spec["parameters"] = []
    point = full.start + 0.1 * np.sin(np.arange(len(full.start)))
    if kept != ["c"]:
        _, alone = build(spec, poi="mu")
        mine = np.array([full.names.index(name) for name in alone.names])
        np.testing.assert_allclose(part.rates(point), alone.rates(point[mine]), rtol=1e-12)
        np.testing.assert_allclose(part.cell_slopes(point)[:, mine], alone.cell_slopes(point[mine]), atol=1e-12)
    assert list(part.channels) == [name for name in full.channels if name in kept]


def test_blinded_counts_have_no_influence():
    config = {"fit": {"blinded": ["b"], "blinded_poi": 0.5}}
    first, second = (
        blinded_problem(make_problem(workspace({"b": counts, "a": [57.0, 63.0]}), "test"), config)
        for counts in ([56.0, 65.0, 38.0], [5000.0, 1.0, 999.0])
    )
    np.testing.assert_array_equal(first.data, second.data)
    assert any("blinded" in remark for remark in first.remarks)
    likelihood = first.likelihood
    np.testing.assert_array_equal(first.data[likelihood.channels["a"]], [57.0, 63.0])


def test_fit_of_blinded_data_returns_the_assumed_strength():
    # channel a has a free factor in each bin, so that it is fitted exactly and nothing pulls away from the assumption
    problem = blinded_problem(make_problem(workspace(), "test"), {"injected": 0.7, "fit": {"blinded": ["b"]}})
    fit = minimise(problem.likelihood, problem.data)
    assert fit.valid
    assert fit.values[problem.likelihood.poi] == pytest.approx(0.7, abs=1e-2)


def test_everything_blinded_is_the_nominal_asimov_dataset():
    problem = make_problem(workspace(), "test")
    blinded = blinded_problem(problem, {"injected": 2.0, "fit": {"blinded": ["a", "b"]}})
    values = problem.likelihood.start.copy()
    values[problem.likelihood.poi] = 2.0
    np.testing.assert_allclose(blinded.data[: problem.likelihood.bins], problem.likelihood.rates(values))


def test_nothing_blinded_changes_nothing():
    problem = make_problem(workspace(), "test")
    assert blinded_problem(problem, {}) is problem
    assert blinded_problem(problem, {"fit": {"blinded": []}}) is problem


def test_unknown_region_and_failing_fit_are_told():
    problem = make_problem(workspace(), "test")
    with pytest.raises(UserError, match=r"nowhere(.|\n)*choose among its regions: a, b"):
        blinded_problem(problem, {"fit": {"blinded": ["nowhere"]}})
    spoiled = replace(problem, data=np.where(np.arange(len(problem.data)) == 0, np.nan, problem.data))
    with pytest.raises(UserError, match="did not converge"):
        blinded_problem(spoiled, {"fit": {"blinded": ["b"]}})
