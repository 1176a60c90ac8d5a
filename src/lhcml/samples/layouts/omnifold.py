"""Z + jet events of OmniFold at both levels (Zenodo 3548091; arXiv:1911.09107), as EnergyFlow describes them.

A NumPy archive (.npz) with the arrays, `gen_` at particle level and `sim_` at detector level:

  gen_jets, sim_jets            (events, 4): pT [GeV], rapidity, phi, mass of the leading jet
  gen_particles, sim_particles  (events, most, 4): pT / 100 GeV, rapidity and phi relative to the jet, a number for the
                                kind of particle; padded with zeros
  gen_Zs                        (events, 3): pT, rapidity, phi of the Z

The observables that the file has as well are left aside: they are computed here from the particles.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.errors import UserError
from lhcml.samples.arrays import Floats, Integers, Mask
from lhcml.samples.detector import ELECTRON_MASS, MUON_MASS, Particles
from lhcml.samples.imported import Batch, EventTable, by_falling_pt, single_jets
from lhcml.samples.jets import Jets, match
from lhcml.samples.nanoaod import Columns, candidate_collections, collection, jet_columns

LABELS: tuple[str, ...] = ()
# rows in memory at a time: 12 kB each with 200 particles at both levels
STEP = 2000
RADIUS = 0.4
Z_BOSON, Z_MASS = 23, 91.1876
IS_LAST_COPY = 1 << 13
MOMENTUM_UNIT = 100.0  # GeV
# ten times the number in the file is the position here: PDG code, charge, mass in GeV (Particle Data Group 2024)
KINDS = (
    (22, 0, 0.0), (211, 1, 0.13957039), (-211, -1, 0.13957039), (130, 0, 0.497611), (11, -1, ELECTRON_MASS),
    (-11, 1, ELECTRON_MASS), (13, -1, MUON_MASS), (-13, 1, MUON_MASS), (321, 1, 0.493677), (-321, -1, 0.493677),
    (2212, 1, 0.93827209), (-2212, -1, 0.93827209), (2112, 0, 0.93956542), (-2112, 0, 0.93956542),
)  # fmt: skip
ARRAYS = ("gen_jets", "sim_jets", "gen_particles", "sim_particles", "gen_Zs")
# numbers a row has in an array
WIDTHS = {"gen_Zs": (3,)}


@dataclass(frozen=True)
class StoredArray:
    """An array of an open .npz file, of which rows are read from the disk when asked for.

    Attributes
    ----------
    stream : file object
        Its bytes, uncompressed.
    begin : int
        Where the numbers begin.
    shape : tuple of int
        Shape of the array.
    dtype : dtype
        Type of its numbers.
    """

    stream: Any
    begin: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, start: int, stop: int) -> Floats:
        """Return rows `start` to `stop`, not included."""
        numbers = int(np.prod(self.shape[1:], dtype=int))
        self.stream.seek(self.begin + start * numbers * self.dtype.itemsize)
        size = (stop - start) * numbers * self.dtype.itemsize
        data = self.stream.read(size)
        if len(data) < size:
            raise EOFError(f"the array ends before row {stop}")
        return np.frombuffer(data, self.dtype).astype(np.float64).reshape(stop - start, *self.shape[1:])


def open_array(archive: zipfile.ZipFile, name: str, path: Path) -> StoredArray:
    """Return an array of an .npz file.

    Raises
    ------
    UserError
        If it is missing or not an array of numbers in rows; objects are never unpickled.
    """
    if f"{name}.npy" not in archive.namelist():
        held = ", ".join(member.removesuffix(".npy") for member in archive.namelist())
        raise UserError(f"{path} has no array {name}; it holds: {held}", "give a file of Zenodo 3548091")
    stream = archive.open(f"{name}.npy")
    version = np.lib.format.read_magic(stream)
    header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    shape, columns_first, dtype = header(stream)
    wanted = WIDTHS.get(name, (4,))
    if dtype.kind != "f" or columns_first or shape[-1:] != wanted or len(shape) != (3 if "particles" in name else 2):
        raise UserError(
            f"array {name} of {path} has shape {shape} and type {dtype}, expected rows of {wanted[0]} floats",
            "give a file of Zenodo 3548091",
        )
    return StoredArray(stream, stream.tell(), shape, dtype)


def eta_of(pt: Floats, rapidity: Floats, mass: Any) -> Floats:
    """Return the pseudorapidity of particles with pT in GeV, rapidity and mass in GeV."""
    longitudinal = np.hypot(pt, mass) * np.sinh(rapidity)
    return np.arcsinh(np.divide(longitudinal, pt, out=np.zeros_like(pt), where=pt > 0))


def read_particles(values: Floats, jets: Floats, *, detector: bool, where: str) -> Particles:
    """Return the constituents of the jets of events.

    Photons and neutral hadrons of the detector level are cells of the calorimeters: massless, so that their rapidity is
    their pseudorapidity.

    Parameters
    ----------
    values : ndarray, shape (events, most, 4)
        Particles as in the file.
    jets : ndarray, shape (events, 4)
        Jets as in the file.
    detector : bool
        Detector level.
    where : str
        Array and file, for messages.

    Raises
    ------
    UserError
        If a kind of particle is none of `KINDS`.
    """
    event, slot = np.nonzero(values[:, :, 0] > 0)
    pt, rapidity, phi, kind = values[event, slot].T
    number = np.rint(10 * kind).astype(np.int64)
    wrong = (np.abs(10 * kind - number) > 0.01) | (number < 0) | (number >= len(KINDS))
    if wrong.any():
        raise UserError(
            f"{where}: {kind[wrong][0]:g} is no kind of particle, expected 0.0, 0.1, ... {(len(KINDS) - 1) / 10}",
            "give a file of Zenodo 3548091",
        )
    code, charge, mass = (np.array(column)[number] for column in zip(*KINDS, strict=True))
    if detector:
        mass = np.where(charge == 0, 0.0, mass)
    pt = MOMENTUM_UNIT * pt
    phi = (phi + jets[event, 2] + np.pi) % (2 * np.pi) - np.pi
    eta = eta_of(pt, rapidity + jets[event, 1], mass)
    particles, _ = by_falling_pt(Particles(event, pt, eta, phi, mass, code.astype(np.int32), charge.astype(np.int32)))
    return particles


def read_jets(jets: Floats, particles: Particles) -> Jets:
    """Return the jets of one level, given as in the file with their constituents."""
    pt, rapidity, phi, mass = jets.T
    mass = np.maximum(mass, 0.0)
    return single_jets(particles, (pt, eta_of(pt, rapidity, mass), phi, mass))


def z_bosons(values: Floats) -> Any:
    """Return the generator's record: the Z alone, with the mass of the Particle Data Group."""
    pt, rapidity, phi = values.T
    one: Integers = np.ones(len(values), dtype=np.int32)
    columns = {
        "pt": pt,
        "eta": eta_of(pt, rapidity, Z_MASS),
        "phi": phi,
        "mass": np.full(len(values), Z_MASS),
        "pdgId": Z_BOSON * one,
        "status": one,
        "statusFlags": IS_LAST_COPY * one,
        "genPartIdxMother": -one,
    }
    return collection(np.ones(len(values), dtype=np.int64), columns)


def event_branches(arrays: Mapping[str, Floats], path: Path) -> Columns:
    """Return the branches of events: jets and candidates of both levels, and the Z; `arrays` as in the file."""
    size = len(arrays["gen_Zs"])
    made: dict[str, Jets] = {}
    branches: Columns = {"GenPart": z_bosons(arrays["gen_Zs"])}
    levels = {"sim": ("PFCands", "JetPFCands"), "gen": ("GenCands", "GenJetCands")}
    for level, (candidates, links) in levels.items():
        particles = read_particles(
            arrays[f"{level}_particles"], arrays[f"{level}_jets"],
            detector=level == "sim", where=f"array {level}_particles of {path}",
        )  # fmt: skip
        made[level] = read_jets(arrays[f"{level}_jets"], particles)
        branches |= candidate_collections(particles, {links: made[level]}, size, candidates)
    partner = {"genJetIdx": match(made["sim"], made["gen"], RADIUS)}
    branches["Jet"] = collection(made["sim"].counts, jet_columns(made["sim"]) | partner)
    return branches | {"GenJet": collection(made["gen"].counts, jet_columns(made["gen"]))}


@contextmanager
def open_table(path: Path, label: str, content: Mapping[str, Any]) -> Iterator[EventTable]:
    """Open a file of events; there are no labels, and all that the file has is written."""
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(path))
            stored = {name: open_array(archive, name, path) for name in ARRAYS}
        except (OSError, zipfile.BadZipFile, ValueError) as error:
            raise UserError(
                f"cannot open {path} as an .npz file: {error}", "it is missing or truncated: fetch it again"
            ) from error
        for array in stored.values():
            stack.callback(array.stream.close)
        lengths = {name: array.shape[0] for name, array in stored.items()}
        if len(set(lengths.values())) > 1:
            raise UserError(f"arrays of {path} differ in their number of events: {lengths}", "fetch it again")

        def read(start: int, stop: int) -> Batch:
            try:
                arrays = {name: array.read(start, stop) for name, array in stored.items()}
            except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
                raise UserError(
                    f"cannot read rows {start} to {stop} of {path}: {error}", "the file is damaged: fetch it again"
                ) from error
            good: Mask = np.ones(stop - start, dtype=bool)
            for values in arrays.values():
                objects = values.reshape(len(values), -1, values.shape[-1])
                good &= np.isfinite(objects).all(axis=(1, 2)) & (objects[:, :, 0] >= 0).all(axis=1)
            branches = event_branches({name: values[good] for name, values in arrays.items()}, path)
            return Batch(np.flatnonzero(good), branches, int((~good).sum()))

        yield EventTable(path, lengths["gen_Zs"], STEP, read)
