"""The README of an unfolded data set, for people, from its manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

TEXT = """\
# {title}

Channel {channel}. Unfolded with {method} from {kind}.

| file | content |
|---|---|
| `events.parquet` | {rows} events: {events} |
| `events.h5` | the same, a dataset a column |
| `manifest.json` | all that is on this page, for programs |
| `hepdata/` | binned spectra of some observables, ready for HEPData |

## Weights

In these columns, {weights}.

{sums}

## Uncertainties

Sources are independent: their covariance matrices add.

| source | meaning | columns | covariance |
|---|---|---|---|
{sources}

With n replicas a standard deviation is known to 1 / sqrt(2 (n - 1)) of itself. A covariance matrix of more bins than
there are replicas and systematic sources has no inverse.

## Phase space

Particle level, to which the events are corrected:

{fiducial}

Detector level:

{selection}

Objects:

{objects}

## Observables

| column | label | unit | definition | source |
|---|---|---|---|---|
{observables}

## A new observable

In this folder, with PyArrow and NumPy:

```python
{example}
```

## Made from

Simulation:

{simulation}

Data ({kind}):

{data}

Background:

{background}

Commit {git}, seed {seed}, {versions}.

## Checksums (SHA-256)

{checksums}
"""


def with_uncertainty(measured: Mapping[str, Any], unit: str) -> str:
    """Return a measured number as text: value, total uncertainty, uncertainties by source."""
    # what is left of sources that change no rate is rounding
    least = 1e-9 * abs(measured["value"])
    sizes = {name: value if value > least else 0 for name, value in measured["uncertainties"].items()}
    parts = ", ".join(f"{name} {value:.2g}" for name, value in sizes.items())
    return f"{measured['value']:.6g} +- {measured['uncertainty']:.2g} {unit}" + (f" ({parts})" if parts else "")


def bullets(lines: Sequence[str]) -> str:
    """Return lines as a list, "none" if there are none."""
    return "\n".join(f"- {line}" for line in lines or ["none"])


def settings(block: Mapping[str, Any]) -> str:
    """Return named blocks of settings as a list."""
    return bullets([f"{name}: `{json.dumps(value, sort_keys=True)}`" for name, value in block.items()])


def sources(recipe: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the rows of the table of uncertainties."""
    rows = []
    for source, part in recipe.items():
        names = part.get("columns") or [part[key] for key in ("up", "down", "column") if key in part]
        shown = f"`{names[0]}` .. `{names[-1]}`" if len(names) > 2 else ", ".join(f"`{name}`" for name in names)
        averaged = f" = {part['averaged']}" if "averaged" in part else ""
        rows.append(f"| {source} | {part['description']} | {shown} | {part['combine']}{averaged} |")
    return "\n".join(rows)


def sums(manifest: Mapping[str, Any]) -> str:
    """Return the list of sums of weights and their quality."""
    weights, total, quality = manifest["weights"], manifest["total"], manifest["quality"]
    effective = quality["effective_events"]
    lines = [f"In all {with_uncertainty(total['events'], 'events')}"]
    if total["cross_section_pb"] is not None:
        lines.append(f"Fiducial cross section {with_uncertainty(total['cross_section_pb'], 'pb')}")
        lines.append(f"Luminosity {weights['luminosity_fb']:g} fb^-1: weights times {weights['factor_to_pb']:g} are pb")
    lines.append(f"Before unfolding {total['prior_events']:.6g} events")
    lines.append(f"Effective events {effective['nominal']:.6g}, before unfolding {effective['prior']:.6g}")
    lines.append(
        f"Largest weight {quality['largest_weight_share']:.2g} of the sum; largest ratio to that before unfolding "
        f"{quality['largest_push']:.3g}; negative share {quality['negative_share']:.2g}"
    )
    return bullets(lines)


def make_readme(manifest: Mapping[str, Any]) -> str:
    """Return the README of a data set, in Markdown."""

    def cuts(block: Sequence[Mapping[str, Any]]) -> str:
        return bullets([f"`{cut['observable']}`: {cut['words']}" for cut in block])

    method, provenance = manifest["method"], manifest["provenance"]
    iterations = "" if method["iterations"] is None else f" ({method['iterations']} iterations)"
    fields = ("label", "unit", "definition", "source")
    return TEXT.format(
        title=manifest["title"],
        channel=", ".join(filter(None, (manifest["channel"], manifest["label"]))),
        method=f"{method['label']}{iterations}",
        kind=manifest["data"]["kind"],
        rows=manifest["events"]["rows"],
        events=manifest["events"]["meaning"],
        weights=manifest["weights"]["meaning"],
        sums=sums(manifest),
        sources=sources(manifest["uncertainties"]),
        fiducial=cuts(manifest["fiducial"]),
        selection=cuts(manifest["selection"]),
        objects=settings(manifest["objects"]),
        observables="\n".join(
            f"| `{name}` | " + " | ".join(entry[field] for field in fields) + " |"
            for name, entry in manifest["observables"].items()
        ),
        example=manifest["example"].rstrip(),
        simulation=settings(manifest["simulation"]),
        data=settings(manifest["data"]["datasets"]),
        background=settings(manifest["background"]),
        git=provenance["git"],
        seed=provenance["seed"],
        versions=", ".join(f"{name} {version}" for name, version in provenance["versions"].items()),
        checksums=bullets([f"`{name}`: {entry['sha256']}" for name, entry in manifest["events"]["files"].items()]),
    )
