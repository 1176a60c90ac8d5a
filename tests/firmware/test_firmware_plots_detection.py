"""Evaluation of the scores of a model, from files to detection.json, table and figures."""

from __future__ import annotations

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib import pyplot as plt

from lhcml.common.errors import UserError
from lhcml.common.files import read_json
from lhcml.firmware import evaluate_detection, plot_detection
from lhcml.firmware.collect_objects import input_names
from lhcml.firmware.evaluate_detection import score_edges
from lhcml.firmware.input_table import write_inputs
from lhcml.firmware.processes import match_rows

NAMES = input_names({"electrons": {"count": 1}, "muons": {"count": 1}, "jets": {"count": 2}})
SIZES = {"w": 1200, "qcd": 800, "lq": 500, "none": 0}
CONFIG = {
    "background": ["w", "qcd"], "signals": ["lq", "none"], "fprs": [0.1, 0.01, 1e-5], "bootstrap": 20,
    "menu": {"single_muon": {"muon": [60]}, "jets": {"ht": 400}},
    "rates": {"luminosity": 2e34, "bunches": 2760, "duty_cycle": 0.5, "bandwidths": [1.0], "cross_sections": {}},
}  # fmt: skip


def write_model(folder, sizes=SIZES, shuffle=True):
    """Write inputs and scores of a model: W at 3000 pb, QCD 1000 pb, a signal of 2 pb."""
    rng = np.random.default_rng(7)
    parts = []
    for dataset, count in sizes.items():
        scale = 100 if dataset == "lq" else 40
        inputs = rng.exponential(scale, (count, len(NAMES)))
        inputs[:, 1::3] = rng.uniform(-2, 2, inputs[:, 1::3].shape)
        total = {"w": 3000.0, "qcd": 1000.0}.get(dataset, 2.0)
        columns = {
            "run": np.ones(count, np.int64), "luminosityBlock": np.ones(count, np.int64),
            "event": np.arange(count), "split": rng.choice(["train", "validation", "test"], count),
            "weight": np.full(count, total / max(count, 1)), "inputs": inputs,
        }  # fmt: skip
        write_inputs(folder / f"{dataset}.parquet", NAMES, [columns])
        chosen = columns["split"] != "train"
        score = np.log1p(inputs[:, 0::3] / 30).sum(axis=1)[chosen]
        parts.append(
            pa.table(
                {
                    "dataset": pa.array([dataset] * len(score), pa.string()),
                    **{name: columns[name][chosen] for name in ("run", "luminosityBlock", "event")},
                    "split": pa.array(list(columns["split"][chosen]), pa.string()), "weight": columns["weight"][chosen],
                    "label": np.full(len(score), int(dataset == "lq")), "score_float": score,
                    "score": np.floor(8 * score) / 8,
                }
            )
        )  # fmt: skip
    table = pa.concat_tables(parts)
    if shuffle:
        table = table.take(rng.permutation(len(table)))
    pq.write_table(table, folder / "scores.parquet")


def evaluate(folder, config=CONFIG, seed=1):
    """Run the evaluation and return detection.json."""
    evaluate_detection.main(
        [
            "--scores", f"post8={folder / 'scores.parquet'}", "--inputs",
            *(str(folder / f"{name}.parquet") for name in SIZES), "--config", json.dumps(config), "--seed", str(seed),
            "--output", str(folder / "detection.json"), "--table", str(folder / "detection.csv"),
        ]
    )  # fmt: skip
    return read_json(folder / "detection.json")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return the folder of an evaluated model."""
    folder = tmp_path_factory.mktemp("model")
    write_model(folder)
    evaluate(folder)
    return folder


def test_what_is_evaluated(model):
    """Three scores, the signal with events, everything normalised to the cross sections of all events."""
    found = read_json(model / "detection.json")
    assert list(found["scores"]) == ["float", "post8", "sum_pt"]
    assert list(found["signals"]) == ["lq"]
    assert found["left_out"] == ["none"]
    # test events stand for all: 3000 pb and 1000 pb at 2e34 are 80 Hz
    assert found["background"]["w"]["weight"] == pytest.approx(3000)
    assert found["background_rate_hz"] == pytest.approx(80)
    assert found["assumptions"]["crossings_hz"] == pytest.approx(31.04e6, rel=1e-3)
    for score in found["scores"].values():
        assert 0.5 < score["signals"]["lq"]["auc"] < 1
        assert [sum(shares) for shares in score["distributions"]["shares"].values()] == pytest.approx([1] * 3)
        assert score["rates"]["rate_hz"] == sorted(score["rates"]["rate_hz"], reverse=True)


def test_working_points(model):
    """Both conventions of the rate are the FPR times a constant; a bandwidth is an FPR; 1e-5 is out of reach."""
    points = read_json(model / "detection.json")["scores"]["post8"]["signals"]["lq"]["points"]
    assert [point["bandwidth_hz"] for point in points] == [None, None, None, 1.0]
    for point in points[:2]:
        assert point["fpr_reached"] <= point["fpr"]
        assert point["rate_hz"] == pytest.approx(80 * point["fpr_reached"])
        assert point["rate_nominal_hz"] == pytest.approx(4e7 * point["fpr_reached"])
        assert point["gain"] == pytest.approx(point["tpr"] / point["fpr_reached"])
        # 2 pb at 2e34 for half of 2.592e6 s
        assert point["signal_a_month"] == pytest.approx(0.04 * 1.296e6 * point["tpr"])
        assert point["pure"]["pure"] <= point["tpr"] == pytest.approx(point["pure"]["anomaly"])
    assert points[2]["tpr"] is None
    assert points[2]["needed"]["10"] == pytest.approx(1e7)
    assert points[3]["fpr"] == pytest.approx(1 / 80)


def test_row_order_and_seed(model, tmp_path):
    """Rows are matched by event: a file in another order gives the same; the seed is for the bootstrap alone."""
    write_model(tmp_path, shuffle=False)
    first, second = read_json(model / "detection.json"), evaluate(tmp_path)
    assert first == second
    third = evaluate(tmp_path, seed=2)["scores"]["float"]["signals"]["lq"]
    assert third["auc"] == first["scores"]["float"]["signals"]["lq"]["auc"]
    assert third["auc_std"] != first["scores"]["float"]["signals"]["lq"]["auc_std"]


def test_table_has_a_row_a_point(model):
    """3 scores, 1 signal, 4 points; nothing where there is no efficiency."""
    with (model / "detection.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert rows[0]["score"] == "float"
    assert float(rows[0]["tpr"]) > 0
    assert rows[2]["tpr"] == rows[2]["pure"] == ""
    assert "of them are needed" in rows[2]["reason"]


def test_jets_need_neither_menu_nor_rates(model):
    """A tagger: no menu, weights that are no cross sections."""
    found = evaluate(model, {**CONFIG, "menu": None, "rates": None})
    point = found["scores"]["post8"]["signals"]["lq"]["points"][0]
    assert point["tpr"] > 0
    assert (point["pure"], point["rate_hz"], point["signal_a_month"]) == (None, None, None)
    evaluate(model)


def test_files_of_other_events_are_refused(tmp_path):
    """Scores of another sample than the inputs."""
    write_model(tmp_path)
    scores = (tmp_path / "scores.parquet").read_bytes()
    write_model(tmp_path, {**SIZES, "w": 1100})
    (tmp_path / "scores.parquet").write_bytes(scores)
    with pytest.raises(UserError, match=r"w in .*scores\.parquet holds"):
        evaluate(tmp_path)


def test_background_without_events_is_refused(tmp_path):
    """Nothing to set a threshold on."""
    write_model(tmp_path)
    with pytest.raises(UserError, match="no test event of any of the background: none"):
        evaluate(tmp_path, {**CONFIG, "background": ["none"]})


def test_match_rows():
    """By identity, whatever the order; twice the same event is refused."""
    given = np.array([[1, 1, 5], [1, 1, 2], [1, 2, 2]])
    wanted = given[[2, 0, 1]]
    np.testing.assert_array_equal(given[match_rows(wanted, given, "x")], wanted)
    with pytest.raises(UserError, match="x has an event twice"):
        match_rows(given[[0, 0, 1]], given[[0, 0, 1]], "x")


def test_figures_are_drawn(model, tmp_path):
    """Four files of each kind, with something on them."""
    names = ("roc", "scores", "rates", "pure")
    args = [f"--{name}={tmp_path / name}.png" for name in names]
    plot_detection.main(["--detection", str(model / "detection.json"), "--right", "13 TeV", *args])
    for name in names:
        image = plt.imread(tmp_path / f"{name}.png")
        assert image.shape[0] > 300
        assert image.std() > 0.01
        assert (tmp_path / f"{name}.pdf").stat().st_size > 5000


def test_curves_end_at_one_effective_event(model):
    """What is drawn begins where the background is known to 100 %."""
    found = read_json(model / "detection.json")
    figure = plot_detection.draw_roc(found, {"signals": {}}, "")
    line = figure.axes[0].lines[0]
    np.testing.assert_allclose(line.get_xdata(), found["scores"]["float"]["signals"]["lq"]["roc"]["fpr"])
    # a process without events above counts as one: some 400 QCD test events are a quarter of the background
    assert 0.2 * 0.25 / 400 < line.get_xdata()[0] < 10 * 0.25 / 200
    plt.close(figure)


def test_published_values_say_whether_they_are_verified(model):
    """The star is marked."""
    found = read_json(model / "detection.json")
    published = {"signals": {"lq": {"tpr": 0.01}}, "fpr": 1e-5, "label": "paper", "verified": False}
    figure = plot_detection.draw_roc(found, published, "")
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert "paper (not verified)" in labels
    plt.close(figure)


def test_figures_without_what_they_need(model):
    """Rates and menu were not evaluated."""
    found = read_json(model / "detection.json")
    found["assumptions"] |= {"rates": None, "menu": None}
    with pytest.raises(UserError, match="no rates"):
        plot_detection.draw_rates(found, "")
    with pytest.raises(UserError, match="no menu"):
        plot_detection.draw_pure(found, "")


def test_pure_contribution_without_a_threshold(model):
    """No working point within reach: the figure says so."""
    found = read_json(model / "detection.json")
    for score in found["scores"].values():
        for point in score["signals"]["lq"]["points"]:
            point["pure"] = None
    figure = plot_detection.draw_pure(found, "")
    assert "too few background events" in figure.axes[0].texts[0].get_text()
    plt.close(figure)


def test_bins_of_a_quantised_score():
    """Multiples of 1/8 with a long tail: each bin holds at least one of the values, none falls between two edges."""
    values = np.arange(1, 801) / 8
    scores = np.repeat(values, np.maximum(1, (2000 / np.arange(1, 801) ** 2).astype(int)))
    edges, scale = score_edges(scores)
    assert scale == "log"
    assert edges[0] > 0
    inside = values[(values > edges[0]) & (values < edges[-1])]
    assert np.all(np.histogram(inside, edges)[0] >= 1)
    # on an edge, a value would fall to one side by rounding
    assert np.abs(inside[:, None] - edges).min() == pytest.approx(1 / 16)


@pytest.mark.parametrize("scores", [np.zeros(5), np.array([3.0]), np.linspace(-1, 1, 1000), np.array([0.0, 0.0, 1.0])])
def test_bins_of_few_or_even_scores(scores):
    """One value, a line, two values: increasing edges around them."""
    edges, scale = score_edges(scores)
    assert scale == "linear"
    assert np.all(np.diff(edges) > 0)
    assert np.histogram(np.clip(scores, edges[0], edges[-1]), edges)[0].sum() == len(scores)
