r"""Collect the dijet events of a dataset: a row an event, features of both jets.

Reads the features of the jets and takes events with two selected jets. `jet1` is the lighter of the two jets, as in the
LHC Olympics. docs/anomaly.md describes the columns.

By hand:
  python -m lhcml.anomaly.collect_dijets --features results/features/dijet/qcd/nominal --chunks 0 1 --output qcd.parquet
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from lhcml.anomaly.task import FloatArray
from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import parquet_columns, read_parquet, require_finite, write_parquet_parts
from lhcml.common.identity import EVENT_IDENTITY


def four_momentum(pt: FloatArray, eta: FloatArray, phi: FloatArray, mass: FloatArray) -> FloatArray:
    """Return (E, px, py, pz) of shape (4, n), in the unit of pt and mass."""
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    return np.stack([np.sqrt(px**2 + py**2 + pz**2 + mass**2), px, py, pz])


def invariant_mass(momentum: FloatArray) -> FloatArray:
    """Return the mass of four-momenta (E, px, py, pz) of shape (4, n); 0 where rounding makes its square negative."""
    square = momentum[0] ** 2 - (momentum[1:] ** 2).sum(axis=0)
    mass: FloatArray = np.sqrt(np.maximum(square, 0.0))
    return mass


def scalar_columns(path: Path) -> list[str]:
    """Return the columns of a feature file that hold one number a jet."""
    import pyarrow.parquet as pq

    columns = [name for name in parquet_columns(path) if name.startswith("jet_")]
    schema = pq.read_schema(path)
    return [name for name in columns if not hasattr(schema.field(name).type, "value_type")]


def dijet_columns(jets: ak.Array, names: Sequence[str]) -> dict[str, Any]:
    """Return the columns of the events that have two selected jets, ordered as the jets are.

    Parameters
    ----------
    jets : array of records
        A row a jet: identity, `jet_rank`, `weight_nominal`, and features `jet_*`; jets of an event are neighbours.
    names : sequence of str
        Features to keep, with their prefix `jet_`.

    Returns
    -------
    dict of str to array
        Identity, `weight_nominal`, `dijet_mass` and `delta_mass` in GeV, `delta_eta`, `jet1_<feature>` of the lighter
        jet and `jet2_<feature>` of the heavier one.

    Raises
    ------
    UserError
        If a number is NaN or infinite.
    """
    rank = ak.to_numpy(jets["jet_rank"])
    first = np.flatnonzero(rank == 0)
    first = first[first + 1 < len(rank)]
    # an event with one selected jet is followed by the first jet of the next
    first = first[rank[first + 1] == 1]
    pair = np.stack([first, first + 1])
    mass = ak.to_numpy(jets["jet_mass"])
    lighter = np.where(mass[pair[0]] <= mass[pair[1]], pair[0], pair[1])
    heavier = pair.sum(axis=0) - lighter
    columns: dict[str, Any] = {name: ak.to_numpy(jets[name])[first] for name in (*EVENT_IDENTITY, "weight_nominal")}
    for number, rows in ((1, lighter), (2, heavier)):
        for name in names:
            values = ak.to_numpy(jets[name])[rows].astype(np.float64)
            columns[f"jet{number}_{name.removeprefix('jet_')}"] = values
    momenta = [four_momentum(*(columns[f"jet{n}_{q}"] for q in ("pt", "eta", "phi", "mass"))) for n in (1, 2)]
    columns["dijet_mass"] = invariant_mass(momenta[0] + momenta[1])
    columns["delta_mass"] = columns["jet2_mass"] - columns["jet1_mass"]
    columns["delta_eta"] = columns["jet2_eta"] - columns["jet1_eta"]
    for name, values in columns.items():
        require_finite(f"column {name}", values, "the features of the jets")
    return columns


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--features", required=True, type=Path, help="folder of the nominal features of a dataset")
    parser.add_argument("--chunks", required=True, type=int, nargs="+", help="chunks of the dataset")
    parser.add_argument("--output", required=True, type=Path, help="events, a Parquet file")
    args = parser.parse_args(argv)
    log = start_log("awkward", "pyarrow")

    files = [args.features / f"{chunk}.parquet" for chunk in args.chunks]
    names = scalar_columns(files[0])
    needed = {"jet_pt", "jet_eta", "jet_phi", "jet_mass", "jet_rank"}
    if not needed <= set(names):
        raise UserError(f"{files[0]} lacks {', '.join(sorted(needed - set(names)))}", "make the features again")
    kept = [name for name in names if name != "jet_rank"]
    counts = {"jets": 0, "events": 0}

    def parts() -> Iterator[dict[str, Any]]:
        # file by file: a million events of all features would take gigabytes
        for path in files:
            jets = read_parquet(path, [*EVENT_IDENTITY, "weight_nominal", *names])
            columns = dijet_columns(jets, kept)
            counts["jets"] += len(jets)
            counts["events"] += len(columns["dijet_mass"])
            yield columns
        if not counts["events"]:
            raise UserError(
                f"no event of {args.features} has two selected jets",
                "let the channel select two jets (selection.jets: count: {min: 2}, take: two_leading), "
                "or make more events",
            )

    write_parquet_parts(args.output, parts())
    log.info("%d events of %d jets", counts["events"], counts["jets"])


if __name__ == "__main__":
    run_main(main)
