"""Toy skims with both levels for the tests of the levels."""

import numpy as np
from feature_toys import COLUMNS, jet_momentum, skim_columns

# The settings that the rule gives its module
LEVELS = {
    "jet": "Jet",
    "radius": 0.4,
    "max_constituents": 200,
    "puppi_jets": [],
    "soft_drop": {"zcut": 0.1, "beta": 0},
    "data": False,
    "levels": {"jets": 1, "leptons": False, "constituents": False},
    "selection": {"candidates": {}},
}
MUON_MASS = 0.1056583755
Z_SELECTION = {
    "candidates": {},
    "muons": {"pt": {"min": 25}, "abs_eta": {"max": 2.5}, "branches": {"isIsolated": {"min": 1}}},
    "z_candidate": {"mass": {"min": 81, "max": 101}},
}


def two_levels(reco, gen, **more):
    """Columns of a skim with one event per element of `reco` and of `gen`, lists of jets, arrays (4, n) of particles.

    All detector-level jets are selected in events that have one. `more` replaces or adds columns; None removes one.
    """
    columns = {name.replace("FatJet", "Jet"): values for name, values in skim_columns(reco).items()}
    columns["passes_nominal"] = np.array([len(event) > 0 for event in reco])
    columns |= particle_columns(gen)
    columns |= more
    return {name: values for name, values in columns.items() if values is not None}


def particle_columns(gen):
    """Columns of particle-level jets and their constituents."""
    four = [[jet_momentum(particles) for particles in event] for event in gen]
    columns = {
        "GenJetCands_jetIdx": [[j for j, p in enumerate(event) for _ in p[0]] for event in gen],
        "GenJetCands_pFCandsIdx": [list(range(sum(p.shape[1] for p in event))) for event in gen],
        "GenCands_charge": [[i % 2 for p in event for i in range(p.shape[1])] for event in gen],
        "GenCands_pdgId": [[211 if i % 2 else 22 for p in event for i in range(p.shape[1])] for event in gen],
    }
    for i, name in enumerate(COLUMNS):
        columns[f"GenJet_{name}"] = [[float(momentum[i]) for momentum in event] for event in four]
        columns[f"GenCands_{name}"] = [[float(x) for p in event for x in p[i]] for event in gen]
    return columns


def record(particles):
    """Columns of GenPart from lists, one an event, of (pt, eta, phi, pdgId, status, statusFlags)."""
    names = ("pt", "eta", "phi", "pdgId", "status", "statusFlags")
    return {f"GenPart_{name}": [[row[i] for row in event] for event in particles] for i, name in enumerate(names)}


def muons(events, collection="Muon"):
    """Columns of muons from lists, one an event, of (pt, eta, phi, charge, isIsolated)."""
    names = ("pt", "eta", "phi", "charge", "isIsolated")
    return {f"{collection}_{name}": [[row[i] for row in event] for event in events] for i, name in enumerate(names)}
