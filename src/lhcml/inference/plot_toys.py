"""Figures of pseudo-experiments: bias and pull, linearity, goodness of fit, CLs beside the asymptotic formulae."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lhcml.common.style import COLOURS, add_label, new_figure
from lhcml.inference.distributions import chi_squared_density

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The usual colours of one and two standard deviations, in tones that print apart
ONE_SIGMA, TWO_SIGMA = "#85d1a4", "#ffdf7f"


def plot_coverage(result: Mapping[str, Any], labels: Mapping[str, Any]) -> Figure:
    """Return a figure of two histograms: fitted values, and pulls with the standard normal curve.

    Parameters
    ----------
    result : mapping
        Content of toys.json.
    labels : mapping
        Not used: pseudo-experiments are simulated whatever the data are.
    """
    figure, (left, right) = new_figure(1, 2, width=5.6, height=4.6)
    left.set_xlabel(f"Fitted {result['poi']}")
    right.set_xlabel(f"Pull of {result['poi']}")
    for axes in (left, right):
        _head(axes, result)
        axes.set_ylabel("Pseudo-experiments per bin")
    if result.get("mean") is None:
        return _empty(figure, left, result)
    pairs = list(zip(result["toys"]["value"], result["toys"]["uncertainty"], strict=True))
    values = np.array([value for value, _ in pairs if value is not None])
    pulls = np.array([(value - result["injected"]) / error for value, error in pairs if error is not None])
    counts, _, _ = left.hist(values, bins=24, color=COLOURS[0], alpha=0.75)
    left.axvline(result["injected"], color=COLOURS[2], label=f"Injected {result['injected']:g}")
    left.axvline(result["mean"], color="black", linestyle="--",
                 label=f"Mean {result['mean']:.3f} $\\pm$ {result['mean_uncertainty']:.3f}")  # fmt: skip
    edges = np.linspace(-4, 4, 25)
    heights, _, _ = right.hist(np.clip(pulls, -4, 4), bins=edges, color=COLOURS[0], alpha=0.75)
    x = np.linspace(-4, 4, 200)
    curve = len(pulls) * (edges[1] - edges[0]) * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    right.plot(x, curve, color=COLOURS[2], label="Standard normal")
    for name, key in (("Mean", "pull_mean"), ("Width", "pull_width"), ("Coverage", "coverage")):
        if result[key] is not None:
            right.plot([], [], " ", label=f"{name} {result[key]:.2f} $\\pm$ {result[f'{key}_uncertainty']:.2f}")
    left.set_ylim(0, 1.45 * counts.max())
    right.set_ylim(0, 1.55 * max(heights.max(), curve.max(), 1))
    for axes in (left, right):
        axes.legend(loc="upper right", fontsize=10, borderaxespad=1.2)
    return figure


def plot_linearity(result: Mapping[str, Any], labels: Mapping[str, Any]) -> Figure:
    """Return a figure of fitted against injected values, and below the bias in units of the uncertainty.

    Parameters
    ----------
    result : mapping
        Content of linearity.json.
    labels : mapping
        Not used.
    """
    figure, (top, bottom) = new_figure(2, 1, height=3.2, sharex=True, height_ratios=[2.2, 1])
    points = [point for point in result.get("points", []) if point["mean"] is not None]
    bottom.set_xlabel(f"Injected {result['poi']}")
    top.set_ylabel(f"Fitted {result['poi']}")
    bottom.set_ylabel(r"Bias / $\sigma$")
    _head(top, result)
    if not points:
        return _empty(figure, top, result)
    x, mean, error, bias, width = (
        np.array([point[key] for point in points], float)
        for key in ("injected", "mean", "mean_uncertainty", "bias_in_sigma", "count")
    )
    spread = error * np.sqrt(width)
    margin = 0.08 * float(max(np.ptp(x), 1e-3))
    ends = np.array([x.min() - margin, x.max() + margin])
    top.plot(ends, ends, "--", color="grey", linewidth=1.2, label="Fitted = injected")
    line = result["line"]
    if line["slope"] is not None:
        top.plot(
            ends, line["slope"] * ends + line["intercept"], color=COLOURS[2],
            label=f"Slope {line['slope']:.3f} $\\pm$ {line['slope_uncertainty']:.3f}\n"
            f"Intercept {line['intercept']:.3f} $\\pm$ {line['intercept_uncertainty']:.3f}",
        )  # fmt: skip
    top.errorbar(x, mean, yerr=spread, fmt="none", color=COLOURS[0], linewidth=5, alpha=0.4, label="Spread of fits")
    used = np.isin(x, line["used"])
    for axes, y, yerr in ((top, mean, error), (bottom, bias, error / spread)):
        axes.errorbar(x[used], y[used], yerr=yerr[used], fmt="o", color="black", markersize=4.5,
                      label="Mean" if axes is top else None)  # fmt: skip
        if not used.all():
            axes.errorbar(x[~used], y[~used], yerr=yerr[~used], fmt="o", color="black", markersize=4.5,
                          markerfacecolor="white", label="Mean, not in the line" if axes is top else None)  # fmt: skip
    bottom.axhline(0, color="grey", linestyle="--", linewidth=1.2)
    reach = 1.4 * max(0.2, float(np.abs(bias).max()))
    bottom.set_ylim(-reach, reach)
    top.set_xlim(*ends)
    top.legend(loc="upper left")
    return figure


def plot_goodness(result: Mapping[str, Any], labels: Mapping[str, Any]) -> Figure:
    """Return a figure of the saturated statistic: pseudo-experiments, chi-squared curve, data.

    Parameters
    ----------
    result : mapping
        Content of goodness_of_fit.json.
    labels : mapping
        "data" (name in the legend) and "left" (what the data are, above the axes).
    """
    figure, axes = new_figure()
    axes.set_xlabel(r"$-2\,\ln\,(L / L_\mathrm{saturated})$")
    axes.set_ylabel("Pseudo-experiments per bin")
    _head(axes, result, labels["left"])
    if "statistic" not in result:
        return _empty(figure, axes, result)
    toys = np.array([value for value in result["toys"] if value is not None])
    observed, degrees = result["statistic"], result["degrees_of_freedom"]
    top = 1.1 * max(observed, float(toys.max(initial=0)), 2.0 * max(degrees, 1))
    edges = np.linspace(0, top, 36)
    highest = 1.0
    if len(toys):
        share = f"{result['p_value_toys']:.3f} $\\pm$ {result['p_value_toys_uncertainty']:.3f}"
        heights, _, _ = axes.hist(toys, edges, color=COLOURS[0], alpha=0.75,
                                  label=f"Pseudo-experiments, p = {share}")  # fmt: skip
        highest = heights.max()
    if degrees > 0:
        x = np.linspace(top / 400, top, 400)
        density = np.array([chi_squared_density(float(value), degrees) for value in x])
        curve = (len(toys) or 1) * (edges[1] - edges[0]) * density
        # of one degree of freedom the density has no limit at zero
        highest = max(highest, float(curve[x > edges[1] / 2].max())) if len(toys) else float(curve.max())
        axes.plot(x, curve, color=COLOURS[2],
                  label=rf"$\chi^2$, degrees of freedom: {degrees}, p = {result['p_value']:.3f}")  # fmt: skip
    axes.axvline(observed, color="black", linestyle="--", label=f"{labels['data']}: {observed:.2f}")
    axes.set_xlim(0, top)
    axes.set_ylim(0, 1.45 * highest)
    axes.legend(loc="upper right")
    return figure


def plot_toy_limit(result: Mapping[str, Any], labels: Mapping[str, Any]) -> Figure:
    """Return a figure of CLs against the parameter of interest, and of the distribution of q~ at one value.

    Parameters
    ----------
    result : mapping
        Content of toy_limit.json.
    labels : mapping
        "data" (name in the legend) and "left" (what the data are, above the axes).
    """
    figure, (left, right) = new_figure(1, 2, width=5.9, height=5.0)
    left.set_xlabel(rf"Parameter of interest {result['poi']}")
    left.set_ylabel(r"$\mathrm{CL_s}$")
    _head(left, result, labels["left"])
    if "points" not in result:
        return _empty(figure, left, result)
    points, curve = result["points"], result["asymptotic"]["curve"]
    x = np.array([row["poi"] for row in curve])
    bands = np.array([row["cls_expected"] for row in curve])
    left.fill_between(x, bands[:, 0], bands[:, 4], color=TWO_SIGMA, linewidth=0, label=r"Asymptotic $\pm 2\sigma$")
    left.fill_between(x, bands[:, 1], bands[:, 3], color=ONE_SIGMA, linewidth=0, label=r"Asymptotic $\pm 1\sigma$")
    left.plot(x, bands[:, 2], "--", color="black", label="Asymptotic, expected")
    left.plot(x, [row["cls_observed"] for row in curve], color="black",
              label=f"Asymptotic, {labels['data'].lower()}")  # fmt: skip
    # observed and expected beside each other, in a logarithmic axis where the values are far apart
    wide = x[-1] > 8 * x[0]
    tested = np.array([point["poi"] for point in points])
    shift = 0.012 * (tested if wide else np.ptp(tested))
    left.set_xscale("log" if wide else "linear")
    middle = [point["expected"][2] for point in points]
    for rows, place, marker, colour, text in (
        (middle, tested - shift, "s", COLOURS[4], "Toys, expected"), (points, tested + shift, "o", COLOURS[2],
                                                               f"Toys, {labels['data'].lower()}"),
    ):  # fmt: skip
        left.errorbar(place, [row["cls"] for row in rows], yerr=[row["cls_uncertainty"] for row in rows], fmt=marker,
                      color=colour, markersize=4.5, label=text)  # fmt: skip
    left.axhline(result["level"], color="grey", linewidth=1.2)
    left.set_yscale("log")
    left.set_ylim(1e-3, 60)
    left.legend(loc="upper right", fontsize=10, ncols=2)
    _draw_distribution(right, result["distribution"], result["poi"], labels["data"])
    return figure


def _draw_distribution(axes: Axes, block: Mapping[str, Any], poi: str, data: str) -> None:
    """Draw histograms of q~ with and without signal and the asymptotic expectation of each bin."""
    edges = np.array(block["edges"])
    centres = (edges[1:] + edges[:-1]) / 2
    for name, colour, text in (("signal", COLOURS[2], "with signal"), ("background", COLOURS[0], "without signal")):
        counts = np.array(block[name], float)
        axes.errorbar(centres, counts, yerr=np.sqrt(counts), fmt="o", markersize=3.5, color=colour,
                      label=f"Toys {text}")  # fmt: skip
        axes.stairs(block[f"{name}_asymptotic"], edges, color=colour, label=f"Asymptotic, {text}")
    axes.axvline(block["q"], color="black", linestyle="--", label=data)
    axes.set_yscale("log")
    axes.set_ylim(0.3, 30 * max(*block["signal"], *block["background"]))
    axes.set_xlim(0, edges[-1])
    axes.set_xlabel(rf"$\tilde{{q}}$ of {poi} = {block['poi']:.3g}")
    axes.set_ylabel("Pseudo-experiments per bin")
    axes.legend(loc="upper right", fontsize=10, borderaxespad=1.2)


def _head(axes: Axes, result: Mapping[str, Any], kind: str = "Simulation") -> None:
    """Write above the axes how many pseudo-experiments there are, and what makes the result not valid."""
    count, failed = result.get("count"), result.get("failed")
    text = "" if count is None or failed is None else f"{count - failed} of {count} pseudo-experiments valid"
    add_label(axes, text if result["valid"] else f"NOT VALID {text}", kind)


def _empty(figure: Figure, axes: Axes, result: Mapping[str, Any]) -> Figure:
    """Return the figure with the reason why nothing is drawn."""
    import textwrap

    axes.text(0.5, 0.5, "\n".join(textwrap.wrap(str(result["reason"]), 50)), ha="center", va="center",
              transform=axes.transAxes)  # fmt: skip
    return figure


PLOTTERS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], Figure]] = {
    "toys": plot_coverage,
    "linearity": plot_linearity,
    "goodness_of_fit": plot_goodness,
    "toy_limit": plot_toy_limit,
}
