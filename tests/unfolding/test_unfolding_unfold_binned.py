"""The command line of the binned references on files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_parquet
from lhcml.unfolding.binned import fill_response, find_bins, response_cells, unfold_bayes
from lhcml.unfolding.bootstrap import poisson_weights
from lhcml.unfolding.unfold_binned import main

EVENTS = 4000
EDGES = np.linspace(-2, 2, 9)
CONFIG = {
    "method": "reference", "label": "IBU", "family": "ibu", "iterations": 3,
    "observables": {"x": {"label": "x [GeV]", "bins": {"count": 8, "min": -2, "max": 2}}, "y": {"edges": [0, 1, 3]}},
    "bootstraps": {"data": 3, "simulation": 2},
    "systematics": {
        "jes": {"source": "features", "up": "jesUp", "down": "jesDown"}, "isr": {"source": "weights", "up": "isrUp"},
        "prior": {"source": "prior", "dataset": "other"},
    },
}  # fmt: skip


def identity(size: int) -> dict[str, np.ndarray]:
    return {"run": np.ones(size, int), "luminosityBlock": 1 + np.arange(size) // 100, "event": np.arange(size)}


def simulated_columns() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    background = np.arange(EVENTS) % 10 == 0
    pass_gen = ~background & (rng.uniform(size=EVENTS) < 0.9)
    pass_reco = background | (rng.uniform(size=EVENTS) < 0.8)
    columns = identity(EVENTS) | {"background": background, "pass_gen": pass_gen, "pass_reco": pass_reco}
    gen = rng.normal(size=EVENTS)
    reco = gen + rng.normal(0, 0.3, EVENTS)
    for name, scale in (("x", 1.0), ("y", 2.0)):
        columns |= {
            f"gen_{name}": scale * gen * pass_gen,
            f"reco_{name}": scale * reco * pass_reco,
            f"reco_{name}_jesUp": scale * 1.05 * reco * pass_reco,
            f"reco_{name}_jesDown": scale * 0.95 * reco * pass_reco,
        }
    columns |= {"pass_reco_jesUp": pass_reco, "pass_reco_jesDown": pass_reco}
    columns["weight_nominal"] = np.where(rng.uniform(size=EVENTS) < 0.1, -0.5, 1.0)
    columns["weight_isrUp"] = columns["weight_nominal"] * (1 + 0.1 * gen)
    columns["prior_ratio"] = np.exp(0.2 * gen * pass_gen)
    return columns


def data_columns(truth: bool = True) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    gen, size = rng.normal(0.2, 0.8, 3000), 3000
    reco, seen = gen + rng.normal(0, 0.3, size), rng.uniform(size=size) < 0.8
    columns = identity(size) | {"pass_reco": seen, "weight_nominal": np.ones(size)}
    columns |= {"reco_x": reco * seen, "reco_y": 2 * reco * seen}
    return columns | ({"pass_gen": np.ones(size, bool), "gen_x": gen, "gen_y": 2 * gen} if truth else {})


def run(folder: Path, simulation=None, data=None, **changes) -> dict:
    write_parquet(folder / "simulation.parquet", simulation or simulated_columns())
    write_parquet(folder / "data.parquet", data or data_columns())
    main([
        "--simulation", str(folder / "simulation.parquet"), "--data", str(folder / "data.parquet"), "--seed", "7",
        "--config", json.dumps(CONFIG | changes), "--output", str(folder / "spectra.json"),
    ])  # fmt: skip
    return read_json(folder / "spectra.json")


def by_hand(weight, data_weight, reco="reco_x") -> list[float]:
    """Return what `unfold_bayes` gives for x."""
    s, d, bins = simulated_columns(), data_columns(), len(EDGES) + 1
    gen, seen = find_bins(s["gen_x"], EDGES), find_bins(s[reco], EDGES)
    cells = response_cells(gen, seen, s["pass_gen"], s["pass_reco"], s["background"], bins)
    passed = d["pass_reco"]
    counts = np.bincount(find_bins(d["reco_x"], EDGES)[passed], np.broadcast_to(data_weight, 3000)[passed], bins)
    return unfold_bayes(counts, fill_response(cells, weight, bins), 3)[1:-1]


def test_spectra_of_all_variations(tmp_path):
    spectra = run(tmp_path)
    assert [spectra[key] for key in ("method", "label", "family")] == ["reference", "IBU", "ibu"]
    assert list(spectra["observables"]) == ["x", "y"]
    x, s, d = spectra["observables"]["x"], simulated_columns(), data_columns()
    weight = s["weight_nominal"]
    assert (x["label"], x["edges"], x["ensemble"]) == ("x [GeV]", EDGES.tolist(), [])
    np.testing.assert_allclose(x["nominal"], by_hand(weight, 1.0))
    np.testing.assert_allclose(x["systematics"]["jesUp"], by_hand(weight, 1.0, "reco_x_jesUp"))
    np.testing.assert_allclose(x["systematics"]["isrUp"], by_hand(s["weight_isrUp"], 1.0))
    np.testing.assert_allclose(x["systematics"]["prior"], by_hand(weight * s["prior_ratio"], 1.0))
    assert list(x["systematics"]) == ["jesUp", "jesDown", "isrUp", "prior"]
    assert (len(x["bootstrap_data"]), len(x["bootstrap_simulation"])) == (3, 2)
    for index, found in enumerate(x["bootstrap_data"]):
        factor = poisson_weights(7, "data", index, d["run"], d["luminosityBlock"], d["event"])
        np.testing.assert_allclose(found, by_hand(weight, factor))
    for index, found in enumerate(x["bootstrap_simulation"]):
        factor = poisson_weights(7, "simulation", index, s["run"], s["luminosityBlock"], s["event"])
        np.testing.assert_allclose(found, by_hand(weight * factor, 1.0))
    truth = np.histogram(d["gen_x"], EDGES)[0]
    np.testing.assert_array_equal(x["truth"], truth)
    np.testing.assert_array_equal(x["truth_variance"], truth)
    np.testing.assert_allclose(
        x["prior"], np.histogram(s["gen_x"][s["pass_gen"]], EDGES, weights=weight[s["pass_gen"]])[0]
    )
    assert spectra["observables"]["y"]["edges"] == [0, 1, 3]


def test_collision_data_have_no_truth(tmp_path):
    x = run(tmp_path, data=data_columns(truth=False))["observables"]["x"]
    assert x["truth"] is None
    assert x["truth_variance"] is None


def test_before_unfolding_is_the_simulation(tmp_path):
    x = run(tmp_path, family="simulation")["observables"]["x"]
    np.testing.assert_allclose(x["nominal"], x["prior"])
    np.testing.assert_allclose(x["bootstrap_data"], [x["prior"]] * 3)
    np.testing.assert_allclose(x["systematics"]["jesUp"], x["prior"])
    assert not np.allclose(x["systematics"]["isrUp"], x["prior"])
    assert not np.allclose(x["bootstrap_simulation"][0], x["prior"])


def test_inversion_keeps_its_regularisation_for_all_variations(tmp_path):
    chosen = run(tmp_path, family="inversion")["observables"]["x"]
    given = run(tmp_path, family="inversion", tau=chosen["settings"]["tau"])["observables"]["x"]
    assert chosen == given


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prior_ratio": None}, "no column prior_ratio"),
        ({"reco_x_jesUp": None}, "no column reco_x_jesUp"),
        ({"gen_x": np.full(EVENTS, np.nan)}, "4000 of 4000 values of column gen_x .* are NaN"),
        ({"pass_gen": np.zeros(EVENTS, bool)}, "no event .* passes both levels"),
    ],
)
def test_unusable_simulation(tmp_path, changes, message):
    columns = {name: values for name, values in (simulated_columns() | changes).items() if values is not None}
    with pytest.raises(UserError, match=message):
        run(tmp_path, simulation=columns)


def test_unusable_data_and_family(tmp_path):
    with pytest.raises(UserError, match=r"no event of .*data.parquet passes the detector level"):
        run(tmp_path, data=data_columns() | {"pass_reco": np.zeros(3000, bool)})
    with pytest.raises(UserError, match="of family 'svd'"):
        run(tmp_path, family="svd")
