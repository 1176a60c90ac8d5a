"""Reading of workspaces: valid ones, and every fault with its message, before any fit."""

from __future__ import annotations

import copy
import json
import re

import pyhf
import pytest
from inference_models import two_bins, workspace

from lhcml.common.errors import UserError
from lhcml.inference import fit_workspace, import_workspace, scan_limit
from lhcml.inference.minimise import minimise
from lhcml.inference.read_workspace import make_problem, quiet_pyhf


def readme_workspace() -> dict:
    """Return the workspace of pyhf's README, whose CLs it gives for `pyhf cls`."""
    return {
        "channels": copy.deepcopy(two_bins().spec["channels"]),
        "observations": [{"name": "singlechannel", "data": [51.0, 48.0]}],
        "measurements": [{"name": "Measurement", "config": {"poi": "mu", "parameters": []}}],
        "version": "1.0.0",
    }


def test_readme_example_through_the_command_lines(tmp_path):
    path = tmp_path / "given.json"
    path.write_text(json.dumps(readme_workspace()))
    made = {name: tmp_path / name for name in ("workspace.json", "digest.txt", "meta.json", "limit.json", "fit.json")}
    import_workspace.main(
        ["--input", str(path), "--config", "{}", "--workspace", str(made["workspace.json"]),
         "--digest", str(made["digest.txt"]), "--description", str(made["meta.json"])]
    )  # fmt: skip
    config = json.dumps({"limit": {"level": 0.05, "points": 5, "test": 1.0}})
    arguments = ["--workspace", str(made["workspace.json"]), "--config", config]
    scan_limit.main([*arguments, "--output", str(made["limit.json"])])
    fit_workspace.main([*arguments, "--output", str(made["fit.json"])])
    limit, fit = json.loads(made["limit.json"].read_text()), json.loads(made["fit.json"].read_text())
    # values of the README; 1e-5 is the agreement of optimisers
    assert limit["test"]["cls_observed"] == pytest.approx(0.05251497423736956, abs=1e-5)
    expected = [0.0026062609501074576, 0.01382005356161206, 0.06445320535890459, 0.23525643861460702, 0.573036205919389]
    assert limit["test"]["cls_expected"] == pytest.approx(expected, abs=1e-5)
    assert fit["valid"]
    assert fit["digest"] == pyhf.utils.digest(readme_workspace()) == made["digest.txt"].read_text().strip()
    assert json.loads(made["workspace.json"].read_text()) == readme_workspace()
    # bins have no edges in a given workspace: they are numbered
    assert json.loads(made["meta.json"].read_text())["regions"] == {"singlechannel": {"bins": [0, 1, 2]}}


def spoil(*path, value):
    """Return a function that sets (or with `...` deletes) a value deep in a workspace."""

    def change(spec):
        node = spec
        for key in path[:-1]:
            node = node[key]
        if value is ...:
            del node[path[-1]]
        else:
            node[path[-1]] = value

    return change


def append(*path, value):
    def change(spec):
        node = spec
        for key in path:
            node = node[key]
        node.append(value)

    return change


SIGNAL, BACKGROUND = ("channels", 0, "samples", 0), ("channels", 0, "samples", 1)
CONFIG = ("measurements", 0, "config")
BAD = {
    "no channels": (spoil("channels", value=...), "key 'channels' is missing"),
    "no observations": (spoil("observations", value=...), "key 'observations' is missing"),
    "version": (spoil("version", value="9.9.9"), "9.9.9"),
    "wrong type": (spoil(*SIGNAL, "data", 1, value="six"), r"channel b, sample signal: data, bin 1: 'six' is not a number"),
    "unknown modifier": (
        append(*SIGNAL, "modifiers", value={"name": "x", "type": "gauss", "data": None}),
        "channel b, sample signal, modifier x: unknown type 'gauss'",
    ),
    "misspelt key": (spoil(*SIGNAL, "dta", value=[1.0]), "dta"),
    "negative bin": (spoil(*BACKGROUND, "data", 2, value=-0.5), r"sample background, bin 2: negative nominal"),
    "NaN": (spoil(*SIGNAL, "data", 0, value=float("nan")), r"channel b, sample signal, bin 0: nominal events is nan"),
    "infinity": (
        spoil(*SIGNAL, "modifiers", 1, "data", "hi_data", 1, value=float("inf")), r"jes, bin 1: hi_data is inf",
    ),
    "empty template": (spoil(*SIGNAL, "data", value=[0.0, 0.0, 0.0]), r"sample signal: empty template"),
    "variation of an empty bin": (
        spoil(*SIGNAL, "data", 1, value=0.0), r"sample signal, histosys jes, bin 1: lo_data is 5.8 where the nominal",
    ),
    "negative variation": (
        spoil(*BACKGROUND, "modifiers", 1, "data", "lo_data", 0, value=-1.0), r"histosys jes, bin 0: negative lo_data",
    ),
    "zero factor": (spoil(*BACKGROUND, "modifiers", 0, "data", "lo", value=0.0), r"jes: factor lo = 0.0 is not"),
    "bins of a sample": (spoil(*SIGNAL, "data", value=[5.0, 6.0]), r"samples have different numbers of bins"),
    "bins of a variation": (
        spoil(*BACKGROUND, "modifiers", 3, "data", value=[2.5, 2.5]), r"stat_b: 2 bins of uncertainties, 3 exp",
    ),
    "bins of an observation": (
        spoil("observations", 0, "data", value=[56.0, 65.0]), r"channel b: 2 observed bins, 3 expected",
    ),
    "no observation": (spoil("observations", 0, "name", value="z"), r"channel b: no observation"),
    "unknown observation": (
        append("observations", value={"name": "z", "data": [1.0]}),
        r"observation of unknown channel z",
    ),
    "negative observation": (spoil("observations", 1, "data", 0, value=-3.0), r"channel a, bin 0: negative observed"),
    "nothing expected": (
        spoil("channels", 1, "samples", value=[{"name": "s", "data": [0.0, 5.0], "modifiers": []}]),
        r"channel a, bin 0: 57 events observed where no sample expects any",
    ),
    "twice the same sample": (spoil(*BACKGROUND, "name", value="signal"), r"sample signal is defined 2 times"),
    "twice the same channel": (spoil("channels", 1, "name", value="b"), r"channel b is defined 2 times"),
    "twice the same modifier": (
        append(*SIGNAL, "modifiers", value={"name": "mu", "type": "normfactor", "data": None}),
        r"sample signal: normfactor mu is applied twice",
    ),
    "POI not in the model": (spoil(*CONFIG, "poi", value="sigma"), r"interest 'sigma' is not a parameter.*\n.*: mu"),
    "POI of several components": (spoil(*CONFIG, "poi", value="free"), r"'free' has 2 components"),
    "no POI": (spoil(*CONFIG, "poi", value=""), r"has no parameter of interest"),
    "fixed POI": (append(*CONFIG, "parameters", value={"name": "mu", "fixed": True}), r"'mu' is fixed"),
    "several POIs": (
        append("measurements", value={"name": "other", "config": {"poi": "rate", "parameters": []}}),
        r"several measurements with different parameters of interest: fit \(poi 'mu'\), other",
    ),
    "clash of parameters": (
        append(*BACKGROUND, "modifiers", value={"name": "mu", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}),
        r"parameter mu has several types: normfactor in .*, sample signal; normsys in channel b, sample back",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_workspace_is_told_before_any_fit(name):
    change, message = BAD[name]
    spec = workspace()
    change(spec)
    with pytest.raises(UserError, match=message) as caught:
        make_problem(spec, "given.json", strict=True)
    assert "given.json" in caught.value.cause
    assert caught.value.fix


HARMLESS = ("empty template", "variation of an empty bin", "negative variation", "unknown observation")


@pytest.mark.parametrize("name", BAD)
def test_given_workspace_may_have_harmless_faults_only(name):
    change, message = BAD[name]
    spec = workspace()
    change(spec)
    if name in HARMLESS:
        problem = make_problem(spec, "given.json")
        assert any(re.search(message, remark) for remark in problem.remarks)
        assert minimise(problem.likelihood, problem.data).valid
    else:
        with pytest.raises(UserError, match=message):
            make_problem(spec, "given.json")


def test_poi_without_any_effect_is_refused():
    spec = workspace()
    for channel in spec["channels"]:
        channel["samples"][0]["data"] = [0.0] * len(channel["samples"][0]["data"])
    with pytest.raises(UserError, match="sample signal: empty template: no events in any bin, and none in any other"):
        make_problem(spec, "given.json")


def test_all_faults_are_listed_at_once():
    spec = workspace()
    spec["channels"][0]["samples"][0]["data"][0] = -1.0
    spec["observations"][1]["data"][1] = -2.0
    with pytest.raises(UserError, match=r"(?s)bin 0: negative nominal.*bin 1: negative observed"):
        make_problem(spec, "given.json")


def test_not_a_workspace():
    with pytest.raises(UserError, match="it is a list, not a workspace"):
        make_problem([1, 2], "list.json")


def test_measurement_and_poi_can_be_chosen():
    spec = workspace()
    other = copy.deepcopy(spec["measurements"][0]) | {"name": "other"}
    other["config"]["poi"] = "rate"
    spec["measurements"].append(other)
    assert make_problem(spec, "w", measurement="other").poi == "rate"
    assert make_problem(spec, "w", poi="rate").poi == "rate"
    with pytest.raises(UserError, match=r"no measurement 'third'.*\n.*fit, other"):
        make_problem(spec, "w", measurement="third")


def test_parameter_settings_of_the_measurement_are_used():
    spec = workspace()
    spec["measurements"][0]["config"]["parameters"] += [
        {"name": "rate", "fixed": True, "inits": [0.5]},
        {"name": "mu", "bounds": [[0, 3]]},
    ]
    likelihood = make_problem(spec, "w").likelihood
    index = likelihood.names.index("rate")
    assert likelihood.fixed[index]
    assert likelihood.start[index] == 0.5
    assert likelihood.upper[likelihood.poi] == 3


def test_warnings_of_pyhf_are_silenced_only_inside():
    with quiet_pyhf():
        pyhf.schema.validate(workspace(), "workspace.json", version="1.0.0")
    with pytest.raises(DeprecationWarning, match="RefResolver"):
        pyhf.schema.validate(workspace(), "workspace.json", version="1.0.0")
