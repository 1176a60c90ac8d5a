"""Agreement with FastJet and its contrib (Nsubjettiness, EnergyCorrelator, SoftDrop, LundPlane) on the same jets."""

import awkward as ak
import numpy as np
import pytest

from lhcml.features.clustering import CAMBRIDGE_AACHEN, KT, cluster, four_momenta, winner_axes
from lhcml.features.substructure import LUND_VALUES, OBSERVABLES, jet_observables

fastjet = pytest.importorskip("fastjet")
# Both sides sum in double precision in another order; ratios such as e3/e2³ amplify the roundings of 1e-16.
TOLERANCE = 1e-9


@pytest.fixture(params=["toy", "pythia"], scope="module")
def jets(request):
    counts, particles = request.getfixturevalue(f"{request.param}_jets")
    # FastJet cannot be asked about jets of no particle
    return counts[counts > 0], particles


@pytest.fixture(scope="module")
def ours(jets):
    counts, particles = jets
    table, lund_counts, lund, _, depth = jet_observables(counts, *particles, radius=0.8, zcut=0.1, beta=0.0)
    return dict(zip(OBSERVABLES, table.T, strict=True)), lund_counts, dict(zip(LUND_VALUES, lund.T, strict=True)), depth


def four_vectors(jets):
    counts, (pt, eta, phi, mass) = jets
    columns = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta)}
    columns["E"] = np.hypot(pt * np.cosh(eta), mass)
    return ak.unflatten(ak.zip(columns, with_name="Momentum4D"), counts)


@pytest.fixture(scope="module")
def sequence(jets):
    definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, 1000.0)
    return fastjet.ClusterSequence(four_vectors(jets), definition)


@pytest.mark.parametrize(("beta", "name", "most"), [(0.5, "_beta05", 6), (1.0, "", 7), (2.0, "_beta2", 7)])
def test_nsubjettiness(ours, sequence, beta, name, most):
    theirs = sequence.njettiness(
        measure_definition="NormalizedMeasure", axes_definition="WTA_KT_Axes", njets=list(range(1, most + 1)),
        beta=beta, R0=0.8,
    )  # fmt: skip
    # the distance of a particle to its own axis is rounding there, 1e-16 in its square, and 0 here
    rounding = 1e-12 if beta > 0.5 else 1e-4
    for n in range(most):
        assert ours[0][f"jet_tau{n + 1}{name}"] == pytest.approx(ak.to_numpy(theirs[:, n]), rel=TOLERANCE, abs=rounding)


@pytest.mark.parametrize(("name", "function"), [("c2", "cseries"), ("n2", "nseries"), ("m2", "mseries")])
def test_correlator_ratios(jets, ours, name, function):
    # FastJet divides by zero where there is no pair
    many = jets[0] > 2
    definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, 1000.0)
    sequence = fastjet.ClusterSequence(four_vectors(jets)[many], definition)
    theirs = ak.to_numpy(sequence.exclusive_jets_energy_correlator(njets=1, beta=1, npoint=2, func=function)).ravel()
    assert ours[0][f"jet_{name}"][many] == pytest.approx(theirs, rel=TOLERANCE)


def test_d2(jets, ours):
    many = jets[0] > 2
    definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, 1000.0)
    sequence = fastjet.ClusterSequence(four_vectors(jets)[many], definition)
    e2, e3 = (
        ak.to_numpy(sequence.exclusive_jets_energy_correlator(njets=1, beta=1, npoint=n, func="generalized")).ravel()
        for n in (2, 3)
    )
    assert ours[0]["jet_d2"][many] == pytest.approx(e3 / e2**3, rel=TOLERANCE)


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_soft_drop(jets, sequence, beta):
    counts, particles = jets
    table = jet_observables(counts, *particles, radius=0.8, zcut=0.1, beta=beta)[0]
    mass, z, distance = (table[:, OBSERVABLES.index(f"jet_{name}")] for name in ("msoftdrop", "zg", "rg"))
    theirs = sequence.exclusive_jets_softdrop_grooming(njets=1, beta=beta, symmetry_cut=0.1, R0=0.8)
    # FastJet says -1 for z_g and R_g where no splitting passes
    found = ak.to_numpy(theirs.deltaRsoftdrop) >= 0
    assert (z[~found] == 0).all()
    assert (distance[~found] == 0).all()
    assert np.count_nonzero(found) > 0
    assert z[found] == pytest.approx(ak.to_numpy(theirs.symmetrysoftdrop)[found], rel=TOLERANCE)
    assert distance[found] == pytest.approx(ak.to_numpy(theirs.deltaRsoftdrop)[found], rel=TOLERANCE)
    # m² is a difference of numbers of E²: 1e-16 E² / m² relative, with E up to 4 TeV and m down to 0.1 GeV
    assert mass == pytest.approx(ak.to_numpy(theirs.msoftdrop), rel=1e-6, abs=1e-4)


def test_primary_lund_plane(ours, sequence):
    _, lund_counts, lund, depth = ours
    theirs = sequence.exclusive_jets_lund_declusterings(njets=1)[:, 0]
    primary = ak.unflatten(depth, lund_counts) == 0
    assert ak.all(ak.sum(primary, axis=1) == ak.num(theirs))
    for name, column in (("lund_ln_delta", "Delta"), ("lund_ln_kt", "kt")):
        values = ak.flatten(ak.unflatten(lund[name], lund_counts)[primary])
        assert ak.to_numpy(values) == pytest.approx(np.log(ak.to_numpy(ak.flatten(theirs[column]))), abs=1e-7)


@pytest.mark.parametrize("algorithm", [CAMBRIDGE_AACHEN, KT])
@pytest.mark.parametrize("winner_takes_all", [False, True])
def test_exclusive_jets(jets, algorithm, winner_takes_all):
    """The same three exclusive jets as FastJet's, for both algorithms and recombinations."""
    counts, particles = jets
    kind = fastjet.kt_algorithm if algorithm == KT else fastjet.cambridge_algorithm
    scheme = fastjet.WTA_pt_scheme if winner_takes_all else fastjet.E_scheme
    definition = fastjet.JetDefinition(kind, 1000.0, scheme)
    starts = np.cumsum(counts) - counts
    for n, start in list(zip(counts, starts, strict=True))[:80]:
        if n < 3:
            continue
        jet = particles[:, start : start + n]
        vectors = four_vectors((np.array([n]), jet))[0]
        pseudojets = [fastjet.PseudoJet(v["px"], v["py"], v["pz"], v["E"]) for v in vectors.to_list()]
        theirs = fastjet.ClusterSequence(pseudojets, definition).exclusive_jets(3)
        nodes, children = four_momenta(*jet), np.empty((n - 1, 2), np.int64)
        cluster(nodes, n, algorithm, winner_takes_all, children)
        # what is left after n - 3 merges
        left = set(range(2 * n - 3)) - set(children[: n - 3].ravel())
        expected = sorted((j.rap(), j.phi()) for j in theirs)
        assert np.array(sorted(tuple(nodes[node, 5:7]) for node in left)) == pytest.approx(np.array(expected), abs=1e-9)
        if winner_takes_all:
            assert np.array(sorted(map(tuple, winner_axes(nodes, children, n, 3)))) == pytest.approx(
                np.array(expected), abs=1e-9
            )
