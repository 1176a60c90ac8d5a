r"""Make the data that are searched: simulated background with an injected signal, or collision data as they are.

Pseudo-data are unweighted: an event of the background enters with the probability that its weight has at the luminosity
of the pseudo-data. Those that do not enter are the template of methods that may see a simulation of the background;
signal events that were not injected serve as signal simulation and for figures of merit. Keys of the configuration:

  data, background, signal   names of datasets
  share             largest probability of a background event to be in the data
  range, window     {min, max} in GeV of the dijet mass: of the search, and of the signal region
  signal_to_background   in the signal region
  folds             number of folds
  add_mass          feature -> factor: this times the dijet mass is added to the feature
  shuffle           if not null: pseudo-experiments of one smooth background, see `resample`

By hand: the first line of a job's log is its command.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_json, read_parquet, write_json, write_parquet
from lhcml.common.hashing import GOLDEN, hash_events, mix
from lhcml.common.identity import EVENT_IDENTITY

Columns: TypeAlias = "dict[str, NDArray[Any]]"

PB_IN_FB = 1000.0


def read_events(folder: Path, dataset: str, limits: Mapping[str, float]) -> Columns:
    """Return the events of a dataset with a dijet mass in the range of the search, lower end included."""
    array = read_parquet(folder / f"{dataset}.parquet")
    columns = {name: ak.to_numpy(array[name]) for name in array.fields}
    mass = columns["dijet_mass"]
    chosen = (mass >= limits["min"]) & (mass < limits["max"])
    return {name: values[chosen] for name, values in columns.items()}


def concatenate(parts: Sequence[Columns]) -> Columns:
    """Return the rows of several tables after another, in the columns that all of them have."""
    shared = [name for name in parts[0] if all(name in part for part in parts)]
    return {name: np.concatenate([part[name] for part in parts]) for name in shared}


def take(columns: Mapping[str, NDArray[Any]], rows: NDArray[Any]) -> Columns:
    """Return rows of all columns, by a mask or by positions."""
    return {name: values[rows] for name, values in columns.items()}


def fold_of(columns: Mapping[str, NDArray[Any]], folds: int) -> NDArray[np.int64]:
    """Return the fold of each event from a hash of its identity: copies of an event share their fold."""
    # mixed with another constant than the split into training and test events, so that the two are independent
    bits = mix(hash_events(*(columns[name] for name in EVENT_IDENTITY)) + GOLDEN + GOLDEN)
    return (bits % np.uint64(folds)).astype(np.int64)


def unweight(
    weights: NDArray[np.float64], share: float, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], float, NDArray[np.float64]]:
    """Draw events in proportion to their weights.

    Parameters
    ----------
    weights : array of shape (n,)
        Expected events for one unit of luminosity; none negative.
    share : float
        Probability of the event with the largest weight.

    Returns
    -------
    tuple
        Which events are drawn; the luminosity at which that many are expected; weights, for that luminosity, that
        make the others an unbiased sample of the same distribution.
    """
    luminosity = share / weights.max()
    probability = weights * luminosity
    drawn = rng.random(len(weights)) < probability
    return drawn, float(luminosity), probability / (1 - probability)


def resample(
    background: Columns, share: float, distance: float, rng: np.random.Generator
) -> tuple[Columns, Columns, float]:
    """Draw a pseudo-experiment: events with replacement, whose masses change places within a distance.

    Events of a simulation that is drawn again and again share its fluctuations, which a method may learn. With masses
    exchanged over the width of a signal region, no feature has structure there, so that many pseudo-experiments can
    be drawn from one simulation, and their p-values should be uniform. The spectrum of all events stays as it is drawn.

    Parameters
    ----------
    background : dict of arrays
        Events with weights.
    share : float
        As in `unweight`.
    distance : float
        In GeV; masses are handed on in the order of the masses with a uniform random number of at most this added.

    Returns
    -------
    tuple
        Drawn events, those that were not drawn, luminosity.
    """
    weights = background["weight_nominal"]
    luminosity = share / weights.max()
    rows = rng.choice(len(weights), size=rng.poisson(weights.sum() * luminosity), p=weights / weights.sum())
    mass = background["dijet_mass"][rows]
    exchanged = np.empty_like(mass)
    exchanged[np.argsort(mass + rng.uniform(-distance, distance, len(mass)))] = np.sort(mass)
    drawn = take(background, rows) | {"dijet_mass": exchanged}
    return drawn, take(background, ~np.isin(np.arange(len(weights)), rows)), float(luminosity)


def draw_signal(signal: Columns, inside: NDArray[np.bool_], wanted: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return positions of signal events, drawn by weight, of which `wanted` are expected in the signal region.

    Raises
    ------
    UserError
        If there are too few signal events.
    """
    weights = signal["weight_nominal"]
    if not weights[inside].sum() > 0:
        raise UserError("no signal event is in the signal region", "set anomaly.window to where the signal is")
    total = round(wanted / (weights[inside].sum() / weights.sum()))
    # as many must be left for the methods that see signal, and for figures of merit
    if total > len(weights) // 2:
        raise UserError(
            f"{total} signal events are to be injected, and there are {len(weights)} in the range of the search",
            "generate more signal, or inject less: anomaly.mixtures.<name>.signal_to_background",
        )
    return rng.choice(len(weights), size=total, replace=False, p=weights / weights.sum())


def mix_events(
    folder: Path, config: Mapping[str, Any], normalisation: Mapping[str, Any], seed: int
) -> tuple[Columns, Columns, Columns, dict[str, Any]]:
    """Return data, template, remaining signal, and what was done.

    Parameters
    ----------
    folder : Path
        Folder of `<dataset>.parquet`.
    config : Mapping
        See the description of the module.
    normalisation : Mapping
        For each simulated dataset `weight_to_pb` and `cross_section_pb`, null where unknown.
    seed : int
        Seed of the drawing.

    Raises
    ------
    UserError
        If simulation has weights below 0, or is too small.
    """
    rng = np.random.default_rng(seed)
    background = read_simulation(folder, config["background"], config["range"], normalisation)
    signal = read_simulation(folder, config["signal"], config["range"], normalisation)
    info: dict[str, Any] = {"luminosity_fb": None, "events_per_fb": None, "injected": None}
    if config["data"]:
        data = concatenate([read_events(folder, name, config["range"]) for name in config["data"]])
    else:
        if config["shuffle"] is None:
            drawn, luminosity, others = unweight(background["weight_nominal"], config["share"], rng)
            data, background = take(background, drawn), take(background | {"weight_nominal": others}, ~drawn)
        else:
            data, background, luminosity = resample(background, config["share"], config["shuffle"], rng)
        data["label"] = np.zeros(len(data["run"]), np.int8)
        info["luminosity_fb"] = luminosity / PB_IN_FB if is_normalised(config["background"], normalisation) else None
        data, signal, injection = inject_signal(data, signal, config, rng)
        info |= injection
        if info["luminosity_fb"] and is_normalised(config["signal"], normalisation):
            produced = sum(normalisation[name]["cross_section_pb"] for name in config["signal"])
            info["signal_acceptance"] = float(injection["selected_pb"] / produced)
            info["events_per_fb"] = info["signal_acceptance"] * info["luminosity_fb"]
            info["injected_cross_section_fb"] = injection["injected"]["events"] / info["events_per_fb"]
    data["weight_nominal"] = np.ones(len(data["run"]))
    # a search without simulation has empty tables of it
    background, signal = (table or take(data, np.zeros(0, np.int64)) for table in (background, signal))
    for table in (data, background, signal):
        add_mass(table, config["add_mass"])
    data["fold"] = fold_of(data, config["folds"])
    info |= {"events": len(data["run"]), "events_in_window": int(in_window(data, config["window"]).sum())}
    return data, background, signal, info


def inject_signal(
    data: Columns, signal: Columns, config: Mapping[str, Any], rng: np.random.Generator
) -> tuple[Columns, Columns, dict[str, Any]]:
    """Return the data with signal events among them, the signal events that are left, and their numbers."""
    wanted = round(config["signal_to_background"] * in_window(data, config["window"]).sum())
    rows = draw_signal(signal, in_window(signal, config["window"]), wanted, rng)
    injected = take(signal, rows)
    injected["label"] = np.ones(len(rows), np.int8)
    left = ~np.isin(np.arange(len(signal["run"])), rows)
    info = {
        "signal_to_background": config["signal_to_background"],
        "selected_pb": float(signal["weight_nominal"].sum()),
        "injected": {"events": len(rows), "in_window": int(in_window(injected, config["window"]).sum())},
    }
    data = concatenate([data, injected])
    return take(data, rng.permutation(len(data["run"]))), take(signal, left), info


def read_simulation(
    folder: Path, names: Sequence[str], limits: Mapping[str, float], normalisation: Mapping[str, Any]
) -> Columns:
    """Return the events of simulated datasets with weights in pb, or as they are where the cross section is unknown.

    Without datasets there are no columns either.

    Raises
    ------
    UserError
        If weights are negative.
    """
    parts = []
    for name in names:
        part = read_events(folder, name, limits)
        factor = normalisation.get(name, {}).get("weight_to_pb") or 1.0
        parts.append(part | {"weight_nominal": part["weight_nominal"] * factor})
    if not parts:
        return {}
    table = concatenate(parts)
    if np.any(table["weight_nominal"] < 0):
        raise UserError(
            f"events of {', '.join(names)} have negative weights, with which no pseudo-data can be drawn",
            "use a generator without negative weights for the search",
        )
    return table


def is_normalised(names: Sequence[str], normalisation: Mapping[str, Any]) -> bool:
    """Tell whether the cross section of all datasets is known."""
    return all(normalisation.get(name, {}).get("weight_to_pb") for name in names)


def add_mass(table: Columns, factors: Mapping[str, float]) -> None:
    """Add multiples of the dijet mass to features, in place.

    Raises
    ------
    UserError
        If there is no such feature.
    """
    for name, factor in factors.items():
        if name not in table:
            raise UserError(f"add_mass: the events have no feature {name!r}", f"choose among {', '.join(table)}")
        table[name] = table[name] + factor * table["dijet_mass"]


def in_window(columns: Mapping[str, NDArray[Any]], window: Mapping[str, float]) -> NDArray[np.bool_]:
    """Tell which events are in the signal region: lower end included, upper end not."""
    mass = columns["dijet_mass"]
    inside: NDArray[np.bool_] = (mass >= window["min"]) & (mass < window["max"])
    return inside


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--events", required=True, type=Path, help="folder of the events, <dataset>.parquet")
    parser.add_argument("--cutflow", type=Path, help="cutflow.json of the channel, for the normalisation of simulation")
    parser.add_argument("--config", required=True, type=json_argument, help="block of the mixture, JSON")
    parser.add_argument("--seed", required=True, type=int, help="seed of the drawing")
    parser.add_argument("--output", required=True, type=Path, help="folder of data, template and signal")
    args = parser.parse_args(argv)
    log = start_log("awkward", "numpy", seed=args.seed)

    normalisation = read_json(args.cutflow)["datasets"] if args.cutflow else {}
    data, template, signal, info = mix_events(args.events, args.config, normalisation, args.seed)
    log.info("%s", info)
    for name, table in (("data", data), ("template", template), ("signal", signal)):
        write_parquet(args.output / f"{name}.parquet", table)
    write_json(args.output / "mixture.json", info)


if __name__ == "__main__":
    run_main(main)
