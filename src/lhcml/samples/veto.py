"""Early veto of events whose leading jet cannot end in the wanted range of pT.

Jets of a given pT come from a wide range of pTHat: a third of all jets of 550-650 GeV are below pTHat of 475 GeV, since
a hard emission lifts them. Cutting on pTHat would lose them; showering and hadronising everything above pTHat of 300 GeV
would cost many times the events kept. The shower is ordered in pT, so that once it is down to a few tens of GeV the jets
are there: Pythia then asks a user hook, which clusters the few partons and drops the event if its leading jet is out of
range. Events dropped are replaced and leave the cross section, which is that of the events kept.
"""

from __future__ import annotations

import math
from typing import Any

# Evolution scale in GeV at which partons are clustered.
VETO_SCALE = 50.0

# Last stage (iPos) of the interleaved evolution; later ones are showers in resonance decays.
_LAST_EVOLUTION_STAGE = 3

Parton = tuple[float, float, float, float, float, float, float]


def _parton(px: float, py: float, pz: float, energy: float) -> Parton:
    # pT, rapidity, phi, and the momentum itself
    plus, minus = energy + pz, energy - pz
    rapidity = 0.5 * math.log(plus / minus) if plus > 0 and minus > 0 else math.copysign(99.0, pz)
    return math.hypot(px, py), rapidity, math.atan2(py, px), px, py, pz, energy


def leading_jet_pt(momenta: list[tuple[float, float, float, float]], radius: float) -> float:
    """Return the pT of the leading anti-kT jet of a few partons in GeV.

    Parameters
    ----------
    momenta : list of tuple
        (px, py, pz, E) of each parton in GeV; a handful, for which this beats a call of FastJet.
    radius : float
        Jet radius.
    """
    partons = [_parton(*momentum) for momentum in momenta]
    leading = 0.0
    while partons:
        smallest, first, second = math.inf, 0, -1
        for i, one in enumerate(partons):
            inverse = 1.0 / max(one[0], 1e-9) ** 2
            if inverse < smallest:
                smallest, first, second = inverse, i, -1
            for j in range(i):
                other = partons[j]
                phi = abs(one[2] - other[2])
                phi = min(phi, 2 * math.pi - phi)
                distance = ((one[1] - other[1]) ** 2 + phi**2) / radius**2
                distance *= min(inverse, 1.0 / max(other[0], 1e-9) ** 2)
                if distance < smallest:
                    smallest, first, second = distance, i, j
        one = partons.pop(first)
        if second < 0:
            leading = max(leading, one[0])
        else:
            other = partons.pop(second)
            partons.append(_parton(*(a + b for a, b in zip(one[3:], other[3:], strict=True))))
    return leading


def make_jet_veto(module: Any, low: float, high: float, radius: float) -> Any:
    """Return a Pythia user hook that drops events with a leading parton-level jet outside `low` to `high` GeV.

    Parameters
    ----------
    module : module
        Pythia's Python module.
    low, high : float
        Range of pT in GeV, wider than that of the jets wanted by what soft radiation and hadronisation change.
    radius : float
        Jet radius.
    """

    class JetVeto(module.UserHooks):  # type: ignore[misc]
        def canVetoPT(self) -> bool:  # noqa: N802
            return True

        def scaleVetoPT(self) -> float:  # noqa: N802
            return VETO_SCALE

        def doVetoPT(self, stage: int, event: Any) -> bool:  # noqa: N802
            if stage > _LAST_EVOLUTION_STAGE:
                return False
            momenta = []
            total = 0.0
            for i in range(3, event.size()):
                parton = event[i]
                if parton.isFinal():
                    total += parton.pT()
                    momenta.append((parton.px(), parton.py(), parton.pz(), parton.e()))
            # momentum balance: no jet has more than half of the sum
            return total < 2 * low or not low < leading_jet_pt(momenta, radius) < high

    return JetVeto()
