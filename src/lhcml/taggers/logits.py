"""From logits to scores and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Scores nearer to 0 or 1 than this have no finite logit in double precision
SMALLEST = 1e-15


def sigmoid(margin: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return 1/(1+exp(-margin)) without overflow.

    In double precision: near 1, single precision would make jets tie that do not.
    """
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * margin.astype(np.float64))))


def logit(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log(s/(1-s)), limited to +-34.5 where a score is 0 or 1 in double precision."""
    clipped = np.clip(score, SMALLEST, 1 - SMALLEST)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))
