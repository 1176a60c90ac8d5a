"""Figures of the unfolding: what they show of numbers made by hand; each made from the files of the rules."""

from __future__ import annotations

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
from comparison_toy import METHODS, SYSTEMATICS, write_toy
from test_unfolding_comparison import compare

from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_json, write_parquet
from lhcml.unfolding import plot_diagnostics, plot_spectra

STEPS = ("normalisation_drift_step1", "normalisation_drift_step2", "loss_step1", "loss_step2", "clipped_step1",
         "clipped_step2")  # fmt: skip


def iteration(**changes):
    figures = {"effective_share": [0.8], "smallest_weight": [0.2], "largest_weight": [4.0], "change": [0.3]}
    return figures | {name: [0.9] for name in STEPS} | changes


def diagnostics(spectra, inputs=None):
    """Diagnostics of two iterations: the simulation as it is, then the truth."""
    calibration = {"step1": [[0.9, 0.8], [1.2, 1.3]], "step2": [[0.7, 0.7], [1.5, 1.4]]}
    after = {
        name: [block["prior"], block["truth"] or block["nominal"]] for name, block in spectra["observables"].items()
    }
    run = {"inputs": inputs or list(after), "names": ["nominal"], "iterations": [iteration(), iteration(change=[0.1])]}
    return run | {"calibration": calibration, "spectra": after}


@pytest.mark.parametrize("truth", [True, False])
def test_figures_of_the_rules(tmp_path, truth):
    paths = write_toy(tmp_path, truth)
    compare(tmp_path, paths)
    # of an unbinned family, to have its band drawn
    write_json(paths["inversion"], read_json(paths["inversion"]) | {"family": "multifold"})
    out = tmp_path / "plots" / "spectra.png"
    plot_spectra.main([
        "--spectra", *(str(paths[name]) for name in METHODS), "--comparison", str(tmp_path / "comparison.json"),
        "--config", json.dumps({"systematics": SYSTEMATICS}), "--right", "14 TeV", "--output", str(out),
        "--comparison-plot", str(tmp_path / "plots" / "comparison.png"),
    ])  # fmt: skip
    assert {path.name for path in out.parent.iterdir()} == files("spectra", "comparison")


def files(*names):
    return {f"{name}.{kind}" for name in names for kind in ("png", "pdf")}


def test_figure_of_diagnostics(tmp_path):
    paths = write_toy(tmp_path)
    spectra = read_json(paths["inversion"])
    write_json(tmp_path / "nominal.json", {"group": "nominal", "runs": [diagnostics(spectra)]})
    # a group without replicas
    write_json(tmp_path / "ensemble.json", {"group": "ensemble", "runs": []})
    size = sum(read_passes(paths["simulation"]))
    write_parquet(tmp_path / "weights.parquet", {"weight_nominal": np.linspace(0.5, 2, size)})
    plot_diagnostics.main([
        "--diagnostics", str(tmp_path / "nominal.json"), str(tmp_path / "ensemble.json"),
        "--spectra", str(paths["inversion"]), "--weights",
        str(tmp_path / "weights.parquet"), "--simulation", str(paths["simulation"]), "--output",
        str(tmp_path / "plots" / "diagnostics.png"),
    ])  # fmt: skip
    assert {path.name for path in (tmp_path / "plots").iterdir()} == files("diagnostics")


def read_passes(path):
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path, use_threads=False)["pass_gen"].to_pylist()


def test_ratios_are_those_of_densities():
    block = {
        "label": "x", "edges": [0, 1, 3], "nominal": [2.0, 2.0], "prior": [3.0, 1.0], "truth": [10.0, 30.0],
        "truth_variance": [10.0, 30.0], "ensemble": [], "bootstrap_data": [], "bootstrap_simulation": [],
        "systematics": {},
    }  # fmt: skip
    figure, (main, ratio) = plt.subplots(2)
    spectra = {"label": "IBU", "family": "ibu", "observables": {"x": block}}
    plot_spectra.draw_observable(main, ratio, "x", [spectra], {})
    # shares 1/2, 1/2 over 1/4, 3/4; one method is drawn in the middle of the bin
    points = next(line for line in ratio.lines if line.get_marker() == "o")
    np.testing.assert_allclose(points.get_xydata(), [[0.5, 2], [2, 2 / 3]])
    assert {text.get_data().edges[-1] for text in ratio.patches} == {3}
    assert ratio.get_ylabel() == "Ratio to truth"
    plt.close(figure)


def test_what_the_comparison_shows():
    row = {"method": "a", "label": "A", "family": "ibu", "observable": "x", "observable_label": "x",
           "published": None, "compared_with": "truth", "triangular_e3": 2.0, "triangular_e3_std": 0.5,
           "chi2": 8.0, "degrees": 4}  # fmt: skip
    assert plot_spectra.figure_of_merit(row) == (2.0, 0.5)
    assert plot_spectra.figure_of_merit(row | {"compared_with": "prior"}) == (2.0, None)
    assert plot_spectra.figure_of_merit(row | {"compared_with": "prior", "chi2": None}) == (None, None)


def test_methods_do_not_cover_each_other():
    edges = np.array([0.0, 3.0, 9.0])
    np.testing.assert_allclose(plot_spectra.places(edges, 0, 2), [1, 5])
    np.testing.assert_allclose(plot_spectra.places(edges, 1, 2), [2, 7])


def test_curves_of_replicas():
    run = {"iterations": [{"change": [1.0, 2.0]}, {"change": [3.0, 4.0]}]}
    found = plot_diagnostics.curves([{"group": "g", "runs": [run]}], "change")
    assert [(group, values.tolist()) for group, values in found] == [("g", [1.0, 3.0]), ("g", [2.0, 4.0])]


def test_distances_by_iteration():
    def observable(truth):
        return {"label": "x", "edges": [0, 1, 2], "prior": [1.0, 3.0], "truth": truth, "nominal": [2.0, 2.0]}

    spectra = {"observables": {"x": observable([2.0, 2.0]), "y": observable([2.0, 2.0])}}
    # 1/2 ((1/4)^2 / (3/4) + (1/4)^2 / (5/4)) = 1/15
    found = plot_diagnostics.distances([diagnostics(spectra)], spectra)
    assert found["x"] == ("x", pytest.approx([1e3 / 15, 1e3 / 15, 0]))
    # a method that unfolds each by itself: an observable from its own run only
    runs = [diagnostics(spectra, [name]) for name in ("x", "y")]
    runs[0]["spectra"]["y"] = [[9.0, 1.0], [9.0, 1.0]]
    assert plot_diagnostics.distances(runs, spectra)["y"][1][-1] == 0
    # without a truth, the distance is the one to the simulation
    spectra = {"observables": {"x": observable(None)}}
    assert plot_diagnostics.distances([diagnostics(spectra)], spectra)["x"][1] == pytest.approx([0, 0, 1e3 / 15])


def test_factors_are_final_over_prior_weights(tmp_path):
    simulation, weights = tmp_path / "simulation.parquet", tmp_path / "weights.parquet"
    passes = np.array([True, False, True, True])
    write_parquet(simulation, {"pass_gen": passes, "weight_nominal": np.array([2.0, 5.0, 0.0, 2.0])})
    write_parquet(weights, {"x.weight_nominal": np.array([1.0, 0.0, 3.0]), "x.weight_isrUp": np.ones(3)})
    # factors 1/2 and 3/2 have a mean of 1 already; the event without a prior weight has none
    found = plot_diagnostics.read_factors(weights, simulation)
    assert {name: values.tolist() for name, values in found.items()} == {"x.weight_nominal": [0.5, 1.5]}
    write_parquet(weights, {"weight_nominal": np.ones(4)})
    with pytest.raises(UserError, match="4 rows for 3 events"):
        plot_diagnostics.read_factors(weights, simulation)


def test_bound_and_missing_nominal():
    runs = [{"iterations": [iteration(clipped_step1=[0.0, 0.02]), iteration(clipped_step1=[0.0])]}]
    assert "2 % in step 1, 90 % in step 2" in plot_diagnostics.clipped(runs)
    with pytest.raises(UserError, match="nominal"):
        plot_diagnostics.nominal_runs([{"group": "ensemble", "runs": []}])
