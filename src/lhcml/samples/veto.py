"""Early veto of events whose leading jet cannot become what is wanted.

Jets of a given pT come from a wide range of pTHat: a third of all jets of 550-650 GeV are below pTHat of 475 GeV, since
a hard emission lifts them. Cutting on pTHat would lose them; showering and hadronising everything above pTHat of 300
GeV would cost many times the events kept. The shower is ordered in pT, so that once it is down to a few tens of GeV the
jets are there: Pythia then asks a user hook, which clusters the few partons and drops the event if its leading jet is
out of range. Events dropped are replaced and leave the cross section, which is that of the events kept.
"""

from __future__ import annotations

import math
from typing import Any

# Evolution scale in GeV at which partons are clustered.
VETO_SCALE = 50.0

# Last stage (iPos) of the interleaved evolution; later ones are showers in resonance decays.
_LAST_EVOLUTION_STAGE = 3

# How much farther from the axis than the radius a decay quark of a top may be at this stage.
_MARGIN = 0.2

# A jet with this share of the least pT may still become the leading one.
_SECOND = 0.9

Momentum = tuple[float, float, float, float]


def direction(momentum: Momentum) -> tuple[float, float, float]:
    """Return pT, rapidity and phi of (px, py, pz, E)."""
    px, py, pz, energy = momentum
    plus, minus = energy + pz, energy - pz
    rapidity = 0.5 * math.log(plus / minus) if plus > 0 and minus > 0 else math.copysign(99.0, pz)
    return math.hypot(px, py), rapidity, math.atan2(py, px)


def distance(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    """Return the distance in rapidity and phi of two results of `direction`."""
    phi = abs(one[2] - other[2])
    return math.hypot(one[1] - other[1], min(phi, 2 * math.pi - phi))


def parton_jets(momenta: list[Momentum], radius: float) -> list[tuple[float, float, float]]:
    """Return pT in GeV, rapidity and phi of the anti-kT jets of a few partons, by descending pT.

    Parameters
    ----------
    momenta : list of tuple
        (px, py, pz, E) of each parton in GeV; a handful, for which this beats a call of FastJet.
    radius : float
        Jet radius.
    """
    partons = [(momentum, direction(momentum)) for momentum in momenta]
    jets = []
    while partons:
        smallest, first, second = math.inf, 0, -1
        for i, (_, one) in enumerate(partons):
            inverse = 1.0 / max(one[0], 1e-9) ** 2
            if inverse < smallest:
                smallest, first, second = inverse, i, -1
            for j in range(i):
                other = partons[j][1]
                measure = min(inverse, 1.0 / max(other[0], 1e-9) ** 2) * (distance(one, other) / radius) ** 2
                if measure < smallest:
                    smallest, first, second = measure, i, j
        momentum, jet = partons.pop(first)
        if second < 0:
            jets.append(jet)
        else:
            px, py, pz, energy = (a + b for a, b in zip(momentum, partons.pop(second)[0], strict=True))
            partons.append(((px, py, pz, energy), direction((px, py, pz, energy))))
    return sorted(jets, reverse=True)


def _momentum(particle: Any) -> Momentum:
    return particle.px(), particle.py(), particle.pz(), particle.e()


def has_merged_top(module: Any, process: Any, event: Any, axis: tuple[float, float, float], radius: float) -> bool:
    """Return whether all three decay quarks of a top point into a jet.

    Pythia chooses the decays with the hard process and moves them along when the shower gives the top a recoil; so does
    this function.

    Parameters
    ----------
    module : module
        Pythia's Python module.
    process, event : Event
        Records of the hard process, with the decays, and of the event so far, with the tops as they move now.
    axis : tuple of float
        pT, rapidity and phi of the jet.
    radius : float
        Largest distance of a quark from the axis.
    """
    moved = {event[i].id(): event[i].p() for i in range(event.size()) if event[i].isFinal() and abs(event[i].id()) == 6}
    for i in range(process.size()):
        top = process[i]
        if top.id() not in moved:
            continue
        boost = module.RotBstMatrix()
        boost.bst(top.p(), moved[top.id()])
        quarks = []
        for j in range(i + 1, process.size()):
            mother = process[process[j].mother1()]
            from_top = process[j].mother1() == i and abs(process[j].id()) != 24
            from_w = abs(mother.id()) == 24 and mother.mother1() == i
            if from_top or from_w:
                momentum = module.Vec4(process[j].p())
                momentum.rotbst(boost)
                quarks.append(momentum)
        if quarks and all(distance(axis, direction(_momentum(quark))) < radius for quark in quarks):
            return True
    return False


def make_jet_veto(module: Any, pythia: Any, low: float, high: float, radius: float, merged_top: bool) -> Any:
    """Return a Pythia user hook that drops events whose leading parton-level jet is not wanted.

    Parameters
    ----------
    module : module
        Pythia's Python module.
    pythia : Pythia
        The generator that will use the hook.
    low, high : float
        Range of pT in GeV, wider than that of the jets wanted by what soft radiation and hadronisation change.
    radius : float
        Jet radius.
    merged_top : bool
        A jet of nearly this pT must hold the three decay quarks of a top.
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
                    momenta.append(_momentum(parton))
            # momentum balance: no jet has more than half of the sum
            if total < 2 * low:
                return True
            jets = parton_jets(momenta, radius)
            if not low < jets[0][0] < high:
                return True
            # the second jet may become the leading one: a pair of tops is almost balanced
            return merged_top and not any(
                has_merged_top(module, pythia.process, event, jet, radius + _MARGIN)
                for jet in jets
                if jet[0] > _SECOND * low
            )

    return JetVeto()
