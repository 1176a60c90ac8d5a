"""Ensembles: weights against scikit-learn, gain where members know different things, and rows that do not match."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from lhcml.common.errors import UserError
from lhcml.common.files import read_json, read_parquet, write_json, write_parquet
from lhcml.taggers import fit_ensemble, score_ensemble
from lhcml.taggers.ensembles import combine, fit_weights
from lhcml.taggers.logits import logit, sigmoid
from lhcml.taggers.metrics import roc_curve


def members(jets, seed):
    """Return the logits of two members, each the likelihood ratio of a feature of its own, and labels."""
    rng = np.random.default_rng(seed)
    signal = np.arange(jets) < jets // 4
    features = rng.normal(np.where(signal, 0.5, -0.5)[:, None] * [1.0, 2.0], 1)
    # the logarithm of the ratio of unit Gaussians at +-d/2 is d x
    return features * [1.0, 2.0], signal


def test_weights_agree_with_scikit_learn():
    margins, signal = members(400, 1)
    weights, bias = fit_weights(margins, signal)
    share = np.where(signal, 0.5 / signal.sum(), 0.5 / (~signal).sum())
    # its loss is the sum of C * weight * entropy and w^2/2: weights of mean 1 and C = 1 are ours times the jets
    reference = LogisticRegression(tol=1e-12, max_iter=1000).fit(margins, signal, sample_weight=share * len(signal))
    np.testing.assert_allclose(weights, reference.coef_[0], rtol=1e-5)
    assert bias == pytest.approx(reference.intercept_[0], abs=1e-5)


def test_independent_members_add_up():
    margins, signal = members(40_000, 2)
    weights, bias = fit_weights(margins, signal)
    # the logarithm of the likelihood ratio of independent features is the sum of theirs; four standard errors of 1.5 %
    np.testing.assert_allclose(weights, 1, atol=0.06)
    assert bias == pytest.approx(0, abs=0.06)
    best = roc_curve(combine([sigmoid(m) for m in margins.T], list(weights), bias), signal).auc()
    assert best > max(roc_curve(m, signal).auc() for m in margins.T) + 0.01


def test_separated_and_identical_members_stay_finite():
    margins = np.array([[3.0, 3.0], [2.0, 2.0], [-1.0, -1.0], [-2.0, -2.0]])
    weights, bias = fit_weights(margins, np.array([True, True, False, False]))
    assert np.isfinite([*weights, bias]).all()
    assert weights[0] == pytest.approx(weights[1])
    assert weights[0] > 0


def test_mean_by_hand():
    combined = combine([np.array([0.8, 1.0]), np.array([0.5, 0.5])], [0.5, 0.5], 0.0)
    # logits ln 4 and 0; and 34.5 at a score of one
    np.testing.assert_allclose(combined, [2 / 3, sigmoid(np.array([0.5 * logit(np.array([1.0]))[0]]))[0]])


@pytest.fixture
def trained(tmp_path):
    """Score files and descriptions of two members on two datasets."""
    rng = np.random.default_rng(3)
    for number, member in enumerate(("a", "b")):
        for dataset, centre in (("top", 1.0), ("qcd", -1.0)):
            rows = np.arange(200)
            write_parquet(
                tmp_path / member / "scores" / dataset / "nominal.parquet",
                {
                    "run": np.ones(200, dtype=np.int64),
                    "luminosityBlock": np.ones(200, dtype=np.int64),
                    "event": rows,
                    "jet_rank": np.zeros(200, dtype=np.int64),
                    "split": np.where(rows % 2, "test", "validation"),
                    "score": sigmoid(rng.normal(centre, 1, 200)),
                },
            )
        meta = {"n_train": {"signal": 5, "background": 5}, "parameters": 10 + number, "train_seconds": 1.5}
        write_json(tmp_path / member / "model.meta.json", meta)
    return tmp_path


def fit(folder, method):
    folders = [str(folder / member) for member in ("a", "b")]
    fit_ensemble.main(["--tagger", "e", "--members", "a", "b", "--folders", *folders, "--method", method,
                       "--signal", "top", "--background", "qcd", "--output", str(folder / "e.json")])  # fmt: skip
    return read_json(folder / "e.json")


def test_command_lines(trained):
    assert fit(trained, "mean")["parameters"] == 21
    meta = fit(trained, "stacked")
    assert (meta["parameters"], meta["n_validation"]) == (24, {"signal": 100, "background": 100})
    scores = [trained / member / "scores/top/nominal.parquet" for member in ("a", "b")]
    score_ensemble.main(["--meta", str(trained / "e.json"), "--scores", *map(str, scores),
                         "--output", str(trained / "e.parquet")])  # fmt: skip
    table = read_parquet(trained / "e.parquet")
    assert table["event"].tolist() == list(range(200))
    assert table["split"].tolist()[:2] == ["validation", "test"]
    by_hand = sum(
        weight * logit(read_parquet(path)["score"].to_numpy())
        for weight, path in zip(meta["weights"].values(), scores, strict=True)
    )
    np.testing.assert_allclose(table["score"].to_numpy(), sigmoid(by_hand + meta["bias"]), rtol=1e-12)


def test_other_jets_are_refused(trained):
    path = trained / "b/scores/qcd/nominal.parquet"
    table = read_parquet(path)
    write_parquet(path, {name: table[name][::-1] for name in table.fields})
    with pytest.raises(UserError, match=r"jets of .* differ"):
        fit(trained, "stacked")
