"""Compare the spectra of all unfolding methods with the truth, beside published results: JSON, CSV and LaTeX.

A row a method and observable:

  triangular_e3    triangular discriminator between unfolded and true density, in units of 1e-3, and `_std`: its
                   standard deviation over the bootstraps of data and simulation and the ensemble, in quadrature.
                   Each replica carries the statistical noise twice, once its own and once that of the resampling
  floor_e3         its mean for two independent samples of one density with as many events as truth and simulation have;
                   a method that follows the fluctuations of the data, whose own truth this is, can be below
  prior_e3         the same before unfolding
  wasserstein      first Wasserstein distance, in units of the observable, and `_std`
  chi2, degrees, p_value   of unfolded minus truth with all uncertainties (bootstraps, ensemble, systematics), in bins
                   merged to as many as the replicas can tell the covariance of, a third of their number
  coverage         share of bins whose truth is within one standard deviation
  bottom_line      what the data say of the simulation before and after unfolding, with their uncertainty alone: after
                   should not exceed before
  published        the number of a paper, on other events, and whether it was `verified` against the paper's text

Collision data have no truth: there chi2 compares with the simulation, and the distances are null. Configuration:

  root_seed     seed of the run, from which the bootstrap weights are made
  systematics   `unfolding.systematics`
  methods       method -> {published}, the latter optional
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.cli import Progress, json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_json, write_text
from lhcml.unfolding.comparison import Reference, agreement, bottom_line, distances, make_reference
from lhcml.unfolding.comparison_tables import as_csv, as_latex
from lhcml.unfolding.published import published_value
from lhcml.unfolding.unfold_binned import Sample

NO_DISTANCES = dict.fromkeys(
    ("triangular_e3", "triangular_e3_std", "floor_e3", "prior_e3", "wasserstein", "wasserstein_std")
)


def describe(
    spectra: Mapping[str, Any],
    name: str,
    reference: Reference,
    config: Mapping[str, Any],
    published: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the row of a method and observable.

    Parameters
    ----------
    spectra : mapping
        Content of the method's spectra.json.
    name : str
        Observable.
    reference : Reference
        What its spectra are compared with.
    config, published : mapping
        Configuration, see the module's docstring, and content of published.json.
    """
    block = spectra["observables"][name]
    systematics = config["systematics"]
    row = config["methods"].get(spectra["method"], {}).get("published")
    return {
        **{key: spectra[key] for key in ("method", "label", "family")},
        "observable": name,
        "observable_label": block["label"],
        **(NO_DISTANCES if block["truth"] is None else distances(name, block, reference)),
        **agreement(block, reference, systematics),
        "bottom_line": bottom_line(block, reference),
        "published": published_value(row, name, published),
    }


def check_bins(methods: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Return the bin edges of each observable.

    Raises
    ------
    UserError
        If methods differ in them.
    """
    edges: dict[str, list[float]] = {}
    for spectra in methods:
        for name, block in spectra["observables"].items():
            if edges.setdefault(name, block["edges"]) != block["edges"]:
                raise UserError(
                    f"the bins of {name} of {spectra['method']} are not those of the other methods",
                    "make all spectra with one configuration",
                )
    return edges


def compare(
    methods: Sequence[Mapping[str, Any]],
    simulation: Path,
    data: Path,
    config: Mapping[str, Any],
    published: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Return the rows of all methods and observables, observable by observable."""
    edges = check_bins(methods)
    number = {
        kind: max(len(block[f"bootstrap_{kind}"]) for spectra in methods for block in spectra["observables"].values())
        for kind in ("data", "simulation")
    }
    seed = config["root_seed"]
    simulated = Sample(simulation, "simulation", number["simulation"], seed)
    measured = Sample(data, "data", number["data"], seed)
    progress = Progress(len(edges), "observables")
    rows = []
    for name, bins in edges.items():
        reference = make_reference(simulated, measured, name, np.array(bins))
        rows += [
            describe(spectra, name, reference, config, published)
            for spectra in methods
            if name in spectra["observables"]
        ]
        progress.add(1)
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Read the spectra of all methods, write the tables."""
    parser = make_parser(__doc__)
    parser.add_argument("--spectra", nargs="+", type=Path, required=True, help="spectra.json of each method")
    parser.add_argument("--simulation", type=Path, required=True, help="simulation.parquet of collect_events")
    parser.add_argument("--data", type=Path, required=True, help="data.parquet of collect_events")
    parser.add_argument("--published", type=Path, required=True, help="published numbers, JSON")
    parser.add_argument("--config", type=json_argument, required=True, help="JSON, see above")
    parser.add_argument("--json", type=Path, required=True, help="table to write, JSON")
    parser.add_argument("--csv", type=Path, required=True, help="table to write, CSV")
    parser.add_argument("--tex", type=Path, required=True, help="table to write, LaTeX")
    args = parser.parse_args(argv)
    start_log("numpy", "scipy", "awkward", "pyarrow", seed=args.config["root_seed"])
    methods = [read_json(path) for path in args.spectra]
    rows = compare(methods, args.simulation, args.data, args.config, read_json(args.published))
    write_json(args.json, {"rows": rows})
    write_text(args.csv, as_csv(rows))
    write_text(args.tex, as_latex(rows))


if __name__ == "__main__":
    run_main(main)
