"""Plot pseudo-experiments: fitted values and pulls of the parameter of interest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.files import read_json
from lhcml.common.style import COLOURS, add_label, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_toys(result: Mapping[str, Any]) -> Figure:
    """Return a figure of two histograms: fitted values, and pulls with the standard normal curve.

    Parameters
    ----------
    result : mapping
        Content of toys.json.
    """
    figure, (left, right) = new_figure(1, 2, width=5.6, height=4.6)
    good = [toy for toy in result["toys"] if toy["valid"] and toy["uncertainty"]]
    for axes in (left, right):
        add_label(axes, f"{result['valid']} of {result['count']} fits valid")
        axes.set_ylabel("Pseudo-experiments per bin")
    left.set_xlabel(f"Fitted {result['poi']}")
    right.set_xlabel(f"Pull of {result['poi']}")
    if len(good) < 2:
        left.text(0.5, 0.5, "no valid fits", ha="center", transform=left.transAxes)
        return figure
    values = np.array([toy["value"] for toy in good])
    pulls = (values - result["injected"]) / np.array([toy["uncertainty"] for toy in good])
    counts, _, _ = left.hist(values, bins=24, color=COLOURS[0], alpha=0.75)
    left.axvline(result["injected"], color=COLOURS[2], label=f"Injected {result['injected']:g}")
    left.axvline(result["mean"], color="black", linestyle="--",
                 label=f"Mean {result['mean']:.3f} $\\pm$ {result['mean_uncertainty']:.3f}")  # fmt: skip
    edges = np.linspace(-4, 4, 25)
    heights, _, _ = right.hist(np.clip(pulls, -4, 4), bins=edges, color=COLOURS[0], alpha=0.75)
    x = np.linspace(-4, 4, 200)
    curve = len(pulls) * (edges[1] - edges[0]) * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    right.plot(x, curve, color=COLOURS[2], label="Standard normal")
    right.plot([], [], " ", label=f"Mean {result['pull_mean']:.2f} $\\pm$ {result['pull_mean_uncertainty']:.2f}")
    right.plot([], [], " ", label=f"Width {result['pull_width']:.2f} $\\pm$ {result['pull_width_uncertainty']:.2f}")
    left.set_ylim(0, 1.45 * counts.max())
    right.set_ylim(0, 1.55 * max(heights.max(), curve.max()))
    for axes in (left, right):
        axes.legend(loc="upper right", fontsize=10)
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the pseudo-experiments of one measurement."""
    parser = make_parser(__doc__)
    parser.add_argument("--toys", required=True, type=Path, help="toys.json")
    parser.add_argument("--output", required=True, type=Path, help="PNG to write, with a PDF beside it")
    args = parser.parse_args(argv)
    start_log("matplotlib", "mplhep", "numpy")
    save_figure(plot_toys(read_json(args.toys)), args.output)


if __name__ == "__main__":
    run_main(main)
