"""Plot the scan of CLs: observed, expected with its bands, and the limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.files import read_json
from lhcml.common.style import COLOURS, add_label, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The usual colours of one and two standard deviations, in tones that print apart
ONE_SIGMA, TWO_SIGMA = "#85d1a4", "#ffdf7f"


def plot_limit(limit: Mapping[str, Any], labels: Mapping[str, Any]) -> Figure:
    """Return a figure of CLs against the parameter of interest.

    Parameters
    ----------
    limit : mapping
        Content of limit.json.
    labels : mapping
        "data" (name in the legend), "left" and "right" (above the axes).
    """
    figure, axes = new_figure()
    add_label(axes, labels["right"], labels["left"])
    axes.set_xlabel(rf"Parameter of interest {limit['poi']}")
    axes.set_ylabel(r"$\mathrm{CL_s}$")
    if not limit["valid"] or not limit["scan"]:
        axes.text(0.5, 0.5, "no limit: a fit did not converge", ha="center", transform=axes.transAxes)
        return figure
    data = labels["data"] + (", Asimov data where blinded" if limit.get("blinded") else "")
    points = np.array([row["poi"] for row in limit["scan"]])
    bands = np.array([row["cls_expected"] for row in limit["scan"]])
    axes.fill_between(points, bands[:, 0], bands[:, 4], color=TWO_SIGMA, linewidth=0, label=r"Expected $\pm 2\sigma$")
    axes.fill_between(points, bands[:, 1], bands[:, 3], color=ONE_SIGMA, linewidth=0, label=r"Expected $\pm 1\sigma$")
    axes.plot(points, bands[:, 2], "--", color="black", label="Expected without signal")
    axes.plot(points, [row["cls_observed"] for row in limit["scan"]], "o-", color="black", markersize=3.5,
              label=data)  # fmt: skip
    axes.axhline(limit["level"], color=COLOURS[2], linewidth=1.2)
    axes.text(points[-1] * 0.99, limit["level"] * 1.08, f"{100 * (1 - limit['level']):g} % CL", color=COLOURS[2],
              ha="right", va="bottom", fontsize=11)  # fmt: skip
    lines = [
        f"{name} limit: {limit[key]:.3g}"
        for name, key in (("Observed", "observed"), ("Expected", "expected_median"))
        if limit[key] is not None
    ]
    axes.legend(loc="upper right", title="\n".join(lines), title_fontsize=11, alignment="left")
    axes.set_xlim(0, points[-1])
    axes.set_yscale("log")
    axes.set_ylim(1e-3, 30)
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the scan of one measurement."""
    parser = make_parser(__doc__)
    parser.add_argument("--limit", required=True, type=Path, help="limit.json")
    parser.add_argument("--labels", required=True, type=json_argument, help="what the data are, luminosity")
    parser.add_argument("--output", required=True, type=Path, help="PNG to write, with a PDF beside it")
    args = parser.parse_args(argv)
    start_log("matplotlib", "mplhep", "numpy")
    save_figure(plot_limit(read_json(args.limit), args.labels), args.output)


if __name__ == "__main__":
    run_main(main)
