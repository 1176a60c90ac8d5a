"""Jets for the tests of the features stage."""

import numpy as np
import pytest
from feature_toys import toy_jet


@pytest.fixture(scope="session")
def toy_jets():
    """Three hundred jets of 0 to 90 particles, as counts and a table of pt, eta, phi, mass."""
    rng = np.random.default_rng(20)
    counts = np.concatenate([[0, 1, 2, 3, 4, 5, 200], rng.integers(1, 90, 293)])
    return counts, np.concatenate([toy_jet(rng, n) for n in counts], axis=1)


@pytest.fixture(scope="session")
def pythia_jets():
    """Hard jets of 40 QCD and 40 top events, R = 0.8, with stable visible particles as constituents."""
    import fastjet

    try:
        import pythia8mc as pythia8
    except ImportError:
        import pythia8
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, 0.8)
    counts, particles = [], []
    for processes in (["HardQCD:all=on"], ["Top:gg2ttbar=on", "Top:qqbar2ttbar=on"]):
        pythia = pythia8.Pythia("", False)
        common = ["Print:quiet=on", "Random:setSeed=on", "Random:seed=5", "Beams:eCM=14000", "PartonLevel:MPI=off"]
        for setting in [*common, "PhaseSpace:pTHatMin=500", *processes]:
            pythia.readString(setting)
        assert pythia.init()
        for _ in range(40):
            while not pythia.next():
                pass
            event = []
            for p in pythia.event:
                if p.isFinal() and p.isVisible() and abs(p.eta()) < 4:
                    event.append(fastjet.PseudoJet(p.px(), p.py(), p.pz(), p.e()))
            sequence = fastjet.ClusterSequence(event, definition)
            jet = max(sequence.inclusive_jets(100.0), key=lambda j: j.pt())
            # a mass squared that rounding made negative is that of a massless particle
            rows = [(c.pt(), c.eta(), c.phi_std(), max(c.m2(), 0.0) ** 0.5) for c in jet.constituents()]
            counts.append(len(rows))
            particles.append(np.array(rows).T)
    return np.array(counts), np.concatenate(particles, axis=1)
