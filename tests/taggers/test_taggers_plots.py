"""Figures of taggers: what they show of numbers made by hand, and that each is made from the files of the rules."""

import json
from pathlib import Path

import numpy as np
import pytest
from test_taggers_comparison import compare, cost, meta

from lhcml.common.files import read_json, write_json, write_parquet
from lhcml.taggers import (
    plot_calibration,
    plot_costs,
    plot_history,
    plot_importance,
    plot_learning_curves,
    plot_robustness,
    plot_scores,
    plot_sculpting,
    plot_taggers,
)
from lhcml.taggers.compute_metrics import main as compute_metrics
from lhcml.taggers.compute_robustness import main as compute_robustness
from lhcml.taggers.metrics import RocCurve

SMALL_SAMPLES = Path(plot_taggers.__file__).with_name("published_small_samples.json")
DATASETS = ["--signal", "top", "--background", "qcd"]
# Legends list the best tagger first
TAGGERS = {"pfn": 2.0, "xgboost": 1.5}


def test_rejection_is_drawn_where_there_are_jets():
    curve = RocCurve(np.array([0, 0.4, 1.0]), np.array([0, 0.01, 1.0]))
    drawn = plot_taggers.rejections(curve, np.array([0.2, 0.4, 1.0]), least=0.008)
    np.testing.assert_allclose(drawn, [np.nan, 100, 1])


def test_a_published_tagger_is_drawn_once():
    import matplotlib.pyplot as plt

    axes = plt.figure().subplots()
    reference = {"name": "PFN", "rejection_30": 891, "rejection_30_std": 18, "rejection_50": 247}
    other = {"name": "EFN", "rejection_30": 633, "rejection_50": None}
    nothing = {"name": None, "rejection_30": None}
    plot_taggers.draw_published(axes, [(reference, "red"), (nothing, "blue"), (reference, "green"), (other, "black")])
    points = [(*line.get_xydata()[0], line.get_color()) for line in axes.lines if len(line.get_xydata()) == 1]
    shift = plot_taggers.ASIDE / 2
    assert set(points) >= {(0.3 - shift, 891, "red"), (0.5 - shift, 247, "red"), (0.3 + shift, 633, "black")}
    assert not any(colour in ("blue", "green") for *_, colour in points)
    plt.close("all")


def test_calibration_by_hand():
    first = [{"jets": 50, "score": 0.4, "signal_share": 0.5}, {"jets": 30, "score": 0.9, "signal_share": 0.8}]
    second = [{"jets": 50, "score": 0.42, "signal_share": 0.44}, {"jets": 3, "score": 0.9, "signal_share": 0.0}]
    # the second bin has too few jets in the second seed
    score, deviation = plot_calibration.deviations([first, second])
    assert (score.tolist(), deviation.tolist()) == ([pytest.approx(0.41)], [pytest.approx(0.06)])


def test_robustness_by_hand():
    seeds = [{"x": 0.1, "x_std": 0.03}, {"x": 0.3, "x_std": 0.03}]
    # two values 0.2 apart have a standard deviation of 0.1414
    assert plot_robustness.change(seeds, "x") == pytest.approx((0.2, np.hypot(0.1414214, 0.03)))
    assert plot_robustness.change([*seeds, {"x": None, "x_std": None}], "x") is None


def test_learning_curve_by_hand():
    def training(jets, auc):
        metrics = {"auc": auc, "auc_bootstrap_std": 0.003, "rejection_30": None, "rejection_30_bootstrap_std": None}
        return metrics, {"n_train": {"signal": jets // 4, "background": 3 * jets // 4}}

    small, large = plot_learning_curves.learning_curve([training(4000, 0.98), training(400, 0.94), training(400, 0.96)])
    assert (small["n_train"], small["seeds"], small["auc"]) == (400, 2, pytest.approx(0.95))
    assert small["auc_std"] == pytest.approx(np.hypot(0.02 / np.sqrt(2), 0.003))
    assert (large["n_train"], large["auc_seed_std"], large["rejection_30"]) == (4000, None, None)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Scores, metrics, descriptions and comparison of two taggers with two seeds, laid out as the rules do."""
    folder = tmp_path_factory.mktemp("taggers")
    rng = np.random.default_rng(4)
    split = np.where(rng.random(2000) < 0.5, "test", np.where(rng.random(2000) < 0.5, "train", "validation"))
    keys = {name: np.ones(2000, dtype=int) for name in ("run", "luminosityBlock", "jet_rank")} | {
        "event": np.arange(2000)
    }
    listed = [keys | {"dataset": np.full(2000, name), "jet_mass": rng.exponential(80, 2000)} for name in ("top", "qcd")]
    write_parquet(folder / "jets.parquet", {n: np.concatenate([part[n] for part in listed]) for n in listed[0]})
    pairs, costs = [], []
    for tagger, distance in TAGGERS.items():
        for seed in ("1", "2"):
            training = folder / tagger / seed
            for dataset, centre in (("top", distance), ("qcd", 0.0)):
                score = 1 / (1 + np.exp(-distance * rng.normal(centre, 1, 2000) + distance**2 / 2))
                for shift in ("nominal", "jesUp"):
                    columns = keys | {"score": score ** (1.1 if shift == "jesUp" else 1), "split": split}
                    write_parquet(training / "scores" / dataset / f"{shift}.parquet", columns)
            files = [str(training / f"scores/{dataset}/nominal.parquet") for dataset in ("top", "qcd")]
            compute_metrics(["--signal", files[0], "--background", files[1], "--split", "test", "--replicas", "5",
                             "--calibrate-on", "validation", "--jets", str(folder / "jets.parquet"),
                             "--output", str(training / "metrics.json")])  # fmt: skip
            compute_robustness(["--folder", str(training / "scores"), *DATASETS, "--shifts", "jesUp", "--replicas", "5",
                                "--output", str(training / "robustness.json")])  # fmt: skip
            write_json(training / "model.meta.json", meta(tagger))
            pairs.append((read_json(training / "metrics.json"), meta(tagger)))
            costs.append(cost(tagger, 1e6, 1e4))
    compare(folder, pairs, {"pfn": {"published": "pfn"}, "xgboost": {}}, costs)
    return folder


def files(folder, name):
    return [str(path) for path in sorted(folder.glob(f"*/*/{name}.json"))]


ROC = {"seeds": {name: [1, 2] for name in TAGGERS}, "signal": ["top"], "background": ["qcd"], "label": "14 TeV"}
ONE = ["--seeds", "1", "2", *DATASETS, "--label", "PFN"]


def arguments(folder):
    """Return name -> module and command line of each figure."""
    compared = ["--comparison", str(folder / "c.json")]
    curves = ["--published", str(SMALL_SAMPLES), "--labels", json.dumps({name: name for name in TAGGERS})]
    return {
        "roc": (plot_taggers, ["--folder", str(folder), *compared, "--config", json.dumps(ROC)]),
        "calibration": (plot_calibration, ["--metrics", *files(folder, "metrics"), *compared]),
        "costs": (plot_costs, compared),
        "robustness": (plot_robustness, ["--robustness", *files(folder, "robustness"), *compared]),
        "learning": (
            plot_learning_curves,
            ["--metrics", *files(folder, "metrics"), *curves, "--json", str(folder / "learning.json")],
        ),
        "scores": (plot_scores, ["--folder", str(folder / "pfn"), *ONE]),
        "mass": (plot_sculpting, ["--folder", str(folder / "pfn"), *ONE, "--jets", str(folder / "jets.parquet")]),
        "history": (plot_history, ["--meta", str(folder / "pfn/1/model.meta.json"), "--label", "PFN"]),
        "importance": (plot_importance, ["--meta", str(folder / "xgboost/1/model.meta.json"), "--label", "BDT"]),
    }


@pytest.mark.parametrize("name", arguments(Path()))
def test_figures_are_made(results, name):
    module, line = arguments(results)[name]
    module.main([*line, "--output", str(results / f"{name}.png")])
    assert (results / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert (results / f"{name}.pdf").read_bytes().startswith(b"%PDF")
