"""Make energyflow_reference.json: jets and their energy-flow polynomials from EnergyFlow 1.4 (arXiv:1712.07124).

EnergyFlow needs NumPy < 2 and cannot share an environment with the workflow, so its numbers are kept beside the tests.
To make them again:

  python -m venv energyflow-env && energyflow-env/bin/pip install "energyflow==1.4.*" "numpy<2"
  energyflow-env/bin/python tests/features/make_energyflow_reference.py tests/features/energyflow_reference.json
"""

import json
import sys
from pathlib import Path

import energyflow
import numpy as np

SIZES = (2, 3, 4, 5, 8, 13, 20, 30, 40, 50)
# Sizes of the jets of which all polynomials of connected graphs of up to 7 edges are kept
FEW = (4, 13, 40)


def shower(rng, size):
    """Massless particles (pt, y, phi): one of 600 GeV split again and again, the wider the earlier."""
    particles = [(600.0, 0.3, 1.0)]
    while len(particles) < size:
        pt, y, phi = particles.pop(rng.integers(len(particles)))
        z, angle = rng.beta(0.5, 1.5) * 0.98 + 0.01, rng.uniform(0, 2 * np.pi)
        delta = 0.5 * 10 ** rng.uniform(-1.5, 0)
        for share, side in ((z, 1 - z), (1 - z, -z)):
            particles.append((share * pt, y + side * delta * np.cos(angle), phi + side * delta * np.sin(angle)))
    return [[float(f"{x:.8g}") for x in particle] for particle in particles]


def main(output):
    """Write the jets and, for each, its polynomials."""
    rng = np.random.default_rng(7)
    options = {"measure": "hadr", "beta": 1, "normed": True, "coords": "ptyphim"}
    line, triangle = energyflow.EFP([(0, 1)], **options), energyflow.EFP([(0, 1), (0, 2), (1, 2)], **options)
    c2, d2 = (ratio(measure="hadr", beta=1, coords="ptyphim") for ratio in (energyflow.C2, energyflow.D2))
    connected = energyflow.EFPSet("d<=7", "p==1", "d>0", measure="hadr", beta=0.5, normed=True, coords="ptyphim")
    jets, polynomials = [], {}
    for size in SIZES:
        particles = shower(rng, size)
        event = np.array(particles)
        numbers = {"line": line, "triangle": triangle, "c2": c2, "d2": d2}
        results = {name: float(compute.compute(event)) for name, compute in numbers.items()}
        jets.append({"particles": particles, **results})
        if size in FEW:
            polynomials[size] = connected.compute(event).tolist()
    graphs = [[[int(i), int(j)] for i, j in graph] for graph in connected.graphs()]
    content = {"energyflow": energyflow.__version__, "graphs": graphs, "polynomials": polynomials, "jets": jets}
    text = json.dumps(content, separators=(",", ":"))
    for start in ('"graphs"', '"polynomials"', '"jets"', '{"particles"'):
        text = text.replace(start, f"\n{start}")
    Path(output).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
