"""Plot a fit: regions before and after it, pulls and constraints, correlations."""

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

# Regions side by side in one figure
MOST_COLUMNS = 3
# Pulls in one column, columns of them, and free parameters listed above
MOST_ROWS, MOST_PULL_COLUMNS, MOST_FREE = 45, 4, 8


def poisson_interval(counts: Any) -> tuple[Any, Any]:
    """Return lower and upper error bars of counts: the interval of 68 % (Wilson-Hilferty form of Garwood's).

    Accurate to a few percent from one event on; zero events have no lower bar.
    """
    n = np.asarray(counts, float)
    low = np.where(n > 0, n * (1 - 1 / (9 * np.maximum(n, 1)) - 1 / (3 * np.sqrt(np.maximum(n, 1)))) ** 3, 0.0)
    high = (n + 1) * (1 - 1 / (9 * (n + 1)) + 1 / (3 * np.sqrt(n + 1))) ** 3
    return n - low, high - n


def plot_regions(yields: Mapping[str, Any], stage: str, labels: Mapping[str, Any]) -> Figure:
    """Return a figure of all regions with data, stacked samples, total uncertainty, and their ratio.

    Parameters
    ----------
    yields : mapping
        Content of yields.json.
    stage : str
        "prefit" or "postfit".
    labels : mapping
        "observable" (axis title), "regions" (that of single regions), "samples" (names in the legend), "data" (name in
        the legend), "left" and "right" (above the axes).
    """
    columns = min(len(yields), MOST_COLUMNS)
    blocks = math.ceil(len(yields) / columns)
    figure, axes = new_figure(
        2 * blocks, columns, width=5.6, height=3.0, squeeze=False,
        gridspec_kw={"height_ratios": [2.4, 1] * blocks},
    )  # fmt: skip
    samples = list(dict.fromkeys(name for block in yields.values() for name in block["prefit"]["samples"]))
    for number in range(blocks * columns):
        row, column = divmod(number, columns)
        upper, lower = axes[2 * row, column], axes[2 * row + 1, column]
        if number >= len(yields):
            upper.set_axis_off()
            lower.set_axis_off()
            continue
        region = list(yields)[number]
        _draw_region(upper, lower, region, yields[region], stage, samples, labels)
    return figure


def _draw_region(
    upper: Axes, lower: Axes, region: str, block: Mapping[str, Any], stage: str, samples: Sequence[str],
    labels: Mapping[str, Any],
) -> None:  # fmt: skip
    """Draw one region: data and stack above, their ratio below."""
    edges = np.array(block["edges"], float)
    blinded = block["observed"] is None
    lower.set_xlabel(labels.get("regions", {}).get(region, labels["observable"]))
    lower.set_ylabel("Data / fit" if stage == "postfit" else "Data / exp.")
    upper.set_ylabel("Events per bin")
    add_label(upper, labels["right"], labels["left"])
    for axes in (upper, lower):
        axes.set_xlim(edges[0], edges[-1])
    upper.tick_params(labelbottom=False)
    if np.array_equal(edges, np.arange(len(edges))):
        # the bins of a given workspace have numbers, no edges
        lower.set_xticks(edges[:-1] + 0.5, [f"{number:.0f}" for number in edges[:-1]])
        for axes in (upper, lower):
            axes.xaxis.minorticks_off()
    when = "after the fit" if stage == "postfit" else "before the fit"
    upper.text(
        0.04,
        0.95,
        f"Region: {region}\n{when}{', blinded' if blinded else ''}",
        transform=upper.transAxes,
        va="top",
        fontsize=11,
    )
    part = block[stage]
    if part is None:
        upper.text(0.5, 0.5, "the fit is not valid", transform=upper.transAxes, ha="center", color=COLOURS[2])
        return
    bottom = np.zeros(len(edges) - 1)
    # the sample that is listed last goes lowest, so that the first one, the signal, is on top
    for index, name in reversed(list(enumerate(samples))):
        if name in part["samples"]:
            top = bottom + np.array(part["samples"][name]["bins"])
            upper.stairs(top, edges, baseline=bottom, fill=True, color=COLOURS[index % len(COLOURS)],
                         label=labels["samples"].get(name, name))  # fmt: skip
            bottom = top
    total, spread = np.array(part["total"]["bins"]), np.array(part["total"]["bin_uncertainties"])
    band = {"fill": True, "facecolor": "none", "edgecolor": "0.3", "hatch": "////", "linewidth": 0}
    upper.stairs(total + spread, edges, baseline=total - spread, label="Uncertainty", **band)
    safe = np.where(total > 0, total, np.nan)
    lower.stairs(1 + spread / safe, edges, baseline=1 - spread / safe, **band)
    lower.axhline(1, color="0.4", linewidth=1)
    reach, highest = spread / safe, (total + spread).max()
    if not blinded:
        observed = np.array(block["observed"])
        centres, below_above = (edges[1:] + edges[:-1]) / 2, poisson_interval(observed)
        marks = {"fmt": "o", "color": "black", "markersize": 4, "linewidth": 1.2}
        upper.errorbar(centres, observed, yerr=below_above, label=labels["data"], **marks)
        lower.errorbar(centres, observed / safe, yerr=[error / safe for error in below_above], **marks)
        reach = np.abs(observed / safe - 1) + below_above[1] / safe
        highest = max(highest, (observed + below_above[1]).max())
    half = min(max(1.1 * float(np.nanmax(reach)), 0.1), 1.0) if np.isfinite(reach).any() else 1.0
    lower.set_ylim(1 - half, 1 + half)
    upper.set_ylim(0, 1.55 * highest)
    upper.legend(loc="upper right", fontsize=10 if len(samples) <= 5 else 8, ncols=1 if len(samples) <= 5 else 2)


def plot_pulls(fit: Mapping[str, Any], labels: Mapping[str, Any]) -> Figure:
    """Return a figure of the constrained parameters: pull and ratio of uncertainties, and of the free ones.

    A pull is (fitted - nominal) / width of the constraint; the error bar is the ratio of fitted and constraint widths.
    Of more parameters than fit on a page those with the largest pulls and the strongest constraints are drawn.
    """
    constrained = {name: part for name, part in fit["parameters"].items() if part["kind"] in ("normal", "poisson")}
    free = {name: part for name, part in fit["parameters"].items() if part["kind"] == "free"}
    most = MOST_ROWS * MOST_PULL_COLUMNS
    shown = set(sorted(constrained, key=lambda name: -_notable(constrained[name]))[:most])
    drawn = [name for name in constrained if name in shown]
    columns = max(math.ceil(len(drawn) / MOST_ROWS), 1)
    rows = max(math.ceil(len(drawn) / columns), 1)
    names = sorted(free, key=lambda name: name != fit["poi"]["name"])
    lines = [f"{name} = {with_error(free[name])}" for name in names[:MOST_FREE]]
    if len(names) > MOST_FREE:
        lines.append(f"and {len(names) - MOST_FREE} more free parameters")
    figure, grid = new_figure(
        1, columns, width=6.4 if columns == 1 else 4.6, height=1.9 + 0.26 * rows + 0.1 * len(lines), squeeze=False
    )
    for column, axes in enumerate(grid[0]):
        _draw_pulls(axes, {name: constrained[name] for name in drawn[column * rows : (column + 1) * rows]}, rows)
    grid[0, 0].set_title("\n".join(lines), fontsize=11, loc="left", pad=8)
    state = "" if fit["valid"] else "the fit is not valid"
    left_out = f"{len(drawn)} of {len(constrained)} constrained parameters" if len(drawn) < len(constrained) else ""
    right = [labels["left"], labels["right"], _blinded_text(fit), left_out, state]
    grid[0, -1].set_title("\n".join(text for text in right if text), fontsize=11, loc="right")
    return figure


def _blinded_text(fit: Mapping[str, Any]) -> str:
    """Return what the figure says of blinded regions."""
    return f"blinded: {', '.join(fit['blinded'])}" if fit.get("blinded") else ""


def _notable(part: Mapping[str, Any]) -> float:
    """Return how far a parameter's pull or constraint is from none."""
    width = part["prefit_uncertainty"]
    ratio = 1.0 if part["uncertainty"] is None else part["uncertainty"] / width
    return float(abs(part["value"] - part["start"]) / width + abs(1 - ratio))


def _draw_pulls(axes: Axes, parameters: Mapping[str, Any], rows: int) -> None:
    """Draw one column of pulls, the first parameter on top."""
    axes.axvspan(-2, 2, color="#fff3bf", linewidth=0)
    axes.axvspan(-1, 1, color="#d8f5d0", linewidth=0)
    axes.axvline(0, color="0.5", linewidth=1)
    for row, part in enumerate(parameters.values()):
        width = part["prefit_uncertainty"]
        error = None if part["uncertainty"] is None else [[part["uncertainty"] / width]] * 2
        sides = part.get("minos") or {}
        if sides.get("down") is not None and sides.get("up") is not None:
            error = [[-sides["down"] / width], [sides["up"] / width]]
        pull = (part["value"] - part["start"]) / width
        axes.errorbar(pull, rows - 1 - row, xerr=error, fmt="o", color="black", markersize=4)
    axes.set_yticks([rows - 1 - row for row in range(len(parameters))], list(parameters), fontsize=10)
    axes.set_ylim(-0.8, rows - 0.2)
    axes.set_xlim(-3, 3)
    axes.minorticks_off()
    axes.set_xlabel(r"$(\hat\theta - \theta_0)\,/\,\Delta\theta$")


def with_error(part: Mapping[str, Any]) -> str:
    """Return a parameter as "value ± uncertainty" with two digits of the uncertainty."""
    if not part["uncertainty"]:
        return f"{part['value']:.3g} (no valid uncertainty)"
    digits = max(0, 1 - math.floor(math.log10(part["uncertainty"])))
    bound = " (at its bound)" if part["at_bound"] else ""
    sides = part.get("minos") or {}
    if sides.get("down") is not None and sides.get("up") is not None:
        return f"${part['value']:.{digits}f}^{{+{sides['up']:.{digits}f}}}_{{{sides['down']:.{digits}f}}}${bound}"
    return f"{part['value']:.{digits}f} $\\pm$ {part['uncertainty']:.{digits}f}{bound}"


def plot_correlations(fit: Mapping[str, Any], labels: Mapping[str, Any], most: int = 20) -> Figure:
    """Return a figure of the correlation matrix of the parameters with the largest correlations.

    Parameters
    ----------
    fit : mapping
        Content of fit.json.
    labels : mapping
        "left" and "right" (above the axes).
    most : int
        Number of parameters drawn, the parameter of interest among them.
    """
    correlations = fit["correlations"]
    if correlations is None:
        figure, axes = new_figure()
        axes.text(0.5, 0.5, "the fit is not valid: no correlations", ha="center", transform=axes.transAxes)
        axes.set_axis_off()
        return figure
    names, matrix = correlations["parameters"], np.array(correlations["matrix"])
    strength = np.abs(matrix - np.eye(len(names))).max(axis=1, initial=0)
    strength[[name == fit["poi"]["name"] for name in names]] = 2
    chosen = np.sort(np.argsort(-strength, kind="stable")[:most])
    chosen = np.array(sorted(chosen, key=lambda index: names[index] != fit["poi"]["name"]))
    matrix, names = matrix[np.ix_(chosen, chosen)], [names[index] for index in chosen]
    size = 3.2 + 0.3 * len(names)
    figure, axes = new_figure(width=size + 1, height=size)
    add_label(axes, labels["right"], labels["left"])
    image = axes.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu_r")
    figure.colorbar(image, ax=axes, label="Correlation", shrink=0.8)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=9)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.minorticks_off()
    axes.tick_params(length=0, top=False, right=False)
    for row, column in np.ndindex(matrix.shape):
        value = matrix[row, column]
        if row != column and abs(value) >= 0.1:
            axes.text(column, row, f"{value:.1f}".replace("0.", "."), ha="center", va="center", fontsize=8,
                      color="white" if abs(value) > 0.6 else "black")  # fmt: skip
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figures of one fit."""
    parser = make_parser(__doc__)
    parser.add_argument("--fit", required=True, type=Path, help="fit.json")
    parser.add_argument("--yields", required=True, type=Path, help="yields.json")
    parser.add_argument("--labels", required=True, type=json_argument, help="axis and sample titles, luminosity")
    parser.add_argument("--prefit", required=True, type=Path, help="PNG to write, with a PDF beside it")
    parser.add_argument("--postfit", required=True, type=Path, help="as --prefit")
    parser.add_argument("--pulls", required=True, type=Path, help="as --prefit")
    parser.add_argument("--correlations", required=True, type=Path, help="as --prefit")
    args = parser.parse_args(argv)
    start_log("matplotlib", "mplhep", "numpy")
    fit, yields = read_json(args.fit), read_json(args.yields)
    save_figure(plot_regions(yields, "prefit", args.labels), args.prefit)
    save_figure(plot_regions(yields, "postfit", args.labels), args.postfit)
    save_figure(plot_pulls(fit, args.labels), args.pulls)
    save_figure(plot_correlations(fit, args.labels), args.correlations)


if __name__ == "__main__":
    run_main(main)
