"""Hand-made particles for the tests of the detector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lhcml.samples.detector import Particles

CHARGE = {211: 1, -211: -1, 22: 0, 130: 0, 310: 0, 11: -1, -11: 1, 13: -1, -13: 1, 2112: 0, 2212: 1}
MASS = {211: 0.1395704, 22: 0.0, 130: 0.4976, 310: 0.4976, 11: 0.000511, 13: 0.1056584, 2112: 0.9396, 2212: 0.9383}


def particles(rows: Sequence[tuple[int, int, float, float, float]]) -> Particles:
    """Return particles from (event, code, pt, eta, phi)."""
    rows = sorted(rows, key=lambda row: (row[0], -row[2]))
    event, code, pt, eta, phi = (np.array(column) for column in zip(*rows, strict=True))
    return Particles(
        event=event,
        pt=pt.astype(float),
        eta=eta.astype(float),
        phi=phi.astype(float),
        mass=np.array([MASS[abs(c)] for c in code]),
        pdg_id=code,
        charge=np.array([CHARGE[c] for c in code]),
    )


def random_particles(rng: np.random.Generator, events: int, count: int, codes: Sequence[int]) -> Particles:
    """Return `count` particles in each of `events` events, within the acceptance of the tracker."""
    return particles(
        [
            (event, int(rng.choice(codes)), 1.5 + rng.exponential(10), rng.uniform(-2.3, 2.3), rng.uniform(-3.1, 3.1))
            for event in range(events)
            for _ in range(count)
        ]
    )
