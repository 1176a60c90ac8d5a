"""Plot a ranking: pulls with impacts before and after the fit, and the uncertainty by groups."""

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

SHOWN = 20
# Colours of the parameter held above and below its fitted value
UP, DOWN = COLOURS[0], COLOURS[1]


def empty_figure(text: str) -> Figure:
    """Return a figure that only says why there is nothing to draw."""
    figure, axes = new_figure()
    axes.text(0.5, 0.5, text, ha="center", transform=axes.transAxes)
    axes.set_axis_off()
    return figure


def plot_ranking(ranking: Mapping[str, Any], labels: Mapping[str, Any], shown: int = SHOWN) -> Figure:
    """Return a figure of the parameters with the largest impacts.

    Bars (upper axis): shift of the parameter of interest with the parameter held above and below its fitted value, by
    its uncertainty after the fit (filled) and before it (outlined). Points (lower axis): pull and constraint; a free
    parameter has none, and its fitted value is written instead.

    Parameters
    ----------
    ranking : mapping
        Content of ranking.json.
    labels : mapping
        "left" and "right" (above the axes).
    shown : int
        Number of parameters.
    """
    if not ranking["valid"]:
        return empty_figure("the fit is not valid: no ranking")
    rows = ranking["parameters"][:shown]
    if not rows:
        return empty_figure("the model has no parameter but that of interest")
    figure, axes = new_figure(width=7.4, height=2.6 + 0.34 * len(rows))
    impacts = axes.twiny()
    impacts.set_zorder(axes.get_zorder() - 1)
    axes.patch.set_visible(False)
    reach = 0.0
    for place, row in enumerate(reversed(rows)):
        for side, colour in (("up", UP), ("down", DOWN)):
            before, after = row["prefit"][side], row["postfit"][side]
            if before is not None:
                impacts.barh(place, before, height=0.8, facecolor="none", edgecolor=colour, linewidth=1.2)
            if after is not None:
                impacts.barh(place, after, height=0.8, color=colour, alpha=0.65, linewidth=0)
            reach = max(reach, abs(before or 0.0), abs(after or 0.0))
        if row["pull"] is not None:
            axes.errorbar(row["pull"], place, xerr=row["constraint"], fmt="o", color="black", markersize=4)
        else:
            axes.text(-1.95, place, f"{row['value']:.3g} $\\pm$ {row['uncertainty']:.2g}", va="center", fontsize=10)
    _dress_ranking(axes, impacts, ranking, reach)
    axes.set_yticks(range(len(rows)), [row["name"] for row in reversed(rows)], fontsize=10)
    axes.set_ylim(-0.8, len(rows) - 0.2)
    total = len(ranking["parameters"])
    count = f"{len(rows)} of {total} parameters" if total > len(rows) else ""
    texts = [labels["left"], labels["right"], _blinded(ranking), count]
    figure.suptitle("   ".join(text for text in texts if text), fontsize=11)
    return figure


def _dress_ranking(axes: Axes, impacts: Axes, ranking: Mapping[str, Any], reach: float) -> None:
    """Set limits, titles and legend of the two axes of a ranking."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    for value in (-1, 1):
        axes.axvline(value, color="0.6", linewidth=1, linestyle="--")
    axes.axvline(0, color="0.6", linewidth=1)
    axes.set_xlim(-2, 2)
    impacts.set_xlim(-1.25 * (reach or 1), 1.25 * (reach or 1))
    axes.minorticks_off()
    axes.tick_params(axis="x", top=False)
    axes.tick_params(axis="y", length=0)
    impacts.tick_params(axis="x", bottom=False)
    axes.set_xlabel(r"Pull $(\hat\theta - \theta_0)\,/\,\Delta\theta$")
    poi = ranking["poi"]
    impacts.set_xlabel(rf"Impact $\Delta${poi['name']}", loc="right", labelpad=8)
    handles = [
        Patch(facecolor=UP, alpha=0.65, label=r"after the fit, $\hat\theta + \Delta\hat\theta$"),
        Patch(facecolor=DOWN, alpha=0.65, label=r"$\hat\theta - \Delta\hat\theta$"),
        Patch(facecolor="none", edgecolor=UP, label=r"before the fit, $\hat\theta + \Delta\theta$"),
        Patch(facecolor="none", edgecolor=DOWN, label=r"$\hat\theta - \Delta\theta$"),
        Line2D([], [], marker="o", color="black", markersize=4, label="pull and constraint"),
    ]
    axes.figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=10)


def plot_breakdown(ranking: Mapping[str, Any], labels: Mapping[str, Any]) -> Figure:
    """Return a figure of the uncertainty of the parameter of interest by groups, both ways (`break_down`).

    Parameters
    ----------
    ranking : mapping
        Content of ranking.json.
    labels : mapping
        "left" and "right" (above the axes).
    """
    parts = ranking["breakdown"]
    if parts is None:
        return empty_figure("the fit is not valid: no breakdown")
    groups = sorted(parts["groups"].items(), key=lambda item: -item[1]["impact"])
    table = [
        ("total", {"impact": parts["total"], "decomposition": None}),
        ("statistics of the data", parts["statistics"]),
        ("all constrained", parts["systematics"]),
        *((f"{name} ({part['parameters']})", part) for name, part in groups),
        ("sum of squares", parts["sum"]),
    ]
    figure, axes = new_figure(width=7.4, height=1.9 + 0.46 * len(table))
    add_label(axes, "   ".join(text for text in (labels["right"], _blinded(ranking)) if text), labels["left"])
    for place, (_, part) in enumerate(reversed(table)):
        for offset, key, colour in ((0.19, "impact", COLOURS[0]), (-0.19, "decomposition", COLOURS[1])):
            size = part[key]
            if size is None:
                continue
            single = part["decomposition"] is None
            at = place if single else place + offset
            axes.barh(at, size, height=0.36, color="0.35" if place == len(table) - 1 else colour, linewidth=0)
            share = 100 * size / parts["total"]
            axes.text(size, at, f"  {size:.3g} ({share:.0f} %)", va="center", fontsize=9)
    axes.barh(np.nan, np.nan, color=COLOURS[0], label="with the group held (overlaps count)")
    axes.barh(np.nan, np.nan, color=COLOURS[1], label="by its own fluctuations (adds up)")
    axes.set_yticks(range(len(table)), [name for name, _ in reversed(table)], fontsize=11)
    axes.set_ylim(-0.7, len(table) - 0.3)
    axes.set_xlim(0, 1.35 * parts["total"])
    axes.yaxis.minorticks_off()
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"Uncertainty of {ranking['poi']['name']}")
    figure.legend(loc="outside lower center", ncols=2, fontsize=10)
    return figure


def _blinded(ranking: Mapping[str, Any]) -> str:
    """Return what the figures say of blinded regions."""
    return f"blinded: {', '.join(ranking['blinded'])}" if ranking["blinded"] else ""


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figures of one ranking."""
    parser = make_parser(__doc__)
    parser.add_argument("--ranking", required=True, type=Path, help="ranking.json")
    parser.add_argument("--labels", required=True, type=json_argument, help="what stands above the axes")
    parser.add_argument("--config", required=True, type=json_argument, help="the measurement, as in the configuration")
    parser.add_argument("--output", required=True, type=Path, help="PNG of the ranking to write, with a PDF beside it")
    parser.add_argument("--breakdown", required=True, type=Path, help="PNG of the breakdown, as --output")
    args = parser.parse_args(argv)
    start_log("matplotlib", "mplhep", "numpy")
    ranking = read_json(args.ranking)
    shown = int(args.config.get("ranking", {}).get("shown", SHOWN))
    save_figure(plot_ranking(ranking, args.labels, shown), args.output)
    save_figure(plot_breakdown(ranking, args.labels), args.breakdown)


if __name__ == "__main__":
    run_main(main)
