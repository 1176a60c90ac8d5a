"""Collection of events: cuts, normalisation, shifts, background, own tables; then unfolding from these files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from lhcml.common.errors import UserError
from lhcml.common.files import read_json, read_parquet, write_json, write_parquet
from lhcml.unfolding.check_closure import coverage, stress_weights
from lhcml.unfolding.check_closure import main as check_closure
from lhcml.unfolding.collect_events import main as collect
from lhcml.unfolding.unfold_events import main as unfold_events

BASE: dict[str, Any] = {
    "observables": ["x"], "fiducial": {}, "selection": {}, "shifts": [], "luminosity": None, "constituents": False,
    "prior": None,
}  # fmt: skip


def levels(number: int, seed: int, *, data: bool = False, mean: float = 0.0) -> dict[str, Any]:
    """Return the columns of `build_levels` for a smeared Gaussian with one observable; a tenth fails each level."""
    rng = np.random.default_rng(seed)
    gen = rng.normal(mean, 1, number)
    columns: dict[str, Any] = {
        "run": np.ones(number, np.int64), "luminosityBlock": np.ones(number, np.int64), "event": np.arange(number),
        "weight_nominal": np.ones(number),
        "pass_reco": rng.random(number) > 0.1,
        "reco_x": (gen + rng.normal(0, 0.5, number)).astype(np.float32), "reco_pt": np.full(number, 30, np.float32),
    }  # fmt: skip
    if not data:
        columns |= {"weight_isrUp": np.full(number, 1.1), "weight_isrDown": np.full(number, 0.9)}
        columns |= {"pass_gen": rng.random(number) > 0.1, "gen_x": gen.astype(np.float32)}
        columns |= {"gen_pt": np.full(number, 30, np.float32)}
    return columns


def write_levels(folder: Path, dataset: str, columns: dict[str, Any], shift: str = "nominal", chunk: int = 0) -> None:
    """Write one file of levels."""
    write_parquet(folder / dataset / shift / "levels" / f"{chunk}.parquet", columns)


def run_collect(folder: Path, config: dict[str, Any], cutflow: dict[str, Any]) -> tuple[ak.Array, ak.Array, Any]:
    """Run the module on a folder; return simulation, data and normalisation."""
    write_json(folder / "cutflow.json", {"datasets": cutflow})
    out = [folder / name for name in ("simulation.parquet", "data.parquet", "normalisation.json")]
    collect([
        "--levels", str(folder), "--cutflow", str(folder / "cutflow.json"), "--config", json.dumps(BASE | config),
        "--seed", "1", "--simulation", str(out[0]), "--data", str(out[1]), "--normalisation", str(out[2]),
    ])  # fmt: skip
    return read_parquet(out[0]), read_parquet(out[1]), read_json(out[2])


def datasets(**roles: list[str]) -> dict[str, Any]:
    """Return the block of datasets, one chunk each."""
    blocks = {role: {name: {"chunks": [0]} for name in names} for role, names in roles.items()}
    return {"datasets": {"simulation": {}, "data": {}, "background": {}} | blocks}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a simulation, a background and pseudo-data."""
    write_levels(tmp_path, "nominal", levels(2000, 1))
    write_levels(tmp_path, "nominal", levels(2000, 1) | {"reco_x": levels(2000, 1)["reco_x"] + 1}, "jesUp")
    write_levels(tmp_path, "other", levels(300, 2))
    write_levels(tmp_path, "alternative", levels(1000, 3, mean=0.2))
    write_levels(tmp_path, "collisions", levels(1000, 4, data=True))
    return tmp_path


CUTFLOW = {
    "nominal": {"weight_to_pb": 0.01, "data": False}, "other": {"weight_to_pb": 0.1, "data": False},
    "alternative": {"weight_to_pb": 0.02, "data": False}, "collisions": {"weight_to_pb": None, "data": True},
}  # fmt: skip


def test_the_simulation_has_the_luminosity_of_the_pseudo_data(folder: Path) -> None:
    simulation, data, normalisation = run_collect(
        folder, datasets(simulation=["nominal"], data=["alternative"], background=["other"]), CUTFLOW
    )
    # events of weight one at 0.02 pb each: 50 / pb = 0.05 / fb
    assert normalisation["luminosity"] == pytest.approx(0.05)
    weight = ak.to_numpy(simulation["weight_nominal"])
    background = ak.to_numpy(simulation["background"])
    np.testing.assert_allclose(weight[~background], 0.5)
    np.testing.assert_allclose(weight[background], 5.0)
    np.testing.assert_allclose(simulation["weight_isrUp"], 1.1 * weight)
    assert not ak.any(simulation["pass_gen"][background])
    # events that fail both levels are gone, and so is background that fails the only one it has
    assert ak.all(simulation["pass_gen"] | simulation["pass_reco"])
    assert ak.all(data["pass_gen"] | data["pass_reco"])
    reco = ak.to_numpy(simulation["pass_reco"])
    assert normalisation["background"] == pytest.approx(weight[background & reco].sum())
    assert (np.asarray(simulation["gen_x"])[~ak.to_numpy(simulation["pass_gen"])] == 0).all()


def test_events_numbered_alike_are_told_apart(folder: Path) -> None:
    simulation, _, _ = run_collect(
        folder, datasets(simulation=["nominal"], data=["alternative"], background=["other"]), CUTFLOW
    )
    assert len({*zip(simulation["run"].tolist(), simulation["event"].tolist(), strict=True)}) == len(simulation)


def test_cuts_at_either_level(folder: Path) -> None:
    config = datasets(simulation=["nominal"], data=["alternative"])
    simulation, data, _ = run_collect(
        folder, config | {"fiducial": {"x": {"min": -1, "max": 1}}, "selection": {"x": {"min": 0}}}, CUTFLOW
    )
    for events in (simulation, data):
        gen, reco = (ak.to_numpy(events[f"{level}_x"][events[f"pass_{level}"]]) for level in ("gen", "reco"))
        assert gen.min() >= -1
        assert gen.max() <= 1
        assert reco.min() >= 0
    plain, _, _ = run_collect(folder, config, CUTFLOW)
    kept = np.abs(np.asarray(plain["gen_x"])) <= 1
    assert ak.sum(simulation["pass_gen"]) == np.count_nonzero(kept & ak.to_numpy(plain["pass_gen"]))


def test_a_shift_changes_the_detector_level_of_the_same_events(folder: Path) -> None:
    config = datasets(simulation=["nominal"], data=["alternative"]) | {"shifts": ["jesUp"]}
    simulation, _, _ = run_collect(folder, config, CUTFLOW)
    both = simulation[simulation["pass_reco"] & simulation["pass_reco_jesUp"]]
    np.testing.assert_allclose(both["reco_x_jesUp"], both["reco_x"] + 1, rtol=1e-5)


def test_a_shift_of_other_events_is_refused(folder: Path) -> None:
    write_levels(folder, "nominal", levels(2000, 1) | {"event": np.arange(2000) + 1}, "jesUp")
    with pytest.raises(UserError, match="other events than the nominal"):
        run_collect(folder, datasets(simulation=["nominal"], data=["alternative"]) | {"shifts": ["jesUp"]}, CUTFLOW)


def test_collision_data_need_a_luminosity(folder: Path) -> None:
    config = datasets(simulation=["nominal"], data=["collisions"])
    with pytest.raises(UserError, match="luminosity"):
        run_collect(folder, config, CUTFLOW)
    simulation, data, _ = run_collect(folder, config | {"luminosity": 2.0}, CUTFLOW)
    np.testing.assert_allclose(simulation["weight_nominal"], 0.01 * 2000)
    assert "pass_gen" not in data.fields


def test_nan_and_unknown_observables_are_errors(folder: Path) -> None:
    config = datasets(simulation=["nominal"], data=["alternative"])
    with pytest.raises(UserError, match="gen_y"):
        run_collect(folder, config | {"observables": ["y"]}, CUTFLOW)
    with pytest.raises(UserError, match="a cut is on 'y'"):
        run_collect(folder, config | {"fiducial": {"y": {"min": 0}}}, CUTFLOW)
    columns = levels(100, 5)
    columns["gen_x"][3] = np.nan
    write_levels(folder, "nominal", columns)
    with pytest.raises(UserError, match="1 of 100 values of column gen_x"):
        run_collect(folder, config, CUTFLOW)


def test_another_prior_brings_the_particle_level_nearer_to_its_own(folder: Path) -> None:
    write_levels(folder, "nominal", levels(20_000, 1))
    write_levels(folder, "shifted", levels(20_000, 6, mean=0.5))
    config = datasets(simulation=["nominal"], data=["alternative"]) | {"prior": {"dataset": "shifted", "chunks": [0]}}
    simulation, _, _ = run_collect(folder, config, CUTFLOW | {"shifted": {"weight_to_pb": 1.0, "data": False}})
    gen = simulation[simulation["pass_gen"]]
    # means 0 and 0.5, each known to 0.007; trees leave some of the tails
    assert np.average(gen["gen_x"], weights=gen["prior_ratio"]) == pytest.approx(0.5, abs=0.06)
    assert np.mean(gen["prior_ratio"]) == pytest.approx(1.0)
    assert ak.all(simulation["prior_ratio"][~simulation["pass_gen"]] == 1)


def test_tables_with_names_of_their_own(tmp_path: Path) -> None:
    columns = levels(500, 7)
    table = {"truth": columns["gen_x"], "seen": columns["reco_x"], "w": np.full(500, 0.5), "ok": columns["pass_reco"]}
    write_parquet(tmp_path / "mc.parquet", table)
    write_parquet(tmp_path / "data.parquet", {"seen": columns["reco_x"][:100], "ok": np.ones(100, bool)})
    names = {"gen_x": "truth", "reco_x": "seen", "pass_reco": "ok"}
    config = {
        "tables": {"simulation": [str(tmp_path / "mc.parquet")], "data": [str(tmp_path / "data.parquet")]},
        "columns": names,
    }
    simulation, data, normalisation = run_collect(tmp_path, config, {})
    assert len(data) == 100
    assert normalisation["luminosity_from"] == "simulation scaled to the data"
    # as much at detector level as the data
    assert ak.sum(simulation["weight_nominal"][simulation["pass_reco"]]) == pytest.approx(100)
    with pytest.raises(UserError, match="has no column nothing"):
        run_collect(tmp_path, config | {"columns": names | {"reco_x": "nothing"}}, {})


METHOD = {
    "family": "multifold", "estimator": "trees", "iterations": 2, "tolerance": 0, "members": 1, "warm_start": True,
    "largest_ratio": 100, "network": {"hidden": [8]}, "training": {"epochs": 2, "warm_epochs": 1, "batch_size": 100},
    "boosting": {"rounds": 5, "min_child_weight": 20},
}  # fmt: skip
OBSERVABLES = {"x": {"bins": {"count": 6, "min": -3, "max": 3}}}


def run_unfold(folder: Path, group: str, method: dict[str, Any], **config: Any) -> tuple[ak.Array, Any]:
    """Run one group; return weights and diagnostics."""
    settings = {"method": METHOD | method, "observables": OBSERVABLES, "root_seed": 5} | config
    nominal = folder / "nominal.json"
    unfold_events([
        "--simulation", str(folder / "simulation.parquet"), "--data", str(folder / "data.parquet"),
        "--config", json.dumps(settings), "--group", group, "--seed", "3",
        *([] if group == "nominal" else ["--nominal", str(nominal)]),
        "--weights", str(folder / f"{group}.parquet"), "--diagnostics", str(folder / f"{group}.json"),
    ])  # fmt: skip
    return ak.from_parquet(folder / f"{group}.parquet"), read_json(folder / f"{group}.json")


@pytest.mark.parametrize("estimator", ["trees", "networks"])
def test_groups_of_variations(folder: Path, estimator: str) -> None:
    config = datasets(simulation=["nominal"], data=["alternative"]) | {"shifts": ["jesUp"]}
    simulation, data, _ = run_collect(folder, config, CUTFLOW)
    method = {"estimator": estimator, "tolerance": 0.5, "iterations": 5}
    nominal, diagnostics = run_unfold(folder, "nominal", method)
    passed = int(ak.sum(simulation["pass_gen"]))
    assert (nominal.fields, len(nominal)) == (["weight_nominal"], passed)
    # the change of the weights is small at once: one iteration, and one only for all variations
    assert len(diagnostics["runs"][0]["iterations"]) == 1
    spectrum = np.histogram(
        simulation["gen_x"][simulation["pass_gen"]], np.linspace(-3, 3, 7), weights=nominal["weight_nominal"]
    )[0]
    np.testing.assert_allclose(diagnostics["runs"][0]["spectra"]["x"][-1], spectrum, rtol=1e-9)
    # 1000 events of the data of which 90 % pass particle level; 3 % of statistics at detector level
    assert ak.sum(nominal["weight_nominal"]) == pytest.approx(ak.sum(data["pass_gen"]), rel=0.1)

    ensemble, _ = run_unfold(folder, "ensemble", method, ensemble=2)
    assert ensemble.fields == ["weight_ensemble_0", "weight_ensemble_1"]
    assert not np.allclose(ensemble["weight_ensemble_0"], ensemble["weight_ensemble_1"])
    for kind in ("data", "simulation"):
        replicas, made = run_unfold(folder, f"bootstrap_{kind}", method, bootstraps={kind: 3})
        assert replicas.fields == [f"weight_bootstrap_{kind}_{replica}" for replica in range(3)]
        assert len(made["runs"][0]["iterations"]) == 1
    jes = {"source": "features", "up": "jesUp", "down": "jesUp"}
    isr = {"source": "weights", "up": "isrUp", "down": "isrDown"}
    varied, _ = run_unfold(folder, "systematics", method, systematics={"isr": isr, "jes": jes})
    assert set(varied.fields) == {"weight_jesUp", "weight_isrUp", "weight_isrDown"}
    # all weights times 1.1: the data decide the number of events, so nothing changes
    np.testing.assert_allclose(varied["weight_isrUp"], nominal["weight_nominal"], rtol=1e-3)
    # a simulation shifted by +1 at detector level unfolds to a lower x
    gen = simulation["gen_x"][simulation["pass_gen"]]
    means = [np.average(gen, weights=weights) for weights in (varied["weight_jesUp"], nominal["weight_nominal"])]
    assert means[0] < means[1]


def test_unifold_has_weights_of_each_observable(folder: Path) -> None:
    run_collect(folder, datasets(simulation=["nominal"], data=["alternative"]) | {"observables": ["x", "pt"]}, CUTFLOW)
    both = {"x": OBSERVABLES["x"], "pt": {"bins": {"count": 2, "min": 0, "max": 60}}}
    weights, diagnostics = run_unfold(folder, "nominal", {"family": "unifold"}, observables=both)
    assert [run["inputs"] for run in diagnostics["runs"]] == [["x"], ["pt"]]
    assert len(weights.fields) == 2


def test_stress_weights_by_hand() -> None:
    passed = np.array([True, True, True, False])
    # mean 2, standard deviation sqrt(2/3); slope sqrt(2/3) makes the weights x - 1
    weights = stress_weights(np.array([1.0, 2.0, 3.0, 9.0]), passed, np.sqrt(2 / 3))
    np.testing.assert_allclose(weights, [0.1, 1.0, 2.0, 1.0], atol=1e-12)


def test_coverage_by_hand() -> None:
    samples = np.array([[20.0, 33.0, 5.0], [24.0, 30.0, 5.0]])
    found = coverage(samples, np.array([21.0, 30.0, 5.0]), np.array([2.0, 2.0, 1.0]))
    # the third bin has too few events; first sample: 1 of 2 within, second: 1 of 2
    assert (found["coverage"], found["error"], found["bins"]) == (0.5, 0.0, 2)


def test_without_events_there_is_no_coverage() -> None:
    assert coverage(np.ones((3, 2)), np.ones(2), np.ones(2)) == {"coverage": None, "error": None, "bins": 0}


def test_coverage_of_gaussians_is_that_of_one_standard_deviation() -> None:
    rng = np.random.default_rng(10)
    samples = 100 + 10 * rng.standard_normal((50, 40))
    # 2000 numbers: 68.3 % known to 1 %
    assert coverage(samples, np.full(40, 100.0), np.full(40, 10.0))["coverage"] == pytest.approx(0.683, abs=0.04)


def test_the_tests_of_a_method(folder: Path) -> None:
    write_levels(folder, "nominal", levels(8000, 1))
    run_collect(folder, datasets(simulation=["nominal"], data=["alternative"]), CUTFLOW)
    tests = {"observable": "x", "slope": 0.3, "samples": 4, "replicas": 6}
    config = {"method": METHOD | {"boosting": {"rounds": 20, "min_child_weight": 20}}, "tests": tests}
    out = folder / "closure.json"
    config["observables"] = OBSERVABLES
    check_closure([
        "--simulation", str(folder / "simulation.parquet"), "--config", json.dumps(config), "--seed", "1",
        "--output", str(out),
    ])  # fmt: skip
    figures = read_json(out)["observables"]["x"]
    # another truth is found: much nearer to it after unfolding
    assert figures["stress"]["triangular_e3"] < 0.3 * figures["stress"]["before_e3"]
    # 3600 + 3600 events in 6 bins: a floor of 0.8, which a closure may exceed twice by chance and by the method
    assert figures["closure"]["triangular_e3"] < 4
    assert 0.4 < figures["coverage"]["coverage"] < 0.95
