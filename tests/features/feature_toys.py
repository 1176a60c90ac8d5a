"""Toy jets and skims for the tests of the features stage."""

import awkward as ak
import numpy as np
import uproot

COLUMNS = ("pt", "eta", "phi", "mass")
# The settings that the rule gives its module
CONFIG = {
    "jet": "FatJet",
    "radius": 0.8,
    "max_constituents": 200,
    "puppi_jets": ["FatJet"],
    "soft_drop": {"zcut": 0.1, "beta": 0},
    "efp": {"degree": 0, "beta": 0.5},
    "perturbations": {"smear": {"pt": 0.1, "eta": 0.005, "phi": 0.005}, "drop": {"probability": 0.1}},
    "split": {"train": 0.4, "validation": 0.1, "test": 0.5},
}


def toy_jet(rng, n, mass=0.1396):
    """A jet of n particles: momenta over three decades, around a random axis."""
    axis_eta, axis_phi = rng.uniform(-2, 2), rng.uniform(-np.pi, np.pi)
    phi = (axis_phi + rng.normal(0, 0.25, n) + np.pi) % (2 * np.pi) - np.pi
    return np.array(
        [600 / max(n, 1) * rng.pareto(1.5, n) + 0.3, axis_eta + rng.normal(0, 0.25, n), phi, np.full(n, mass)]
    )


def skim_columns(jets, **more):
    """Columns of a skim with one event per element of `jets`, a list of jets, each an array (4, n) of particles.

    All jets are selected; the first event is 1:1:1. `more` replaces or adds columns; None removes one.
    """
    n = len(jets)
    four = [[jet_momentum(particles) for particles in event] for event in jets]
    columns = {
        "run": np.full(n, 1, np.uint32),
        "luminosityBlock": np.full(n, 1, np.uint32),
        "event": np.arange(1, n + 1, dtype=np.uint64),
        "weight_nominal": np.full(n, 2.0),
        "selectedJet_nominal": [list(range(len(event))) for event in jets],
        "FatJetPFCands_jetIdx": [[j for j, p in enumerate(event) for _ in p[0]] for event in jets],
        "FatJetPFCands_pFCandsIdx": [list(range(sum(p.shape[1] for p in event))) for event in jets],
    }
    for i, name in enumerate(COLUMNS):
        columns[f"FatJet_{name}"] = [[float(momentum[i]) for momentum in event] for event in four]
        columns[f"PFCands_{name}"] = [[float(x) for p in event for x in p[i]] for event in jets]
    columns["PFCands_charge"] = [[1 for p in event for _ in p[0]] for event in jets]
    columns["PFCands_pdgId"] = [[211 for p in event for _ in p[0]] for event in jets]
    columns |= more
    return {name: values for name, values in columns.items() if values is not None}


def jet_momentum(particles):
    """pt, eta, phi, mass of the sum of particles."""
    pt, eta, phi, mass = particles
    px, py, pz = np.sum(pt * np.cos(phi)), np.sum(pt * np.sin(phi)), np.sum(pt * np.sinh(eta))
    energy = np.sum(np.hypot(pt * np.cosh(eta), mass))
    total = np.hypot(px, py)
    return total, np.arcsinh(pz / total), np.arctan2(py, px), max(energy**2 - total**2 - pz**2, 0.0) ** 0.5


def write_skim(path, columns):
    """Write columns to a TTree as the skim stage does: float32, counters beside lists."""
    arrays = {}
    for name, values in columns.items():
        if isinstance(values, np.ndarray):
            arrays[name] = values
            continue
        integers = ("charge", "pdgId", "status", "statusFlags", "isIsolated")
        integer = "Idx" in name or name.endswith(integers) or name.startswith("selectedJet")
        kind = np.int32 if integer else np.float32
        arrays[name] = ak.values_astype(ak.from_iter([*values, [0]])[:-1], kind)
    with uproot.recreate(path) as file:
        types = {name: a.dtype if isinstance(a, np.ndarray) else a.type for name, a in arrays.items()}
        tree = file.mktree("Events", types, counter_name=lambda name: "n" + name)
        tree.extend(arrays)
    return path
