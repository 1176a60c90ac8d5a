"""Draw the unfolded spectra of all methods, and the figures of merit of the comparison.

Spectra are densities, normalised in range. Configuration: `systematics`, for the band of the total uncertainty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.files import read_json
from lhcml.common.style import COLOURS, add_label, new_figure, save_figure
from lhcml.unfolding.binned_spectra import read_spectrum
from lhcml.unfolding.uncertainties import Array, as_density

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3
# observables beside each other in the figure of the comparison
IN_A_ROW = 8
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">", "*")
UNBINNED = ("omnifold", "multifold", "unifold")
BEFORE = "simulation"


def style(position: int) -> dict[str, Any]:
    """Return colour and marker of the method at a position."""
    return {"color": COLOURS[position % len(COLOURS)], "marker": MARKERS[position % len(MARKERS)]}


def over(values: Array, reference: Array) -> Array:
    """Return a ratio, NaN where the reference is empty."""
    return np.divide(values, reference, out=np.full_like(values, np.nan), where=reference > 0)


def places(edges: Array, position: int, number: int) -> Array:
    """Return where the points of a method are drawn: methods side by side within a bin."""
    share = (position + 1) / (number + 1)
    return np.asarray(edges[:-1] + share * np.diff(edges))


def draw_observable(
    main: Axes, ratio: Axes, name: str, methods: Sequence[Mapping[str, Any]], systematics: Mapping[str, Any]
) -> None:
    """Draw an observable: densities above, ratios to the truth (without one, to the simulation) below."""
    blocks = [spectra["observables"].get(name) for spectra in methods]
    first = next(block for block in blocks if block)
    edges = np.array(first["edges"], float)
    prior = as_density(np.array(first["prior"]), edges)
    reference = prior
    if first["truth"] is not None:
        counts = np.array(first["truth"])
        reference = as_density(counts, edges)
        error = over(np.sqrt(first["truth_variance"]), counts)
        main.stairs(reference, edges, fill=True, color="0.85", label="Truth")
        ratio.stairs(1 + error, edges, baseline=1 - error, fill=True, color="0.85", label="Truth, statistical")
    main.stairs(prior, edges, color="0.35", linestyle="--", label="Before unfolding")
    ratio.stairs(over(prior, reference), edges, color="0.35", linestyle="--", baseline=None)
    ratio.axhline(1, color="0.5", linewidth=0.8)
    reach, band = [over(prior, reference)], True
    for position, (spectra, block) in enumerate(zip(methods, blocks, strict=True)):
        if block is None:
            continue
        result, points = read_spectrum(block, systematics, density=True), places(edges, position, len(methods))
        values = over(result.nominal, reference)
        if band and spectra["family"] in UNBINNED:
            up, down = (over(result.nominal + sign * result.uncertainty, reference) for sign in (1, -1))
            ratio.stairs(up, edges, baseline=down, fill=True, alpha=0.35, color=style(position)["color"],
                         label=f"{spectra['label']}, total uncertainty")  # fmt: skip
            band = False
        options: dict[str, Any] = {"linestyle": "none", "markersize": 3} | style(position)
        main.plot(points, result.nominal, label=spectra["label"], **options)
        ratio.plot(points, values, **options)
        reach.append(values)
    top = max(float(line.get_ydata().max()) for line in main.lines)
    main.set(xlim=(edges[0], edges[-1]), ylim=(0, 1.2 * max(top, reference.max(), prior.max())))
    main.set_ylabel("Density")
    main.tick_params(labelbottom=False)
    ratio.set(xlim=(edges[0], edges[-1]), xlabel=first["label"])
    ratio.set_ylabel("Ratio to sim." if first["truth"] is None else "Ratio to truth")
    away = np.abs(np.concatenate(reach) - 1)
    # bins with few events would take all of the range
    half = 1.3 * float(np.nanquantile(away, 0.9))
    ratio.set_ylim(1 - min(max(half, 0.05), 1), 1 + min(max(half, 0.05), 1))


def draw_spectra(methods: Sequence[Mapping[str, Any]], systematics: Mapping[str, Any], right: str) -> Figure:
    """Return the figure of all observables.

    Parameters
    ----------
    methods : sequence of mapping
        Contents of spectra.json. The family `simulation`, which does not unfold, is what is drawn anyway.
    systematics : mapping
        `unfolding.systematics`.
    right : str
        Text above the axes at the right.
    """
    drawn = [spectra for spectra in methods if spectra["family"] != BEFORE] or list(methods)
    names = list(dict.fromkeys(name for spectra in drawn for name in spectra["observables"]))
    columns = min(COLUMNS, len(names))
    rows = math.ceil(len(names) / columns)
    figure, axes = new_figure(
        2 * rows, columns, width=5.2, height=2.6, squeeze=False, gridspec_kw={"height_ratios": [1.7, 1] * rows}
    )
    for number in range(rows * columns):
        row, column = divmod(number, columns)
        main, ratio = axes[2 * row, column], axes[2 * row + 1, column]
        if number >= len(names):
            main.remove()
            ratio.remove()
            continue
        draw_observable(main, ratio, names[number], drawn, systematics)
    collision = all(block["truth"] is None for spectra in drawn for block in spectra["observables"].values())
    add_label(axes[0, 0], "" if columns > 1 else right, "Data" if collision else "Simulation")
    if columns > 1:
        add_label(axes[0, columns - 1], right, "")
    add_legend(figure, [axes[0, 0], axes[1, 0]], columns + 1)
    return figure


def add_legend(figure: Figure, panels: Sequence[Axes], columns: int) -> None:
    """Put the legend of some panels above the figure, each entry once."""
    entries: dict[str, Any] = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    figure.legend(list(entries.values()), list(entries), loc="outside upper center", ncols=columns, fontsize=11)


def figure_of_merit(row: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return the discriminator of a row and its error; of collision data chi-square over degrees, without an error."""
    if row["compared_with"] == "truth":
        return row["triangular_e3"], row["triangular_e3_std"]
    return (None if row["chi2"] is None else row["chi2"] / row["degrees"]), None


def draw_group(axes: Axes, rows: Sequence[Mapping[str, Any]], names: Sequence[str], labels: Mapping[str, str]) -> None:
    """Draw the figures of merit of some observables, methods side by side."""
    methods = list(labels)
    for row in rows:
        if row["observable"] not in names:
            continue
        value, error = figure_of_merit(row)
        column, position = names.index(row["observable"]), methods.index(row["method"])
        place = column - 0.4 + 0.8 * (position + 0.5) / len(methods)
        if value is not None and value > 0:
            # on a logarithmic axis a bar to zero would be endless
            low = None if error is None else [[min(error, 0.9 * value)], [error]]
            axes.errorbar(place, value, yerr=low, linestyle="none", markersize=6, capsize=2, **style(position))
        if row["published"] and row["compared_with"] == "truth":
            axes.plot(place, row["published"]["value"], markerfacecolor="white", markersize=7, linestyle="none",
                      **style(position))  # fmt: skip
        if row["floor_e3"] is not None:
            axes.hlines(row["floor_e3"], column - 0.42, column + 0.42, color="0.45", linewidth=1.5)
            axes.hlines(row["prior_e3"], column - 0.42, column + 0.42, color="0.35", linewidth=1.2, linestyle="--")
    shown = {row["observable"]: row["observable_label"] for row in rows}
    axes.set_xticks(range(len(names)), [shown[name] for name in names])
    axes.tick_params(axis="x", which="both", length=0, labelsize=11)
    axes.set(xlim=(-0.5, len(names) - 0.5), yscale="log")
    axes.yaxis.set_major_formatter("{x:g}")
    for column in range(1, len(names)):
        axes.axvline(column - 0.5, color="0.85", linewidth=0.8)


def draw_comparison(rows: Sequence[Mapping[str, Any]], right: str) -> Figure:
    """Return the figure of the triangular discriminators; of collision data, of chi-square against the simulation.

    Parameters
    ----------
    rows : sequence of mapping
        Rows of comparison.json.
    right : str
        Text above the axes at the right.
    """
    truth = any(row["compared_with"] == "truth" for row in rows)
    drawn = [row for row in rows if row["family"] != BEFORE] or list(rows)
    labels = {row["method"]: row["label"] for row in drawn}
    names = list(dict.fromkeys(row["observable"] for row in drawn))
    groups = [names[start : start + IN_A_ROW] for start in range(0, len(names), IN_A_ROW)]
    width = max(6.5, 1.5 * len(groups[0]))
    figure, axes = new_figure(len(groups), 1, width=width, height=4.2, squeeze=False)
    for panel, group in zip(axes[:, 0], groups, strict=True):
        draw_group(panel, drawn, group, labels)
        panel.set_ylabel("Triangular discriminator / $10^{-3}$" if truth else r"$\chi^2$ / degree of freedom")
    first = axes[0, 0]
    for position, label in enumerate(labels.values()):
        first.plot([], [], linestyle="none", label=label, **style(position))
    if truth:
        first.plot([], [], color="0.35", linestyle="--", label="before unfolding")
        first.plot([], [], color="0.45", label="two samples of one density")
    if truth and any(row["published"] for row in drawn):
        first.plot([], [], "o", color="black", markerfacecolor="white", label="published, other events")
    add_legend(figure, [first], 3 if width < 9 else 4)
    add_label(first, right, "Simulation" if truth else "Data")
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Read spectra and comparison, draw both figures."""
    parser = make_parser(__doc__)
    parser.add_argument("--spectra", nargs="+", type=Path, required=True, help="spectra.json of each method")
    parser.add_argument("--comparison", type=Path, required=True, help="comparison.json")
    parser.add_argument("--config", type=json_argument, required=True, help="JSON, see above")
    parser.add_argument("--right", default="", help="text above the axes at the right, e.g. the energy")
    parser.add_argument("--output", type=Path, required=True, help="figure of the spectra, .png; a .pdf goes beside it")
    parser.add_argument("--comparison-plot", type=Path, required=True, help="figure of the comparison, likewise")
    args = parser.parse_args(argv)
    start_log("matplotlib", "numpy")
    methods = [read_json(path) for path in args.spectra]
    save_figure(draw_spectra(methods, args.config["systematics"], args.right), args.output)
    save_figure(draw_comparison(read_json(args.comparison)["rows"], args.right), args.comparison_plot)


if __name__ == "__main__":
    run_main(main)
