"""Training of networks: results, determinism, resumption, failures."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch import nn
from toy_jets import write_toy

from lhcml.common.errors import UserError
from lhcml.taggers import score_network, train_network
from lhcml.taggers.compute_metrics import main as compute_metrics
from lhcml.taggers.jets import Jets, LabelledJets
from lhcml.taggers.models.pfn import build_model
from lhcml.taggers.training import Training, learning_rate, load_checkpoint

TRAINING = {
    "optimiser": "adamw", "learning_rate": 0.002, "weight_decay": 0.01, "schedule": "cosine", "warmup": 0.1,
    "batch_size": 64, "epochs": 4, "patience": 4, "gradient_clip": 1.0, "precision": "float32",
}  # fmt: skip
CONFIG = {
    "family": "pfn",
    "inputs": ["part_log_pt_rel", "aligned_deta", "aligned_dphi"],
    "architecture": {"phi": [24, 32], "f": [24]},
    "training": TRAINING,
}


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toys")
    # two files a class, and more background than signal: the classes must count the same nevertheless
    return {
        "signal": [write_toy(folder, "top", jets, seed) for jets, seed in ((600, 1), (400, 2))],
        "background": [write_toy(folder, "qcd", jets, seed) for jets, seed in ((1200, 3), (800, 4))],
    }


def arguments(toys, folder, config=CONFIG, seed=11, threads=1):
    return [
        "--signal", *map(str, toys["signal"]), "--background", *map(str, toys["background"]),
        "--config", json.dumps(config), "--tagger", "pfn", "--seed", str(seed), "--threads", str(threads),
        "--output", str(folder / "model.safetensors"), "--meta", str(folder / "model.meta.json"),
    ]  # fmt: skip


def train(toys, folder, **options):
    train_network.main(arguments(toys, folder, **options))
    return (folder / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def trained(toys, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    train(toys, folder)
    return folder


def score(folder, files, name):
    output = folder / f"{name}.parquet"
    score_network.main(
        ["--model", str(folder / "model.safetensors"), "--meta", str(folder / "model.meta.json"), "--features",
         *map(str, files), "--output", str(output)]
    )  # fmt: skip
    return output


def test_separable_jets_are_separated(toys, trained):
    import pyarrow.parquet as pq

    signal, background = (score(trained, toys[group], group) for group in ("signal", "background"))
    table, features = pq.read_table(signal), [pq.read_table(path) for path in toys["signal"]]
    assert table.column_names == ["run", "luminosityBlock", "event", "jet_rank", "split", "score"]
    for name in table.column_names[:-1]:
        assert table[name].to_pylist() == [value for part in features for value in part[name].to_pylist()]
    score_range = table["score"].to_numpy()
    assert score_range.min() >= 0
    assert score_range.max() <= 1
    result = trained / "metrics.json"
    compute_metrics(
        ["--signal", str(signal), "--background", str(background), "--split", "test", "--replicas", "20",
         "--output", str(result)]
    )  # fmt: skip
    # wide prongs against narrow ones: nearly separable
    assert json.loads(result.read_text())["auc"] > 0.97


def test_meta_describes_the_model(toys, trained):
    meta = json.loads((trained / "model.meta.json").read_text())
    assert meta["inputs"] == CONFIG["inputs"]
    assert meta["n_train"]["background"] > meta["n_train"]["signal"] > 400
    assert len(meta["data_digest"]["train"]) == 64
    assert [row["epoch"] for row in meta["history"]] == list(range(1, len(meta["history"]) + 1))
    best = min(meta["history"], key=lambda row: row["validation_loss"])
    assert best["epoch"] == meta["best_iteration"]
    # phi: 3x24+24, 24x32+32; f: 32x24+24, 24x2+2
    assert meta["parameters"] == 96 + 800 + 792 + 50
    assert not (trained / "last.ckpt").exists()


def test_same_seed_same_weights(toys, trained, tmp_path):
    again = train(toys, tmp_path)
    assert again == (trained / "model.safetensors").read_bytes()
    assert train(toys, tmp_path, seed=12) != again


def test_killed_training_resumes_to_the_identical_weights(toys, trained, tmp_path):
    slow = CONFIG | {"training": TRAINING | {"epochs": 12, "patience": 12}}
    uninterrupted = tmp_path / "uninterrupted"
    uninterrupted.mkdir()
    expected = train(toys, uninterrupted, config=slow)
    killed = tmp_path / "killed"
    killed.mkdir()
    command = [sys.executable, "-m", "lhcml.taggers.train_network", *arguments(toys, killed, config=slow)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": "src"}, stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while not (killed / "last.ckpt").exists():
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert not (killed / "model.safetensors").exists()
    finished = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": "src"}, capture_output=True, text=True, check=True
    )
    assert "resuming after epoch" in finished.stderr
    assert (killed / "model.safetensors").read_bytes() == expected
    histories = [json.loads((folder / "model.meta.json").read_text())["history"] for folder in (killed, uninterrupted)]
    assert histories[0] == histories[1]
    assert sorted(path.name for path in killed.iterdir()) == ["model.meta.json", "model.safetensors"]


class Toy(nn.Module):
    """A linear network that returns NaN in its first `failures` training batches."""

    def __init__(self, failures=0):
        super().__init__()
        self.linear = nn.Linear(1, 2)
        self.failures = failures

    def forward(self, batch):
        logits = self.linear(batch.values)
        if self.training and self.failures > 0:
            self.failures -= 1
            return logits * float("nan")
        return logits


def flat_sample(jets, seed, shift):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, size=jets)
    values = (rng.normal(size=jets) + shift * labels).astype(np.float32)[:, None]
    return LabelledJets(Jets(values, np.ones(jets, dtype=np.int64)), labels)


def toy_training(model, shift=2.0, **changes):
    return Training(model, flat_sample(2000, 1, shift), flat_sample(1000, 2, shift), TRAINING | changes, seed=5)


def test_nan_loss_is_retried_with_half_the_rate():
    state = toy_training(Toy(failures=2)).run()
    assert (state.restarts, state.rate_factor, state.epoch) == (2, 0.25, 4)
    assert np.isfinite([row["train_loss"] for row in state.history]).all()


def test_lasting_nan_is_an_error():
    with pytest.raises(UserError, match=r"loss became NaN or infinite in epoch 1.*after halving"):
        toy_training(Toy(failures=100)).run()


def test_separable_and_random_labels():
    # Gaussians two apart: AUC = Phi(sqrt 2) = .921 +- .009 with 1000 jets; random labels: .5 +- .018. Four sigma.
    assert toy_training(Toy(), learning_rate=0.05).run().history[-1]["validation_auc"] == pytest.approx(
        0.921, abs=0.036
    )
    assert toy_training(Toy(), shift=0.0).run().history[-1]["validation_auc"] == pytest.approx(0.5, abs=0.073)


def test_early_stopping_keeps_the_best_epoch():
    state = toy_training(Toy(), shift=0.0, epochs=30, patience=3, schedule="constant", learning_rate=0.1).run()
    losses = [row["validation_loss"] for row in state.history]
    assert state.epoch == state.best_epoch + 3 < 30
    assert state.best_loss == min(losses) == losses[state.best_epoch - 1]


def test_classes_count_the_same():
    sample = flat_sample(1000, 3, 1.0)
    for label in (0, 1):
        assert sample.weights()[sample.labels == label].sum() == pytest.approx(500, rel=1e-5)


def test_checkpoint_of_another_identity_or_damaged_is_not_used(tmp_path):
    checkpoint = tmp_path / "last.ckpt"
    state = toy_training(Toy(), epochs=2).run(checkpoint, "a")
    same = load_checkpoint(checkpoint, "a")
    assert same is not None
    assert (same.epoch, same.history) == (state.epoch, state.history)
    assert load_checkpoint(checkpoint, "b") is None
    checkpoint.write_bytes(checkpoint.read_bytes()[:200])
    assert load_checkpoint(checkpoint, "a") is None
    assert load_checkpoint(tmp_path / "none", "a") is None


def test_checkpoint_runs_no_foreign_code(tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "hacked"),)

    checkpoint = tmp_path / "last.ckpt"
    torch.save({"identity": "a", "epoch": Evil()}, checkpoint)
    assert load_checkpoint(checkpoint, "a") is None
    checkpoint.write_bytes(pickle.dumps(Evil()))
    assert load_checkpoint(checkpoint, "a") is None
    assert not (tmp_path / "hacked").exists()


def test_learning_rate_schedule():
    settings = {"learning_rate": 0.4, "warmup": 0.1, "schedule": "cosine"}
    rates = [learning_rate(step, 1000, settings) for step in range(1000)]
    assert rates[49] == pytest.approx(0.2)
    assert max(rates) == pytest.approx(0.4)
    assert rates[549] == pytest.approx(0.2)
    assert rates[-1] == pytest.approx(0.0, abs=1e-12)
    assert learning_rate(999, 1000, settings | {"schedule": "constant"}) == 0.4


def test_class_missing_in_the_split(toys, tmp_path):
    import awkward as ak

    from lhcml.common.files import read_parquet, write_parquet

    table = read_parquet(toys["signal"])
    rest = table[table["split"] != "validation"]
    write_parquet(tmp_path / "no_validation.parquet", {name: rest[name] for name in ak.fields(rest)})
    with pytest.raises(UserError, match=r"no signal jet in the validation split of .*no_validation\.parquet"):
        train({**toys, "signal": [tmp_path / "no_validation.parquet"]}, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": ["part_nothing"]}, "has no column part_nothing"),
        ({"inputs": ["part_deta", "jet_mass"]}, "mix flat and jagged"),
        ({"family": "pnf"}, "no tagger family 'pnf'"),
        ({"architecture": {"fi": [3]}}, "no 'fi' in family pfn"),
        ({"architecture": {"phi": 3}}, "give a list"),
        ({"training": TRAINING | {"learning_rate": 1e30, "gradient_clip": 0}}, "NaN or infinite"),
    ],
)
def test_errors_name_cause_and_fix(toys, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        train(toys, tmp_path, config=CONFIG | change)


def test_nan_input_is_an_error(toys, tmp_path):
    from toy_jets import toy_table

    from lhcml.common.files import write_parquet

    table = toy_table("top", 100, 9)
    table["jet_mass"][3] = np.nan
    write_parquet(tmp_path / "nan.parquet", table)
    with pytest.raises(UserError, match=r"1 of \d+ values of column jet_mass in .*nan\.parquet"):
        train({**toys, "signal": [tmp_path / "nan.parquet"]}, tmp_path, config=CONFIG | {"inputs": ["jet_mass"]})


def test_flat_inputs_train_too(toys, tmp_path):
    train(toys, tmp_path, config=CONFIG | {"inputs": ["jet_mass", "jet_width"]})
    assert json.loads((tmp_path / "model.meta.json").read_text())["history"][-1]["validation_auc"] > 0.6


def test_damaged_or_foreign_weights(toys, trained, tmp_path):
    for name in ("model.safetensors", "model.meta.json"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    meta = json.loads((tmp_path / "model.meta.json").read_text())
    meta["settings"]["architecture"] = {"phi": [24, 31], "f": [24]}
    (tmp_path / "model.meta.json").write_text(json.dumps(meta))
    with pytest.raises(UserError, match="cannot use"):
        score(tmp_path, toys["signal"], "s")
    (tmp_path / "model.safetensors").write_bytes(b"12345")
    with pytest.raises(UserError, match="cannot use"):
        score(tmp_path, toys["signal"], "s")


def test_published_size():
    model = build_model({"phi": [100, 100, 256], "f": [100, 100, 100]}, [], torch.zeros(3), torch.ones(3))
    # 82k in arXiv:1902.09914: (3+1)100 + 101 100 + 101 256 + 257 100 + 101 100 + 101 100 + 101 2
    assert sum(tensor.numel() for tensor in model.parameters()) == 82_458
