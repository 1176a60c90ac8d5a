"""spectra.json of an unbinned method: from weights of all observables, and of one observable at a time."""

import json

import numpy as np
import pytest
from unfolded_toy import EDGES, MASS, WEIGHTS, publish_toy, write_inputs

from lhcml.common.errors import UserError
from lhcml.common.files import write_parquet
from lhcml.unfolding.dataset import read_dataset, spectrum
from lhcml.unfolding.tabulate_spectra import main

CONFIGURED = {
    "method": "multifold", "label": "MultiFold", "family": "multifold",
    "observables": {
        "jet_mass": {"label": "m", "edges": EDGES}, "jet_pt": {"bins": {"count": 2, "min": 100, "max": 300}},
    },
}  # fmt: skip


def tabulate(folder, inputs, data):
    write_parquet(folder / "data.parquet", data)
    options = [word for word in inputs if "normalisation" not in word]
    output = folder / "spectra.json"
    main(
        [*options, "--data", str(folder / "data.parquet"), "--config", json.dumps(CONFIGURED), "--output", str(output)]
    )
    return json.loads(output.read_text())


COLLISIONS = {"pass_reco": np.ones(3, bool), "weight_nominal": np.ones(3), "reco_jet_mass": np.ones(3)}


def test_all_observables_from_one_set_of_weights(tmp_path):
    spectra = tabulate(tmp_path, write_inputs(tmp_path), COLLISIONS)
    assert {key: spectra[key] for key in ("method", "label", "family")} == {
        "method": "multifold", "label": "MultiFold", "family": "multifold",
    }  # fmt: skip
    mass = spectra["observables"]["jet_mass"]
    assert mass == {
        "label": "m", "edges": EDGES, "nominal": [2, 0.5, 3], "ensemble": [[2.5, 1, 3], [1.5, 0, 3]],
        "bootstrap_data": [[1, 1, 3], [2, 2, 3], [3, 3, 3]], "bootstrap_simulation": [[2, 1, 2], [2, 1, 4]],
        "systematics": {"jesUp": [3, 0.5, 2], "jesDown": [1, 0.5, 4], "prior": [2.5, 0, 3]},
        "truth": None, "truth_variance": None, "prior": [1, 2, 1],
    }  # fmt: skip
    # pt 100, 150, 160 below 200; 200 and 300, the upper edge, above
    assert spectra["observables"]["jet_pt"]["nominal"] == [2 - 0.5 + 1, 1 + 3]


def test_truth_of_pseudo_data_is_of_particle_level_only(tmp_path):
    data = {
        "pass_gen": np.array([True, False, True]), "pass_reco": np.ones(3, bool),
        "weight_nominal": np.array([2.0, 5, 3]),
        "gen_jet_mass": np.array([1.0, 0, 12]), "gen_jet_pt": np.array([120.0, 0, 120]),
    }  # fmt: skip
    spectra = tabulate(tmp_path, write_inputs(tmp_path), data)["observables"]
    assert (spectra["jet_mass"]["truth"], spectra["jet_mass"]["truth_variance"]) == ([2, 3, 0], [4, 9, 0])
    assert (spectra["jet_pt"]["truth"], spectra["jet_pt"]["truth_variance"]) == ([5, 0], [13, 0])


def test_replicas_are_in_the_order_of_their_numbers(tmp_path):
    weights = {f"weight_ensemble_{number}": [float(number)] + [0.0] * 4 for number in (10, 9, 2)}
    spectra = tabulate(
        tmp_path, write_inputs(tmp_path, {"nominal": WEIGHTS["nominal"], "ensemble": weights}), COLLISIONS
    )
    assert [row[0] for row in spectra["observables"]["jet_mass"]["ensemble"]] == [2, 9, 10]


def test_one_observable_at_a_time(tmp_path):
    weights = {
        "nominal": {"jet_mass.weight_nominal": [1.0, 2, 3, 4, 5], "jet_pt.weight_nominal": [5.0, 4, 3, 2, 1]},
        "systematics": {"jet_mass.weight_jesUp": [2.0] * 5, "other.weight_jesUp": [9.0] * 5},
    }
    spectra = tabulate(tmp_path, write_inputs(tmp_path, weights), COLLISIONS)["observables"]
    assert spectra["jet_mass"]["nominal"] == [1, 5, 4]
    assert spectra["jet_mass"]["systematics"] == {"jesUp": [2, 4, 2]}
    assert spectra["jet_pt"]["nominal"] == [9, 6]
    assert spectra["jet_pt"]["systematics"] == {}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"nominal": {"weight_nominal": [1.0] * 4}}, "4 rows for 5 events"),
        ({"nominal": {"weight_nominal": [1.0, np.inf, 1, 1, 1]}}, "NaN or infinite"),
        ({"nominal": {"jet_mass.weight_nominal": [1.0] * 5}}, "no weight_nominal for jet_pt"),
        ({"a": WEIGHTS["nominal"], "b": WEIGHTS["nominal"]}, "twice"),
    ],
)
def test_bad_weights_are_refused(tmp_path, weights, message):
    with pytest.raises(UserError, match=message):
        tabulate(tmp_path, write_inputs(tmp_path, weights), COLLISIONS)


def test_spectra_are_those_of_the_data_set(tmp_path):
    spectra = tabulate(tmp_path, write_inputs(tmp_path), COLLISIONS)["observables"]["jet_mass"]
    result = spectrum(read_dataset(publish_toy(tmp_path)), np.array(MASS), EDGES)
    assert result.nominal.tolist() == spectra["nominal"]
    np.testing.assert_array_equal(
        result.covariances["statistical_data"], np.cov(spectra["bootstrap_data"], rowvar=False)
    )
