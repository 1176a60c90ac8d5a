"""Compute how much a tagger changes when its jets are shifted: jet energy scale, smeared or lost constituents.

The threshold stays where the nominal jets of the signal reach an efficiency of 0.3 or 0.5. Errors are from a bootstrap
in which a jet is drawn in the nominal and in the shifted sample together, so that what both have in common cancels;
jets that a shift moves into or out of the selection are in one of the samples only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.files import finite_or_none, write_json
from lhcml.common.identity import JET_IDENTITY
from lhcml.taggers.matching import Columns, identities
from lhcml.taggers.metrics import POINTS, Bools, Floats, SortedScores, bootstrap_counts, check_scores
from lhcml.taggers.score_tables import read_columns
from lhcml.taggers.sculpting import threshold_at


@dataclass(frozen=True)
class Sample:
    """Scores and labels of the test jets under one shift, with their keys (and `dataset`, a number)."""

    keys: Columns
    score: Floats
    signal: Bools


def read_sample(folder: Path, signal: Sequence[str], background: Sequence[str], shift: str) -> Sample:
    """Read the test jets of all datasets from a folder of scores."""
    parts: dict[str, list[Any]] = {name: [] for name in (*JET_IDENTITY, "dataset", "score", "signal")}
    for number, dataset in enumerate([*signal, *background]):
        table = read_columns(folder / dataset / f"{shift}.parquet", [*JET_IDENTITY, "split", "score"])
        chosen = table["split"] == "test"
        for name in (*JET_IDENTITY, "score"):
            parts[name].append(table[name][chosen])
        parts["dataset"].append(np.full(chosen.sum(), number))
        parts["signal"].append(np.full(chosen.sum(), dataset in signal))
    columns = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    score, label, _ = check_scores(columns.pop("score"), columns.pop("signal"), None)
    return Sample(columns, score, label)


def compare_samples(nominal: Sample, shifted: Sample, replicas: int, seed: int) -> dict[str, Any]:
    """Return AUC and rejections of the shifted jets and their changes against the nominal ones.

    Returns
    -------
    dict
        `n_signal`, `n_background`, `auc`, `auc_change`, `auc_change_std`, and for x = 30 and 50, at the nominal
        threshold, `signal_efficiency_x`, `passing_x` (background jets), `rejection_x`, `rejection_x_change` (relative:
        0.1 is 10 % more) and its `_std`. None where no background jet passes.
    """
    ids = identities([nominal.keys, shifted.keys], ("dataset", *JET_IDENTITY))
    union, first = np.unique(np.concatenate(ids), return_index=True)
    label = np.concatenate([nominal.signal, shifted.signal])[first]
    rows = [np.searchsorted(union, identity) for identity in ids]
    samples = (nominal, shifted)
    curves = [SortedScores.of(s.score, s.signal, np.ones(len(s.score))) for s in samples]

    def measure(counts: Floats) -> Floats:
        """Return both AUC, and for each working point both eps_B and both eps_S."""
        weights = [counts[row] for row in rows]
        values = [curve.curve(weight[curve.order]).auc() for curve, weight in zip(curves, weights, strict=True)]
        for efficiency in POINTS.values():
            cut = threshold_at(nominal.score[nominal.signal], efficiency, weights[0][nominal.signal])
            for wanted in (False, True):
                for sample, weight in zip(samples, weights, strict=True):
                    chosen = sample.signal == wanted
                    values.append(float(np.average(sample.score[chosen] >= cut, weights=weight[chosen])))
        return np.array(values)

    def changes(values: Floats) -> Floats:
        """Return the change of AUC and the relative changes of the rejections."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.array([values[1] - values[0], *(values[i] / values[i + 1] - 1 for i in (2, 6))])

    central = measure(np.ones(len(union)))
    change = changes(central)
    resampled = [changes(measure(counts)) for counts in bootstrap_counts(label, replicas, seed)]
    drawn = np.array(resampled).reshape(replicas, len(change))
    # None where a replica lets no background jet pass
    spread = [float(d.std(ddof=1)) if replicas > 1 and np.isfinite(d).all() else None for d in drawn.T]
    result: dict[str, Any] = {
        "n_signal": int(shifted.signal.sum()),
        "n_background": int((~shifted.signal).sum()),
        "auc": float(central[1]),
        "auc_change": float(change[0]),
        "auc_change_std": spread[0],
    }
    for position, name in enumerate(POINTS):
        _, passed, _, efficiency = central[2 + 4 * position : 6 + 4 * position]
        result |= {
            f"signal_efficiency_{name}": float(efficiency),
            f"passing_{name}": round(passed * np.count_nonzero(~shifted.signal)),
            f"rejection_{name}": float(1 / passed) if passed > 0 else None,
            f"rejection_{name}_change": finite_or_none(float(change[1 + position])),
            f"rejection_{name}_change_std": spread[1 + position],
        }
    return result


def main(argv: Sequence[str] | None = None) -> None:
    """Read scores of the nominal and the shifted jets, write the changes."""
    parser = make_parser(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="folder of scores, {dataset}/{shift}.parquet")
    parser.add_argument("--signal", nargs="+", required=True, help="signal datasets")
    parser.add_argument("--background", nargs="+", required=True, help="background datasets")
    parser.add_argument("--shifts", nargs="+", required=True, help="shifts to compare with nominal")
    parser.add_argument("--replicas", type=int, default=100, help="bootstrap replicas (default: 100; 0: none)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the bootstrap (default: 1)")
    parser.add_argument("--output", type=Path, required=True, help="JSON: shift -> changes")
    args = parser.parse_args(argv)
    log = start_log("numpy", "pyarrow", seed=args.seed)
    nominal = read_sample(args.folder, args.signal, args.background, "nominal")
    result = {}
    for shift in args.shifts:
        shifted = read_sample(args.folder, args.signal, args.background, shift)
        result[shift] = compare_samples(nominal, shifted, args.replicas, args.seed)
        log.info("%s: AUC %+.4f", shift, result[shift]["auc_change"])
    write_json(args.output, result)


if __name__ == "__main__":
    run_main(main)
