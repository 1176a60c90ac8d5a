"""Comparison of methods: figures of merit by hand, of toys with known answers, and the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from comparison_toy import METHODS, OBSERVABLES, SEED, SYSTEMATICS, write_toy

from lhcml.common.errors import UserError
from lhcml.common.files import read_json
from lhcml.unfolding import compare_methods
from lhcml.unfolding.binned_spectra import read_spectrum
from lhcml.unfolding.comparison import (
    Reference,
    agreement,
    bottom_line,
    distances,
    effective_degrees,
    expected_discriminator,
    merge_bins,
    zero_test,
)
from lhcml.unfolding.comparison_tables import escape
from lhcml.unfolding.metrics import triangular_discriminator
from lhcml.unfolding.published import published_value

PUBLISHED = Path(compare_methods.__file__).with_name("published.json")


def block(**changes):
    """Two bins of width 1 and 2, two replicas of each kind."""
    return {
        "label": "x", "edges": [0, 1, 3], "nominal": [10.0, 30.0], "ensemble": [],
        "bootstrap_data": [[8.0, 30.0], [12.0, 30.0]],
        "bootstrap_simulation": [[10.0, 29.0], [10.0, 31.0]], "systematics": {"up": [12.0, 30.0], "down": [9.0, 31.0]},
        "truth": [12.0, 30.0], "truth_variance": [12.0, 30.0], "prior": [20.0, 20.0],
    } | changes  # fmt: skip


def reference(**changes):
    values = {
        "truth_replicas": np.array([[10.0, 30.0], [14.0, 30.0]]),
        "prior_replicas": np.array([[20.0, 19.0], [20.0, 21.0]]),
        "measured": np.array([0.0, 400.0, 600.0, 0.0]), "measured_variance": np.array([0.0, 400.0, 600.0, 0.0]),
        "folded": np.array([0.0, 380.0, 600.0, 0.0]), "simulation_size": 100.0, "truth_size": 50.0,
    }  # fmt: skip
    return Reference(**(values | changes))


def test_covariances_of_a_spectrum_by_hand():
    result = read_spectrum(block(), {"s": {"source": "weights", "up": "up", "down": "down"}})
    # two replicas 4 apart have a variance of 8; half the difference of up and down is (1.5, -0.5)
    np.testing.assert_allclose(result.covariances["statistical_data"], [[8, 0], [0, 0]])
    np.testing.assert_allclose(result.covariances["statistical_simulation"], [[0, 0], [0, 2]])
    np.testing.assert_allclose(result.covariances["s"], [[2.25, -0.75], [-0.75, 0.25]])
    assert list(read_spectrum(block(bootstrap_data=[]), {}).covariances) == ["statistical_simulation"]


def test_distances_by_hand():
    row = distances("x", block(), reference())
    # densities in the bins: 1/4 and 3/8 against 2/7 and 5/14
    p, q = np.array([1 / 4, 3 / 8]), np.array([2 / 7, 5 / 14])
    assert row["triangular_e3"] == pytest.approx(500 * np.sum((p - q) ** 2 / (p + q) * [1, 2]))
    # 2 bins: 1/4 * (1/100 + 1/50)
    assert row["floor_e3"] == pytest.approx(1e3 * 0.03 / 4)
    # centres 0.5 and 2: the share that moves is 2/7 - 1/4
    assert row["wasserstein"] == pytest.approx(1.5 * (2 / 7 - 1 / 4))
    # each replica of the data is compared with its own truth, those of the simulation with the truth
    data = [triangular_discriminator(a, b, [1, 2]) for a, b in (([8, 30], [10, 30]), ([12, 30], [14, 30]))]
    simulation = [triangular_discriminator(a, [12, 30], [1, 2]) for a in ([10, 29], [10, 31])]
    assert row["triangular_e3_std"] == pytest.approx(np.hypot(np.std(data, ddof=1), np.std(simulation, ddof=1)))


def test_an_observable_without_truth_in_range_is_refused():
    with pytest.raises(UserError, match="truth of jet_mass has no events"):
        distances("jet_mass", block(truth=[0.0, 0.0]), reference())


def test_expected_discriminator_of_samples_of_different_sizes():
    # 300 pairs of 30 equal bins: a pair scatters by sqrt(2 / 29) = 0.26, the mean by 0.015; 4 sigma
    rng = np.random.default_rng(1)
    first, second = (rng.multinomial(size, np.full(30, 1 / 30), 300) for size in (4000, 9000))
    pairs = zip(first, second, strict=True)
    mean = np.mean([triangular_discriminator(p, q, np.ones(30)) for p, q in pairs])
    assert mean == pytest.approx(expected_discriminator(30, 4000, 9000), rel=0.06)


def test_merging_keeps_the_sum_and_balances():
    content = np.array([1.0, 1, 1, 1, 4, 4, 0, 0])
    np.testing.assert_array_equal(merge_bins(content, 3)(content), [4, 4, 4])
    assert merge_bins(content, 1)(content) == [12]
    # a bin that holds nearly all leaves no more than its neighbours
    assert merge_bins(np.array([1.0, 98, 1]), 3)(np.array([1.0, 2, 3])).sum() == 6


def test_effective_degrees():
    rng = np.random.default_rng(2)
    sample = rng.normal(size=(11, 4))
    # equal variances add their degrees; one source that dominates has its own
    assert effective_degrees([sample, sample]) == pytest.approx(20)
    assert effective_degrees([sample, 1e-4 * rng.normal(size=(5, 4))]) == pytest.approx(10, rel=1e-3)
    assert effective_degrees([]) == 0


def test_p_values_of_estimated_covariances_are_uniform():
    # 600 tests with 12 replicas in 3 bins: Hotelling's law is exact, chi-square would reject far more. Standard error
    # of a rejection rate of 0.1: sqrt(0.09 / 600) = 0.012; 4 sigma
    rng = np.random.default_rng(3)
    values = [
        zero_test(rng.normal(size=3), [rng.normal(size=(12, 3))], [])["p_value"] for _ in range(600)
    ]  # fmt: skip
    assert np.mean(np.array(values) < 0.1) == pytest.approx(0.1, abs=0.05)
    assert np.mean(values) == pytest.approx(0.5, abs=4 / np.sqrt(12 * 600))


def test_fluctuations_that_truth_and_result_share_drop_out():
    # a perfect detector: the unfolded replicas are the replicas of the truth, and nothing is uncertain
    rng = np.random.default_rng(4)
    replicas = rng.poisson(40, (10, 2)).astype(float)
    perfect = block(bootstrap_data=replicas.tolist(), bootstrap_simulation=[], nominal=[12.0, 30.0])
    row = agreement(perfect, reference(truth_replicas=replicas), {})
    assert (row["chi2"], row["coverage"]) == (None, None)


def test_coverage_by_hand():
    # the data agree with their truth in each replica; simulation has sigma 0 and sqrt(2), systematics 1.5 and 0.5
    row = agreement(block(), reference(), {"s": {"source": "weights", "up": "up", "down": "down"}})
    # 2 off with 1.5 in the first bin, none off in the second
    assert (row["compared_with"], row["coverage"]) == ("truth", 0.5)
    assert agreement(block(truth=None), reference(), {})["coverage"] is None


def test_bottom_line_by_hand():
    rng = np.random.default_rng(5)
    replicas = rng.normal([10, 30], [3, 5], (12, 2))
    result = bottom_line(block(bootstrap_data=replicas.tolist()), reference())
    # Poisson errors of the data, 20 of 400 events: 400 / 400
    assert result["detector"]["value"] == pytest.approx(1.0)
    delta = np.array([10.0, 30.0]) - 20
    hotelling = delta @ np.linalg.inv(np.cov(replicas.T)) @ delta
    assert result["particle"]["value"] == pytest.approx(hotelling * (12 - 2 - 2) / 11)
    assert result["relative_error"] == pytest.approx(np.sqrt(2 / 6))
    assert bottom_line(block(), reference()) is None


def test_published_values():
    published = read_json(PUBLISHED)
    assert published_value("multifold_dnn", "jet_tau21", published) == {
        "value": 0.63, "entry": "multifold_dnn", "name": "MultiFold (dense network)", "source": "arXiv:2503.09720",
        "verified": True,
    }  # fmt: skip
    assert published_value("ibu", "jet_pt", published) is None
    assert published_value(None, "jet_mass", published) is None
    with pytest.raises(UserError, match="choose among omnifold"):
        published_value("omnifolt", "jet_mass", published)


def test_escape_leaves_formulae():
    assert escape(r"a_b $\tau_{21}$ & c") == r"a\_b $\tau_{21}$ \& c"


def compare(folder, paths, methods=tuple(METHODS)):
    config = {"root_seed": SEED, "systematics": SYSTEMATICS, "methods": {"ibu": {"published": "ibu"}}}
    compare_methods.main([
        "--spectra", *(str(paths[name]) for name in methods), "--simulation", str(paths["simulation"]), "--data",
        str(paths["data"]), "--published", str(PUBLISHED), "--config", json.dumps(config), "--json",
        str(folder / "comparison.json"), "--csv", str(folder / "comparison.csv"), "--tex",
        str(folder / "comparison.tex"),
    ])  # fmt: skip
    return {(row["method"], row["observable"]): row for row in read_json(folder / "comparison.json")["rows"]}


def test_command_line_with_truth(tmp_path):
    rows = compare(tmp_path, write_toy(tmp_path))
    assert list(rows) == [(method, name) for name in OBSERVABLES for method in METHODS]
    for name in OBSERVABLES:
        before, ibu = rows["before", name], rows["ibu", name]
        # the toys' means are 0.3 apart: unfolding must get most of that right, and not doing so must be seen
        assert before["triangular_e3"] == before["prior_e3"]
        assert ibu["triangular_e3"] < 0.4 * before["triangular_e3"]
        assert ibu["wasserstein"] < 0.4 * before["wasserstein"]
        # the variation of isr tilts the spectrum much as the data do, so that the simulation is no gross failure
        assert ibu["p_value"] > max(0.01, before["p_value"])
        assert before["bottom_line"] is None
    assert rows["ibu", "jet_mass"]["published"]["value"] == 9.31
    assert rows["ibu", "jet_y"]["published"] is None
    with (tmp_path / "comparison.csv").open() as file:
        table = list(csv.DictReader(file))
    assert float(table[0]["triangular_e3"]) == pytest.approx(rows["ibu", "jet_mass"]["triangular_e3"], rel=1e-5)
    assert table[0]["published_verified"] == "False"
    assert "[9.31]" in (tmp_path / "comparison.tex").read_text()


def test_command_line_for_collision_data(tmp_path):
    rows = compare(tmp_path, write_toy(tmp_path, truth=False))
    row = rows["ibu", "jet_mass"]
    assert (row["compared_with"], row["triangular_e3"], row["coverage"]) == ("prior", None, None)
    # the toys differ, and the data say so
    assert row["p_value"] < 0.01
    assert "--" in (tmp_path / "comparison.tex").read_text()


def test_methods_with_other_bins_are_refused(tmp_path):
    paths = write_toy(tmp_path)
    spectra = read_json(paths["ibu"])
    spectra["observables"]["jet_y"]["edges"][0] = -2.5
    paths["ibu"].write_text(json.dumps(spectra))
    with pytest.raises(UserError, match="bins of jet_y of inversion"):
        compare(tmp_path, paths)
