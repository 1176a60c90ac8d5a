"""What the configuration of a public file may say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lhcml.common.configuration import load_configuration
from lhcml.common.errors import UserError
from lhcml.common.references import IMPORT_LABELS
from lhcml.samples.import_events import LAYOUTS

SCHEMAS = Path(__file__).parents[2] / "workflow/schemas"


def load(block: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """Return the dataset of a configuration with all defaults."""
    datasets = {"public": {"import": block, "events": 10, **keys}}
    config = {"seed": 1, "channels": {"c": {"datasets": datasets}}, "taggers": {"models": {}}}
    loaded: dict[str, Any] = load_configuration(config, SCHEMAS)["channels"]["c"]["datasets"]["public"]
    return loaded


def test_defaults() -> None:
    loaded = load({"layout": "toptag", "files": ["test.h5"], "record": 2603256}, split="test")
    assert loaded["import"]["label"] == "all"
    assert loaded["split"] == "test"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_labels_are_those_of_the_module_of_the_layout(layout: str) -> None:
    import importlib

    module = importlib.import_module(f"lhcml.samples.layouts.{layout}")
    assert IMPORT_LABELS[layout] == tuple(module.LABELS)
    for label in module.LABELS:
        assert load({"layout": layout, "files": ["a"], "label": label})["import"]["label"] == label


@pytest.mark.parametrize(
    ("block", "keys", "message"),
    [
        ({"layout": "topptag", "files": ["a.h5"]}, {}, "import.layout: 'topptag' is not one of"),
        ({"layout": "trigger", "files": ["a.h5"], "label": "signal"}, {}, "import.label: 'signal' is not defined"),
        ({"layout": "jetclass", "files": ["a.root"], "label": "signal"}, {}, "choose among: all, QCD"),
        ({"layout": "toptag", "files": ["a.h5"], "label": "top"}, {}, "import.label: 'top' is not one of"),
        ({"layout": "toptag", "files": []}, {}, "import.files: .* should be non-empty"),
        ({"layout": "toptag", "file": "a.h5"}, {}, "did you mean 'files'"),
        ({"layout": "toptag", "files": ["a.h5"]}, {"split": "val"}, "split: 'val' is not one of"),
    ],
)
def test_faults_are_named(block: dict[str, Any], keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(block, **keys)
