"""Plot likelihood scans: a curve for each parameter and contours for each pair."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.files import read_json
from lhcml.common.style import COLOURS, add_label, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_COLUMNS = 3
# Rise of -2 ln L at the edge of regions of 68.3 % and 95 % in two dimensions: -2 ln(1 - p)
CONTOURS = {"68 %": -2 * math.log(1 - 0.6827), "95 %": -2 * math.log(1 - 0.95)}


def plot_scan(scan: Mapping[str, Any], labels: Mapping[str, Any]) -> Figure:
    """Return a figure with an axes for each scanned parameter and each pair.

    Parameters
    ----------
    scan : mapping
        Content of scan.json.
    labels : mapping
        "left" and "right" (above the axes).
    """
    # the parameter of interest first
    names = sorted(scan["parameters"], key=lambda name: name != scan["poi"])
    drawings = [*names, *scan["pairs"]]
    count = max(len(drawings), 1)
    columns = min(count, MOST_COLUMNS)
    figure, grid = new_figure(math.ceil(count / columns), columns, width=6.0, height=4.6, squeeze=False)
    cells = list(grid.flat)
    for axes in cells[len(drawings) :]:
        axes.set_axis_off()
    if not scan["valid"]:
        cells[0].text(
            0.5, 0.02, "NOT valid: see scan.json", ha="center", transform=cells[0].transAxes, color=COLOURS[2]
        )
    for axes, drawing in zip(cells, drawings, strict=False):
        blinded = f"blinded: {', '.join(scan['blinded'])}" if scan["blinded"] else ""
        add_label(axes, "   ".join(text for text in (labels["right"], blinded) if text), labels["left"])
        if isinstance(drawing, str):
            _draw_curve(axes, drawing, scan["parameters"][drawing])
        else:
            _draw_pair(axes, drawing)
    return figure


def _numbers(values: Any) -> Any:
    """Return an array with NaN where a fit was not valid."""
    return np.array(values, dtype=float)


def _draw_curve(axes: Axes, name: str, curve: Mapping[str, Any]) -> None:
    """Draw the profile of one parameter with lines at one and two standard deviations."""
    values, rise = np.array(curve["values"]), _numbers(curve["rise"])
    full = "all parameters" if curve["rise_statistical"] is not None else "profile likelihood"
    axes.plot(values, rise, color="black", label=full)
    if curve["rise_statistical"] is not None:
        axes.plot(values, _numbers(curve["rise_statistical"]), "--", color=COLOURS[0], label="statistics only")
    top = max(4.8, min(1.1 * float(np.nanmax(rise)), 12)) if np.isfinite(rise).any() else 5
    for level, text in ((1, r"1$\sigma$"), (4, r"2$\sigma$")):
        axes.axhline(level, color="0.6", linewidth=1)
        axes.text(0.96, level + 0.01 * top, text, color="0.4", ha="right", va="bottom", fontsize=10,
                  transform=axes.get_yaxis_transform())  # fmt: skip
    low, high = curve["intervals"]["68"]
    text = f"{name} = {curve['best']:.3g}"
    if low is not None and high is not None:
        digits = max(0, 1 - math.floor(math.log10(max(min(high - curve["best"], curve["best"] - low), 1e-12))))
        text = f"{name} = ${curve['best']:.{digits}f}" \
               f"^{{+{high - curve['best']:.{digits}f}}}_{{-{curve['best'] - low:.{digits}f}}}$"  # fmt: skip
    axes.legend(loc="upper center", title=text, title_fontsize=11, fontsize=10)
    axes.set_xlim(values[0], values[-1])
    axes.set_ylim(0, 1.35 * top)
    axes.set_xlabel(name)
    axes.set_ylabel(r"$-2\,\Delta\ln L$")


def _draw_pair(axes: Axes, pair: Mapping[str, Any]) -> None:
    """Draw the contours of two parameters."""
    rise = np.ma.masked_invalid(_numbers(pair["rise"]))
    x, y = np.array(pair["x"]), np.array(pair["y"])
    image = axes.contourf(x, y, rise, levels=np.linspace(0, 12, 13), cmap="Blues_r", extend="max")
    axes.figure.colorbar(image, ax=axes, label=r"$-2\,\Delta\ln L$")
    lines = axes.contour(x, y, rise, levels=list(CONTOURS.values()), colors=["black", COLOURS[2]], linewidths=1.6)
    axes.clabel(lines, fmt=dict(zip(lines.levels, CONTOURS, strict=True)), fontsize=10)
    axes.plot(*pair["best"], "P", color="black", markersize=8)
    axes.set_xlabel(pair["parameters"][0])
    axes.set_ylabel(pair["parameters"][1])


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the scans of one measurement."""
    parser = make_parser(__doc__)
    parser.add_argument("--scan", required=True, type=Path, help="scan.json")
    parser.add_argument("--labels", required=True, type=json_argument, help="what stands above the axes")
    parser.add_argument("--output", required=True, type=Path, help="PNG to write, with a PDF beside it")
    args = parser.parse_args(argv)
    start_log("matplotlib", "mplhep", "numpy")
    save_figure(plot_scan(read_json(args.scan), args.labels), args.output)


if __name__ == "__main__":
    run_main(main)
