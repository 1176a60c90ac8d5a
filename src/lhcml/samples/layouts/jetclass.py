"""JetClass (Zenodo 6619768; arXiv:2202.03772): a jet with its particles an entry of a ROOT tree.

ROOT file, also inside of the .tar archives as they are published, with the tree `tree`: per jet jet_pt, jet_eta,
jet_phi, jet_energy, jet_sdmass, jet_tau1 .. jet_tau4 and label_QCD, label_Hbb, ...; per particle part_px, part_py,
part_pz, part_energy (GeV), part_charge, what it is (part_isElectron, ...) and its impact parameters in mm.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from lhcml.common.errors import UserError
from lhcml.samples.arrays import Floats, Integers, Mask
from lhcml.samples.detector import Particles
from lhcml.samples.imported import Batch, EventTable, by_falling_pt, from_cartesian, single_jets
from lhcml.samples.nanoaod import Columns, candidate_collections, collection, jet_columns
from lhcml.samples.public import split_member

LABELS = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
TREE = "tree"
# entries in memory at a time: about 10 kB each
STEP = 5000
JETS = ("jet_pt", "jet_eta", "jet_phi", "jet_energy")
# NanoAOD name of FatJet -> branch
JET_EXTRAS = {"msoftdrop": "jet_sdmass", **{f"tau{number}": f"jet_tau{number}" for number in (1, 2, 3, 4)}}
MOMENTA = ("part_px", "part_py", "part_pz", "part_energy")
# branch -> PDG code, to be multiplied by the charge where it has one: leptons of positive charge have negative codes
KINDS = {
    "part_isChargedHadron": (211, True),
    "part_isNeutralHadron": (130, False),
    "part_isPhoton": (22, False),
    "part_isElectron": (-11, True),
    "part_isMuon": (-13, True),
}
# PFNano name of PFCands -> branch; mm here, cm there
IMPACT = {"d0": "part_d0val", "d0Err": "part_d0err", "dz": "part_dzval", "dzErr": "part_dzerr"}
MM_TO_CM = 0.1
BRANCHES = (*JETS, *JET_EXTRAS.values(), *MOMENTA, "part_charge", *KINDS, *IMPACT.values())


@contextmanager
def open_tree(path: Path) -> Iterator[Any]:
    """Open the tree of a ROOT file, or of one inside of an archive: "x.tar/val_5M/HToBB_120.root".

    Raises
    ------
    UserError
        If the file, the member of the archive or the tree is missing or damaged.
    """
    import uproot

    archive, member = split_member(str(path))
    with ExitStack() as stack:
        try:
            source: Any = path
            if member is not None:
                source = open_member(stack.enter_context(tarfile.open(archive, "r:")), member, archive)
            # entries are read once: no cache, which would keep up to 100 MB of them
            file = stack.enter_context(uproot.open(source, array_cache=None))
            tree = file[TREE]
        except UserError:
            raise
        except uproot.exceptions.KeyInFileError as error:
            raise UserError(f"{path} has no tree {TREE!r}", "give a file of JetClass, or another `layout`") from error
        except Exception as error:  # uproot raises a dozen types on damaged bytes
            reason = (str(error).strip().splitlines() or ["no message"])[0]
            raise UserError(
                f"cannot open {path} as a ROOT file ({type(error).__name__}: {reason})",
                "it is missing or truncated: fetch it again",
            ) from error
        yield tree


def open_member(archive: tarfile.TarFile, member: str, path: str) -> Any:
    """Return a file inside of an archive, as a file object that can seek: nothing is unpacked.

    Raises
    ------
    UserError
        If it is not there, naming some that are.
    """
    names = []
    for info in archive:
        if info.isfile() and info.name.removeprefix("./") == member:
            return archive.extractfile(info)
        names.append(info.name)
    raise UserError(
        f"{path} has no file {member!r}; it begins with: {', '.join(names[:5]) or 'nothing'}",
        f"`tar -tf {path}` lists what it holds",
    )


def check_branches(tree: Any, path: Path, label: str) -> list[str]:
    """Return the branches to read, after checking that the tree has them."""
    wanted = [*BRANCHES, *([] if label == "all" else [f"label_{label}"])]
    missing = [name for name in wanted if name not in tree]
    if missing:
        raise UserError(
            f"{path} has no branch {', '.join(missing[:5])}", "give a file of JetClass, or another `layout`"
        )
    return wanted


def particle_codes(flat: Mapping[str, Any], charge: Integers) -> Integers:
    """Return the particle-flow code of each particle: 211, 11 and 13 with their signs, 22, 130; 0 if it is none."""
    code: Integers = np.zeros(len(charge), dtype=np.int32)
    for name, (number, charged) in KINDS.items():
        code = np.where(flat[name] > 0, number * (charge if charged else 1), code)
    return code.astype(np.int32)


def read_jets(entries: ak.Array, content: Mapping[str, Any]) -> Batch:
    """Return the jets of entries of the tree; of the `collections` of the content, FatJet and PFCands exist here."""
    counts = ak.to_numpy(ak.num(entries["part_px"])) if len(entries) else np.zeros(0, dtype=np.int64)
    jet: dict[str, Floats] = {
        name: ak.to_numpy(entries[name]).astype(np.float64) for name in (*JETS, *JET_EXTRAS.values())
    }
    good: Mask = (counts > 0) & (jet["jet_pt"] > 0)
    for values in jet.values():
        good &= np.isfinite(values)
    for name in (*MOMENTA, "part_charge", *IMPACT.values()):
        good &= ak.to_numpy(ak.all(np.isfinite(entries[name]), axis=1))
    kept, counts = entries[good], counts[good]
    jet = {name: values[good] for name, values in jet.items()}
    flat = {name: ak.to_numpy(ak.flatten(kept[name])) for name in BRANCHES if name.startswith("part_")}
    event: Integers = np.repeat(np.arange(len(counts)), counts)
    charge = np.rint(flat["part_charge"]).astype(np.int32)
    momenta = from_cartesian(*(flat[name].astype(np.float64) for name in MOMENTA))
    particles, order = by_falling_pt(Particles(event, *momenta, particle_codes(flat, charge), charge))
    pt, eta, phi, energy = (jet[name] for name in JETS)
    mass = np.sqrt(np.maximum(energy**2 - (pt * np.cosh(eta)) ** 2, 0.0))
    jets = single_jets(particles, (pt, eta, phi, mass))
    extras = {name: jet[branch] for name, branch in JET_EXTRAS.items()}
    branches: Columns = {"FatJet": collection(jets.counts, jet_columns(jets) | extras)}
    if "PFCands" in content["collections"]:
        branches |= candidate_collections(particles, {"FatJetPFCands": jets}, len(counts), "PFCands")
        # all particles belong to a jet, so the candidates are the particles in their order
        impact = {name: MM_TO_CM * flat[branch][order].astype(np.float64) for name, branch in IMPACT.items()}
        for name, values in impact.items():
            branches["PFCands"] = ak.with_field(
                branches["PFCands"], ak.unflatten(values.astype(np.float32), counts), name
            )
    return Batch(np.flatnonzero(good), branches, int((~good).sum()))


@contextmanager
def open_table(path: Path, label: str, content: Mapping[str, Any]) -> Iterator[EventTable]:
    """Open a file of jets; parameters as in `lhcml.samples.import_events.import_rows`."""
    with open_tree(path) as tree:
        wanted = check_branches(tree, path, label)

        def read(start: int, stop: int) -> Batch:
            try:
                entries = tree.arrays(wanted, entry_start=start, entry_stop=stop)
            except Exception as error:  # uproot raises a dozen types on damaged bytes
                raise UserError(
                    f"cannot read entries {start} to {stop} of {path}: {error}", "the file is damaged: fetch it again"
                ) from error
            chosen: Integers = np.arange(len(entries))
            if label != "all":
                chosen = np.flatnonzero(ak.to_numpy(entries[f"label_{label}"]) > 0)
            batch = read_jets(entries[chosen], content)
            return Batch(chosen[batch.rows], batch.branches, batch.bad)

        yield EventTable(path, tree.num_entries, STEP, read)
