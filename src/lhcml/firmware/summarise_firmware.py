"""Gather what is known of a model's firmware at every point: areas under the curve, gates, latency, resources.

The keys of the output at its top are of the chosen point; `points` has the same of all. Signals and areas are of the
test split. docs/firmware.md describes the keys.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_json, read_parquet, write_json, write_text
from lhcml.firmware.detection import area

# Look-up tables of the device that published figures are given for (AMD Virtex UltraScale+ VU9P)
VU9P_LUTS = 1_182_240
TABLE = (
    "point", "bits", "pruned", "ebops", "auc_float", "auc_fixed", "auc_loss", "auc_loss_std", "lut", "lut_vu9p_percent",
    "ff", "dsp", "bram", "carry", "depth", "latency_cycles", "latency_ns", "clock_mhz", "rtl_mismatches",
    "emulation_mismatches", "events",
)  # fmt: skip


def compare_scores(
    table: Mapping[str, np.ndarray], signals: Sequence[str], replicas: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Return the areas of float and quantised scores of each signal, and the loss with its uncertainty.

    Events are drawn again with replacement, the same ones for both scores: the loss is of a pair.

    Parameters
    ----------
    table : mapping of arrays
        dataset, label, weight, score_float, score of the test events.
    signals : sequence of str
        Datasets.
    replicas : int
        Bootstrap replicas.
    seed : int
        Seed of the bootstrap.
    """
    generator = np.random.default_rng(seed)
    found = {}
    for name in signals:
        rows = np.flatnonzero((table["label"] == 0) | (table["dataset"] == name))
        label = table["label"][rows] == 1
        counts = (int(label.sum()), int((~label).sum()))
        entry: dict[str, Any] = {"events": counts[0], "background_events": counts[1]}
        found[name] = entry | dict.fromkeys(("auc_float", "auc_fixed", "auc_float_std", "auc_loss", "auc_loss_std"))
        if min(counts) < 2:
            continue
        scores = [table[column][rows] for column in ("score_float", "score")]
        weight = table["weight"][rows]
        areas = [area(score, label, weight) for score in scores]
        drawn = []
        for _ in range(replicas):
            # within each class, so that neither is ever empty
            times = np.zeros(len(rows))
            for group in (label, ~label):
                times[group] = generator.multinomial(group.sum(), np.full(group.sum(), 1 / group.sum()))
            drawn.append([area(score, label, weight * times) for score in scores])
        spread = np.array(drawn)
        found[name] |= {
            "auc_float": areas[0],
            "auc_fixed": areas[1],
            "auc_loss": areas[0] - areas[1],
            "auc_float_std": float(spread[:, 0].std(ddof=1)) if replicas > 1 else None,
            "auc_loss_std": float((spread[:, 0] - spread[:, 1]).std(ddof=1)) if replicas > 1 else None,
        }
    return found


def mean_of(entries: Mapping[str, Mapping[str, Any]], key: str) -> float | None:
    """Return the mean of a figure over the signals that have it, None without any."""
    values = [entry[key] for entry in entries.values() if entry[key] is not None]
    return float(np.mean(values)) if values else None


def read_point(folder: Path, signals: Sequence[str], replicas: int, seed: int) -> dict[str, Any]:
    """Return the row of a point from the files of its folder.

    Raises
    ------
    UserError
        If the gates did not see the same number of events.
    """
    names = ("quantised", "rtl", "simulation", "synthesis")
    quantised, rtl, simulation, synthesis = (read_json(folder / f"{name}.json") for name in names)
    emulations = [read_json(path) for path in sorted((folder / "hls").glob("*.json"))]
    compiled = [entry for entry in emulations if entry["compiled"]]
    seen = {simulation["events"], *(entry["events"] for entry in compiled)}
    if len(seen) != 1:
        raise UserError(f"{folder}: the gates saw {', '.join(map(str, sorted(seen)))} events", "make the point again")
    scores = read_parquet(folder / "scores.parquet", ["dataset", "split", "label", "weight", "score_float", "score"])
    test = scores[scores["split"] == "test"]
    table = {name: test[name].to_numpy() for name in ("label", "weight", "score_float", "score")}
    table["dataset"] = np.array(test["dataset"].to_list())
    areas = compare_scores(table, signals, replicas, seed)
    optional = {name: folder / f"{name}.json" for name in ("timing", "vendor")}
    losses = [entry["auc_loss_std"] for entry in areas.values() if entry["auc_loss_std"] is not None]
    return {
        "point": folder.name,
        "method": quantised["method"],
        "bits": quantised["bits"],
        "pruned": quantised["pruned"],
        "ebops": quantised["ebops"],
        "parameters": quantised["parameters"],
        "zero_share": quantised["zero_share"],
        "saturated": quantised["saturated"],
        **{key: rtl[key] for key in ("latency_cycles", "latency_ns", "clock_mhz", "initiation_interval")},
        **{key: synthesis[key] for key in ("lut", "ff", "carry", "dsp", "bram", "depth", "tool")},
        "lut_vu9p_percent": 100 * synthesis["lut"] / VU9P_LUTS,
        "emulation_max_abs_diff": max((entry["max_abs_diff"] for entry in compiled), default=None),
        "emulation_mismatches": max((entry["mismatches"] for entry in compiled), default=None),
        "emulations": emulations,
        "rtl_mismatches": simulation["mismatches"],
        "events": simulation["events"],
        **{key: mean_of(areas, key) for key in ("auc_float", "auc_fixed", "auc_loss")},
        # of a mean of signals that share their background: taken as fully correlated
        "auc_loss_std": float(np.mean(losses)) if losses else None,
        "signals": areas,
        **{name: read_json(path) if path.is_file() else None for name, path in optional.items()},
    }


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of points as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, TABLE, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def main(argv: Sequence[str] | None = None) -> None:
    """Read the points of a model and write its summary."""
    parser = make_parser(__doc__)
    parser.add_argument("--points", nargs="+", type=Path, required=True, help="folders of the points, the chosen first")
    parser.add_argument(
        "--config", type=json_argument, required=True, help="label, family, signals, published, replicas"
    )
    parser.add_argument("--published", type=Path, required=True, help="published figures")
    parser.add_argument("--seed", type=int, required=True, help="seed of the bootstrap")
    parser.add_argument("--json", type=Path, required=True, help="summary")
    parser.add_argument("--csv", type=Path, required=True, help="the table of points")
    args = parser.parse_args(argv)
    start_log("numpy", "awkward", seed=args.seed)

    config = args.config
    known = read_json(args.published)
    if config["published"] is not None and config["published"] not in known:
        raise UserError(f"no published figures {config['published']!r}", f"there are: {', '.join(known)}")
    rows = [read_point(folder, config["signals"], config["replicas"], args.seed) for folder in args.points]
    summary = {
        "label": config["label"],
        "family": config["family"],
        **rows[0],
        "published": known[config["published"]] if config["published"] else [],
        "points": rows,
    }
    write_json(args.json, summary)
    write_text(args.csv, as_csv(rows))


if __name__ == "__main__":
    run_main(main)
