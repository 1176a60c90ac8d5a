r"""Collect the events that are unfolded: one table of the simulation, one of the data, read by all methods.

Cuts at particle level (`fiducial`) and at detector level (`selection`) are applied here, and the simulation is
normalised to the luminosity of the data. Keys of the configuration:

  datasets      role ("simulation", "data", "background") -> dataset -> {chunks, weight_to_pb, data}
  shifts        kinematic shifts of the simulation at detector level
  observables   names
  fiducial, selection   observable -> {min, max}
  luminosity    fb^-1, or null: that of the pseudo-data
  prior         dataset that gives an alternative prior, or null
  constituents  true to keep them

Tables of your own have, instead of `datasets`:

  tables        role -> list of Parquet files
  columns       name used here (weight_nominal, pass_gen, gen_jet_mass, ...) -> column of the tables
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.cuts import in_range
from lhcml.common.errors import UserError
from lhcml.common.files import read_json, read_parquet, require_finite, write_json, write_parquet
from lhcml.common.identity import EVENT_IDENTITY

PARTS = ("part_pt", "part_deta", "part_dphi", "part_pdgId")
FB_IN_PB = 1000.0
# added to the runs of a dataset whose events are numbered like those of another
RUN_STEP = 1_000_000_000
Columns: TypeAlias = "dict[str, Any]"
Mask: TypeAlias = "NDArray[np.bool_]"


def read_levels(folder: Path, dataset: str, shift: str, chunks: Sequence[int]) -> ak.Array:
    """Return the levels of all chunks of a dataset, in the order of chunks."""
    return read_parquet([folder / dataset / shift / "levels" / f"{chunk}.parquet" for chunk in chunks])


def within(columns: Mapping[str, Any], level: str, cuts: Mapping[str, Mapping[str, float]]) -> Mask:
    """Return which events pass cuts on the observables of a level ("gen" or "reco"); bounds are part of the range.

    Raises
    ------
    UserError
        If there is no such observable.
    """
    passed: Mask = np.ones(len(columns[f"pass_{level}"]), dtype=bool)
    for name, cut in cuts.items():
        if f"{level}_{name}" not in columns:
            known = [key.removeprefix("gen_") for key in columns if key.startswith("gen_")]
            raise UserError(f"a cut is on {name!r}, which the events lack", f"choose among {', '.join(known)}")
        passed &= in_range(columns[f"{level}_{name}"], cut)
    return passed


def flat(array: ak.Array, names: Sequence[str], where: str) -> Columns:
    """Return columns as NumPy arrays.

    Raises
    ------
    UserError
        If a column is missing, has missing values, NaN or infinity.
    """
    missing = [name for name in names if name not in array.fields]
    if missing:
        raise UserError(f"{where} has no column {', '.join(missing)}", f"columns: {', '.join(array.fields)}")
    columns = {}
    for name in names:
        values = ak.to_numpy(array[name], allow_missing=False)
        if values.dtype != bool:
            require_finite(f"column {name}", values, where)
        columns[name] = values
    return columns


def apply_cuts(columns: Columns, config: Mapping[str, Any], suffix: str = "") -> None:
    """Apply the cuts of both levels in place and set observables to 0 where their level fails."""
    for level, cuts in (("gen", config["fiducial"]), ("reco", config["selection"])):
        name = f"pass_{level}"
        if name not in columns:
            continue
        columns[name] = columns[name] & within(columns, level, cuts)
        for key in [key for key in columns if key.startswith(f"{level}_")]:
            if key.removeprefix(f"{level}_") not in PARTS:
                columns[key] = np.where(columns[name], columns[key], np.zeros((), columns[key].dtype))


def level_columns(array: ak.Array, config: Mapping[str, Any], where: str, levels: Sequence[str]) -> Columns:
    """Return identity, weights, flags and all observables of some levels, after the cuts."""
    weights = [name for name in array.fields if name.startswith("weight_")]
    names = [*EVENT_IDENTITY, *weights]
    lists = []
    for level in levels:
        found = [name for name in array.fields if name.startswith(f"{level}_")]
        constituents = [f"{level}_{name}" for name in PARTS]
        names += [f"pass_{level}", *(name for name in found if name not in constituents)]
        lists += [name for name in constituents if config["constituents"]]
    missing = [f"{level}_{name}" for level in levels for name in config["observables"]
               if f"{level}_{name}" not in array.fields]  # fmt: skip
    columns = flat(array, [*names, *missing], where)
    absent = [name for name in lists if name not in array.fields]
    if absent:
        raise UserError(
            f"{where} has no {', '.join(absent)}", "set `constituents: true` of the channel in `features.levels`"
        )
    columns |= {name: array[name] for name in lists}
    apply_cuts(columns, config)
    return columns


def shifted_columns(array: ak.Array, nominal: Columns, config: Mapping[str, Any], shift: str, where: str) -> Columns:
    """Return `pass_reco_<shift>` and `reco_<observable>_<shift>` of the same events under a kinematic shift.

    Raises
    ------
    UserError
        If the events differ from those of the nominal files.
    """
    names = [f"reco_{name}" for name in config["observables"]]
    cut_on = [f"reco_{name}" for name in config["selection"]]
    columns = flat(array, [*EVENT_IDENTITY, "pass_reco", *dict.fromkeys([*names, *cut_on])], where)
    if any(not np.array_equal(columns[name], nominal[name]) for name in EVENT_IDENTITY):
        raise UserError(f"{where} holds other events than the nominal files", "make both from the same skim")
    if config["constituents"]:
        columns |= {f"reco_{name}": array[f"reco_{name}"] for name in PARTS}
        names += [f"reco_{name}" for name in PARTS]
    apply_cuts(columns, config)
    return {f"{name}_{shift}": columns[name] for name in ["pass_reco", *names]}


def collision_data(block: Mapping[str, Any]) -> bool:
    """Tell whether a dataset is collision data, without particle level."""
    return bool(block.get("data", False))


def luminosity_of(config: Mapping[str, Any], datasets: Mapping[str, Mapping[str, Any]]) -> tuple[float, str]:
    """Return the luminosity in fb^-1 and where it is from.

    Pseudo-data of events of weight one are as many as their luminosity gives: it is 1 / weight_to_pb.

    Raises
    ------
    UserError
        If it is neither configured nor follows from one pseudo-data set.
    """
    if config["luminosity"] is not None:
        return float(config["luminosity"]), "configuration"
    blocks = list(datasets.values())
    if len(blocks) != 1 or collision_data(blocks[0]):
        raise UserError(
            "the luminosity of the data is not known", "set `unfolding.luminosity` in fb^-1; it follows by itself only "
            "for one set of pseudo-data",
        )  # fmt: skip
    return 1 / (blocks[0]["weight_to_pb"] * FB_IN_PB), "pseudo-data"


def from_datasets(folder: Path, config: Mapping[str, Any]) -> tuple[list[Columns], list[Columns], dict[str, Any]]:
    """Return the parts of the simulation and of the data from the features stage, and their normalisation."""
    datasets = config["datasets"]
    luminosity, source = luminosity_of(config, datasets["data"])
    simulation, data = [], []
    for role in ("simulation", "background"):
        for name, block in datasets[role].items():
            where = f"{folder}/{name}"
            columns = level_columns(
                read_levels(folder, name, "nominal", block["chunks"]), config, where, ("gen", "reco")
            )
            factor = block["weight_to_pb"] * luminosity * FB_IN_PB
            columns |= {key: columns[key] * factor for key in columns if key.startswith("weight_")}
            for shift in config["shifts"]:
                array = read_levels(folder, name, shift, block["chunks"])
                columns |= shifted_columns(array, columns, config, shift, f"{where}/{shift}")
            simulation.append(mark_background(columns, role == "background"))
    for name, block in datasets["data"].items():
        levels = ("reco",) if collision_data(block) else ("gen", "reco")
        array = read_levels(folder, name, "nominal", block["chunks"])
        data.append(level_columns(array, config, f"{folder}/{name}", levels))
    return simulation, data, {"luminosity": luminosity, "luminosity_from": source}


def mark_background(columns: Columns, background: bool) -> Columns:
    """Return the columns with the flag of background, whose events pass no particle level."""
    number = len(columns["weight_nominal"])
    if background:
        observed = [key for key in columns if key.startswith("gen_") and key.removeprefix("gen_") not in PARTS]
        columns |= {key: np.zeros_like(columns[key]) for key in ["pass_gen", *observed]}
    return columns | {"background": np.full(number, background)}


def rename(array: ak.Array, names: Mapping[str, str], where: str) -> ak.Array:
    """Return a table with the columns named as here; identity and weights that it lacks are made: its row, and 1."""
    for new, old in names.items():
        if old in array.fields:
            array[new] = array[old]
        elif new.startswith(("gen_", "pass_gen")):
            continue
        else:
            raise UserError(f"{where} has no column {old} (`unfolding.columns.{new}`)", ", ".join(array.fields))
    number = len(array)
    made: Columns = {"run": np.ones(number, np.int64), "luminosityBlock": np.ones(number, np.int64)}
    made |= {"event": np.arange(number), "weight_nominal": np.ones(number), "pass_reco": np.ones(number, dtype=bool)}
    if any(name.startswith("gen_") for name in array.fields):
        made["pass_gen"] = np.ones(number, dtype=bool)
    for name, values in made.items():
        if name not in array.fields:
            array[name] = values
    return array


def from_tables(config: Mapping[str, Any]) -> tuple[list[Columns], list[Columns], dict[str, Any]]:
    """Return the parts of the simulation and of the data from tables of the user's own."""
    parts: dict[str, list[Columns]] = {"simulation": [], "background": [], "data": []}
    for role, paths in config["tables"].items():
        for path in paths:
            array = rename(read_parquet(path), config["columns"], path)
            levels = ("reco",) if role == "data" and "pass_gen" not in array.fields else ("gen", "reco")
            columns = level_columns(array, config, path, levels)
            for shift in config["shifts"]:
                if role != "data":
                    names = {f"reco_{name}": f"reco_{name}_{shift}" for name in config["observables"]}
                    names |= {"pass_reco": f"pass_reco_{shift}"}
                    columns |= shifted_columns(rename(array, names, path), columns, config, shift, path)
            parts[role].append(columns if role == "data" else mark_background(columns, role == "background"))
    simulation = parts["simulation"] + parts["background"]
    if config["luminosity"] is not None:
        return simulation, parts["data"], {"luminosity": config["luminosity"], "luminosity_from": "configuration"}
    # without a luminosity the simulation is as much as the data, after background
    measured = sum(float(part["weight_nominal"][part["pass_reco"]].sum()) for part in parts["data"])
    background = sum(float(part["weight_nominal"][part["pass_reco"]].sum()) for part in parts["background"])
    expected = sum(float(part["weight_nominal"][part["pass_reco"]].sum()) for part in parts["simulation"])
    factor = (measured - background) / expected if expected > 0 else 0.0
    for part in parts["simulation"]:
        part |= {key: part[key] * factor for key in part if key.startswith("weight_")}
    return simulation, parts["data"], {"luminosity": None, "luminosity_from": "simulation scaled to the data"}


def join(parts: Sequence[Columns], where: str) -> Columns:
    """Return the parts one after the other.

    Raises
    ------
    UserError
        If there is none, they have no events, or their columns differ.
    """
    if not parts or not sum(len(part["event"]) for part in parts):
        raise UserError(f"{where} has no events", "check `unfolding` and the files of its datasets")
    common = [name for name in parts[0] if all(name in part for part in parts)]
    lost = sorted({name for part in parts for name in part} - set(common))
    if any(not name.startswith("weight_") for name in lost):
        raise UserError(f"datasets of {where} differ in {', '.join(lost)}", "make all of them with the same settings")
    joined = {}
    for name in common:
        arrays = [part[name] for part in parts]
        joined[name] = np.concatenate(arrays) if isinstance(arrays[0], np.ndarray) else ak.concatenate(arrays)
    return joined


def tell_apart(parts: Sequence[Columns]) -> None:
    """Give the events of each further dataset runs of their own, in place, if datasets number their events alike.

    Otherwise the events of two generated samples would get the same bootstrap weights.
    """
    seen: set[tuple[int, int]] = set()
    for position, part in enumerate(parts):
        blocks = set(zip(part["run"].tolist(), part["luminosityBlock"].tolist(), strict=True))
        if blocks & seen:
            part["run"] = part["run"] + position * RUN_STEP
        seen |= blocks


def keep_rows(columns: Columns) -> Columns:
    """Return the events that pass a level in any shift; the others have no part in anything."""
    flags = [values for name, values in columns.items() if name.startswith("pass_")]
    kept = np.logical_or.reduce(flags)
    return {name: values[kept] for name, values in columns.items()}


def prior_ratio(simulation: Columns, folder: Path, config: Mapping[str, Any], seed: int) -> NDArray[np.float64]:
    """Return the weight that turns the simulation's particle level into that of another dataset.

    Boosted trees on all observables that are unfolded, at particle level (arXiv:1907.08209); 1 for events without. The
    number of events stays: a variation of shape.
    """
    from lhcml.unfolding.trees import Boosting, fit_trees, predict_trees

    block = config["prior"]
    name = block["dataset"]
    other = level_columns(
        read_levels(folder, name, "nominal", block["chunks"]), config, f"{folder}/{name}", ("gen", "reco")
    )
    names = [f"gen_{observable}" for observable in config["observables"]]
    rows = simulation["pass_gen"]
    here = np.stack([simulation[key][rows] for key in names], axis=1).astype(np.float32)
    there = np.stack([other[key][other["pass_gen"]] for key in names], axis=1).astype(np.float32)
    weight_here = simulation["weight_nominal"][rows]
    weight_there = other["weight_nominal"][other["pass_gen"]]
    zeros_here, zeros_there = np.zeros(len(here)), np.zeros(len(there))
    number = len(here) + len(there)
    booster = fit_trees(
        np.concatenate([here, there]),
        np.concatenate([zeros_here, weight_there * (number / 2 / weight_there.sum())]),
        np.concatenate([weight_here * (number / 2 / weight_here.sum()), zeros_there]),
        Boosting(), threads=1, seed=seed,
    )  # fmt: skip
    ratio = np.exp(predict_trees(booster, here, threads=1))
    factor = np.ones(len(rows))
    factor[rows] = ratio * (weight_here.sum() / (weight_here * ratio).sum())
    return factor


def describe(simulation: Columns, data: Columns) -> Iterator[tuple[str, float]]:
    """Yield the sums that tell whether cuts and normalisation are as meant."""
    weight, background = simulation["weight_nominal"], simulation["background"]
    gen, reco = simulation["pass_gen"], simulation["pass_reco"]
    yield "simulated_both", float(weight[gen & reco].sum())
    yield "simulated_misses", float(weight[gen & ~reco].sum())
    yield "simulated_fakes", float(weight[~gen & reco & ~background].sum())
    yield "background", float(weight[reco & background].sum())
    yield "simulated_events_gen", float(np.count_nonzero(gen))
    yield "data", float(data["weight_nominal"][data["pass_reco"]].sum())
    yield "data_events", float(np.count_nonzero(data["pass_reco"]))


def main(argv: Sequence[str] | None = None) -> None:
    """Collect the events of all unfolding jobs."""
    parser = make_parser(__doc__)
    parser.add_argument("--levels", type=Path, help="folder of a channel's features (results/features/{channel})")
    parser.add_argument("--cutflow", type=Path, help="cutflow.json of the channel: the normalisation of its datasets")
    parser.add_argument("--config", required=True, type=json_argument, help="JSON, see above")
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument("--simulation", required=True, type=Path, help="simulated events to write (Parquet)")
    parser.add_argument("--data", required=True, type=Path, help="data events to write (Parquet)")
    parser.add_argument("--normalisation", required=True, type=Path, help="normalisation to write (JSON)")
    args = parser.parse_args(argv)
    log = start_log("awkward", "numpy", "pyarrow", "xgboost", seed=args.seed)
    config = args.config
    if "tables" in config:
        simulation_parts, data_parts, normalisation = from_tables(config)
    else:
        cutflow = read_json(args.cutflow)["datasets"]
        for blocks in config["datasets"].values():
            for name, block in blocks.items():
                block |= {key: cutflow[name].get(key) for key in ("weight_to_pb", "data")}
        simulation_parts, data_parts, normalisation = from_datasets(args.levels, config)
    tell_apart(simulation_parts)
    # collision data keep their numbers: of two datasets of one trigger they name the same events
    tell_apart([part for part in data_parts if "pass_gen" in part])
    simulation = keep_rows(join(simulation_parts, "the simulation"))
    data = keep_rows(join(data_parts, "the data"))
    if config["prior"] is not None:
        simulation["prior_ratio"] = prior_ratio(simulation, args.levels, config, args.seed)
    normalisation |= dict(describe(simulation, data))
    for name, value in normalisation.items():
        log.info("%s: %s", name, value)
    write_parquet(args.simulation, simulation)
    write_parquet(args.data, data)
    write_json(args.normalisation, normalisation)


if __name__ == "__main__":
    run_main(main)
