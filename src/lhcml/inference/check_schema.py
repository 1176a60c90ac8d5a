"""The structure of a workspace: what pyhf's JSON schema (version 1.0.0) asks for, told with names instead of indices.

pyhf validates with jsonschema, which takes seconds for a large workspace, and says of a misspelt modifier that it "is
not valid under any of the given schemas". These functions accept the same documents (a test compares them).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

VERSION = "1.0.0"
MODIFIER_TYPES = ("histosys", "lumi", "normfactor", "normsys", "shapefactor", "shapesys", "staterror")
# Lists of numbers that the setting of a parameter in a measurement may have
SETTINGS = ("inits", "auxdata", "factors", "sigmas")

Found = Iterator[tuple[str, str]]


def describe_document(document: Any) -> str:
    """Return what a JSON document is: "a workspace", "a pyhf model", "a patchset", "a JSON patch" or something else."""
    if isinstance(document, list):
        if document and all(isinstance(item, Mapping) and "op" in item for item in document):
            return "a JSON patch"
        return "a list"
    if not isinstance(document, Mapping):
        return f"a {type(document).__name__}"
    if "patches" in document:
        return "a patchset"
    if "distributions" in document or "domains" in document:
        return "an HS3 document"
    if "channels" in document and not {"observations", "measurements"} & set(document):
        return "a pyhf model"
    return "a workspace"


def find_misshapen(document: Any) -> Found:
    """Yield (cause, fix) for each departure from the schema of a workspace."""
    kind = describe_document(document)
    fixes = {
        "a patchset": "give its background with `workspace`, and this file with `patchset` or as `patch: [file#name]`",
        "a JSON patch": "give the workspace it applies to with `workspace`, and this file with `patch`",
        "a pyhf model": "add `observations` and `measurements` to make it a workspace: a model holds no data",
        "an HS3 document": "convert it to a pyhf workspace (HistFactory JSON)",
    }
    if kind != "a workspace":
        fix = "give a workspace with channels, observations, measurements and version (`pyhf xml2json` makes one)"
        yield f"it is {kind}, not a workspace", fixes.get(kind, fix)
        return
    keys = {"channels": True, "measurements": True, "observations": True, "version": True}
    yield from _keys(document, keys, "top level")
    if "version" in document and document["version"] != VERSION:
        yield f"its version is {document['version']!r}: pyhf knows {VERSION}", f'set "version" to "{VERSION}"'
    for key, check in (("channels", _channel), ("observations", _observation), ("measurements", _measurement)):
        if key in document:
            yield from _items(document[key], key, check)


def _keys(block: Any, known: Mapping[str, bool], here: str) -> Found:
    """Yield what is wrong with the keys of an object; `known` tells which are required."""
    if not isinstance(block, Mapping):
        yield f"{here} is {_short(block)}, not an object", "give an object with " + ", ".join(known)
        return
    for key, required in known.items():
        if required and key not in block:
            yield f"{here}: key {key!r} is missing", "add it"
    for key in block:
        if key not in known:
            close = get_close_matches(str(key), known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"its keys are: {', '.join(known)}"
            yield f"{here}: unknown key {key!r}", hint


def _items(values: Any, here: str, check: Callable[[Any, str], Found], least: int = 1) -> Found:
    """Yield what is wrong with a list and with each of its items."""
    if not isinstance(values, list):
        yield f"{here} is {_short(values)}, not a list", "give a list, in square brackets"
    elif len(values) < least:
        yield f"{here} is an empty list", "give at least one"
    else:
        for index, value in enumerate(values):
            yield from check(value, f"{here}[{index}]")


def _numbers(values: Any, here: str) -> Found:
    """Yield what is wrong with a list of numbers."""
    if not isinstance(values, list) or not values:
        yield f"{here} is {_short(values)}, not a list of numbers", "give a number for each bin, in square brackets"
        return
    for index, value in enumerate(values):
        if not isinstance(value, (int, float)):
            yield f"{here}, bin {index}: {_short(value)} is not a number", "give a number, without quotes"


def _named(block: Any, known: Mapping[str, bool], here: str, what: str) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the keys and the name of an object."""
    yield from _keys(block, known, here)
    if isinstance(block, Mapping) and not isinstance(block.get("name", ""), str):
        yield f"{here}: the name of the {what} is {_short(block['name'])}, not text", "put it in quotes"


def _label(block: Any, what: str, where: str, here: str) -> str:
    """Return how to speak of an object: by its name, or by where it stands."""
    return f"{where}{what} {block['name']}" if isinstance(block, Mapping) and "name" in block else here


def _channel(block: Any, here: str) -> Found:
    here = _label(block, "channel", "", here)
    yield from _named(block, {"name": True, "samples": True}, here, "channel")
    if isinstance(block, Mapping) and "samples" in block:

        def sample(part: Any, place: str) -> Found:
            return _sample(part, _label(part, "sample", f"{here}, ", f"{here}, {place}"))

        yield from _items(block["samples"], "samples", sample)


def _sample(block: Any, here: str) -> Found:
    yield from _named(block, {"name": True, "data": True, "modifiers": True}, here, "sample")
    if not isinstance(block, Mapping):
        return
    if "data" in block:
        yield from _numbers(block["data"], f"{here}: data")
    if "modifiers" in block:

        def modifier(part: Any, place: str) -> Found:
            return _modifier(part, _label(part, "modifier", f"{here}, ", f"{here}, {place}"))

        yield from _items(block["modifiers"], f"{here}: modifiers", modifier, 0)


def _modifier(block: Any, here: str) -> Found:
    yield from _named(block, {"name": True, "type": True, "data": True}, here, "modifier")
    if not isinstance(block, Mapping) or "type" not in block:
        return
    kind, data = block["type"], block.get("data")
    if kind not in MODIFIER_TYPES:
        close = get_close_matches(str(kind), MODIFIER_TYPES, 1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        yield f"{here}: unknown type {kind!r}", f"{hint}types are: {', '.join(MODIFIER_TYPES)}"
    elif "data" not in block:
        return
    elif kind == "lumi" and block.get("name") != "lumi":
        yield f"{here}: a modifier of type lumi is called 'lumi'", "rename it, or make it a normsys"
    elif kind in ("lumi", "normfactor", "shapefactor"):
        if data is not None:
            yield f"{here}: data of a {kind} is {_short(data)}", "set it to null"
    elif kind in ("shapesys", "staterror"):
        yield from _numbers(data, f"{here}: data")
    elif kind == "histosys":
        yield from _keys(data, {"hi_data": True, "lo_data": True}, f"{here}: data")
        for key in ("hi_data", "lo_data"):
            if isinstance(data, Mapping) and key in data:
                yield from _numbers(data[key], f"{here}: {key}")
    else:
        yield from _keys(data, {"hi": True, "lo": True}, f"{here}: data")
        for key in ("hi", "lo"):
            if isinstance(data, Mapping) and not isinstance(data.get(key, 1), (int, float)):
                yield f"{here}: {key} is {_short(data[key])}, not a number", "give a factor, e.g. 1.05"


def _observation(block: Any, here: str) -> Found:
    here = _label(block, "observation", "", here)
    yield from _named(block, {"name": True, "data": True}, here, "observation")
    if isinstance(block, Mapping) and "data" in block:
        yield from _numbers(block["data"], f"{here}: data")


def _measurement(block: Any, here: str) -> Found:
    here = _label(block, "measurement", "", here)
    yield from _named(block, {"name": True, "config": True}, here, "measurement")
    if not isinstance(block, Mapping) or "config" not in block:
        return
    config = block["config"]
    yield from _keys(config, {"poi": True, "parameters": True}, f"{here}: config")
    if isinstance(config, Mapping):
        if not isinstance(config.get("poi", ""), str):
            yield f"{here}: poi is {_short(config['poi'])}, not text", 'give the name of a parameter, or ""'
        if "parameters" in config:

            def parameter(part: Any, place: str) -> Found:
                return _parameter(part, _label(part, "parameter", f"{here}, ", f"{here}, {place}"))

            yield from _items(config["parameters"], f"{here}: parameters", parameter, 0)


def _parameter(block: Any, here: str) -> Found:
    known = {"name": True, "bounds": False, "fixed": False} | dict.fromkeys(SETTINGS, False)
    yield from _named(block, known, here, "parameter")
    if not isinstance(block, Mapping):
        return
    for key in SETTINGS:
        if key in block:
            yield from _numbers(block[key], f"{here}: {key}")
    if not isinstance(block.get("fixed", True), bool):
        yield f"{here}: fixed is {_short(block['fixed'])}", "give true or false"
    if "bounds" in block:
        yield from _items(block["bounds"], f"{here}: bounds", _pair)


def _pair(values: Any, here: str) -> Found:
    """Yield a fault unless the value is [smallest, largest]; pyhf's schema asks for a list of numbers only."""
    numbers = isinstance(values, list) and all(isinstance(value, (int, float)) for value in values)
    if not numbers or len(values) != 2:
        yield f"{here} is {_short(values)}", "give [smallest, largest] for each component of the parameter"


def _short(value: Any) -> str:
    """Return a value as text, cut in its middle."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:30]} ... {text[-25:]}"
