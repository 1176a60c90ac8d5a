"""Draw the points of a model: area under the curve and latency against look-up tables, published figures beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.files import read_json
from lhcml.common.style import COLOURS, add_label, new_figure, save_figure

MARKERS = {"post": "o", "aware": "s", "ebops": "D"}
METHODS = {"post": "after training", "aware": "aware, fixed bits", "ebops": "aware, bits learnt"}


def pareto_front(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the points that no other beats in both area and look-up tables, by look-up tables."""
    front: list[Mapping[str, Any]] = []
    for row in sorted(rows, key=lambda row: (row["lut"], -row["auc_fixed"])):
        if not front or row["auc_fixed"] > front[-1]["auc_fixed"]:
            front.append(row)
    return front


def draw_points(axes: Any, rows: Sequence[Mapping[str, Any]], key: str, chosen: str) -> None:
    """Draw a figure of all points against their look-up tables, with the names of the points."""
    for number, (method, text) in enumerate(METHODS.items()):
        some = [row for row in rows if row["method"] == method]
        if some:
            axes.plot([row["lut"] for row in some], [row[key] for row in some], linestyle="none", markersize=8,
                      marker=MARKERS[method], color=COLOURS[number], label=text)  # fmt: skip
    for row in rows:
        axes.annotate(row["point"], (row["lut"], row[key]), xytext=(6, 5), textcoords="offset points", fontsize=9,
                      fontweight="bold" if row["point"] == chosen else "normal")  # fmt: skip


def draw_pareto(summary: Mapping[str, Any]) -> Any:
    """Draw both panels.

    Parameters
    ----------
    summary : mapping
        Content of summary.json.
    """
    figure, (left, right) = new_figure(1, 2, width=6.2, height=5.4, sharex=True)
    rows = [row for row in summary["points"] if row["auc_fixed"] is not None]
    draw_points(left, rows, "auc_fixed", summary["point"])
    if rows:
        front = pareto_front(rows)
        left.plot(
            [row["lut"] for row in front], [row["auc_fixed"] for row in front], color="0.6", linewidth=1, zorder=0
        )
        left.axhline(summary["auc_float"], color="black", linestyle="--", linewidth=1, label="float")
    draw_points(right, summary["points"], "latency_ns", summary["point"])
    for number, entry in enumerate(summary["published"]):
        text = entry["name"] + ("" if entry["verified"] else " (unverified)")
        colour = COLOURS[(3 + number) % len(COLOURS)]
        if entry["lut"] is None:
            right.axhline(entry["latency_ns"], color=colour, linestyle=":", label=text)
            continue
        left.axvline(entry["lut"], color=colour, linestyle=":", linewidth=1)
        bound = "upper bound" in (entry["lut_is"] or "")
        right.plot(entry["lut"], entry["latency_ns"], marker="<" if bound else "*", markersize=10, linestyle="none",
                   markerfacecolor="white", color=colour, label=text)  # fmt: skip
    left.set(xscale="log", xlabel="look-up tables (upper figure)", ylabel="AUC, mean over signals")
    right.set(xlabel="look-up tables (upper figure)", ylabel=f"latency at {summary['clock_mhz']:.0f} MHz [ns]")
    for axes in (left, right):
        # room for the names of the points
        axes.margins(x=0.15, y=0.15)
    left.legend(fontsize=9, loc="lower right")
    right.set_ylim(0, 1.35 * right.get_ylim()[1])
    if summary["published"]:
        right.legend(fontsize=8, title="published, other inputs and tools", title_fontsize=9)
    add_label(left)
    add_label(right, summary["label"], kind="")
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Read a summary, draw it."""
    parser = make_parser(__doc__)
    parser.add_argument("--summary", type=Path, required=True, help="summary.json of a model")
    parser.add_argument("--output", type=Path, required=True, help="figure, .png; a .pdf goes beside it")
    args = parser.parse_args(argv)
    start_log("matplotlib")
    save_figure(draw_pareto(read_json(args.summary)), args.output)


if __name__ == "__main__":
    run_main(main)
