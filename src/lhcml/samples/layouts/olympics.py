"""Events of the LHC Olympics (Zenodo 4536377, 6466204; arXiv:2101.08320): all particles of an event a row.

A data frame of pandas in HDF5: pT, eta, phi of 700 massless particles, padded with zeros, and in some files the truth
label as last column. Jets are clustered here. docs/anomaly_inputs.md tells more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.dataframes import DataFrame, open_data_frame
from lhcml.common.errors import UserError
from lhcml.samples.arrays import Floats, Integers, Mask
from lhcml.samples.detector import Particles
from lhcml.samples.imported import Batch, EventTable, by_falling_pt, label_mask
from lhcml.samples.jets import Jets, cluster
from lhcml.samples.nanoaod import Columns, candidate_collections, collection, jet_columns
from lhcml.samples.reconstruction import missing_momentum

PARTICLES = 700
LABELS = {"background": 0, "signal": 1}
# rows in memory at a time: 17 kB each
STEP = 500
# least pT of jets in GeV, as for the events that are generated here
FAT_JET_MIN_PT = 170.0
JET_MIN_PT = 15.0


def check_columns(frame: DataFrame, label: str) -> None:
    """Check that a file holds events, and labels if some are asked for.

    Raises
    ------
    UserError
        Naming what the file has instead.
    """
    if frame.columns not in (3 * PARTICLES, 3 * PARTICLES + 1):
        raise UserError(
            f"{frame.path} has {frame.columns} columns, expected {3 * PARTICLES} (pT, eta, phi of particles) or one "
            "more (the label)",
            "a file of features belongs to the section `anomaly`: anomaly.imports.<name>.olympics",
        )
    if label != "all" and frame.columns == 3 * PARTICLES:
        raise UserError(
            f"{frame.path} has no column of labels, and label {label!r} is asked for", "set `label: all` in its dataset"
        )


def read_particles(values: Floats) -> tuple[Integers, Particles]:
    """Return the good rows among some and their particles: massless, code and charge unknown (0).

    A row is bad if a number is NaN or infinite, a pT negative, or there is no particle.

    Parameters
    ----------
    values : ndarray, shape (rows, 2100)
        Rows as in the file.
    """
    numbers = values.reshape(len(values), PARTICLES, 3)
    good: Mask = np.isfinite(numbers).all(axis=(1, 2)) & (numbers[:, :, 0] >= 0).all(axis=1)
    rows = np.flatnonzero(good & (numbers[:, :, 0] > 0).any(axis=1))
    numbers = numbers[rows]
    event, slot = np.nonzero(numbers[:, :, 0] > 0)
    pt, eta, phi = (numbers[event, slot, position] for position in range(3))
    zeros: Integers = np.zeros(len(event), dtype=np.int32)
    particles, _ = by_falling_pt(Particles(event, pt, eta, phi, np.zeros(len(event)), zeros, zeros))
    return rows, particles


def event_branches(particles: Particles, size: int, content: Mapping[str, Any]) -> Columns:
    """Return the branches of events: jets, their candidates, missing momentum.

    Parameters
    ----------
    particles : Particles
        Particles of the events, at least one.
    size : int
        Number of events.
    content : mapping
        The channel's `samples` block; of its `collections`, FatJet, Jet and PFCands exist here.
    """
    branches: Columns = {}
    references: dict[str, Jets] = {}
    kinds = {"FatJet": (content["fat_jet_radius"], FAT_JET_MIN_PT), "Jet": (0.4, JET_MIN_PT)}
    for name, (radius, min_pt) in kinds.items():
        if name in content["collections"]:
            jets = cluster(particles, events=size, radius=radius, min_pt=min_pt)
            branches[name] = collection(jets.counts, jet_columns(jets))
            references[f"{name}PFCands"] = jets
    if "PFCands" in content["collections"]:
        branches |= candidate_collections(particles, references, size, "PFCands")
    pt, phi, sum_et = missing_momentum(particles.event, particles.pt, particles.phi, size)
    met = {"MET_pt": pt, "MET_phi": phi, "MET_sumEt": sum_et}
    return branches | {name: values.astype(np.float32) for name, values in met.items()}


def no_events(content: Mapping[str, Any]) -> Columns:
    """Return the branches of no events, with the types that they have otherwise."""
    # FastJet's interface needs a particle to begin with
    one = Particles(*(np.array([value]) for value in (0, 1.0, 0.0, 0.0, 0.0, 0, 0)))
    return {name: values[:0] for name, values in event_branches(one, 1, content).items()}


@contextmanager
def open_table(path: Path, label: str, content: Mapping[str, Any]) -> Iterator[EventTable]:
    """Open a file of events; parameters as in `lhcml.samples.import_events.import_rows`."""
    with open_data_frame(path) as frame:
        check_columns(frame, label)

        def read(start: int, stop: int) -> Batch:
            values = frame.read(start, stop)
            chosen = np.arange(len(values))
            if frame.columns > 3 * PARTICLES:
                chosen = np.flatnonzero(label_mask(values[:, -1], label, LABELS, path, start))
            rows, particles = read_particles(values[chosen, : 3 * PARTICLES])
            branches = event_branches(particles, len(rows), content) if len(rows) else no_events(content)
            return Batch(chosen[rows], branches, len(chosen) - len(rows))

        yield EventTable(path, frame.rows, STEP, read)
