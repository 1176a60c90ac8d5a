"""Unfold every observable by itself with a binned reference, with bootstraps and systematic variations.

Families: `ibu` (iterative Bayesian unfolding), `inversion` (regularised matrix inversion), `simulation` (no unfolding:
the particle-level spectra of the simulation, what any method starts from). Events, bins, bootstrap weights and
variations are those of the unbinned methods. The strength of the regularisation is chosen once, on the nominal data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lhcml.common.cli import Progress, json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import parquet_columns, read_parquet, require_finite, write_json
from lhcml.common.identity import EVENT_IDENTITY
from lhcml.unfolding.binned import (
    Array,
    Response,
    choose_tau,
    fill_response,
    find_bins,
    response_cells,
    unfold_bayes,
    unfold_inversion,
)
from lhcml.unfolding.bootstrap import poisson_weights
from lhcml.unfolding.definitions import bin_edges, variation_names

ITERATIONS = 4
# (data, response) -> unfolded events per particle bin, with the bins outside of the range
Unfold = Callable[[Array, Response], Array]


@dataclass(frozen=True)
class Sample:
    """Events of a file, with their bootstrap weights.

    Attributes
    ----------
    path : Path
        simulation.parquet or data.parquet.
    kind : "data" or "simulation"
    replicas : int
        Number of bootstrap replicas.
    seed : int
        Root seed.
    """

    path: Path
    kind: Literal["data", "simulation"]
    replicas: int
    seed: int

    @cached_property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return parquet_columns(self.path)

    def read(self, name: str) -> NDArray[Any]:
        """Return a column of numbers.

        Raises
        ------
        UserError
            If it is missing or holds NaN or infinity.
        """
        import awkward as ak

        values = ak.to_numpy(read_parquet(self.path, [name])[name], allow_missing=False)
        require_finite(f"column {name}", values, str(self.path))
        return values

    @cached_property
    def weight(self) -> Array:
        """Nominal weights, shape (events,)."""
        return self.read("weight_nominal").astype(np.float64)

    @cached_property
    def bootstrap(self) -> NDArray[np.uint8]:
        """Bootstrap weights, shape (replicas, events), in the smallest type as they are many."""
        run, block, event = (self.read(name) for name in EVENT_IDENTITY)
        weights = [poisson_weights(self.seed, self.kind, index, run, block, event) for index in range(self.replicas)]
        return np.array(weights, np.uint8).reshape(self.replicas, len(run))


def varied_weight(simulation: Sample, source: str, shift: str) -> Array:
    """Return the weights of the simulated events under a variation.

    Raises
    ------
    UserError
        If the file of the events lacks the column.
    """
    if source == "weights":
        return simulation.read(f"weight_{shift}").astype(np.float64)
    if source == "prior":
        return np.asarray(simulation.weight * simulation.read("prior_ratio"))
    return simulation.weight


def choose_method(
    config: Mapping[str, Any], data: Array, weight: float, response: Response
) -> tuple[Unfold, dict[str, float]]:
    """Return the unfolding of a family with its settings fixed, and those settings for the record.

    Raises
    ------
    UserError
        If the family is not one of the binned ones.
    """
    family = config["family"]
    if family == "ibu":
        iterations = int(config.get("iterations", ITERATIONS))
        return lambda d, r: unfold_bayes(d, r, iterations), {"iterations": iterations}
    if family == "inversion":
        given = config.get("tau")
        tau = choose_tau(data, response, weight) if given is None else float(given)
        return lambda d, r: unfold_inversion(d, r, tau, weight).unfolded, {"tau": tau}
    if family == "simulation":
        return lambda d, r: np.broadcast_to(r.prior, np.broadcast_shapes(d.shape, r.prior.shape)), {}
    raise UserError(f"method {config.get('method')!r} is of family {family!r}", "use ibu, inversion or simulation")


def histogram(found: NDArray[np.intp], weights: Array, bins: int) -> Array:
    """Return weighted counts per bin, outside included; weights of shape (events,) or (replicas, events)."""
    rows = [np.bincount(found, row, bins) for row in np.atleast_2d(weights)]
    return np.array(rows).reshape(*weights.shape[:-1], bins)


def unfold_observable(
    simulation: Sample, data: Sample, name: str, block: Mapping[str, Any], config: Mapping[str, Any]
) -> dict[str, Any]:
    """Unfold one observable.

    Parameters
    ----------
    simulation, data : Sample
    name : str
        Observable.
    block : Mapping
        Its label and bins.
    config : Mapping
        Family, settings and systematics.

    Returns
    -------
    dict
        An observable's part of spectra.json: label, edges, nominal, ensemble (empty), bootstrap_data,
        bootstrap_simulation, systematics, truth, truth_variance, prior, settings; events per bin, in range only.

    Raises
    ------
    UserError
        If no event of the data is reconstructed, or no simulated event has both levels.
    """
    edges = np.array(bin_edges(block))
    bins = len(edges) + 1
    seen = data.read("pass_reco").astype(bool)
    if not seen.any():
        raise UserError(f"no event of {data.path} passes the detector level", "check the selection and the data")
    found, weight = find_bins(data.read(f"reco_{name}")[seen], edges), data.weight[seen]
    measured = histogram(found, weight, bins)

    gen, pass_gen = find_bins(simulation.read(f"gen_{name}"), edges), simulation.read("pass_gen").astype(bool)
    background = simulation.read("background").astype(bool)

    def cells(suffix: str) -> NDArray[np.intp]:
        reco, passes = simulation.read(f"reco_{name}{suffix}"), simulation.read(f"pass_reco{suffix}")
        return response_cells(gen, find_bins(reco, edges), pass_gen, passes, background, bins)

    nominal_cells = cells("")
    response = fill_response(nominal_cells, simulation.weight, bins)
    if not response.migration.any():
        raise UserError(
            f"no event of {simulation.path} passes both levels",
            "check the fiducial cuts, the selection and the datasets",
        )
    unfold, settings = choose_method(config, measured, np.sum(weight**2) / np.sum(weight), response)

    def result(unfolded: Array) -> Any:
        return unfolded[..., 1:-1].tolist()

    systematics = {}
    for source, settings_of in config.get("systematics", {}).items():
        for shift in variation_names(source, settings_of):
            shifted = cells(f"_{shift}") if settings_of["source"] == "features" else nominal_cells
            varied = fill_response(shifted, varied_weight(simulation, settings_of["source"], shift), bins)
            systematics[shift] = result(unfold(measured, varied))
    truth = truth_variance = None
    if f"gen_{name}" in data.columns:
        true = data.read("pass_gen").astype(bool)
        at, own = find_bins(data.read(f"gen_{name}")[true], edges), data.weight[true]
        truth, truth_variance = result(histogram(at, own, bins)), result(histogram(at, own**2, bins))
    return {
        "label": block.get("label", name),
        "edges": edges.tolist(),
        "nominal": result(unfold(measured, response)),
        "ensemble": [],
        "bootstrap_data": [
            result(unfold(histogram(found, factor[seen] * weight, bins), response)) for factor in data.bootstrap
        ],
        "bootstrap_simulation": [
            result(unfold(measured, fill_response(nominal_cells, factor * simulation.weight, bins)))
            for factor in simulation.bootstrap
        ],
        "systematics": systematics,
        "truth": truth,
        "truth_variance": truth_variance,
        "prior": result(response.prior),
        "settings": settings,
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Unfold all observables of one binned method."""
    parser = make_parser(__doc__)
    parser.add_argument("--simulation", required=True, type=Path, help="simulation.parquet")
    parser.add_argument("--data", required=True, type=Path, help="data.parquet")
    parser.add_argument(
        "--config",
        required=True,
        type=json_argument,
        help="method, label, family, its settings (iterations; tau), observables, bootstraps, systematics",
    )
    parser.add_argument("--seed", required=True, type=int, help="root seed of the run, from which bootstraps are made")
    parser.add_argument("--output", required=True, type=Path, help="spectra.json to write")
    args = parser.parse_args(argv)
    log = start_log("numpy", "awkward", "pyarrow", seed=args.seed)
    config = args.config
    replicas = config.get("bootstraps", {})
    simulation = Sample(args.simulation, "simulation", int(replicas.get("simulation", 0)), args.seed)
    data = Sample(args.data, "data", int(replicas.get("data", 0)), args.seed)
    progress = Progress(len(config["observables"]), "observables")
    observables = {}
    for name, block in config["observables"].items():
        observables[name] = unfold_observable(simulation, data, name, block, config)
        progress.add(1)
        log.info("%s: %s", name, observables[name]["settings"])
    write_json(
        args.output,
        {
            "method": config["method"],
            "label": config.get("label", config["method"]),
            "family": config["family"],
            "observables": observables,
        },
    )


if __name__ == "__main__":
    run_main(main)
