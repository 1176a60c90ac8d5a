"""Spectrum of any observable with full uncertainties, from a published data set alone.

    python -m lhcml.unfolding.histogram_observable --dataset results/unfolding/multifold/dataset
        --observable "jet_mass / jet_pt" --bins 20 0 0.3 --cut "jet_pt > 200" --json ratio.json --plot ratio.png

Expressions: columns, numbers, pi, + - * / ** %, comparisons, and, or, not, and the functions sqrt, log, log10, exp,
abs, cos, sin, cosh, sinh, hypot, arctan2, minimum, maximum, where. For anything else, constituents too, use
`lhcml.unfolding.dataset` from Python.
"""

from __future__ import annotations

import csv
import io
import re
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import write_json, write_text
from lhcml.unfolding.dataset import EVENTS, Dataset, read_dataset, spectrum
from lhcml.unfolding.expressions import columns_of, evaluate
from lhcml.unfolding.hepdata import write_submission
from lhcml.unfolding.uncertainties import Spectrum


def compute(dataset: Dataset, text: str) -> NDArray[Any]:
    """Return an expression of observables for every event, reading only the columns that it uses."""
    return evaluate(text, {name: dataset.column(name) for name in columns_of(text, dataset.observables)})


def cut_events(dataset: Dataset, text: str | None) -> NDArray[np.bool_] | None:
    """Return which events pass a cut, None without one.

    Raises
    ------
    UserError
        If the expression is no condition, or no event passes.
    """
    if text is None:
        return None
    keep = compute(dataset, text)
    if keep.dtype != bool:
        raise UserError(f"--cut {text!r} is a number, not a condition", 'compare it, e.g. "jet_pt > 200"')
    if not keep.any():
        raise UserError(f"no event passes --cut {text!r}", "loosen it")
    return keep


def tabulate(result: Spectrum) -> dict[str, list[float]]:
    """Return the columns of the table: a row a bin, uncertainties by source, signed changes of systematic sources."""
    columns = {"low": result.edges[:-1], "high": result.edges[1:], "value": result.nominal, "total": result.uncertainty}
    columns |= {source: result.uncertainty_of(source) for source in result.covariances}
    for source, shifts in result.shifts.items():
        columns |= {f"{source}_{side}": values for side, values in shifts.items()}
    columns |= {"simulation": result.prior, "effective_events": result.effective_events}
    return {name: values.tolist() for name, values in columns.items()}


def format_table(result: Spectrum) -> str:
    """Return the spectrum as text: value and uncertainties, these in percent."""
    sources = list(result.covariances)
    short = [source.replace("statistical_", "stat ").replace("simulation", "sim")[:10] for source in sources]
    header = ("low", "high", "value", "total %", *(f"{name} %" for name in short))
    lines = ["  ".join(f"{name:>12}" for name in header)]
    for number, value in enumerate(result.nominal):
        spreads = [result.uncertainty, *(result.uncertainty_of(source) for source in sources)]
        percent = [f"{100 * spread[number] / abs(value):>12.2f}" if value else f"{'-':>12}" for spread in spreads]
        start = (result.edges[number], result.edges[number + 1], value)
        lines.append("  ".join([*(f"{part:>12.5g}" for part in start), *percent]))
    return "\n".join(lines)


def describe(result: Spectrum, dataset: Dataset, args: Namespace) -> dict[str, Any]:
    """Return the content of the JSON file."""
    rank = int(np.linalg.matrix_rank(result.covariance, hermitian=True))
    return {
        "name": args.name, "label": args.label, "unit": args.unit, "expression": args.observable, "cut": args.cut,
        "density": args.density, "edges": result.edges.tolist(), "nominal": result.nominal.tolist(),
        "uncertainty": result.uncertainty.tolist(),
        "uncertainties": {name: result.uncertainty_of(name).tolist() for name in result.covariances},
        "systematics": {
            name: {side: values.tolist() for side, values in shifts.items()} for name, shifts in result.shifts.items()
        },
        "covariance": result.covariance.tolist(),
        "covariances": {name: matrix.tolist() for name, matrix in result.covariances.items()},
        # below the number of bins: the matrix has no inverse
        "covariance_rank": rank,
        "simulation": result.prior.tolist(), "effective_events": result.effective_events.tolist(),
        "underflow": result.underflow, "overflow": result.overflow,
        "factor_to_pb": dataset.manifest["weights"]["factor_to_pb"],
        "dataset": {
            "title": dataset.manifest["title"], "method": dataset.manifest["method"]["name"],
            "sha256": dataset.manifest["events"]["files"][EVENTS]["sha256"],
        },
    }  # fmt: skip


def write_csv(path: Path, result: Spectrum) -> None:
    """Write the table of a spectrum as CSV."""
    columns = tabulate(result)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    write_text(path, text.getvalue())


def draw(path: Path, result: Spectrum, dataset: Dataset, args: Namespace) -> None:
    """Write the figure of a spectrum."""
    from lhcml.common.style import save_figure
    from lhcml.unfolding.plot_observable import plot_observable

    manifest = dataset.manifest
    per = args.unit or "unit"
    title = f"{args.label} [{args.unit}]" if args.unit and "[" not in args.label else args.label
    luminosity = manifest["weights"]["luminosity_fb"]
    right = manifest["label"] if luminosity is None else f"{luminosity:g} fb$^{{-1}}$, {manifest['label']}"
    labels = {
        "observable": title, "cut": args.cut or "", "method": manifest["method"]["label"], "right": right,
        "kind": "Simulation" if manifest["data"]["kind"] == "pseudo-data" else "Data",
        "value": f"Density [1 / {per}]" if args.density else f"Events / {per}",
    }  # fmt: skip
    save_figure(plot_observable(result, labels), path)


def write_tables(folder: Path, result: Spectrum, dataset: Dataset, args: Namespace) -> None:
    """Write the spectrum as a HEPData submission of its own."""
    definition = args.observable + (f", where {args.cut}" if args.cut else "")
    entry = {"label": args.label, "unit": args.unit, "definition": definition, "source": "", "list": False}
    cuts = [{"observable": "", "min": None, "max": None, "words": args.cut}] if args.cut else []
    manifest = dataset.manifest
    described = {"observables": {args.name: entry}, "fiducial": [*manifest["fiducial"], *cuts]}
    write_submission(folder, manifest | described, {args.name: result})


def main(argv: Sequence[str] | None = None) -> None:
    """Histogram one observable."""
    parser = make_parser(__doc__)
    parser.add_argument("--dataset", required=True, type=Path, help="folder of a published data set")
    parser.add_argument("--observable", required=True, help="expression of columns")
    binning = parser.add_mutually_exclusive_group(required=True)
    binning.add_argument("--bins", nargs=3, type=float, metavar=("COUNT", "LOW", "HIGH"), help="bins of equal width")
    binning.add_argument("--edges", nargs="+", type=float, help="bin edges")
    parser.add_argument("--cut", help="condition on columns")
    parser.add_argument("--name", help="name of files and tables (default: from the expression)")
    parser.add_argument("--label", help="axis title (default: that of the column, or the expression)")
    parser.add_argument("--unit", help="unit (default: that of the column, or none)")
    parser.add_argument("--density", action="store_true", help="normalise to unit area in range")
    parser.add_argument("--json", type=Path, help="write all numbers, covariance matrices too")
    parser.add_argument("--csv", type=Path, help="write the table")
    parser.add_argument("--plot", type=Path, help="write the figure, PNG and PDF")
    parser.add_argument("--hepdata", type=Path, help="folder to write a HEPData submission to")
    args = parser.parse_args(argv)
    log = start_log("numpy", "pyarrow")
    dataset = read_dataset(args.dataset)
    known = dataset.manifest["observables"].get(args.observable.strip(), {})
    args.name = args.name or re.sub(r"\W+", "_", args.observable).strip("_")
    args.label = known.get("label", args.observable) if args.label is None else args.label
    args.unit = known.get("unit", "") if args.unit is None else args.unit
    if not re.fullmatch(r"\w+", args.name):
        raise UserError(f"--name {args.name!r} is no file name", "use letters, digits and _")
    if args.bins and (args.bins[0] < 1 or args.bins[0] % 1):
        raise UserError(f"--bins: {args.bins[0]:g} is no number of bins", "give COUNT LOW HIGH, e.g. 20 0 0.3")
    edges = np.linspace(args.bins[1], args.bins[2], int(args.bins[0]) + 1) if args.bins else np.array(args.edges)
    keep = cut_events(dataset, args.cut)
    result = spectrum(dataset, compute(dataset, args.observable), edges, keep, args.density)
    print(format_table(result))
    outside = f"underflow {result.underflow:.5g}, overflow {result.overflow:.5g} events"
    rank = int(np.linalg.matrix_rank(result.covariance, hermitian=True))
    log.info("%s; covariance of rank %d for %d bins", outside, rank, len(result.nominal))
    if args.json:
        write_json(args.json, describe(result, dataset, args))
    if args.csv:
        write_csv(args.csv, result)
    if args.plot:
        draw(args.plot, result, dataset, args)
    if args.hepdata:
        write_tables(args.hepdata, result, dataset, args)


if __name__ == "__main__":
    run_main(main)
