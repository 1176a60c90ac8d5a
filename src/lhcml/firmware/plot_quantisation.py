"""Draw what quantisation costs: ROC curves of the float and the quantised score of each signal, and their ratio."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.files import read_parquet
from lhcml.common.style import COLOURS, add_label, new_figure, save_figure

# A rate that fewer weighted background events tell than these is not drawn
LEAST_EVENTS = 10.0


def efficiency_at(rates: np.ndarray, signal: np.ndarray, background: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the signal efficiency at thresholds that pass these shares of the background.

    Parameters
    ----------
    rates : array, shape (k,)
        False positive rates.
    signal, background : arrays
        Scores; all signal events have one weight.
    weights : array
        Of the background events.
    """
    order = np.argsort(-background, kind="stable")
    passed = np.cumsum(weights[order]) / weights.sum()
    # the highest threshold that passes at least this share
    thresholds = background[order][np.minimum(np.searchsorted(passed, rates * (1 - 1e-12)), len(order) - 1)]
    passing: np.ndarray = np.array([np.mean(signal >= threshold) for threshold in thresholds])
    return passing


def draw_quantisation(table: Any, label: str) -> Any:
    """Draw the curves of all signals of the test split and the ratio of efficiencies.

    Parameters
    ----------
    table : array of records
        scores.parquet.
    label : str
        Text above the axes at the right.
    """
    figure, (upper, lower) = new_figure(2, 1, width=6.6, height=3.6, sharex=True, height_ratios=[2.2, 1])
    test = table[table["split"] == "test"]
    background = test[test["label"] == 0]
    weights = background["weight"].to_numpy()
    effective = weights.sum() ** 2 / (weights**2).sum()
    rates = np.geomspace(min(LEAST_EVENTS / effective, 0.5), 1, 60)
    names = np.array(test["dataset"].to_list())
    for number, name in enumerate(dict.fromkeys(names[test["label"].to_numpy() == 1])):
        signal = test[names == name]
        curves = [
            efficiency_at(rates, signal[column].to_numpy(), background[column].to_numpy(), weights)
            for column in ("score_float", "score")
        ]
        colour = COLOURS[number % len(COLOURS)]
        upper.plot(rates, curves[0], color=colour, linestyle="--")
        upper.plot(rates, curves[1], color=colour, label=name)
        known = curves[0] > 0
        lower.plot(rates[known], curves[1][known] / curves[0][known], color=colour)
    upper.plot(rates, rates, color="0.7", linewidth=1)
    upper.set(xscale="log", yscale="log", ylabel="signal efficiency")
    upper.legend(title="full: quantised, dashed: float", fontsize=9, title_fontsize=9)
    lower.axhline(1, color="0.7", linewidth=1)
    lower.set(xlabel="background efficiency", ylabel="quantised / float")
    add_label(upper, label)
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Read the scores of a point, draw the curves."""
    parser = make_parser(__doc__)
    parser.add_argument("--scores", type=Path, required=True, help="scores.parquet of a point")
    parser.add_argument("--label", required=True, help="text above the axes at the right")
    parser.add_argument("--output", type=Path, required=True, help="figure, .png; a .pdf goes beside it")
    args = parser.parse_args(argv)
    start_log("matplotlib")
    columns = ["dataset", "split", "label", "weight", "score_float", "score"]
    save_figure(draw_quantisation(read_parquet(args.scores, columns), args.label), args.output)


if __name__ == "__main__":
    run_main(main)
