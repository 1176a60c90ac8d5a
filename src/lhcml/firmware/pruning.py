"""Removal of the smallest weights of a network before it is quantised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lhcml.common.errors import UserError
from lhcml.firmware.encoding import Array


def prune_masks(kernels: Sequence[Array], percent: float) -> list[Array]:
    """Return 1 for the weights that stay and 0 for the smallest magnitudes, over all layers together.

    Exactly round(percent / 100 * number of weights) are removed; of equal magnitudes the first. Biases stay: they cost
    an adder at most.

    Parameters
    ----------
    kernels : sequence of array
        Weights of the layers.
    percent : float
        Share to remove, per cent, 0 to below 100.

    Raises
    ------
    UserError
        If the share is impossible or a layer would keep no weight, naming what to do.
    """
    if not 0 <= percent < 100:
        raise UserError(f"pruning of {percent:g} per cent", "choose from 0 to 99 per cent")
    sizes = [kernel.size for kernel in kernels]
    magnitudes = np.abs(np.concatenate([kernel.ravel() for kernel in kernels]))
    kept = np.ones(len(magnitudes))
    kept[np.argsort(magnitudes, kind="stable")[: round(percent / 100 * len(magnitudes))]] = 0.0
    masks = [
        part.reshape(kernel.shape) for part, kernel in zip(np.split(kept, np.cumsum(sizes)[:-1]), kernels, strict=True)
    ]
    if any(not mask.any() for mask in masks):
        raise UserError(f"pruning of {percent:g} per cent leaves a layer without weights", "prune less")
    return masks
