"""Limits of published models: pyhf's validation models and documented examples, with their published values.

`published/values.json` has the values with their sources; the workspaces beside it are those models.
"""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyhf
import pytest

from lhcml.inference.limit import Scan, normal_cdf, upper_limits
from lhcml.inference.minimise import minimise
from lhcml.inference.read_workspace import quiet_pyhf, read_problem
from lhcml.inference.scan_limit import scan_limit

LIMIT = {"level": 0.05, "points": 2, "test": 1.0}
FOLDER = Path(__file__).with_name("published")
VALUES: dict[str, dict[str, Any]] = json.loads((FOLDER / "values.json").read_text())
# With pyhf's interpolation codes of today, which are ours
TODAY = sorted(name for name, value in VALUES.items() if "interpolation" not in value)
BEFORE = sorted(set(VALUES) - set(TODAY))
# It has two minima, and pyhf stops in the higher one
TWO_MINIMA = "2bin_2channel_coupledhisto"


def ours(name: str, statistic: str) -> list[float]:
    """Return CLs of signal strength 1: observed, then expected at -2, -1, 0, 1, 2 standard deviations."""
    problem = read_problem(FOLDER / f"{name}.json")
    test = scan_limit(problem, LIMIT)["test"]
    observed = test["cls_observed"]
    if statistic == "q":
        # q and q~ differ where the data disfavour the signal more than expected (arXiv:1007.1727, eqs. 59 and 66)
        root, asimov = math.sqrt(test["q"]), math.sqrt(test["q_asimov"])
        observed = normal_cdf(-root) / normal_cdf(asimov - root)
    return [observed, *test["cls_expected"]]


def theirs(name: str, statistic: str, optimizer: str, **options: Any) -> list[float]:
    """Return the same by pyhf."""
    before = pyhf.get_backend()
    pyhf.set_backend("numpy", optimizer)
    try:
        with quiet_pyhf(), warnings.catch_warnings():
            # pyhf takes logarithms of factors at their lower bound, and square roots of -1e-12
            warnings.filterwarnings("ignore", message=".* encountered in ", category=RuntimeWarning)
            workspace = pyhf.Workspace(json.loads((FOLDER / f"{name}.json").read_text()))
            model = workspace.model(**options)
            observed, expected = pyhf.infer.hypotest(
                1.0, workspace.data(model), model, test_stat=statistic, return_expected_set=True
            )
    finally:
        pyhf.set_backend(*before)
    return [float(observed), *map(float, expected)]


@pytest.mark.parametrize("name", TODAY)
def test_published_values(name):
    value = VALUES[name]
    # the published ones come of a minimiser that stops at about 1e-6 in 2 ln L, and some have eight digits; pyhf's own
    # test allows the largest of these differences, 4e-6 relative
    published = [value["observed"], *value["expected"]]
    assert ours(name, value["statistic"]) == pytest.approx(published, rel=4e-6, abs=1e-6)


@pytest.mark.parametrize("name", BEFORE)
def test_workspaces_of_older_values_are_those_models(name):
    """With the codes of its time pyhf gives the published values again, so that the workspace is the model."""
    value = VALUES[name]
    settings = {kind: {"interpcode": code} for kind, code in value["interpolation"].items()}
    found = theirs(name, value["statistic"], "scipy", modifier_settings=settings)
    # expected values of 1e-9 repeat to 1.2e-4
    assert found == pytest.approx([value["observed"], *value["expected"]], rel=2e-4)


@pytest.mark.parametrize(("optimizer", "tolerance"), [("scipy", 1e-5), ("minuit", 4e-4)])
@pytest.mark.parametrize("name", sorted(set(VALUES) - {TWO_MINIMA}))
def test_pyhf_today(name, optimizer, tolerance):
    """Both are pyhf's own accuracy: its two optimisers differ from each other by as much."""
    assert ours(name, "qtilde") == pytest.approx(theirs(name, "qtilde", optimizer), abs=tolerance)


def test_limits_of_readme():
    """The upper limits in pyhf's README, which come of an interpolation between scanned points."""
    problem = read_problem(FOLDER / "hello_world.json")
    observed, expected = upper_limits(Scan(problem.likelihood, problem.data))
    assert observed == pytest.approx(1.01156939, rel=2e-5)
    assert expected[2] == pytest.approx(1.06234693, rel=2e-5)


def test_shapefactor_example():
    """In the notebook ShapeFactor the data are signal strength 1 and factors 2 and 3 exactly."""
    problem = read_problem(FOLDER / "2bin_2channel_coupledshapefactor.json")
    fit = minimise(problem.likelihood, problem.data)
    values = dict(zip(problem.likelihood.names, fit.values, strict=True))
    assert fit.valid
    assert values["mu"] == pytest.approx(1.0, abs=1e-4)
    assert [values[f"coupled_shapefactor[{index}]"] for index in range(2)] == pytest.approx([2.0, 3.0], abs=1e-4)


def test_two_minima():
    """Where both variations of a sample lie on one side the likelihood has two minima; the lower one counts.

    pyhf's fit of this model stops in the higher one, published in its notebook as -0.30257894 and 0.63607078.
    """
    problem = read_problem(FOLDER / f"{TWO_MINIMA}.json")
    likelihood = problem.likelihood
    scan = Scan(likelihood, problem.data)
    values = likelihood.start.copy()
    # the nuisance parameter on a grid: 1e-4 of the curvature 10 is the error of the lowest point
    grid = np.linspace(-5, 5, 2001)
    lowest = {}
    for strength in (scan.best, 0.0, 1.0):
        curve = []
        for values[likelihood.names.index("coupled_histosys")] in grid:
            values[likelihood.poi] = strength
            curve.append(likelihood.twice_nll(values, problem.data))
        lowest[strength] = min(curve)
    published = likelihood.start.copy()
    for name, value in {"coupled_histosys": -0.30257894, "mu": 0.63607078}.items():
        published[likelihood.names.index(name)] = value
    assert scan.free.twice_nll == pytest.approx(lowest[scan.best], abs=1e-3)
    assert scan.free.twice_nll < likelihood.twice_nll(published, problem.data) - 1
    test = scan_limit(problem, LIMIT)["test"]
    assert test["q"] == pytest.approx(lowest[1.0] - lowest[scan.best], abs=2e-3)
    # in the fits to Asimov data pyhf finds the lower minimum too
    assert test["cls_expected"] == pytest.approx(theirs(TWO_MINIMA, "qtilde", "scipy")[1:], abs=1e-5)
