"""The closed set of cuts of a channel's `selection` block: which branches they need, and what they select."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import awkward as ak
import numpy as np

from lhcml.common.cuts import in_range
from lhcml.skim.jagged import Columns, Floats, Integers, Mask, counts, flat, owners, pairs, per_event, starts
from lhcml.skim.systematics import delta_r

Z_MASS = 91.1876  # GeV, Particle Data Group 2024
LEPTONS = {"muons": "Muon", "electrons": "Electron", "veto_muons": "Muon", "veto_electrons": "Electron"}
LEPTON_MASS = {"Muon": 0.1056583755, "Electron": 0.00051099895}  # GeV
FOUR_MOMENTUM = ("pt", "eta", "phi", "mass")
JET_ID_COLUMNS = ("neHEF", "neEmEF", "chHEF", "chMultiplicity", "neMultiplicity")
TIGHT_BIT = 2


def lepton_blocks(selection: Mapping[str, Any]) -> dict[str, str]:
    """Return `{block: collection}` of the lepton blocks that a selection has."""
    return {block: collection for block, collection in LEPTONS.items() if block in selection}


def required_columns(selection: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """Return the columns that the cuts of a selection need.

    Parameters
    ----------
    selection : mapping
        A channel's selection, defaults filled in.
    names : mapping
        Columns of the file; decides between the jet identification flag and the columns it is computed from.
    """
    jets = selection["jets"]
    collection = jets["collection"]
    columns = [f"{collection}_{name}" for name in FOUR_MOMENTUM]
    columns += [f"{collection}_{name}" for name in jets["candidates"].get("branches", {})]
    if jets["candidates"].get("jet_id") == "tight":
        flag = f"{collection}_jetId"
        columns += [flag] if flag in names else [f"{collection}_{name}" for name in JET_ID_COLUMNS]
    for block, lepton in lepton_blocks(selection).items():
        columns += [f"{lepton}_{name}" for name in ("pt", "eta", "phi", "charge")]
        columns += [f"{lepton}_{name}" for name in selection[block].get("branches", {})]
    if "met" in selection:
        columns += ["MET_pt", "MET_phi"] if selection["met"]["collection"] == "MET" else []
        columns += ["PuppiMET_pt", "PuppiMET_phi"] if selection["met"]["collection"] == "PuppiMET" else []
    columns += selection["flags"]
    return list(dict.fromkeys(columns))


def passes_kinematics(objects: Mapping[str, Any], cuts: Mapping[str, Any]) -> Mask:
    """Tell which objects pass the cuts "pt", "abs_eta" and "mass" of a block; arrays of shape (objects,)."""
    passes: Mask = np.ones(len(objects["pt"]), bool)
    for cut, name in (("pt", "pt"), ("abs_eta", "eta"), ("mass", "mass")):
        if cut in cuts:
            passes &= in_range(np.abs(objects[name]) if cut == "abs_eta" else objects[name], cuts[cut])
    return passes


def passes_branches(columns: Columns, collection: str, cuts: Mapping[str, Mapping[str, float]]) -> Any:
    """Tell which objects pass cuts on further columns: ranges, or bits that must all be set; shape (objects,)."""
    passes: Any = True
    for name, limits in cuts.items():
        values = flat(columns[f"{collection}_{name}"])
        passes = passes & in_range(values, limits)
        if "bits" in limits:
            # signed, wide enough for any column, whatever its width in this version
            passes = passes & ((values.astype(np.int64) & limits["bits"]) == limits["bits"])
    return passes


def tight_jet_id(columns: Columns, collection: str) -> Mask:
    """Tell which jets pass the tight identification of CMS: the flag of the file, or (NanoAOD v15) recomputed.

    The recomputation uses the Run-3 criteria for PUPPI jets on energy fractions and multiplicities.
    """
    flag = f"{collection}_jetId"
    if flag in columns:
        return (flat(columns[flag]).astype(np.int64) & TIGHT_BIT) == TIGHT_BIT
    eta = np.abs(flat(columns[f"{collection}_eta"]))
    ne_had, ne_em, ch_had, ch_n, ne_n = (flat(columns[f"{collection}_{name}"]) for name in JET_ID_COLUMNS)
    # multiplicities are bytes in some versions, whose sum would wrap around
    constituents = ch_n.astype(np.int64) + ne_n
    central = (ne_had < 0.99) & (ne_em < 0.90) & (constituents > 1) & (ch_had > 0.01) & (ch_n > 0)
    edge = (ne_had < 0.90) & (ne_em < 0.99)
    endcap = ne_had < 0.99
    forward = (ne_n >= 2) & (ne_em < 0.4)
    return np.select([eta <= 2.6, eta <= 2.7, eta <= 3.0], [central, edge, endcap], forward)


def select_leptons(columns: Columns, collection: str, cuts: Mapping[str, Any]) -> tuple[dict[str, Floats], Integers]:
    """Return "pt", "eta", "phi", "mass", "charge" of the leptons that pass a block, and their number in each event."""
    leptons = {name: flat(columns[f"{collection}_{name}"]).astype(float) for name in ("pt", "eta", "phi", "charge")}
    numbers = counts(columns[f"{collection}_pt"])
    passes = passes_kinematics(leptons, cuts) & passes_branches(columns, collection, cuts.get("branches", {}))
    chosen = {name: values[passes] for name, values in leptons.items()}
    chosen["mass"] = np.full(len(chosen["pt"]), LEPTON_MASS[collection])
    return chosen, per_event(passes, owners(numbers), len(numbers))


def z_candidates(leptons: Mapping[str, Floats], numbers: Integers) -> dict[str, Floats]:
    """Return mass and pT of the pair of opposite charge nearest to the Z mass in each event, NaN where there is none.

    Parameters
    ----------
    leptons, numbers
        Leptons of one kind, result of `select_leptons`.

    Returns
    -------
    dict of str to ndarray
        "mass" and "pt" in GeV, shape (events,).
    """
    first, second = pairs(numbers, numbers)
    opposite = (first < second) & (leptons["charge"][first] * leptons["charge"][second] < 0)
    first, second = first[opposite], second[opposite]
    x, y = leptons["pt"] * np.cos(leptons["phi"]), leptons["pt"] * np.sin(leptons["phi"])
    z = leptons["pt"] * np.sinh(leptons["eta"])
    energy = np.sqrt(x**2 + y**2 + z**2 + leptons["mass"] ** 2)
    x, y, z, energy = (component[first] + component[second] for component in (x, y, z, energy))
    pair = {"mass": np.sqrt(np.maximum(energy**2 - x**2 - y**2 - z**2, 0.0)), "pt": np.hypot(x, y)}
    # the last assignment to an event wins, and the nearest to the Z mass comes last
    order = np.argsort(-np.abs(pair["mass"] - Z_MASS), kind="stable")
    event = owners(numbers)[first][order]
    best = {name: np.full(len(numbers), np.nan) for name in pair}
    for name, values in pair.items():
        best[name][event] = values[order]
    return best


def event_cuts(columns: Columns, selection: Mapping[str, Any], triggers: list[str]) -> dict[str, Mask]:
    """Return the masks of the cuts that no jet shift changes, in the order of the cutflow.

    Parameters
    ----------
    columns : mapping of str to ak.Array
        Columns of `required_columns` and the trigger branches.
    selection : mapping
        A channel's selection.
    triggers : list of str
        Those of the trigger paths that the file has; one must have fired.
    """
    masks: dict[str, Mask] = {}
    if selection["triggers"]:
        masks["trigger"] = np.any([ak.to_numpy(columns[path]).astype(bool) for path in triggers], axis=0)
    if selection["flags"]:
        masks["flags"] = np.all([ak.to_numpy(columns[flag]).astype(bool) for flag in selection["flags"]], axis=0)
    chosen: dict[str, tuple[dict[str, Floats], Integers]] = {}
    for block, collection in lepton_blocks(selection).items():
        chosen[block] = select_leptons(columns, collection, selection[block])
        limits = {"max": 0} if block.startswith("veto") else selection[block].get("count")
        if limits is not None:
            masks[block.replace("_", " ")] = in_range(chosen[block][1], limits)
    wanted = [chosen[block] for block in ("muons", "electrons") if block in chosen]
    if "leptons" in selection:
        masks["leptons"] = in_range(np.sum([numbers for _, numbers in wanted], axis=0), selection["leptons"])
    if "z_candidate" in selection:
        cuts = selection["z_candidate"]
        found = [z_candidates(*kind) for kind in wanted]
        mass, pt = (np.array([pair[name] for pair in found]) for name in ("mass", "pt"))
        distance = np.where(np.isfinite(mass), np.abs(mass - Z_MASS), np.inf)
        best = distance.argmin(axis=0), np.arange(mass.shape[1])
        # comparisons with NaN (no pair) are False
        masks["Z candidate"] = in_range(mass[best], cuts.get("mass", {})) & in_range(pt[best], cuts.get("pt", {}))
    return masks


def fixed_jet_mask(columns: Columns, selection: Mapping[str, Any]) -> Mask:
    """Tell which jets pass the cuts that no shift changes: identification, columns, distance to leptons."""
    jets = selection["jets"]
    collection, cuts = jets["collection"], jets["candidates"]
    eta, phi = (flat(columns[f"{collection}_{name}"]) for name in ("eta", "phi"))
    passes: Mask = np.ones(len(eta), bool) & passes_branches(columns, collection, cuts.get("branches", {}))
    if cuts.get("jet_id") == "tight":
        passes &= tight_jet_id(columns, collection)
    if "away_from_leptons" in cuts:
        numbers = counts(columns[f"{collection}_eta"])
        for block in ("muons", "electrons"):
            if block in selection:
                leptons, lepton_numbers = select_leptons(columns, LEPTONS[block], selection[block])
                jet, lepton = pairs(numbers, lepton_numbers)
                distance = delta_r(eta[jet], phi[jet], leptons["eta"][lepton], leptons["phi"][lepton])
                passes[jet[distance < cuts["away_from_leptons"]]] = False
    return passes


def jet_cuts(
    jets: Mapping[str, Floats], numbers: Integers, allowed: Mask, selection: Mapping[str, Any], holds_top: Any = None
) -> tuple[dict[str, Mask], Integers]:
    """Select jets in one shift.

    Parameters
    ----------
    jets : mapping of str to ndarray
        "pt", "eta", "phi", "mass" of the shift, all events together.
    numbers : ndarray
        Number of jets, shape (events,).
    allowed : ndarray
        Result of `fixed_jet_mask`, shape (jets,).
    selection : mapping
        A channel's selection.
    holds_top : ndarray, optional
        Jets matched to a top quark; given if the dataset requires it.

    Returns
    -------
    masks : dict of str to ndarray
        Event cuts in the order of the cutflow.
    selected : ndarray
        Flat positions of the selected jets, event by event, hardest first, before the event cuts.
    """
    cuts, events, owner = selection["jets"], len(numbers), owners(numbers)
    selected = np.flatnonzero(passes_kinematics(jets, cuts["candidates"]) & allowed)
    pt, event = jets["pt"][selected], owner[selected]
    # files list jets by falling pT, which most shifts keep
    if ((pt[1:] > pt[:-1]) & (event[1:] == event[:-1])).any():
        order = np.lexsort((-pt, event))
        selected, event = selected[order], event[order]
    candidates = np.bincount(event, minlength=events)
    masks = {"jets": in_range(candidates, cuts["count"])}
    rank = np.arange(len(selected)) - starts(candidates)[event]
    if cuts["take"] != "all":
        taken = rank < {"leading": 1, "two_leading": 2}[cuts["take"]]
        selected, event, rank = selected[taken], event[taken], rank[taken]
    of_taken = {name: values[selected] for name, values in jets.items()}
    if "taken" in cuts:
        masks["taken jets"] = np.bincount(event[~passes_kinematics(of_taken, cuts["taken"])], minlength=events) == 0
    if "leading" in cuts:
        passes = passes_kinematics(of_taken, cuts["leading"]) & (rank == 0)
        masks["leading jet"] = np.bincount(event[passes], minlength=events) > 0
    if holds_top is not None:
        selected = selected[holds_top[selected]]
        masks["top match"] = np.bincount(owner[selected], minlength=events) > 0
    return masks, selected
