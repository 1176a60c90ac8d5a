"""Expected and observed events before and after the fit, per region, sample and bin, with uncertainties.

Uncertainties follow from the derivatives of the expected events, J, as J V J^T: before the fit V is diagonal, with the
widths of the constraints and nothing for free parameters; after the fit V is the covariance of the fit.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_json, write_text
from lhcml.inference.blind import blinded_regions
from lhcml.inference.likelihood import Array, Likelihood
from lhcml.inference.read_workspace import Problem, read_problem


def expected_with_uncertainty(likelihood: Likelihood, values: Array, covariance: Array) -> dict[str, Any]:
    """Return events and uncertainties of each region: per bin and summed, per sample and in total.

    Parameters
    ----------
    values : array of shape (P,)
        Parameters.
    covariance : array of shape (P, P)
        Their covariance.
    """
    cells, slopes = likelihood.cells(values), likelihood.cell_slopes(values)
    regions: dict[str, Any] = {}
    for region, part in likelihood.channels.items():
        blocks = {sample: here for name, sample, here in likelihood.samples if name == region}
        size = part.stop - part.start
        total, total_slope = np.zeros(size), np.zeros((size, len(values)))
        samples = {}
        for sample, here in blocks.items():
            samples[sample] = _with_sum(cells[here], slopes[here], covariance)
            total, total_slope = total + cells[here], total_slope + slopes[here]
        regions[region] = {"samples": samples, "total": _with_sum(total, total_slope, covariance)}
    return regions


def _with_sum(events: Array, slopes: Array, covariance: Array) -> dict[str, Any]:
    """Return events per bin and their sum, with uncertainties."""

    def spread(rows: Array) -> Array:
        return np.sqrt(np.maximum(np.einsum("bp,pq,bq->b", rows, covariance, rows), 0.0))

    return {
        "bins": events.tolist(),
        "bin_uncertainties": spread(slopes).tolist(),
        "sum": float(events.sum()),
        "sum_uncertainty": float(spread(slopes.sum(axis=0)[None])[0]),
    }


def fitted_parameters(problem: Problem, result: Mapping[str, Any]) -> tuple[Array, Array] | None:
    """Return values, shape (P,), and covariance, shape (P, P), from the content of fit.json; None if it is not valid.

    Raises
    ------
    UserError
        If the fit is of another workspace.
    """
    if result["digest"] != problem.digest:
        raise UserError("fit.json is of another workspace: their digests differ", "run fit_workspace again")
    if not result["valid"]:
        return None
    names = problem.likelihood.names
    values = np.array([result["parameters"][name]["value"] for name in names])
    chosen = [names.index(name) for name in result["correlations"]["parameters"]]
    errors = np.array([result["parameters"][names[index]]["uncertainty"] for index in chosen])
    covariance = np.zeros((len(names), len(names)))
    covariance[np.ix_(chosen, chosen)] = np.array(result["correlations"]["matrix"]) * np.outer(errors, errors)
    return values, covariance


def tabulate_yields(
    problem: Problem, fitted: tuple[Array, Array] | None, regions: Mapping[str, Any], blinded: Collection[str] = ()
) -> dict[str, Any]:
    """Return the content of yields.json.

    Parameters
    ----------
    problem : Problem
    fitted : (values, covariance) or None
        Of the valid fit; without one "postfit" is None.
    regions : mapping
        Description of each region, with "bins" (edges).
    blinded : collection of str
        Regions without observed events.
    """
    likelihood = problem.likelihood
    prefit = expected_with_uncertainty(likelihood, likelihood.start, np.diag(likelihood.prefit_width() ** 2))
    postfit = expected_with_uncertainty(likelihood, *fitted) if fitted else None
    return {
        region: {
            "edges": regions[region]["bins"],
            "observed": None if region in blinded else problem.data[part].tolist(),
            "prefit": prefit[region],
            "postfit": postfit[region] if postfit else None,
        }
        for region, part in likelihood.channels.items()
    }


def to_csv(yields: Mapping[str, Any]) -> str:
    """Return the sums of yields.json as a table: a row per region and sample, "total" and "observed"."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["region", "sample", "prefit", "prefit_uncertainty", "postfit", "postfit_uncertainty"])
    for region, block in yields.items():
        for sample in [*block["prefit"]["samples"], "total"]:
            row: list[Any] = [region, sample]
            for stage in ("prefit", "postfit"):
                part = block[stage] and (block[stage]["samples"] | {"total": block[stage]["total"]})[sample]
                row += [f"{part['sum']:.6g}", f"{part['sum_uncertainty']:.4g}"] if part else ["", ""]
            table.writerow(row)
        observed = "blinded" if block["observed"] is None else f"{sum(block['observed']):.6g}"
        table.writerow([region, "observed", observed, "", observed, ""])
    return text.getvalue()


def main(argv: Sequence[str] | None = None) -> None:
    """Tabulate the yields of one workspace."""
    parser = make_parser(__doc__)
    parser.add_argument("--workspace", required=True, type=Path, help="pyhf workspace JSON")
    parser.add_argument("--fit", required=True, type=Path, help="fit.json of it")
    parser.add_argument("--description", required=True, type=Path, help="workspace.meta.json beside it")
    parser.add_argument("--config", required=True, type=json_argument, help="the measurement, as in the configuration")
    parser.add_argument("--json", required=True, type=Path, help="yields per bin to write")
    parser.add_argument("--csv", required=True, type=Path, help="table of sums to write")
    args = parser.parse_args(argv)
    log = start_log("pyhf", "numpy")
    problem = read_problem(args.workspace, args.config.get("measurement"), args.config.get("poi"))
    fitted = fitted_parameters(problem, read_json(args.fit))
    if fitted is None:
        log.warning("the fit is not valid: no post-fit yields")
    description = read_json(args.description)["regions"]
    yields = tabulate_yields(problem, fitted, description, blinded_regions(args.config))
    write_json(args.json, yields)
    write_text(args.csv, to_csv(yields))


if __name__ == "__main__":
    run_main(main)
