"""Draw loss and AUC of one tagger during its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.files import read_json
from lhcml.common.style import COLOURS, add_label, new_figure, save_figure


def draw_history(metas: Sequence[Mapping[str, Any]], label: str, right: str) -> Any:
    """Draw loss of training and validation, and validation AUC, after each epoch (trees: round) of all seeds."""
    figure, (upper, lower) = new_figure(2, 1, width=7.0, height=3.6, sharex=True)
    unit = "epoch" if "epoch" in metas[0]["history"][0] else "round"
    for number, meta in enumerate(metas):
        step = [row[unit] for row in meta["history"]]
        style = {"linewidth": 1.2, "alpha": 0.9}
        names = ("training", "validation", "best", "validation") if number == 0 else (None,) * 4
        upper.plot(step, [row["train_loss"] for row in meta["history"]], color=COLOURS[3], label=names[0], **style)
        upper.plot(step, [row["validation_loss"] for row in meta["history"]], color=COLOURS[4], label=names[1], **style)
        best = meta["history"][meta["best_iteration"] - 1]
        upper.plot(best[unit], best["validation_loss"], "o", color=COLOURS[6], markersize=5, label=names[2])
        lower.plot(step, [row["validation_auc"] for row in meta["history"]], color=COLOURS[4], label=names[3], **style)
        lower.plot(best[unit], best["validation_auc"], "o", color=COLOURS[6], markersize=5)
    seeds = f"{len(metas)} seeds" if len(metas) > 1 else "1 seed"
    upper.set(ylabel="cross entropy, equal classes", yscale="log")
    upper.yaxis.set_major_formatter("{x:g}")
    upper.yaxis.set_minor_formatter("{x:g}")
    upper.tick_params(axis="y", which="minor", labelsize=9)
    upper.legend(title=f"{label}, {seeds}", loc="upper right", bbox_to_anchor=(0.98, 0.97))
    lower.set(xlabel=unit, ylabel="AUC on validation jets")
    if unit == "epoch":
        lower.xaxis.get_major_locator().set_params(integer=True)
    add_label(upper, right)
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Read the descriptions of all seeds of a tagger, draw their history."""
    parser = make_parser(__doc__)
    parser.add_argument("--meta", nargs="+", type=Path, required=True, help="model.meta.json of each seed")
    parser.add_argument("--label", required=True, help="name of the tagger")
    parser.add_argument("--right", default="", help="text above the axes at the right, e.g. the energy")
    parser.add_argument("--output", type=Path, required=True, help="figure, .png; a .pdf goes beside it")
    args = parser.parse_args(argv)
    start_log("matplotlib")
    save_figure(draw_history([read_json(path) for path in args.meta], args.label, args.right), args.output)


if __name__ == "__main__":
    run_main(main)
