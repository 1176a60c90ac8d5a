"""The section `features` of the configuration, wrong in the ways users write it wrong."""

from pathlib import Path

import pytest
import yaml

from lhcml.common.configuration import fill_defaults, load_configuration, load_schema
from lhcml.common.errors import UserError

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "workflow/schemas"


def load(features, selection=None):
    channel = {"datasets": {"qcd": {"generate": "toptag_qcd", "events": 10}}, "selection": selection or {}}
    config = {"seed": 1, "channels": {"toptag": channel}, "features": features}
    return load_configuration(config, SCHEMAS)["features"]


def test_defaults_are_those_of_the_default_configuration():
    given = yaml.safe_load((ROOT / "config/config.yaml").read_text())["features"]
    schema = load_schema(SCHEMAS)["properties"]["features"]
    own = {key: given[key] for key in ("levels", "plots")}
    assert fill_defaults({"levels": own["levels"]}, schema) | own == fill_defaults(given, schema) | own


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"split": {"train": 0.6}}, r"train 0\.6 \+ validation 0\.1 \+ test 0\.5 = 1\.2"),
        ({"split": {"valid": 0.1}}, "features.split.valid: unknown key; did you mean 'validation'"),
        ({"soft_drop": {"zcut": 0.5}}, "features.soft_drop.zcut"),
        ({"max_constituents": 0}, "features.max_constituents"),
        ({"efp": {"degree": 8}}, "features.efp.degree"),
        ({"perturbations": {"drop": {"probability": 1}}}, "features.perturbations.drop.probability"),
        ({"perturbations": {"smeer": {}}}, "features.perturbations.smeer: unknown key; did you mean 'smear'"),
        ({"plots": {"toptags": ["qcd"]}}, "'toptags' is not defined(.|\n)*'toptag'"),
        ({"plots": {"toptag": ["qdc"]}}, "features.plots.toptag: 'qdc' is not defined(.|\n)*'qcd'"),
        ({"puppi_jets": ["GenJet"]}, "features.puppi_jets"),
    ],
)
def test_mistakes_are_named(features, message):
    with pytest.raises(UserError, match=message):
        load(features)


def test_features_need_constituents():
    without = {"keep": {"constituents": False}}
    assert load({}, without)["plots"] == {}
    with pytest.raises(UserError, match="keeps no constituents"):
        load({"plots": {"toptag": ["qcd"]}}, without)
