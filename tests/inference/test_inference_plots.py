"""The figures, drawn from result files."""

from __future__ import annotations

import json

import numpy as np
from inference_toys import load

from lhcml.inference import plot_fit, plot_limit


def test_figures(made):
    labels = json.dumps(
        {
            "observable": "Jet mass [GeV]",
            "samples": {"top": "Top"},
            "data": "Pseudo-data",
            "left": "Simulation",
            "right": "",
        }
    )
    plots = made / "plots"
    outputs = [
        part
        for name in ("prefit", "postfit", "pulls", "correlations")
        for part in (f"--{name}", str(plots / f"{name}.png"))
    ]
    plot_fit.main(
        ["--fit", str(made / "fit.json"), "--yields", str(made / "yields.json"), "--labels", labels, *outputs]
    )
    plot_limit.main(["--limit", str(made / "limit.json"), "--labels", labels, "--output", str(plots / "limit.png")])
    for name in ("prefit", "postfit", "pulls", "correlations", "limit"):
        assert (plots / f"{name}.png").stat().st_size > 5000
        assert (plots / f"{name}.pdf").stat().st_size > 5000


def test_figures_of_a_fit_that_is_not_valid(made, tmp_path):
    fit = load(made, "fit.json") | {"valid": False, "correlations": None, "goodness_of_fit": None}
    for part in fit["parameters"].values():
        part["uncertainty"] = None
    yields = load(made, "yields.json")
    for block in yields.values():
        block["postfit"] = None
    labels = {"observable": "m", "samples": {}, "data": "Data", "left": "", "right": ""}
    for number, figure in enumerate(
        [
            plot_fit.plot_pulls(fit, labels),
            plot_fit.plot_correlations(fit, labels),
            plot_fit.plot_regions(yields, "postfit", labels),
        ]
    ):
        texts = [text.get_text() for axes in figure.axes for text in axes.texts]
        texts += [axes.get_title(loc="right") for axes in figure.axes]
        assert any("not valid" in text for text in texts)
        figure.savefig(tmp_path / f"{number}.png")
    limit = load(made, "limit.json") | {"valid": False}
    assert plot_limit.plot_limit(limit, labels).axes[0].texts


def test_poisson_bars_cover_68_percent():
    low, high = plot_fit.poisson_interval(np.array([0, 1, 5, 100]))
    # Garwood's interval: 0 (0, 1.84), 1 (0.17, 3.30), 5 (2.84, 8.38), 100 (90.0, 111.0)
    np.testing.assert_allclose(np.array([0, 1, 5, 100]) - low, [0, 0.17, 2.84, 90.0], atol=0.1)
    np.testing.assert_allclose(np.array([0, 1, 5, 100]) + high, [1.84, 3.30, 8.38, 111.0], atol=0.1)


def test_pulls_of_many_parameters_fit_on_a_page():
    part = {"start": 0.0, "prefit_uncertainty": 1.0, "uncertainty": 0.9, "at_bound": False, "minos": None}
    parameters = {f"p{number}": part | {"kind": "normal", "value": number / 300} for number in range(300)}
    parameters["mu"] = part | {"kind": "free", "value": 1.0, "minos": {"down": -0.8, "up": 1.1}}
    fit = {"parameters": parameters, "poi": {"name": "mu"}, "valid": True, "blinded": ["signal region"]}
    figure = plot_fit.plot_pulls(fit, {"left": "", "right": ""})
    names = [text.get_text() for axes in figure.axes for text in axes.get_yticklabels()]
    assert len(names) == plot_fit.MOST_ROWS * plot_fit.MOST_PULL_COLUMNS
    # those with the largest pulls
    assert "p299" in names
    assert "p0" not in names
    assert figure.axes[0].get_title(loc="left") == "mu = $1.00^{+1.10}_{-0.80}$"
    assert "blinded: signal region" in figure.axes[-1].get_title(loc="right")


def test_blinded_region_shows_no_data():
    part = {"bins": [5.0, 6.0], "bin_uncertainties": [1.0, 1.0]}
    block = {"edges": [0, 1, 2], "prefit": {"samples": {"top": part}, "total": part}}
    labels = {"observable": "m", "samples": {}, "data": "Data", "left": "", "right": ""}
    figure = plot_fit.plot_regions({"hidden": block | {"observed": None}}, "prefit", labels)
    upper = figure.axes[0]
    assert "Data" not in [text.get_text() for text in upper.get_legend().get_texts()]
    assert "blinded" in upper.texts[2].get_text()
    shown = plot_fit.plot_regions({"open": block | {"observed": [5.0, 7.0]}}, "prefit", labels)
    assert "Data" in [text.get_text() for text in shown.axes[0].get_legend().get_texts()]
