"""Write the table of the test jets: keys, label and mass, which every tagger is judged on.

Whoever scores these jets elsewhere finds here which they are (`lhcml.taggers.import_scores`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_parquet, require_finite, write_parquet
from lhcml.common.identity import JET_IDENTITY

OBSERVABLES = ("jet_pt", "jet_eta", "jet_mass")


def main(argv: Sequence[str] | None = None) -> None:
    """Read features, write the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--features", nargs="+", type=Path, required=True,
                        help="feature files of all datasets, {dataset}/nominal/{chunk}.parquet")  # fmt: skip
    parser.add_argument("--signal", nargs="+", required=True, help="names of the signal datasets")
    parser.add_argument("--output", type=Path, required=True, help="table, Parquet")
    args = parser.parse_args(argv)
    log = start_log("awkward", "pyarrow")
    import awkward as ak
    import numpy as np

    parts: dict[str, list[ak.Array]] = {name: [] for name in ("dataset", *JET_IDENTITY, "label", *OBSERVABLES)}
    for path in args.features:
        dataset = path.parent.parent.name
        table = read_parquet(path, columns=[*JET_IDENTITY, "split", *OBSERVABLES])
        table = table[table["split"] == "test"]
        for name in OBSERVABLES:
            require_finite(name, table[name], str(path))
        parts["dataset"].append(np.full(len(table), dataset))
        parts["label"].append(np.full(len(table), int(dataset in args.signal), dtype=np.int64))
        for name in (*JET_IDENTITY, *OBSERVABLES):
            parts[name].append(ak.to_numpy(table[name]))
    columns = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    if not len(columns["label"]):
        raise UserError("there is no jet in the test split", "generate more events, or raise `features: split: test:`")
    write_parquet(args.output, columns)
    log.info("%d test jets, %d signal", len(columns["label"]), columns["label"].sum())


if __name__ == "__main__":
    run_main(main)
