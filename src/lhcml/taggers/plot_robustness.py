"""Draw how AUC and rejection of all taggers change under shifts of the jets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.files import read_json
from lhcml.common.style import COLOURS, add_label, new_figure, save_figure
from lhcml.taggers.compare_taggers import mean, quadrature, spread
from lhcml.taggers.figures import MARKERS, by_auc

# Figure of merit -> factor and text of its axis
PANELS = {
    "auc_change": (1000.0, "change of AUC (0.001)"),
    "rejection_50_change": (100.0, r"change of $1/\epsilon_B$ at 0.5 (%)"),
}


def change(trainings: Sequence[Mapping[str, Any]], name: str) -> tuple[float, float | None] | None:
    """Return mean over seeds and error (bootstrap and spread in quadrature); None if a seed's is not known."""
    central = mean([training[name] for training in trainings])
    if central is None:
        return None
    seeds = spread([training[name] for training in trainings])
    return central, quadrature(seeds, mean([training[f"{name}_std"] for training in trainings]))


def draw_robustness(
    entries: Sequence[Mapping[str, Any]], robustness: Mapping[str, Sequence[Mapping[str, Any]]], right: str
) -> Any:
    """Draw a row a tagger, a marker a shift.

    Parameters
    ----------
    entries : sequence of mapping
        Entries of comparison.json.
    robustness : mapping
        Tagger -> robustness.json of each seed.
    right : str
        Text above the axes at the right.
    """
    # scores made elsewhere are of nominal jets alone
    chosen = [entry for entry in reversed(by_auc(entries)) if entry["tagger"] in robustness]
    shifts = list(dict.fromkeys(shift for group in robustness.values() for seed in group for shift in seed))
    height = max(3.2, 1.2 + 0.12 * len(chosen) * (1 + len(shifts)))
    figure, panels = new_figure(1, 2, width=5.2, height=height, sharey=True)
    for axes, (name, (factor, label)) in zip(panels, PANELS.items(), strict=True):
        for number, shift in enumerate(shifts):
            rows, values, errors = [], [], []
            for row, entry in enumerate(chosen):
                found = change([seed[shift] for seed in robustness[entry["tagger"]]], name)
                if found:
                    rows.append(row + 0.7 * ((len(shifts) - 1) / 2 - number) / max(len(shifts), 2))
                    values.append(factor * found[0])
                    errors.append(factor * (found[1] or 0.0))
            axes.errorbar(values, rows, xerr=errors, linestyle="none", marker=MARKERS[number % len(MARKERS)],
                          markersize=5, color=COLOURS[number % len(COLOURS)], capsize=2, label=shift)  # fmt: skip
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set(xlabel=label, ylim=(-0.6, len(chosen) - 0.4))
        axes.minorticks_off()
        axes.tick_params(axis="y", length=0)
        for row in range(1, len(chosen)):
            axes.axhline(row - 0.5, color="lightgrey", linewidth=0.6, zorder=0)
    panels[0].set_yticks(range(len(chosen)), [entry["label"] for entry in chosen])
    handles, labels = panels[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=11)
    add_label(panels[0])
    add_label(panels[1], right, kind="")
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Read the changes of all trainings, draw them."""
    parser = make_parser(__doc__)
    parser.add_argument("--robustness", nargs="+", type=Path, required=True, help="{tagger}/{seed}/robustness.json")
    parser.add_argument("--comparison", type=Path, required=True, help="comparison.json")
    parser.add_argument("--right", default="", help="text above the axes at the right, e.g. the energy")
    parser.add_argument("--output", type=Path, required=True, help="figure, .png; a .pdf goes beside it")
    args = parser.parse_args(argv)
    start_log("matplotlib")
    robustness: dict[str, list[Any]] = {}
    for path in args.robustness:
        robustness.setdefault(path.parent.parent.name, []).append(read_json(path))
    save_figure(draw_robustness(read_json(args.comparison), robustness, args.right), args.output)


if __name__ == "__main__":
    run_main(main)
