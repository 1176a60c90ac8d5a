"""README of a published likelihood: what it is, how others use it, what its parameters are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST_REMARKS = 30


def markdown_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return rows with the same keys as a Markdown table."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([row[key] for key in head] for row in rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def quoted(value: float | None) -> str:
    """Return a number to four digits, "none" for None."""
    return "none" if value is None else f"{value:.4g}"


def results_text(poi: str, results: Mapping[str, Any]) -> str:
    """Return the main results in words: fit, limits; what is not valid is said to be so."""
    lines = []
    fit, limit = results.get("fit"), results.get("limit")
    if fit:
        found = fit["poi"]
        lines.append(
            f"- Fit: {poi} = {quoted(found['value'])} +- {quoted(found['uncertainty'])}."
            if fit["valid"]
            else "- The fit is **not valid**: see `results/fit.json`."
        )
    if limit and limit["valid"]:
        share = f"{100 * (1 - limit['level']):g} % CL"
        bands = ", ".join(quoted(value) for value in limit["expected"])
        lines.append(
            f"- Upper limit at {share} (CLs, {limit['test_statistic']}, asymptotic): "
            f"{poi} < {quoted(limit['observed'])} observed, {quoted(limit['expected'][2])} expected without signal "
            f"(at -2, -1, 0, 1, 2 standard deviations: {bands})."
        )
    elif limit:
        lines.append(f"- The limit is **not valid**: {limit['reason']}.")
    others = sorted(set(results) - {"fit", "limit"})
    if others:
        lines.append("- More in `results/`: " + ", ".join(f"`{name}.json`" for name in others) + ".")
    return "\n".join(lines) or "- No result was asked for; the likelihood stands alone."


REPRODUCE = """\
```
python -m venv fresh && fresh/bin/pip install -r requirements.txt
fresh/bin/python reproduce_limit.py{option}
```

needs nothing but these files and pyhf. It prints published and reproduced limits and fails if they differ by more than
0.5 % (`--bands`: the expected ones at 1 and 2 standard deviations too). `requirements.txt` has the exact versions.
"""

COMMAND_USE = """\
CLs of one value of `{poi}`:

```
pyhf cls workspace.json --measurement {measurement} --test-poi 1.0
```
"""

PYTHON_USE = """\
In Python, also with other data or parameters:

```python
import json, pyhf

workspace = pyhf.Workspace(json.load(open("workspace.json")))
model = workspace.model(measurement_name="{measurement}", poi_name=None)
model.config.set_poi("{poi}")
data = workspace.data(model)
print(pyhf.infer.hypotest(1.0, data, model, test_stat="qtilde", return_expected_set=True))
```
"""

SIGNAL_USE = """\
`signal/background.json` is the same model without the samples that scale with `{poi}`; the patch `{patch}` of
`signal/patchset.json` puts them back, to the digest. To test **your** signal, copy the patch, replace the numbers in
`data` (events per bin at the luminosity of this measurement, after its selection) and of the modifiers, and

```
pyhf patchset extract signal/patchset.json --name {patch} --output-file patch.json   # a template for yours
pyhf cls signal/background.json --patch patch.json --measurement {measurement} --test-poi 1.0
```

Keep the names of modifiers that your signal shares with the background (a shift of energies or of the luminosity moves
both); leave out what you do not know and say so. Each signal sample needs the normfactor `{poi}`.
"""

GRID_USE = """\
`background.json` has no signal; each of the {count} patches of `patchset.json` adds one ({labels}).

```
pyhf patchset extract patchset.json --name {patch} --output-file patch.json
pyhf cls background.json --patch patch.json --measurement {measurement} --test-poi 1.0
```

For **your** signal write a patch of the same form: events per bin at the luminosity of this measurement, after its
selection. Keep the names of modifiers that it shares with the background. Each signal sample needs the normfactor
`{poi}`.
`python reproduce_limit.py --patch NAME` reproduces the limit of one patch.
"""


def blinded_text(blinded: Sequence[str]) -> str:
    """Return what to know of a blinded measurement, empty if it is not."""
    if not blinded:
        return ""
    return (
        "\n**Blinded.** The data of "
        + ", ".join(blinded)
        + " are not in these files: Asimov data stand in for them, in the workspace and in all results. "
        "Observed values of this bundle are therefore no measurement.\n"
    )


def remarks_text(remarks: Sequence[str]) -> str:
    """Return remarks on the model as a section, empty without any."""
    lines = [f"- {text}" for text in remarks[:MOST_REMARKS]]
    if len(remarks) > MOST_REMARKS:
        lines.append(f"- and {len(remarks) - MOST_REMARKS} more")
    return "\n## Remarks on the model\n\n" + "\n".join(lines) + "\n" if remarks else ""


def make_readme(
    title: str,
    description: str,
    provenance: Mapping[str, Any],
    files: Sequence[Mapping[str, str]],
    results: str,
    use: str,
    parameters: Sequence[Mapping[str, str]],
    blinded: Sequence[str],
    remarks: Sequence[str],
    option: str = "",
) -> str:
    """Return the README of a bundle."""
    model = provenance["model"]
    return (
        f"# {title}\n\n{description}\n{blinded_text(blinded)}\n"
        f"A likelihood of the HistFactory form as [pyhf](https://pyhf.readthedocs.io) JSON (schema 1.0.0). Parameter "
        f"of interest: `{model['poi']}` of measurement `{model['measurement']}`. SHA-256 (`pyhf digest`): "
        f"`{model['digest']}`."
        f"\n\n## Files\n\n{markdown_table(files)}\n\n## Results\n\n{results}\n\n## Reproduce the limit\n\n"
        f"{REPRODUCE.format(option=option)}\n## Use the likelihood\n\n{use}\n"
        "pyhf interpolates normsys with code 4 and histosys with code 4p, the defaults; other codes give other "
        "numbers.\n\n"
        f"## Parameters\n\n{markdown_table(parameters)}\n{remarks_text(remarks)}\n## How it was made\n\n"
        f"Command `{provenance['command']}`; code {provenance['code']}. Configuration of the measurement, seed, "
        f"versions and the target that makes this folder again are in `provenance.json`.\n"
    )
