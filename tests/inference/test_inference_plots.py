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
