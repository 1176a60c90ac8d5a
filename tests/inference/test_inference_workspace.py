"""Reading of workspaces: valid ones, and every fault with its message, before any fit."""

from __future__ import annotations

import copy
import json

import pyhf
import pytest
from inference_models import random_workspace, two_bins, workspace

from lhcml.common.errors import UserError
from lhcml.inference import fit_workspace, import_workspace, scan_limit
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


# in the model of seed 2 the few bins do not determine the free factors
@pytest.mark.parametrize("seed", [0, 1, 3, 4, 5, 6])
def test_data_are_in_the_order_of_pyhf(seed):
    spec = random_workspace(seed)
    with quiet_pyhf():
        given = pyhf.Workspace(spec)
        expected = given.data(given.model())
    assert make_problem(spec, "random.json").data.tolist() == expected


def test_shapefactor_of_one_bin_may_be_of_interest():
    samples = [
        {"name": "signal", "data": [5.0], "modifiers": [{"name": "k", "type": "shapefactor", "data": None}]},
        {"name": "background", "data": [50.0], "modifiers": []},
    ]
    spec = workspace() | {
        "channels": [{"name": "one", "samples": samples}], "observations": [{"name": "one", "data": [57.0]}],
        "measurements": [{"name": "fit", "config": {"poi": "k", "parameters": []}}],
    }  # fmt: skip
    problem = make_problem(spec, "w")
    assert problem.likelihood.names == ["k"]
    assert problem.poi == "k"


def test_luminosity_that_is_fixed_needs_no_width():
    spec = workspace()
    lumi = spec["measurements"][0]["config"]["parameters"][0]
    del lumi["sigmas"]
    lumi["fixed"] = True
    assert make_problem(spec, "w").likelihood.fixed.sum() == 1
