r"""Build the rapidity-mass matrices of a dataset and the nine two-object masses, from its skims.

Objects are those of the skim that pass the cuts: selected jets apart from leptons and photons, of which those with a
b-tag are b-jets; muons, electrons, photons. docs/anomaly_pairs.md describes the output. Keys of the configuration:

  jets, met    collections, e.g. "Jet" and "MET"
  objects      type ("jets", "bjets", "muons", "electrons", "photons") -> {count, cuts: column -> {min, max}}
  btag         {column, min}: jets of at least that value are b-jets
  overlap      distance in (eta, phi) below which a jet is taken for the lepton or photon there
  energy       sqrt(s) in GeV
  luminosity   1/fb, for collision data

By hand:
  python -m lhcml.anomaly.build_matrices --skims results/skim/trigger/tt/0.root --cutflow \
    results/skim/trigger/cutflow.json --dataset tt --config '{...}' --output tt.parquet --summary tt.json
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from lhcml.anomaly.rapidity_mass import MASSES, TYPES, Objects, fill_slots, nine_masses, rapidity_mass_matrix
from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_json, require_finite, write_json, write_parquet_parts
from lhcml.common.identity import EVENT_IDENTITY
from lhcml.common.objects import apart, passing, read_steps

COLLECTIONS = {"muons": "Muon", "electrons": "Electron", "photons": "Photon"}
# events at a time: pairs of 35 objects take 40 MB a quantity
STEP = 4000
FB_IN_PB = 1000.0


def branch_names(config: Mapping[str, Any]) -> list[str]:
    """Return the branches that are read where a file has them."""
    collections = {"jets": config["jets"], "bjets": config["jets"], **COLLECTIONS}
    names = [*EVENT_IDENTITY, "weight_nominal", "selectedJet_nominal", f"{config['met']}_pt", f"{config['met']}_phi"]
    names.append(f"{config['jets']}_{config['btag']['column']}")
    for kind, collection in collections.items():
        columns = [*("pt", "eta", "phi", "mass"), *(name for name in config["objects"][kind]["cuts"])]
        names += [f"{collection}_{column}" for column in columns if column != "abs_eta"]
    return list(dict.fromkeys(names))


def read_objects(events: ak.Array, collection: str, extra: Sequence[str], where: str) -> ak.Array | None:
    """Return a collection as records (pt, eta, phi, mass, ...), None where the file has no such collection.

    Parameters
    ----------
    events : array of records
        Branches.
    collection : str
        E.g. "Muon". Leptons and photons without a branch of their mass have none.
    extra : sequence of str
        Further columns.
    where : str
        File, for messages.

    Raises
    ------
    UserError
        If a column is missing, NaN or infinite.
    """
    if f"{collection}_pt" not in events.fields:
        return None
    columns = {}
    for name in dict.fromkeys(["pt", "eta", "phi", "mass", *extra]):
        branch = f"{collection}_{name}"
        if branch in events.fields:
            columns[name] = events[branch]
        elif name == "mass" and collection in COLLECTIONS.values():
            columns[name] = ak.zeros_like(events[f"{collection}_pt"])
        else:
            raise UserError(
                f"{where} has no branch {branch}", f"add it to `keep.branches` of the channel, or do without {name}"
            )
        require_finite(f"branch {branch}", columns[name], where)
    return ak.zip(columns)


def select_objects(events: ak.Array, config: Mapping[str, Any], where: str) -> tuple[dict[str, ak.Array], list[str]]:
    """Return the objects of each type, and what the file lacks.

    Raises
    ------
    UserError
        If the jets or a column of the cuts are missing.
    """
    wanted, lacking = config["objects"], []
    found: dict[str, ak.Array] = {}
    for kind, collection in COLLECTIONS.items():
        objects = read_objects(events, collection, [c for c in wanted[kind]["cuts"] if c != "abs_eta"], where)
        if objects is None:
            lacking.append(kind)
            none = ak.unflatten(np.zeros(0, np.float32), np.zeros(len(events), np.int64))
            objects = ak.zip(dict.fromkeys(("pt", "eta", "phi", "mass"), none))
        else:
            objects = passing(objects, wanted[kind]["cuts"])
        found[kind] = objects
    found["photons"] = apart(found["photons"], found["electrons"], config["overlap"])

    column = config["btag"]["column"]
    tagged = f"{config['jets']}_{column}" in events.fields
    cuts = [name for kind in ("jets", "bjets") for name in wanted[kind]["cuts"] if name != "abs_eta"]
    jets = read_objects(events, config["jets"], [*cuts, *[column] * tagged], where)
    if jets is None or "selectedJet_nominal" not in events.fields:
        raise UserError(f"{where} has no selected jets {config['jets']}", "give skims of this channel")
    jets = jets[events["selectedJet_nominal"]]
    for kind in COLLECTIONS:
        jets = apart(jets, found[kind], config["overlap"])
    b_like = jets[column] >= config["btag"]["min"] if tagged else ak.zeros_like(jets["pt"], dtype=bool)
    if not tagged:
        lacking.append("bjets")
    found["jets"] = passing(jets[~b_like], wanted["jets"]["cuts"])
    found["bjets"] = passing(jets[b_like], wanted["bjets"]["cuts"])
    return found, lacking


def matrix_columns(
    events: ak.Array, config: Mapping[str, Any], weight_to_pb: float, where: str
) -> tuple[dict[str, Any], list[str]]:
    """Return the columns of the output for some events, and the types of objects that the file lacks.

    Raises
    ------
    UserError
        If a branch that is needed is missing, NaN or infinite.
    """
    met = [f"{config['met']}_{name}" for name in ("pt", "phi")]
    missing = [name for name in (*EVENT_IDENTITY, "weight_nominal", *met) if name not in events.fields]
    if missing:
        raise UserError(
            f"{where} has no branch {', '.join(missing)}",
            f"add {config['met']} to `keep.collections` of the channel, or choose another `anomaly.pairs.met`",
        )
    for name in ("weight_nominal", *met):
        require_finite(f"branch {name}", events[name], where)
    objects, lacking = select_objects(events, config, where)
    slots = {
        kind: fill_slots(
            Objects(*(objects[kind][name] for name in ("pt", "eta", "phi", "mass"))), config["objects"][kind]["count"]
        )
        for kind in TYPES
    }
    met_pt, met_phi = (ak.to_numpy(events[name]).astype(np.float64) for name in met)
    matrix = rapidity_mass_matrix(slots, met_pt, met_phi, config["energy"])
    weights = ak.to_numpy(events["weight_nominal"]).astype(np.float64)
    columns: dict[str, Any] = {name: ak.to_numpy(events[name]).astype(np.int64) for name in EVENT_IDENTITY}
    columns |= {"weight_nominal": weights, "weight_pb": weights * weight_to_pb}
    columns |= {f"n_{kind}": ak.to_numpy(ak.num(objects[kind]["pt"])).astype(np.int64) for kind in TYPES}
    columns |= nine_masses(slots)
    columns["matrix"] = ak.from_numpy(
        matrix.astype(np.float32).reshape(len(events), matrix.shape[1] ** 2), regulararray=True
    )
    return columns, lacking


def normalisation(cutflow: Mapping[str, Any], dataset: str, luminosity: float | None) -> tuple[float, float | None]:
    """Return the cross section in pb that an event of weight 1 stands for, and that of the dataset (None for data).

    Raises
    ------
    UserError
        If the luminosity of collision data is not known.
    """
    block = cutflow["datasets"][dataset]
    if not block["data"]:
        return float(block["weight_to_pb"]), float(block["cross_section_pb"])
    if luminosity is None:
        raise UserError(f"the luminosity of {dataset} is not known", "set `anomaly.pairs.luminosity` in 1/fb")
    return 1 / (luminosity * FB_IN_PB), None


def why_empty(mass: str, lacking: Sequence[str], config: Mapping[str, Any]) -> str:
    """Return why a dataset has no event with one of the nine masses."""
    kinds = [kind for kind, _ in MASSES[mass] if kind in lacking]
    if "bjets" in kinds:
        return f"the skims have no branch {config['jets']}_{config['btag']['column']}, so no b-jets"
    if kinds:
        return f"the skims have no {kinds[0]}"
    return "no event has both objects"


def main(argv: Sequence[str] | None = None) -> None:
    """Build the matrices of one dataset."""
    parser = make_parser(__doc__)
    parser.add_argument("--skims", required=True, nargs="+", type=Path, help="skims of the dataset")
    parser.add_argument("--cutflow", required=True, type=Path, help="cutflow.json of the channel: normalisation")
    parser.add_argument("--dataset", required=True, help="name of the dataset in the cutflow")
    parser.add_argument("--config", required=True, type=json_argument, help="JSON, see above")
    parser.add_argument("--output", required=True, type=Path, help="events to write (Parquet)")
    parser.add_argument("--summary", required=True, type=Path, help="counts to write (JSON)")
    args = parser.parse_args(argv)
    log = start_log("awkward", "uproot", "numpy")
    config = args.config
    weight_to_pb, cross_section = normalisation(read_json(args.cutflow), args.dataset, config["luminosity"])
    counts: Counter[str] = Counter()
    accepted = 0.0
    # a type is missing if no file has it
    lacking: set[str] = set(TYPES)

    def parts() -> Iterator[dict[str, Any]]:
        nonlocal accepted
        for path in args.skims:
            for events in read_steps(path, branch_names(config), STEP):
                columns, lacks = matrix_columns(events, config, weight_to_pb, str(path))
                lacking.intersection_update(lacks)
                counts["events"] += len(events)
                counts.update({kind: int(np.count_nonzero(columns[f"n_{kind}"])) for kind in TYPES})
                counts.update({mass: int(np.count_nonzero(columns[mass])) for mass in MASSES})
                accepted += float(columns["weight_pb"].sum())
                yield columns

    write_parquet_parts(args.output, parts())
    empty = {mass: why_empty(mass, sorted(lacking), config) for mass in MASSES if not counts[mass]}
    for reason in sorted(set(empty.values())):
        log.warning("%s: no %s", reason, ", ".join(mass for mass in empty if empty[mass] == reason))
    log.info("%d events, %.4g pb", counts["events"], accepted)
    write_json(
        args.summary,
        {
            "dataset": args.dataset, "events": counts["events"], "cross_section_pb": cross_section,
            "accepted_pb": accepted, "events_with": {kind: counts[kind] for kind in TYPES},
            "masses": {mass: counts[mass] for mass in MASSES}, "empty": empty,
        },
    )  # fmt: skip


if __name__ == "__main__":
    run_main(main)
