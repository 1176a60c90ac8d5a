r"""Write the selected jets of one skim without constituents, for one kinematic shift: for NanoAOD that has none.

Writes a Parquet file with a row per selected jet as `build_features` does, as far as the file knows it: identity,
split, weights, four-momentum, and the branches of the jets that `keep.branches` of the selection names (`FatJet_tau2`
becomes `jet_tau2`). docs/features.md describes the columns.

By hand:
  python -m lhcml.features.list_jets --input results/skim/mine/data/0.root --shift nominal \
      --config '{"jet": "FatJet", "branches": ["FatJet_tau2"], "split": {...}}' --output jets.parquet
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from lhcml.common.cli import Progress, json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import require_finite, write_parquet_parts
from lhcml.common.identity import EVENT_IDENTITY
from lhcml.common.split import split_events
from lhcml.features.read_skim import (
    check_types,
    flat,
    jet_columns,
    open_events,
    read_steps,
    selected_momenta,
    selected_positions,
)

# Events read at once
STEP_SIZE = 100_000


def jet_branches(branches: Sequence[str], collection: str) -> dict[str, str]:
    """Return the column of each branch of a collection of jets: FatJet_tau2 of FatJet is jet_tau2."""
    found = [name for name in branches if name.startswith(f"{collection}_")]
    return {f"jet_{name.removeprefix(collection + '_')}": name for name in found}


def list_jets(path: Path, shift: str, config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the columns of the selected jets of a skim step by step.

    Parameters
    ----------
    path : Path
        Skim.
    shift : str
        "nominal" or a kinematic shift of the skim.
    config : mapping
        `jet` (the collection), `branches` (further branches of it) and `split` (see `split_events`).

    Raises
    ------
    UserError
        If the skim cannot be read, lacks a branch, or a number is NaN or infinite.
    """
    collection = config["jet"]
    further = jet_branches(config["branches"], collection)
    tree = open_events(path)
    present = set(tree.keys(recursive=False))
    momenta = {*jet_columns(collection, shift).values(), f"{collection}_pt"}
    needed = [*EVENT_IDENTITY, "weight_nominal", f"selectedJet_{shift}", *sorted(momenta | set(further.values()))]
    missing = [name for name in needed if name not in present]
    if missing:
        raise UserError(
            f"{path} has no branch {', '.join(missing)}", f"make the skim with jets {collection} and shift {shift!r}"
        )
    weights = sorted(name for name in present if name.startswith("weight_"))
    progress = Progress(tree.num_entries, "events")
    for events in read_steps(tree, list(dict.fromkeys([*needed, *weights])), path, STEP_SIZE):
        check_types(path, events)
        try:
            event, jet, rank = selected_positions(events, collection, shift)
        except IndexError as error:
            raise UserError(f"{path}: {error}", "make the skim again from a sound file") from error
        jets = selected_momenta(events, str(path), collection, shift, jet)
        ids = {name: ak.to_numpy(events[name]).astype(np.int64)[event] for name in EVENT_IDENTITY}
        single = {f"jet_{name}": values for name, values in jets.items()}
        single |= {column: flat(events[branch])[jet] for column, branch in further.items() if column not in single}
        columns = {
            **ids,
            "jet_rank": rank,
            "split": ak.Array(split_events(*ids.values(), fractions=config["split"])),
            **{name: ak.to_numpy(events[name]).astype(np.float64)[event] for name in weights},
            **{name: values.astype(np.float32) for name, values in single.items()},
        }
        for name, values in columns.items():
            if name != "split":
                require_finite(f"column {name}", values, str(path))
        progress.add(len(events["event"]))
        yield columns


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--input", required=True, type=Path, help="skim (ROOT)")
    parser.add_argument("--shift", default="nominal", help="nominal, or a kinematic shift of the skim")
    parser.add_argument("--config", required=True, type=json_argument, help="keys jet, branches, split")
    parser.add_argument("--output", required=True, type=Path, help="jets (Parquet)")
    args = parser.parse_args(argv)
    log = start_log("awkward", "uproot", "numpy", "pyarrow")
    log.info("jets of %s, shift %s", args.input, args.shift)
    write_parquet_parts(args.output, list_jets(args.input, args.shift, args.config))


if __name__ == "__main__":
    run_main(main)
