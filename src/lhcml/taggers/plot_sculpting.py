"""Draw the mass of background jets before and after cuts on the score of one tagger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.files import read_json
from lhcml.common.style import COLOURS, add_label, new_figure, save_figure
from lhcml.taggers.compute_metrics import masses
from lhcml.taggers.metrics import Floats
from lhcml.taggers.score_tables import read_scores
from lhcml.taggers.sculpting import BIN_WIDTH, threshold_at

CUTS = (0.7, 0.5, 0.3)
INCLUSIVE_COLOUR, CUT_COLOURS = COLOURS[3], (COLOURS[0], COLOURS[1], COLOURS[2])


def draw_sculpting(
    seeds: Sequence[Mapping[str, Floats]], metrics: Sequence[Mapping[str, Any]], label: str, right: str
) -> Any:
    """Draw normalised mass distributions, means over seeds with Poisson errors.

    Parameters
    ----------
    seeds : sequence of mapping
        For each training "signal" and "background" scores, and "mass" of the background jets in GeV.
    metrics : sequence of mapping
        metrics.json of each training.
    label : str
        Name of the tagger.
    right : str
        Text above the axes at the right.
    """
    figure, axes = new_figure(width=7.0)
    last = max(float(seed["mass"].max()) for seed in seeds)
    edges = np.arange(0, last + BIN_WIDTH, BIN_WIDTH)
    centres = (edges[1:] + edges[:-1]) / 2
    inclusive = np.mean([np.histogram(seed["mass"], edges)[0] for seed in seeds], axis=0)
    axes.stairs(inclusive / inclusive.sum() / BIN_WIDTH, edges, color=INCLUSIVE_COLOUR, fill=True, alpha=0.5,
                label="all background jets")  # fmt: skip
    for efficiency, colour in zip(CUTS, CUT_COLOURS, strict=True):
        passing = [seed["mass"][seed["background"] >= threshold_at(seed["signal"], efficiency)] for seed in seeds]
        counts = np.mean([np.histogram(mass, edges)[0] for mass in passing], axis=0)
        total = counts.sum()
        if not total:
            continue
        text = rf"$\epsilon_S$ = {efficiency}: {total:.0f} jets"
        name = f"jsd_{100 * efficiency:.0f}"
        found = [m["sculpting"].get(name) for m in metrics if "sculpting" in m]
        if found and None not in found:
            noise = np.mean([m["sculpting"][f"{name}_noise"] or np.nan for m in metrics])
            text += f", JSD {np.mean(found):.2f} (noise {noise:.2f})"
        density = counts / total / BIN_WIDTH
        axes.stairs(density, edges, color=colour, linewidth=1.6, label=text)
        axes.errorbar(centres, density, yerr=np.sqrt(counts) / total / BIN_WIDTH, color=colour, linestyle="none",
                      linewidth=1)  # fmt: skip
    axes.set(xlabel="jet mass (GeV)", ylabel="probability density (1/GeV)", xlim=(0, edges[-1]))
    axes.set_ylim(0, axes.get_ylim()[1] * 1.35)
    axes.legend(title=f"{label}, background jets that pass", loc="upper right", title_fontsize=11)
    add_label(axes, right)
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Read scores of all seeds of a tagger and the masses of the test jets, draw."""
    parser = make_parser(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="folder of the tagger, which holds {seed}/scores")
    parser.add_argument("--seeds", nargs="+", required=True)
    parser.add_argument("--signal", nargs="+", required=True, help="signal datasets")
    parser.add_argument("--background", nargs="+", required=True, help="background datasets")
    parser.add_argument("--jets", type=Path, required=True, help="table of test jets")
    parser.add_argument("--label", required=True, help="name of the tagger")
    parser.add_argument("--right", default="", help="text above the axes at the right, e.g. the energy")
    parser.add_argument("--output", type=Path, required=True, help="figure, .png; a .pdf goes beside it")
    args = parser.parse_args(argv)
    start_log("matplotlib", "numpy")
    seeds = []
    for seed in args.seeds:
        files = {
            group: [args.folder / seed / "scores" / dataset / "nominal.parquet" for dataset in datasets]
            for group, datasets in (("signal", args.signal), ("background", args.background))
        }
        scores = {group: read_scores(paths, 0, "score", "", None, "test")["score"] for group, paths in files.items()}
        seeds.append(scores | {"mass": masses(args.jets, files["background"], "test")})
    metrics = [read_json(args.folder / seed / "metrics.json") for seed in args.seeds]
    save_figure(draw_sculpting(seeds, metrics, args.label, args.right), args.output)


if __name__ == "__main__":
    run_main(main)
