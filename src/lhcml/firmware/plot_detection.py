"""Draw the evaluation of an anomaly trigger: ROC curves, score distributions, rates, pure contribution to a menu.

By hand:
  python -m lhcml.firmware.plot_detection --detection detection.json --roc roc.png --scores scores.png \
    --rates rates.png --pure pure.png
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_json
from lhcml.common.style import COLOURS, add_label, new_figure, save_figure

Detection = Mapping[str, Any]

PUBLISHED = Path(__file__).with_name("published_detection.json")
NAMES = {"float": "float network", "sum_pt": r"sum of $p_T$"}
LINES = ("-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)))
PANEL_COLUMNS = 3


def panels(count: int) -> tuple[Any, list[Any]]:
    """Return a figure with `count` panels in rows of at most three, and their axes."""
    columns = min(count, 2 if count == 4 else PANEL_COLUMNS)
    figure, axes = new_figure(math.ceil(count / columns), columns, width=5.6, height=4.8, squeeze=False)
    flat = list(axes.flat)
    for axis in flat[count:]:
        axis.remove()
    return figure, flat[:count]


def style(position: int) -> dict[str, Any]:
    """Return colour and dashes of the line at a position."""
    return {"color": COLOURS[position % len(COLOURS)], "linestyle": LINES[position % len(LINES)]}


def draw_published(axis: Any, published: Mapping[str, Any], signal: str) -> None:
    """Draw the published signal efficiency, with what is known of it."""
    if signal not in published["signals"]:
        return
    label = published["label"] + ("" if published["verified"] else " (not verified)")
    axis.plot(published["fpr"], published["signals"][signal]["tpr"], "*", color="black", markerfacecolor="white",
              markersize=11, label=label)  # fmt: skip


def draw_roc(detection: Detection, published: Mapping[str, Any], right: str) -> Any:
    """Return the figure of ROC curves, a panel a signal; each curve ends at one effective background event."""
    scores = detection["scores"]
    signals = list(detection["signals"])
    figure, axes = panels(len(signals))
    for axis, signal in zip(axes, signals, strict=True):
        starts, lowest = [], []
        for position, (name, score) in enumerate(scores.items()):
            result = score["signals"][signal]
            curve = {key: np.asarray(values) for key, values in result["roc"].items()}
            starts.append(float(curve["fpr"][0]))
            lowest.append(float(curve["tpr"][curve["tpr"] > 0].min()))
            error = "" if result["auc_std"] is None else f" ± {result['auc_std']:.3f}"
            label = f"{NAMES.get(name, name)}, AUC {result['auc']:.3f}{error}"
            axis.plot(curve["fpr"], np.where(curve["tpr"] > 0, curve["tpr"], np.nan), label=label, **style(position))
        draw_published(axis, published, signal)
        asked = [point["fpr"] for point in next(iter(scores.values()))["signals"][signal]["points"]]
        left = min(*asked, *starts) / 2
        grid = np.geomspace(left, 1, 50)
        axis.plot(grid, grid, color="0.5", linewidth=1, linestyle=(0, (1, 3)), label="chance")
        axis.axvspan(left, max(starts), color="0.9", zorder=0, label="shaded: fewer than 1 effective background event")
        low = min(*lowest, 1e-3) / 2
        # the upper third is for the legend; there is no efficiency above 1
        axis.set(xscale="log", yscale="log", xlim=(left, 1), ylim=(low, 1.5 / low**0.5))
        axis.set_yticks([10.0**power for power in range(math.ceil(math.log10(low)), 1)])
        axis.tick_params(axis="y", which="minor", left=False, right=False)
        axis.set(xlabel="False positive rate", ylabel=f"Signal efficiency, {signal}")
        axis.legend(loc="upper left", fontsize=9)
        add_label(axis, right)
    return figure


def draw_scores(detection: Detection, right: str) -> Any:
    """Return the figure of the distributions of each score, a panel a score and a line a process."""
    figure, axes = panels(len(detection["scores"]))
    for axis, (name, score) in zip(axes, detection["scores"].items(), strict=True):
        edges = np.asarray(score["distributions"]["edges"])
        least = 1.0
        for position, (process, shares) in enumerate(score["distributions"]["shares"].items()):
            background = process in detection["background"]
            heights = np.asarray(shares)
            least = min(least, float(heights[heights > 0].min()))
            axis.stairs(heights, edges, color=COLOURS[position % len(COLOURS)], label=process,
                        linestyle="-" if background else "--", linewidth=1.4)  # fmt: skip
        axis.set(xscale=score["distributions"]["scale"], yscale="log", xlim=(edges[0], edges[-1]), ylim=(least / 2, 9))
        axis.set(xlabel=f"Score, {NAMES.get(name, name)}", ylabel="Share of the events of a process")
        axis.legend(ncols=2, fontsize=9, title="solid: background; outer bins: and beyond", title_fontsize=9)
        add_label(axis, right)
    return figure


def draw_rates(detection: Detection, right: str) -> Any:
    """Return the figure of background rates against thresholds, a panel a score, by both conventions.

    Raises
    ------
    UserError
        If the evaluation has no rates.
    """
    if not detection["assumptions"]["rates"]:
        raise UserError("the evaluation has no rates", "set `rates`, or do not ask for their figure")
    total = detection["background_rate_hz"]
    crossings, luminosity = detection["assumptions"]["crossings_hz"], detection["assumptions"]["rates"]["luminosity"]
    figure, axes = panels(len(detection["scores"]))
    for axis, (name, score) in zip(axes, detection["scores"].items(), strict=True):
        threshold, rate, error = (np.asarray(score["rates"][key]) for key in ("threshold", "rate_hz", "rate_error_hz"))
        axis.plot(
            threshold, rate, color=COLOURS[0], label=f"simulated processes, {luminosity:.0e} cm$^{{-2}}$s$^{{-1}}$"
        )
        low = float(rate[rate > 0].min()) / 3
        scale, left = score["distributions"]["scale"], score["distributions"]["edges"][0]
        axis.fill_between(threshold, np.maximum(rate - error, low), rate + error, color=COLOURS[0], alpha=0.25,
                          linewidth=0, label="statistical uncertainty")  # fmt: skip
        for position, point in enumerate(next(iter(score["signals"].values()))["points"]):
            if point["bandwidth_hz"] is not None and point["threshold"] is not None:
                axis.plot([left, point["threshold"], point["threshold"]],
                          [point["bandwidth_hz"], point["bandwidth_hz"], low], color=COLOURS[2], linewidth=1,
                          linestyle=LINES[position % len(LINES)], label=f"{point['bandwidth_hz']:g} Hz")  # fmt: skip
        axis.set(xscale=scale, yscale="log", xlim=(min(left, threshold[-1] / 2), threshold[-1]), ylim=(low, 9 * total))
        axis.set(xlabel=f"Threshold, {NAMES.get(name, name)}", ylabel="Background rate [Hz]")
        # both conventions are proportional to the false positive rate: one curve, two scales
        factor = crossings / total
        second = axis.secondary_yaxis("right", functions=(lambda x, f=factor: x * f, lambda x, f=factor: x / f))
        second.set_ylabel(f"FPR x {crossings / 1e6:.1f} MHz [Hz]")
        axis.legend(fontsize=9)
        add_label(axis, right)
    return figure


def draw_pure(detection: Detection, right: str) -> Any:
    """Return the bar chart of what each score adds to the menu, a panel a working point.

    Raises
    ------
    UserError
        If the evaluation has no menu, or no working point has a threshold.
    """
    if not detection["assumptions"]["menu"]:
        raise UserError("the evaluation has no menu", "set `menu`, or do not ask for this figure")
    scores, signals = detection["scores"], list(detection["signals"])
    first = next(iter(scores.values()))["signals"][signals[0]]["points"]
    known = [
        place
        for place in range(len(first))
        if any(score["signals"][signal]["points"][place]["pure"] for score in scores.values() for signal in signals)
    ]
    figure, axes = panels(max(len(known), 1))
    width = 0.8 / len(scores)
    if not known:
        axes[0].text(0.5, 0.5, "no working point has a threshold:\ntoo few background events", ha="center",
                     transform=axes[0].transAxes)  # fmt: skip
    for axis, place in zip(axes, known, strict=False):
        for position, (name, score) in enumerate(scores.items()):
            pures = [score["signals"][signal]["points"][place]["pure"] for signal in signals]
            heights, errors = (
                np.array([one[key] if one else np.nan for one in pures]) for key in ("pure", "pure_error")
            )
            centres = np.arange(len(signals)) + (position - (len(scores) - 1) / 2) * width
            axis.bar(centres, 100 * heights, width, yerr=100 * errors, color=COLOURS[position % len(COLOURS)],
                     error_kw={"linewidth": 1}, label=NAMES.get(name, name))  # fmt: skip
        bandwidth = first[place]["bandwidth_hz"]
        title = f"FPR {first[place]['fpr']:g}" if bandwidth is None else f"{bandwidth:g} Hz of background"
        axis.set(ylabel="Signal taken beyond the menu [%]", ylim=(0, 1.35 * max(axis.get_ylim()[1], 1e-3)))
        axis.set(xlim=(-0.5, len(signals) - 0.5), xticks=range(len(signals)))
        labels = [f"{signal}\n(menu {100 * detection['signals'][signal]['menu']:.0f} %)" for signal in signals]
        axis.set_xticklabels(labels, fontsize=10)
        axis.tick_params(axis="x", which="minor", bottom=False, top=False)
        axis.legend(fontsize=9, title=title, title_fontsize=10)
        add_label(axis, right)
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Read an evaluation and draw the figures that are asked for."""
    parser = make_parser(__doc__)
    parser.add_argument("--detection", required=True, type=Path, help="detection.json")
    parser.add_argument("--right", default="", help="text above the axes at the right, e.g. the energy")
    for name, text in (("roc", "ROC curves"), ("scores", "distributions of the scores")):
        parser.add_argument(f"--{name}", required=True, type=Path, help=f"figure of the {text}, .png; a .pdf beside it")
    for name, text in (("rates", "rates against thresholds"), ("pure", "pure contribution to the menu")):
        parser.add_argument(f"--{name}", type=Path, help=f"figure of the {text}, .png; a .pdf beside it")
    args = parser.parse_args(argv)
    start_log("matplotlib", "numpy")
    detection = read_json(args.detection)
    save_figure(draw_roc(detection, read_json(PUBLISHED), args.right), args.roc)
    save_figure(draw_scores(detection, args.right), args.scores)
    if args.rates:
        save_figure(draw_rates(detection, args.right), args.rates)
    if args.pure:
        save_figure(draw_pure(detection, args.right), args.pure)


if __name__ == "__main__":
    run_main(main)
