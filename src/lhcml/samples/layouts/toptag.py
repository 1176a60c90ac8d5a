"""The Top Quark Tagging Reference Dataset (Zenodo 2603256; arXiv:1902.09914): constituents of one jet a row.

A data frame of pandas in HDF5, key `table`, with the columns E_0, PX_0, PY_0, PZ_0, ... E_199, ... of up to 200
constituents in GeV, padded with zeros; truthE, truthPX, truthPY, truthPZ of the top quark; ttv (part of the official
split) and is_signal_new (1: top, 0: QCD).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.dataframes import DataFrame, open_data_frame
from lhcml.common.errors import UserError
from lhcml.samples.arrays import Floats, Integers
from lhcml.samples.detector import Particles
from lhcml.samples.imported import (
    Batch,
    EventTable,
    by_falling_pt,
    from_cartesian,
    label_mask,
    single_jets,
    summed_momentum,
)
from lhcml.samples.nanoaod import candidate_collections, collection, jet_columns

PARTICLES = 200
COMPONENTS = ("E", "PX", "PY", "PZ")
MOMENTA = tuple(f"{name}_{number}" for number in range(PARTICLES) for name in COMPONENTS)
TRUTH = ("truthE", "truthPX", "truthPY", "truthPZ", "ttv", "is_signal_new")
LABEL = "is_signal_new"
LABELS = {"background": 0, "signal": 1}
# rows in memory at a time: 6.5 kB each as float64
STEP = 2000


def column_positions(frame: DataFrame) -> tuple[Integers, int]:
    """Return the positions of the 800 components of momenta and of the label: by name, else in the documented order.

    Raises
    ------
    UserError
        If the columns are others.
    """
    names = frame.names or (MOMENTA + TRUTH if frame.columns == len(MOMENTA) + len(TRUTH) else ())
    missing = [name for name in (*MOMENTA, LABEL) if name not in names]
    if missing:
        raise UserError(
            f"{frame.path} has {frame.columns} columns and lacks {', '.join(missing[:4])}"
            + (", ..." if len(missing) > 4 else ""),
            "give train.h5, val.h5 or test.h5 of the Top Quark Tagging Reference Dataset, or another `layout`",
        )
    at = {name: position for position, name in enumerate(names)}
    return np.array([at[name] for name in MOMENTA]), at[LABEL]


def read_jets(values: Floats, content: Mapping[str, Any]) -> Batch:
    """Return the jets of rows.

    Parameters
    ----------
    values : ndarray, shape (rows, 800)
        `MOMENTA` of the rows.
    content : mapping
        The channel's `samples` block; of its `collections`, FatJet and PFCands exist here.
    """
    numbers = values.reshape(len(values), PARTICLES, len(COMPONENTS))
    energy = numbers[:, :, 0]
    good = np.isfinite(numbers).all(axis=(1, 2)) & (energy >= 0).all(axis=1) & (energy > 0).any(axis=1)
    rows = np.flatnonzero(good)
    event, slot = np.nonzero(energy[rows] > 0)
    e, px, py, pz = numbers[rows][event, slot].T
    zeros: Integers = np.zeros(len(event), dtype=np.int32)
    particles, _ = by_falling_pt(Particles(event, *from_cartesian(px, py, pz, e), zeros, zeros))
    jets = single_jets(particles, summed_momentum(particles, len(rows)))
    branches = {"FatJet": collection(jets.counts, jet_columns(jets))}
    if "PFCands" in content["collections"]:
        branches |= candidate_collections(particles, {"FatJetPFCands": jets}, len(rows), "PFCands")
    return Batch(rows, branches, int((~good).sum()))


@contextmanager
def open_table(path: Path, label: str, content: Mapping[str, Any]) -> Iterator[EventTable]:
    """Open a file of jets; parameters as in `lhcml.samples.import_events.import_rows`."""
    with open_data_frame(path, key="table") as frame:
        momenta, truth = column_positions(frame)

        def read(start: int, stop: int) -> Batch:
            values = frame.read(start, stop)
            chosen = np.flatnonzero(label_mask(values[:, truth], label, LABELS, path, start))
            batch = read_jets(values[chosen][:, momenta], content)
            return Batch(chosen[batch.rows], batch.branches, batch.bad)

        yield EventTable(path, frame.rows, STEP, read)
