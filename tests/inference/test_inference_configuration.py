"""Schema and checks of the section `inference`."""

from __future__ import annotations

import copy
from pathlib import Path

import jsonschema
import pytest
import yaml
from inference_toys import measurement

from lhcml.common.configuration import fill_defaults, load_schema
from lhcml.common.errors import UserError
from lhcml.inference.check_measurements import check_measurements

CHANNELS = {
    "toptag": {
        "selection": {"shifts": ["jesUp", "jesDown", "jerUp", "jerDown", "isrUp", "isrDown", "fsrUp", "fsrDown"]}
    }
}


@pytest.fixture(scope="module")
def schema(root: Path) -> dict:
    return load_schema(root / "workflow/schemas")["properties"]["inference"]


def errors(schema: dict, block: dict) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema)
    return [error.message for error in validator.iter_errors({"measurements": {"m": block}})]


def test_schema_is_a_schema_and_describes_every_property(schema):
    jsonschema.Draft202012Validator.check_schema(schema)

    def check(node, path):
        for name, part in node.get("properties", {}).items():
            if part is not False:
                assert part.get("description"), f"{path}.{name} has no description"
                check(part, f"{path}.{name}")
        for key in ("additionalProperties", "items"):
            if isinstance(node.get(key), dict):
                check(node[key], f"{path}.{key}")

    check(schema, "inference")


def test_toy_and_default_measurements_are_valid(schema, root):
    assert errors(schema, measurement()) == []
    config = yaml.safe_load((root / "config/config.yaml").read_text())
    assert list(jsonschema.Draft202012Validator(schema).iter_errors(config["inference"])) == []
    filled = fill_defaults(config["inference"], schema)
    assert list(jsonschema.Draft202012Validator(schema).iter_errors(filled)) == []
    check_measurements(filled["measurements"], config["channels"])


def test_given_workspace_needs_nothing_else_and_takes_no_templates(schema):
    assert errors(schema, {"workspace": "a.json"}) == []
    assert errors(schema, {"workspace": "a.json", "poi": "mu", "toys": {"count": 10}}) == []
    assert errors(schema, {"workspace": "a.json", "channel": "toptag"})
    filled = fill_defaults({"measurements": {"m": {"workspace": "a.json"}}}, schema)
    assert errors(schema, filled["measurements"]["m"]) == []
    assert filled["measurements"]["m"]["limit"]["level"] == 0.05


@pytest.mark.parametrize(
    "change",
    [
        {"luminosity": 0}, {"luminosity": "4"}, {"lumi": 4}, {"working_point": {"signal_efficiency": 0.5}},
        {"working_point": {"signal": ["top"], "signal_efficiency": 1.5}}, {"regions": {}}, {"injected": -1},
        {"regions": {"pass": {"tagged": "yes", "bins": [0, 1]}}}, {"toys": {"count": 1}}, {"tagger_seed": "1"},
        {"modifiers": {"jes": {"type": "histosys", "up": 1.1, "down": 0.9, "source": "features"}}},
        {"modifiers": {"lumi": {"type": "lumi"}}}, {"modifiers": {"shape": {"type": "shapesys"}}},
        {"modifiers": {"shape": {"type": "shapesys", "uncertainty": 0.1, "statistical": True}}},
        {"modifiers": {"lumi": {"type": "normsys", "up": "a", "down": 0.9}}},
        {"modifiers": {"lumi": {"type": "normsys", "up": 1.1}}},
        {"modifiers": {"lumi": {"type": "normsys", "up": 1.1, "down": 0.0}}},
        {"modifiers": {"lumi": {"type": "gaussian"}}},
        {"samples": {"top": {"datasets": ["top"], "split": "train"}}},
    ],
)  # fmt: skip
def test_schema_refuses(schema, change):
    assert errors(schema, measurement(**change))


def changed(*path, value):
    block = measurement()
    node = block
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return block


JES = {"type": "histosys", "source": "features", "up": "jesUp", "down": "jesDown"}


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            changed("regions", "pass", "bins", value=[50, 40, 60]),
            r"m.regions.pass.bins: \[50, 40, 60\] are not ascending",
        ),
        (changed("poi", value="sigma"), r"m.poi: 'sigma' is not a normfactor.*\n.*mu, qcd_norm_fail"),
        (
            changed("modifiers", "jes", value={"type": "histosys", "up": "jesUp", "down": "jesDown"}),
            r"modifiers.jes.source: not given",
        ),
        (
            changed("modifiers", "jes", value={"type": "histosys", "up": "jesUp", "source": "features"}),
            r"modifiers.jes.down: not given\n.*symmetrise: one_sided",
        ),
        (
            changed("modifiers", "jes3", value=JES | {"down": "jerDown"}),
            r"modifiers.jes3: the shifts jesUp are already those of 'jes'",
        ),
        (changed("modifiers", "mu", "sigma", value=0.1), r"modifiers.mu.sigma: does nothing for type normfactor"),
        (changed("modifiers", "luminosity", value={"type": "lumi", "sigma": 0.1}), "rename it to `lumi`"),
        (
            changed("modifiers", "shape", value={"type": "shapesys", "uncertainty": {"pass": 0.1}}),
            r"shape.uncertainty: nothing for region 'fail'",
        ),
        (
            changed("modifiers", "shape", value={"type": "shapesys", "uncertainty": {"pass": [0.1], "fail": 0.1}}),
            r"shape.uncertainty.pass: 1 numbers for 6 bins",
        ),
        (
            changed("modifiers", "more", value={"type": "normsys", "up": 1.1, "down": 0.9, "parameter": "mu"}),
            r"modifiers.more: parameter 'mu' is also that of 'mu', of type normfactor",
        ),
        (
            changed("modifiers", "more", value={"type": "normsys", "up": 1.1, "down": 0.9, "parameter": "luminosity"}),
            r"modifiers.more: 'luminosity' has parameter 'luminosity' on region pass, sample top too",
        ),
        (changed("regions", "pass", value={"tagged": True}), r"regions.pass.bins: not given"),
        (changed("table", value="levels"), r"regions.pass: the table `levels` has no scores"),
        (changed("smoothing", value={"modifiers": ["jec"]}), r"smoothing.modifiers: 'jec' is not defined"),
        (
            changed("samples", value={name: {"datasets": [name], "regions": ["fail"]} for name in ("top", "qcd")}),
            r"regions.pass: no sample is expected here",
        ),
        (changed("samples", "top", "regions", value=["sr"]), r"samples.top.regions: 'sr' is not defined"),
        (changed("poi", value="jes"), r"m.poi: 'jes' is not a normfactor"),
        (changed("modifiers", "mu", "samples", value=["tops"]), r"modifiers.mu.samples: 'tops' is not defined"),
        (changed("modifiers", "mu", "regions", value=["sr"]), r"modifiers.mu.regions: 'sr' is not defined"),
        (changed("modifiers", "mu", "bounds", value=[2, 3]), r"modifiers.mu.bounds: \[2, 3\] does not hold"),
        (changed("modifiers", "jes2", value=JES), r"modifiers.jes2: the shifts .* are already those of 'jes'"),
        (
            changed("modifiers", "jes2", value=JES | {"up": "jesDown", "down": "jesUp"}),
            r"modifiers.jes2: the shifts .* are already those of 'jes'",
        ),
        (changed("modifiers", "jes", value=JES | {"down": "jesUp"}), r"jes.down: 'jesUp' is also the upward shift"),
        (changed("modifiers", "jes", value=JES | {"up": "jecUp"}), r"jes.up: the channel has no shift 'jecUp'"),
        (
            changed("modifiers", "jes", value=JES | {"source": "weights"}),
            r"jes.source: 'jesUp' is not among the weights",
        ),
        (changed("data", "signal", value=["ttbar"]), r"data.signal: 'ttbar' is not among"),
        (
            changed("data", value={"datasets": ["top", "qcd_pseudodata"], "signal": []}),
            r"data.datasets: top is also a template of sample top",
        ),
    ],
)
def test_checks_name_key_value_and_fix(block, message):
    with pytest.raises(UserError, match=message):
        check_measurements({"m": block}, CHANNELS)


def test_checks_pass_what_is_right_and_leave_given_workspaces_alone():
    check_measurements({"m": measurement(), "given": {"workspace": "a.json"}}, copy.deepcopy(CHANNELS))
