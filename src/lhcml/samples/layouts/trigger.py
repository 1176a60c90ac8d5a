"""Anomaly detection at 40 MHz (Zenodo 5046389 and its signals; arXiv:2107.02157): trigger objects of an event a row.

HDF5 with the dataset `Particles` of shape (rows, 19, 4): pT [GeV], eta, phi [rad] and the kind of object (1: missing
momentum, 2: electron, 3: muon, 4: jet; 0: none). Slot 0 is the missing momentum, slots 1-4 electrons, 5-8 muons, 9-18
jets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.dataframes import open_hdf5
from lhcml.common.errors import UserError
from lhcml.samples.arrays import Floats
from lhcml.samples.detector import ELECTRON_MASS, MUON_MASS
from lhcml.samples.imported import Batch, EventTable
from lhcml.samples.nanoaod import Columns, collection

LABELS: tuple[str, ...] = ()
NAME = "Particles"
SHAPE = (19, 4)
MET = 1
# collection -> its slots, the kind in the file, the mass in GeV; jets have none in the file
OBJECTS = {
    "Electron": (slice(1, 5), 2, ELECTRON_MASS),
    "Muon": (slice(5, 9), 3, MUON_MASS),
    "Jet": (slice(9, 19), 4, 0.0),
}
# rows in memory at a time: 0.6 kB each
STEP = 20_000


def check_kinds(values: Floats, path: Path, start: int) -> None:
    """Raise a UserError if an object with pT has another kind than its slot."""
    kinds = np.zeros(SHAPE[0])
    kinds[0] = MET
    for slots, kind, _ in OBJECTS.values():
        kinds[slots] = kind
    wrong = np.argwhere((values[:, :, 0] > 0) & (values[:, :, 3] != kinds))
    if len(wrong):
        row, slot = wrong[0]
        raise UserError(
            f"slot {slot} of row {start + row} of {path} has the kind {values[row, slot, 3]:g}, expected "
            f"{kinds[slot]:g}",
            "give a file of the 40 MHz data set, or another `layout`",
        )


def event_branches(values: Floats) -> Columns:
    """Return the branches of events, shape (events, 19, 4): missing momentum, electrons, muons, jets.

    Charges are unknown, 0.
    """
    branches: Columns = {
        "MET_pt": values[:, 0, 0].astype(np.float32),
        "MET_phi": values[:, 0, 2].astype(np.float32),
    }
    for name, (slots, _, mass) in OBJECTS.items():
        objects = values[:, slots]
        there = objects[:, :, 0] > 0
        pt, eta, phi, _ = objects[there].T
        columns = {"pt": pt, "eta": eta, "phi": phi, "mass": np.full(len(pt), mass)}
        if name != "Jet":
            columns["charge"] = np.zeros(len(pt), dtype=np.int32)
        branches[name] = collection(there.sum(axis=1), columns)
    return branches


@contextmanager
def open_table(path: Path, label: str, content: Mapping[str, Any]) -> Iterator[EventTable]:
    """Open a file of trigger objects; there are no labels, and all objects are written."""
    import h5py  # type: ignore[import-not-found,import-untyped,unused-ignore]

    with open_hdf5(path) as file:
        dataset = file.get(NAME)
        if not isinstance(dataset, h5py.Dataset) or dataset.shape[1:] != SHAPE:
            raise UserError(
                f"{path} has no dataset {NAME!r} of shape (events, 19, 4); it holds: {', '.join(file) or 'nothing'}",
                "give a file of the 40 MHz data set, or another `layout`",
            )

        def read(start: int, stop: int) -> Batch:
            try:
                values = dataset[start:stop].astype(np.float64)
            except (OSError, RuntimeError) as error:
                raise UserError(
                    f"cannot read rows {start} to {stop} of {path}: {error}", "the file is damaged: fetch it again"
                ) from error
            good = np.isfinite(values).all(axis=(1, 2)) & (values[:, :, 0] >= 0).all(axis=1)
            check_kinds(values, path, start)
            return Batch(np.flatnonzero(good), event_branches(values[good]), int((~good).sum()))

        yield EventTable(path, len(dataset), STEP, read)
