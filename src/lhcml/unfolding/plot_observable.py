"""Figure of an unfolded observable: spectrum, comparison with the simulation, uncertainties by source, correlations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.style import COLOURS, add_label, new_figure
from lhcml.unfolding.uncertainties import Spectrum

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = {
    "statistical_data": "Data statistics",
    "statistical_simulation": "Simulation statistics",
    "ensemble": "Training",
}
STATISTICAL = ("statistical_data", "statistical_simulation")


def relative(values: NDArray[np.float64], result: Spectrum) -> NDArray[np.float64]:
    """Return values over the nominal ones, NaN in empty bins."""
    return np.divide(values, result.nominal, out=np.full_like(values, np.nan), where=result.nominal != 0)


def plot_observable(result: Spectrum, labels: Mapping[str, str]) -> Figure:
    """Return the figure of a spectrum.

    Parameters
    ----------
    result : Spectrum
    labels : mapping
        "observable" (axis title), "value" (title of the vertical axis), "method", "cut" (in the legend), "kind" and
        "right" (above the axes).
    """
    grid = {"height_ratios": [2.2, 1, 1.6], "width_ratios": [1, 1]}
    figure, axes = new_figure(3, 2, width=6.4, height=2.5, gridspec_kw=grid)
    for panel in axes[:2, 0]:
        panel.tick_params(labelbottom=False)
    for panel in axes[:, 0]:
        panel.set_xlim(result.edges[0], result.edges[-1])
    space = axes[0, 1].get_gridspec()[:, 1]
    for panel in axes[:, 1]:
        panel.remove()
    draw_spectrum(axes[0, 0], result, labels)
    draw_ratio(axes[1, 0], result)
    draw_sources(axes[2, 0], result)
    axes[2, 0].set_xlabel(labels["observable"])
    add_label(axes[0, 0], labels["right"], labels["kind"])
    draw_correlation(figure, figure.add_subplot(space), result, labels)
    return figure


def draw_spectrum(axes: Axes, result: Spectrum, labels: Mapping[str, str]) -> None:
    """Draw the unfolded spectrum with total and statistical uncertainty, and the simulation before unfolding."""
    width = np.ones(len(result.nominal)) if result.density else np.diff(result.edges)
    value, total = result.nominal / width, result.uncertainty / width
    statistical = result.uncertainty_of(*(name for name in STATISTICAL if name in result.covariances)) / width
    centres = (result.edges[1:] + result.edges[:-1]) / 2
    axes.stairs(value + total, result.edges, baseline=value - total, fill=True, color=COLOURS[0], alpha=0.35,
                label="Total uncertainty")  # fmt: skip
    axes.stairs(result.prior / width, result.edges, color=COLOURS[1], label="Simulation before unfolding")
    axes.errorbar(centres, value, yerr=statistical, fmt="o", color="black", markersize=3.5, linewidth=1.2,
                  label=f"{labels['method']} (bars: statistical)")  # fmt: skip
    axes.set_ylabel(labels["value"])
    low, high = min(0.0, float((value - total).min())), float(max((value + total).max(), (result.prior / width).max()))
    axes.set_ylim(1.2 * low, low + 1.55 * (high - low) if high > low else 1.0)
    axes.legend(loc="upper right", fontsize=10, title=labels["cut"] or None, title_fontsize=10)


def draw_ratio(axes: Axes, result: Spectrum) -> None:
    """Draw the simulation over the unfolded spectrum, with the relative uncertainty as a band around 1."""
    total, prior = relative(result.uncertainty, result), relative(result.prior, result)
    total = np.abs(total)
    axes.stairs(1 + total, result.edges, baseline=1 - total, fill=True, color=COLOURS[0], alpha=0.35)
    axes.stairs(prior, result.edges, color=COLOURS[1], baseline=None)
    axes.axhline(1, color="0.4", linewidth=1)
    spread = np.concatenate([np.abs(prior - 1), total])
    reach = float(np.quantile(spread[np.isfinite(spread)], 0.9)) if np.isfinite(spread).any() else 0.1
    half = min(max(1.5 * reach, 0.05), 1.0)
    axes.set_ylim(1 - half, 1 + half)
    axes.set_ylabel("Sim. / unf.")


def draw_sources(axes: Axes, result: Spectrum) -> None:
    """Draw the relative uncertainty from each source and in all."""
    axes.set_ylabel("Uncertainty [%]")
    total = 100 * np.abs(relative(result.uncertainty, result))
    known = total[np.isfinite(total) & (total > 0)]
    if not known.size:
        axes.text(0.5, 0.5, "no uncertainties", transform=axes.transAxes, ha="center", va="center")
        return
    for number, source in enumerate(result.covariances):
        values = 100 * np.abs(relative(result.uncertainty_of(source), result))
        axes.stairs(values, result.edges, baseline=None, color=COLOURS[number % len(COLOURS)],
                    linestyle="-" if number < len(COLOURS) else "--", label=NAMES.get(source, source))  # fmt: skip
    axes.stairs(total, result.edges, baseline=None, color="black", linewidth=2, label="Total")
    # sources differ by orders of magnitude, and the legend takes the upper half
    high = float(np.quantile(known, 0.9))
    axes.set_yscale("log")
    axes.set_ylim(0.01 * high, 60 * high)
    axes.legend(loc="upper center", fontsize=9, ncols=3, handlelength=1.2, columnspacing=1.0)


def draw_correlation(figure: Figure, axes: Axes, result: Spectrum, labels: Mapping[str, str]) -> None:
    """Draw the total correlation matrix on the axes of the observable."""
    mesh: Any = axes.pcolormesh(
        result.edges, result.edges, result.correlation, vmin=-1, vmax=1, cmap="RdBu_r", rasterized=True
    )
    figure.colorbar(mesh, ax=axes, label="Correlation, all sources", shrink=0.75)
    axes.set_aspect("equal")
    axes.set_xlabel(labels["observable"])
    axes.set_ylabel(labels["observable"])
