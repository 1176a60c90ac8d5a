"""Random changes of the constituents, to see what a tagger owes to details that no simulation gets right.

`smear` changes each constituent's momentum, `drop` loses some. The jets stay the same ones, in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.features.constituents import first_of_event

PERTURBATIONS = ("smear", "drop")
# A factor on a momentum is no smaller, however wide the Gaussian
LEAST_FACTOR = 0.01

Columns = dict[str, NDArray[Any]]


def perturb(
    parts: Mapping[str, NDArray[Any]], counts: NDArray[np.int64], jets: Mapping[str, NDArray[np.float64]], *,
    shift: str, settings: Mapping[str, float], random: np.random.Generator,
) -> tuple[Columns, NDArray[np.int64], Columns]:  # fmt: skip
    """Change constituents at random, and their jets with them.

    Parameters
    ----------
    parts : mapping of str to array of shape (sum of counts,)
        "pt", "eta", "phi", "mass" of the constituents in GeV and rad, and more, jet after jet.
    counts : array of shape (jets,), int
        Constituents of each jet.
    jets : mapping of str to array of shape (jets,)
        "pt", "eta", "phi", "mass" of the jets.
    shift : str
        "smear" or "drop".
    settings : mapping
        For "smear" the widths `pt` (relative), `eta`, `phi`; for "drop" the `probability`.
    random : numpy.random.Generator
        Drawn from constituent by constituent, so that the result does not depend on how jets are cut into pieces.

    Returns
    -------
    parts, counts, jets
        Changed copies; jets as in `follow_constituents`. A jet never loses all of its constituents: the hardest stays.
    """
    changed = {name: values.copy() for name, values in parts.items()}
    if shift == "smear":
        normal = random.standard_normal((len(parts["pt"]), 3)).T
        changed["pt"] = parts["pt"] * np.maximum(1 + settings["pt"] * normal[0], LEAST_FACTOR)
        changed["eta"] = parts["eta"] + settings["eta"] * normal[1]
        changed["phi"] = (parts["phi"] + settings["phi"] * normal[2] + np.pi) % (2 * np.pi) - np.pi
        return changed, counts, follow_constituents(jets, (parts, counts), (changed, counts))
    kept = random.random(len(parts["pt"])) >= settings["probability"]
    jet: NDArray[np.int64] = np.repeat(np.arange(len(counts)), counts)
    hardest = np.lexsort((-parts["pt"], jet))[first_of_event(counts)[counts > 0]]
    lost = np.bincount(jet[kept], minlength=len(counts))[counts > 0] == 0
    kept[hardest[lost]] = True
    left = np.bincount(jet[kept], minlength=len(counts)).astype(np.int64)
    changed = {name: values[kept] for name, values in parts.items()}
    return changed, left, follow_constituents(jets, (parts, counts), (changed, left))


def follow_constituents(
    jets: Mapping[str, NDArray[np.float64]],
    before: tuple[Mapping[str, NDArray[Any]], NDArray[np.int64]],
    after: tuple[Mapping[str, NDArray[Any]], NDArray[np.int64]],
) -> Columns:
    """Return the four-momenta of jets of which the constituents have changed.

    The sum of the constituents is the jet before its calibration, so it is its change that counts: pt is multiplied by
    the ratio of the sums' pt, eta and phi move as the sum does, and the mass changes by the difference of the sums'
    masses times the calibration, the ratio of the jet's pt to the sum's. A jet without constituents stays as it is.
    """
    old, new = sum_of(*before), sum_of(*after)
    some = before[1] > 0
    ratio = np.divide(new["pt"], old["pt"], out=np.ones(len(some)), where=some)
    calibration = np.divide(jets["pt"], old["pt"], out=np.ones(len(some)), where=some)
    return {
        "pt": jets["pt"] * ratio,
        "eta": jets["eta"] + new["eta"] - old["eta"],
        "phi": (jets["phi"] + new["phi"] - old["phi"] + np.pi) % (2 * np.pi) - np.pi,
        "mass": np.maximum(jets["mass"] + calibration * (new["mass"] - old["mass"]), 0.0),
    }


def sum_of(parts: Mapping[str, NDArray[Any]], counts: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Return "pt", "eta", "phi", "mass" of the sum of the constituents of each jet; 0 for a jet without."""
    jet: NDArray[np.int64] = np.repeat(np.arange(len(counts)), counts)
    pt, eta, phi, mass = (parts[name].astype(np.float64) for name in ("pt", "eta", "phi", "mass"))
    px, py, pz, energy = (
        np.bincount(jet, values, minlength=len(counts))
        for values in (pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), np.hypot(pt * np.cosh(eta), mass))
    )
    total = np.hypot(px, py)
    return {
        "pt": total,
        "eta": np.arcsinh(np.divide(pz, total, out=np.zeros_like(total), where=total > 0)),
        "phi": np.arctan2(py, px),
        "mass": np.sqrt(np.maximum(energy**2 - total**2 - pz**2, 0.0)),
    }
