"""Writing of a skim as a TTree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import awkward as ak
import numpy as np
import uproot

from lhcml.common.identity import EVENT_IDENTITY
from lhcml.skim.columns import LINKS
from lhcml.skim.selection import FOUR_MOMENTUM
from lhcml.skim.systematics import KINEMATIC_SHIFTS, WEIGHT_SHIFTS

# events gathered before they are written as one cluster
CLUSTER = 20_000


def tree_branches(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Group jagged columns by collection, so that the columns of a collection share one counter branch.

    Parameters
    ----------
    columns : mapping of str to array
        Flat or jagged columns by skim name.

    Returns
    -------
    dict of str to array
        Flat columns by name, records of jagged columns by collection ("FatJet" gives "nFatJet" and "FatJet_pt").
    """
    branches: dict[str, Any] = {}
    collections: dict[str, dict[str, ak.Array]] = {}
    for name, values in columns.items():
        # positions are 32-bit integers whatever the version of the file
        if "Idx" in name or name.startswith("selectedJet_"):
            values = ak.values_astype(values, np.int32)
        if ak.Array(values).ndim == 1:
            branches[name] = ak.to_numpy(values)
        elif name.startswith("selectedJet_") or "_" not in name:
            branches[name] = ak.to_packed(values)
        else:
            collection, _, column = name.partition("_")
            collections.setdefault(collection, {})[column] = ak.to_packed(values)
    return branches | {name: ak.zip(parts) for name, parts in collections.items()}


def column_type(name: str) -> Any:
    """Return the NumPy type of a column in the skeleton of a skim."""
    integers = {"event": np.uint64, "run": np.uint32, "luminosityBlock": np.uint32}
    if name in integers:
        return integers[name]
    if name.startswith("passes_"):
        return np.bool_
    if name.startswith("weight_"):
        return np.float64
    column = name.partition("_")[2]
    return np.int32 if "Idx" in column or column in ("pdgId", "charge") or "selectedJet" in name else np.float32


def skeleton(selection: Mapping[str, Any], data: bool) -> dict[str, Any]:
    """Return the columns, without events, of the skim of a file that was skipped: what later stages rely on.

    Parameters
    ----------
    selection : mapping
        The channel's selection.
    data : bool
        Collision data.
    """
    jets = selection["jets"]["collection"]
    shifts = [] if data else [shift for shift in selection["shifts"] if shift in KINEMATIC_SHIFTS]
    weights = [] if data else [shift for shift in selection["shifts"] if shift in WEIGHT_SHIFTS]
    flat = [*EVENT_IDENTITY, *(f"weight_{shift}" for shift in ("nominal", *weights))]
    flat += [f"passes_{shift}" for shift in ("nominal", *shifts)]
    jagged = [f"{jets}_{name}" for name in FOUR_MOMENTUM]
    jagged += [f"{jets}_{name}_{shift}" for shift in shifts for name in ("pt", "mass")]
    jagged += [f"selectedJet_{shift}" for shift in ("nominal", *shifts)]
    if selection["keep"]["constituents"]:
        jagged += [f"PFCands_{name}" for name in (*FOUR_MOMENTUM, "charge", "pdgId")]
        jagged += [f"{LINKS[jets]}_{name}" for name in ("jetIdx", "pFCandsIdx")]
    columns: dict[str, Any] = {name: np.zeros(0, column_type(name)) for name in flat}
    none: Any = np.zeros(0, np.int64)
    return columns | {name: ak.unflatten(np.zeros(0, column_type(name)), none) for name in jagged}


class SkimWriter:
    """A ROOT file being written: chunks are gathered and written as clusters of the TTree `Events`.

    Parameters
    ----------
    path : Path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self.file = uproot.recreate(path, compression=uproot.ZSTD(3))
        self.tree: Any = None
        self.waiting: list[Mapping[str, Any]] = []
        self.count = 0

    def add(self, columns: Mapping[str, Any]) -> None:
        """Add the events of a chunk."""
        self.waiting.append(columns)
        self.count += len(columns["event"])
        if sum(len(chunk["event"]) for chunk in self.waiting) >= CLUSTER:
            self._write()

    def _write(self) -> None:
        chunks: Sequence[Mapping[str, Any]] = self.waiting
        columns = {name: ak.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
        branches = tree_branches(columns)
        if self.tree is None:
            self.tree = self.file.mktree(
                "Events",
                {name: getattr(values, "dtype", None) or ak.type(values).content for name, values in branches.items()},
            )
        if len(columns["event"]):
            self.tree.extend(branches)
        self.waiting = []

    def __enter__(self) -> SkimWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None and self.waiting:
                self._write()
        finally:
            self.file.close()
