"""Train a boosted decision tree (XGBoost) on high-level features of jets.

Both classes count the same, whatever their numbers of jets. Training stops when the loss of the validation split has
not fallen for some rounds; the model keeps the rounds up to the best one, in XGBoost's own JSON format.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lhcml.common.cli import git_hash, json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import write_atomic, write_json
from lhcml.taggers.jets import BACKGROUND, SIGNAL, LabelledJets, choose, count_jets, read_split
from lhcml.taggers.provenance import source_digest


def boost(
    train: LabelledJets,
    validation: LabelledJets,
    features: Sequence[str],
    boosting: dict[str, Any],
    seed: int,
    threads: int,
) -> tuple[Any, list[dict[str, float]]]:
    """Train trees with early stopping.

    Parameters
    ----------
    train, validation : LabelledJets
        One row a jet, the features in order.
    features : sequence of str
        Names of the features.
    boosting : dict
        `rounds`, `early_stopping_rounds`, and XGBoost's `learning_rate`, `max_depth`, `min_child_weight`, `subsample`,
        `colsample_bytree`, `reg_lambda`.
    seed : int
        Seed of the row and feature subsampling.
    threads : int
        Number of threads.

    Returns
    -------
    booster : xgboost.Booster
        Trees up to the best round.
    history : list of dict
        Per round: round, train_loss, validation_loss, validation_auc.

    Raises
    ------
    UserError
        If the loss is NaN.
    """
    import xgboost

    def matrix(jets: LabelledJets, reference: Any = None) -> Any:
        return xgboost.QuantileDMatrix(
            jets.jets.values,
            jets.labels,
            weight=jets.weights(),
            feature_names=list(features),
            nthread=threads,
            ref=reference,
        )

    settings = {key: value for key, value in boosting.items() if key not in ("rounds", "early_stopping_rounds")}
    settings |= {
        "objective": "binary:logistic", "tree_method": "hist", "eval_metric": ["auc", "logloss"], "seed": seed,
        "nthread": threads,
    }  # fmt: skip
    on_train = matrix(train)
    record: dict[str, dict[str, list[float]]] = {}
    booster = xgboost.train(
        settings,
        on_train,
        num_boost_round=boosting["rounds"],
        # early stopping looks at the last metric of the last sample: the loss on the validation split
        evals=[(on_train, "train"), (matrix(validation, on_train), "validation")],
        evals_result=record,
        early_stopping_rounds=boosting["early_stopping_rounds"],
        verbose_eval=25,
    )
    losses = record["validation"]["logloss"]
    if any(loss != loss for loss in [*losses, *record["train"]["logloss"]]):
        raise UserError("the loss of the boosted trees is NaN", "lower `learning_rate` or `max_depth` of the tagger")
    history = [
        {"round": number, "train_loss": t, "validation_loss": v, "validation_auc": a}
        for number, (t, v, a) in enumerate(
            zip(record["train"]["logloss"], losses, record["validation"]["auc"], strict=True), start=1
        )
    ]
    return booster[: booster.best_iteration + 1], history


def count_parameters(booster: Any) -> dict[str, int]:
    """Count trees, leaves and splits of a booster; its parameters are a value a leaf and a threshold a split."""
    model = json.loads(bytes(booster.save_raw("json")))
    trees = model["learner"]["gradient_booster"]["model"]["trees"]
    nodes = sum(int(tree["tree_param"]["num_nodes"]) for tree in trees)
    leaves = sum(1 for tree in trees for child in tree["left_children"] if child == -1)
    return {"trees": len(trees), "leaves": leaves, "splits": nodes - leaves, "parameters": nodes}


def importance(booster: Any, features: Sequence[str]) -> dict[str, float]:
    """Return each feature's share of the total gain in the loss, adding up to 1."""
    gain = booster.get_score(importance_type="total_gain")
    total = sum(gain.values()) or 1.0
    return {name: float(gain.get(name, 0.0)) / total for name in features}


def main(argv: Sequence[str] | None = None) -> None:
    """Read features, train, write the model and what describes it."""
    parser = make_parser(__doc__)
    parser.add_argument("--signal", nargs="+", type=Path, required=True, help="feature files of signal jets")
    parser.add_argument("--background", nargs="+", type=Path, required=True, help="feature files of background jets")
    parser.add_argument("--config", type=json_argument, required=True, help="JSON with `features` and `boosting`")
    parser.add_argument("--tagger", required=True, help="name of the tagger")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--size", type=int, help="train on this many jets chosen at random (default: all)")
    parser.add_argument("--size-seed", type=int, default=1, help="seed of this choice (default: 1)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True, help="model, XGBoost JSON")
    parser.add_argument("--meta", type=Path, required=True, help="description of the model, JSON")
    args = parser.parse_args(argv)
    log = start_log("xgboost", "numpy", seed=args.seed)
    import xgboost

    features, boosting = args.config["features"], args.config["boosting"]
    files = {SIGNAL: args.signal, BACKGROUND: args.background}
    chosen = choose(count_jets(files, "train"), args.size, args.size_seed) if args.size else None
    with tempfile.TemporaryDirectory(prefix="lhcml-") as folder:
        train = read_split(files, features, "train", Path(folder), chosen)
        validation = read_split(files, features, "validation", Path(folder))
        log.info("jets for training: %s; for validation: %s", train.count(), validation.count())
        digests = {"train": train.digest(), "validation": validation.digest()}
        begin = time.monotonic()
        booster, history = boost(train, validation, features, boosting, args.seed, args.threads)
        seconds = time.monotonic() - begin
    size = count_parameters(booster)
    log.info("best round %d of %d, %s, %.1f s", size["trees"], len(history), size, seconds)
    with write_atomic(args.output) as temporary:
        # `save_model` loses the end of the file without an error when the disk becomes full
        temporary.write_bytes(booster.save_raw("json"))
    write_json(
        args.meta,
        {
            "tagger": args.tagger,
            "family": "bdt",
            "seed": args.seed,
            "inputs": features,
            "scaling": None,
            "settings": {"boosting": boosting},
            "git": git_hash(),
            "source_digest": source_digest("lhcml.taggers.train_bdt"),
            "data_digest": digests,
            "versions": {"xgboost": xgboost.__version__},
            "n_train": train.count(),
            "n_validation": validation.count(),
            "best_iteration": size["trees"],
            "parameters": size["parameters"],
            "parameters_are": "{leaves} leaf values and {splits} split thresholds of {trees} trees".format(**size),
            "train_seconds": round(seconds, 2),
            "train_jets_per_second": round(len(train.labels) * len(history) / seconds, 1),
            "feature_importance": importance(booster, features),
            "history": history,
        },
    )


if __name__ == "__main__":
    run_main(main)
