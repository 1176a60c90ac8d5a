"""Boosted trees: results, determinism, round trip, failures."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from toy_jets import HIGH_LEVEL, toy_table, write_toy

from lhcml.common.errors import UserError
from lhcml.common.files import write_parquet
from lhcml.taggers import score_bdt, train_bdt
from lhcml.taggers.jets import BACKGROUND, SIGNAL, Jets, LabelledJets, read_split
from lhcml.taggers.metrics import roc_curve

BOOSTING = {
    "rounds": 60, "early_stopping_rounds": 10, "learning_rate": 0.2, "max_depth": 4, "min_child_weight": 2,
    "subsample": 0.8, "colsample_bytree": 0.8, "reg_lambda": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toys")
    return {"signal": [write_toy(folder, "top", 1500, 1)], "background": [write_toy(folder, "qcd", 2500, 2)]}


def train(toys, folder, seed=7, threads=1, boosting=BOOSTING, features=HIGH_LEVEL):
    train_bdt.main(
        ["--signal", *map(str, toys["signal"]), "--background", *map(str, toys["background"]), "--config",
         json.dumps({"features": list(features), "boosting": boosting}), "--tagger", "xgboost", "--seed", str(seed),
         "--threads", str(threads), "--output", str(folder / "model.json"), "--meta", str(folder / "model.meta.json")]
    )  # fmt: skip
    return (folder / "model.json").read_bytes()


def score(folder, files):
    output = folder / "scores.parquet"
    score_bdt.main(
        ["--model", str(folder / "model.json"), "--meta", str(folder / "model.meta.json"), "--features",
         *map(str, files), "--output", str(output)]
    )  # fmt: skip
    return pq.read_table(output)


@pytest.fixture(scope="module")
def trained(toys, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    train(toys, folder)
    return folder


def test_scores_separate_and_agree_with_validation_history(toys, trained):
    meta = json.loads((trained / "model.meta.json").read_text())
    tables = [score(trained, toys[group]) for group in ("signal", "background")]
    parts = [t["score"].to_numpy()[np.array(t["split"].to_pylist()) == "validation"] for t in tables]
    labels = np.repeat([1, 0], [len(part) for part in parts])
    auc = roc_curve(np.concatenate(parts), labels).auc()
    assert auc > 0.9
    # the model written is that of the best round, not of the last; single precision inside XGBoost
    assert auc == pytest.approx(meta["history"][meta["best_iteration"] - 1]["validation_auc"], abs=1e-5)
    assert min(meta["history"], key=lambda row: row["validation_loss"])["round"] == meta["best_iteration"]
    assert sum(meta["feature_importance"].values()) == pytest.approx(1)


def test_size_is_counted_from_the_trees(trained):
    meta = json.loads((trained / "model.meta.json").read_text())
    trees = json.loads((trained / "model.json").read_text())["learner"]["gradient_booster"]["model"]["trees"]
    leaves = [sum(child == -1 for child in tree["left_children"]) for tree in trees]
    assert len(trees) == meta["best_iteration"]
    # a binary tree of n leaves has n - 1 splits
    assert meta["parameters"] == sum(2 * n - 1 for n in leaves)


def test_same_seed_same_model_whatever_the_threads(toys, trained, tmp_path):
    first = (trained / "model.json").read_bytes()
    assert train(toys, tmp_path) == first
    assert train(toys, tmp_path, threads=2) == first
    assert train(toys, tmp_path, seed=8) != first


def test_random_labels_are_not_learned(tmp_path):
    rng = np.random.default_rng(0)
    samples = [
        LabelledJets(
            Jets(rng.normal(size=(n, 3)).astype(np.float32), np.ones(n, dtype=np.int64)), rng.integers(0, 2, n)
        )
        for n in (2000, 1000)
    ]
    booster, history = train_bdt.boost(*samples, ["a", "b", "c"], BOOSTING, seed=1, threads=1)
    # AUC of 1000 random jets: .5 +- .018; four sigma, some room for early stopping choosing the best of several rounds
    assert history[booster.num_boosted_rounds() - 1]["validation_auc"] == pytest.approx(0.5, abs=0.08)


def test_split_reads_what_it_says(toys, tmp_path):
    files = {SIGNAL: toys["signal"], BACKGROUND: toys["background"]}
    sizes = [len(read_split(files, HIGH_LEVEL, split, tmp_path).labels) for split in ("train", "validation", "test")]
    assert sum(sizes) == 4000
    table = toy_table("top", 1500, 1)
    chosen = read_split(files, ["jet_mass"], "test", tmp_path)
    expected = table["jet_mass"][table["split"] == "test"].astype(np.float32)
    np.testing.assert_array_equal(chosen.jets.values[chosen.labels == 1, 0], expected)


def test_digest_sees_values_order_and_labels():
    values, ones = np.arange(6, dtype=np.float32).reshape(3, 2), np.ones(3, dtype=np.int64)
    labels = np.array([1, 0, 0])
    first = LabelledJets(Jets(values, ones), labels)
    assert first.digest() == LabelledJets(Jets(values.copy(), ones), labels).digest()
    assert first.digest() != LabelledJets(Jets(values[::-1], ones), labels).digest()
    assert first.digest() != LabelledJets(Jets(values, ones), labels[::-1]).digest()


def test_errors(toys, trained, tmp_path):
    table = toy_table("qcd", 50, 5)
    table["split"] = np.full(50, "test")
    write_parquet(tmp_path / "only_test.parquet", table)
    with pytest.raises(UserError, match="no background jet in the train split"):
        train({**toys, "background": [tmp_path / "only_test.parquet"]}, tmp_path)
    with pytest.raises(UserError, match="has no column jet_nothing"):
        train(toys, tmp_path, features=["jet_nothing"])
    (tmp_path / "broken.parquet").write_bytes(toys["signal"][0].read_bytes()[:1000])
    with pytest.raises(UserError, match=r"broken\.parquet"):
        score(trained, [tmp_path / "broken.parquet"])
    (tmp_path / "model.json").write_text("{}")
    (tmp_path / "model.meta.json").write_bytes((trained / "model.meta.json").read_bytes())
    with pytest.raises(UserError, match=r"cannot read .*model\.json"):
        score(tmp_path, toys["signal"])


def test_empty_chunk_is_scored(trained, toys, tmp_path):
    import awkward as ak

    from lhcml.common.files import read_parquet

    table = read_parquet(toys["signal"])[:0]
    write_parquet(tmp_path / "empty.parquet", {name: table[name] for name in ak.fields(table)})
    assert len(score(trained, [tmp_path / "empty.parquet", *toys["signal"]])) == 1500
    assert len(score(trained, [tmp_path / "empty.parquet"])) == 0
