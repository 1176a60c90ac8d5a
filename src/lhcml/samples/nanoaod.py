"""Event files with the branch names of NanoAOD and PFNano."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any

import awkward as ak
import numpy as np
import uproot

from lhcml.common.files import write_atomic
from lhcml.samples.arrays import Floats, Integers, Mask
from lhcml.samples.detector import ELECTRON_MASS, MUON_MASS, Particles
from lhcml.samples.jets import Jets
from lhcml.samples.reconstruction import Leptons
from lhcml.samples.truth import GenParticles

Columns = dict[str, Any]


def collection(counts: Integers, columns: Mapping[str, Floats]) -> ak.Array:
    """Return a jagged collection; floating-point columns become float32 as in NanoAOD.

    Parameters
    ----------
    counts : ndarray of int, shape (events,)
        Number of objects of each event.
    columns : mapping of ndarray, shape (objects,)
        Properties.
    """
    narrow = {
        name: values.astype(np.float32) if values.dtype == np.float64 else values for name, values in columns.items()
    }
    return ak.unflatten(ak.zip(narrow, depth_limit=1), counts)


def jet_columns(jets: Jets) -> dict[str, Floats]:
    """Return the properties of jets by NanoAOD name."""
    return {
        "pt": jets.pt,
        "eta": jets.eta,
        "phi": jets.phi,
        "mass": jets.mass,
        "nConstituents": jets.constituent_counts.astype(np.int32),
    }


def lepton_collection(leptons: Leptons, code: int, events: int) -> ak.Array:
    """Return Electron (code 11) or Muon (13)."""
    size = len(leptons.pt)
    columns = {
        "pt": leptons.pt,
        "eta": leptons.eta,
        "phi": leptons.phi,
        "mass": np.full(size, ELECTRON_MASS if code == 11 else MUON_MASS),
        "charge": leptons.charge.astype(np.int32),
        "pdgId": (-code * leptons.charge).astype(np.int32),
        "pfRelIso03_all": leptons.relative_isolation_03,
        "isIsolated": leptons.isolated,
    }
    # the parametric identification has one working point, called by the names of NanoAOD's tight ones
    if code == 11:
        columns["cutBased"] = np.full(size, 4, dtype=np.int32)
    else:
        columns["tightId"] = np.ones(size, dtype=bool)
    return collection(np.bincount(leptons.event, minlength=events), columns)


def gen_part_collection(particles: GenParticles) -> ak.Array:
    """Return GenPart."""
    return collection(
        particles.counts,
        {
            "pt": particles.pt,
            "eta": particles.eta,
            "phi": particles.phi,
            "mass": particles.mass,
            "pdgId": particles.pdg_id.astype(np.int32),
            "status": particles.status,
            "statusFlags": particles.status_flags,
            "genPartIdxMother": particles.mother,
        },
    )


def candidate_collections(
    candidates: Particles, jets: Mapping[str, Jets], events: int, name: str
) -> dict[str, ak.Array]:
    """Return the candidates that belong to a jet, and for each jet collection its cross references.

    As in PFNano, a cross-reference collection lists the constituents jet by jet: `jetIdx` is the jet and `pFCandsIdx`
    the candidate, both counted in their event.

    Parameters
    ----------
    candidates : Particles
        All candidates of the events, sorted by event.
    jets : mapping of Jets
        Jets made of these candidates, by the name of their cross-reference collection (FatJetPFCands, JetPFCands, ...).
    events : int
        Number of events.
    name : str
        Name of the candidate collection (PFCands or GenCands).
    """
    used: Mask = np.zeros(len(candidates.pt), dtype=bool)
    for group in jets.values():
        used[group.constituents] = True
    counts = np.bincount(candidates.event[used], minlength=events)
    number = np.cumsum(used) - 1
    first = np.cumsum(counts) - counts
    collections = {
        name: collection(
            counts,
            {
                "pt": candidates.pt[used],
                "eta": candidates.eta[used],
                "phi": candidates.phi[used],
                "mass": candidates.mass[used],
                "pdgId": candidates.pdg_id[used].astype(np.int32),
                "charge": candidates.charge[used].astype(np.int32),
            },
        )
    }
    for reference, group in jets.items():
        event: Integers = np.repeat(np.arange(events), group.counts)
        first_jet = np.cumsum(group.counts) - group.counts
        jet = np.arange(len(group.pt)) - first_jet[event]
        event_of: Integers = np.repeat(event, group.constituent_counts)
        collections[reference] = collection(
            np.bincount(event_of, minlength=events),
            {
                "jetIdx": np.repeat(jet, group.constituent_counts).astype(np.int32),
                "pFCandsIdx": (number[group.constituents] - first[event_of]).astype(np.int32),
                "pt": candidates.pt[group.constituents],
            },
        )
    return collections


class EventFile(AbstractContextManager["EventFile"]):
    """A ROOT file with the trees `Events` and `Runs`, written batch by batch and renamed when complete.

    Parameters
    ----------
    path : path
        Final name.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        self._tree: Any = None

    def __enter__(self) -> EventFile:
        with ExitStack() as stack:
            temporary = stack.enter_context(write_atomic(self._path))
            self._file = stack.enter_context(closing(uproot.recreate(temporary, compression=uproot.ZSTD(3))))
            # left open for the block; a failure up to here closes both
            self._open = stack.pop_all()
        return self

    def add(self, events: Columns) -> None:
        """Append a batch: plain columns of shape (events,) and jagged collections, the same ones in each batch."""
        if self._tree is None:
            types = {
                name: values.type.content if isinstance(values, ak.Array) else values.dtype
                for name, values in events.items()
            }
            self._tree = self._file.mktree("Events", types, title="Events")
        self._tree.extend(events)

    def finish(self, runs: Mapping[str, Floats]) -> None:
        """Write the tree `Runs` of one entry."""
        types = {name: ak.Array(values).type.content for name, values in runs.items()}
        self._file.mktree("Runs", types, title="Runs").extend({name: ak.Array(values) for name, values in runs.items()})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)
