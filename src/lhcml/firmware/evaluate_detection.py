r"""Evaluate an anomaly trigger (or a tagger): AUC, signal efficiency at background rates, what it adds to a menu.

Reads the scores of the test split. `{name}` is the quantised score of a file, "float" the score of the float network,
"float_rz" R_z of a VAE, and "sum_pt" a baseline without any network where inputs are events: the scalar sum of pT of
all objects and of the missing momentum. Keys of the configuration (meaning: docs/firmware_detection.md):

  background, signals   datasets
  fprs          false positive rates
  bootstrap     replicas for the uncertainty of the AUC
  menu          lines of a trigger menu; null where inputs are jets
  rates         {luminosity [cm^-2 s^-1], bunches, duty_cycle, bandwidths [Hz], cross_sections: dataset -> pb after the
                selection, for signals whose own is not meant}; null where weights are not in pb

By hand:
  python -m lhcml.firmware.evaluate_detection --scores ebops2000=results/firmware/vae/ebops2000/scores.parquet \
    --inputs results/firmware/vae/inputs/*.parquet --config '{...}' --seed 1 --output detection.json \
    --table detection.csv
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import write_json, write_text
from lhcml.firmware.detection import (
    Floats,
    Sample,
    auc_spread,
    effective_above,
    effective_number,
    make_sample,
    roc_curve,
    sums_above,
    working_point,
)
from lhcml.firmware.menu import pure_contribution
from lhcml.firmware.processes import TEST, Process, joined, read_process
from lhcml.firmware.rates import NOMINAL_CROSSINGS_HZ, crossing_rate, events_a_month, rate_of

# points of the curves that are kept for the figures, and bins of the distributions
CURVE_POINTS, BINS = 200, 30
TABLE_COLUMNS = (
    "score", "signal", "events", "auc", "auc_std", "fpr", "fpr_reached", "rate_hz", "rate_crossings_hz",
    "background_above", "threshold_error", "tpr", "tpr_statistical", "tpr_threshold", "gain", "gain_error",
    "signal_a_month", "pure", "pure_error", "relative", "relative_error", "reason",
)  # fmt: skip


def working_fprs(config: Mapping[str, Any], background_pb: float) -> list[tuple[float, float | None]]:
    """Return the false positive rates to evaluate, with the bandwidth in Hz of those that come from one.

    A bandwidth above the rate of all background takes everything: its false positive rate is 1.
    """
    points: list[tuple[float, float | None]] = [(fpr, None) for fpr in config["fprs"]]
    if config["rates"]:
        total = float(rate_of(background_pb, config["rates"]["luminosity"]))
        points += [(min(bandwidth / total, 1.0), bandwidth) for bandwidth in config["rates"]["bandwidths"]]
    return points


def point_rates(point: Mapping[str, Any], background_pb: float, rates: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the rates that belong to a working point, by both conventions, in Hz."""
    reached = point["fpr_reached"]
    nominal = {"rate_nominal_hz": reached * NOMINAL_CROSSINGS_HZ}
    if not rates:
        return {"rate_hz": None, "rate_crossings_hz": None, **nominal}
    return {
        "rate_hz": float(rate_of(reached * background_pb, rates["luminosity"])),
        "rate_crossings_hz": reached * crossing_rate(rates["bunches"]),
        **nominal,
    }


def evaluate_signal(
    name: str,
    signal_name: str,
    signal: Process,
    background: Mapping[str, Process],
    config: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    """Return the figures of one score for one signal."""
    one, zero = make_sample(signal.scores[name], signal.weights, signal_name), joined(background, name)
    roc = roc_curve(one, zero)
    rates, background_pb = config["rates"], float(zero.weights.sum())
    menu = np.concatenate([process.menu for process in background.values()])
    points = []
    for fpr, bandwidth in working_fprs(config, background_pb):
        point = asdict(working_point(one, zero, roc, fpr))
        point |= {"bandwidth_hz": bandwidth, **point_rates(point, background_pb, rates)}
        point["signal_a_month"] = point["pure_rate_hz"] = point["pure"] = None
        if point["tpr"] is not None and rates:
            cross_section = rates["cross_sections"].get(signal_name, float(one.weights.sum()))
            args = (rates["luminosity"], rates["duty_cycle"])
            point["signal_a_month"] = events_a_month(cross_section, point["tpr"], *args)
        if point["tpr"] is not None and config["menu"]:
            above = zero.scores >= point["threshold"]
            if rates:
                pure_pb = zero.weights[above & ~menu].sum()
                point["pure_rate_hz"] = float(rate_of(pure_pb, rates["luminosity"]))
            point["pure"] = pure_contribution(one.scores >= point["threshold"], signal.menu, one.weights)
        points.append(point)
    vertices = curve_vertices(roc.fpr, effective_above(zero, roc.threshold))
    return {
        "events": len(one.scores), "effective_events": effective_number(one.weights), "auc": roc.auc(),
        "auc_std": auc_spread(one, zero, config["bootstrap"], seed), "points": points,
        "roc": {"fpr": roc.fpr[vertices].tolist(), "tpr": roc.tpr[vertices].tolist()},
    }  # fmt: skip


def curve_vertices(fpr: Floats, effective: Floats) -> NDArray[np.intp]:
    """Return the vertices of a ROC curve to draw: evenly in log FPR, from one effective background event on."""
    known = np.flatnonzero(effective >= 1 - 1e-9)
    grid = np.geomspace(fpr[known[0]], 1, CURVE_POINTS)
    return np.unique(np.searchsorted(fpr, grid * (1 + 1e-9), side="right") - 1)


def score_edges(scores: Floats) -> tuple[Floats, str]:
    """Return edges of bins for scores and the scale of their axis: "log" for numbers from 0 on with a long tail.

    Edges lie between the values of a quantised score, so that no bin is empty for want of a value in it.
    """
    values = np.unique(scores)
    spacing = float(np.diff(values).min()) if len(values) > 1 else 1.0
    low, middle, high = (float(value) for value in np.quantile(scores, [0.01, 0.5, 0.999]))
    # a sum of squares has most of its background near 0 and its signals decades above
    scale = "log" if values[0] >= 0 and high > 20 * middle > 0 else "linear"
    grid = np.geomspace(max(low, spacing), high, BINS + 1) if scale == "log" else np.linspace(low, high, BINS + 1)
    steps = np.unique(np.round((grid - values[0]) / spacing))
    edges = values[0] + spacing * (np.append(steps, steps[-1] + 1) - (0.5 if scale == "linear" else -0.5))
    return edges, scale


def distributions(processes: Mapping[str, Process], name: str) -> dict[str, Any]:
    """Return histograms of a score, normalised to 1 for each process; the outer bins hold what is beyond."""
    edges, scale = score_edges(np.concatenate([process.scores[name] for process in processes.values()]))
    heights = {}
    for dataset, process in processes.items():
        within = np.clip(process.scores[name], edges[0], edges[-1])
        counts, _ = np.histogram(within, edges, weights=process.weights)
        heights[dataset] = (counts / process.weights.sum()).tolist()
    return {"edges": edges.tolist(), "scale": scale, "shares": heights}


def rate_curve(background: Sample, luminosity: float) -> dict[str, Any]:
    """Return the rate of background against the threshold, at thresholds that are scores of background events."""
    order = np.sort(background.scores)[::-1]
    place = np.unique(np.geomspace(1, len(order), CURVE_POINTS).astype(int)) - 1
    thresholds = np.unique(order[place])
    rate, error = (rate_of(sums, luminosity) for sums in sums_above(background, thresholds))
    return {"threshold": thresholds.tolist(), "rate_hz": rate.tolist(), "rate_error_hz": error.tolist()}


def describe(processes: Mapping[str, Process]) -> dict[str, Any]:
    """Return for each process its test events, effective events, cross section and what the menu takes of it."""
    described = {}
    for dataset, process in processes.items():
        total = float(process.weights.sum())
        shares = {line: float(process.weights[taken].sum()) / total for line, taken in process.lines.items()}
        described[dataset] = {
            "events": len(process.weights), "effective_events": effective_number(process.weights),
            "weight": total, "menu_lines": shares, "menu": float(process.weights[process.menu].sum()) / total,
        }  # fmt: skip
    return described


def as_csv(scores: Mapping[str, Any]) -> str:
    """Return a table with a row for each score, signal and working point; empty where there is no value."""
    text = io.StringIO()
    writer = csv.DictWriter(text, TABLE_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for name, score in scores.items():
        for signal, result in score["signals"].items():
            for point in result["points"]:
                row = {"score": name, "signal": signal, **result, **point, **(point["pure"] or {"pure": None})}
                writer.writerow({**row, "background_above": point["events_above"]})
    return text.getvalue()


def evaluate(
    background: Mapping[str, Process], signals: Mapping[str, Process], config: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """Return the content of detection.json."""
    rates = config["rates"]
    weights = np.concatenate([process.weights for process in background.values()])
    total_pb = float(weights.sum())
    assumptions: dict[str, Any] = {"split": TEST, "menu": config["menu"], "rates": rates,
                                   "nominal_crossings_hz": NOMINAL_CROSSINGS_HZ}  # fmt: skip
    result: dict[str, Any] = {
        "assumptions": assumptions, "background": describe(background), "signals": describe(signals),
        "effective_background": effective_number(weights),
    }  # fmt: skip
    if rates:
        assumptions["crossings_hz"] = crossing_rate(rates["bunches"])
        menu = np.concatenate([process.menu for process in background.values()])
        result["background_rate_hz"] = float(rate_of(total_pb, rates["luminosity"]))
        result["menu_rate_hz"] = float(rate_of(weights[menu].sum(), rates["luminosity"])) if config["menu"] else None
    scores: dict[str, Any] = {}
    for name in next(iter(background.values())).scores:
        scores[name] = {
            "signals": {key: evaluate_signal(name, key, one, background, config, seed) for key, one in signals.items()},
            "distributions": distributions({**background, **signals}, name),
            "rates": rate_curve(joined(background, name), rates["luminosity"]) if rates else None,
        }
    return result | {"scores": scores}


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate the scores of one model."""
    parser = make_parser(__doc__)
    parser.add_argument("--scores", required=True, nargs="+", help="name=path: scores of a point, e.g. post8=x.parquet")
    parser.add_argument("--inputs", required=True, nargs="+", type=Path, help="inputs, {dataset}.parquet each")
    parser.add_argument("--config", required=True, type=json_argument, help="JSON, see above")
    parser.add_argument("--seed", required=True, type=int, help="seed of the bootstrap")
    parser.add_argument("--output", required=True, type=Path, help="detection.json to write")
    parser.add_argument("--table", required=True, type=Path, help="the same as a table (CSV)")
    args = parser.parse_args(argv)
    log = start_log("pyarrow", "numpy", seed=args.seed)
    files = {name: Path(path) for name, _, path in (text.partition("=") for text in args.scores)}
    inputs = {path.stem: path for path in args.inputs}
    config = args.config
    groups: dict[str, dict[str, Process]] = {"background": {}, "signals": {}}
    for group, processes in groups.items():
        for dataset in config[group]:
            if dataset not in inputs:
                raise UserError(f"no inputs of {dataset} are given", f"give {dataset}.parquet to --inputs")
            process = read_process(dataset, inputs[dataset], files, config["menu"])
            if process is None:
                log.warning("%s has no test event and is left out", dataset)
            else:
                processes[dataset] = process
    for group, processes in groups.items():
        if not processes:
            raise UserError(f"no test event of any of the {group}: {', '.join(config[group])}", "generate more events")
    result = evaluate(groups["background"], groups["signals"], config, args.seed)
    for name, score in result["scores"].items():
        for signal, figures in score["signals"].items():
            log.info("%s, %s: AUC %.4f +- %.4f", name, signal, figures["auc"], figures["auc_std"] or 0.0)
    left_out = [d for group in groups for d in config[group] if d not in groups[group]]
    write_json(args.output, result | {"left_out": left_out})
    write_text(args.table, as_csv(result["scores"]))


if __name__ == "__main__":
    run_main(main)
