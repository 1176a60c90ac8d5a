"""Plot the systematic variations of a model: what was kept of each, and the largest before and after smoothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.files import read_json
from lhcml.common.style import COLOURS, add_label, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colour of a field of the table by status
STATUS_COLOURS = {"kept": "#b5dfb0", "rate only": "#fde7a3", "shape only": "#c6dcf3", "dropped": "#dddddd"}
# Letters for what was done, written into a field
MARKS = {"mirrored": "m", "symmetrised": "2", "symmetrised to the maximum": "x", "smoothed": "s"}
MOST_VARIATIONS = 6
COLUMNS = 3


def largest_change(row: Mapping[str, Any]) -> float:
    """Return the largest relative change of a bin by a variation; of the rate for a normsys."""
    if "nominal" not in row:
        return float(max(abs(row["rate_up"]), abs(row["rate_down"])))
    nominal = np.array(row["nominal"])
    filled = nominal > 0
    sides = [np.array(row[side])[filled] / nominal[filled] - 1 for side in ("up", "down")]
    return float(max(np.abs(side).max(initial=0.0) for side in sides))


def largest_variations(rows: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """Return the histosys rows that are not dropped and change a bin most, largest first."""
    shown = [
        row for row in rows if row["type"] == "histosys" and row["status"] != "dropped" and largest_change(row) > 0
    ]
    return sorted(shown, key=largest_change, reverse=True)[:count]


def plot_systematics(description: Mapping[str, Any], labels: Mapping[str, Any]) -> Figure:
    """Return the figure.

    Parameters
    ----------
    description : mapping
        Content of workspace.meta.json.
    labels : mapping
        "observable" (axis title), "samples" (their names), "left" and "right" (above the axes).
    """
    rows = description["systematics"]
    shown = largest_variations(rows, MOST_VARIATIONS)
    modifiers = list(dict.fromkeys(row["modifier"] for row in rows))
    places = list(dict.fromkeys((row["region"], row["sample"]) for row in rows))
    curves = -(-len(shown) // COLUMNS)
    height = 1.2 + 0.42 * max(len(places), 1)
    figure, axes = new_figure(
        1 + curves, COLUMNS, width=4.6, height=max(height, 3.2 * (1 + curves)) / (1 + curves), squeeze=False,
        gridspec_kw={"height_ratios": [height / 3.2] + [1.0] * curves},
    )  # fmt: skip
    grid = axes[0, 0].get_gridspec()
    for one in axes[0]:
        one.remove()
    table = figure.add_subplot(grid[0, :])
    _draw_table(table, rows, modifiers, places, labels)
    add_label(table, labels["right"], labels["left"])
    for number in range(curves * COLUMNS):
        one = axes[1 + number // COLUMNS, number % COLUMNS]
        if number < len(shown):
            row = shown[number]
            _draw_variation(one, row, description["regions"][row["region"]], labels)
        else:
            one.set_axis_off()
    return figure


def _draw_table(
    axes: Axes, rows: Sequence[Mapping[str, Any]], modifiers: Sequence[str], places: Sequence[tuple[str, str]],
    labels: Mapping[str, Any],
) -> None:  # fmt: skip
    """Draw a field for each modifier (columns) and region and sample (rows)."""
    from matplotlib.patches import Patch, Rectangle

    for row in rows:
        x, y = modifiers.index(row["modifier"]), places.index((row["region"], row["sample"]))
        axes.add_patch(Rectangle((x, y), 1, 1, facecolor=STATUS_COLOURS[row["status"]], edgecolor="white", linewidth=2))
        marks = "".join(MARKS[text] for text in row["done"] if text in MARKS)
        text = f"{100 * largest_change(row):.2g} %" + (f" {marks}" if marks else "") + (" !" if row["remarks"] else "")
        axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=10)
    axes.set_xlim(0, max(len(modifiers), 1))
    axes.set_ylim(max(len(places), 1), 0)
    names = [f"{region}, {labels['samples'].get(sample, sample)}" for region, sample in places]
    axes.set_xticks(np.arange(len(modifiers)) + 0.5, modifiers, fontsize=11, rotation=20 if len(modifiers) > 6 else 0)
    axes.set_yticks(np.arange(len(places)) + 0.5, names, fontsize=11)
    axes.tick_params(which="both", length=0)
    axes.minorticks_off()
    used = {row["status"] for row in rows}
    notes = [f"{mark}: {text}" for text, mark in MARKS.items() if any(text in row["done"] for row in rows)]
    notes += ["!: one-sided or without effect"] if any(row["remarks"] for row in rows) else []
    handles = [Patch(color=colour, label=status) for status, colour in STATUS_COLOURS.items() if status in used]
    handles += [Patch(facecolor="none", edgecolor="none", label=text) for text in notes]
    # under the names of the modifiers, in units of the height of the table
    below = -(0.6 if len(modifiers) > 6 else 0.32) / (0.42 * len(places) + 0.4)
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, below), fontsize=10, ncols=len(handles) or 1,
                handlelength=1.2)  # fmt: skip


def _draw_variation(axes: Axes, row: Mapping[str, Any], region: Mapping[str, Any], labels: Mapping[str, Any]) -> None:
    """Draw both sides of a variation relative to its nominal template."""
    edges, nominal = np.array(region["bins"], float), np.array(row["nominal"])
    safe = np.where(nominal > 0, nominal, np.nan)
    if "statistical" in row:
        spread = 100 * np.array(row["statistical"]) / safe
        axes.stairs(spread, edges, baseline=-spread, fill=True, color="0.88", label="MC statistics")
    given = row.get("given", {})
    reach = [0.1]
    for side, colour in (("up", COLOURS[2]), ("down", COLOURS[0])):
        change = 100 * (np.array(row[side]) / safe - 1)
        axes.stairs(change, edges, color=colour, linewidth=2, label=side)
        reach.append(np.nanmax(np.abs(change)))
        if side in given:
            before = 100 * (np.array(given[side]) / safe - 1)
            axes.stairs(before, edges, color=colour, linewidth=1, linestyle=":", label=f"{side}, before")
            reach.append(np.nanmax(np.abs(before)))
    axes.axhline(0, color="0.4", linewidth=0.8)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(-1.25 * max(reach), 2.0 * max(reach))
    axes.set_xlabel(region.get("label", labels["observable"]))
    axes.set_ylabel("Change [%]")
    axes.set_title(
        f"{row['modifier']}: {row['region']}, {labels['samples'].get(row['sample'], row['sample'])}", fontsize=11
    )
    axes.legend(fontsize=9, ncols=2, loc="upper center")


def main(argv: Sequence[str] | None = None) -> None:
    """Plot the variations of one measurement."""
    parser = make_parser(__doc__)
    parser.add_argument("--description", required=True, type=Path, help="workspace.meta.json")
    parser.add_argument("--labels", required=True, type=json_argument, help="titles of axes and samples as JSON")
    parser.add_argument("--output", required=True, type=Path, help="PNG to write; a PDF is written beside it")
    args = parser.parse_args(argv)
    start_log("matplotlib", "mplhep")
    save_figure(plot_systematics(read_json(args.description), args.labels), args.output)


if __name__ == "__main__":
    run_main(main)
