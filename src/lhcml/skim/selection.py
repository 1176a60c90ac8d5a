"""The closed set of cuts of a channel's `selection` block: which branches they need, and what they select."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from lhcml.skim.systematics import delta_r

Z_MASS = 91.1876  # GeV, Particle Data Group 2024
LEPTONS = {"muons": "Muon", "electrons": "Electron", "veto_muons": "Muon", "veto_electrons": "Electron"}
LEPTON_MASS = {"Muon": 0.1056583755, "Electron": 0.00051099895}  # GeV
FOUR_MOMENTUM = ("pt", "eta", "phi", "mass")
JET_ID_COLUMNS = ("neHEF", "neEmEF", "chHEF", "chMultiplicity", "neMultiplicity")
TIGHT_BIT = 2

Columns: TypeAlias = Mapping[str, ak.Array]
Mask: TypeAlias = "NDArray[np.bool_]"


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


def in_range(values: Any, limits: Mapping[str, float]) -> Any:
    """Tell which values are within `min <= value <= max`; either limit may be absent."""
    passes = values == values
    if "min" in limits:
        passes = passes & (values >= limits["min"])
    if "max" in limits:
        passes = passes & (values <= limits["max"])
    return passes


def passes_kinematics(objects: Columns, cuts: Mapping[str, Any]) -> Any:
    """Tell which objects pass the cuts "pt", "abs_eta" and "mass" of a block."""
    passes = objects["pt"] == objects["pt"]
    for cut, values in (("pt", "pt"), ("abs_eta", "eta"), ("mass", "mass")):
        if cut in cuts:
            passes = passes & in_range(abs(objects[values]) if cut == "abs_eta" else objects[values], cuts[cut])
    return passes


def passes_branches(columns: Columns, collection: str, cuts: Mapping[str, Mapping[str, float]]) -> Any:
    """Tell which objects pass cuts on further columns: ranges, or bits that must all be set."""
    passes: Any = True
    for name, limits in cuts.items():
        values = columns[f"{collection}_{name}"]
        passes = passes & in_range(values, limits)
        if "bits" in limits:
            passes = passes & ((values & limits["bits"]) == limits["bits"])
    return passes


def tight_jet_id(columns: Columns, collection: str) -> ak.Array:
    """Tell which jets pass the tight identification of CMS: the flag of the file, or (NanoAOD v15) recomputed.

    The recomputation uses the Run-3 criteria for PUPPI jets on energy fractions and multiplicities.
    """
    flag = f"{collection}_jetId"
    if flag in columns:
        return (columns[flag] & TIGHT_BIT) == TIGHT_BIT
    eta = abs(columns[f"{collection}_eta"])
    ne_had, ne_em, ch_had, ch_n, ne_n = (columns[f"{collection}_{name}"] for name in JET_ID_COLUMNS)
    # the sum is made in int32: the columns are bytes in recent versions
    constituents = ak.values_astype(ch_n, np.int32) + ne_n
    central = (ne_had < 0.99) & (ne_em < 0.90) & (constituents > 1) & (ch_had > 0.01) & (ch_n > 0)
    edge = (ne_had < 0.90) & (ne_em < 0.99)
    endcap = ne_had < 0.99
    forward = (ne_n >= 2) & (ne_em < 0.4)
    return ak.where(eta <= 2.6, central, ak.where(eta <= 2.7, edge, ak.where(eta <= 3.0, endcap, forward)))


def select_leptons(columns: Columns, collection: str, cuts: Mapping[str, Any]) -> dict[str, ak.Array]:
    """Return "pt", "eta", "phi", "mass", "charge" of the leptons that pass a block, shape (events, var)."""
    names = ("pt", "eta", "phi", "charge")
    leptons = {name: columns[f"{collection}_{name}"] for name in names}
    passes = passes_kinematics(leptons, cuts) & passes_branches(columns, collection, cuts.get("branches", {}))
    chosen = {name: values[passes] for name, values in leptons.items()}
    return chosen | {"mass": ak.full_like(chosen["pt"], LEPTON_MASS[collection], dtype=np.float32)}


def z_candidates(leptons: Mapping[str, ak.Array]) -> dict[str, Mask]:
    """Return mass and pT of the pair of opposite charge nearest to the Z mass in each event, NaN where there is none.

    Parameters
    ----------
    leptons : mapping of str to ak.Array
        Leptons of one kind, from `select_leptons`.

    Returns
    -------
    dict of str to ndarray
        "mass" and "pt" in GeV, shape (events,).
    """
    first, second = {}, {}
    for name, values in leptons.items():
        first[name], second[name] = ak.unzip(ak.combinations(ak.values_astype(values, np.float64), 2))
    opposite = first["charge"] * second["charge"] < 0
    first = {name: values[opposite] for name, values in first.items()}
    second = {name: values[opposite] for name, values in second.items()}

    def total(component: Any) -> Any:
        return component(first) + component(second)

    x = total(lambda p: p["pt"] * np.cos(p["phi"]))
    y = total(lambda p: p["pt"] * np.sin(p["phi"]))
    z = total(lambda p: p["pt"] * np.sinh(p["eta"]))
    energy = total(lambda p: np.sqrt((p["pt"] * np.cosh(p["eta"])) ** 2 + p["mass"] ** 2))
    mass = np.sqrt(np.maximum(energy**2 - x**2 - y**2 - z**2, 0.0))
    best = ak.argmin(abs(mass - Z_MASS), axis=1, keepdims=True)
    nearest = {"mass": mass[best], "pt": np.hypot(x, y)[best]}
    return {name: ak.to_numpy(ak.fill_none(ak.firsts(values), np.nan)) for name, values in nearest.items()}


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
    chosen: dict[str, dict[str, ak.Array]] = {}
    for block, collection in lepton_blocks(selection).items():
        chosen[block] = select_leptons(columns, collection, selection[block])
        count = ak.to_numpy(ak.num(chosen[block]["pt"]))
        limits = {"max": 0} if block.startswith("veto") else selection[block].get("count")
        if limits is not None:
            masks[block.replace("_", " ")] = in_range(count, limits)
    wanted = [chosen[block] for block in ("muons", "electrons") if block in chosen]
    if "leptons" in selection:
        masks["leptons"] = in_range(sum(ak.to_numpy(ak.num(kind["pt"])) for kind in wanted), selection["leptons"])
    if "z_candidate" in selection:
        cuts = selection["z_candidate"]
        pairs = [z_candidates(kind) for kind in wanted]
        mass, pt = (np.array([pair[name] for pair in pairs]) for name in ("mass", "pt"))
        distance = np.where(np.isfinite(mass), np.abs(mass - Z_MASS), np.inf)
        best = distance.argmin(axis=0), np.arange(mass.shape[1])
        # comparisons with NaN (no pair) are False
        masks["Z candidate"] = in_range(mass[best], cuts.get("mass", {})) & in_range(pt[best], cuts.get("pt", {}))
    return masks


def fixed_jet_mask(columns: Columns, selection: Mapping[str, Any]) -> Any:
    """Tell which jets pass the cuts that no shift changes: identification, columns, distance to leptons."""
    jets = selection["jets"]
    collection, cuts = jets["collection"], jets["candidates"]
    eta, phi = columns[f"{collection}_eta"], columns[f"{collection}_phi"]
    passes = passes_branches(columns, collection, cuts.get("branches", {})) & (eta == eta)
    if cuts.get("jet_id") == "tight":
        passes = passes & tight_jet_id(columns, collection)
    if "away_from_leptons" in cuts:
        for block in ("muons", "electrons"):
            if block in selection:
                leptons = select_leptons(columns, LEPTONS[block], selection[block])
                jet_eta, lepton_eta = ak.unzip(ak.cartesian([eta, leptons["eta"]], nested=True))
                jet_phi, lepton_phi = ak.unzip(ak.cartesian([phi, leptons["phi"]], nested=True))
                near = delta_r(jet_eta, jet_phi, lepton_eta, lepton_phi) < cuts["away_from_leptons"]
                passes = passes & ~ak.any(near, axis=2)
    return passes


def jet_cuts(
    jets: Columns, allowed: Any, selection: Mapping[str, Any], holds_top: Any = None
) -> tuple[dict[str, Mask], ak.Array]:
    """Select jets in one shift.

    Parameters
    ----------
    jets : mapping of str to ak.Array
        "pt", "eta", "phi", "mass" of the shift, shape (events, var).
    allowed : ak.Array
        Result of `fixed_jet_mask`.
    selection : mapping
        A channel's selection.
    holds_top : ak.Array, optional
        Jets matched to a top quark; given if the dataset requires it.

    Returns
    -------
    masks : dict of str to ndarray
        Event cuts in the order of the cutflow.
    selected : ak.Array
        Positions of the selected jets, hardest first, before the event cuts, shape (events, var).
    """
    cuts = selection["jets"]
    take = cuts["take"]
    candidate = passes_kinematics(jets, cuts["candidates"]) & allowed
    order = ak.argsort(ak.where(candidate, jets["pt"], -1.0), ascending=False)
    selected = order[candidate[order]]
    masks = {"jets": in_range(ak.to_numpy(ak.num(selected)), cuts["count"])}
    if take != "all":
        selected = selected[:, : {"leading": 1, "two_leading": 2}[take]]
    taken = {name: jets[name][selected] for name in FOUR_MOMENTUM}
    if "taken" in cuts:
        masks["taken jets"] = ak.to_numpy(ak.all(passes_kinematics(taken, cuts["taken"]), axis=1))
    if "leading" in cuts:
        masks["leading jet"] = ak.to_numpy(ak.any(passes_kinematics(taken, cuts["leading"])[:, :1], axis=1))
    if holds_top is not None:
        selected = selected[holds_top[selected]]
        masks["top match"] = ak.to_numpy(ak.num(selected) > 0)
    return masks, selected
