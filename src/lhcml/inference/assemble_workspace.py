"""Assembly of a pyhf workspace from templates and the modifiers of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lhcml.inference.check_templates import VARIANCE, Templates
from lhcml.inference.naming import applies, parameter_name
from lhcml.inference.systematics import (
    Variation,
    make_variation,
    report_variation,
    require_counted_once,
    require_two_sides,
    write_rate,
    write_variation,
)
from lhcml.inference.templates import Template

# Bounds of the luminosity factor, in standard deviations
LUMI_RANGE = 5.0
# What the name of the parameter of pyhf's lumi modifier must be
LUMI = "lumi"


@dataclass
class Report:
    """What was made of the variations: a row for each (modifier, region, sample), and the variations themselves."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    variations: list[Variation] = field(default_factory=list)

    def remarks(self) -> list[str]:
        """Return the remarks on variations, each with its place."""
        return [
            f"region {row['region']}, sample {row['sample']}, modifier {row['modifier']}: {text}"
            for row in self.rows
            for text in row["remarks"]
        ]


def assemble_workspace(
    config: Mapping[str, Any], templates: Templates, observed: Mapping[str, list[float]]
) -> tuple[dict[str, Any], Report]:
    """Return the pyhf workspace of a measurement and what was made of its variations.

    Parameters
    ----------
    config : Mapping
        A measurement of the configuration: "poi", "modifiers", optionally "smoothing" and "pruning".
    templates : mapping
        templates[region][sample][label], label "nominal" or a shift.
    observed : mapping of str to list
        Counts of each region.

    Raises
    ------
    UserError
        If a variation is one-sided, or counted twice.
    """
    report = Report()
    channels = [
        {
            "name": region,
            "samples": [
                {
                    "name": sample,
                    "data": parts["nominal"].events.tolist(),
                    "modifiers": [
                        written
                        for name, modifier in config["modifiers"].items()
                        if applies(modifier, region, sample)
                        for written in make_modifiers(name, modifier, region, sample, parts, config, report)
                    ],
                }
                for sample, parts in samples.items()
            ],
        }
        for region, samples in templates.items()
    ]
    require_two_sides(report.variations)
    require_counted_once(report.variations)
    workspace = {
        "version": "1.0.0",
        "channels": channels,
        "observations": [{"name": region, "data": counts} for region, counts in observed.items()],
        "measurements": [
            {"name": "measurement", "config": {"poi": config["poi"], "parameters": make_parameters(config, templates)}}
        ],
    }
    return workspace, report


def make_modifiers(
    name: str, modifier: Mapping[str, Any], region: str, sample: str, parts: Mapping[str, Template],
    config: Mapping[str, Any], report: Report,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return the pyhf form of a modifier on one sample of one region, and add it to the report if it may be pruned."""
    kind, pruning = modifier["type"], config.get("pruning", {})
    parameter = parameter_name(name, modifier, region, sample)
    if kind == "histosys":
        variation = make_variation(name, modifier, region, sample, parts, config.get("smoothing", {}))
        written, status = write_variation(variation, modifier.get("separate_rate", False), pruning)
        report.variations.append(variation)
        report.rows.append(report_variation(variation, status))
        return written
    if kind == "normsys":
        written, row = write_rate(name, modifier, region, sample, pruning)
        report.rows.append(row)
        return written
    data: Any = None
    if kind == "staterror":
        # one set of parameters a region, shared by its samples (Barlow-Beeston lite)
        data = np.sqrt(parts["nominal"].variance).tolist()
    elif kind == "shapesys":
        data = shape_uncertainties(modifier, region, parts)
    return [{"name": LUMI if kind == "lumi" else parameter, "type": kind, "data": data}]


def shape_uncertainties(modifier: Mapping[str, Any], region: str, parts: Mapping[str, Template]) -> list[float]:
    """Return the absolute uncertainty of each bin of a sample by a shapesys."""
    nominal = parts["nominal"]
    if modifier.get("statistical"):
        return [float(value) for value in np.sqrt(nominal.variance)]
    if "column" in modifier:
        return [float(value) for value in np.sqrt(parts[VARIANCE + modifier["column"]].variance)]
    given = modifier["uncertainty"]
    relative = given[region] if isinstance(given, Mapping) else given
    return [float(value) for value in np.broadcast_to(relative, nominal.events.shape) * nominal.events]


def make_parameters(config: Mapping[str, Any], templates: Templates) -> list[dict[str, Any]]:
    """Return the settings of the parameters that need any: starting values and bounds, width of the luminosity."""
    parameters: dict[str, dict[str, Any]] = {}
    for name, modifier in config["modifiers"].items():
        kind = modifier["type"]
        places = [
            (region, sample, len(parts["nominal"].events))
            for region, samples in templates.items()
            for sample, parts in samples.items()
            if applies(modifier, region, sample)
        ]
        if kind == "lumi" and places:
            reach = LUMI_RANGE * modifier["sigma"]
            parameters[LUMI] = {
                "name": LUMI, "auxdata": [1.0], "sigmas": [modifier["sigma"]], "inits": [1.0],
                "bounds": [[max(0.0, 1 - reach), 1 + reach]],
            }  # fmt: skip
        if kind in ("normfactor", "shapefactor"):
            for region, sample, bins in places:
                size = bins if kind == "shapefactor" else 1
                parameter = parameter_name(name, modifier, region, sample)
                parameters[parameter] = {
                    "name": parameter, "inits": [modifier["initial"]] * size, "bounds": [modifier["bounds"]] * size,
                }  # fmt: skip
    return list(parameters.values())
