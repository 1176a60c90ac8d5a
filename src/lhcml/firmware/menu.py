"""A simple menu of a first-level trigger, and what an anomaly trigger adds to it.

A menu is a mapping of names to conditions, for example::

    single_muon: {muon: [22]}
    muon_electron: {muon: [20], electron: [10]}
    ht: {ht: 360}

A line takes an event if all its conditions hold, the menu if any line does. A list holds the least pT in GeV of the
hardest, second, ... object; `met` and `ht` are numbers in GeV. HT sums jets as at CMS: pT > 30 GeV, |eta| < 2.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lhcml.common.errors import UserError
from lhcml.firmware.detection import Floats, binomial_error, effective_number

Bools: TypeAlias = NDArray[np.bool_]

OBJECTS = ("electron", "muon", "jet")
SUMS = ("met", "ht")
HT_JET_PT, HT_JET_ETA = 30.0, 2.5


def columns_of(names: Sequence[str], kind: str, quantity: str) -> list[int]:
    """Return where the inputs `<kind>1_<quantity>`, `<kind>2_<quantity>`, ... stand."""
    places: list[int] = []
    while f"{kind}{len(places) + 1}_{quantity}" in names:
        places.append(names.index(f"{kind}{len(places) + 1}_{quantity}"))
    return places


def jet_sum(inputs: NDArray[np.float32], names: Sequence[str]) -> Floats:
    """Return HT in GeV, shape (events,), of the jets among the inputs."""
    pt = inputs[:, columns_of(names, "jet", "pt")].astype(np.float64)
    eta = inputs[:, columns_of(names, "jet", "eta")]
    return np.asarray(np.where((pt > HT_JET_PT) & (np.abs(eta) < HT_JET_ETA), pt, 0.0).sum(axis=1))


def condition(inputs: NDArray[np.float32], names: Sequence[str], key: str, least: Any, line: str) -> Bools:
    """Return which events fulfil one condition of a line.

    Raises
    ------
    UserError
        If the condition is not known, or asks for objects that are not among the inputs.
    """
    if key == "ht":
        return np.asarray(jet_sum(inputs, names) >= least)
    if key == "met" and "met_pt" in names:
        return np.asarray(inputs[:, names.index("met_pt")] >= least)
    if key not in OBJECTS:
        raise UserError(f"menu line {line}: {key} is not known", f"use {', '.join((*OBJECTS, *SUMS))}")
    places = columns_of(names, key, "pt")
    if len(least) > len(places):
        raise UserError(
            f"menu line {line} asks for {len(least)} of {key}, the inputs have {len(places)}",
            f"raise the count of {key}s in the inputs, or shorten the line",
        )
    # an absent object has pT 0: it must not pass a threshold of 0
    pts = inputs[:, places[: len(least)]]
    return np.asarray(np.all((pts >= np.asarray(least, np.float32)) & (pts > 0), axis=1))


def menu_decisions(
    inputs: NDArray[np.float32], names: Sequence[str], menu: Mapping[str, Mapping[str, Any]]
) -> dict[str, Bools]:
    """Return which events each line of a menu takes, shape (events,) each.

    Parameters
    ----------
    inputs : ndarray, shape (events, inputs)
        Raw inputs.
    names : sequence of str
        Their names.
    menu : mapping
        See above.

    Raises
    ------
    UserError
        If a line has no condition, an unknown one, or one on objects that are not among the inputs.
    """
    decisions = {}
    for line, conditions in menu.items():
        if not conditions:
            raise UserError(f"menu line {line} has no condition", "give it one, or remove it")
        passed = [condition(inputs, list(names), key, least, line) for key, least in conditions.items()]
        decisions[line] = np.all(passed, axis=0)
    return decisions


def takes_any(decisions: Mapping[str, Bools], events: int) -> Bools:
    """Return which events any line takes."""
    taken: Bools = np.zeros(events, bool)
    for decision in decisions.values():
        taken |= decision
    return taken


def pure_contribution(above: Bools, menu: Bools, weights: Floats) -> dict[str, float | None]:
    """Return what an anomaly trigger adds to a menu for one process.

    Parameters
    ----------
    above : ndarray of bool, shape (events,)
        Events that the anomaly trigger takes.
    menu : ndarray of bool, shape (events,)
        Events that the menu takes.
    weights : ndarray of float, shape (events,)
        Their weights.

    Returns
    -------
    dict
        Shares of all events: "anomaly" (taken by the anomaly trigger), "menu", "pure" (by the anomaly trigger alone),
        "pure_error" (binomial). "pure_of_anomaly": share of what the anomaly trigger takes that the menu does not;
        "relative": pure over menu, how much more is taken; "relative_error". None where nothing is taken.
    """
    total, number = float(weights.sum()), effective_number(weights)
    share = {
        name: float(weights[chosen].sum()) / total
        for name, chosen in (("anomaly", above), ("menu", menu), ("pure", above & ~menu))
    }
    pure_error = binomial_error(share["pure"], number)
    relative = relative_error = of_anomaly = None
    if share["menu"] > 0:
        relative = share["pure"] / share["menu"]
        # of the events that either takes, the share q that is pure is binomial, and pure / menu = q / (1 - q)
        either = effective_number(weights[above | menu])
        pure_share = relative / (1 + relative)
        relative_error = binomial_error(pure_share, either) / (1 - pure_share) ** 2
    if share["anomaly"] > 0:
        of_anomaly = share["pure"] / share["anomaly"]
    return {
        **share, "pure_error": pure_error, "pure_of_anomaly": of_anomaly, "relative": relative,
        "relative_error": relative_error,
    }  # fmt: skip
