r"""Unfold with OmniFold, MultiFold or UniFold: one group of variations of a method, as weights of simulated events.

Groups: `nominal`; `ensemble` (other seeds); `bootstrap_data` and `bootstrap_simulation` (Poisson weights);
`systematics`. Writes the weights of the events that pass the particle level, prior included, and diagnostics of every
iteration. Keys of the configuration: `method` (the block of a method), `observables` (with their bins), `bootstraps`,
`ensemble`, `systematics`, `root_seed`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import awkward as ak
import numpy as np
import torch
from numpy.typing import NDArray

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import parquet_columns, read_json, read_parquet, write_json, write_parquet
from lhcml.common.identity import EVENT_IDENTITY
from lhcml.common.seeds import derive_seed
from lhcml.unfolding.bootstrap import poisson_weights
from lhcml.unfolding.definitions import bin_edges, variation_names
from lhcml.unfolding.networks import Dense, Inputs, Network, ParticleFlow, Training
from lhcml.unfolding.omnifold import Events, Floats, Ratios, Unfolded, unfold
from lhcml.unfolding.ratios import NetworkRatios, TreeRatios, as_inputs, particle_features, vectors
from lhcml.unfolding.trees import Boosting

GROUPS = ("nominal", "ensemble", "bootstrap_data", "bootstrap_simulation", "systematics")
PARTS = ("part_pt", "part_deta", "part_dphi", "part_pdgId")

log = logging.getLogger("lhcml")


@dataclass(frozen=True)
class Run:
    """Replicas that see the same events.

    Attributes
    ----------
    names : list of str
        Names of the variations.
    shift : str
        Kinematic shift of the detector level, "" for nominal.
    prior, data : ndarray
        Weights of the simulation (R, N) and of the data (R, M).
    """

    names: list[str]
    shift: str
    prior: Floats
    data: Floats


def bootstrap_weights(kind: Literal["data", "simulation"], number: int, events: ak.Array, root_seed: int) -> Floats:
    """Return the Poisson weights of events in each replica, shape (replicas, events)."""
    identity = [column(events, name) for name in EVENT_IDENTITY]
    return np.stack([poisson_weights(root_seed, kind, replica, *identity) for replica in range(number)])


def bootstrap_run(
    group: str, number: int, simulation: ak.Array, data: ak.Array, prior: Floats, measured: Floats, root_seed: int
) -> Run:
    """Return the replicas of a bootstrap of the data or of the simulation."""
    kind: Literal["data", "simulation"] = "data" if group == "bootstrap_data" else "simulation"
    weights = bootstrap_weights(kind, number, data if kind == "data" else simulation, root_seed)
    names = [f"{group}_{replica}" for replica in range(number)]
    if kind == "data":
        return Run(names, "", np.tile(prior, (number, 1)), measured * weights)
    return Run(names, "", prior * weights, np.tile(measured, (number, 1)))


def systematic_runs(
    systematics: Mapping[str, Mapping[str, str]], simulation: ak.Array, prior: Floats, measured: Floats
) -> Iterator[Run]:
    """Yield the systematic variations: those of weights together, each kinematic shift by itself.

    Raises
    ------
    UserError
        If the events lack a column.
    """
    weights = {}
    for name, block in systematics.items():
        if block["source"] == "prior":
            weights[name] = prior * column(simulation, "prior_ratio")
        elif block["source"] == "weights":
            weights |= {shift: column(simulation, f"weight_{shift}") for shift in variation_names(name, block)}
        else:
            for shift in variation_names(name, block):
                yield Run([shift], f"_{shift}", prior[None], measured[None])
    if weights:
        yield Run(list(weights), "", np.stack(list(weights.values())), np.tile(measured, (len(weights), 1)))


def column(events: ak.Array, name: str) -> NDArray[Any]:
    """Return a flat column.

    Raises
    ------
    UserError
        If there is none of this name.
    """
    if name not in events.fields:
        raise UserError(f"the events have no column {name}", "make them again with this configuration")
    return ak.to_numpy(events[name])


def make_runs(group: str, config: Mapping[str, Any], simulation: ak.Array, data: ak.Array) -> list[Run]:
    """Return the replicas of a group."""
    prior = column(simulation, "weight_nominal").astype(np.float64)
    measured = column(data, "weight_nominal").astype(np.float64)
    if group in ("nominal", "ensemble"):
        number = 1 if group == "nominal" else config["ensemble"]
        names = ["nominal"] if group == "nominal" else [f"ensemble_{member}" for member in range(number)]
        return [Run(names, "", np.tile(prior, (number, 1)), np.tile(measured, (number, 1)))] if number else []
    if group == "systematics":
        return list(systematic_runs(config["systematics"], simulation, prior, measured))
    number = config["bootstraps"][group.removeprefix("bootstrap_")]
    run = bootstrap_run(group, number, simulation, data, prior, measured, config["root_seed"]) if number else None
    return [run] if run else []


def read_events(path: Path, method: Mapping[str, Any]) -> ak.Array:
    """Return the events that `collect_events` wrote; constituents, most of the file, for OmniFold only."""
    lists = [f"{level}_{name}" for level in ("gen", "reco") for name in PARTS]
    wanted = [
        name for name in parquet_columns(path) if method["family"] == "omnifold" or not name.startswith(tuple(lists))
    ]
    return read_parquet(path, wanted)


def read_particles(events: ak.Array, level: str, suffix: str, rows: NDArray[np.bool_]) -> list[ak.Array]:
    """Return the lists of constituents of some events: pt, deta, dphi, PDG code."""
    return [events[f"{level}_{name}{suffix}"][rows] for name in PARTS]


def make_ratios(
    method: Mapping[str, Any], observables: Sequence[str], simulation: ak.Array, data: ak.Array, shift: str,
    seeds: Sequence[int], threads: int,
) -> Ratios:  # fmt: skip
    """Return the estimates of a method for some replicas; `seeds` has one seed a replica."""
    gen, reco = column(simulation, "pass_gen"), column(simulation, f"pass_reco{shift}")
    both = reco[gen]
    everything: NDArray[np.bool_] = np.ones(len(data), dtype=bool)
    if method["family"] == "omnifold":
        lists = [
            ak.concatenate([here, there])
            for here, there in zip(
                read_particles(simulation, "reco", shift, reco), read_particles(data, "reco", "", everything),
                strict=True,
            )
        ]  # fmt: skip
        detector: Inputs = particle_features(*lists)
        particle: Inputs = particle_features(*read_particles(simulation, "gen", "", gen))
        network: Network = ParticleFlow(tuple(method["network"]["phi"]), tuple(method["network"]["f"]))
    else:
        measured = vectors([
            np.concatenate([column(simulation, f"reco_{name}{shift}")[reco], column(data, f"reco_{name}")])
            for name in observables
        ])  # fmt: skip
        true = vectors([column(simulation, f"gen_{name}")[gen] for name in observables])
        if method["estimator"] == "trees":
            boosting = Boosting(**method["boosting"])
            return TreeRatios(measured, true, both, boosting, method["members"], seeds, threads)
        detector, particle = as_inputs(measured), as_inputs(true)
        network = Dense(tuple(method["network"]["hidden"]))
    training = Training(**method["training"])
    return NetworkRatios(network, detector, particle, both, training, method["members"], seeds, method["warm_start"])


def binned_history(
    simulation: ak.Array, prior: Floats, observables: Mapping[str, Any]
) -> tuple[dict[str, list[list[float]]], Any]:
    """Return a record of the spectra of the first replica after each iteration, and the function that fills it."""
    gen = column(simulation, "pass_gen")
    values = {name: column(simulation, f"gen_{name}")[gen] for name in observables}
    edges = {name: bin_edges(block) for name, block in observables.items()}
    spectra: dict[str, list[list[float]]] = {name: [] for name in observables}

    def fill(result: Unfolded) -> None:
        weights = prior[0, gen] * result.push[0]
        for name in observables:
            spectra[name].append(np.histogram(values[name], edges[name], weights=weights)[0].tolist())

    return spectra, fill


def unfold_run(
    run: Run, config: Mapping[str, Any], inputs: Sequence[str], simulation: ak.Array, data: ak.Array, seed: int,
    iterations: int, threads: int,
) -> tuple[dict[str, Floats], dict[str, Any]]:  # fmt: skip
    """Return the weights of each variation of a run, and its diagnostics."""
    method = config["method"]
    events = Events(
        column(simulation, "pass_gen"), column(simulation, f"pass_reco{run.shift}"), column(simulation, "background"),
        run.prior, run.data,
    )  # fmt: skip
    # variations start from the same networks as the nominal unfolding, so that they show what is varied and not the
    # scatter of trainings; that is what the ensemble is for
    seeds = [derive_seed(seed, name if name.startswith("ensemble_") else "nominal") for name in run.names]
    ratios = make_ratios(method, inputs, simulation, data, run.shift, seeds, threads)
    spectra, fill = binned_history(simulation, run.prior, config["observables"])

    def after(result: Unfolded) -> bool:
        fill(result)
        change = float(np.mean(result.history[-1]["change"]))
        return run.names == ["nominal"] and change < method["tolerance"]

    log.info("unfolding %s: %d simulated, %d data events", ", ".join(run.names), len(simulation), len(data))
    result = unfold(events, ratios, iterations, largest_ratio=method["largest_ratio"], after=after)
    weights = run.prior[:, events.pass_gen] * result.push
    diagnostics = {
        "names": run.names, "iterations": result.history, "calibration": result.calibration, "spectra": spectra,
    }  # fmt: skip
    return dict(zip(run.names, weights, strict=True)), diagnostics


def main(argv: Sequence[str] | None = None) -> None:
    """Unfold one group of variations."""
    parser = make_parser(__doc__)
    parser.add_argument("--simulation", required=True, type=Path, help="simulated events of collect_events")
    parser.add_argument("--data", required=True, type=Path, help="data events of collect_events")
    parser.add_argument("--config", required=True, type=json_argument, help="JSON, see above")
    parser.add_argument("--group", required=True, choices=GROUPS)
    parser.add_argument("--nominal", type=Path, help="diagnostics of the nominal group: its number of iterations")
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--weights", required=True, type=Path, help="weights to write (Parquet)")
    parser.add_argument("--diagnostics", required=True, type=Path, help="diagnostics to write (JSON)")
    args = parser.parse_args(argv)
    start_log("torch", "xgboost", "awkward", "numpy", seed=args.seed)
    torch.set_num_threads(args.threads)
    # the same numbers whatever the machine does beside
    torch.use_deterministic_algorithms(True)
    config, method = args.config, args.config["method"]
    simulation, data = read_events(args.simulation, method), read_events(args.data, method)
    data = data[data["pass_reco"]]
    iterations = method["iterations"]
    if args.nominal:
        # all variations take as many iterations as the nominal unfolding
        iterations = len(read_json(args.nominal)["runs"][0]["iterations"])
    observables = list(method.get("observables", config["observables"]))
    # UniFold is one unfolding an observable
    tasks = {f"{name}.": [name] for name in observables} if method["family"] == "unifold" else {"": observables}
    weights: dict[str, Floats] = {}
    runs = []
    for prefix, inputs in tasks.items():
        for run in make_runs(args.group, config, simulation, data):
            made, diagnostics = unfold_run(
                run, config, inputs, simulation, data, derive_seed(args.seed, prefix), iterations, args.threads
            )
            weights |= {f"{prefix}weight_{name}": values for name, values in made.items()}
            runs.append({"inputs": inputs} | diagnostics)
    write_parquet(args.weights, weights)
    write_json(args.diagnostics, {"group": args.group, "runs": runs})


if __name__ == "__main__":
    run_main(main)
