"""Draw the importance of the features of boosted trees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.files import read_json
from lhcml.common.style import COLOURS, add_label, new_figure, save_figure


def draw_importance(metas: Sequence[Mapping[str, Any]], label: str, right: str) -> Any:
    """Draw each feature's share of the trees' total gain: mean over seeds, bars for the range."""
    features = list(metas[0]["feature_importance"])
    shares = 100 * np.array([[meta["feature_importance"][name] for name in features] for meta in metas])
    order = np.argsort(shares.mean(axis=0))
    mean = shares.mean(axis=0)[order]
    figure, axes = new_figure(width=7.0, height=max(3.0, 0.9 + 0.27 * len(features)))
    error = np.abs(np.array([shares.min(axis=0)[order], shares.max(axis=0)[order]]) - mean) if len(metas) > 1 else None
    axes.barh([features[i] for i in order], mean, xerr=error, color=COLOURS[0], ecolor="black", capsize=2, height=0.7)
    axes.set(xlabel="share of the total gain (%)", ylim=(-0.6, len(features) - 0.4))
    axes.set_xlim(left=0)
    axes.tick_params(axis="y", which="both", labelsize=10, right=False, length=0)
    axes.minorticks_off()
    axes.text(0.97, 0.05, label, transform=axes.transAxes, ha="right")
    add_label(axes, right)
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Read descriptions of all seeds of a tagger, draw the importance of its features."""
    parser = make_parser(__doc__)
    parser.add_argument("--meta", nargs="+", type=Path, required=True, help="model.meta.json of each seed")
    parser.add_argument("--label", required=True, help="name of the tagger")
    parser.add_argument("--right", default="", help="text above the axes at the right, e.g. the energy")
    parser.add_argument("--output", type=Path, required=True, help="figure, .png; a .pdf goes beside it")
    args = parser.parse_args(argv)
    start_log("matplotlib", "numpy")
    save_figure(draw_importance([read_json(path) for path in args.meta], args.label, args.right), args.output)


if __name__ == "__main__":
    run_main(main)
