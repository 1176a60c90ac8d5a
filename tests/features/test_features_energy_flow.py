"""Energy flow polynomials: the graphs, the sums against what they stand for, and the column."""

import json

import awkward as ak
import numpy as np
import pyarrow.parquet
import pytest
from feature_toys import CONFIG, skim_columns, toy_jet, write_skim
from hypothesis import given, settings
from hypothesis import strategies as st

from lhcml.common.files import read_parquet
from lhcml.features import build_features
from lhcml.features.energy_flow import energy_flow_polynomials
from lhcml.features.multigraphs import all_graphs, canonical, connected_graphs, vertices
from lhcml.features.observables import energy_correlators

# connected multigraphs of d edges, and all of up to d edges (arXiv:1712.07124)
CONNECTED = [1, 1, 2, 5, 12, 33, 103, 333]
ALL = [1, 2, 5, 13, 36, 102, 314, 1000]


def test_numbers_of_graphs():
    assert [len(connected_graphs(d)) for d in range(8)] == CONNECTED
    assert [len(all_graphs(d)) for d in range(8)] == ALL


def test_graphs_of_fewer_edges_come_first():
    assert all_graphs(7)[: len(all_graphs(5))] == all_graphs(5)
    assert all_graphs(2) == (
        (), (((0, 1, 1),),), (((0, 1, 2),),), (((0, 2, 1), (1, 2, 1)),), (((0, 1, 1),), ((0, 1, 1),)),
    )  # fmt: skip
    assert len(set(all_graphs(7))) == 1000


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 7).flatmap(lambda d: st.sampled_from(connected_graphs(d))), st.randoms(use_true_random=False))
def test_labels_of_vertices_do_not_matter(graph, random):
    labels = list(range(vertices(graph)))
    random.shuffle(labels)
    edges = [(min(labels[i], labels[j]), max(labels[i], labels[j]), m) for i, j, m in graph]
    random.shuffle(edges)
    assert canonical(tuple(edges)) == graph


def random_jet(seed, n):
    rng = np.random.default_rng(seed)
    return 10 ** rng.uniform(0, 2, n), rng.normal(0, 0.3, n), (3 + rng.normal(0, 0.3, n) + np.pi) % (2 * np.pi) - np.pi


def written_out(graph, z, theta):
    """The sum over all vertices that a connected multigraph stands for, in one loop over all of its terms."""
    letters = "abcdefgh"[: vertices(graph)]
    edges = [letters[i] + letters[j] for i, j, _ in graph]
    return np.einsum(
        ",".join([*letters, *edges]), *[z] * len(letters), *(theta**m for _, _, m in graph), optimize=False
    )


def test_by_hand():
    # 0.75 and 0.25 of the momentum, 0.4 apart: an edge is 2 * 0.75 * 0.25 * theta, two edges in a row
    # 0.75 * 0.25 theta² (0.75 + 0.25), from either end
    pt, y, phi = np.array([30.0, 10.0]), np.array([0.1, 0.34]), np.array([3.1, 3.42 - 2 * np.pi])
    (values,) = energy_flow_polynomials(np.array([2]), pt, y, phi, degree=2, beta=0.5)
    theta = np.sqrt(0.4)
    edge = 2 * 0.75 * 0.25 * theta
    expected = [1, edge, edge * theta, 0.75 * 0.25 * theta**2, edge**2]
    assert values == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("n", "beta"), [(4, 0.5), (3, 1.0)])
def test_against_sums_written_out(n, beta):
    # four particles: the fewest for which every graph gives more than 0
    pt, y, phi = random_jet(n, n)
    dphi = np.pi - np.abs(np.pi - np.abs(phi[:, None] - phi))
    z, theta = pt / pt.sum(), np.hypot(y[:, None] - y, dphi) ** beta
    expected = {graph: written_out(graph, z, theta) for d in range(1, 8) for graph in connected_graphs(d)}
    (values,) = energy_flow_polynomials(np.array([n]), pt, y, phi, degree=7, beta=beta)
    # roundings of up to 4^8 terms, all positive
    assert values == pytest.approx([np.prod([expected[part] for part in parts]) for parts in all_graphs(7)], rel=1e-12)
    assert n < 4 or (values > 0).all()


@settings(deadline=None, derandomize=True, max_examples=20)
@given(st.integers(0, 1000), st.lists(st.integers(0, 40), min_size=1, max_size=12))
def test_jets_do_not_see_each_other(seed, counts):
    jets = [random_jet(seed + i, n) for i, n in enumerate(counts)]
    together = energy_flow_polynomials(
        np.array(counts), *(np.concatenate(column) for column in zip(*jets, strict=True)), degree=4, beta=0.5
    )
    for row, n, jet in zip(together, counts, jets, strict=True):
        (alone,) = energy_flow_polynomials(np.array([n]), *jet, degree=4, beta=0.5)
        # sums over jets filled up to the largest are taken in another order
        assert row == pytest.approx(alone, rel=1e-12)
        if n < 2:
            assert list(row) == [1.0] + [0.0] * (ALL[4] - 1)


def test_edge_and_triangle_are_the_correlators():
    pt, y, phi = random_jet(5, 30)
    (values,) = energy_flow_polynomials(np.array([30]), pt, y, phi, degree=3, beta=1.0)
    e2, e3, _, _ = energy_correlators(pt, y, phi)
    assert values[1] == pytest.approx(2 * e2, rel=1e-12)
    assert values[all_graphs(3).index((((0, 1, 1), (0, 2, 1), (1, 2, 1)),))] == pytest.approx(6 * e3, rel=1e-12)


@settings(deadline=None, derandomize=True, max_examples=20)
@given(st.integers(0, 1000), st.integers(2, 20), st.floats(0.01, 0.99), st.floats(-3, 3))
def test_safe_and_without_direction(seed, n, share, angle):
    pt, y, phi = random_jet(seed, n)
    # the first particle in two collinear ones, one of no momentum to speak of, turned about the beam and boosted
    pt2 = np.concatenate([[share * pt[0], (1 - share) * pt[0]], pt[1:], [1e-13]])
    y2, phi2 = (np.concatenate([[x[0]], x, [0.5]]) + shift for x, shift in ((y, 0.3), (phi, angle)))
    first = energy_flow_polynomials(np.array([n]), pt, y, phi, degree=5, beta=0.5)
    second = energy_flow_polynomials(np.array([n + 2]), pt2, y2, phi2, degree=5, beta=0.5)
    # distances of coincident particles are 0 on both sides; the soft one changes 1e-13 of a sum, relative to
    # polynomials of down to 1e-4
    assert second == pytest.approx(first, rel=1e-7, abs=1e-11)


@pytest.mark.parametrize("degree", [0, 8])
def test_degrees_that_cannot_be(degree):
    with pytest.raises(ValueError, match=f"degree {degree}"):
        energy_flow_polynomials(np.array([1]), *np.ones((3, 1)), degree=degree, beta=0.5)


def build(tmp_path, jets, **efp):
    path = write_skim(tmp_path / "skim.root", skim_columns(jets))
    config = json.dumps(CONFIG | {"efp": {"beta": 0.5} | efp})
    build_features.main(["--input", str(path), "--config", config, "--output", str(tmp_path / "features.parquet")])
    return tmp_path / "features.parquet"


def test_column(tmp_path):
    rng = np.random.default_rng(8)
    jets = [[toy_jet(rng, 20), toy_jet(rng, 1)], [], [toy_jet(rng, 7)]]
    path = build(tmp_path, jets, degree=5)
    field = pyarrow.parquet.read_schema(path).field("jet_efp").type
    assert pyarrow.types.is_fixed_size_list(field)
    assert field.list_size == ALL[5]
    column = read_parquet(path, ["jet_efp", "split"]).jet_efp
    values = ak.to_numpy(column)
    assert values.shape == (3, ALL[5])
    assert values.dtype == np.float32
    pt, eta, phi, mass = jets[2][0].astype(np.float32).astype(float)
    expected = energy_flow_polynomials(
        np.array([7]), pt, np.arcsinh(pt * np.sinh(eta) / np.hypot(pt, mass)), phi, degree=5, beta=0.5
    )
    # single precision in the file, and of the momenta in the skim
    assert values[2] == pytest.approx(expected[0], rel=1e-5)


def test_column_of_no_jets_has_the_same_type(tmp_path):
    rng = np.random.default_rng(8)
    types = []
    for jets in ([[toy_jet(rng, 5)]], [[], []]):
        types.append(pyarrow.parquet.read_schema(build(tmp_path, jets, degree=3)).field("jet_efp").type)
    assert types[0] == types[1]


def test_no_column_by_default(tmp_path):
    assert "jet_efp" not in read_parquet(build(tmp_path, [[toy_jet(np.random.default_rng(1), 5)]], degree=0)).fields
