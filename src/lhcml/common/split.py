"""The split into training, validation and test events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.hashing import GOLDEN, hash_events, mix, to_uniform

SPLITS = ("train", "validation", "test")


def split_events(run: Any, block: Any, event: Any, *, fractions: Mapping[str, float]) -> NDArray[np.str_]:
    """Return "train", "validation" or "test" for each event, from a hash of its identity and nothing else.

    An event keeps its part when files are added, reordered or cut into other chunks, in every systematic shift, and
    all jets of an event share it, so no event is on both sides of a split.

    Parameters
    ----------
    run, block, event : integer arrays of shape (n,)
        NanoAOD's `run`, `luminosityBlock`, `event`.
    fractions : mapping of str to float
        Expected fractions of the three parts; they sum to 1.

    Raises
    ------
    ValueError
        If the fractions do not sum to 1.
    """
    edges = np.cumsum([fractions[name] for name in SPLITS])
    if abs(edges[-1] - 1.0) > 1e-9:
        raise ValueError(f"fractions of {', '.join(SPLITS)} sum to {edges[-1]}, not 1")
    # mixed once more, so that other uses of the event hash are independent of the split
    uniform = to_uniform(mix(hash_events(run, block, event) + GOLDEN))
    part = np.searchsorted(edges[:-1], uniform, side="right")
    return np.asarray(SPLITS)[part]
