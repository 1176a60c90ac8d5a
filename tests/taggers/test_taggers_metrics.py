"""Figures of merit by hand, against scikit-learn, and their properties."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.metrics import roc_curve as sklearn_curve

from lhcml.common.errors import UserError
from lhcml.common.files import write_parquet
from lhcml.taggers.compute_metrics import main
from lhcml.taggers.metrics import auc_error, evaluate, roc_curve

# Four signal and five background jets; the order downwards is S S B S B (S B tie) B B
SCORES = [0.9, 0.8, 0.6, 0.4, 0.7, 0.5, 0.4, 0.2, 0.1]
LABELS = [1, 1, 1, 1, 0, 0, 0, 0, 0]


def test_curve_by_hand():
    curve = roc_curve(SCORES, LABELS)
    assert curve.signal_efficiency.tolist() == [0, 0.25, 0.5, 0.5, 0.75, 0.75, 1, 1, 1]
    assert curve.background_efficiency.tolist() == [0, 0, 0, 0.2, 0.2, 0.4, 0.6, 0.8, 1]


def test_auc_by_hand():
    # pairs won by the four signal jets against five: 5 + 5 + 4 + (2 + a tie, one half)
    assert roc_curve(SCORES, LABELS).auc() == pytest.approx(16.5 / 20, abs=1e-15)


def test_rejection_by_hand():
    curve = roc_curve(SCORES, LABELS)
    assert curve.rejection(0.3) == float("inf")
    # at 0.75 the curve runs along eps_B from 0.2 to 0.4: the smallest counts
    assert curve.rejection(0.75) == pytest.approx(5)
    # 0.6 lies 2/5 of the way from (0.5, 0.2) to (0.75, 0.2); 0.875 half way from (0.75, 0.4) to (1, 0.6)
    assert curve.rejection(0.6) == pytest.approx(5)
    assert curve.rejection(0.875) == pytest.approx(2)


def test_accuracy_and_limit_by_hand():
    result = evaluate(SCORES, LABELS, replicas=0)
    # called signal: .9 .8 .6 (right), .7 .5 (wrong); right: 3 + 3 of 9
    assert result["accuracy"] == pytest.approx(6 / 9)
    assert result["balanced_accuracy"] == pytest.approx((3 / 4 + 3 / 5) / 2)
    assert result["rejection_30"] is None
    assert result["rejection_30_lower_limit"] == pytest.approx(5 / 2.9957)
    assert (result["n_signal"], result["n_background"]) == (4, 5)


def test_binomial_error_by_hand():
    scores, labels = [2.0, 1.0, 0.0] + [1.5] * 10 + [-1.0] * 90, [1, 1, 1] + [0] * 100
    result = evaluate(scores, labels, replicas=0)
    # eps_S = 0.5 is half way between (1/3, 0.1) and (2/3, 0.1): 10 of 100 pass
    assert result["rejection_50"] == pytest.approx(10)
    assert result["rejection_50_statistical_std"] == pytest.approx(10 * np.sqrt(0.9 / 10))


def grid_samples():
    """Scores on a coarse grid, so that ties abound, with both classes present."""
    return st.integers(2, 60).flatmap(
        lambda n: st.tuples(
            st.lists(st.integers(0, 9), min_size=n, max_size=n),
            st.lists(st.booleans(), min_size=n, max_size=n).filter(lambda labels: any(labels) and not all(labels)),
            st.lists(st.integers(1, 5), min_size=n, max_size=n),
        )
    )


@settings(max_examples=150, deadline=None)
@given(grid_samples())
def test_agrees_with_scikit_learn(sample):
    score, label, weight = (np.array(column, dtype=float) for column in sample)
    score /= 10
    curve = roc_curve(score, label, weight)
    fpr, tpr, _ = sklearn_curve(label, score, sample_weight=weight, drop_intermediate=False)
    np.testing.assert_allclose(curve.background_efficiency, fpr, atol=1e-12)
    np.testing.assert_allclose(curve.signal_efficiency, tpr, atol=1e-12)
    assert curve.auc() == pytest.approx(roc_auc_score(label, score, sample_weight=weight), abs=1e-12)
    assert evaluate(score, label, weight, replicas=0)["accuracy"] == pytest.approx(
        accuracy_score(label, score >= 0.5, sample_weight=weight)
    )


@settings(max_examples=100, deadline=None)
@given(grid_samples(), st.randoms(use_true_random=False))
def test_properties(sample, random):
    score, label, weight = (np.array(column, dtype=float) for column in sample)
    curve = roc_curve(score, label, weight)
    # the order of jets, a monotonous change of the scores and a common factor on the weights do nothing
    order = np.array(random.sample(range(len(score)), len(score)))
    other = roc_curve(np.exp(score[order]) - 3, label[order], 7 * weight[order])
    np.testing.assert_allclose(other.signal_efficiency, curve.signal_efficiency, atol=1e-12)
    np.testing.assert_allclose(other.background_efficiency, curve.background_efficiency, atol=1e-12)
    # swapping the classes and the sign of the scores leaves the AUC
    assert roc_curve(-score, 1 - label, weight).auc() == pytest.approx(curve.auc(), abs=1e-12)
    # an integer weight is as many jets
    repeated = [np.repeat(column, weight.astype(int)) for column in (score, label)]
    assert roc_curve(*repeated).auc() == pytest.approx(curve.auc(), abs=1e-12)


def gaussian_sample(signal, background, seed):
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.normal(1.5, 1, signal), rng.normal(0, 1, background)])
    return scores, np.repeat([1, 0], [signal, background])


def test_errors_cover_the_truth():
    # Pulls of the AUC against the analytic Phi(1.5/sqrt 2) over 200 samples: width 1 within 4 errors of 0.05
    truth = 0.8555778
    pulls = []
    for seed in range(200):
        scores, labels = gaussian_sample(150, 300, seed)
        pulls.append((roc_curve(scores, labels).auc() - truth) / auc_error(scores, labels))
    assert abs(np.mean(pulls)) < 4 / np.sqrt(200)
    assert abs(np.std(pulls) - 1) < 0.2


def test_bootstrap_agrees_with_delong_and_is_seeded():
    scores, labels = gaussian_sample(5000, 10_000, 3)
    first = evaluate(scores, labels, replicas=400, seed=5)
    # 400 replicas know a standard deviation to 3.5 %; the two estimators agree to O(1/n): 4 standard errors
    assert first["auc_bootstrap_std"] == pytest.approx(first["auc_statistical_std"], rel=0.15)
    assert first == evaluate(scores, labels, replicas=400, seed=5)
    assert first["auc_bootstrap_std"] != evaluate(scores, labels, replicas=400, seed=6)["auc_bootstrap_std"]
    # The binomial error leaves out that of the threshold. With densities phi(0) and phi(1.5) there, eps_B = 0.0668 and
    # half as many signal jets, the squared relative errors are (0.9332/0.0668 + 0.5 (0.1295/0.0668/0.3989)^2) / 10000:
    # a ratio of 1.36.
    ratio = first["rejection_50_bootstrap_std"] / first["rejection_50_statistical_std"]
    assert ratio == pytest.approx(1.36, rel=0.15)


@pytest.mark.parametrize(
    ("scores", "labels", "weights", "message"),
    [
        ([], [], None, "no jet"),
        ([0.1, float("nan")], [0, 1], None, "NaN"),
        ([0.1, 0.2], [1, 1], None, "no background"),
        ([0.1, 0.2], [0, 0], None, "no signal"),
        ([0.1, 0.2], [0, 2], None, "other values than 0 and 1"),
        ([0.1, 0.2], [0, 1, 1], None, "shapes"),
        ([0.1, 0.2], [0, 1], [1, -1], "negative"),
        ([0.1, 0.2], [0, 1], [1, 0], "zero"),
    ],
)
def test_bad_input(scores, labels, weights, message):
    with pytest.raises(UserError, match=message):
        evaluate(scores, labels, weights, replicas=0)


def test_command_line(tmp_path, capsys):
    csv = tmp_path / "mine.csv"
    csv.write_text("score,label,w\n" + "\n".join(f"{s},{y},2.0" for s, y in zip(SCORES, LABELS, strict=True)))
    main(["--scores", str(csv), "--weight-column", "w", "--replicas", "0"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["auc"] == pytest.approx(16.5 / 20)

    split = np.array(["test"] * 4 + ["train"])
    write_parquet(tmp_path / "s.parquet", {"score": np.array([*SCORES[:4], 0.0]), "split": split})
    write_parquet(
        tmp_path / "b.parquet", {"score": np.array([*SCORES[4:], 1.0]), "split": np.append(["test"] * 5, "train")}
    )
    files = ["--signal", str(tmp_path / "s.parquet"), "--background", str(tmp_path / "b.parquet")]
    main([*files, "--split", "test", "--replicas", "0", "--output", str(tmp_path / "m.json")])
    written = json.loads((tmp_path / "m.json").read_text())
    assert {key: written[key] for key in ("auc", "accuracy", "n_signal", "n_background")} == {
        key: printed[key] for key in ("auc", "accuracy", "n_signal", "n_background")
    }


def test_command_line_errors(tmp_path):
    for name, text, message in [
        ("empty.csv", "score,label\n", "no jet"),
        ("column.csv", "scor,label\n0.1,1\n", "has no column score"),
        ("hole.csv", "score,label\n0.1,1\n,0\n", "empty values"),
        ("broken.parquet", "PAR1", "cannot read"),
        ("scores.root", "", "neither"),
    ]:
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match=message):
            main(["--scores", str(tmp_path / name)])
    run = subprocess.run(
        [sys.executable, "-m", "lhcml.taggers.compute_metrics", "--scores", str(tmp_path / "empty.csv")],
        capture_output=True, text=True, env={"PYTHONPATH": "src"}, check=False,
    )  # fmt: skip
    assert run.returncode == 1
    assert run.stderr.splitlines()[-2].startswith("error: there is no jet")
    assert "Traceback" not in run.stderr


def test_a_million_jets():
    # 2 s on one idle core; the limit leaves room for a busy machine and still fails quadratic code
    import time

    scores, labels = gaussian_sample(500_000, 500_000, 1)
    begin = time.monotonic()
    result = evaluate(scores, labels, replicas=10)
    assert time.monotonic() - begin < 60
    assert result["auc"] == pytest.approx(0.8555778, abs=5 * result["auc_statistical_std"])
