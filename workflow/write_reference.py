#!/usr/bin/env python3
"""Write docs/rules.md from the docstrings of the rules and docs/configuration.md from the schemas.

`make docs` writes both; `--check` only compares and fails if a page is out of date.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from lhcml.common.configuration import STAGES, load_schema  # noqa: E402

RULE = re.compile(r'^(?:rule|checkpoint) (\w+):\n    """(.*?)"""\n(.*?)(?=^\S|\Z)', flags=re.DOTALL | re.MULTILINE)


def rule_pages(text: str) -> Iterator[str]:
    """Yield the Markdown of each rule in the text of a rule file."""
    for name, doc, body in RULE.findall(text):
        module = re.search(r'sources\("([\w.]+)"\)', body)
        environment = re.search(r"envs/(\w+\.yaml)", body)
        facts = [f"module `{module[1]}`"] if module else []
        facts += [f"environment `envs/{environment[1]}`"] if environment else []
        yield f"### {name}\n\n{inspect.cleandoc(doc)}\n" + (f"\n{', '.join(facts).capitalize()}.\n" if facts else "")


def rule_reference() -> str:
    """Return the page of all rules."""
    parts = ["# Rules\n\nGenerated from the docstrings of the rules by `make docs`.\n"]
    for stage in STAGES:
        # a stage may keep its rules in several files: taggers.smk, taggers_evaluation.smk
        files = sorted((ROOT / "workflow/rules").glob(f"{stage}*.smk"))
        parts += [f"## {stage}\n", *(page for path in files for page in rule_pages(path.read_text(encoding="utf-8")))]
    return "\n".join(parts)


def kind_of(schema: Mapping[str, Any]) -> str:
    """Return the type of a value as text, with its choices and limits."""
    if "enum" in schema:
        return " or ".join(json.dumps(choice) for choice in schema["enum"])
    if "const" in schema:
        return json.dumps(schema["const"])
    if "oneOf" in schema or "anyOf" in schema:
        return " or ".join(dict.fromkeys(kind_of(part) for part in schema.get("oneOf", schema.get("anyOf"))))
    if schema.get("type") == "array":
        return f"list of {kind_of(schema.get('items', {}))}"
    limits = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {schema[key]}" for key, sign in limits.items() if key in schema]
    kind = schema.get("type", "any")
    return " ".join(["/".join(kind) if isinstance(kind, list) else str(kind), *bounds])


def config_rows(schema: Mapping[str, Any], where: str, required: bool = False) -> Iterator[str]:
    """Yield a table row for a key and for all keys below it."""
    if where:
        default = "required" if required else f"`{json.dumps(schema['default'])}`" if "default" in schema else ""
        text = " ".join(str(schema.get("description", "")).split()).replace("|", r"\|")
        yield f"| `{where}` | {kind_of(schema)} | {default} | {text} |"
    branches = [schema, *schema.get("oneOf", []), *schema.get("anyOf", [])]
    for branch in branches:
        for key, part in branch.get("properties", {}).items():
            yield from config_rows(part, f"{where}.{key}" if where else key, key in branch.get("required", []))
        if isinstance(branch.get("additionalProperties"), Mapping):
            yield from config_rows(branch["additionalProperties"], f"{where}.<name>")
        items = branch.get("items")
        if isinstance(items, Mapping) and items.get("type") == "object":
            yield from config_rows(items, f"{where}[]")


def config_reference() -> str:
    """Return the page of all configuration keys."""
    schema = load_schema(ROOT / "workflow/schemas")
    head = "| key | value | default | meaning |\n|---|---|---|---|"
    parts = [
        "# Configuration\n",
        "Generated from `workflow/schemas` by `make docs`. A default is the value of a key that a configuration",
        "leaves out; `config/config.yaml` holds the values of the default run. An overlay (`--configfile x.yaml`) is",
        "merged over it key by key; a key set to `null` is removed, a list is replaced.\n",
    ]
    for key, part in schema["properties"].items():
        rows = "\n".join(dict.fromkeys(config_rows(part, key, key in schema["required"])))
        parts.append(f"## {key}\n\n{head}\n{rows}\n")
    return "\n".join(parts)


def main() -> None:
    """Write the pages, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail if a page is out of date, write nothing")
    args = parser.parse_args()
    pages = {ROOT / "docs/rules.md": rule_reference(), ROOT / "docs/configuration.md": config_reference()}
    for path, text in pages.items():
        if not args.check:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            sys.exit(f"error: {path.relative_to(ROOT)} is out of date\n  fix: run `make docs` and commit the page")


if __name__ == "__main__":
    main()
