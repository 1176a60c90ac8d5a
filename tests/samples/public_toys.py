"""Small files of exactly the layouts of public data, with numbers that tests know."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import uproot
from numpy.typing import NDArray

Floats = NDArray[Any]
TOPTAG_NAMES = [f"{name}_{number}" for number in range(200) for name in ("E", "PX", "PY", "PZ")]
TOPTAG_TRUTH = ["truthE", "truthPX", "truthPY", "truthPZ"]
OMNIFOLD_CODES = (22, 211, -211, 130, 11, -11, 13, -13, 321, -321, 2212, -2212, 2112, -2112)
JETCLASS_LABELS = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")


def pickled(names: list[str], *, python2: bool = False) -> np.bytes_:
    """Return a list of texts as PyTables keeps it in an attribute: pickle protocol 0, byte strings under Python 2."""
    items = [f"S'{name}'\n" if python2 else f"V{name}\n" for name in names]
    return np.bytes_("(lp0\n" + "".join(f"{item}p{number + 1}\na" for number, item in enumerate(items)) + ".")


def jet_constituents(rng: np.random.Generator, count: int, pt: float, mass: float = 0.0) -> Floats:
    """Return (E, px, py, pz) of constituents around one direction whose pT sums to about `pt`, hardest first."""
    share = np.sort(rng.dirichlet(np.full(count, 0.7)))[::-1] * pt + 0.3
    eta, phi = 0.4 + rng.normal(scale=0.2, size=count), 1.0 + rng.normal(scale=0.2, size=count)
    px, py, pz = share * np.cos(phi), share * np.sin(phi), share * np.sinh(eta)
    return np.stack([np.sqrt(px**2 + py**2 + pz**2 + mass**2), px, py, pz], axis=1)


def toptag_rows(jets: int, seed: int = 1) -> tuple[Floats, Floats]:
    """Return momenta of shape (jets, 804), float32, and (ttv, is_signal_new)."""
    rng = np.random.default_rng(seed)
    values = np.zeros((jets, 804), dtype=np.float32)
    for row in values:
        constituents = jet_constituents(rng, rng.integers(3, 60), 600)
        row[: constituents.size] = constituents.ravel()
    integers = np.stack([np.ones(jets), rng.integers(0, 2, jets)], axis=1).astype(np.int64)
    return values, integers


def write_toptag(path: Path, values: Floats, integers: Floats, *, names: str = "python2") -> Path:
    """Write what pandas writes with `to_hdf(key="table", format="table")`; `names`: python2, python3 or none."""
    kinds = [
        ("index", "<i8"),
        ("values_block_0", values.dtype.str, values.shape[1:]),
        ("values_block_1", "<i8", integers.shape[1:]),
    ]
    records = np.zeros(len(values), dtype=kinds)
    records["index"] = np.arange(len(values))
    records["values_block_0"], records["values_block_1"] = values, integers
    with h5py.File(path, "w") as file:
        packed = hdf5plugin.Blosc(cname="blosclz", clevel=9)
        table = file.create_dataset("table/table", data=records, chunks=(min(5, len(values)),), compression=packed)
        file["table"].attrs["pandas_type"] = np.bytes_("frame_table")
        if names != "none":
            for field, columns in (("0", TOPTAG_NAMES + TOPTAG_TRUTH), ("1", ["ttv", "is_signal_new"])):
                table.attrs[f"values_block_{field}_kind"] = pickled(columns, python2=names == "python2")
    return path


def write_trigger(path: Path, particles: Floats) -> Path:
    """Write what the 40 MHz data set looks like: `Particles`, and the names of its axes."""
    with h5py.File(path, "w") as file:
        file.create_dataset("Particles", data=particles, chunks=(min(7, len(particles)), 19, 4), compression="gzip")
        file["Particles_Names"] = np.array([b"Pt", b"Eta", b"Phi", b"Class"])
        file["Particles_Classes"] = np.array(
            [b"MET_class_1", b"Four_Ele_class_2", b"Four_Mu_class_3", b"Ten_Jet_class_4"]
        )
    return path


def trigger_rows(events: int, seed: int = 2) -> Floats:
    """Return (pT, eta, phi, kind) of 19 slots of events, each with at least a hard muon; padded with zeros."""
    rng = np.random.default_rng(seed)
    values = np.zeros((events, 19, 4))
    for event in values:
        event[0] = (rng.exponential(30) + 1, 0, rng.uniform(-3, 3), 1)
        for first, most, least, kind in ((1, 4, 0, 2), (5, 4, 1, 3), (9, 10, 0, 4)):
            count = rng.integers(least, most + 1)
            pt = np.sort(rng.exponential(30, count))[::-1] + 25
            angles = rng.uniform(-2, 2, (count, 2))
            event[first : first + count] = np.column_stack([pt, angles, np.full(count, kind)])
    return values


def omnifold_arrays(events: int, seed: int = 3) -> dict[str, Floats]:
    """Return the arrays of an OmniFold file: jets at both levels, which differ by a few per cent, and the Z."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, Floats] = {
        "gen_Zs": np.stack(
            [rng.uniform(200, 500, events), rng.uniform(-2, 2, events), rng.uniform(-3, 3, events)], axis=1
        )
    }
    for level, most in (("gen", 40), ("sim", 30)):
        jets, particles = np.zeros((events, 4)), np.zeros((events, most, 4))
        for event in range(events):
            count = rng.integers(3, most)
            share = np.sort(rng.dirichlet(np.full(count, 0.7)))[::-1]
            pt = share * rng.uniform(180, 400) + 0.2
            kinds = rng.integers(0, 4 if level == "sim" else len(OMNIFOLD_CODES), count)
            offsets = rng.normal(scale=0.1, size=(count, 2))
            particles[event, :count] = np.column_stack([pt / 100, offsets, kinds / 10])
            jets[event] = (pt.sum(), rng.uniform(-2, 2), rng.uniform(0, 2 * np.pi), rng.uniform(10, 40))
        arrays[f"{level}_jets"], arrays[f"{level}_particles"] = jets, particles
        for name in ("mults", "lhas", "widths", "ang2s", "tau2s", "sdms", "zgs"):
            arrays[f"{level}_{name}"] = rng.random(events)
    return arrays


def jetclass_entries(jets: int, seed: int = 4) -> dict[str, Any]:
    """Return the branches of a tree of JetClass; the jets are of the classes QCD and Tbqq."""
    import awkward as ak

    rng = np.random.default_rng(seed)
    counts = rng.integers(2, 50, jets)
    constituents = [jet_constituents(rng, count, 700) for count in counts]
    momenta = np.concatenate(constituents)[rng.permutation(counts.sum())]
    total = np.stack([part.sum(axis=0) for part in np.split(momenta, np.cumsum(counts)[:-1])])
    pt = np.hypot(total[:, 1], total[:, 2])
    single = {
        "jet_pt": pt, "jet_eta": np.arcsinh(total[:, 3] / pt), "jet_phi": np.arctan2(total[:, 2], total[:, 1]),
        "jet_energy": total[:, 0], "jet_nparticles": counts, "jet_sdmass": rng.uniform(10, 200, jets),
        **{f"jet_tau{number}": rng.random(jets) for number in (1, 2, 3, 4)},
    }  # fmt: skip
    kind = rng.integers(0, 5, counts.sum())
    charge = np.where(np.isin(kind, (0, 3, 4)), rng.choice([-1, 1], counts.sum()), 0)
    flat = {
        **{f"part_{name}": momenta[:, position] for position, name in enumerate(("energy", "px", "py", "pz"))},
        **{f"part_{name}": rng.normal(size=counts.sum()) for name in ("deta", "dphi", "d0val", "dzval")},
        **{f"part_{name}": rng.random(counts.sum()) for name in ("d0err", "dzerr")},
        "part_charge": charge,
        **{
            f"part_is{name}": (kind == position)
            for position, name in enumerate(("ChargedHadron", "NeutralHadron", "Photon", "Electron", "Muon"))
        },
    }  # fmt: skip
    branches: dict[str, Any] = {name: np.asarray(values, dtype=np.float32) for name, values in single.items()}
    branches |= {
        name: ak.unflatten(values if values.dtype == bool else values.astype(np.float32), counts)
        for name, values in flat.items()
    }
    truth = rng.integers(0, 2, jets)
    for label in JETCLASS_LABELS:
        branches[f"label_{label}"] = {"QCD": truth == 0, "Tbqq": truth == 1}.get(label, np.zeros(jets, bool))
    return branches


def write_jetclass(path: Path, branches: dict[str, Any]) -> Path:
    """Write a ROOT file with the tree `tree`."""
    with uproot.recreate(path) as file:
        types = {
            name: values.dtype if isinstance(values, np.ndarray) else values.type.content
            for name, values in branches.items()
        }
        tree = file.mktree("tree", types)
        # a basket of each branch for 50 jets
        for first in range(0, len(branches["jet_pt"]), 50):
            tree.extend({name: values[first : first + 50] for name, values in branches.items()})
    return path


def write_archive(path: Path, members: dict[str, Path]) -> Path:
    """Write files into an archive, uncompressed as the published ones, under these names."""
    with tarfile.open(path, "w") as archive:
        for name, file in members.items():
            archive.add(file, name)
    return path
