"""Histogram the weights of an unbinned method in the configured observables: spectra.json, as of the binned methods.

Reads the files of weights that the data set is published from, so that it serves methods without a data set too: those
that unfold one observable at a time have columns `<observable>.weight_*`. Configuration: `method`, `label`, `family`,
`observables`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lhcml.common.cli import Progress, json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import parquet_columns, read_parquet, require_finite, write_json
from lhcml.unfolding.dataset import read_column
from lhcml.unfolding.definitions import bin_edges
from lhcml.unfolding.uncertainties import NOMINAL, Array, Binning, fill, make_binning

GROUPS = {
    "ensemble": "weight_ensemble_",
    "bootstrap_data": "weight_bootstrap_data_",
    "bootstrap_simulation": "weight_bootstrap_simulation_",
}


def read_level(path: Path, name: str) -> Any:
    """Return a column of the events that pass at particle level, shape (events,).

    Raises
    ------
    UserError
        If it is missing or holds NaN or infinity.
    """
    import awkward as ak

    events = read_parquet(path, ["pass_gen", name])
    values = ak.to_numpy(events[name], allow_missing=False)[ak.to_numpy(events["pass_gen"], allow_missing=False)]
    require_finite(f"column {name}", values, str(path))
    return values


def find_columns(weights: Sequence[Path], observables: Sequence[str]) -> dict[str, list[tuple[Path, str, list[str]]]]:
    """Return where each weight is: by its name (`weight_...`), file, column and the observables that it is for.

    A column `<observable>.weight_...` is for that observable, any other for all.
    """
    found: dict[str, list[tuple[Path, str, list[str]]]] = {}
    for path in weights:
        for column in parquet_columns(path):
            owner, _, name = column.rpartition(".")
            if name.startswith("weight_") and (not owner or owner in observables):
                found.setdefault(name, []).append((path, column, [owner] if owner else list(observables)))
    return found


def fill_observables(weights: Sequence[Path], binnings: Mapping[str, Binning]) -> dict[str, dict[str, Array]]:
    """Return the histograms of all weights by observable and name, in range only, shape (K,).

    Raises
    ------
    UserError
        If a file has not a row for each event of particle level, a weight is NaN or infinite, an observable has a
        weight twice or no nominal weight.
    """
    rows = len(next(iter(binnings.values())).index)
    columns = find_columns(weights, list(binnings))
    progress = Progress(len(columns), "weights")
    filled: dict[str, dict[str, Array]] = {name: {} for name in binnings}
    for weight, places in columns.items():
        for path, column, owners in places:
            # not with awkward, which takes a dot in a name for a nested record
            values = read_column(path, column).astype(float)
            if len(values) != rows:
                raise UserError(
                    f"{path} has {len(values)} rows for {rows} events that pass at particle level",
                    "give the simulation and the weights of the same run of the workflow",
                )
            require_finite(f"column {column}", values, str(path))
            for name, sums in fill([(weight, values)], {name: binnings[name] for name in owners}).items():
                if weight in filled[name]:
                    raise UserError(f"{weight} of {name} is there twice, again in {path}", "give each file once")
                filled[name][weight] = sums[weight][1:-1]
        progress.add(1)
    for name, sums in filled.items():
        if NOMINAL not in sums:
            raise UserError(
                f"no {NOMINAL} for {name} in {', '.join(map(str, weights))}", "give the nominal weights too"
            )
    return filled


def numbered(sums: Mapping[str, Array], prefix: str) -> Iterator[Array]:
    """Yield the histograms `<prefix>0`, `<prefix>1`, ... in the order of their numbers."""
    found = {int(name.removeprefix(prefix)): values for name, values in sums.items() if name.startswith(prefix)}
    for number in sorted(found):
        yield found[number]


def describe_spectrum(sums: Mapping[str, Array]) -> dict[str, Any]:
    """Return nominal, replicas and systematic variations of one observable as lists."""
    groups = {group: [values.tolist() for values in numbered(sums, prefix)] for group, prefix in GROUPS.items()}
    systematics = {
        name.removeprefix("weight_"): values.tolist()
        for name, values in sums.items()
        if name != NOMINAL and not name.startswith(tuple(GROUPS.values()))
    }
    return {"nominal": sums[NOMINAL].tolist(), **groups, "systematics": systematics}


def tabulate(weights: Sequence[Path], simulation: Path, data: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of spectra.json.

    Parameters
    ----------
    weights : sequence of Path
        Files of weights.
    simulation, data : Path
        Events; the data have the truth if they hold columns of particle level.
    config : mapping
        As the module's docstring says.
    """
    blocks = config["observables"]
    binnings = {
        name: make_binning(read_level(simulation, f"gen_{name}"), bin_edges(block)) for name, block in blocks.items()
    }
    filled = fill_observables(weights, binnings)
    prior = fill([(NOMINAL, read_level(simulation, NOMINAL))], binnings)
    known = {"pass_gen", *(f"gen_{name}" for name in blocks)} <= set(parquet_columns(data))
    true_weight = read_level(data, NOMINAL) if known else None
    observables = {}
    for name, block in blocks.items():
        truth = variance = None
        if true_weight is not None:
            binning = make_binning(read_level(data, f"gen_{name}"), binnings[name].edges)
            sums = fill([("truth", true_weight), ("variance", true_weight**2)], {"": binning})[""]
            truth, variance = sums["truth"][1:-1].tolist(), sums["variance"][1:-1].tolist()
        observables[name] = {
            "label": block.get("label", name),
            "edges": binnings[name].edges.tolist(),
            **describe_spectrum(filled[name]),
            "truth": truth,
            "truth_variance": variance,
            "prior": prior[name][NOMINAL][1:-1].tolist(),
        }
    return {key: config[key] for key in ("method", "label", "family")} | {"observables": observables}


def main(argv: Sequence[str] | None = None) -> None:
    """Write the spectra of one unbinned method."""
    parser = make_parser(__doc__)
    parser.add_argument("--weights", required=True, type=Path, nargs="+", help="files of weights of unfold_events")
    parser.add_argument("--simulation", required=True, type=Path, help="simulation.parquet of collect_events")
    parser.add_argument("--data", required=True, type=Path, help="data.parquet of collect_events")
    parser.add_argument("--config", required=True, type=json_argument, help="JSON, see above")
    parser.add_argument("--output", required=True, type=Path, help="spectra.json to write")
    args = parser.parse_args(argv)
    start_log("numpy", "awkward", "pyarrow")
    write_json(args.output, tabulate(args.weights, args.simulation, args.data, args.config))


if __name__ == "__main__":
    run_main(main)
