"""Objects of events in skims: read some events at a time, chosen by cuts, apart from others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from lhcml.common.cuts import in_range
from lhcml.common.errors import UserError


def read_steps(path: Path, names: Sequence[str], step: int) -> Iterator[ak.Array]:
    """Yield the branches of a skim that it has out of `names`, `step` events at a time; at least one step.

    Raises
    ------
    UserError
        If the file cannot be read.
    """
    try:
        with uproot.open(path) as file:
            tree = file["Events"]
            present = [name for name in names if name in tree]
            for start in range(0, max(tree.num_entries, 1), step):
                yield tree.arrays(present, entry_start=start, entry_stop=start + step)
    except Exception as error:  # uproot raises a dozen types on damaged bytes
        reason = (str(error).strip().splitlines() or ["no message"])[0]
        raise UserError(f"cannot read {path} ({type(error).__name__}: {reason})", "make the skim again") from error


def passing(objects: ak.Array, cuts: Mapping[str, Mapping[str, float]]) -> ak.Array:
    """Return the objects that pass the cuts on their columns; `abs_eta` is the absolute pseudorapidity."""
    for name, limits in cuts.items():
        values = abs(objects["eta"]) if name == "abs_eta" else objects[name]
        objects = objects[in_range(values, limits)]
    return objects


def apart(objects: ak.Array, others: ak.Array, distance: float) -> ak.Array:
    """Return the objects with none of the others within a distance in (eta, phi)."""
    one, two = ak.unzip(ak.cartesian([objects, others], axis=1, nested=True))
    dphi = (one["phi"] - two["phi"] + np.pi) % (2 * np.pi) - np.pi
    near = np.hypot(one["eta"] - two["eta"], dphi) < distance
    return objects[~ak.any(near, axis=-1)]
