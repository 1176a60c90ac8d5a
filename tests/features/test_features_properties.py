"""What the observables must not depend on: order, frame, units, soft and collinear emissions. And their bounds."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lhcml.features.observables import energy_correlators
from lhcml.features.substructure import LUND_VALUES, OBSERVABLES, TAUS, jet_observables

# Sums of up to 30 terms in another order, and rapidities computed from rotated or boosted momenta: roundings of 1e-16
# grow with the cancellation in masses (E/m)² and in differences of directions; 1e-7 is far above, and far below the
# size of any mistake.
TOLERANCE = 1e-7

SAFE = ("jet_width", "jet_lha", *TAUS)
SAFE_RATIOS = ("jet_c2", "jet_d2", "jet_n2", "jet_m2")
GROOMED = ("jet_msoftdrop", "jet_zg", "jet_rg")

seeded = settings(deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(3, 30)


def random_jet(seed, size, mass=0.0):
    rng = np.random.default_rng(seed)
    pt = 10 ** rng.uniform(0, 2.5, size)
    return np.array([pt, rng.normal(0, 0.25, size), 3 + rng.normal(0, 0.25, size), np.full(size, mass)]), rng


def observe(particles, beta=0.0):
    table, _, lund, _, depth = jet_observables(
        np.array([particles.shape[1]]), *particles, radius=0.8, zcut=0.1, beta=beta
    )
    return dict(zip(OBSERVABLES, table[0], strict=True)), dict(zip(LUND_VALUES, lund.T, strict=True)), depth


def assert_same(first, second, names=OBSERVABLES, tolerance=TOLERANCE):
    for name in names:
        assert second[name] == pytest.approx(first[name], rel=tolerance, abs=tolerance), name


@seeded
@given(seeds, sizes)
def test_order_of_constituents_does_not_matter(seed, size):
    particles, rng = random_jet(seed, size, mass=0.14)
    first, lund, depth = observe(particles)
    second, shuffled, new_depth = observe(particles[:, rng.permutation(size)])
    assert_same(first, second)
    assert sorted(depth) == sorted(new_depth)
    for name in set(LUND_VALUES) - {"lund_psi"}:
        assert np.sort(shuffled[name]) == pytest.approx(np.sort(lund[name]), rel=TOLERANCE, abs=TOLERANCE), name


@seeded
@given(seeds, sizes, st.floats(-10, 10))
def test_rotation_about_the_beam(seed, size, angle):
    particles, _ = random_jet(seed, size, mass=0.14)
    first, lund, _ = observe(particles)
    particles[2] = (particles[2] + angle + np.pi) % (2 * np.pi) - np.pi
    second, turned, _ = observe(particles)
    assert_same(first, second)
    for name in LUND_VALUES:
        assert turned[name] == pytest.approx(lund[name], rel=1e-6, abs=1e-6), name


@seeded
@given(seeds, sizes, st.floats(-1.5, 1.5))
def test_boost_along_the_beam(seed, size, shift):
    # everything is a function of pt and of differences of rapidity and azimuth
    particles, _ = random_jet(seed, size, mass=0.14)
    first, lund, _ = observe(particles)
    pt, eta, _, mass = particles
    rapidity = np.arcsinh(pt * np.sinh(eta) / np.hypot(pt, mass))
    boosted = particles.copy()
    boosted[1] = np.arcsinh(np.hypot(pt, mass) * np.sinh(rapidity + shift) / pt)
    second, moved, _ = observe(boosted)
    assert_same(first, second)
    for name in LUND_VALUES:
        assert moved[name] == pytest.approx(lund[name], rel=1e-6, abs=1e-6), name


@seeded
@given(seeds, sizes, st.floats(0.01, 100))
def test_unit_of_momentum(seed, size, factor):
    particles, _ = random_jet(seed, size, mass=0.14)
    first, _, _ = observe(particles)
    second, _, _ = observe(particles * np.array([[factor], [1], [1], [factor]]))
    first["jet_msoftdrop"] *= factor
    assert_same(first, second)


@seeded
@given(seeds, sizes, st.floats(0.01, 0.99))
def test_collinear_splitting(seed, size, share):
    particles, rng = random_jet(seed, size)
    split = rng.integers(size)
    twin = particles[:, [split]].copy()
    twin[0] *= share
    after = np.concatenate([particles, twin], axis=1)
    after[0, split] *= 1 - share
    first, second = observe(particles)[0], observe(after)[0]
    # tau_N of N particles is 0 on both sides: the twins share an axis
    assert_same(first, second, SAFE + SAFE_RATIOS)
    if first["jet_rg"] > 0:
        # where no splitting passes, soft drop reaches the twins themselves: z_g is then not safe (arXiv:1502.01719)
        assert_same(first, second, GROOMED)
    assert second["jet_ptd"] < first["jet_ptd"]


@seeded
@given(seeds, sizes)
def test_soft_emission(seed, size):
    particles, rng = random_jet(seed, size)
    soft = np.array([[1e-12 * particles[0].sum()], [rng.normal(0, 0.3)], [3 + rng.normal(0, 0.3)], [0]])
    first, second = observe(particles)[0], observe(np.concatenate([particles, soft], axis=1))[0]
    # the change is of the order of the emission, 1e-12, but for the mass: its square changes by 1e-12 pt² and may be
    # small; the axis of the summed momenta moves by 1e-12 too, and LHA depends on the root of distances to an axis
    assert_same(first, second, SAFE, 1e-6)
    assert_same(first, second, ("jet_c2", "jet_d2", "jet_n2", "jet_m2"), 1e-6)
    if first["jet_rg"] > 0:
        assert_same(first, second, GROOMED, 1e-5)


@seeded
@given(seeds, st.integers(1, 40), st.sampled_from([0.0, 1.0, 2.0]))
def test_bounds(seed, size, beta):
    particles, _ = random_jet(seed, size, mass=0.14)
    o, lund, depth = observe(particles, beta)
    # the axes of N are among the axes of N + 1, because the winner takes all
    for name in ("", "_beta05", "_beta2"):
        taus = [o[f"jet_tau{n}{name}"] for n in range(1, 8) if f"jet_tau{n}{name}" in o]
        assert taus == sorted(taus, reverse=True)
        assert taus[-1] >= 0
    for name in ("jet_tau21", "jet_tau32", "jet_tau43"):
        assert 0 <= o[name] <= 1
    assert 1 / np.sqrt(size) - 1e-12 <= o["jet_ptd"] <= 1 + 1e-12
    assert o["jet_zg"] == 0 or 0 < o["jet_zg"] <= 0.5
    if o["jet_rg"] > 0:
        assert o["jet_zg"] > 0.1 * (o["jet_rg"] / 0.8) ** beta
    # the harder and the softer branch share out z, and the first splitting holds the whole mass
    assert len(depth) == size - 1
    assert (lund["lund_ln_z"] <= np.log(0.5) + 1e-12).all()
    assert (depth >= 0).all()


@settings(seeded, max_examples=20)
@given(seeds, st.integers(2, 60))
def test_lund_tree_is_a_tree(seed, size):
    particles, _ = random_jet(seed, size, mass=0.14)
    _, _, lund, parent, depth = jet_observables(np.array([size]), *particles, radius=0.8, zcut=0.1, beta=0.0)
    assert parent[0] == -1
    assert (parent[1:] >= 0).all()
    assert (parent < np.arange(size - 1)).all()
    # a declustering has at most two further ones, one on each branch
    children = np.bincount(parent[1:], minlength=size - 1)
    assert children.max(initial=0) <= 2
    primary = np.flatnonzero(depth == 0)
    assert list(parent[primary[1:]]) == list(primary[:-1])
    step = depth[1:] - depth[parent[1:]]
    assert set(step) <= {0, 1}
    # the mass of a branch is no larger than that of the splitting it comes from
    mass = np.exp(lund[:, 4])
    assert (mass[1:] <= mass[parent[1:]] * (1 + 1e-9)).all()


@settings(seeded, max_examples=30)
@given(seeds, st.integers(2, 9))
def test_correlators_against_sums_written_out(seed, size):
    particles, _ = random_jet(seed, size)
    pt, y, phi, _ = particles
    z = pt / pt.sum()
    theta = np.hypot(y[:, None] - y, phi[:, None] - phi)
    e2 = sum(z[i] * z[j] * theta[i, j] for i, j in itertools.combinations(range(size), 2))
    e3 = np.zeros(3)
    for triplet in itertools.combinations(range(size), 3):
        angles = sorted(theta[i, j] for i, j in itertools.combinations(triplet, 2))
        e3 += np.prod(z[list(triplet)]) * np.array([np.prod(angles), angles[0] * angles[1], angles[0]])
    assert energy_correlators(pt, y, phi) == pytest.approx((e2, *e3), rel=1e-12)
