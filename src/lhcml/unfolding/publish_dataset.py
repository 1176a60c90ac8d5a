"""Publish an unfolded data set: events with weights (Parquet, HDF5), manifest, README and HEPData tables.

A row a simulated event that passes the fiducial cuts, with every particle-level observable and all weights. Keys of the
configuration, optional unless marked with *:

  title*, channel*, label      what the manifest shows; label is the energy or era
  method*, settings*           name and block of the method; `family`, `label`, `iterations` in it
  averaged                     members of the ensemble averaged in the nominal weight; default: all, if the nominal
                               weight is their mean, else 1
  observables, fiducial, selection, systematics
                               blocks of the section `unfolding` of the configuration
  objects                      definitions of jets and leptons, by name
  simulation, data, background datasets with their settings, by name
  pseudo_data                  true if the data are simulated (default false)
  luminosity                   fb^-1; default that of normalisation.json
  constituents                 true to publish constituents too (default false)
  seed                         root seed
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.cli import Progress, git_hash, json_argument, make_parser, package_version, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import parquet_columns, read_json, require_finite, write_atomic, write_json, write_text
from lhcml.common.identity import EVENT_IDENTITY
from lhcml.unfolding.dataset import EVENTS, MANIFEST, Dataset, file_sha256, read_column, spectra
from lhcml.unfolding.definitions import describe_cuts, describe_observable
from lhcml.unfolding.hepdata import write_submission
from lhcml.unfolding.manifest import (
    FORMAT,
    ROWS,
    VERSION,
    WEIGHTS,
    build_recipe,
    make_example,
    validate_manifest,
)
from lhcml.unfolding.readme import make_readme
from lhcml.unfolding.uncertainties import GENERATOR, NOMINAL, Spectrum, make_binning

# rows in memory at a time, and in a row group
PART_ROWS = 100_000
PACKAGES = ("numpy", "pyarrow", "h5py", "jsonschema", "pyyaml")
DATASETS_FIX = "give the simulation and the weights of the same run of the workflow"


def read_parts(path: Path, columns: Sequence[str], where: str | None = None) -> Iterator[Any]:
    """Yield Arrow tables of `PART_ROWS` rows, the last of fewer, of the rows where a boolean column is true."""
    import pyarrow
    import pyarrow.parquet

    held = None
    wanted = list(dict.fromkeys([*columns, *([where] if where else [])]))
    for batch in pyarrow.parquet.ParquetFile(path).iter_batches(PART_ROWS, columns=wanted, use_threads=False):
        table = pyarrow.Table.from_batches([batch])
        table = (table.filter(table[where]) if where else table).select(columns)
        held = table if held is None else pyarrow.concat_tables([held, table])
        while held.num_rows >= PART_ROWS:
            yield held.slice(0, PART_ROWS)
            held = held.slice(PART_ROWS)
    if held is not None and held.num_rows:
        yield held


def choose_columns(simulation: Path, constituents: bool) -> dict[str, str]:
    """Return the particle-level columns of the simulation by their name in the data set.

    Raises
    ------
    UserError
        If the file lacks keys, level, weight or any observable of particle level.
    """
    present = parquet_columns(simulation)
    if missing := [name for name in (*EVENT_IDENTITY, NOMINAL, "pass_gen") if name not in present]:
        raise UserError(f"{simulation} has no column {', '.join(missing)}", "give the file of rule collect_events")
    chosen = {name[4:]: name for name in present if name.startswith("gen_")}
    chosen = {new: old for new, old in chosen.items() if constituents or not new.startswith("part_")}
    if not chosen:
        raise UserError(f"{simulation} has no observables of particle level (gen_*)", "list observables to collect")
    return chosen


def write_events(path: Path, simulation: Path, weights: Sequence[Path], observables: Mapping[str, str]) -> int:
    """Write the events of the data set to Parquet, part by part; return their number.

    Raises
    ------
    UserError
        If files differ in their events, a weight column is there twice or not at all, or a value is NaN or infinite.
    """
    import awkward as ak
    import pyarrow
    import pyarrow.parquet

    columns = {path: [name for name in parquet_columns(path) if name.startswith("weight_")] for path in weights}
    # a group without variations is a file without columns
    columns = {path: found for path, found in columns.items() if found}
    names = [name for found in columns.values() for name in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"weight columns {', '.join(twice)} are in two files", "give each file of weights once")
    if NOMINAL not in names:
        raise UserError(
            f"no column {NOMINAL} in {', '.join(map(str, weights))}", "give the file of nominal weights too"
        )
    rows = read_column(simulation, "pass_gen").sum()
    if rows == 0:
        raise UserError(f"no event of {simulation} passes the fiducial cuts", "make more events or loosen `fiducial`")
    for file in columns:
        found = pyarrow.parquet.read_metadata(file).num_rows
        if found != rows:
            raise UserError(f"{file} has {found} rows for {rows} events that pass at particle level", DATASETS_FIX)
    sources = [read_parts(simulation, [*EVENT_IDENTITY, *observables.values(), NOMINAL], "pass_gen")]
    sources += [read_parts(file, found) for file, found in columns.items()]
    progress = Progress(int(rows), "events")
    with write_atomic(path) as temporary:
        writer = None
        for first, *others in zip(*sources, strict=True):
            part = first.rename_columns([*EVENT_IDENTITY, *observables, GENERATOR])
            for table in others:
                for name in table.column_names:
                    part = part.append_column(name, table[name].cast(pyarrow.float64()))
            for name in part.column_names:
                require_finite(f"column {name}", ak.from_arrow(part[name]), f"{simulation} or {weights[0].parent}")
            # floats without dictionaries and with their bytes sorted: a quarter smaller
            floats = [field.name for field in part.schema if pyarrow.types.is_floating(field.type)]
            writer = writer or pyarrow.parquet.ParquetWriter(
                temporary, part.schema, compression="zstd", use_dictionary=False, use_byte_stream_split=floats
            )
            writer.write_table(part, row_group_size=PART_ROWS)
            progress.add(part.num_rows)
        if writer is not None:
            writer.close()
    return int(rows)


def write_hdf5(path: Path, dataset: Dataset) -> None:
    """Write the columns of a data set to HDF5, a dataset each with unit and description as attributes.

    Lists become one flat array each, with `part_offsets` of shape (events + 1,): the constituents of event i are those
    from offset i to offset i + 1.
    """
    import awkward as ak
    import h5py  # type: ignore[import-not-found,import-untyped,unused-ignore]

    described = dataset.manifest["observables"]
    with write_atomic(path) as temporary, h5py.File(temporary, "w") as file:
        for name in parquet_columns(dataset.events):
            values = dataset.column(name)
            if name in described and described[name]["list"]:
                if "part_offsets" not in file:
                    offsets = np.concatenate([[0], np.cumsum(ak.to_numpy(ak.num(values)))])
                    file.create_dataset("part_offsets", data=offsets, compression="gzip", shuffle=True)
                values = ak.to_numpy(ak.flatten(values))
            stored = file.create_dataset(name, data=values, compression="gzip", compression_opts=4, shuffle=True)
            unit, text = "", "identity of the event"
            if name in described:
                unit, text = described[name]["unit"], described[name]["definition"]
            elif name.startswith("weight_"):
                unit, text = "events", "weight; see uncertainties in manifest.json"
            stored.attrs["units"], stored.attrs["description"] = unit, text
        file.attrs["title"] = dataset.manifest["title"]
        file.attrs["description"] = dataset.manifest["events"]["meaning"]


def measured(result: Spectrum, factor: float = 1.0) -> dict[str, Any]:
    """Return the sum over the only bin of a spectrum, with its uncertainties, times a factor."""
    sources = {name: float(factor * result.uncertainty_of(name)[0]) for name in result.covariances}
    return {
        "value": float(factor * result.nominal[0]),
        "uncertainty": float(factor * result.uncertainty[0]),
        "uncertainties": sources,
    }


def judge_weights(dataset: Dataset) -> dict[str, Any]:
    """Return effective sample sizes, (sum w)^2 / sum w^2, and largest weights: the block `quality`."""
    nominal, prior = dataset.column(NOMINAL), dataset.column(GENERATOR)
    absolute = np.abs(nominal)
    if not absolute.sum() > 0 or not np.abs(prior).sum() > 0:
        raise UserError(f"all weights of {dataset.events} are 0", "look at the log of the unfolding")
    push = np.divide(absolute, np.abs(prior), out=np.zeros_like(nominal), where=prior != 0)
    return {
        "effective_events": {
            "nominal": float(nominal.sum() ** 2 / (nominal**2).sum()),
            "prior": float(prior.sum() ** 2 / (prior**2).sum()),
        },
        "largest_weight_share": float(absolute.max() / absolute.sum()),
        "largest_push": float(push.max()),
        "negative_share": float(absolute[nominal < 0].sum() / absolute.sum()),
    }


def count_averaged(dataset: Dataset, members: Sequence[str]) -> int:
    """Return how many members of the ensemble the nominal weight is the mean of: all of them, or 1 if it is not."""
    if not members:
        return 1
    mean = sum(dataset.column(name) for name in members) / len(members)
    return len(members) if np.allclose(mean, dataset.column(NOMINAL), rtol=1e-6, atol=0) else 1


def build_manifest(
    config: Mapping[str, Any], normalisation: Mapping[str, Any], events: Path, rows: int, iterations: int | None
) -> dict[str, Any]:
    """Return the manifest without checksums, from configuration, normalisation and the events written.

    Parameters
    ----------
    config : mapping
        As the module's docstring says.
    normalisation : mapping
        Content of normalisation.json; its `luminosity` (fb^-1) is used, the rest is repeated.
    events : Path
        Parquet file of the data set.
    rows : int
        Number of its events.
    iterations : int or None
        Iterations that the nominal unfolding took.
    """
    settings, configured = config["settings"], config.get("observables", {})
    columns = parquet_columns(events)
    names = [name for name in columns if name not in EVENT_IDENTITY and not name.startswith("weight_")]
    observables = {
        name: describe_observable(name, configured.get(name, {}), name.startswith("part_")) for name in names
    }
    luminosity = config.get("luminosity", normalisation.get("luminosity"))
    factor = None if luminosity is None else 1 / (1000 * luminosity)
    weight_columns = [name for name in columns if name.startswith("weight_") and name != GENERATOR]
    manifest: dict[str, Any] = {
        "format": FORMAT, "format_version": VERSION, "title": config["title"], "channel": config["channel"],
        "label": config.get("label", ""),
        "method": {
            "name": config["method"], "family": settings.get("family", config["method"]),
            "label": settings.get("label", config["method"]),
            "iterations": iterations, "settings": settings,
        },
        "events": {"rows": rows, "meaning": ROWS, "files": {}},
        "weights": {
            "meaning": WEIGHTS, "unit": "events", "nominal": NOMINAL, "prior": GENERATOR, "luminosity_fb": luminosity,
            "factor_to_pb": factor,
        },
        "uncertainties": {},
        "fiducial": describe_cuts(config.get("fiducial", {}), observables),
        "selection": describe_cuts(config.get("selection", {}), observables),
        "objects": config.get("objects", {}), "observables": observables,
        "simulation": config.get("simulation", {}),
        "data": {
            "kind": "pseudo-data" if config.get("pseudo_data", False) else "collision data",
            "datasets": config.get("data", {}),
        },
        "background": config.get("background", {}), "normalisation": normalisation,
        "example": make_example({name: entry for name, entry in observables.items() if not entry["list"]}),
        "provenance": {
            "git": git_hash(), "seed": config.get("seed"),
            "versions": {"python": platform.python_version()} | {name: package_version(name) for name in PACKAGES},
        },
    }  # fmt: skip
    dataset = Dataset(events, manifest)
    members = [name for name in weight_columns if name.startswith("weight_ensemble_")]
    averaged = config.get("averaged") or count_averaged(dataset, members)
    manifest["uncertainties"] = build_recipe(weight_columns, config.get("systematics", {}), averaged)
    total = spectra(dataset, {"": make_binning(np.zeros(rows), [-1.0, 1.0])})[""]
    manifest["total"] = {
        "events": measured(total),
        "cross_section_pb": None if factor is None else measured(total, factor),
        "prior_events": float(total.prior[0]),
    }
    manifest["quality"] = judge_weights(dataset)
    return manifest


def main(argv: Sequence[str] | None = None) -> None:
    """Publish the data set of one method."""
    parser = make_parser(__doc__)
    parser.add_argument("--simulation", required=True, type=Path, help="simulation.parquet of collect_events")
    parser.add_argument("--weights", required=True, type=Path, nargs="+", help="files of weights of unfold_events")
    parser.add_argument("--normalisation", required=True, type=Path, help="normalisation.json of collect_events")
    parser.add_argument("--diagnostics", type=Path, help="diagnostics of the nominal group: its number of iterations")
    parser.add_argument("--config", required=True, type=json_argument, help="JSON, see above")
    parser.add_argument("--parquet", required=True, type=Path, help=f"{EVENTS} to write")
    parser.add_argument("--hdf5", required=True, type=Path, help="events.h5 to write, in the same folder")
    parser.add_argument("--manifest", required=True, type=Path, help=f"{MANIFEST} to write, in the same folder")
    parser.add_argument("--readme", required=True, type=Path, help="README.md to write")
    parser.add_argument("--hepdata", type=Path, help="folder to write HEPData tables of the binned observables to")
    args = parser.parse_args(argv)
    log = start_log(*PACKAGES, seed=args.config.get("seed"))
    if args.parquet.name != EVENTS or args.manifest.name != MANIFEST or args.manifest.parent != args.parquet.parent:
        raise UserError(
            f"{args.parquet} and {args.manifest} would not be read back",
            f"name them {EVENTS} and {MANIFEST}, in one folder",
        )
    observables = choose_columns(args.simulation, args.config.get("constituents", False))
    rows = write_events(args.parquet, args.simulation, args.weights, observables)
    iterations = args.config["settings"].get("iterations")
    if args.diagnostics:
        iterations = len(read_json(args.diagnostics)["runs"][0]["iterations"])
    manifest = build_manifest(args.config, read_json(args.normalisation), args.parquet, rows, iterations)
    dataset = Dataset(args.parquet, manifest)
    log.info("writing %s", args.hdf5)
    write_hdf5(args.hdf5, dataset)
    for path in (args.parquet, args.hdf5):
        manifest["events"]["files"][path.name] = {"sha256": file_sha256(path), "bytes": path.stat().st_size}
    validate_manifest(manifest, str(args.manifest))
    if args.hepdata:
        binned = {name: entry["edges"] for name, entry in manifest["observables"].items() if "edges" in entry}
        results = spectra(dataset, {name: make_binning(dataset.column(name), edges) for name, edges in binned.items()})
        write_submission(args.hepdata, manifest, results)
    write_text(args.readme, make_readme(manifest))
    write_json(args.manifest, manifest)
    log.info("%d events, %d weight columns; in all %.6g +- %.2g events", rows, len(dataset.weight_columns),
             manifest["total"]["events"]["value"], manifest["total"]["events"]["uncertainty"])  # fmt: skip


if __name__ == "__main__":
    run_main(main)
