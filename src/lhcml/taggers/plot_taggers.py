"""Draw the ROC curves of all taggers with published working points, from the scores of the test split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.files import read_json
from lhcml.common.style import add_label, new_figure, save_figure
from lhcml.taggers.figures import FEW, by_auc, legend_beside, line_style
from lhcml.taggers.metrics import RocCurve, roc_curve
from lhcml.taggers.score_tables import read_scores

# Fewer background jets than this beyond a cut say little about the rejection: the curves end there
FEWEST_BACKGROUND = 5
# Published points lie at the same two efficiencies: they are drawn so far beside each other, all within a width
ASIDE, WIDTH = 0.008, 0.06


def read_curve(signal: Sequence[Path], background: Sequence[Path]) -> tuple[RocCurve, int]:
    """Return the ROC curve of one training on the test split, and the number of background jets."""
    parts = [read_scores(files, label, "score", "", None, "test") for files, label in ((signal, 1), (background, 0))]
    scores, labels = (np.concatenate([part[name] for part in parts]) for name in ("score", "label"))
    return roc_curve(scores, labels), int((labels == 0).sum())


def rejections(curve: RocCurve, efficiencies: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """Return 1/eps_B at signal efficiencies, NaN (not drawn) where eps_B is below `least`."""
    passed = np.array([curve.background_efficiency_at(float(point)) for point in efficiencies])
    return np.where(passed >= least, 1 / np.maximum(passed, least), np.nan)


def draw_published(axes: Any, entries: Sequence[tuple[Mapping[str, Any], str]]) -> None:
    """Draw published working points, each entry once, in the colour of the first tagger that names it."""
    unique = {published["name"]: (published, colour) for published, colour in reversed(entries) if published["name"]}
    chosen = list(reversed(unique.values()))
    half = min(ASIDE * (len(chosen) - 1), WIDTH) / 2
    shifts = np.linspace(-half, half, len(chosen)) if len(chosen) > 1 else [0.0]
    for number, ((published, colour), shift) in enumerate(zip(chosen, shifts, strict=True)):
        for point in (30, 50):
            if published.get(f"rejection_{point}"):
                axes.errorbar(
                    point / 100 + shift, published[f"rejection_{point}"], yerr=published.get(f"rejection_{point}_std"),
                    color=colour, marker="o", markerfacecolor="white", markersize=5, capsize=2, linewidth=1.2,
                    linestyle="none", zorder=5, label="published, other jets" if (number, point) == (0, 30) else None,
                )  # fmt: skip


def draw_roc(
    curves: Mapping[str, Sequence[RocCurve]],
    background_jets: int,
    comparison: Sequence[Mapping[str, Any]],
    right: str,
) -> Any:
    """Draw 1/eps_B against eps_S: median and range over seeds a tagger, published points.

    Parameters
    ----------
    curves : mapping
        Tagger -> one curve a seed.
    background_jets : int
        Background jets in the test split.
    comparison : sequence of mapping
        Entries of comparison.json.
    right : str
        Text above the axes at the right.

    Returns
    -------
    matplotlib.figure.Figure
    """
    many = len(comparison) > FEW
    figure, axes = new_figure(width=10.5 if many else 7.0, height=6.5 if many else 6.0)
    grid = np.linspace(0.05, 1.0, 191)
    least = FEWEST_BACKGROUND / background_jets
    published = []
    for position, entry in enumerate(by_auc(comparison)):
        style = line_style(position)
        group = curves[entry["tagger"]]
        values = np.array([rejections(curve, grid, least) for curve in group])
        error = "" if entry["auc_std"] is None else f" ± {entry['auc_std']:.4f}"
        # the median is drawn where all seeds have a value
        axes.plot(grid, np.median(values, axis=0), label=f"{entry['label']}, AUC {entry['auc']:.4f}{error}", **style)
        if len(group) > 1:
            bounds = values.min(axis=0), values.max(axis=0)
            axes.fill_between(grid, *bounds, color=style["color"], alpha=0.12 if many else 0.3, linewidth=0)
        published.append((entry["published"], style["color"]))
    draw_published(axes, published)
    axes.plot(grid, 1 / grid, color="grey", linestyle=":", linewidth=1, label="no separation")
    axes.set(yscale="log", xlim=(0, 1), xlabel=r"signal efficiency $\epsilon_S$",
             ylabel=r"background rejection $1/\epsilon_B$")  # fmt: skip
    axes.set_ylim(1, max(axes.get_ylim()[1], 10) * (1.5 if many else 5))
    if many:
        legend_beside(figure, axes)
    else:
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
        help="JSON: `seeds` (tagger -> its seeds), `signal` and `background` (datasets), `label`",
    )  # fmt: skip
    parser.add_argument("--folder", type=Path, required=True, help="folder that holds {tagger}/{seed}/scores")
    parser.add_argument("--comparison", type=Path, required=True, help="comparison.json")
    parser.add_argument("--output", type=Path, required=True, help="figure, .png; a .pdf is written beside it")
    args = parser.parse_args(argv)
    start_log("matplotlib", "numpy")
    curves: dict[str, list[RocCurve]] = {}
    background_jets = 0
    for tagger, seeds in args.config["seeds"].items():
        curves[tagger] = []
        for seed in seeds:
            scores = args.folder / tagger / str(seed) / "scores"
            files = [
                [scores / dataset / "nominal.parquet" for dataset in args.config[group]]
                for group in ("signal", "background")
            ]
            curve, background_jets = read_curve(*files)
            curves[tagger].append(curve)
    figure = draw_roc(curves, background_jets, read_json(args.comparison), args.config["label"])
    save_figure(figure, args.output)


if __name__ == "__main__":
    run_main(main)
