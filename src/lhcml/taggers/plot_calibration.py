"""Draw how far the scores of all taggers are from probabilities, before and after a temperature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.files import read_json
from lhcml.common.style import add_label, new_figure, save_figure
from lhcml.taggers.calibration import BINS
from lhcml.taggers.figures import by_auc, legend_beside, line_style

# A bin with fewer jets is not drawn
FEWEST_JETS = 20


def deviations(curves: Sequence[Sequence[Mapping[str, float]]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean score and mean of signal share minus score over seeds, of bins that hold enough jets in each."""
    table = np.full((2, len(curves), BINS), np.nan)
    for seed, curve in enumerate(curves):
        for row in curve:
            if row["jets"] >= FEWEST_JETS:
                place = min(int(row["score"] * BINS), BINS - 1)
                table[:, seed, place] = row["score"], row["signal_share"] - row["score"]
    whole = np.isfinite(table).all(axis=(0, 1))
    return table[0][:, whole].mean(axis=0), table[1][:, whole].mean(axis=0)


def draw_calibration(
    entries: Sequence[Mapping[str, Any]], curves: Mapping[str, Mapping[str, Sequence[Any]]], right: str
) -> Any:
    """Draw signal share minus score against the score, at equal class weights.

    Parameters
    ----------
    entries : sequence of mapping
        Entries of comparison.json.
    curves : mapping
        "reliability" and "reliability_calibrated" -> tagger -> curve of each seed.
    right : str
        Text above the axes at the right.
    """
    figure, panels = new_figure(1, 2, width=5.6, height=5.4, sharey=True)
    titles = {"reliability": "as trained", "reliability_calibrated": "after a temperature from validation jets"}
    for axes, (name, title) in zip(panels, titles.items(), strict=True):
        for position, entry in enumerate(by_auc(entries)):
            found = [curve for curve in curves[name][entry["tagger"]] if curve]
            # taggers without scores of validation jets have no temperature
            if len(found) == len(curves[name][entry["tagger"]]):
                label = f"{entry['label']}, ECE {entry['ece']:.4f}"
                if entry["ece_calibrated"] is not None:
                    label += f" → {entry['ece_calibrated']:.4f}"
                axes.plot(*deviations(found), marker="o", markersize=3, label=label, **line_style(position))
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set(xlim=(0, 1), xlabel="score")
        axes.text(0.5, 0.93, title, transform=axes.transAxes, ha="center", fontsize=12)
    panels[0].set_ylabel("share of signal jets minus score")
    low, high = panels[0].get_ylim()
    limit = max(-low, high) * 1.25
    panels[0].set_ylim(-limit, limit)
    legend_beside(figure, panels[0])
    add_label(panels[0])
    add_label(panels[1], right, kind="")
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Read metrics of all trainings, draw their calibration."""
    parser = make_parser(__doc__)
    parser.add_argument("--metrics", nargs="+", type=Path, required=True, help="{tagger}/{seed}/metrics.json")
    parser.add_argument("--comparison", type=Path, required=True, help="comparison.json")
    parser.add_argument("--right", default="", help="text above the axes at the right, e.g. the energy")
    parser.add_argument("--output", type=Path, required=True, help="figure, .png; a .pdf goes beside it")
    args = parser.parse_args(argv)
    start_log("matplotlib", "numpy")
    curves: dict[str, dict[str, list[Any]]] = {"reliability": {}, "reliability_calibrated": {}}
    for path in args.metrics:
        calibration = read_json(path).get("calibration", {})
        for name, taggers in curves.items():
            taggers.setdefault(path.parent.parent.name, []).append(calibration.get(name))
    save_figure(draw_calibration(read_json(args.comparison), curves, args.right), args.output)


if __name__ == "__main__":
    run_main(main)
