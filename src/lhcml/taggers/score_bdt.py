"""Score jets with a boosted decision tree trained by train_bdt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_json
from lhcml.taggers.jets import Jets
from lhcml.taggers.logits import sigmoid
from lhcml.taggers.scores import SPLITS, score_files


def load_booster(model: Path, threads: int) -> Any:
    """Return trained trees.

    Raises
    ------
    UserError
        If the file cannot be read.
    """
    import xgboost

    booster = xgboost.Booster({"nthread": threads})
    try:
        booster.load_model(model)
    except xgboost.core.XGBoostError as error:
        raise UserError(f"cannot read {model}: {error}", "delete it and train again") from error
    return booster


def main(argv: Sequence[str] | None = None) -> None:
    """Read a model and features, write scores."""
    parser = make_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="model, XGBoost JSON")
    parser.add_argument("--meta", type=Path, required=True, help="its description, JSON")
    parser.add_argument("--features", nargs="+", type=Path, required=True, help="feature files of all chunks, in order")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--splits", nargs="+", default=SPLITS, help="splits whose jets are scored (default: all)")
    parser.add_argument("--output", type=Path, required=True, help="scores, Parquet")
    args = parser.parse_args(argv)
    log = start_log("xgboost", "numpy")
    import xgboost

    meta = read_json(args.meta)
    booster = load_booster(args.model, args.threads)

    def predict(jets: Jets) -> NDArray[np.float64]:
        matrix = xgboost.DMatrix(jets.values, feature_names=meta["inputs"], nthread=args.threads)
        return sigmoid(booster.predict(matrix, output_margin=True))

    log.info("scored %d jets", score_files(args.features, meta["inputs"], predict, args.output, args.splits))


if __name__ == "__main__":
    run_main(main)
