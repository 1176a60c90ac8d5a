"""Reading of the configuration: a closed schema with defaults, then checks of what a schema cannot say."""

from __future__ import annotations

import copy
import difflib
import glob
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lhcml.common.errors import UserError
from lhcml.common.files import is_remote
from lhcml.common.references import check_references

# Values of `family` of a tagger that are no network: they have other keys
NOT_NETWORKS = ("bdt", "ensemble", "external", "onnx")
STAGES = ("samples", "skim", "features", "taggers", "anomaly", "unfolding", "inference", "firmware", "report")


def load_schema(folder: Path) -> dict[str, Any]:
    """Return the schema of the whole configuration, put together from one file a section.

    Parameters
    ----------
    folder : Path
        Folder of `config.schema.yaml`, `channels.schema.yaml` and `<stage>.schema.yaml`. A `$ref` to
        "name.schema.yaml" is replaced by that file.
    """
    import yaml

    # Every job of a cluster reads the schemas again: the parser in C, where PyYAML has it, is ten times as fast
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    def read(name: str) -> Any:
        return resolve(yaml.load((folder / name).read_text(encoding="utf-8"), Loader=loader))

    def resolve(node: Any) -> Any:
        if isinstance(node, dict):
            if str(node.get("$ref", "")).endswith(".schema.yaml"):
                return read(node["$ref"]) | {key: value for key, value in node.items() if key != "$ref"}
            return {key: resolve(value) for key, value in node.items() if key not in ("$schema", "$id")}
        return [resolve(item) for item in node] if isinstance(node, list) else node

    schema: dict[str, Any] = read("config.schema.yaml")
    return schema


def fill_defaults(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return a copy of a configuration value in which absent keys have the schema's defaults.

    Of alternatives (`oneOf`), those of the one that the value is of.
    """
    import jsonschema

    for alternative in schema.get("oneOf", []):
        if jsonschema.Draft202012Validator(alternative).is_valid(value):
            value = fill_defaults(value, alternative)
            break
    if isinstance(value, Mapping):
        properties = schema.get("properties", {})
        filled = {key: copy.deepcopy(item) for key, item in value.items()}
        for key, part in properties.items():
            if key not in filled and "default" in part:
                filled[key] = copy.deepcopy(part["default"])
        other = schema.get("additionalProperties")
        for key, item in filled.items():
            part = properties.get(key, other if isinstance(other, Mapping) else {})
            filled[key] = fill_defaults(item, part)
        return filled
    if isinstance(value, list):
        return [fill_defaults(item, schema.get("items", {})) for item in value]
    return value


def describe_error(error: Any) -> str:
    """Tell one schema error as key, value, what was expected and, for an unknown key, the nearest known one."""
    where = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "additionalProperties" and isinstance(error.instance, Mapping):
        known = list(error.schema.get("properties", {}))
        lines = []
        for key in (key for key in error.instance if key not in known):
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys here: {', '.join(known)}"
            lines.append(f"{f'{where}.{key}' if where else key}: unknown key; {hint}")
        return "\n  ".join(lines)
    if error.validator == "oneOf" and not error.context:
        # more than one alternative holds; where each is told by a key, name those that exclude each other
        keys = [part["required"][0] for part in error.validator_value if part.get("required")]
        given = [key for key in dict.fromkeys(keys) if key in error.instance]
        if len(given) > 1:
            return f"{where}: {', '.join(given)} do not go together; keep one of them"
    if error.validator in ("oneOf", "anyOf") and error.context:
        # tell the errors of the alternative that fits best: the one whose key is there, or the one with the fewest
        branches: dict[Any, list[Any]] = {}
        for part in error.context:
            branches.setdefault(part.schema_path[0], []).append(part)
        block = error.instance if isinstance(error.instance, Mapping) else {}
        meant = [
            number for number, part in enumerate(error.validator_value) if part.get("required", [None])[0] in block
        ]
        best = branches[meant[0]] if len(meant) == 1 else min(branches.values(), key=len)
        return "\n  ".join(describe_error(part) for part in best)
    expected = error.schema.get("description", "")
    if error.validator == "not" and not error.validator_value:
        return f"{where}: this key does not go with the others of its block ({expected})"
    meaning = f" ({expected.split(chr(10))[0].strip()})" if expected else ""
    return f"{where or 'configuration'}: {error.message}{meaning}"


def validate_schema(config: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Check a configuration against the schema.

    Raises
    ------
    UserError
        With every error found: key, value, expectation.
    """
    import jsonschema

    found = sorted(jsonschema.Draft202012Validator(schema).iter_errors(config), key=lambda error: error.json_path)
    if found:
        raise UserError(
            "the configuration is not valid:\n  " + "\n  ".join(describe_error(error) for error in found),
            "correct these keys; docs/configuration.md lists all of them",
        )


def matching_files(name: str, where: str) -> list[str]:
    """Return the files that a name, a glob or a root:// address stands for.

    Raises
    ------
    UserError
        If nothing matches, or an address cannot be used; the message begins with `where`.
    """
    if not is_remote(name):
        matches = sorted(glob.glob(name, recursive=True))
        if not matches:
            raise UserError(
                f"{where}: {name!r} matches no file",
                "give a path or a glob that exists, relative to the folder you run in",
            )
        return matches
    if not name.startswith("root://"):
        raise UserError(f"{where}: {name!r} is no root:// address", "fetch the file and give its path")
    if "*" in name:
        raise UserError(
            f"{where}: {name!r} is a glob, and only its host knows what it matches",
            "list the folder once with `xrdfs HOST ls FOLDER`, and give the addresses in a file, as '@list.txt'",
        )
    return [name]


def listed_files(entry: str, where: str) -> list[str]:
    """Return the files of an entry of `files`: a name, a glob, an address, or `@list`, a text file with one a line.

    Raises
    ------
    UserError
        If the list cannot be read or names no file, and as `matching_files`.
    """
    if not entry.startswith("@"):
        return matching_files(entry, where)
    path = entry.removeprefix("@")
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{where}: cannot read the list {path!r} ({error})",
            "give a text file with a file name or address a line, relative to the folder you run in",
        ) from error
    names = [line for line in lines if line and not line.startswith("#")]
    if not names:
        raise UserError(f"{where}: the list {path!r} names no file", "write a file name or address a line")
    return [file for name in names for file in matching_files(name, f"{where}: {path}")]


def expand_files(config: dict[str, Any]) -> None:
    """Replace the entries of the `files` of datasets by file names and addresses, in place.

    Raises
    ------
    UserError
        If an entry cannot be used, or a file is there twice.
    """
    for channel, block in config["channels"].items():
        for name, dataset in block["datasets"].items():
            if "files" not in dataset:
                continue
            where = f"channels.{channel}.datasets.{name}.files"
            files = [file for entry in dataset["files"] for file in listed_files(entry, where)]
            twice = [file for file, times in Counter(files).items() if times > 1]
            if twice:
                raise UserError(
                    f"{where}: {', '.join(twice[:3])} {'is' if len(twice) == 1 else 'are'} there more than once",
                    "name each file once; its events would be counted twice",
                )
            dataset["files"] = files


def drop_nulls(value: Any) -> Any:
    """Return a copy without the keys whose value is null: an overlay removes a key by setting it to null."""
    if isinstance(value, Mapping):
        return {key: drop_nulls(item) for key, item in value.items() if item is not None}
    return value


def complete_networks(config: dict[str, Any]) -> None:
    """Give the blocks of networks the keys that they need not name, in place; their contents have defaults."""
    for block in config.get("taggers", {}).get("models", {}).values():
        if block["family"] not in NOT_NETWORKS:
            block.setdefault("architecture", {})
            block.setdefault("training", {})


def load_configuration(config: Mapping[str, Any], schemas: Path) -> dict[str, Any]:
    """Return the configuration with defaults filled in and file patterns expanded, after all checks.

    Parameters
    ----------
    config : Mapping
        Configuration as read from the YAML files.
    schemas : Path
        Folder of the schema files.

    Raises
    ------
    UserError
        If the configuration breaks the schema or refers to what is not defined.
    """
    schema = load_schema(schemas)
    given = drop_nulls(config)
    validate_schema(given, schema)
    complete_networks(given)
    filled: dict[str, Any] = fill_defaults(given, schema)
    # a default may be incomplete in itself: the filled configuration must be valid as well
    validate_schema(filled, schema)
    expand_files(filled)
    check_references(filled)
    return filled
