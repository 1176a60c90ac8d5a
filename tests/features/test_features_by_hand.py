"""Every observable of jets of no, one, two and three particles, by hand."""

import math

import numpy as np
import pytest

from lhcml.features.constituents import RELATIVE, relative_kinematics
from lhcml.features.lund import LEAST_DELTA
from lhcml.features.substructure import LUND_VALUES, OBSERVABLES, jet_observables

R0 = 0.8


def observe(*particles, zcut=0.1, beta=0.0):
    """Observables, Lund values, parents and depths of one jet given by (pt, eta, phi, mass) of its particles."""
    pt, eta, phi, mass = np.array(particles, dtype=float).reshape(-1, 4).T
    table, _, lund, parent, depth = jet_observables(
        np.array([len(pt)]), pt, eta, phi, mass, radius=R0, zcut=zcut, beta=beta
    )
    return dict(zip(OBSERVABLES, table[0], strict=True)), dict(zip(LUND_VALUES, lund.T, strict=True)), parent, depth


def mass_of(*particles):
    p = np.array(particles)
    energy = np.sum(np.hypot(p[:, 0] * np.cosh(p[:, 1]), p[:, 3]))
    vector = [np.sum(p[:, 0] * f) for f in (np.cos(p[:, 2]), np.sin(p[:, 2]), np.sinh(p[:, 1]))]
    return math.sqrt(energy**2 - np.dot(vector, vector))


def test_jet_without_constituents_is_zero():
    observables, lund, parent, _ = observe()
    assert set(observables.values()) == {0.0}
    assert len(lund["lund_psi"]) == len(parent) == 0


def test_jet_of_one_particle():
    observables, lund, _, _ = observe((100, 1.2, 3.0, 0.5))
    assert observables.pop("jet_ptd") == pytest.approx(1)
    # the only mass is the particle's; energies of 180 GeV leave 1e-16 * 180² / 0.5 GeV of rounding
    assert observables.pop("jet_msoftdrop") == pytest.approx(0.5, rel=1e-9)
    assert set(observables.values()) == {0.0}
    assert len(lund["lund_psi"]) == 0


def test_jet_of_two_particles():
    # 70 and 30 GeV, distance 0.4, across the seam of azimuth
    a, b = (70, 0.1, 3.1, 0.0), (30, 0.1 + 0.24, 3.1 + 0.32 - 2 * math.pi, 0.0)
    observables, lund, parent, depth = observe(a, b)
    mass = math.sqrt(2 * 70 * 30 * (math.cosh(0.24) - math.cos(0.32)))

    # the axis of the summed momenta
    px = 70 + 30 * math.cos(0.32)
    py = 30 * math.sin(0.32)
    pz = 70 * math.sinh(0.1) + 30 * math.sinh(0.34)
    energy = 70 * math.cosh(0.1) + 30 * math.cosh(0.34)
    axis_y, axis_phi = math.atanh(pz / energy), math.atan2(py, px)
    width = 0.7 * math.hypot(axis_y - 0.1, axis_phi) + 0.3 * math.hypot(0.34 - axis_y, 0.32 - axis_phi)

    expected = {
        "jet_ptd": math.sqrt(0.7**2 + 0.3**2),
        "jet_width": width / R0,
        # the winner-take-all axis is the harder particle
        "jet_lha": 0.3 * math.sqrt(0.4 / R0),
        "jet_tau1_beta05": 0.3 * math.sqrt(0.4 / R0),
        "jet_tau1": 0.3 * 0.4 / R0,
        "jet_tau1_beta2": 0.3 * (0.4 / R0) ** 2,
        "jet_msoftdrop": mass,
        "jet_zg": 0.3,
        "jet_rg": 0.4,
    }
    for name, value in observables.items():
        assert value == pytest.approx(expected.get(name, 0.0), rel=1e-10), name
    assert lund["lund_ln_delta"] == pytest.approx([math.log(0.4)])
    assert lund["lund_ln_kt"] == pytest.approx([math.log(30 * 0.4)])
    assert lund["lund_ln_z"] == pytest.approx([math.log(0.3)])
    assert lund["lund_psi"] == pytest.approx([math.atan2(0.24, 0.32)])
    assert lund["lund_ln_m"] == pytest.approx([math.log(mass)])
    assert list(parent) == [-1]
    assert list(depth) == [0]


def test_correlators_of_three_particles():
    # in a plane at eta = 0: angles 0.3, 0.4 and 0.5
    observables, _, _, _ = observe((50, 0, 0, 0), (30, 0.3, 0, 0), (20, 0, 0.4, 0))
    ab, ac, bc = 0.3, 0.4, 0.5
    e2 = 0.5 * 0.3 * ab + 0.5 * 0.2 * ac + 0.3 * 0.2 * bc
    zzz = 0.5 * 0.3 * 0.2
    assert observables["jet_c2"] == pytest.approx(zzz * ab * ac * bc / e2**2)
    assert observables["jet_d2"] == pytest.approx(zzz * ab * ac * bc / e2**3)
    assert observables["jet_n2"] == pytest.approx(zzz * ab * ac / e2**2)
    assert observables["jet_m2"] == pytest.approx(zzz * ab / e2)


def test_nsubjettiness_of_three_particles():
    # kt² distances: ab 30² 0.3², ac 20² 0.4², bc 20² 0.5²; so a and c (64 GeV²) merge first, to a's direction, then b
    observables, _, _, _ = observe((50, 0, 0, 0), (30, 0.3, 0, 0), (20, 0, 0.4, 0))
    tau1 = (0.3 * 0.3 + 0.2 * 0.4) / R0
    tau2 = 0.2 * 0.4 / R0
    assert observables["jet_tau1"] == pytest.approx(tau1)
    assert observables["jet_tau2"] == pytest.approx(tau2)
    assert observables["jet_tau21"] == pytest.approx(tau2 / tau1)
    assert [observables[f"jet_tau{n}"] for n in (3, 4, 32, 43)] == [0, 0, 0, 0]
    # the axes are the same for every beta
    assert observables["jet_tau1_beta05"] == pytest.approx(
        (0.3 * math.sqrt(0.3) + 0.2 * math.sqrt(0.4)) / math.sqrt(R0)
    )
    assert observables["jet_tau2_beta05"] == pytest.approx(0.2 * math.sqrt(0.4 / R0))
    assert observables["jet_tau1_beta2"] == pytest.approx((0.3 * 0.3**2 + 0.2 * 0.4**2) / R0**2)
    assert observables["jet_tau2_beta2"] == pytest.approx(0.2 * (0.4 / R0) ** 2)


def test_nsubjettiness_of_as_many_axes_as_particles():
    # eight particles of 1 to 8 GeV on a line, 0.1 apart: kt merges those of 1 and 2 GeV first, all others are axes
    line = [(k, 0.1 * k, 0, 0) for k in range(1, 9)]
    observables, _, _, _ = observe(*line)
    assert observables["jet_tau7"] == pytest.approx(1 / 36 * 0.1 / R0)
    assert observables["jet_tau7_beta2"] == pytest.approx(1 / 36 * (0.1 / R0) ** 2)
    observables, _, _, _ = observe(*line[:7])
    assert observables["jet_tau7"] == observables["jet_tau7_beta2"] == 0
    assert observables["jet_tau6"] == pytest.approx(1 / 28 * 0.1 / R0)


def test_lha_axis_of_three_particles():
    # Cambridge/Aachen merges a and b (0.3) into 60 GeV at a, which wins over c
    observables, _, _, _ = observe((40, 0, 0, 0), (20, 0.3, 0, 0), (50, 0, 0.4, 0))
    assert observables["jet_lha"] == pytest.approx((20 * math.sqrt(0.3) + 50 * math.sqrt(0.4)) / 110 / math.sqrt(R0))


def test_soft_drop_removes_soft_wide_branch():
    a, b, soft = (60, 0, 0, 0), (40, 0.2, 0, 0), (5, 0, 0.7, 0)
    observables, _, _, _ = observe(a, b, soft)
    assert observables["jet_msoftdrop"] == pytest.approx(mass_of(a, b))
    assert observables["jet_zg"] == pytest.approx(0.4)
    assert observables["jet_rg"] == pytest.approx(0.2)
    # a threshold of 0.04 lets it pass
    observables, _, _, _ = observe(a, b, soft, zcut=0.04)
    assert observables["jet_msoftdrop"] == pytest.approx(mass_of(a, b, soft))
    # with beta = 2 the threshold at 0.7 is 0.06 (0.7/0.8)² = 0.0459, below the softer branch's 5/105 = 0.0476
    observables, _, _, _ = observe(a, b, soft, zcut=0.06, beta=2)
    assert observables["jet_msoftdrop"] == pytest.approx(mass_of(a, b, soft))


def test_soft_drop_ends_with_one_particle():
    observables, _, _, _ = observe((100, 0, 0, 0.14), (5, 0.3, 0, 0), (4, 0, 0.4, 0))
    assert observables["jet_msoftdrop"] == pytest.approx(0.14, rel=1e-6)
    assert observables["jet_zg"] == observables["jet_rg"] == 0


@pytest.mark.parametrize(("wide", "depth_of_second"), [(30, 0), (90, 1)])
def test_lund_tree_of_three_particles(wide, depth_of_second):
    # a and b (60 GeV together) are close, the third is wide: the second splitting is on the primary plane only if the
    # pair is the harder branch of the first
    a, b, c = (40, 0, 0, 0), (20, 0.1, 0, 0), (wide, 0, 0.6, 0)
    _, lund, parent, depth = observe(c, b, a)
    pair_y = math.atanh(20 * math.sinh(0.1) / (40 + 20 * math.cosh(0.1)))
    pair_pt = 60.0
    assert lund["lund_ln_delta"] == pytest.approx([math.log(math.hypot(pair_y, 0.6)), math.log(0.1)])
    softer = min(wide, pair_pt)
    assert lund["lund_ln_kt"] == pytest.approx([math.log(softer * math.hypot(pair_y, 0.6)), math.log(20 * 0.1)])
    assert lund["lund_ln_z"] == pytest.approx([math.log(softer / (wide + pair_pt)), math.log(1 / 3)])
    # from the harder to the softer branch
    first = (-pair_y, 0.6) if wide < pair_pt else (pair_y, -0.6)
    assert lund["lund_psi"] == pytest.approx([math.atan2(*first), math.atan2(0.1, 0.0)])
    assert lund["lund_ln_m"] == pytest.approx([math.log(mass_of(a, b, c)), math.log(mass_of(a, b))])
    assert list(parent) == [-1, 0]
    assert list(depth) == [0, depth_of_second]


def test_coincident_particles_are_finite():
    observables, lund, _, _ = observe((50, 0.5, 1, 0), (30, 0.5, 1, 0), (20, 0.5, 1, 0))
    for name in OBSERVABLES:
        # all distances vanish, hence all ratios are 0 by convention; a massless jet has rounding of 1e-8 sqrt(E²)
        if name not in ("jet_ptd", "jet_zg"):
            assert observables[name] == pytest.approx(0, abs=1e-5), name
    assert lund["lund_ln_delta"] == pytest.approx([math.log(LEAST_DELTA)] * 2)
    assert all(np.isfinite(values).all() for values in lund.values())


def test_relative_kinematics_by_hand():
    parts = {"pt": [50.0, 20.0], "eta": [1.0, 0.0], "phi": [-3.1, 3.0], "mass": [0.0, 15.0]}
    jets = {"pt": [100.0], "eta": [0.4], "phi": [3.1], "mass": [60.0]}
    columns = relative_kinematics(
        {k: np.array(v) for k, v in parts.items()}, {k: np.array(v) for k, v in jets.items()}, np.array([2])
    )
    assert tuple(columns) == RELATIVE
    jet_energy = math.hypot(100 * math.cosh(0.4), 60)
    turn = 2 * math.pi
    dphi = [-6.2 + turn, -0.1]
    energy = [50 * math.cosh(1), 25.0]
    assert columns["part_deta"] == pytest.approx([0.6, -0.4])
    assert columns["part_dphi"] == pytest.approx(dphi)
    assert columns["part_dr"] == pytest.approx([math.hypot(0.6, dphi[0]), math.hypot(0.4, 0.1)])
    assert columns["part_log_pt"] == pytest.approx(np.log([50, 20]))
    assert columns["part_log_energy"] == pytest.approx(np.log(energy))
    assert columns["part_log_pt_rel"] == pytest.approx(np.log([0.5, 0.2]))
    assert columns["part_log_energy_rel"] == pytest.approx(np.log(np.array(energy) / jet_energy))


@pytest.mark.parametrize("bad", [(0.0, 0, 0, 0), (-1.0, 0, 0, 0), (1.0, np.nan, 0, 0), (np.inf, 0, 0, 0)])
def test_unphysical_constituents_are_refused(bad):
    with pytest.raises(ValueError, match="pt > 0 and finite"):
        observe((10, 0, 0, 0), bad)
