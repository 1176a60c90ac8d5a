"""Bootstrap weights that depend on nothing but the event: Poisson of mean 1, from a hash of its identity.

Every method, observable and systematic variation gives an event the same weight in replica r, so their replicas are
correlated as the data are, and anybody with the event numbers can make the same replicas (the same idea as ATLAS's
BootstrapGenerator, ATL-PHYS-PUB-2021-011).
"""

from __future__ import annotations

from itertools import accumulate
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lhcml.common.hashing import GOLDEN, hash_events, mix, to_uniform
from lhcml.common.seeds import derive_seed

# P(n <= k) of the Poisson law of mean 1 for k = 0 .. 18; beyond, it is 1 in double precision
CUMULATIVE = np.exp(-1.0) * np.cumsum([1.0, *(1.0 / f for f in accumulate(range(1, 19), lambda a, b: a * b))])


def poisson_weights(
    run_seed: int,
    kind: Literal["data", "simulation"],
    replica: int,
    run: ArrayLike,
    luminosity_block: ArrayLike,
    event: ArrayLike,
) -> NDArray[np.float64]:
    """Return the bootstrap weights of events in one replica, shape (events,), whole numbers of mean and variance 1.

    Parameters
    ----------
    run_seed : int
        Seed of the whole run (the root seed of the configuration), the same for all methods.
    kind : "data" or "simulation"
        Their replicas are independent, even where pseudo-data share event numbers with the simulation.
    replica : int
        Number of the replica, from 0.
    run, luminosity_block, event : integer arrays of shape (events,)
        Identity of the events. Events of the same identity, such as those of two processes generated with the same
        numbers, get the same weight.
    """
    key = mix(np.asarray([derive_seed(run_seed, "bootstrap", kind, replica)], np.uint64) + GOLDEN)
    uniform = to_uniform(mix(hash_events(run, luminosity_block, event) ^ key))
    return np.searchsorted(CUMULATIVE, uniform, side="right").astype(np.float64)
