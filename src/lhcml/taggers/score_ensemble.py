"""Score jets with an ensemble: its members' scores of the same jets, combined."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.files import read_json, require_finite, write_parquet
from lhcml.common.identity import JET_IDENTITY
from lhcml.taggers.ensembles import combine
from lhcml.taggers.matching import require_same_rows
from lhcml.taggers.score_tables import read_columns


def main(argv: Sequence[str] | None = None) -> None:
    """Read the members' scores, write those of the ensemble."""
    parser = make_parser(__doc__)
    parser.add_argument("--meta", type=Path, required=True, help="description of the ensemble, JSON")
    parser.add_argument("--scores", nargs="+", type=Path, required=True, help="scores of each member, in its order")
    parser.add_argument("--output", type=Path, required=True, help="scores, Parquet")
    args = parser.parse_args(argv)
    log = start_log("numpy", "pyarrow", "awkward")
    meta = read_json(args.meta)
    tables = [read_columns(path, [*JET_IDENTITY, "split", "score"]) for path in args.scores]
    for path, table in zip(args.scores, tables, strict=True):
        require_same_rows(tables[0], table, f"{path} and {args.scores[0]}")
    score = combine([table["score"] for table in tables], list(meta["weights"].values()), meta["bias"])
    require_finite("the score", score, str(args.output))
    columns = {name: tables[0][name] for name in JET_IDENTITY} | {
        "split": tables[0]["split"].astype(str),
        "score": score,
    }
    write_parquet(args.output, columns)
    log.info("scored %d jets", len(score))


if __name__ == "__main__":
    run_main(main)
