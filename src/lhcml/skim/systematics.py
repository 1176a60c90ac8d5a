"""Shifts of jets, missing momentum and weights, all made in one pass over the events.

Jet energy scale: pT and mass times ``1 ± u`` with a flat relative uncertainty u.

Jet energy resolution, after the scale-factor method of CMS (arXiv:1607.03663): with a scale factor s, a jet
matched to a generated jet gets ``pT' = pT_gen + s (pT - pT_gen)``; an unmatched one gets
``pT' = pT (1 + sigma N(0, 1) sqrt(max(s^2 - 1, 0)))``, where ``sigma(pT)^2 = (n/pT)^2 + s_t^2/pT + c^2``. The normal
random number is a hash of run, luminosity block, event and jet, so it is the same in every run, chunk and shift.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.hashing import GOLDEN, hash_events, mix, to_uniform
from lhcml.skim.jagged import Floats, Integers, pairs, starts

KINEMATIC_SHIFTS = ("jesUp", "jesDown", "jerUp", "jerDown")
# position in NanoAOD's PSWeight, relative to the nominal weight
SHOWER_WEIGHTS = {"isrUp": 0, "fsrUp": 1, "isrDown": 2, "fsrDown": 3}
WEIGHT_SHIFTS = tuple(SHOWER_WEIGHTS)
# a generated jet further from the jet's pT than this many resolutions is not its origin
MATCH_RESOLUTIONS = 3.0


def delta_phi(a: Any, b: Any) -> Any:
    """Return the difference of two azimuths in [-pi, pi), rad."""
    return (a - b + np.pi) % (2 * np.pi) - np.pi


def delta_r(eta1: Any, phi1: Any, eta2: Any, phi2: Any) -> Any:
    """Return the distance in the plane of pseudorapidity and azimuth."""
    return np.hypot(eta1 - eta2, delta_phi(phi1, phi2))


def hashed_normal(identity: Sequence[NDArray[np.integer[Any]]], numbers: Integers) -> Floats:
    """Return a standard normal number for each jet, a function of event identity and position of the jet only.

    Parameters
    ----------
    identity : sequence of ndarray
        Run, luminosity block and event number, shape (events,).
    numbers : ndarray
        Number of jets, shape (events,).

    Returns
    -------
    ndarray
        Shape (jets,), all events together; two hashes through the Box-Muller transform.
    """
    key = hash_events(*identity)
    position = np.arange(int(numbers.sum())) - np.repeat(starts(numbers), numbers)
    seed = np.repeat(key, numbers) + (position.astype(np.uint64) + np.uint64(1)) * GOLDEN
    uniform = [to_uniform(mix(seed)), to_uniform(mix(seed ^ np.uint64(0xD1B54A32D192ED03)))]
    # 1 - u is in (0, 1], so that the logarithm is finite
    normal: Floats = np.sqrt(-2 * np.log(1 - uniform[0])) * np.cos(2 * np.pi * uniform[1])
    return normal


def resolution(pt: Any, jer: Mapping[str, Any]) -> Any:
    """Return the relative jet-pT resolution ``sqrt((noise/pT)^2 + stochastic^2/pT + constant^2)``, pT in GeV."""
    return np.sqrt((jer["noise"] / pt) ** 2 + jer["stochastic"] ** 2 / pt + jer["constant"] ** 2)


def match_generated(
    jets: Mapping[str, Floats],
    numbers: Integers,
    generated: Mapping[str, Floats],
    gen_numbers: Integers,
    radius: float,
    jer: Mapping[str, Any],
) -> Floats:
    """Return the pT of the generated jet that each jet comes from, 0 where there is none.

    The nearest generated jet within half the radius, if its pT is within three resolutions of the jet's.

    Parameters
    ----------
    jets, generated : mapping of str to ndarray
        "pt" (GeV), "eta", "phi", all events together.
    numbers, gen_numbers : ndarray
        Numbers of jets and of generated jets, shape (events,).
    radius : float
        Radius of the jets.
    jer : mapping
        Parameters of the resolution.

    Returns
    -------
    ndarray
        pT in GeV, shape (jets,).
    """
    jet, gen = pairs(numbers, gen_numbers)
    distance = delta_r(jets["eta"][jet], jets["phi"][jet], generated["eta"][gen], generated["phi"][gen])
    near = distance < radius / 2
    jet, gen, distance = jet[near], gen[near], distance[near]
    # the last assignment to a jet wins, and the nearest comes last
    order = np.argsort(-distance, kind="stable")
    matched: Floats = np.zeros(len(jets["pt"]))
    matched[jet[order]] = generated["pt"][gen[order]]
    close = np.abs(jets["pt"] - matched) < MATCH_RESOLUTIONS * resolution(jets["pt"], jer) * jets["pt"]
    return np.where(close, matched, 0.0)


def resolution_factor(pt: Floats, gen_pt: Floats, normal: Floats, scale: float, jer: Mapping[str, Any]) -> Floats:
    """Return the factor on a jet's pT that turns its resolution into `scale` times what it is.

    Parameters
    ----------
    pt, gen_pt : array_like
        pT of the jets and of the generated jets matched to them (0: none), GeV.
    normal : array_like
        Standard normal numbers.
    scale : float
        Resolution scale factor s.
    jer : mapping
        Parameters of the resolution.
    """
    matched = 1 + (scale - 1) * (pt - gen_pt) / pt
    smeared = 1 + normal * resolution(pt, jer) * np.sqrt(max(scale**2 - 1, 0.0))
    # a jet cannot turn round
    factor: Floats = np.maximum(np.where(gen_pt > 0, matched, smeared), 0.0)
    return factor


def jet_factors(
    pt: Floats, gen_pt: Floats, normal: Floats, config: Mapping[str, Any], shifts: Sequence[str]
) -> dict[str, Floats]:
    """Return the factor on pT and mass of each jet, nominal and per kinematic shift.

    Parameters
    ----------
    pt, gen_pt, normal : ndarray
        As in `resolution_factor`.
    config : mapping
        "jes" (relative uncertainty) and "jer" (resolution and scale factors).
    shifts : sequence of str
        Wanted members of `KINEMATIC_SHIFTS`.
    """
    jer = config["jer"]
    scales = {"jerUp": jer["scale_up"], "jerDown": jer["scale_down"]}
    jes = {"jesUp": 1 + config["jes"], "jesDown": 1 - config["jes"]}
    nominal = resolution_factor(pt, gen_pt, normal, jer["scale"], jer)
    factors = {"nominal": nominal}
    for shift in shifts:
        if shift in jes:
            factors[shift] = nominal * jes[shift]
        else:
            factors[shift] = resolution_factor(pt, gen_pt, normal, scales[shift], jer)
    return factors


def shifted_met(
    met_pt: Floats, met_phi: Floats, jet_pt: Floats, jet_phi: Floats, factor: Floats, owner: Integers
) -> tuple[Floats, Floats]:
    """Return pT (GeV) and azimuth (rad) of the missing momentum after the jets' pT changed by a factor.

    Parameters
    ----------
    met_pt, met_phi : ndarray
        Missing momentum, shape (events,).
    jet_pt, jet_phi, factor : ndarray
        Jets before the change, and the factor on their pT, shape (jets,).
    owner : ndarray
        Event of each jet, shape (jets,).
    """
    change = jet_pt * (factor - 1)
    events = len(met_pt)
    x = met_pt * np.cos(met_phi) - np.bincount(owner, change * np.cos(jet_phi), events)
    y = met_pt * np.sin(met_phi) - np.bincount(owner, change * np.sin(jet_phi), events)
    return np.hypot(x, y), np.arctan2(y, x)


def event_weights(gen_weight: Floats, ps_weight: Any | None) -> dict[str, Floats]:
    """Return the nominal weight of each event and, where the file has the four shower weights, the shifted ones.

    Parameters
    ----------
    gen_weight : ndarray
        Generator weights, shape (events,); ones for collision data.
    ps_weight : ndarray or None
        NanoAOD's PSWeight, shape (events, 4): initial-state up, final-state up, initial-state down, final-state down.
    """
    gen_weight = gen_weight.astype(np.float64)
    weights = {"nominal": gen_weight}
    if ps_weight is not None:
        weights |= {shift: gen_weight * ps_weight[:, position] for shift, position in SHOWER_WEIGHTS.items()}
    return weights
