"""The configuration as users write it, wrong in the ways users write it wrong."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from lhcml.common.configuration import drop_nulls, fill_defaults, load_configuration, load_schema
from lhcml.common.errors import UserError

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "workflow/schemas"


@pytest.fixture
def config() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    return loaded


def merge(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """Merge as Snakemake merges a `--configfile`."""
    for key, value in overlay.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = value
    return base


def error_of(config: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        load_configuration(config, SCHEMAS)
    assert caught.value.fix
    return str(caught.value)


def test_the_default_configuration_and_its_overlays_are_valid(config: dict[str, Any]) -> None:
    for overlay in ("quick", "full"):
        text = (ROOT / f"config/{overlay}.yaml").read_text()
        filled = load_configuration(merge(copy.deepcopy(config), yaml.safe_load(text)), SCHEMAS)
        # filling is complete: filling again changes nothing
        assert load_configuration(filled, SCHEMAS) == filled


def test_every_property_of_every_schema_is_described() -> None:
    def walk(node: Any, where: str) -> None:
        if isinstance(node, dict):
            for key, part in node.get("properties", {}).items() if isinstance(node.get("properties"), dict) else ():
                assert "description" in part, f"{where}.{key} has no description"
            if node.get("type") == "object" and "properties" in node:
                assert "additionalProperties" in node, f"{where} is not closed"
            for key, part in node.items():
                if key != "if":  # a condition tests a property that is described elsewhere
                    walk(part, f"{where}.{key}")
        elif isinstance(node, list):
            for part in node:
                walk(part, where)

    walk(load_schema(SCHEMAS), "config")


def test_defaults_fill_nested_and_listed_objects_and_are_copied() -> None:
    inner = {"type": "object", "properties": {"b": {"default": [1]}}}
    schema = {"properties": {"a": {**inner, "default": {}}, "l": {"items": inner}}, "additionalProperties": inner}
    first, second = fill_defaults({"l": [{}], "x": {}}, schema), fill_defaults({}, schema)
    assert first == {"l": [{"b": [1]}], "x": {"b": [1]}, "a": {"b": [1]}}
    first["a"]["b"].append(2)
    assert second["a"]["b"] == [1]


def test_null_removes_a_key() -> None:
    assert drop_nulls({"a": None, "b": {"c": None, "d": 0}}) == {"b": {"d": 0}}


def test_a_typo_is_told_with_the_key_that_was_meant(config: dict[str, Any]) -> None:
    config["sead"] = 1
    assert "sead: unknown key; did you mean 'seed'?" in error_of(config)


def test_a_typo_deep_inside_names_its_place(config: dict[str, Any]) -> None:
    config["channels"]["toptag"]["datasets"]["top"]["evnts"] = 5
    message = error_of(config)
    assert "channels.toptag.datasets.top.evnts: unknown key; did you mean 'events'?" in message


def test_a_wrong_type_names_key_value_and_meaning(config: dict[str, Any]) -> None:
    config["channels"]["toptag"]["datasets"]["top"]["events"] = "many"
    assert "channels.toptag.datasets.top.events: 'many' is not of type 'integer'" in error_of(config)


def test_a_key_that_does_not_go_with_others_is_named(config: dict[str, Any]) -> None:
    config["inference"]["measurements"]["boosted_top"]["workspace"] = "some.json"
    message = error_of(config)
    assert "inference.measurements.boosted_top: channel, workspace do not go together; keep one of them" in message


def test_a_missing_key_is_named(config: dict[str, Any]) -> None:
    del config["seed"]
    assert "'seed' is a required property" in error_of(config)


def test_a_file_pattern_without_files_is_named(config: dict[str, Any], tmp_path: Path) -> None:
    config["channels"]["mine"] = {"datasets": {"d": {"files": [str(tmp_path / "*.root")]}}}
    assert "channels.mine.datasets.d.files" in error_of(config)
    assert "matches no file" in error_of(config)


def test_globs_are_expanded_in_order(config: dict[str, Any], tmp_path: Path) -> None:
    for name in ("b.root", "a.root"):
        (tmp_path / name).touch()
    config["channels"]["mine"] = {"datasets": {"d": {"files": [str(tmp_path / "*.root")]}}}
    files = load_configuration(config, SCHEMAS)["channels"]["mine"]["datasets"]["d"]["files"]
    assert files == [str(tmp_path / "a.root"), str(tmp_path / "b.root")]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["taggers", "channel"], "toptak", "taggers.channel: 'toptak' is not defined\n  fix: did you mean 'toptag'?"),
        (["taggers", "signal"], ["tops"], "taggers.signal: 'tops' is not defined"),
        (["taggers", "background"], ["top", "qcd"], "top is both signal and background"),
        (["inference", "measurements", "boosted_top", "tagger"], "xgbost", "did you mean 'xgboost'?"),
        (["inference", "measurements", "boosted_top", "tagger_seed"], 99, "tagger_seed: '99' is not defined"),
        (["inference", "measurements", "boosted_top", "data", "datasets"], ["tip"], "data.datasets: 'tip'"),
        (["inference", "measurements", "given"], {"workspace": "none.json"}, "no file 'none.json'"),
    ],
)
def test_references_between_sections(config: dict[str, Any], path: list[str], value: Any, message: str) -> None:
    block = config
    for key in path[:-1]:
        block = block[key]
    block[path[-1]] = value
    assert message in error_of(config)
