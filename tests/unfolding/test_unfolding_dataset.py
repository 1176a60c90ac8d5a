"""Publishing of an unfolded data set and spectra from it, against numbers worked out by hand."""

import json
import shutil
import subprocess
import sys

import awkward as ak
import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from unfolded_toy import CONFIG, EDGES, MASS, PT, WEIGHTS, publish_toy

from lhcml.common.errors import UserError
from lhcml.unfolding import publish_dataset
from lhcml.unfolding.dataset import read_dataset, spectrum
from lhcml.unfolding.manifest import read_schema, validate_manifest
from lhcml.unfolding.uncertainties import GENERATOR, NOMINAL, SQUARES, fill, make_binning, make_spectrum


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return publish_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_spectrum_by_hand(folder):
    dataset = read_dataset(folder)
    result = spectrum(dataset, dataset.column("jet_mass"), EDGES)
    # 10 is in the second bin, 30 in the last, 40 beyond
    assert result.nominal.tolist() == [2.0, 0.5, 3.0]
    assert result.prior.tolist() == [1.0, 2.0, 1.0]
    assert (result.underflow, result.overflow) == (0.0, 1.0)
    # (1 - 0.5)^2 / (1 + 0.25) in the second bin
    assert result.effective_events.tolist() == [1.0, 0.2, 1.0]
    expected = {
        # replicas (1, 1, 3), (2, 2, 3), (3, 3, 3): variance 1 and fully correlated
        "statistical_data": [[1, 1, 0], [1, 1, 0], [0, 0, 0]],
        # (2, 1, 2) and (2, 1, 4): variance 2
        "statistical_simulation": [[0, 0, 0], [0, 0, 0], [0, 0, 2]],
        # (2.5, 1, 3) and (1.5, 0, 3): variance 0.5, halved since the nominal weight is the mean of two
        "ensemble": [[0.25, 0.25, 0], [0.25, 0.25, 0], [0, 0, 0]],
        # half the difference of (3, 0.5, 2) and (1, 0.5, 4) is (1, 0, -1): bins 1 and 3 move against each other
        "jes": [[1, 0, -1], [0, 0, 0], [-1, 0, 1]],
        # (2.5, 0, 3) - (2, 0.5, 3) = (0.5, -0.5, 0)
        "prior": [[0.25, -0.25, 0], [-0.25, 0.25, 0], [0, 0, 0]],
    }
    assert list(result.covariances) == list(expected)
    for source, matrix in expected.items():
        assert result.covariances[source].tolist() == matrix, source
    assert result.covariance.tolist() == np.sum(list(expected.values()), axis=0).tolist()
    assert result.uncertainty.tolist() == np.sqrt([2.5, 1.5, 3.0]).tolist()
    assert result.shifts["jes"]["up"].tolist() == [1, 0, -1]
    assert result.shifts["prior"]["shift"].tolist() == [0.5, -0.5, 0]
    assert result.correlation[0, 2] == pytest.approx(-1 / np.sqrt(2.5 * 3), rel=1e-15)


def test_density_keeps_unit_area(folder):
    dataset = read_dataset(folder)
    edges = np.array([0.0, 10.0, 25.0, 30.0])
    result = spectrum(dataset, dataset.column("jet_mass"), edges, density=True)
    widths = np.diff(edges)
    # sums in range 2, 0.5, 3 of 5.5
    np.testing.assert_allclose(result.nominal, np.array([2, 0.5, 3]) / 5.5 / widths, rtol=1e-15)
    for source, matrix in result.covariances.items():
        # the area of every variation is 1, so that it has no uncertainty: zero up to rounding of numbers of order 0.1
        np.testing.assert_allclose(matrix @ widths, 0, atol=1e-15, err_msg=source)


def test_rate_alone_is_no_uncertainty_of_a_density():
    recipe = {"scale": {"kind": "two_sided", "up": "up", "down": "down"}}
    sums = {NOMINAL: np.array([0, 1.0, 3, 9]), GENERATOR: np.array([0, 1.0, 1, 0]), SQUARES: np.ones(4)}
    sums |= {"up": 1.25 * sums[NOMINAL], "down": 0.75 * sums[NOMINAL]}
    edges = np.array([0.0, 1.0, 2.0])
    assert make_spectrum(edges, sums, recipe).uncertainty.tolist() == [0.25, 0.75]
    assert make_spectrum(edges, sums, recipe, density=True).uncertainty.tolist() == [0, 0]


def test_cut_and_new_observable_equal_direct_computation(folder):
    dataset = read_dataset(folder)
    ratio = np.float32(MASS) / np.float32(PT)
    np.testing.assert_array_equal(dataset.column("jet_mass") / dataset.column("jet_pt"), ratio)
    keep, edges = np.array(PT) > 120, [0.0, 0.06, 0.2, 0.4]
    result = spectrum(dataset, ratio, edges, keep=keep)
    for name, values in (("jesUp", result.nominal + result.shifts["jes"]["up"]), ("nominal", result.nominal)):
        weights = np.array((WEIGHTS["nominal"] | WEIGHTS["systematics"])[f"weight_{name}"])
        np.testing.assert_allclose(values, np.histogram(ratio[keep], edges, weights=weights[keep])[0], rtol=1e-15)


def test_manifest_round_trip(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    dataset = read_dataset(folder)
    assert dataset.manifest == manifest
    assert dataset.observables == ["jet_mass", "jet_pt"]
    assert manifest["method"]["iterations"] == 3
    assert manifest["weights"]["factor_to_pb"] == 1 / 500
    assert manifest["fiducial"][0] == {
        "observable": "jet_pt", "min": 100, "max": None, "words": "transverse momentum, leading jet: at least 100 GeV",
    }  # fmt: skip
    # all rows count, the overflow too: 2 + 1 - 0.5 + 3 + 1; replicas 6, 8, 10 of the data and 5, 9 of the simulation
    total = manifest["total"]["events"]
    assert total["value"] == 6.5
    assert total["uncertainties"] == pytest.approx(
        {"statistical_data": 2, "statistical_simulation": 8**0.5, "ensemble": 1, "jes": 0, "prior": 0}, rel=1e-15
    )
    assert manifest["total"]["cross_section_pb"]["value"] == pytest.approx(6.5 / 500, rel=1e-15)
    quality = manifest["quality"]
    assert quality["effective_events"] == {"nominal": pytest.approx(6.5**2 / 15.25), "prior": 5.0}
    assert quality["largest_push"] == 3.0
    assert quality["negative_share"] == pytest.approx(0.5 / 7.5)
    assert "date" not in json.dumps(manifest)


def test_iterations_are_those_that_the_nominal_unfolding_took(tmp_path):
    diagnostics = tmp_path / "diagnostics.json"
    diagnostics.write_text(json.dumps({"runs": [{"iterations": [{}, {}]}]}))
    folder = publish_toy(tmp_path, diagnostics=diagnostics)
    assert read_dataset(folder).manifest["method"]["iterations"] == 2


def test_publishing_twice_gives_the_same_bytes(folder, tmp_path):
    again = publish_toy(tmp_path)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        assert path.read_bytes() == (again / path.relative_to(folder)).read_bytes(), path


def test_small_parts_give_the_same_events(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(publish_dataset, "PART_ROWS", 2)
    again = publish_toy(tmp_path)
    assert pq.read_metadata(again / "events.parquet").num_row_groups == 3
    assert pq.read_table(again / "events.parquet").equals(pq.read_table(folder / "events.parquet"))


def test_example_of_the_manifest_runs_alone_and_agrees(folder):
    # a fresh interpreter without this package on its path, as a reader of the data set has it
    example = json.loads((folder / "manifest.json").read_text())["example"]
    assert len(example.splitlines()) <= 13
    code = "import numpy as np; np.set_printoptions(precision=17)\n" + example
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=folder, check=True, capture_output=True, text=True)
    printed = np.array([float(word) for word in done.stdout.replace("[", " ").replace("]", " ").split()])
    dataset = read_dataset(folder)
    result = spectrum(dataset, dataset.column("jet_mass") / dataset.column("jet_pt"), np.linspace(0, 0.3, 21))
    np.testing.assert_allclose(printed, [*result.nominal, *result.uncertainty], rtol=1e-12, atol=1e-15)


def test_hdf5_holds_the_same_columns(tmp_path):
    folder = publish_toy(tmp_path, CONFIG | {"constituents": True})
    dataset = read_dataset(folder)
    table = pq.read_table(folder / "events.parquet")
    with h5py.File(folder / "events.h5") as file:
        assert set(file) == {*table.column_names, "part_offsets"}
        assert file["part_offsets"][:].tolist() == [0, 1, 3, 3, 4, 7]
        assert file["part_pt"][:].tolist() == [1, 2, 3, 4, 5, 6, 7]
        assert file["jet_mass"].attrs["units"] == "GeV"
        assert file["weight_jesUp"].compression == "gzip"
        for name in set(table.column_names) - {"part_pt"}:
            assert file[name].dtype == table[name].to_numpy().dtype
            np.testing.assert_array_equal(file[name][:], table[name].to_numpy())
    # reductions over constituents: the documented way to observables that need them
    hardest = ak.to_numpy(ak.fill_none(ak.max(dataset.column("part_pt"), axis=1), 0))
    assert spectrum(dataset, hardest, [0, 2, 5, 8]).nominal.tolist() == [2 - 0.5, 1 + 3, 1]
    assert "part_pt" not in dataset.observables


def corrupt(folder):
    data = bytearray((folder / "events.parquet").read_bytes())
    data[50] ^= 1
    (folder / "events.parquet").write_bytes(bytes(data))


def drop_column(folder):
    pq.write_table(pq.read_table(folder / "events.parquet").drop_columns(["weight_jesUp"]), folder / "events.parquet")


def drop_row(folder):
    pq.write_table(pq.read_table(folder / "events.parquet").slice(1), folder / "events.parquet")


def edit_manifest(**changes):
    def edit(folder):
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (corrupt, "SHA-256"),
        (drop_column, "no column weight_jesUp"),
        (drop_row, "has 4 rows, its manifest says 5"),
        (lambda folder: (folder / "manifest.json").unlink(), "cannot read"),
        (lambda folder: (folder / "events.parquet").unlink(), "cannot read"),
        (edit_manifest(format_version="2.0"), "format_version"),
        (edit_manifest(titel="x"), "did you mean 'title'"),
        (edit_manifest(uncertainties={"jes": {"kind": "two_sided"}}), "uncertainties.jes"),
    ],
)
def test_damaged_data_set_is_refused(copy, damage, message):
    damage(copy)
    with pytest.raises(UserError, match=message):
        read_dataset(copy)


@pytest.mark.parametrize(
    ("weights", "config", "message"),
    [
        (WEIGHTS | {"nominal": {"weight_nominal": [1, 1, np.nan, 1, 1]}}, {}, "weight_nominal .* NaN"),
        (WEIGHTS | {"nominal": {"weight_nominal": [1.0, 1.0]}}, {}, "2 rows for 5 events"),
        (WEIGHTS | {"more": {"weight_jesUp": [1.0] * 5}}, {}, "weight_jesUp are in two files"),
        (WEIGHTS | {"more": {"weight_jerUp": [1.0] * 5}}, {}, "weight_jerUp belong to no source"),
        ({"jes": WEIGHTS["systematics"]}, {}, "no column weight_nominal"),
        (WEIGHTS | {"ensemble": {"weight_ensemble_0": [1.0] * 5}}, {}, "only column of its kind"),
        (WEIGHTS, {"systematics": {"jer": {"up": "jerUp", "down": "jerDown"}}}, "no weight column weight_jerDown"),
    ],
)
def test_publishing_refuses_bad_input(tmp_path, weights, config, message):
    with pytest.raises(UserError, match=message):
        publish_toy(tmp_path, CONFIG | config, weights=weights)
    assert not (tmp_path / "dataset/manifest.json").exists()


def test_nominal_that_is_no_mean_has_the_spread_of_one_network(tmp_path):
    weights = WEIGHTS | {"nominal": {"weight_nominal": [2.5, 1.0, -0.5, 3.0, 1.0]}}
    folder = publish_toy(tmp_path, weights=weights)
    dataset = read_dataset(folder)
    assert dataset.recipe["ensemble"]["averaged"] == 1
    assert spectrum(dataset, dataset.column("jet_mass"), EDGES).covariances["ensemble"][0, 0] == 0.5


def test_values_are_checked(folder):
    dataset = read_dataset(folder)
    with pytest.raises(UserError, match="shape"):
        spectrum(dataset, np.ones(4), EDGES)
    with pytest.raises(UserError, match="NaN for 1 of 5"):
        spectrum(dataset, np.array([np.nan, 1, 1, 1, 1]), EDGES)
    # an event that a cut removes may be undefined
    keep = np.array([False, True, True, True, True])
    assert spectrum(dataset, np.array([np.nan, 1, 1, 1, np.inf]), EDGES, keep=keep).nominal[0] == 3.5
    with pytest.raises(UserError, match="did you mean 'jet_mass'"):
        dataset.column("jet_mas")
    for edges in ([1.0], [0, 2, 1], [0, np.inf]):
        with pytest.raises(UserError, match="no bin edges"):
            spectrum(dataset, np.ones(5), edges)


def test_schema_is_a_schema_and_closed():
    import jsonschema

    jsonschema.Draft202012Validator.check_schema(read_schema())
    with pytest.raises(UserError, match="required"):
        validate_manifest({}, "here")


def test_poisson_bootstrap_gives_the_variance_of_weighted_events():
    # an independent answer: the variance of a sum of weights of Poisson events is the sum of their squares
    generator = np.random.default_rng(20261122)
    events, replicas = 4000, 400
    values, weights = generator.normal(0, 1, events), generator.normal(1, 0.5, events)
    names = [f"weight_bootstrap_data_{number}" for number in range(replicas)]
    columns = [(NOMINAL, weights), (GENERATOR, weights), (SQUARES, weights**2)]
    columns += [(name, weights * generator.poisson(1, events)) for name in names]
    sums = fill(columns, {"x": make_binning(values, [-1, 0, 1])})["x"]
    result = make_spectrum(np.array([-1.0, 0, 1]), sums, {"data": {"kind": "replicas", "columns": names}})
    # a variance from n replicas is known to sqrt(2 / (n - 1)) = 7 %, a correlation to 1 / sqrt(n) = 5 %: four of each
    np.testing.assert_allclose(np.diag(result.covariance) / sums[SQUARES][1:-1], 1, atol=4 * 0.07)
    assert abs(result.correlation[0, 1]) < 4 * 0.05


weights_strategy = hnp.arrays(float, (7, 30), elements=st.floats(-3, 3, width=32))
values_strategy = hnp.arrays(float, 30, elements=st.floats(-2, 4, allow_nan=False) | st.just(np.inf))


@settings(max_examples=60, deadline=None)
@given(weights_strategy, values_strategy, st.integers(1, 6))
def test_bins_and_overflow_hold_all_weights_and_covariances_are_valid(weights, values, count):
    names = [NOMINAL, "a", "b", "c", "up", "down", GENERATOR]
    edges = np.linspace(0, 2, count + 1)
    columns = [*zip(names, weights, strict=True), (SQUARES, weights[0] ** 2)]
    sums = fill(columns, {"x": make_binning(values, edges)})["x"]
    for name, column in zip(names, weights, strict=True):
        # 30 numbers of order 3 added in another order: rounding below 30 * 3 * 2^-52
        assert sums[name].sum() == pytest.approx(column.sum(), abs=1e-13)
        inside = np.isfinite(values)
        expected = np.histogram(values[inside], edges, weights=column[inside])[0]
        np.testing.assert_allclose(sums[name][1:-1], expected, atol=1e-13)
    recipe = {
        "statistics": {"kind": "replicas", "columns": ["a", "b", "c"]},
        "shape": {"kind": "two_sided", "up": "up", "down": "down"},
        "model": {"kind": "one_sided", "column": "a"},
    }
    result = make_spectrum(edges, sums, recipe)
    for matrix in [result.covariance, *result.covariances.values()]:
        np.testing.assert_array_equal(matrix, matrix.T)
        # not below 0 but for rounding, relative to the largest possible element (90^2)
        assert np.linalg.eigvalsh(matrix).min() > -1e-11
