"""Draw the ROC curves of all taggers with published working points, from the scores of the test split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.files import read_json
from lhcml.common.style import COLOURS, add_label, new_figure, save_figure
from lhcml.taggers.metrics import RocCurve, roc_curve
from lhcml.taggers.score_tables import read_scores

# Fewer background jets than this beyond a cut say little about the rejection: the curves end there
FEWEST_BACKGROUND = 5


def read_curve(signal: Sequence[Path], background: Sequence[Path]) -> tuple[RocCurve, int]:
    """Return the ROC curve of one training on the test split, and the number of background jets."""
    parts = [read_scores(files, label, "score", "", None, "test") for files, label in ((signal, 1), (background, 0))]
    scores, labels = (np.concatenate([part[name] for part in parts]) for name in ("score", "label"))
    return roc_curve(scores, labels), int((labels == 0).sum())


def rejections(curve: RocCurve, efficiencies: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """Return 1/eps_B at signal efficiencies, NaN (not drawn) where eps_B is below `least`."""
    passed = np.array([curve.background_efficiency_at(float(point)) for point in efficiencies])
    return np.where(passed >= least, 1 / np.maximum(passed, least), np.nan)


def draw_roc(
    curves: Mapping[str, Sequence[RocCurve]],
    background_jets: int,
    labels: Mapping[str, str],
    comparison: Mapping[str, Mapping[str, Any]],
    right: str,
) -> Any:
    """Draw 1/eps_B against eps_S: median and range over seeds a tagger, published points.

    Parameters
    ----------
    curves : mapping
        Tagger -> one curve a seed.
    background_jets : int
        Background jets in the test split.
    labels : mapping
        Tagger -> name in the legend.
    comparison : mapping
        Tagger -> its entry in comparison.json.
    right : str
        Text above the axes at the right.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = new_figure(width=7.0, height=6.0)
    grid = np.linspace(0.05, 1.0, 191)
    least = FEWEST_BACKGROUND / background_jets
    drawn: set[str] = set()
    for position, (tagger, group) in enumerate(curves.items()):
        colour = COLOURS[position % len(COLOURS)]
        values = np.array([rejections(curve, grid, least) for curve in group])
        entry = comparison[tagger]
        # the median is drawn where all seeds have a value
        median = np.median(values, axis=0)
        error = "" if entry["auc_std"] is None else f" ± {entry['auc_std']:.4f}"
        axes.plot(grid, median, color=colour, label=f"{labels[tagger]}, AUC {entry['auc']:.4f}{error}")
        if len(group) > 1:
            axes.fill_between(grid, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.3, linewidth=0)
        published = entry["published"]
        if published["name"] and published["name"] not in drawn:
            drawn.add(published["name"])
            for point in (30, 50):
                if published.get(f"rejection_{point}"):
                    label = f"published: {published['name']}" if point == 30 else None
                    axes.errorbar(
                        point / 100, published[f"rejection_{point}"], yerr=published.get(f"rejection_{point}_std"),
                        color=colour, marker="o", markerfacecolor="white", markersize=6, capsize=2, linestyle="none",
                        label=label,
                    )  # fmt: skip
    axes.plot(grid, 1 / grid, color="grey", linestyle=":", linewidth=1, label="no separation")
    axes.set(yscale="log", xlim=(0, 1), xlabel=r"signal efficiency $\epsilon_S$",
             ylabel=r"background rejection $1/\epsilon_B$")  # fmt: skip
    axes.set_ylim(1, max(axes.get_ylim()[1], 10) * 5)
    axes.legend(loc="upper right")
    if any(len(group) > 1 for group in curves.values()):
        axes.text(0.03, 0.03, "line: median over seeds; band: range", transform=axes.transAxes, fontsize=10)
    add_label(axes, right)
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Read scores, draw the curves."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--config", type=json_argument, required=True,
        help="JSON: `taggers` (name -> label), `seeds`, `signal` and `background` (datasets), `label`",
    )  # fmt: skip
    parser.add_argument("--folder", type=Path, required=True, help="folder that holds {tagger}/{seed}/scores")
    parser.add_argument("--comparison", type=Path, required=True, help="comparison.json")
    parser.add_argument("--output", type=Path, required=True, help="figure, .png; a .pdf is written beside it")
    args = parser.parse_args(argv)
    start_log("matplotlib", "numpy")
    curves: dict[str, list[RocCurve]] = {}
    background_jets = 0
    for tagger in args.config["taggers"]:
        curves[tagger] = []
        for seed in args.config["seeds"]:
            scores = args.folder / tagger / str(seed) / "scores"
            files = [
                [scores / dataset / "nominal.parquet" for dataset in args.config[group]]
                for group in ("signal", "background")
            ]
            curve, background_jets = read_curve(*files)
            curves[tagger].append(curve)
    comparison = {entry["tagger"]: entry for entry in read_json(args.comparison)}
    save_figure(
        draw_roc(curves, background_jets, args.config["taggers"], comparison, args.config["label"]), args.output
    )


if __name__ == "__main__":
    run_main(main)
