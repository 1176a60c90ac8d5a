"""Checks of templates before a workspace is made of them; the messages name region, sample and bin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lhcml.common.errors import UserError
from lhcml.inference.naming import applies
from lhcml.inference.templates import Template

# templates[region][sample][label]; label "nominal", a shift, or "variance:" and a column
Templates = Mapping[str, Mapping[str, Mapping[str, Template]]]
VARIANCE = "variance:"
MOST_FAULTS = 12


def raise_faults(faults: Sequence[str], fix: str) -> None:
    """Raise a UserError that lists faults, if there are any."""
    if faults:
        more = f"\n  and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
        raise UserError("templates that cannot be fitted:\n  " + "\n  ".join(faults[:MOST_FAULTS]) + more, fix)


def require_filled(edges: Mapping[str, Sequence[float]], templates: Templates) -> None:
    """Raise a UserError for bins without simulated jets or with negative expectation, naming each.

    A bin without a simulated jet expects zero events with zero uncertainty, which no amount of data agrees with.

    Parameters
    ----------
    edges : mapping
        Bin edges of each region.
    templates : mapping
        Filled from simulated jets or events.
    """
    faults = []
    for region, sample, label, template in each_template(templates):
        here = f"region {region}, sample {sample}" + ("" if label == "nominal" else f", shift {label}")
        if template.raw.sum() == 0:
            faults.append(f"{here}: empty template: no simulated jet in any bin")
            continue
        for index, (raw, events) in enumerate(zip(template.raw, template.events, strict=True)):
            if raw == 0 or events <= 0:
                why = "no simulated jet" if raw == 0 else f"{events:.3g} expected events from {raw} jets"
                faults.append(f"{here}, {name_bin(edges[region], index)}: {why}")
    raise_faults(faults, "merge these bins with their neighbours (`bins` of the region), or simulate more events")


def require_positive(edges: Mapping[str, Sequence[float]], templates: Templates) -> None:
    """Raise a UserError for histograms with negative or no numbers, empty templates, and bins that no sample fills.

    A sample may have no events in a bin as long as another one has.
    """
    faults = []
    totals: dict[str, Any] = {}
    for region, sample, label, template in each_template(templates):
        here = f"region {region}, sample {sample}" + ("" if label == "nominal" else f", shift {label}")
        for index, events in enumerate(template.events):
            if not (np.isfinite(events) and np.isfinite(template.variance[index])):
                faults.append(f"{here}, {name_bin(edges[region], index)}: {events} events")
            elif events < 0:
                faults.append(f"{here}, {name_bin(edges[region], index)}: negative ({events:.3g} events)")
        if not template.events.any():
            faults.append(f"{here}: empty template: no events in any bin")
        if label == "nominal":
            totals[region] = totals.get(region, 0.0) + template.events
    for region, total in totals.items():
        for index in np.flatnonzero(total == 0).tolist():
            faults.append(f"region {region}, {name_bin(edges[region], index)}: no sample expects events")
    raise_faults(
        faults,
        "merge bins with their neighbours (`bins` of the region), or leave the sample out (`regions` of the sample)",
    )


def require_uncertainties(
    edges: Mapping[str, Sequence[float]], templates: Templates, modifiers: Mapping[str, Any]
) -> None:
    """Raise a UserError for bins with events and no statistical uncertainty where a modifier needs one."""
    faults = []
    for name, modifier in modifiers.items():
        if modifier["type"] != "staterror" and not modifier.get("statistical"):
            continue
        for region, sample, label, template in each_template(templates):
            if label == "nominal" and applies(modifier, region, sample):
                for index in np.flatnonzero((template.events > 0) & ~(template.variance > 0)).tolist():
                    faults.append(
                        f"region {region}, sample {sample}, {name_bin(edges[region], index)}: modifier {name}: "
                        f"{template.events[index]:.3g} events with zero uncertainty"
                    )
    raise_faults(faults, "fill the histograms with their sums of squared weights (Sumw2), or leave these samples out")


def each_template(templates: Templates) -> list[tuple[str, str, str, Template]]:
    """Return (region, sample, label, template) of all templates, without those that hold another variance."""
    return [
        (region, sample, label, template)
        for region, samples in templates.items()
        for sample, parts in samples.items()
        for label, template in parts.items()
        if not label.startswith(VARIANCE)
    ]


def name_bin(edges: Sequence[float], index: int) -> str:
    """Return number and edges of a bin for a message."""
    return f"bin {index} ({edges[index]:g} to {edges[index + 1]:g})"
