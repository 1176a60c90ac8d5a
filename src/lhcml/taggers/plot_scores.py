"""Draw the scores that one tagger gives to both classes, on test and on training jets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.style import COLOURS, add_label, new_figure, save_figure
from lhcml.taggers.score_tables import read_scores

SIGNAL_COLOUR, BACKGROUND_COLOUR = COLOURS[2], COLOURS[0]


def densities(scores: Sequence[NDArray[np.float64]], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return normalised histograms of the scores of each seed, shape (seeds, bins)."""
    return np.array([np.histogram(score, bins=edges, density=True)[0] for score in scores])


def draw_scores(
    test: Mapping[str, Sequence[NDArray[np.float64]]],
    train: Mapping[str, Sequence[NDArray[np.float64]]],
    label: str,
    right: str,
) -> Any:
    """Draw the densities of the scores of both classes, test jets as histograms and training jets as points.

    Parameters
    ----------
    test, train : mapping
        Dataset group ("signal", "background") -> scores of each seed.
    label : str
        Name of the tagger.
    right : str
        Text above the axes at the right.
    """
    figure, axes = new_figure(width=7.0)
    edges = np.linspace(0, 1, 41)
    centres = (edges[1:] + edges[:-1]) / 2
    for group, colour in (("background", BACKGROUND_COLOUR), ("signal", SIGNAL_COLOUR)):
        values = densities(test[group], edges)
        axes.stairs(values.mean(axis=0), edges, color=colour, fill=True, alpha=0.25)
        axes.stairs(values.mean(axis=0), edges, color=colour, linewidth=1.6, label=f"{group}, test")
        if len(values) > 1:
            axes.stairs(values.max(axis=0), edges, baseline=values.min(axis=0), color=colour, fill=True, alpha=0.4)
        if not all(len(score) for score in train[group]):
            # scores made elsewhere are of test jets alone
            continue
        counts = np.array([np.histogram(score, bins=edges)[0] for score in train[group]])
        mean = densities(train[group], edges).mean(axis=0)
        # Poisson errors of one training's jets: the seeds share them
        error = mean / np.sqrt(np.maximum(counts.mean(axis=0), 1))
        axes.errorbar(centres, mean, yerr=error, color=colour, marker="o", markersize=3, linewidth=1, linestyle="none",
                      label=f"{group}, training")  # fmt: skip
    axes.set(yscale="log", xlim=(0, 1), xlabel=f"{label} score", ylabel="probability density of jets")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * 8)
    axes.legend(ncols=2, loc="upper center", bbox_to_anchor=(0.5, 0.97))
    add_label(axes, right)
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Read the scores of all seeds of a tagger, draw them."""
    parser = make_parser(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="folder of the tagger, which holds {seed}/scores")
    parser.add_argument("--seeds", nargs="+", required=True)
    parser.add_argument("--signal", nargs="+", required=True, help="signal datasets")
    parser.add_argument("--background", nargs="+", required=True, help="background datasets")
    parser.add_argument("--label", required=True, help="name of the tagger")
    parser.add_argument("--right", default="", help="text above the axes at the right, e.g. the energy")
    parser.add_argument("--output", type=Path, required=True, help="figure, .png; a .pdf goes beside it")
    args = parser.parse_args(argv)
    start_log("matplotlib", "numpy")

    def scores(datasets: Sequence[str], split: str) -> list[NDArray[np.float64]]:
        folders = [args.folder / seed / "scores" for seed in args.seeds]
        files = [[folder / dataset / "nominal.parquet" for dataset in datasets] for folder in folders]
        return [read_scores(group, 0, "score", "", None, split)["score"] for group in files]

    groups = {"signal": args.signal, "background": args.background}
    test, train = ({name: scores(group, split) for name, group in groups.items()} for split in ("test", "train"))
    save_figure(draw_scores(test, train, args.label, args.right), args.output)


if __name__ == "__main__":
    run_main(main)
