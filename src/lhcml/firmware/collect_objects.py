"""Collect the inputs of a trigger network from the skims of a dataset: missing momentum, electrons, muons, jets.

The layout is that of Zenodo 5046389 (arXiv:2107.02157): missing transverse momentum (its pseudorapidity is 0 by
definition), then electrons, muons and jets in the order of pT, each as pT [GeV], eta, phi [rad]; an object that is not
there is 0, 0, 0. With 4 electrons, 4 muons and 10 jets that makes 57 inputs. Keys of the configuration:

  objects      "electrons", "muons", "jets" -> {count, cuts: column -> {min, max}}; `abs_eta` is the absolute
               pseudorapidity. `overlap`: distance in (eta, phi) below which a jet is taken for the lepton there
  jets, met    collections, e.g. "Jet" and "MET"
  split        expected fractions of "train", "validation", "test"

By hand:
  python -m lhcml.firmware.collect_objects --skims results/skim/trigger/tt/0.root --cutflow \
    results/skim/trigger/cutflow.json --dataset tt --config '{...}' --output tt.parquet
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_json, require_finite
from lhcml.common.identity import EVENT_IDENTITY
from lhcml.common.objects import apart, passing, read_steps
from lhcml.common.split import split_events
from lhcml.firmware.input_table import write_inputs

LEPTONS = {"electrons": "Electron", "muons": "Muon"}
KINDS = ("electrons", "muons", "jets")
KINEMATICS = ("pt", "eta", "phi")
# events at a time: 57 inputs and the objects behind them take some MB
STEP = 20000


def input_names(objects: Mapping[str, Any]) -> list[str]:
    """Return the names of the inputs, e.g. `met_pt`, `electron1_pt`, ..., `jet10_phi`."""
    groups = ["met"]
    for kind in KINDS:
        groups += [f"{kind[:-1]}{rank + 1}" for rank in range(objects[kind]["count"])]
    return [f"{group}_{name}" for group in groups for name in KINEMATICS]


def branch_names(config: Mapping[str, Any]) -> list[str]:
    """Return the branches that are needed."""
    met, jets = config["met"], config["jets"]
    names = [*EVENT_IDENTITY, "weight_nominal", "selectedJet_nominal", f"{met}_pt", f"{met}_phi"]
    for kind, collection in {**LEPTONS, "jets": jets}.items():
        columns = [*KINEMATICS, *(name for name in config["objects"][kind]["cuts"] if name != "abs_eta")]
        names += [f"{collection}_{column}" for column in dict.fromkeys(columns)]
    return names


def check_branches(events: ak.Array, names: Sequence[str], where: str) -> None:
    """Check the branches of some events.

    Raises
    ------
    UserError
        If one is missing, or a number in it is NaN or infinite.
    """
    missing = [name for name in names if name not in events.fields]
    if missing:
        raise UserError(
            f"{where} has no branch {', '.join(missing)}",
            "add its collection to `keep.collections` of the channel, or mend the cuts of the inputs",
        )
    for name in names:
        require_finite(f"branch {name}", events[name], where)


def select(objects: ak.Array, cuts: Mapping[str, Mapping[str, float]]) -> ak.Array:
    """Return the objects that pass the cuts, hardest first."""
    objects = passing(objects, cuts)
    return objects[ak.argsort(objects["pt"], axis=1, ascending=False, stable=True)]


def selected_objects(events: ak.Array, config: Mapping[str, Any]) -> dict[str, ak.Array]:
    """Return electrons, muons and jets of events as the network sees them, hardest first."""
    wanted = config["objects"]

    def collection(name: str, kind: str) -> ak.Array:
        columns = dict.fromkeys([*KINEMATICS, *(cut for cut in wanted[kind]["cuts"] if cut != "abs_eta")])
        return ak.zip({column: events[f"{name}_{column}"] for column in columns})

    found = {kind: select(collection(name, kind), wanted[kind]["cuts"]) for kind, name in LEPTONS.items()}
    jets = collection(config["jets"], "jets")[events["selectedJet_nominal"]]
    # the energy of an electron, and what a muon radiates, is clustered into a jet as well: one object, not two
    for leptons in found.values():
        jets = apart(jets, leptons, wanted["overlap"])
    return found | {"jets": select(jets, wanted["jets"]["cuts"])}


def fill_inputs(events: ak.Array, config: Mapping[str, Any]) -> NDArray[np.float32]:
    """Return the inputs of events, shape (events, inputs), in the order of `input_names`."""
    columns = [events[f"{config['met']}_pt"], ak.zeros_like(events[f"{config['met']}_pt"]),
               events[f"{config['met']}_phi"]]  # fmt: skip
    blocks = [np.stack([ak.to_numpy(column) for column in columns], axis=1)]
    objects = selected_objects(events, config)
    for kind in KINDS:
        count = config["objects"][kind]["count"]
        slots = [
            ak.to_numpy(ak.fill_none(ak.pad_none(objects[kind][name], count, clip=True), 0)) for name in KINEMATICS
        ]
        blocks.append(np.stack(slots, axis=2).reshape(len(events), 3 * count))
    return np.concatenate(blocks, axis=1).astype(np.float32)


def weight_to_pb(cutflow: Mapping[str, Any], dataset: str) -> float:
    """Return the cross section in pb that an event of weight 1 stands for.

    Raises
    ------
    UserError
        If the dataset is not in the cutflow, or is collision data, which have no cross section.
    """
    if dataset not in cutflow["datasets"]:
        raise UserError(f"the cutflow has no dataset {dataset}", f"choose among {', '.join(cutflow['datasets'])}")
    block = cutflow["datasets"][dataset]
    if block["data"]:
        raise UserError(
            f"{dataset} is collision data: its events have no cross section", "give simulated datasets to the model"
        )
    return float(block["weight_to_pb"])


def main(argv: Sequence[str] | None = None) -> None:
    """Collect the inputs of one dataset."""
    parser = make_parser(__doc__)
    parser.add_argument("--skims", required=True, nargs="+", type=Path, help="skims of the dataset")
    parser.add_argument("--cutflow", required=True, type=Path, help="cutflow.json of the channel: normalisation")
    parser.add_argument("--dataset", required=True, help="name of the dataset in the cutflow")
    parser.add_argument("--config", required=True, type=json_argument, help="JSON, see above")
    parser.add_argument("--output", required=True, type=Path, help="inputs to write (Parquet)")
    args = parser.parse_args(argv)
    log = start_log("awkward", "uproot", "pyarrow", "numpy")
    factor = weight_to_pb(read_json(args.cutflow), args.dataset)

    def parts() -> Iterator[dict[str, Any]]:
        names = branch_names(args.config)
        for path in args.skims:
            for events in read_steps(path, names, STEP):
                check_branches(events, names, str(path))
                identity = {name: ak.to_numpy(events[name]).astype(np.int64) for name in EVENT_IDENTITY}
                yield {
                    **identity,
                    "split": split_events(*(identity[name] for name in EVENT_IDENTITY), fractions=args.config["split"]),
                    "weight": ak.to_numpy(events["weight_nominal"]) * factor,
                    "inputs": fill_inputs(events, args.config),
                }

    rows = write_inputs(args.output, input_names(args.config["objects"]), parts())
    if rows:
        log.info("%d events", rows)
    else:
        log.warning("no event of %s is in the skims: generate more of it, or leave it out of the model", args.dataset)


if __name__ == "__main__":
    run_main(main)
