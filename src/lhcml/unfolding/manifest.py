"""The manifest of an unfolded data set: its schema, its recipe of uncertainties and its example."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhcml.common.configuration import describe_error
from lhcml.common.errors import UserError

FORMAT, VERSION = "lhcml unfolded events", "1.0"
SCHEMA = Path(__file__).with_name("manifest.schema.json")
COMBINE = {
    "replicas": "histogram each column; covariance of the histograms over the columns, divided by n - 1",
    "ensemble": "histogram each column; covariance of the histograms over the columns, divided by (n - 1) averaged",
    "two_sided": "d = (histogram of up - histogram of down) / 2, with its sign; covariance d_i d_j",
    "one_sided": "d = histogram of column - histogram of weight_nominal, with its sign; covariance d_i d_j",
}
ROWS = "one row a simulated event that passes the fiducial cuts at particle level; every column is of particle level"
WEIGHTS = (
    "the sum of weight_nominal over any set of events is the unfolded number of events at the luminosity of the data, "
    "corrected for the detector, its efficiency, fakes and background; weight_generator is the same before unfolding"
)
# needs nothing but PyArrow and NumPy; run in the folder of the data set
EXAMPLE = """\
import json, numpy as np, pyarrow.parquet
events = pyarrow.parquet.ParquetFile("events.parquet")
read = lambda name: events.read([name], use_threads=False)[name].to_numpy()
values, edges, covariance = {values}, np.linspace({low:g}, {high:g}, 21), np.zeros((20, 20))
fill = lambda name: np.histogram(values, edges, weights=read(name))[0]
for part in json.load(open("manifest.json"))["uncertainties"].values():
    if "columns" in part:
        covariance += np.cov([fill(name) for name in part["columns"]], rowvar=False) / part.get("averaged", 1)
    else:
        up, down = (part["up"], part["down"]) if "up" in part else (part["column"], "weight_nominal")
        shift = (fill(up) - fill(down)) / (2 if "up" in part else 1)
        covariance += np.outer(shift, shift)
print(fill("weight_nominal"), np.sqrt(np.diag(covariance)))
"""


@functools.cache
def read_schema() -> dict[str, Any]:
    """Return the JSON schema of the manifest."""
    schema: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return schema


def validate_manifest(manifest: Any, where: str) -> None:
    """Check a manifest against its schema.

    Parameters
    ----------
    manifest : mapping
        Content of manifest.json.
    where : str
        Its file, for the message.

    Raises
    ------
    UserError
        With every error found.
    """
    import jsonschema

    found = sorted(jsonschema.Draft202012Validator(read_schema()).iter_errors(manifest), key=lambda e: e.json_path)
    if found:
        raise UserError(
            f"{where} is not a valid manifest:\n  " + "\n  ".join(describe_error(error) for error in found),
            "get the data set again or publish it anew; docs/unfolding_dataset.md describes the manifest",
        )


def build_recipe(columns: Sequence[str], systematics: Mapping[str, Any], averaged: int) -> dict[str, dict[str, Any]]:
    """Return the sources of uncertainty with their weight columns.

    Parameters
    ----------
    columns : sequence of str
        Weight columns there are.
    systematics : mapping
        Block `unfolding.systematics`: by source `up` and `down`, or, one-sided, nothing of both.
    averaged : int
        Members of the ensemble whose average the nominal weight is; 1 if it is one network like them.

    Raises
    ------
    UserError
        If a column is missing, belongs to no source, or is the only one of its kind.
    """
    recipe: dict[str, dict[str, Any]] = {}
    groups = {
        "statistical_data": ("weight_bootstrap_data_", "replicas", "statistics of the data: bootstrap replicas"),
        "statistical_simulation": (
            "weight_bootstrap_simulation_", "replicas", "statistics of the simulation: bootstrap replicas",
        ),
        "ensemble": ("weight_ensemble_", "ensemble", "training: networks that differ in their random numbers only"),
    }  # fmt: skip
    for source, (prefix, kind, description) in groups.items():
        found = [name for name in columns if name.startswith(prefix)]
        if len(found) == 1:
            raise UserError(
                f"{found[0]} is the only column of its kind: one replica has no spread",
                "set two or more, or none at all",
            )
        if found:
            recipe[source] = {"kind": kind, "description": description, "columns": found}
    if "ensemble" in recipe:
        recipe["ensemble"]["averaged"] = averaged
    for source, block in systematics.items():
        if "up" in block and "down" in block:
            part = {"kind": "two_sided", "up": f"weight_{block['up']}", "down": f"weight_{block['down']}"}
        else:
            part = {"kind": "one_sided", "column": f"weight_{block.get('up', block.get('down', source))}"}
        recipe[source] = part | {"description": str(block.get("label", f"systematic variation {source}"))}
    for part in recipe.values():
        part["combine"] = COMBINE[part["kind"]]
    used = {"weight_nominal"}
    for source, part in recipe.items():
        names = {*part.get("columns", []), *(part[key] for key in ("up", "down", "column") if key in part)}
        if missing := sorted(names - set(columns)):
            raise UserError(
                f"no weight column {', '.join(missing)} for {source}", "unfold this variation, or remove it"
            )
        used |= names
    if left := [name for name in columns if name not in used]:
        raise UserError(f"weight columns {', '.join(left)} belong to no source of uncertainty", "add it to systematics")
    return recipe


def make_example(observables: Mapping[str, Any]) -> str:
    """Return Python code that makes the spectrum of a new observable, a ratio where a data set has mass and pt."""
    if {"jet_mass", "jet_pt"} <= observables.keys():
        return EXAMPLE.format(values='read("jet_mass") / read("jet_pt")', low=0, high=0.3)
    name = next((name for name, entry in observables.items() if "edges" in entry), next(iter(observables)))
    edges = observables[name].get("edges", [0.0, 1.0])
    return EXAMPLE.format(values=f'read("{name}")', low=edges[0], high=edges[-1])
