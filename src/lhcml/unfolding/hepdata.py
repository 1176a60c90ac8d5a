"""Unfolded spectra as a HEPData submission: a table of each spectrum with its errors by source, and one of covariances.

Follows the JSON schemas 1.1.1 of hepdata-validator. The YAML is written here: the format is small, and the library for
it leaves an archive with the time of writing in the working folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.files import write_text
from lhcml.unfolding.uncertainties import Spectrum

LABELS = {"statistical_data": "stat, data", "statistical_simulation": "stat, simulation", "ensemble": "training"}
DIGITS = 8


def rounded(values: Any) -> list[float]:
    """Return numbers with `DIGITS` significant digits, so that files are small and the same on every machine."""
    return [float(f"{value:.{DIGITS}g}") for value in np.ravel(values)]


def bins(edges: NDArray[np.float64], name: str, unit: str) -> dict[str, Any]:
    """Return the independent variable of binned values; `edges` of shape (K, 2)."""
    header = {"name": name} | ({"units": unit} if unit else {})
    return {
        "header": header,
        "values": [{"low": low, "high": high} for low, high in zip(*map(rounded, edges.T), strict=True)],
    }


def quantity(
    manifest: Mapping[str, Any], entry: Mapping[str, Any], result: Spectrum
) -> tuple[str, str, NDArray[np.float64]]:
    """Return name, unit and, for each bin, factor of the differential quantity.

    A cross section in pb if the luminosity is known, else events; a density stays one.
    """
    per = f"/{entry['unit']}" if entry["unit"] else ""
    factor = manifest["weights"]["factor_to_pb"]
    widths = np.diff(result.edges)
    if result.density:
        return "(1/sigma) d(sigma)/dx", f"1{per}", np.ones_like(widths)
    if factor is None:
        return "dN/dx", f"events{per}", 1 / widths
    return "d(sigma)/dx", f"pb{per}", factor / widths


def spectrum_table(manifest: Mapping[str, Any], name: str, result: Spectrum) -> dict[str, Any]:
    """Return the table of a spectrum: differential, with symmetric statistical and asymmetric systematic errors.

    A two-sided source has the changes by its up (`plus`) and down (`minus`) variation, signed; a one-sided source has
    its change as `plus` and 0 as `minus`.
    """
    entry = manifest["observables"][name]
    title, unit, scale = quantity(manifest, entry, result)
    errors: list[list[dict[str, Any]]] = [[] for _ in result.nominal]
    for source in result.covariances:
        label = LABELS.get(source, f"sys, {source}")
        if source in result.shifts:
            shift = result.shifts[source]
            plus = rounded(scale * shift.get("up", shift.get("shift")))
            minus = rounded(scale * shift.get("down", np.zeros_like(scale)))
            for bin_errors, above, below in zip(errors, plus, minus, strict=True):
                bin_errors.append({"asymerror": {"plus": above, "minus": below}, "label": label})
        else:
            for bin_errors, value in zip(errors, rounded(scale * result.uncertainty_of(source)), strict=True):
                bin_errors.append({"symerror": value, "label": label})
    values: list[dict[str, Any]] = [{"value": value} for value in rounded(scale * result.nominal)]
    for point, bin_errors, spread in zip(values, errors, result.uncertainty, strict=True):
        # HEPData refuses errors that are all 0: those of a bin without events
        point |= {"errors": bin_errors} if spread > 0 else {}
    qualifiers = [{"name": "METHOD", "value": manifest["method"]["label"]}]
    qualifiers += [{"name": "PHASE SPACE", "value": cut["words"]} for cut in manifest["fiducial"]]
    pairs = np.stack([result.edges[:-1], result.edges[1:]], axis=1)
    measured = {"header": {"name": title, "units": unit}, "qualifiers": qualifiers, "values": values}
    prior = {
        "header": {"name": f"{title}, simulation before unfolding", "units": unit},
        "values": [{"value": value} for value in rounded(scale * result.prior)],
    }
    return {
        "independent_variables": [bins(pairs, entry["label"], entry["unit"])],
        "dependent_variables": [measured, prior],
    }


def covariance_table(manifest: Mapping[str, Any], name: str, result: Spectrum) -> dict[str, Any]:
    """Return the table of covariances: total, and each source of which the spectrum's table tells no signs."""
    entry = manifest["observables"][name]
    title, unit, scale = quantity(manifest, entry, result)
    pairs = np.stack([result.edges[:-1], result.edges[1:]], axis=1)
    count = len(scale)
    matrices = {"total": result.covariance}
    matrices |= {LABELS[source]: matrix for source, matrix in result.covariances.items() if source in LABELS}
    dependent = [
        {
            "header": {"name": f"covariance of {title}, {label}", "units": f"({unit})^2"},
            "values": [{"value": value} for value in rounded(matrix * np.outer(scale, scale))],
        }
        for label, matrix in matrices.items()
    ]
    return {
        "independent_variables": [
            bins(np.repeat(pairs, count, axis=0), f"{entry['label']}, first bin", entry["unit"]),
            bins(np.tile(pairs, (count, 1)), f"{entry['label']}, second bin", entry["unit"]),
        ],
        "dependent_variables": dependent,
    }


def dump(*documents: Any) -> str:
    """Return YAML documents, in block style with keys as given."""
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump_all(documents, Dumper=dumper, sort_keys=False, explicit_start=True, allow_unicode=True))


def write_submission(folder: Path, manifest: Mapping[str, Any], results: Mapping[str, Spectrum]) -> None:
    """Write submission.yaml and two tables an observable. Other files of the folder are left alone.

    Parameters
    ----------
    folder : Path
        Folder to write.
    manifest : mapping
        Manifest of the data set.
    results : mapping of str to Spectrum
        Spectra by observable (an entry of the manifest).
    """
    comment = (
        f"{manifest['title']}. Channel {manifest['channel']} {manifest['label']}, unfolded with "
        f"{manifest['method']['label']} from {manifest['data']['kind']}. Projections of an unbinned data set, which "
        "gives any other observable too."
    )
    documents: list[dict[str, Any]] = [{"comment": comment}]
    for name, result in results.items():
        keywords = [{"name": "phrases", "values": ["Unfolding", "Unbinned", name]}]
        meaning = manifest["observables"][name]["definition"]
        about = f"Differential in {meaning}. Systematic errors are signed changes, correlated over bins."
        tables = {
            f"Spectrum of {name}": (f"{name}.yaml", spectrum_table(manifest, name, result), about),
            f"Covariance of {name}": (
                f"{name}_covariance.yaml",
                covariance_table(manifest, name, result),
                f"Covariance matrices of the spectrum of {name}.",
            ),
        }
        for title, (file, table, description) in tables.items():
            write_text(folder / file, dump(table))
            documents.append(
                {
                    "name": title[:64], "description": description, "keywords": keywords, "data_file": file,
                }
            )  # fmt: skip
    write_text(folder / "submission.yaml", dump(*documents))
