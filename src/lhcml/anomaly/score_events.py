r"""Score the data with one method, out of fold: no event is scored by a model that was trained on it.

For each fold the method is fitted on the other folds, and scores the events held out. Raw scores of different models
cannot be compared, so the score of an event is its rank among the events held out of its fold, between 0 and 1. Signal
events that are not in the data get the mean, over the models of all folds, of the rank that they would have.

By hand: the first line of a job's log is its command.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from lhcml.anomaly.ranks import rank_within
from lhcml.anomaly.task import FloatArray, Sample, Task
from lhcml.common.cli import Progress, json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_parquet, require_finite, write_parquet
from lhcml.common.identity import EVENT_IDENTITY
from lhcml.common.seeds import derive_seed

KEPT = (*EVENT_IDENTITY, "dijet_mass", "fold", "label")


def read_sample(path: Path, names: Sequence[str]) -> Sample:
    """Return the events of a file as a method sees them.

    Raises
    ------
    UserError
        If a feature is missing, NaN or infinite.
    """
    array = read_parquet(path, [*names, "dijet_mass", "weight_nominal"])
    features = np.stack([ak.to_numpy(array[name]).astype(np.float64) for name in names], axis=1)
    for column, name in zip(features.T, names, strict=True):
        require_finite(f"feature {name}", column, str(path))
    mass, weights = (ak.to_numpy(array[name]).astype(np.float64) for name in ("dijet_mass", "weight_nominal"))
    return Sample(features, mass, weights)


def score_folds(
    data: Sample, fold: NDArray[np.int64], signal: Sample, task: Mapping[str, Any], method: Any, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Return the scores of data and of signal events that are not in the data.

    Parameters
    ----------
    data, signal : Sample
        Events to score.
    fold : array of shape (n,)
        Fold of each event of the data.
    task : Mapping
        Attributes of the `Task` other than `data` and `seed`.
    method : module
        One of `lhcml.anomaly.methods`.
    seed : int
        Seed from which the seeds of the folds follow.

    Raises
    ------
    UserError
        If a fold is empty, or a method returns NaN.
    """
    scores = np.empty(len(data))
    signal_ranks = []
    folds = np.unique(fold)
    if len(folds) < 2:
        raise UserError("all events are in one fold", "give more events, or check anomaly.folds: at least 2")
    progress = Progress(len(folds), "folds")
    for number in folds:
        held_out = fold == number
        score = method.fit(Task(data=data.where(~held_out), seed=derive_seed(seed, "fold", number), **task))
        raw = score(data.features[held_out], data.mass[held_out])
        require_finite("the score", raw, f"fold {number}")
        scores[held_out] = rank_within(raw, raw)
        if len(signal):
            signal_ranks.append(rank_within(score(signal.features, signal.mass), raw))
        progress.add(1)
    return scores, np.mean(signal_ranks, axis=0) if signal_ranks else np.zeros(0)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--mixture", required=True, type=Path, help="folder of data, template and signal")
    parser.add_argument("--config", required=True, type=json_argument, help="block of the method, JSON")
    parser.add_argument("--window", required=True, type=float, nargs=2, help="ends of the signal region in GeV")
    parser.add_argument("--seed", required=True, type=int, help="seed of the trainings")
    parser.add_argument("--threads", type=int, default=1, help="threads to use")
    parser.add_argument("--scores", required=True, type=Path, help="scores of the data, a Parquet file")
    parser.add_argument("--signal-scores", required=True, type=Path, help="scores of signal events not in the data")
    args = parser.parse_args(argv)
    log = start_log("torch", "zuko", "xgboost", "numpy", seed=args.seed)

    names = args.config["features"]
    method = importlib.import_module(f"lhcml.anomaly.methods.{args.config['family']}")
    table = read_parquet(args.mixture / "data.parquet")
    data = read_sample(args.mixture / "data.parquet", names)
    signal = read_sample(args.mixture / "signal.parquet", names)
    train, judged = halves(signal, method)
    task = {
        "names": tuple(names),
        "window": (args.window[0], args.window[1]),
        "background": read_sample(args.mixture / "template.parquet", names) if "background" in method.NEEDS else None,
        "signal": signal.where(train) if "signal" in method.NEEDS else None,
        "settings": args.config,
        "threads": args.threads,
    }
    fold = ak.to_numpy(table["fold"])
    log.info("%d events in %d folds", len(data), len(np.unique(fold)))
    scores, signal_scores = score_folds(data, fold, signal.where(judged), task, method, args.seed)
    kept = {name: ak.to_numpy(table[name]) for name in KEPT if name in table.fields}
    write_parquet(args.scores, kept | {"score": scores})
    rest = read_parquet(args.mixture / "signal.parquet", [*EVENT_IDENTITY, "dijet_mass", "weight_nominal"])[judged]
    columns = {name: ak.to_numpy(rest[name]) for name in rest.fields}
    write_parquet(args.signal_scores, columns | {"score": signal_scores})


def halves(signal: Sample, method: Any) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which signal events a method may see, and which are scored: of those it may see, it gets every second."""
    if "signal" not in method.NEEDS:
        return np.zeros(len(signal), bool), np.ones(len(signal), bool)
    if len(signal) < 2:
        name = method.__name__.rpartition(".")[2]
        raise UserError(f"method {name} needs simulated signal", "name datasets in anomaly.signal")
    seen = np.arange(len(signal)) % 2 == 0
    return seen, ~seen


if __name__ == "__main__":
    run_main(main)
