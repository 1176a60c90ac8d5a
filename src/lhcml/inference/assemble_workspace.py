"""Assembly of a pyhf workspace from templates and the modifiers of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lhcml.common.errors import UserError
from lhcml.inference.templates import Template

Templates = Mapping[str, Mapping[str, Mapping[str, Template]]]


def require_filled(config: Mapping[str, Any], templates: Templates) -> None:
    """Raise a UserError for bins without simulated jets or with negative expectation, naming each.

    A bin without a simulated jet expects zero events with zero uncertainty, which no amount of data agrees with.
    """
    faults = []
    for region, samples in templates.items():
        bins = config["regions"][region]["bins"]
        for sample, parts in samples.items():
            for label, template in parts.items():
                here = f"region {region}, sample {sample}" + ("" if label == "nominal" else f", shift {label}")
                if template.raw.sum() == 0:
                    faults.append(f"{here}: empty template: no simulated jet in any bin")
                    continue
                for index, (raw, events) in enumerate(zip(template.raw, template.events, strict=True)):
                    if raw == 0 or events <= 0:
                        why = "no simulated jet" if raw == 0 else f"{events:.3g} expected events from {raw} jets"
                        faults.append(f"{here}, bin {index} ({bins[index]:g} to {bins[index + 1]:g}): {why}")
    if faults:
        more = f"\n  and {len(faults) - 12} more" if len(faults) > 12 else ""
        raise UserError(
            "templates that cannot be fitted:\n  " + "\n  ".join(faults[:12]) + more,
            "merge these bins with their neighbours (`bins` of the region), or simulate more events",
        )


def assemble_workspace(
    config: Mapping[str, Any], templates: Templates, observed: Mapping[str, list[float]]
) -> dict[str, Any]:
    """Return the pyhf workspace of a measurement.

    Parameters
    ----------
    config : Mapping
        A measurement of the configuration.
    templates : mapping
        templates[region][sample][label], label "nominal" or a shift.
    observed : mapping of str to list
        Counts of each region.
    """
    channels = [
        {
            "name": region,
            "samples": [
                {
                    "name": sample,
                    "data": parts["nominal"].events.tolist(),
                    "modifiers": [
                        make_modifier(name, modifier, region, parts)
                        for name, modifier in config["modifiers"].items()
                        if applies(modifier, region, sample)
                    ],
                }
                for sample, parts in samples.items()
            ],
        }
        for region, samples in templates.items()
    ]
    parameters = [
        {"name": name, "inits": [modifier["initial"]], "bounds": [modifier["bounds"]]}
        for name, modifier in config["modifiers"].items()
        if modifier["type"] == "normfactor"
    ]
    return {
        "version": "1.0.0",
        "channels": channels,
        "observations": [{"name": region, "data": counts} for region, counts in observed.items()],
        "measurements": [{"name": "measurement", "config": {"poi": config["poi"], "parameters": parameters}}],
    }


def applies(modifier: Mapping[str, Any], region: str, sample: str) -> bool:
    """Tell whether a modifier acts on a sample in a region; without a list it acts on all."""
    return region in modifier.get("regions", [region]) and sample in modifier.get("samples", [sample])


def make_modifier(name: str, modifier: Mapping[str, Any], region: str, parts: Mapping[str, Template]) -> dict[str, Any]:
    """Return the pyhf form of a modifier on one sample of one region."""
    kind = modifier["type"]
    data: Any = None
    if kind == "normsys":
        data = {"hi": modifier["up"], "lo": modifier["down"]}
    elif kind == "histosys":
        data = {"hi_data": parts[modifier["up"]].events.tolist(), "lo_data": parts[modifier["down"]].events.tolist()}
    elif kind == "staterror":
        # one set of parameters a region, shared by its samples (Barlow-Beeston lite)
        name, data = f"{name}_{region}", np.sqrt(parts["nominal"].variance).tolist()
    return {"name": name, "type": kind, "data": data}
