"""Plot the limits of a grid of signals: against one parameter with bands, or as an exclusion contour in a plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.files import read_json
from lhcml.common.style import COLOURS, add_label, new_figure, save_figure
from lhcml.inference.plot_limit import ONE_SIGMA, TWO_SIGMA

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# How the lines of limits.json are drawn in a plane
CONTOURS = {
    "observed": ("-", "black", "Observed"), "expected": ("--", COLOURS[2], "Expected"),
    "expected_minus": (":", COLOURS[2], r"Expected $\pm 1\sigma$"), "expected_plus": (":", COLOURS[2], None),
}  # fmt: skip


def plot_grid(limits: Mapping[str, Any], labels: Mapping[str, Any]) -> Figure:
    """Return the figure of limits.json, by its number of axes.

    Parameters
    ----------
    limits : mapping
        Content of limits.json.
    labels : mapping
        "data" (name in the legend), "left" and "right" (above the axes).
    """
    figure, axes = new_figure(width=7.2)
    add_label(axes, labels["right"], labels["left"])
    if len(limits["axes"]) == 2:
        draw_plane(figure, axes, limits)
    else:
        draw_bands(axes, limits, labels["data"])
    return figure


def title_of(limits: Mapping[str, Any], name: str) -> str:
    """Return the title of an axis."""
    return str(limits["titles"].get(name, name.replace("_", " ")))


def column(rows: Sequence[Mapping[str, Any]], band: int | None) -> NDArray[np.float64]:
    """Return the limits of the points, NaN where there is none: observed, or the expected with this position."""
    values = [None if not row["valid"] else row["observed"] if band is None else row["expected"][band] for row in rows]
    return np.array([np.nan if value is None else value for value in values], float)


def draw_bands(axes: Axes, limits: Mapping[str, Any], data: str) -> None:
    """Draw limits against one parameter, or patch by patch where no parameter differs."""
    from matplotlib.ticker import LogFormatter

    points = limits["points"]
    if limits["axes"]:
        places = np.array([point["at"][0] for point in points])
        axes.set_xlabel(title_of(limits, limits["axes"][0]))
    else:
        places = np.arange(len(points), dtype=float)
        axes.set_xticks(places, [point["patch"] for point in points], rotation=30, ha="right")
        axes.set_xlabel("Signal")
    axes.set_ylabel(limits["titles"].get("limit", f"{100 * (1 - limits['level']):g} % CL limit on {limits['poi']}"))
    good = [point["valid"] for point in points]
    if any(good):
        bands = [column(points, band) for band in range(5)]
        axes.fill_between(places, bands[0], bands[4], color=TWO_SIGMA, linewidth=0, label=r"Expected $\pm 2\sigma$")
        axes.fill_between(places, bands[1], bands[3], color=ONE_SIGMA, linewidth=0, label=r"Expected $\pm 1\sigma$")
        axes.plot(places, bands[2], "--", color="black", label="Expected without signal")
        axes.plot(places, column(points, None), "-", marker="o" if len(points) < 60 else "", color="black",
                  markersize=3.5, label=data)  # fmt: skip
    draw_theory(axes, limits, places)
    failed = places[[not valid for valid in good]]
    if len(failed):
        axes.plot(failed, np.full(len(failed), 0.03), "x", color=COLOURS[2], transform=axes.get_xaxis_transform(),
                  clip_on=False, label="No limit: a fit failed")  # fmt: skip
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if low > 1e-3 and high < 1e4:
        for which in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            which(LogFormatter(minor_thresholds=(2, 0.6), labelOnlyBase=False))
    # room for the legend above the bands
    axes.set_ylim(low, high * (high / low) ** 0.45)
    if len(places) > 1:
        axes.set_xlim(places.min(), places.max())
    axes.legend(loc="upper right", title=excluded_text(limits), title_fontsize=11, alignment="left")


def draw_theory(axes: Axes, limits: Mapping[str, Any], places: NDArray[np.float64]) -> None:
    """Draw the prediction, if there is one."""
    theory = limits["theory"]
    if not theory or not len(places):
        return
    values = [point["theory"] for point in limits["points"]]
    line = np.array([np.nan if value is None else value for value in values], float)
    axes.plot(places, line, "-.", color=COLOURS[0], label=theory.get("label", "Theory"))


def excluded_text(limits: Mapping[str, Any]) -> str | None:
    """Return the ranges that are excluded, as text; None without a theory or an axis."""
    if not limits["theory"] or not limits["excluded"]:
        return None
    parts = []
    for line, name in (("observed", "Observed"), ("expected", "Expected")):
        ranges = ", ".join(f"{low:.4g}\N{EN DASH}{high:.4g}" for low, high in limits["excluded"][line])
        parts.append(f"{name} exclusion: {ranges or 'none'}")
    return "\n".join(parts)


def draw_plane(figure: Figure, axes: Axes, limits: Mapping[str, Any]) -> None:
    """Draw the signals in a plane, coloured by their observed limit over the theory, with the contours at 1."""
    from matplotlib.colors import LogNorm

    points = limits["points"]
    axes.set_xlabel(title_of(limits, limits["axes"][0]))
    axes.set_ylabel(title_of(limits, limits["axes"][1]))
    drawn = [point for point in points if point["valid"] and point["observed"] is not None]
    failed = [point for point in points if point not in drawn]
    if drawn:
        place = np.array([point["at"] for point in drawn])
        value = np.array([point["observed"] / (point["theory"] or 1.0) for point in drawn])
        # symmetric about 1, where exclusion begins
        reach = max(float(np.abs(np.log(np.maximum(value, 1e-300))).max()), 0.1)
        norm = LogNorm(np.exp(-min(reach, 5.0)), np.exp(min(reach, 5.0)))
        shown = axes.scatter(place[:, 0], place[:, 1], c=value, norm=norm, cmap="coolwarm_r", s=42, edgecolor="grey",
                             linewidth=0.5, zorder=3)  # fmt: skip
        over = " / theory" if limits["theory"] else ""
        name = limits["titles"].get("limit", f"{100 * (1 - limits['level']):g} % CL limit on {limits['poi']}")
        figure.colorbar(shown, ax=axes, label=f"Observed {name}{over}", pad=0.02)
    if failed:
        place = np.array([point["at"] for point in failed])
        axes.plot(place[:, 0], place[:, 1], "x", color="black", label="No limit", zorder=3)
    for line, (style, colour, label) in CONTOURS.items():
        for number, segment in enumerate(limits["contours"][line]):
            ends = np.array(segment)
            axes.plot(ends[:, 0], ends[:, 1], style, color=colour, linewidth=1.8 if line == "observed" else 1.4,
                      label=label if number == 0 else None, zorder=4)  # fmt: skip
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.3 * (high - low))
    title = None if any(limits["contours"].values()) else "No contour: nothing, or all, is excluded"
    if title or failed or any(limits["contours"].values()):
        axes.legend(loc="upper left", title=title, title_fontsize=11, alignment="left", ncols=2)


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the limits of one grid."""
    parser = make_parser(__doc__)
    parser.add_argument("--limits", required=True, type=Path, help="limits.json")
    parser.add_argument("--labels", required=True, type=json_argument, help="what the data are, channel")
    parser.add_argument("--output", required=True, type=Path, help="PNG to write, with a PDF beside it")
    args = parser.parse_args(argv)
    start_log("matplotlib", "mplhep", "numpy")
    save_figure(plot_grid(read_json(args.limits), args.labels), args.output)


if __name__ == "__main__":
    run_main(main)
