"""Score jets with Fisher's linear discriminant: the direction in which two classes differ most, for their covariance.

Trained on the jets of the training split; writes the scores of all test jets in the layout that the comparison of
lhcml reads (docs/taggers_evaluation.md of lhcml). Rules of this analysis find the package lhcml on their PYTHONPATH.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.files import read_parquet, write_parquet
from lhcml.common.identity import JET_IDENTITY


def fit_fisher(signal: NDArray[np.float64], background: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return the weights of the features and the offset of Fisher's discriminant.

    Parameters
    ----------
    signal, background : array of shape (jets, features)
        Training jets. Were both Gaussian with the same covariance, and as frequent as each other, the discriminant
        `jets @ weights + offset` would be the logarithm of the ratio of their probabilities.
    """
    means = signal.mean(axis=0), background.mean(axis=0)
    covariance = np.atleast_2d(np.cov(signal, rowvar=False) + np.cov(background, rowvar=False)) / 2
    weights = np.linalg.solve(covariance, means[0] - means[1])
    return weights, float(-weights @ (means[0] + means[1]) / 2)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--signal", nargs="+", required=True, type=Path, help="features of signal jets")
    parser.add_argument("--background", nargs="+", required=True, type=Path, help="features of background jets")
    parser.add_argument("--features", nargs="+", required=True, help="columns that the discriminant uses")
    parser.add_argument("--output", required=True, type=Path, help="scores of the test jets")
    args = parser.parse_args(argv)
    log = start_log("numpy", "awkward")

    training, scored = [], []
    for files in (args.signal, args.background):
        jets = read_parquet(files, [*JET_IDENTITY, "split", *args.features])
        values = np.stack([ak.to_numpy(jets[name]).astype(np.float64) for name in args.features], axis=1)
        split = ak.to_numpy(jets["split"])
        training.append(values[split == "train"])
        # jets of two generated datasets share their numbers, so the name of the dataset goes with them
        keys = {name: ak.to_numpy(jets[name])[split == "test"] for name in JET_IDENTITY}
        dataset = np.full(len(keys["run"]), files[0].parent.parent.name)
        scored.append((keys | {"dataset": dataset}, values[split == "test"]))

    weights, offset = fit_fisher(*training)
    for name, weight in zip(args.features, weights, strict=True):
        log.info("%s: %.4g", name, weight)
    tables = [keys | {"score": 1 / (1 + np.exp(-(values @ weights + offset)))} for keys, values in scored]
    write_parquet(args.output, {name: np.concatenate([table[name] for table in tables]) for name in tables[0]})
    log.info("%d training jets, %d scored", sum(map(len, training)), sum(len(table["score"]) for table in tables))


if __name__ == "__main__":
    run_main(main)
