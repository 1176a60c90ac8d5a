"""Draw AUC and rejection against the number of training jets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.files import read_json, write_json
from lhcml.common.style import add_label, new_figure, save_figure
from lhcml.taggers.compare_taggers import combine
from lhcml.taggers.figures import MARKERS, legend_beside, line_style

PANELS = {"auc": "AUC", "rejection_30": r"$1/\epsilon_B$ at $\epsilon_S$ = 0.3"}


def learning_curve(trainings: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return for each number of training jets the figures of merit, means over seeds with their errors.

    Parameters
    ----------
    trainings : sequence of (metrics, meta)
        All trainings of a tagger, of any size and seed.
    """
    groups: dict[int, list[Mapping[str, Any]]] = {}
    for metrics, meta in trainings:
        groups.setdefault(sum(meta["n_train"].values()), []).append(metrics)
    rows = []
    for jets, group in sorted(groups.items()):
        row: dict[str, Any] = {"n_train": jets, "seeds": len(group)}
        for name in PANELS:
            row |= combine(group, name)
        rows.append(row)
    return rows


def draw_learning_curves(
    curves: Mapping[str, Sequence[Mapping[str, Any]]],
    labels: Mapping[str, str],
    published: Sequence[Mapping[str, Any]],
    right: str,
) -> Any:
    """Draw the curves: points are means over seeds, bars the spread over seeds and the bootstrap in quadrature.

    Parameters
    ----------
    curves : mapping
        Tagger -> rows of `learning_curve`.
    labels : mapping
        Tagger -> name in the legend.
    published : sequence of mapping
        `name`, `n_train` and figures of merit of others.
    right : str
        Text above the axes at the right.
    """
    figure, panels = new_figure(1, 2, width=5.6, height=5.2)
    for axes, (name, text) in zip(panels, PANELS.items(), strict=True):
        for position, (tagger, rows) in enumerate(curves.items()):
            known = [row for row in rows if row[name] is not None]
            axes.errorbar(
                [row["n_train"] for row in known], [row[name] for row in known],
                yerr=[row[f"{name}_std"] or 0.0 for row in known], label=labels[tagger], capsize=2, markersize=4,
                marker=MARKERS[position % len(MARKERS)], **line_style(position),
            )  # fmt: skip
        others: dict[str, list[Mapping[str, Any]]] = {}
        for entry in published:
            others.setdefault(entry["name"], []).append(entry)
        for other, points in others.items():
            axes.plot([p["n_train"] for p in points], [p[name] for p in points], color="grey", linestyle=":",
                      marker="o", markerfacecolor="white", label=f"{other}, published, other jets")  # fmt: skip
        axes.set(xscale="log", xlabel="training jets", ylabel=text)
    panels[1].set_yscale("log")
    legend_beside(figure, panels[0])
    add_label(panels[0])
    add_label(panels[1], right, kind="")
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Read metrics and descriptions of trainings of several sizes, draw and write the curves."""
    parser = make_parser(__doc__)
    parser.add_argument("--metrics", nargs="+", type=Path, required=True, help="{tagger}/{training}/metrics.json")
    parser.add_argument("--published", type=Path, required=True, help="published results with few jets, JSON")
    parser.add_argument("--labels", type=json_argument, required=True, help="JSON: tagger -> name in the legend")
    parser.add_argument("--right", default="", help="text above the axes at the right, e.g. the energy")
    parser.add_argument("--json", type=Path, required=True, help="the numbers, JSON, to write")
    parser.add_argument("--output", type=Path, required=True, help="figure, .png; a .pdf goes beside it")
    args = parser.parse_args(argv)
    start_log("matplotlib")
    trainings: dict[str, list[tuple[Any, Any]]] = {tagger: [] for tagger in args.labels}
    for path in args.metrics:
        trainings[path.parent.parent.name].append((read_json(path), read_json(path.with_name("model.meta.json"))))
    curves = {tagger: learning_curve(group) for tagger, group in trainings.items() if group}
    write_json(args.json, curves)
    save_figure(draw_learning_curves(curves, args.labels, read_json(args.published), args.right), args.output)


if __name__ == "__main__":
    run_main(main)
