"""Time the substructure of `build_features` against FastJet and EnergyFlow on the same jets.

  PYTHONPATH=src python benchmarks/build_features.py results/features/toptag/*/nominal/0.parquet \
      [--jets 1000] [--energyflow /path/to/venv/bin/python]

Jets are taken from feature files, in equal numbers. Times are processor times of one thread, the best of three passes
(one for the slow loop), without imports and compilation, in double precision. What this package is compared with:
- "classic": FastJet's object interface, a Python loop over jets with NumPy inside a jet (needs `fastjet`);
- "contrib": FastJet's awkward interface to its compiled contrib, one call for all jets (needs `fastjet`);
- "EnergyFlow": a Python loop over jets with its C2 and D2, and over about 30 jets with its energy flow polynomials of
  up to 5 and 7 edges (NumPy < 2: an environment of its own, run as a subprocess).
Each comparison checks that the numbers agree.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ |= {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from lhcml.features.energy_flow import energy_flow_polynomials
from lhcml.features.observables import energy_correlators
from lhcml.features.substructure import LUND_VALUES, OBSERVABLES, jet_observables

RADIUS, ZCUT = 0.8, 0.1
ENERGYFLOW = """
import json, sys, time
import energyflow, numpy as np
data = np.load(sys.argv[1])
jets = np.split(data["particles"], np.cumsum(data["counts"])[:-1])
d2 = energyflow.D2(measure="hadr", beta=1, coords="ptyphim")
c2 = energyflow.C2(measure="hadr", beta=1, coords="ptyphim")
best = 1e9
for _ in range(3):
    begin = time.process_time()
    values = [(c2.compute(jet), d2.compute(jet)) for jet in jets]
    best = min(best, time.process_time() - begin)
few = jets[:: max(1, len(jets) // 30)]
sums, times = {}, {}
for degree in (5, 7):
    polynomials = energyflow.EFPSet(f"d<={degree}", measure="hadr", beta=0.5, coords="ptyphim")
    begin = time.process_time()
    # in another order than ours: compared by their sums
    sums[degree] = [float(polynomials.compute(jet).sum()) for jet in few]
    times[degree] = (time.process_time() - begin) / len(few)
content = {"seconds": best, "values": values, "times": times, "sums": sums, "version": energyflow.__version__}
print(json.dumps(content))
"""


def read_jets(paths: list[Path], number: int) -> tuple[NDArray[np.int64], list[NDArray[np.float64]]]:
    """Return counts and the four columns of constituents of `number` jets with at least three constituents."""
    from lhcml.common.files import read_parquet

    columns = ["part_pt", "part_eta", "part_phi", "part_mass"]
    files = [read_parquet(path, columns) for path in paths]
    chosen = [jets[ak.num(jets.part_pt) >= 3][: number // len(paths)] for jets in files]
    jets = ak.concatenate(chosen)
    return ak.to_numpy(ak.num(jets.part_pt)), [ak.to_numpy(ak.flatten(jets[name])).astype(float) for name in columns]


def best_of(function: Callable[[], Any], passes: int = 3) -> tuple[float, Any]:
    """Return the least time in seconds of some passes, and the result."""
    times = []
    for _ in range(passes):
        begin = time.process_time()
        result = function()
        times.append(time.process_time() - begin)
    return min(times), result


def four_vectors(counts: NDArray[np.int64], particles: list[NDArray[np.float64]]) -> ak.Array:
    """Return the constituents as FastJet takes them."""
    pt, eta, phi, mass = particles
    columns = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta)}
    columns["E"] = np.hypot(pt * np.cosh(eta), mass)
    return ak.unflatten(ak.zip(columns, with_name="Momentum4D"), counts)


def classic(jets: list[list[tuple[float, float, float, float]]]) -> NDArray[np.float64]:
    """Return tau1..tau4, C2, D2, N2, M2, soft-drop mass, and fill the Lund tree, jet by jet."""
    import fastjet

    kt = fastjet.JetDefinition(fastjet.kt_algorithm, 1000.0, fastjet.WTA_pt_scheme)
    cambridge = fastjet.JetDefinition(fastjet.cambridge_algorithm, 1000.0)
    rows = []
    for jet in jets:
        particles = [fastjet.PseudoJet(*particle) for particle in jet]
        pt, y, phi = np.array([(p.pt(), p.rap(), p.phi()) for p in particles]).T
        z = pt / pt.sum()

        def distance(y1: Any, phi1: Any, y2: Any, phi2: Any) -> Any:
            return np.hypot(y1 - y2, np.pi - np.abs(np.pi - np.abs(phi1 - phi2)))

        row = []
        sequence = fastjet.ClusterSequence(particles, kt)
        for n in range(1, 5):
            axes = sequence.exclusive_jets(n) if n < len(jet) else []
            nearest = [distance(y, phi, axis.rap(), axis.phi()) for axis in axes]
            row.append(np.sum(z * np.min(nearest, axis=0)) / RADIUS if nearest else 0.0)
        theta = distance(y[:, None], phi[:, None], y, phi)
        # over all ordered pairs and triplets, hence the factors 2 and 6
        e2 = z @ theta @ z / 2
        three = np.sort(np.array(np.broadcast_arrays(theta[:, :, None], theta[:, None, :], theta[None])), axis=0)
        different = theta * 0 + 1 - np.eye(len(z))
        weight = np.einsum("i,j,k,ij,ik,jk->ijk", z, z, z, different, different, different) / 6
        e3, two, one = ((weight * np.prod(three[:v], axis=0)).sum() for v in (3, 2, 1))
        row += [e3 / e2**2, e3 / e2**3, two / e2**2, one / e2]

        sequence = fastjet.ClusterSequence(particles, cambridge)
        (whole,) = sequence.exclusive_jets(1)
        tree, waiting = [], [whole]
        while waiting:
            pair = waiting.pop()
            a, b = fastjet.PseudoJet(), fastjet.PseudoJet()
            if not sequence.has_parents(pair, a, b):
                continue
            a, b = (a, b) if a.pt() >= b.pt() else (b, a)
            delta = a.delta_R(b)
            tree.append((delta, b.pt() * delta, b.pt() / (a.pt() + b.pt()), np.arctan2(b.rap() - a.rap(), 1), pair.m()))
            waiting += [a, b]
        pair, mass = whole, None
        while mass is None:
            a, b = fastjet.PseudoJet(), fastjet.PseudoJet()
            if not sequence.has_parents(pair, a, b) or min(a.pt(), b.pt()) / (a.pt() + b.pt()) > ZCUT:
                mass = pair.m()
            else:
                pair = a if a.pt() >= b.pt() else b
        rows.append([*row, mass])
    return np.array(rows)


def contrib(vectors: ak.Array) -> NDArray[np.float64]:
    """Return the same columns from FastJet's contrib, all jets at once; its Lund plane is the primary one only."""
    import fastjet

    sequence = fastjet.ClusterSequence(vectors, fastjet.JetDefinition(fastjet.cambridge_algorithm, 1000.0))
    taus = sequence.njettiness(
        measure_definition="NormalizedMeasure", axes_definition="WTA_KT_Axes", njets=[1, 2, 3, 4], beta=1.0, R0=RADIUS
    )

    def correlator(function: str, points: int) -> NDArray[np.float64]:
        values = sequence.exclusive_jets_energy_correlator(njets=1, beta=1, npoint=points, func=function)
        return np.asarray(ak.to_numpy(values)).ravel()

    d2 = correlator("generalized", 3) / correlator("generalized", 2) ** 3
    ratios = [correlator("cseries", 2), d2, correlator("nseries", 2), correlator("mseries", 2)]
    groomed = sequence.exclusive_jets_softdrop_grooming(njets=1, beta=0.0, symmetry_cut=ZCUT, R0=RADIUS)
    sequence.exclusive_jets_lund_declusterings(njets=1)
    return np.column_stack([ak.to_numpy(taus), *ratios, ak.to_numpy(groomed.msoftdrop)])


def whole_step(counts: NDArray[np.int64], particles: list[NDArray[np.float64]]) -> float:
    """Return the processor time of reading the jets from a skim, computing all columns, and writing Parquet."""
    import uproot

    from lhcml.common.files import write_parquet_parts
    from lhcml.features.build_features import build_features

    def lists(values: Any, kind: Any) -> ak.Array:
        return ak.values_astype(ak.unflatten(values, counts), kind)

    n = len(counts)
    one = np.ones(n, np.int64)
    links = {"jetIdx": np.zeros(counts.sum()), "pFCandsIdx": np.concatenate([np.arange(c) for c in counts])}
    values = dict(zip(("pt", "eta", "phi", "mass"), particles, strict=True))
    columns = {name: np.arange(n) for name in ("run", "luminosityBlock", "event")}
    columns |= {"weight_nominal": np.ones(n), "selectedJet_nominal": ak.unflatten(np.zeros(n, np.int32), one)}
    columns |= {f"FatJet_{name}": ak.unflatten(np.ones(n, np.float32), one) for name in values}
    columns |= {f"FatJetPFCands_{name}": lists(index, np.int32) for name, index in links.items()}
    columns |= {f"PFCands_{name}": lists(x, np.float32) for name, x in values.items()}
    columns |= {f"PFCands_{name}": lists(np.ones(counts.sum()), np.int32) for name in ("charge", "pdgId")}
    config = {
        "jet": "FatJet", "radius": RADIUS, "max_constituents": 200, "puppi_jets": [],
        "soft_drop": {"zcut": ZCUT, "beta": 0.0}, "efp": {"degree": 0},
        "split": {"train": 0.4, "validation": 0.1, "test": 0.5},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        skim = Path(folder) / "skim.root"
        with uproot.recreate(skim) as file:
            types = {name: x.type if isinstance(x, ak.Array) else x.dtype for name, x in columns.items()}
            file.mktree("Events", types).extend(columns)
        run = lambda: write_parquet_parts(Path(folder) / "x.parquet", build_features(skim, "nominal", config))  # noqa: E731
        return best_of(run)[0]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", nargs="+", type=Path, help="feature files to take jets from")
    parser.add_argument("--jets", type=int, default=1000, help="number of jets")
    parser.add_argument("--energyflow", help="interpreter of an environment with energyflow")
    arguments = parser.parse_args()
    counts, particles = read_jets(arguments.features, arguments.jets)
    pt, eta, phi, mass = particles
    starts = np.cumsum(counts) - counts
    rapidity = np.arcsinh(pt * np.sinh(eta) / np.hypot(pt, mass))

    def ours() -> Any:
        return jet_observables(counts, *particles, radius=RADIUS, zcut=ZCUT, beta=0.0)

    def our_correlators() -> NDArray[np.float64]:
        slices = [slice(s, s + n) for s, n in zip(starts, counts, strict=True)]
        return np.array([energy_correlators(pt[s], rapidity[s], phi[s]) for s in slices])

    ours(), our_correlators()
    own, (table, *_) = best_of(ours)
    columns = ["tau1", "tau2", "tau3", "tau4", "c2", "d2", "n2", "m2", "msoftdrop"]
    numbers = table[:, [OBSERVABLES.index(f"jet_{name}") for name in columns]]
    own_correlators, correlators = best_of(our_correlators)

    n = len(counts)
    print(f"{n} jets, mean {counts.mean():.1f} and at most {counts.max()} constituents")
    print(f"{len(OBSERVABLES)} observables and {len(LUND_VALUES) + 2} Lund columns in one pass")
    print(f"{'what':<52}{'us/jet':>10}{'jets/s':>10}{'ratio':>8}")

    def line(what: str, seconds: float, reference: float) -> None:
        print(f"{what:<52}{1e6 * seconds / n:>10.1f}{n / seconds:>10.0f}{seconds / reference:>8.1f}")

    line("this package, everything", own, own)
    line("this package, with reading and writing of files", whole_step(counts, particles), own)
    vectors = four_vectors(counts, particles)
    rows = [list(zip(*(ak.to_list(v[name]) for name in ("px", "py", "pz", "E")), strict=True)) for v in vectors]
    seconds, theirs = best_of(lambda: classic(rows), passes=1)
    np.testing.assert_allclose(numbers, theirs, rtol=1e-6, atol=1e-4)
    line("classic: tau, C2 D2 N2 M2, soft drop, Lund tree", seconds, own)
    seconds, theirs = best_of(lambda: contrib(vectors))
    np.testing.assert_allclose(numbers, theirs, rtol=1e-6, atol=1e-4)
    line("contrib: tau, C2 D2 N2 M2, soft drop, primary Lund", seconds, own)
    line("this package, e2 3e3 2e3 1e3, called jet by jet", own_correlators, own_correlators)
    if arguments.energyflow:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "jets.npz"
            np.savez(path, counts=counts, particles=np.column_stack([pt, rapidity, phi]))
            command = [arguments.energyflow, "-c", ENERGYFLOW, str(path)]
            environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        result = json.loads(done.stdout.splitlines()[-1])
        e2, e3 = correlators[:, 0], correlators[:, 1]
        expected = np.column_stack([1.5 * e3 / e2**2, 0.75 * e3 / e2**3])
        np.testing.assert_allclose(result["values"], expected, rtol=1e-6)
        line(f"EnergyFlow {result['version']}: C2 D2 only", result["seconds"], own_correlators)
        for degree in (5, 7):
            polynomials = partial(energy_flow_polynomials, counts, pt, rapidity, phi, degree=degree, beta=0.5)
            polynomials()
            seconds, values = best_of(polynomials)
            np.testing.assert_allclose(values[:: max(1, n // 30)].sum(axis=1), result["sums"][str(degree)], rtol=1e-9)
            what = f"{values.shape[1]} energy flow polynomials"
            line(f"this package, {what}", seconds, seconds)
            line(f"EnergyFlow {result['version']}: {what}", n * result["times"][str(degree)], seconds)


if __name__ == "__main__":
    sys.exit(main())
