"""The comparison table and its formats."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_json
from lhcml.taggers import compare_taggers
from lhcml.taggers.tables import short

PUBLISHED = Path(compare_taggers.__file__).with_name("published.json")


def metrics(auc, rejection, error=0.003):
    return {
        "n_signal": 40,
        "n_background": 60,
        "auc": auc,
        "auc_bootstrap_std": error,
        "auc_statistical_std": 0.004,
        "accuracy": 0.9,
        "balanced_accuracy": 0.91,
        "rejection_30": rejection,
        "rejection_30_bootstrap_std": None if rejection is None else 4.0,
        "rejection_30_statistical_std": None if rejection is None else 3.0,
        "rejection_30_lower_limit": 20.0 if rejection is None else None,
        "rejection_50": 10.0,
        "rejection_50_bootstrap_std": None,
        "rejection_50_statistical_std": 1.0,
        "rejection_50_lower_limit": None,
        "calibration": {"ece": 0.02, "ece_bootstrap_std": 0.003, "ece_calibrated": 0.01, "temperature": 1.2},
        "sculpting": {"jsd_50": 0.5, "jsd_50_bootstrap_std": 0.04, "jsd_50_noise": 0.1},
    }


def meta(tagger="pfn", parameters=82458):
    history = [
        {"epoch": n, "train_loss": 1 / n, "validation_loss": 1.1 / n, "validation_auc": 1 - 0.3 / n} for n in (1, 2)
    ]
    return {
        "tagger": tagger,
        "n_train": {"signal": 100, "background": 300},
        "parameters": parameters,
        "parameters_are": "x",
        "train_seconds": 2.0,
        "best_iteration": 2,
        "history": history,
        "feature_importance": {"jet_mass": 0.75, "jet_pt": 0.25},
    }


def compare(folder, trainings, config, costs=()):
    for number, cost in enumerate(costs):
        write_json(folder / f"cost{number}.json", cost)
    names = {"metrics": [], "meta": []}
    for number, pair in enumerate(trainings):
        for kind, content in zip(names, pair, strict=True):
            write_json(folder / f"{kind}{number}.json", content)
            names[kind].append(str(folder / f"{kind}{number}.json"))
    compare_taggers.main(
        [
            "--metrics",
            *names["metrics"],
            "--meta",
            *names["meta"],
            "--cost",
            *(str(folder / f"cost{number}.json") for number in range(len(costs))),
            "--published",
            str(PUBLISHED),
            "--config",
            json.dumps(config),
            *(part for kind in ("json", "csv", "latex") for part in (f"--{kind}", str(folder / f"c.{kind}"))),
        ]
    )
    return read_json(folder / "c.json")


def test_entry_by_hand(tmp_path):
    trainings = [(metrics(auc, rejection), meta()) for auc, rejection in ((0.95, 30.0), (0.96, 40.0), (0.97, 50.0))]
    (entry,) = compare(tmp_path, trainings, {"pfn": {"label": "PFN", "published": "pfn"}})
    assert entry["auc"] == pytest.approx(0.96)
    assert entry["auc_seed_std"] == pytest.approx(0.01)
    assert entry["auc_std"] == pytest.approx(np.hypot(0.01, 0.003))
    assert entry["rejection_30_std"] == pytest.approx(np.hypot(10, 4))
    assert (entry["n_train"], entry["n_test"], entry["parameters"], entry["seeds"]) == (400, 100, 82458, 3)
    assert {"auc": 0.9819, "rejection_30": 891}.items() <= entry["published"].items()
    assert "1902.09914" in entry["published"]["source"]
    required = {
        "tagger",
        "n_train",
        "n_test",
        "auc",
        "auc_std",
        "accuracy",
        "rejection_30",
        "rejection_30_std",
        "rejection_50",
        "parameters",
        "train_seconds",
        "published",
    }
    assert required <= set(entry)
    with (tmp_path / "c.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["auc"]) == pytest.approx(0.96)
    assert row["published_name"] == "PFN"
    latex = (tmp_path / "c.latex").read_text()
    assert (
        r"PFN & 400 & $0.9600 \pm 0.0104$ & $0.9100 \pm 0.0000$ & $40 \pm 11$ & $10 \pm 1$ & $0.020 \pm 0.003$ "
        r"& $0.50 \pm 0.04$ & 82k & -- & $0.9819$ & $891 \pm 18$ \\" in latex
    )
    assert (entry["ece"], entry["temperature"], entry["jsd_50_noise"]) == pytest.approx((0.02, 1.2, 0.1))
    assert (entry["inverse_jsd_50"], entry["jsd_30"]) == (2, None)


def cost(tagger, operations, rate):
    return {
        "tagger": tagger,
        "operations_per_jet": operations,
        "operations_are": f"of {tagger}",
        "jets_per_second": rate,
    }


def test_cost_of_seeds_and_ensembles(tmp_path):
    trainings = [(metrics(0.95, 30.0), meta(name)) for name in ("a", "a", "b", "both", "elsewhere")]
    trainings[-1][1].update(n_train=None, parameters=None, train_seconds=None, best_iteration=None)
    costs = [cost("a", 10.0, 100.0), cost("a", 30.0, 300.0), cost("b", 5.0, 50.0)]
    config = {"a": {}, "b": {}, "both": {"members": ["a", "b"]}, "elsewhere": {"published": "pfn"}}
    a, b, both, elsewhere = compare(tmp_path, trainings, config, costs)
    assert (a["operations_per_jet"], a["jets_per_second"]) == (20, 200)
    # a jet takes 1/200 s in the one and 1/50 s in the other
    assert (both["operations_per_jet"], both["jets_per_second"]) == (25, pytest.approx(40))
    assert both["operations_are"] == "of a and of b"
    assert (b["seeds"], b["operations_are"]) == (1, "of b")
    unknown = ("n_train", "parameters", "train_seconds", "operations_per_jet", "jets_per_second")
    assert [elsewhere[name] for name in unknown] == [None] * 5
    assert elsewhere["published"]["auc"] == 0.9819
    assert "elsewhere & -- & $0.95" in (tmp_path / "c.latex").read_text()


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "--"), (660, "660"), (5102, "5.1k"), (82458, "82k"), (999_700, "1.0M"), (3.9e6, "3.9M"), (1.46e9, "1.5G")],
)
def test_short_numbers(value, text):
    assert short(value) == text


def test_one_seed_has_the_bootstrap_error_alone(tmp_path):
    (entry,) = compare(tmp_path, [(metrics(0.95, 30.0), meta())], {"pfn": {}})
    assert (entry["auc_std"], entry["auc_seed_std"]) == (0.003, None)
    assert entry["published"] == {"name": None, "auc": None, "rejection_30": None, "source": "no published value given"}


def test_no_background_jet_passing_is_said(tmp_path):
    trainings = [(metrics(0.95, 30.0), meta("a_b")), (metrics(0.95, None), meta("a_b"))]
    (entry,) = compare(tmp_path, trainings, {"a_b": {}})
    assert (entry["rejection_30"], entry["rejection_30_std"]) == (None, None)
    # the first training has no limit of its own
    assert entry["rejection_30_lower_limit"] == 20.0
    assert r"a\_b & 400" in (tmp_path / "c.latex").read_text()


def test_unknown_names(tmp_path):
    with pytest.raises(UserError, match="published: pnf"):
        compare(tmp_path, [(metrics(0.9, 3.0), meta())], {"pfn": {"published": "pnf"}})
    with pytest.raises(UserError, match="tagger 'pfn', which --config lacks"):
        compare(tmp_path, [(metrics(0.9, 3.0), meta())], {"xgboost": {}})


def test_published_entries_are_complete():
    for name, entry in read_json(PUBLISHED).items():
        assert "arXiv:" in entry["source"], name
        assert 0.9 < entry["auc"] < 1
        assert entry["rejection_30"] > 100
        assert entry["rejection_50"] is None or entry["rejection_50"] < entry["rejection_30"]
    assert read_json(PUBLISHED)["pfn"]["rejection_30_std"] == 18
