"""Compute AUC, accuracy and background rejection from the scores of any tagger.

Scores come as Parquet or CSV. Either each file holds one class:

    python -m lhcml.taggers.compute_metrics --signal top.parquet --background qcd.parquet --split test --output m.json

or files hold a column of labels (1 signal, 0 background):

    python -m lhcml.taggers.compute_metrics --scores mine.csv --output m.json

Without --output the metrics are printed. See lhcml.taggers.metrics for what each number is. Scores between 0
and 1 are also judged as probabilities (lhcml.taggers.calibration). With --jets, the table of
lhcml.taggers.list_test_jets, the change of the mass distribution by a cut is measured (lhcml.taggers.sculpting).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import write_json
from lhcml.taggers.score_tables import read_columns, read_scores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def masses(jets: Path, files: Sequence[Path], split: str | None) -> NDArray[np.float64]:
    """Return the mass in GeV of the jets of score files, found by their keys in the table of test jets.

    Raises
    ------
    UserError
        If a jet is not in the table.
    """
    import numpy as np

    from lhcml.common.identity import JET_IDENTITY
    from lhcml.taggers.matching import identities, positions_of

    known = read_columns(jets, ["dataset", *JET_IDENTITY, "jet_mass"])
    found = []
    for path in files:
        table = read_columns(path, [*JET_IDENTITY, *(["split"] if split else [])])
        chosen = table["split"] == split if split else np.ones(len(table["run"]), dtype=bool)
        here = known["dataset"] == path.parent.name
        wanted, available = identities(
            [{name: table[name][chosen] for name in JET_IDENTITY}, {name: known[name][here] for name in JET_IDENTITY}]
        )
        place = positions_of(wanted, available, str(jets))
        if (place < 0).any():
            raise UserError(
                f"{np.count_nonzero(place < 0)} jets of {path} are not in {jets}", "delete both and run again"
            )
        found.append(known["jet_mass"][here][place])
    return np.concatenate(found)


def main(argv: Sequence[str] | None = None) -> None:
    """Read scores, write metrics."""
    parser = make_parser(__doc__)
    parser.add_argument("--signal", nargs="+", type=Path, default=[], help="files that hold signal jets only")
    parser.add_argument("--background", nargs="+", type=Path, default=[], help="files that hold background jets only")
    parser.add_argument("--scores", nargs="+", type=Path, default=[], help="files with a column of labels")
    parser.add_argument("--score-column", default="score", help="column of scores (default: score)")
    parser.add_argument("--label-column", default="label", help="column of labels, 1 or 0 (default: label)")
    parser.add_argument("--weight-column", help="column of weights (default: each jet counts 1)")
    parser.add_argument("--split", help='use only the jets whose column "split" has this value, e.g. test')
    parser.add_argument("--calibrate-on", help="split whose jets a temperature is fitted on, e.g. validation")
    parser.add_argument("--jets", type=Path, help="test jets with keys and jet_mass; files are {dataset}/*.parquet")
    parser.add_argument("--replicas", type=int, default=100, help="bootstrap replicas (default: 100; 0: none)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the bootstrap (default: 1)")
    parser.add_argument("--output", type=Path, help="JSON file to write (default: print)")
    args = parser.parse_args(argv)
    if bool(args.scores) == bool(args.signal or args.background) or bool(args.signal) != bool(args.background):
        parser.error("give either --scores, or both --signal and --background")
    start_log("numpy", "pyarrow", seed=args.seed)

    import numpy as np

    from lhcml.taggers.calibration import evaluate_calibration
    from lhcml.taggers.metrics import evaluate
    from lhcml.taggers.sculpting import evaluate_sculpting

    groups = [(args.scores, None)] if args.scores else [(args.signal, 1), (args.background, 0)]

    def read(split: str | None) -> dict[str, Any]:
        parts = [
            read_scores(files, label, args.score_column, args.label_column, args.weight_column, split)
            for files, label in groups
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    test = read(args.split)
    result = evaluate(test["score"], test["label"], test.get("weight"), replicas=args.replicas, seed=args.seed)
    signal = test["label"].astype(bool)
    if test["score"].min() >= 0 and test["score"].max() <= 1:
        held_out = read(args.calibrate_on) if args.calibrate_on else None
        # scores of another tagger may be given for the test jets alone
        usable = held_out is not None and len(set(held_out["label"].tolist())) == 2
        pair = (held_out["score"], held_out["label"].astype(bool)) if held_out is not None and usable else None
        result["calibration"] = evaluate_calibration(test["score"], signal, pair, args.replicas, args.seed)
    if args.jets:
        mass = np.concatenate([masses(args.jets, files, args.split) for files, _ in groups])
        result["sculpting"] = evaluate_sculpting(test["score"], signal, mass, args.replicas, args.seed)
    if args.output:
        write_json(args.output, result)
    else:
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    run_main(main)
