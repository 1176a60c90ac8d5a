"""Impacts and breakdown: answers known by hand, definitions checked by refits of pyhf, groups."""

from __future__ import annotations

import copy
import json

import numpy as np
import pyhf
import pytest
from inference_models import counting, workspace

from lhcml.common.errors import UserError
from lhcml.inference import plot_ranking, rank_parameters
from lhcml.inference.break_down import break_down, uncertainty_with_held
from lhcml.inference.minimise import minimise
from lhcml.inference.rank_parameters import describe_ranking
from lhcml.inference.read_workspace import make_problem, quiet_pyhf
from lhcml.inference.select_parameters import base_name, group_parameters, matches, select_parameters

LABELS = {"left": "", "right": ""}


def one_bin() -> dict:
    """Return a workspace with one bin: signal 10 mu, background 50 +- 5, 61 events."""
    spec = counting(signal=10, background=50)
    spec["channels"][0]["samples"][1]["modifiers"] = [
        {"name": "background", "type": "histosys", "data": {"hi_data": [55.0], "lo_data": [45.0]}}
    ]
    return {
        "version": "1.0.0",
        "channels": spec["channels"],
        "observations": [{"name": "count", "data": [61.0]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": spec["parameters"]}}],
    }


def test_impacts_of_a_counting_experiment():
    spec = one_bin()
    ranking = describe_ranking(make_problem(spec, "w"), spec, {})
    assert ranking["valid"]
    (row,) = ranking["parameters"]
    # mu = (61 - 50 - 5 alpha) / 10, so that a standard deviation of alpha moves it by 0.5; alpha is not constrained
    for stage in ("prefit", "postfit"):
        assert row[stage]["up"] == pytest.approx(-0.5, abs=2e-3)
        assert row[stage]["down"] == pytest.approx(0.5, abs=2e-3)
    assert row["covariance"] == pytest.approx(-0.5, abs=2e-3)
    assert row["auxiliary"] == pytest.approx(-0.5, abs=2e-3)
    assert row["pull"] == pytest.approx(0, abs=1e-3)
    assert row["constraint"] == pytest.approx(1, abs=1e-3)
    # variances by hand: data 61 / 100, background 25 / 100
    parts = ranking["breakdown"]
    assert parts["total"] == pytest.approx(np.sqrt(0.86), rel=1e-3)
    for way in ("impact", "decomposition"):
        assert parts["statistics"][way] == pytest.approx(np.sqrt(0.61), rel=1e-3)
        assert parts["groups"]["shapes"][way] == pytest.approx(0.5, rel=1e-3)
        assert parts["sum"][way] == pytest.approx(np.sqrt(0.86), rel=1e-3)


def test_impacts_agree_with_refits_of_pyhf():
    spec = workspace()
    problem = make_problem(spec, "w")
    ranking = describe_ranking(problem, spec, {})
    assert ranking["valid"]
    assert not ranking["failed"]
    with quiet_pyhf():
        pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(tolerance=1e-3))
        model = pyhf.Workspace(spec).model()
        rows = {row["name"]: row for row in ranking["parameters"]}
        poi = model.config.poi_index
        for name in ("jes", "rate", "stat_b[1]", "bin_b[0]"):
            index = list(model.config.par_names).index(name)
            for stage, width in (("postfit", rows[name]["uncertainty"]),
                                 ("prefit", rows[name]["uncertainty"] / rows[name]["constraint"])):  # fmt: skip
                start, fixed = model.config.suggested_init(), model.config.suggested_fixed()
                start[index], fixed[index] = rows[name]["value"] + width, True
                values = pyhf.infer.mle.fit(problem.data, model, init_pars=start, fixed_params=fixed)
                impact = float(values[poi]) - ranking["poi"]["value"]
                # Minuit of pyhf stops within 1 % of a standard deviation of mu
                assert rows[name][stage]["up"] == pytest.approx(impact, abs=0.01 * ranking["poi"]["uncertainty"])
        pyhf.set_backend("numpy", "scipy")
    sizes = [max(abs(row["postfit"]["up"]), abs(row["postfit"]["down"])) for row in ranking["parameters"]]
    assert sizes == sorted(sizes, reverse=True)


def test_uncertainty_with_a_group_held_is_that_of_the_fit_with_them_constant():
    problem = make_problem(workspace(), "w")
    likelihood = problem.likelihood
    fit = minimise(likelihood, problem.data)
    held = [likelihood.names.index(name) for name in ("jes", "stat_b[0]", "stat_b[2]")]
    direct = minimise(likelihood, problem.data, constant={index: fit.values[index] for index in held})
    ours = uncertainty_with_held(fit.covariance, likelihood.poi, held)
    assert ours == pytest.approx(direct.errors[likelihood.poi], rel=1e-3)


def test_breakdown_adds_up_by_fluctuations():
    spec = workspace()
    problem = make_problem(spec, "w")
    fit = minimise(problem.likelihood, problem.data)
    parts = break_down(problem.likelihood, fit, group_parameters(problem, spec, {}))
    # second derivatives of the expectation are left out of the shifts
    assert parts["sum"]["decomposition"] == pytest.approx(parts["total"], rel=0.06)


def test_groups():
    spec = workspace()
    problem = make_problem(spec, "w")
    names = problem.likelihood.names
    groups = group_parameters(problem, spec, {"jets": ["je*"], "one": ["stat_b[1]"]})
    found = {group: {names[index] for index in members} for group, members in groups.items()}
    assert found["jets"] == {"jes"}
    assert found["one"] == {"stat_b[1]"}
    assert found["luminosity"] == {"lumi"}
    assert found["rates"] == {"rate"}
    assert found["free normalisations"] == {"free[0]", "free[1]"}
    assert {"stat_b[0]", "stat_b[2]"} <= found["simulation statistics"]
    assert all("mu" not in members for members in found.values())
    everything = [index for members in groups.values() for index in members]
    assert len(everything) == len(set(everything))
    with pytest.raises(UserError, match="is in 'a' and in 'b'"):
        group_parameters(problem, spec, {"a": ["jes"], "b": ["j*"]})
    with pytest.raises(UserError, match="no free parameter"):
        group_parameters(problem, spec, {"a": ["nothing*"]})


def test_names_and_patterns():
    assert base_name("stat[12]") == "stat"
    assert matches("stat[12]", "stat")
    assert matches("stat[12]", "st*")
    assert matches("stat[12]", "stat[12]")
    assert not matches("stat[12]", "stat[1]")
    problem = make_problem(workspace(), "w")
    assert select_parameters(problem, ["poi"], "k") == [problem.likelihood.poi]
    assert len(select_parameters(problem, ["all"], "k")) == int((~problem.likelihood.fixed).sum())


def test_command_and_figures(tmp_path):
    source, output = tmp_path / "workspace.json", tmp_path / "ranking.json"
    source.write_text(json.dumps(workspace()))
    config = {"fit": {"blinded": ["b"]}, "ranking": {"shown": 5}}
    rank_parameters.main(["--workspace", str(source), "--config", json.dumps(config), "--output", str(output)])
    ranking = json.loads(output.read_text())
    assert ranking["blinded"] == ["b"]
    assert ranking["valid"]
    plot_ranking.main(
        ["--ranking", str(output), "--labels", json.dumps(LABELS), "--config", json.dumps(config),
         "--output", str(tmp_path / "ranking.png"), "--breakdown", str(tmp_path / "breakdown.png")]
    )  # fmt: skip
    for name in ("ranking.png", "ranking.pdf", "breakdown.png", "breakdown.pdf"):
        assert (tmp_path / name).stat().st_size > 5000
    figure = plot_ranking.plot_ranking(ranking, LABELS, 5)
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == [row["name"] for row in reversed(ranking["parameters"][:5])]


def test_a_fit_that_is_not_valid_has_no_ranking():
    spec = one_bin()
    problem = make_problem(spec, "w")
    problem.data[0] = np.nan
    ranking = describe_ranking(problem, copy.deepcopy(spec), {})
    assert not ranking["valid"]
    assert ranking["reasons"]
    assert ranking["parameters"] == []
    assert "not valid" in plot_ranking.plot_ranking(ranking, LABELS).axes[0].texts[0].get_text()
    assert "not valid" in plot_ranking.plot_breakdown(ranking, LABELS).axes[0].texts[0].get_text()
