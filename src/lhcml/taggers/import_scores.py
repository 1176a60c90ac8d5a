"""Take the scores of a tagger made elsewhere, for the same test jets as all others.

The file (Parquet or CSV) holds a row a jet: run, luminosityBlock, event, jet_rank and score, a number between 0 and 1;
and `dataset`, where jets of several datasets share the other keys. Other columns and the order of rows do not matter.
Each jet of the table of test jets (lhcml.taggers.list_test_jets) needs one score; those of other jets are counted and
left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import write_json, write_parquet
from lhcml.common.identity import JET_IDENTITY
from lhcml.taggers.matching import identities, positions_of
from lhcml.taggers.score_tables import read_columns

Table = Mapping[str, NDArray[Any]]


def match(test: Table, given: Table, where: str) -> NDArray[np.float64]:
    """Return the given score of each test jet.

    Raises
    ------
    UserError
        If a key is not an integer, jets cannot be told apart without `dataset`, a test jet has no score or two, or a
        score is not a number between 0 and 1.
    """
    for name in JET_IDENTITY:
        if given[name].dtype.kind not in "iu":
            raise UserError(f"column {name} of {where} is of type {given[name].dtype}", "write it as integers")
    names = (["dataset"] if "dataset" in given else []) + list(JET_IDENTITY)
    wanted, available = identities([test, given], names)
    if len(np.unique(wanted)) < len(wanted):
        raise UserError(
            f"test jets of several datasets have the same {', '.join(JET_IDENTITY)}",
            f"add to {where} a column `dataset`, with the names in the table of test jets",
        )
    place = positions_of(wanted, available, where)
    missing = np.flatnonzero(place < 0)
    if missing.size:
        first = ", ".join(f"{name} {test[name][missing[0]]}" for name in ("dataset", *JET_IDENTITY))
        raise UserError(
            f"{where} has no score for {missing.size} of {len(wanted)} test jets, the first: {first}",
            "score every jet of results/taggers/test_jets.parquet; numbers on fewer jets could not be compared",
        )
    score = np.asarray(given["score"][place], dtype=np.float64)
    bad = int(np.count_nonzero(~np.isfinite(score)))
    if bad:
        raise UserError(f"{bad} scores in {where} are NaN or infinite", "mend the tagger that made them")
    if score.min() < 0 or score.max() > 1:
        raise UserError(
            f"scores in {where} lie between {score.min():g} and {score.max():g}",
            "give numbers between 0 (background) and 1 (signal): 1/(1+exp(-x)) of a logit x",
        )
    return score


def main(argv: Sequence[str] | None = None) -> None:
    """Read the scores, match them, write a score file a dataset and a description."""
    parser = make_parser(__doc__)
    parser.add_argument("--scores", type=Path, required=True, help="scores made elsewhere, .parquet or .csv")
    parser.add_argument("--jets", type=Path, required=True, help="table of test jets, Parquet")
    parser.add_argument("--tagger", required=True, help="name of the tagger")
    parser.add_argument(
        "--output", nargs="+", type=Path, required=True, help="{dataset}/nominal.parquet of each dataset"
    )
    parser.add_argument("--meta", type=Path, required=True, help="description, JSON, to write")
    args = parser.parse_args(argv)
    log = start_log("numpy", "pyarrow", "awkward")
    test = read_columns(args.jets, ["dataset", *JET_IDENTITY])
    given = read_columns(args.scores, [*JET_IDENTITY, "score"], optional=["dataset"])
    score = match(test, given, str(args.scores))
    extra = len(given["score"]) - len(score)
    log.info("%d test jets scored; %d rows of other jets left out", len(score), extra)
    for path in args.output:
        here = test["dataset"] == path.parent.name
        columns = {name: test[name][here] for name in JET_IDENTITY}
        write_parquet(path, columns | {"split": np.full(here.sum(), "test"), "score": score[here]})
    unknown = ("seed", "inputs", "n_train", "n_validation", "best_iteration", "parameters", "train_seconds")
    write_json(
        args.meta,
        {
            "tagger": args.tagger,
            "family": "external",
            "settings": {"scores": str(args.scores)},
            "scores_digest": hashlib.sha256(args.scores.read_bytes()).hexdigest(),
            "rows_left_out": extra,
            "parameters_are": "external",
            "history": [],
        }
        | dict.fromkeys(unknown),
    )


if __name__ == "__main__":
    run_main(main)
