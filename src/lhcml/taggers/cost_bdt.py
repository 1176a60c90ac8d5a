"""Measure what scoring with boosted trees costs: comparisons a jet, jets a second on one thread.

A comparison is one step down a tree: the depth of the leaf a jet ends in, added up over the trees.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.files import read_json, write_json
from lhcml.taggers.costs import REPETITIONS, jets_per_second, sample_jets
from lhcml.taggers.jets import SCORING_BATCH
from lhcml.taggers.score_bdt import load_booster


def node_depths(tree: dict[str, Any]) -> NDArray[np.int64]:
    """Return the depth of each node of a tree in XGBoost's JSON, the root having 0."""
    depth: NDArray[np.int64] = np.zeros(len(tree["left_children"]), dtype=np.int64)
    # children come after their parents
    for node, children in enumerate(zip(tree["left_children"], tree["right_children"], strict=True)):
        for child in children:
            if child != -1:
                depth[child] = depth[node] + 1
    return depth


def comparisons(booster: Any, matrix: Any) -> float:
    """Return the mean number of comparisons a jet."""
    trees = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]["model"]["trees"]
    leaves = booster.predict(matrix, pred_leaf=True).astype(np.int64).reshape(matrix.num_row(), len(trees))
    return float(sum(node_depths(tree)[leaves[:, number]].mean() for number, tree in enumerate(trees)))


def main(argv: Sequence[str] | None = None) -> None:
    """Read trees and some jets, write their cost."""
    parser = make_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="model, XGBoost JSON")
    parser.add_argument("--meta", type=Path, required=True, help="its description, JSON")
    parser.add_argument("--features", nargs="+", type=Path, required=True, help="feature files to take jets from")
    parser.add_argument("--output", type=Path, required=True, help="JSON to write")
    args = parser.parse_args(argv)
    log = start_log("xgboost", "numpy")
    import xgboost

    meta = read_json(args.meta)
    booster = load_booster(args.model, 1)
    jets = sample_jets(args.features, meta["inputs"])

    def matrix(values: NDArray[np.float32]) -> Any:
        return xgboost.DMatrix(values, feature_names=meta["inputs"], nthread=1)

    def score() -> None:
        for begin in range(0, len(jets), SCORING_BATCH):
            booster.predict(matrix(jets.values[begin : begin + SCORING_BATCH]))

    steps = comparisons(booster, matrix(jets.values))
    rate = jets_per_second(score, len(jets))
    log.info("%.0f comparisons a jet, %.0f jets/s", steps, rate)
    write_json(
        args.output,
        {
            "tagger": meta["tagger"],
            "operations_per_jet": steps,
            "operations_are": "comparisons in trees",
            "jets_per_second": round(rate, 1),
            "batch": SCORING_BATCH,
            "threads": 1,
            "repetitions": REPETITIONS,
            "jets": len(jets),
        },
    )


if __name__ == "__main__":
    run_main(main)
