"""Spectra of spectra.json with the uncertainties that the published data set has: one recipe for all methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lhcml.unfolding.definitions import variation_names
from lhcml.unfolding.uncertainties import GENERATOR, NOMINAL, SQUARES, Array, Spectrum, make_spectrum

# part of spectra.json: (source, rule)
REPLICAS = {
    "bootstrap_data": ("statistical_data", "replicas"),
    "bootstrap_simulation": ("statistical_simulation", "replicas"),
    "ensemble": ("ensemble", "ensemble"),
}


def sides(block: Mapping[str, Any], systematics: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Yield the systematic sources of an observable and the names of their variations: up and down, or one."""
    for source, settings in systematics.items():
        names = variation_names(source, settings)
        if all(name in block["systematics"] for name in names):
            yield source, names


def make_recipe(block: Mapping[str, Any], systematics: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, Any]]:
    """Return the sources of uncertainty of an observable and their rules; sources with one replica are left out."""
    recipe: dict[str, dict[str, Any]] = {}
    for part, (source, kind) in REPLICAS.items():
        if len(block[part]) > 1:
            recipe[source] = {"kind": kind, "columns": [f"{part}_{number}" for number in range(len(block[part]))]}
    for source, names in sides(block, systematics):
        if len(names) == 2:
            recipe[source] = {"kind": "two_sided", "up": names[0], "down": names[1]}
        else:
            recipe[source] = {"kind": "one_sided", "column": names[0]}
    return recipe


def read_spectrum(
    block: Mapping[str, Any], systematics: Mapping[str, Mapping[str, str]], density: bool = False
) -> Spectrum:
    """Return an observable of spectra.json with its covariances.

    Parameters
    ----------
    block : mapping
        Observable of spectra.json, which keeps nothing of underflow, overflow and effective events: these are 0.
    systematics : mapping
        `unfolding.systematics`.
    density : bool
        Normalise to unit area in range, each variation by itself.
    """
    edges = np.array(block["edges"], float)
    sums = {NOMINAL: block["nominal"], GENERATOR: block["prior"], SQUARES: [0.0] * (len(edges) - 1)}
    sums |= block["systematics"]
    for part in REPLICAS:
        sums |= {f"{part}_{number}": values for number, values in enumerate(block[part])}
    padded: dict[str, Array] = {name: np.pad(np.asarray(values, float), 1) for name, values in sums.items()}
    return make_spectrum(edges, padded, make_recipe(block, systematics), density)
