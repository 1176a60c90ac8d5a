"""Draw the cutflow of a channel: what is left after each cut, and what the shifts do to the yield."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.files import read_json
from lhcml.common.style import add_label, new_figure, save_figure

# fractions below this are drawn on a logarithmic scale
SMALL_FRACTION = 0.05


def efficiencies(rows: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[float]]:
    """Return the weighted fraction left after each cut and its statistical error.

    The error of a fraction e of weighted events is ``sqrt((1 - 2 e) s_pass + e^2 s_all) / w_all``, with s the sums of
    squared weights; for unit weights this is the binomial ``sqrt(e (1 - e) / n)``.
    """
    start, start_squared = rows[0]["weighted"], rows[0]["weighted_squared"]
    fractions = [row["weighted"] / start for row in rows]
    errors = [
        max((1 - 2 * fraction) * row["weighted_squared"] + fraction**2 * start_squared, 0.0) ** 0.5 / abs(start)
        for fraction, row in zip(fractions, rows, strict=True)
    ]
    return fractions, errors


def yield_ratios(block: Mapping[str, Any]) -> dict[str, float]:
    """Return for each shift the final yield relative to nominal, acceptance only.

    Yields of weight shifts are divided by the shifted sum of weights over all generated events.
    """
    nominal = block["cutflow"]["nominal"][-1]["weighted"]
    sums = block["sum_weight"]
    return {
        shift: rows[-1]["weighted"] / nominal * (sums["nominal"] / sums[shift] if shift in sums else 1.0)
        for shift, rows in block["cutflow"].items()
        if shift != "nominal" and nominal
    }


def draw_cutflow(datasets: Mapping[str, Mapping[str, Any]], label: str) -> Any:
    """Return the figure: fraction of events left after each cut, and yields of the shifts relative to nominal."""
    filled = {name: block for name, block in datasets.items() if block["cutflow"]["nominal"][0]["weighted"]}
    ratios = {name: yield_ratios(block) for name, block in filled.items()}
    shifts = list(dict.fromkeys(shift for block in ratios.values() for shift in block))
    panels = 2 if shifts else 1
    figure, axes = new_figure(1, panels, squeeze=False)
    axis = axes[0, 0]
    cuts = list(dict.fromkeys(row["cut"] for block in filled.values() for row in block["cutflow"]["nominal"]))
    for number, (name, block) in enumerate(filled.items()):
        rows = block["cutflow"]["nominal"]
        fractions, errors = efficiencies(rows)
        at = [cuts.index(row["cut"]) for row in rows]
        text = f"{name} ({rows[-1]['raw']:,} of {rows[0]['raw']:,})"
        axis.errorbar(at, fractions, yerr=errors, marker="o", capsize=2, label=text, color=f"C{number}")
    least = min((row["weighted"] / block["cutflow"]["nominal"][0]["weighted"] for block in filled.values()
                 for row in block["cutflow"]["nominal"] if row["weighted"] > 0), default=1.0)  # fmt: skip
    headroom = 1.1 + 0.12 * len(filled)
    if least < SMALL_FRACTION:
        decades = 10 ** math.floor(math.log10(0.8 * least))
        axis.set_yscale("log")
        axis.set_ylim(decades, (1 / decades) ** (headroom - 1))
    else:
        axis.set_ylim(0, headroom)
    axis.set_xticks(range(len(cuts)), cuts, rotation=30, ha="right", rotation_mode="anchor")
    axis.tick_params(axis="x", which="minor", bottom=False, top=False)
    axis.set_xlim(-0.4, max(len(cuts) - 1, 0) + 0.4)
    axis.set_ylabel("Fraction of events in the file")
    if filled:
        axis.legend(loc="upper right")
    else:
        axis.text(0.5, 0.5, "no events", transform=axis.transAxes, ha="center")
    kind = "Data" if filled and all(block["data"] for block in filled.values()) else "Simulation"
    add_label(axis, label, kind)
    if shifts:
        axis = axes[0, 1]
        height = 0.7 / len(filled)
        for number, (name, values) in enumerate(ratios.items()):
            heights = [shifts.index(shift) + (number - (len(filled) - 1) / 2) * height for shift in values]
            axis.barh(heights, [100 * (value - 1) for value in values.values()], height, label=name, color=f"C{number}")
        axis.axvline(0, color="black", linewidth=1)
        axis.set_yticks(range(len(shifts)), shifts)
        axis.set_ylim(len(shifts) - 0.4, -0.6 - 0.5 * len(filled))
        axis.minorticks_off()
        axis.set_xlabel("Change of the selected yield [%]")
        axis.legend(loc="upper right")
        add_label(axis, label, kind)
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--cutflow", required=True, type=Path, help="cutflow.json of the channel")
    parser.add_argument("--label", default="", help="text above the plots at the right")
    parser.add_argument("--output", required=True, type=Path, help="figure to write (.png, .pdf beside it)")
    args = parser.parse_args(argv)
    start_log("matplotlib", "mplhep")
    save_figure(draw_cutflow(read_json(args.cutflow)["datasets"], args.label), args.output)


if __name__ == "__main__":
    run_main(main)
