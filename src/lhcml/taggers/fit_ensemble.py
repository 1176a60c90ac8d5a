"""Describe an ensemble of taggers: the weights of its members' logits.

`mean`: all the same. `stacked`: from a logistic regression on the validation split, which the members' training has
used to stop, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.cli import git_hash, make_parser, run_main, start_log
from lhcml.common.files import read_json, write_json
from lhcml.common.identity import JET_IDENTITY
from lhcml.taggers.ensembles import fit_weights
from lhcml.taggers.logits import logit
from lhcml.taggers.matching import require_same_rows
from lhcml.taggers.score_tables import read_columns


def read_margins(folders: Sequence[Path], datasets: Sequence[str], split: str) -> NDArray[np.float64]:
    """Return the logits of the members on the jets of one split of some datasets, shape (jets, members).

    Raises
    ------
    UserError
        If the members have not scored the same jets.
    """
    columns = []
    for dataset in datasets:
        tables = [
            read_columns(folder / dataset / "nominal.parquet", [*JET_IDENTITY, "split", "score"]) for folder in folders
        ]
        for folder, table in zip(folders, tables, strict=True):
            require_same_rows(tables[0], table, f"{folder} and {folders[0]}")
        chosen = tables[0]["split"] == split
        columns.append(np.column_stack([logit(table["score"][chosen]) for table in tables]))
    return np.concatenate(columns)


def main(argv: Sequence[str] | None = None) -> None:
    """Read scores and descriptions of the members, write the description of the ensemble."""
    parser = make_parser(__doc__)
    parser.add_argument("--tagger", required=True, help="name of the ensemble")
    parser.add_argument("--members", nargs="+", required=True, help="names of its members")
    parser.add_argument("--folders", nargs="+", type=Path, required=True, help="folder of each member's training")
    parser.add_argument("--method", choices=["mean", "stacked"], required=True)
    parser.add_argument("--signal", nargs="+", required=True, help="signal datasets")
    parser.add_argument("--background", nargs="+", required=True, help="background datasets")
    parser.add_argument("--output", type=Path, required=True, help="description of the ensemble, JSON")
    args = parser.parse_args(argv)
    log = start_log("numpy", "pyarrow")
    metas = [read_json(folder / "model.meta.json") for folder in args.folders]
    weights, bias = [1 / len(metas)] * len(metas), 0.0
    n_validation: dict[str, int] | None = None
    if args.method == "stacked":
        scores = [folder / "scores" for folder in args.folders]
        signal, background = (read_margins(scores, names, "validation") for names in (args.signal, args.background))
        n_validation = {"signal": len(signal), "background": len(background)}
        fitted, bias = fit_weights(
            np.concatenate([signal, background]), np.repeat([True, False], [len(signal), len(background)])
        )
        weights = fitted.tolist()
    for member, weight in zip(args.members, weights, strict=True):
        log.info("%s: %.3f", member, weight)
    description: dict[str, Any] = {
        "tagger": args.tagger,
        "family": "ensemble",
        "seed": None,
        "settings": {"method": args.method, "members": args.members},
        "weights": dict(zip(args.members, weights, strict=True)),
        "bias": bias,
        "git": git_hash(),
        "n_train": metas[0]["n_train"],
        "n_validation": n_validation,
        "best_iteration": None,
        "parameters": sum(meta["parameters"] for meta in metas) + (len(metas) + 1) * (args.method == "stacked"),
        "parameters_are": "those of all members" + (", and their weights" if args.method == "stacked" else ""),
        "train_seconds": round(sum(meta["train_seconds"] for meta in metas), 2),
        "history": [],
    }
    write_json(args.output, description)


if __name__ == "__main__":
    run_main(main)
