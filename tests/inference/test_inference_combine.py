"""Combination of workspaces: against pyhf where it combines, by hand where numbers are simple, and what is refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pyhf
import pytest
from inference_models import workspace

from lhcml.common.errors import UserError
from lhcml.inference import combine_workspaces
from lhcml.inference.combine_workspaces import Part
from lhcml.inference.minimise import minimise
from lhcml.inference.quiet_pyhf import quiet_pyhf
from lhcml.inference.read_workspace import make_problem


def part(name: str, spec: dict, **description) -> Part:
    """Return a measurement to combine."""
    return Part(name, spec, spec["measurements"][0], {"poi": spec["measurements"][0]["config"]["poi"]} | description)


def combine(*parts: Part, poi: str | None = None) -> dict:
    return combine_workspaces.combine_workspaces(parts, poi)[0]


def counting(name: str, signal: float, background: float, observed: float, **modifiers) -> dict:
    """Return a workspace of one bin; `modifiers` act on the background."""
    samples = [
        {"name": "signal", "data": [signal], "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]},
        {"name": "background", "data": [background], "modifiers": [
            {"name": key, "type": kind, "data": data} for key, (kind, data) in modifiers.items()
        ]},
    ]  # fmt: skip
    return {
        "version": "1.0.0",
        "channels": [{"name": name, "samples": samples}],
        "observations": [{"name": name, "data": [observed]}],
        "measurements": [
            {"name": "fit", "config": {"poi": "mu", "parameters": [{"name": "mu", "bounds": [[-10, 20]]}]}}
        ],
    }


def fitted(spec: dict) -> tuple[float, float]:
    """Return value and uncertainty of the parameter of interest."""
    problem = make_problem(spec, "w")
    fit = minimise(problem.likelihood, problem.data)
    assert fit.valid
    index = problem.likelihood.poi
    return float(fit.values[index]), float(np.sqrt(fit.covariance[index, index]))


def test_independent_measurements_combine_to_their_weighted_mean():
    # a million events: Gaussian to 1e-3, mu = (n - b) / s with variance n / s^2
    one = counting("x", 1e4, 1e6, 1.01e6)
    two = counting("y", 2e4, 1e6, 1.019e6)
    values = np.array([1.0, 0.95])
    variances = np.array([1.01e6 / 1e8, 1.019e6 / 4e8])
    weights = 1 / variances
    mean, width = fitted(combine(part("one", one), part("two", two)))
    # the likelihood weighs by expected, not observed counts: 4e-4 apart, on values half a standard deviation apart
    assert mean == pytest.approx((values * weights).sum() / weights.sum(), abs=2e-3 * width)
    assert width == pytest.approx(1 / np.sqrt(weights.sum()), rel=2e-3)


def test_shared_parameter_is_correlated():
    # the same 10 % on both backgrounds: cov = n delta_ij / s_i^2 + c^2 (b_i b_j) / (s_i s_j), best linear combination
    factor = ("normsys", {"hi": 1.01, "lo": 0.99})
    one, two = (counting(name, s, 1e6, 1.01e6, scale=factor) for name, s in (("x", 1e4), ("y", 2e4)))
    signal, observed = np.array([1e4, 2e4]), np.array([1.01e6, 1.01e6])
    shift = 0.01 * 1e6 / signal
    covariance = np.diag(observed / signal**2) + np.outer(shift, shift)
    inverse = np.linalg.inv(covariance)
    _, width = fitted(combine(part("one", one), part("two", two)))
    # curvature of the exponential factor, of relative size 0.01
    assert width == pytest.approx(1 / np.sqrt(inverse.sum()), rel=0.02)
    _, apart = fitted(combine(part("one", one), part("two", counting("y", 2e4, 1e6, 1.01e6, other=factor))))
    inverse = np.linalg.inv(np.diag(np.diag(covariance)))
    assert apart == pytest.approx(1 / np.sqrt(inverse.sum()), rel=0.02)


def other_channels() -> dict:
    """Return the workspace with other names of channels and of parameters with a value per bin."""
    text = json.dumps(workspace())
    for old, new in (("b", "d"), ("a", "c")):
        text = text.replace(f'"name": "{old}"', f'"name": "{new}"')
    for name in ("stat_b", "bin_b", "free"):
        text = text.replace(f'"{name}"', f'"{name}2"')
    return json.loads(text)


def test_combination_is_that_of_pyhf_where_nothing_collides():
    one, two = workspace(), other_channels()
    made = combine(part("one", one), part("two", two))
    with quiet_pyhf():
        theirs = pyhf.Workspace.combine(pyhf.Workspace(one), pyhf.Workspace(two), join="left outer")
        expected, found = (pyhf.Workspace(spec).model() for spec in (dict(theirs), made))
    assert made["channels"] == theirs["channels"]
    assert sorted(made["observations"], key=str) == sorted(theirs["observations"], key=str)
    point = np.random.default_rng(1).uniform(0.5, 0.9, found.config.npars)
    assert found.config.par_names == expected.config.par_names
    np.testing.assert_array_equal(found.expected_data(point), expected.expected_data(point))


def test_combination_with_itself_keeps_bins_apart_and_names_correlated():
    spec, about = combine_workspaces.combine_workspaces(
        [part("one", workspace(), regions={"a": {"bins": [0, 1, 2]}}), part("two", workspace())]
    )
    assert [channel["name"] for channel in spec["channels"]] == ["one_b", "one_a", "two_b", "two_a"]
    assert about["regions"] == {"one_a": {"bins": [0, 1, 2]}}
    assert about["correlated"] == ["jes", "lumi", "mu", "rate"]
    # the same numbers seen twice are told
    assert sum("observe the same numbers" in remark for remark in about["remarks"]) == 2
    problem = make_problem(spec, "w")
    names = {name.split("[")[0] for name in problem.likelihood.names}
    own = {f"{key}_{name}" for key in ("one", "two") for name in ("stat_b", "bin_b", "free")}
    assert names == own | {"jes", "lumi", "mu", "rate"}
    # counted twice: the same value, the free part of the variance halved
    value, width = fitted(workspace())
    mean, smaller = fitted(spec)
    assert mean == pytest.approx(value, abs=0.1 * width)
    assert smaller < width


def test_settings_follow_renamed_parameters():
    one = workspace()
    one["measurements"][0]["config"]["parameters"].append({"name": "free", "inits": [0.9, 1.1]})
    spec = combine(part("one", one), part("two", workspace()))
    settings = {block["name"]: block for block in spec["measurements"][0]["config"]["parameters"]}
    assert settings["one_free"]["inits"] == [0.9, 1.1]
    assert "free" not in settings


def settings_of(**settings) -> dict:
    spec = workspace()
    spec["measurements"][0]["config"]["parameters"].append({"name": "mu"} | settings)
    return spec


@pytest.mark.parametrize(
    ("key", "one", "two"), [("bounds", [[0, 5]], [[0, 6]]), ("inits", [1.0], [0.5]), ("fixed", True, False)]
)
def test_different_settings_are_refused(key, one, two):
    with pytest.raises(UserError, match=rf"parameter mu: {key} is .* in measurement first, and .* in second"):
        combine(part("first", settings_of(**{key: one})), part("second", settings_of(**{key: two})))


def test_setting_of_one_measurement_holds_for_all():
    spec = combine(part("first", settings_of(bounds=[[0, 5]])), part("second", workspace()))
    assert make_problem(spec, "w").likelihood.upper[make_problem(spec, "w").likelihood.poi] == 5


def test_widths_of_the_luminosity_have_to_agree():
    other = workspace()
    other["measurements"][0]["config"]["parameters"][0]["sigmas"] = [0.03]
    with pytest.raises(UserError, match=r"parameter lumi: sigmas is \[0.02\] in measurement one, and \[0.03\] in two"):
        combine(part("one", workspace()), part("two", other))


def test_different_constraints_of_one_name_are_refused():
    factor = counting("x", 10, 50, 60, rate=("normfactor", None))
    with pytest.raises(
        UserError, match=r"parameter rate has a different constraint.*: normsys in one, normfactor in two"
    ):
        combine(part("one", workspace()), part("two", factor))
    # a normsys here and a histosys there share their unit Gaussian
    shape = counting("x", 10, 50, 60, rate=("histosys", {"hi_data": [55.0], "lo_data": [45.0]}))
    assert make_problem(combine(part("one", workspace()), part("two", shape)), "w").likelihood.names.count("rate") == 1


def test_name_per_bin_here_and_scalar_there_is_kept_apart():
    scalar = counting("x", 10, 50, 60, stat_b=("normsys", {"hi": 1.1, "lo": 0.9}))
    names = make_problem(combine(part("one", workspace()), part("two", scalar)), "w").likelihood.names
    assert "one_stat_b[0]" in names
    assert "stat_b" in names


def test_parameter_of_interest_must_agree_or_be_chosen():
    other = json.loads(json.dumps(workspace()).replace('"mu"', '"sigma"'))
    parts = part("one", workspace()), part("two", other)
    with pytest.raises(UserError, match=r"one has 'mu', two has 'sigma'\n.*`poi`"):
        combine(*parts)
    assert make_problem(combine(*parts, poi="sigma"), "w").poi == "sigma"


def test_renaming_never_hits_another_region():
    one = workspace()
    extra = copy.deepcopy(one["channels"][1]) | {"name": "one_b"}
    one["channels"].append(extra)
    one["observations"].append({"name": "one_b", "data": [57.0, 63.0]})
    with pytest.raises(UserError, match="b of measurement one would be renamed one_b, which exists"):
        combine(part("one", one), part("two", workspace()))


def test_command_writes_workspace_and_description(tmp_path: Path):
    for name, spec in (("one", workspace()), ("two", counting("x", 10, 50, 60))):
        (tmp_path / f"{name}.json").write_text(json.dumps(spec))
        about = {"poi": "mu", "measurement": "fit", "luminosity": 4.0, "labels": {"signal": name}}
        (tmp_path / f"{name}.meta.json").write_text(json.dumps(about | {"regions": {"x": {"bins": [5.0, 9.0]}}}))
    combine_workspaces.main(
        ["--names", "one", "two", "--inputs", str(tmp_path / "one.json"), str(tmp_path / "two.json"),
         "--descriptions", str(tmp_path / "one.meta.json"), str(tmp_path / "two.meta.json"), "--config", "{}",
         "--workspace", str(tmp_path / "w.json"), "--digest", str(tmp_path / "d.txt"),
         "--description", str(tmp_path / "m.json")]
    )  # fmt: skip
    about = json.loads((tmp_path / "m.json").read_text())
    assert about["digest"] == pyhf.utils.digest(json.loads((tmp_path / "w.json").read_text()))
    assert about["regions"] == {"b": {"bins": [0, 1, 2, 3]}, "a": {"bins": [0, 1, 2]}, "x": {"bins": [5.0, 9.0]}}
    assert about["luminosity"] == 4.0
    assert about["labels"] == {"signal": "one"}
    assert about["combined"] == ["one", "two"]
