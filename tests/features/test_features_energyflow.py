"""Agreement with EnergyFlow: its polynomials, of which those of a line and a triangle are 2 e2 and 6 e3."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lhcml.features.energy_flow import energy_flow_polynomials
from lhcml.features.multigraphs import all_graphs, canonical
from lhcml.features.observables import energy_correlators
from lhcml.features.substructure import OBSERVABLES, jet_observables

REFERENCE = json.loads(Path(__file__).with_name("energyflow_reference.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("jet", REFERENCE["jets"], ids=lambda jet: str(len(jet["particles"])))
def test_correlators_are_energy_flow_polynomials(jet):
    pt, y, phi = np.array(jet["particles"]).T
    e2, e3, _, _ = energy_correlators(pt, y, phi)
    # EnergyFlow takes distances from four-momenta and loses digits for narrow pairs
    assert 2 * e2 == pytest.approx(jet["line"], rel=1e-12)
    assert 6 * e3 == pytest.approx(jet["triangle"], rel=1e-12, abs=1e-16)
    table = jet_observables(np.array([len(pt)]), pt, y, phi, 0 * pt, radius=0.8, zcut=0.1, beta=0.0)[0][0]
    # EnergyFlow's ratios keep the factors that count each pair twice and each triplet six times
    assert table[OBSERVABLES.index("jet_c2")] * 6 / 2**2 == pytest.approx(jet["c2"], rel=1e-12, abs=1e-16)
    assert table[OBSERVABLES.index("jet_d2")] * 6 / 2**3 == pytest.approx(jet["d2"], rel=1e-12, abs=1e-16)


@pytest.mark.parametrize("size", [4, 13, 40])
def test_polynomials_of_connected_graphs(size):
    (jet,) = (jet for jet in REFERENCE["jets"] if len(jet["particles"]) == size)
    (ours,) = energy_flow_polynomials(np.array([size]), *np.array(jet["particles"]).T, degree=7, beta=0.5)
    position = {parts[0]: number for number, parts in enumerate(all_graphs(7)) if len(parts) == 1}
    graphs = [
        canonical(tuple((i, j, m) for (i, j), m in sorted(Counter((min(e), max(e)) for e in edges).items())))
        for edges in REFERENCE["graphs"]
    ]
    assert set(graphs) == set(position)
    expected = REFERENCE["polynomials"][str(size)]
    assert len(expected) == 489
    assert ours[[position[graph] for graph in graphs]] == pytest.approx(expected, rel=1e-12)
