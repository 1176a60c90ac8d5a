"""What the observables of a data set are: label, unit, definition and source of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

# name without "jet_" or "jet2_": (label, unit, definition, source)
JET = {
    "pt": ("p_T", "GeV", "transverse momentum", ""),
    "eta": ("eta", "", "pseudorapidity", ""),
    "phi": ("phi", "rad", "azimuth", ""),
    "y": ("y", "", "rapidity", ""),
    "mass": ("m", "GeV", "invariant mass", ""),
    "multiplicity": ("M", "", "number of constituents", ""),
    "width": ("w", "", "sum of z_i dR_i / R, dR_i from the axis of the constituents' sum", "arXiv:1408.3122"),
    "lnrho": ("ln rho", "", "ln(m_SD^2 / p_T^2), m_SD the soft-drop mass (zcut 0.1, beta 0)", "arXiv:1402.2657"),
    "tau1": ("tau_1", "", "N-subjettiness, N = 1, beta = 1", "arXiv:1011.2268"),
    "tau2": ("tau_2", "", "N-subjettiness, N = 2, beta = 1", "arXiv:1011.2268"),
    "tau3": ("tau_3", "", "N-subjettiness, N = 3, beta = 1", "arXiv:1011.2268"),
    "tau21": ("tau_21", "", "tau_2 / tau_1", "arXiv:1011.2268"),
    "zg": ("z_g", "", "momentum share of the softer branch at the first splitting of soft drop (zcut 0.1, beta 0)",
           "arXiv:1402.2657"),
    "ntracks": ("n_tracks", "", "number of charged constituents", ""),
}  # fmt: skip
LEPTON = {"pt": JET["pt"], "eta": JET["eta"], "phi": JET["phi"]}
PAIR = {"pt": JET["pt"], "y": JET["y"]}
PARTICLE = {
    "pt": ("p_T", "GeV", "transverse momentum", ""),
    "deta": ("delta eta", "", "pseudorapidity minus that of the jet", ""),
    "dphi": ("delta phi", "rad", "azimuth minus that of the jet", ""),
    "pdgId": ("PDG identity", "", "particle identity, Monte Carlo numbering scheme of the Particle Data Group", ""),
}
# prefix: (of what, quantities)
OBJECTS = {
    "jet": ("leading jet", JET), "jet2": ("second jet", JET), "ll": ("lepton pair", PAIR),
    "lepton1": ("leading lepton", LEPTON), "lepton2": ("second lepton", LEPTON),
    "part": ("constituents of the leading jet", PARTICLE),
}  # fmt: skip


def describe_observable(name: str, configured: Mapping[str, Any], is_list: bool) -> dict[str, Any]:
    """Return the manifest's entry of an observable.

    Parameters
    ----------
    name : str
        Column name.
    configured : mapping
        Block of the configuration, with `label`, `unit`, `definition`, `source`, `bins` or `edges`, each optional; it
        precedes what is known here.
    is_list : bool
        Whether an event holds a list.
    """
    prefix, _, quantity = name.partition("_")
    owner, known = OBJECTS.get(prefix, ("", {}))
    label, unit, definition, source = known.get(quantity, (name, "", "", ""))
    entry: dict[str, Any] = {
        "label": configured.get("label", f"{label}, {owner}" if definition else name),
        "unit": configured.get("unit", unit),
        "definition": configured.get("definition", f"{definition}, {owner}" if definition else "no definition given"),
        "source": configured.get("source", source),
        "list": is_list,
    }
    if "bins" in configured or "edges" in configured:
        entry["edges"] = bin_edges(configured)
    return entry


def variation_names(name: str, block: Mapping[str, str]) -> list[str]:
    """Return the names of the variations of a systematic source: its shifts, up before down, or its own name."""
    return [block[side] for side in ("up", "down") if side in block] or [name]


def bin_edges(block: Mapping[str, Any]) -> list[float]:
    """Return the bin edges of a configured observable, from `edges` or from `bins` with count, min and max."""
    if "edges" in block:
        return [float(edge) for edge in block["edges"]]
    bins = block["bins"]
    if "edges" in bins:
        return [float(edge) for edge in bins["edges"]]
    return [float(edge) for edge in np.linspace(bins["min"], bins["max"], bins["count"] + 1)]


def describe_cuts(cuts: Mapping[str, Mapping[str, float]], names: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return cuts as observable, range and words.

    Parameters
    ----------
    cuts : mapping
        {observable: {min, max}}, either bound optional.
    names : mapping
        Entries of `describe_observable`, for labels and units.
    """
    described = []
    for name, limits in cuts.items():
        entry = names.get(name) or describe_observable(name, {}, False)
        low, high = limits.get("min"), limits.get("max")
        unit = f" {entry['unit']}" if entry["unit"] else ""
        meaning = name if entry["definition"] == "no definition given" else entry["definition"]
        bounds = [
            f"{word} {limit:g}{unit}" for word, limit in (("at least", low), ("at most", high)) if limit is not None
        ]
        described.append({"observable": name, "min": low, "max": high, "words": f"{meaning}: {' and '.join(bounds)}"})
    return described
