"""The two leptons of a Z candidate at detector and at particle level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from lhcml.common.cuts import in_range

Z_MASS = 91.1876  # GeV, Particle Data Group 2024
# block of a selection -> collection, PDG code, mass in GeV
KINDS = {"muons": ("Muon", 13, 0.1056583755), "electrons": ("Electron", 11, 0.00051099895)}
RECO_COLUMNS = ("pt", "eta", "phi", "charge")
DRESSED, RECORD = "GenDressedLepton", "GenPart"
IS_PROMPT = 1 << 0  # bit of NanoAOD's statusFlags
FINAL = 1  # NanoAOD's status of a stable particle

OBSERVABLES = (
    "ll_pt", "ll_y", "lepton1_pt", "lepton1_eta", "lepton1_phi", "lepton2_pt", "lepton2_eta", "lepton2_phi",
)  # fmt: skip


def passes_kinematics(pt: Any, eta: Any, cuts: Mapping[str, Any]) -> Any:
    """Tell which objects pass the cuts "pt" and "abs_eta" of a block of a selection."""
    return in_range(pt, cuts.get("pt", {})) & in_range(abs(eta), cuts.get("abs_eta", {}))


def kinds_of(selection: Mapping[str, Any]) -> list[str]:
    """Return the lepton blocks that a selection has."""
    return [block for block in KINDS if block in selection]


def reco_branches(selection: Mapping[str, Any]) -> list[str]:
    """Return the branches of the detector-level leptons of a selection, with those that its cuts use."""
    return [
        f"{KINDS[block][0]}_{name}"
        for block in kinds_of(selection)
        for name in dict.fromkeys([*RECO_COLUMNS, *selection[block].get("branches", {})])
    ]


def gen_branches(present: set[str]) -> list[str]:
    """Return the branches of the particle-level leptons: dressed ones where the file has them."""
    if f"{DRESSED}_pt" in present:
        return [f"{DRESSED}_{name}" for name in ("pt", "eta", "phi", "pdgId")]
    return [f"{RECORD}_{name}" for name in ("pt", "eta", "phi", "pdgId", "status", "statusFlags")]


def reco_leptons(events: Mapping[str, ak.Array], selection: Mapping[str, Any]) -> list[ak.Array]:
    """Return the leptons that count in the selection, a record array of shape (events, var) for each kind.

    The cuts are those with which the skim looked for the Z candidate: pt, abs_eta and further columns.
    """
    found = []
    for block in kinds_of(selection):
        collection, _, mass = KINDS[block]
        pt, eta, phi, charge = (events[f"{collection}_{name}"] for name in RECO_COLUMNS)
        passes = passes_kinematics(pt, eta, selection[block])
        for name, limits in selection[block].get("branches", {}).items():
            values = events[f"{collection}_{name}"]
            passes = passes & in_range(values, limits)
            if "bits" in limits:
                passes = passes & ((ak.values_astype(values, np.int64) & limits["bits"]) == limits["bits"])
        found.append(momenta(pt, eta, phi, charge, mass)[passes])
    return found


def gen_leptons(events: Mapping[str, ak.Array], selection: Mapping[str, Any]) -> list[ak.Array]:
    """Return the particle-level leptons within the pt and abs_eta of the selection, as `reco_leptons` does.

    Dressed leptons where the file has them, otherwise final leptons of the record that come neither from hadrons nor
    from taus (bare: after the radiation of photons).
    """
    dressed = f"{DRESSED}_pt" in events
    source = DRESSED if dressed else RECORD
    pt, eta, phi, pdg = (events[f"{source}_{name}"] for name in ("pt", "eta", "phi", "pdgId"))
    real = pt > 0
    if not dressed:
        real = real & (events[f"{RECORD}_status"] == FINAL) & (events[f"{RECORD}_statusFlags"] & IS_PROMPT > 0)
    found = []
    for block in kinds_of(selection):
        _, code, mass = KINDS[block]
        passes = real & (abs(pdg) == code) & passes_kinematics(pt, eta, selection[block])
        found.append(momenta(pt, eta, phi, -np.sign(pdg), mass)[passes])
    return found


def momenta(pt: ak.Array, eta: ak.Array, phi: ak.Array, charge: ak.Array, mass: float) -> ak.Array:
    """Return leptons as records of pt, eta, phi, charge, px, py, pz and energy in double precision, GeV."""
    pt, eta, phi = (ak.values_astype(values, np.float64) for values in (pt, eta, phi))
    pz = pt * np.sinh(eta)
    columns = {"pt": pt, "eta": eta, "phi": phi, "charge": charge, "px": pt * np.cos(phi), "py": pt * np.sin(phi)}
    return ak.zip({**columns, "pz": pz, "energy": np.sqrt(pt**2 + pz**2 + mass**2)})


def z_pairs(kinds: list[ak.Array]) -> tuple[NDArray[np.bool_], dict[str, NDArray[np.float64]]]:
    """Find the pair of one kind and opposite charge nearest to the Z mass in each event.

    Parameters
    ----------
    kinds : list of ak.Array
        Leptons of each kind, results of `reco_leptons` or `gen_leptons`; at least one kind.

    Returns
    -------
    found : ndarray of bool, shape (events,)
        Whether the event has such a pair.
    columns : dict of str to ndarray of shape (events,)
        `OBSERVABLES` and "ll_mass", GeV and rad, lepton1 the harder one (of equal ones the first in the file); 0 where
        there is no pair.
    """
    pairs = ak.concatenate([ak.combinations(leptons, 2, fields=["a", "b"]) for leptons in kinds], axis=1)
    pairs = pairs[pairs.a.charge * pairs.b.charge < 0]
    total = {name: pairs.a[name] + pairs.b[name] for name in ("px", "py", "pz", "energy")}
    mass2 = total["energy"] ** 2 - total["px"] ** 2 - total["py"] ** 2 - total["pz"] ** 2
    # rounding may make the mass squared of two parallel leptons negative
    pairs = ak.with_field(pairs, np.sqrt(ak.where(mass2 > 0, mass2, 0.0)), "mass")
    best = pairs[ak.argmin(abs(pairs.mass - Z_MASS), axis=1, keepdims=True)]
    best = ak.firsts(best)
    found: NDArray[np.bool_] = ak.to_numpy(~ak.is_none(best))
    best = best[found]

    def column(values: Any) -> NDArray[np.float64]:
        full: NDArray[np.float64] = np.zeros(len(found))
        full[found] = ak.to_numpy(ak.drop_none(values))
        return full

    a_first = best.a.pt >= best.b.pt
    columns = {
        f"lepton{number}_{name}": column(ak.where(a_first == (number == 1), best.a[name], best.b[name]))
        for number in (1, 2)
        for name in ("pt", "eta", "phi")
    }
    px, py, pz, energy = (best.a[name] + best.b[name] for name in ("px", "py", "pz", "energy"))
    columns |= {
        "ll_pt": column(np.hypot(px, py)),
        "ll_y": column(np.arctanh(pz / energy)),
        "ll_mass": column(best.mass),
    }
    return found, columns


def passes_z(
    found: NDArray[np.bool_], columns: Mapping[str, NDArray[np.float64]], cuts: Mapping[str, Any]
) -> NDArray[np.bool_]:
    """Tell which events have a pair within the "mass" and "pt" of a selection's `z_candidate`; shape (events,)."""
    passes: NDArray[np.bool_] = found & in_range(columns["ll_mass"], cuts.get("mass", {}))
    return passes & in_range(columns["ll_pt"], cuts.get("pt", {}))
