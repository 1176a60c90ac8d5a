"""Draw the rejection of all taggers against what they cost: operations a jet and parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.files import read_json
from lhcml.common.style import add_label, new_figure, save_figure
from lhcml.taggers.figures import by_auc, legend_beside, marker_style

PANELS = {"operations_per_jet": "operations a jet", "parameters": "parameters"}
POINT = "rejection_50"


def draw_costs(entries: Sequence[Mapping[str, Any]], right: str) -> Any:
    """Draw 1/eps_B at eps_S = 0.5 against operations and parameters, with published points.

    Parameters
    ----------
    entries : sequence of mapping
        Entries of comparison.json; those without a rejection or a cost are left out of the panel concerned.
    right : str
        Text above the axes at the right.
    """
    figure, panels = new_figure(1, 2, width=5.4, height=5.2, sharey=True)
    for axes, (cost, text) in zip(panels, PANELS.items(), strict=True):
        for position, entry in enumerate(by_auc(entries)):
            style = marker_style(position)
            if entry[POINT] is not None and entry[cost] is not None:
                axes.errorbar(entry[cost], entry[POINT], yerr=entry[f"{POINT}_std"], label=entry["label"], markersize=7,
                              linestyle="none", capsize=2, **style)  # fmt: skip
            published = entry["published"]
            if published.get(cost) and published.get(POINT):
                axes.errorbar(published[cost], published[POINT], yerr=published.get(f"{POINT}_std"), markersize=7,
                              markerfacecolor="white", linestyle="none", capsize=2, **style)  # fmt: skip
        axes.set(xscale="log", xlabel=text)
        axes.margins(x=0.12)
    panels[0].set(yscale="log", ylabel=r"background rejection $1/\epsilon_B$ at $\epsilon_S$ = 0.5")
    if any(entry["operations_are"] and "comparisons" in entry["operations_are"] for entry in entries):
        panels[0].text(0.03, 0.03, "trees: comparisons", transform=panels[0].transAxes, fontsize=10)
    if any(entry["published"].get(POINT) for entry in entries):
        panels[1].text(0.03, 0.03, "open: published, other jets", transform=panels[1].transAxes, fontsize=10)
    # the taggers of both panels: all that have a number of parameters
    legend_beside(figure, panels[1])
    add_label(panels[0])
    add_label(panels[1], right, kind="")
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Read the comparison, draw it against cost."""
    parser = make_parser(__doc__)
    parser.add_argument("--comparison", type=Path, required=True, help="comparison.json")
    parser.add_argument("--right", default="", help="text above the axes at the right, e.g. the energy")
    parser.add_argument("--output", type=Path, required=True, help="figure, .png; a .pdf goes beside it")
    args = parser.parse_args(argv)
    start_log("matplotlib")
    save_figure(draw_costs(read_json(args.comparison), args.right), args.output)


if __name__ == "__main__":
    run_main(main)
