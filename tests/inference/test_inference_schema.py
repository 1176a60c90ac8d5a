"""Documents that are no workspace, or one of the wrong structure: told apart, and by name."""

from __future__ import annotations

import copy

import numpy as np
import pyhf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inference_models import workspace
from spoilt_models import (
    BACKGROUND,
    CONFIG,
    SETTINGS,
    SIGNAL,
    append,
    plain,
    spoil,
)

from lhcml.common.errors import UserError
from lhcml.inference.check_schema import find_misshapen
from lhcml.inference.read_workspace import make_problem, quiet_pyhf

# The file is no workspace
MISSHAPEN = {
    "no channels": (spoil("channels", value=...), "top level: key 'channels' is missing"),
    "no observations": (spoil("observations", value=...), "key 'observations' is missing"),
    "no version": (spoil("version", value=...), "key 'version' is missing"),
    "version": (spoil("version", value="9.9.9"), "its version is '9.9.9': pyhf knows 1.0.0"),
    "number as text": (spoil(*SIGNAL, "data", 1, value="six"), "channel b, sample signal: data, bin 1: 'six' is not a"),
    "data no list": (spoil(*SIGNAL, "data", value=5.0), "channel b, sample signal: data is 5.0, not a list of numbers"),
    "empty data": (spoil(*SIGNAL, "data", value=[]), "channel b, sample signal: data is \\[\\], not a list of numbers"),
    "unknown modifier": (
        append(*SIGNAL, "modifiers", value=plain("x", "normsy")),
        "channel b, sample signal, modifier x: unknown type 'normsy'\n.*did you mean 'normsys'",
    ),
    "misspelt key": (spoil(*SIGNAL, "dta", value=[1.0]), "sample signal: unknown key 'dta'\n.*did you mean 'data'"),
    "sample without modifiers": (spoil(*SIGNAL, "modifiers", value=...), "sample signal: key 'modifiers' is missing"),
    "histosys without a side": (
        spoil(*SIGNAL, "modifiers", 1, "data", value={"hi_data": [1.0, 1.0, 1.0]}),
        "modifier jes: data: key 'lo_data' is missing",
    ),
    "normsys with text": (
        spoil(*BACKGROUND, "modifiers", 0, "data", "hi", value="1.1"), "modifier jes: hi is '1.1', not a number",
    ),
    "data of a normfactor": (
        spoil(*SIGNAL, "modifiers", 0, "data", value=[1.0]), "modifier mu: data of a normfactor is \\[1.0\\]\n.*null",
    ),
    "name of lumi": (
        append(*SIGNAL, "modifiers", value=plain("luminosity", "lumi")), "a modifier of type lumi is called",
    ),
    "bounds of one number": (append(*SETTINGS, value={"name": "mu", "bounds": [[0]]}), "mu: bounds\\[0\\] is \\[0\\]"),
    "fixed as number": (append(*SETTINGS, value={"name": "mu", "fixed": 1}), "mu: fixed is 1\n.*true or false"),
    "POI as number": (spoil(*CONFIG, "poi", value=3), "measurement fit: poi is 3, not text"),
    "no measurements": (spoil("measurements", value=[]), "measurements is an empty list"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISSHAPEN)
def test_file_of_another_shape_is_told(name):
    change, message = MISSHAPEN[name]
    spec = workspace()
    change(spec)
    with pytest.raises(UserError, match=message) as caught:
        make_problem(spec, "given.json")
    assert "given.json is not a valid pyhf workspace" in caught.value.cause


OTHERS = {
    "a list": ([1, 2], "it is a list, not a workspace"),
    "a number": (3, "it is a int, not a workspace"),
    "a model": (
        {"channels": workspace()["channels"]},
        "it is a pyhf model, .*\n.*add `observations` and `measurements`",
    ),
    "a patchset": ({"patches": [], "metadata": {}}, "it is a patchset, .*\n.*`patchset`"),
    "a patch": ([{"op": "add", "path": "/a", "value": 1}], "it is a JSON patch, .*\n.*`patch`"),
    "HS3": ({"distributions": [], "domains": []}, "it is an HS3 document"),
    "nothing": ({}, "key 'channels' is missing"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_documents_are_told(name):
    document, message = OTHERS[name]
    with pytest.raises(UserError, match=message):
        make_problem(document, "given.json")


REPLACEMENTS = [
    None,
    "text",
    1,
    2.5,
    True,
    [],
    {},
    [1.0],
    ["a"],
    {"name": "x"},
    {"hi": 1.0, "lo": 1.0},
    [[0, 1]],
    "lumi",
]


def mutate(spec, generator):
    """Replace, delete or add a random part of a document."""
    node, path = spec, []
    while isinstance(node, (dict, list)) and node and (not path or generator.random() < 0.8):
        key = generator.choice(list(node)) if isinstance(node, dict) else int(generator.integers(len(node)))
        path.append((node, str(key) if isinstance(node, dict) else key))
        node = node[path[-1][1]]
    parent, key = path[-1]
    action = generator.integers(3)
    if action == 0:
        parent[key] = copy.deepcopy(REPLACEMENTS[generator.integers(len(REPLACEMENTS))])
    elif action == 1:
        del parent[key]
    elif isinstance(parent, dict):
        parent["extra"] = 1.0


@given(st.integers(0, 10**6))
@settings(max_examples=120, deadline=None)
def test_structure_is_accepted_as_by_the_schema_of_pyhf(seed):
    spec = workspace()
    mutate(spec, np.random.default_rng(seed))
    try:
        with quiet_pyhf():
            pyhf.schema.validate(spec, "workspace.json", version="1.0.0")
        valid = True
    except pyhf.exceptions.InvalidSpecification:
        valid = False
    found = [cause for cause, _ in find_misshapen(spec)]
    # of bounds the schema asks for lists of numbers only, where we ask for pairs
    assert valid == (not [cause for cause in found if "bounds[" not in cause])
