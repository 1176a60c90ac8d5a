"""Families are found, checked and added by their module alone."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from toy_jets import write_toy

from lhcml.common.errors import UserError
from lhcml.taggers import families
from lhcml.taggers.families import complete_architecture, default_inputs, input_positions

# What a user writes to add a family: one file
CLOUD = '''
"""A linear score of the mean constituent."""

import torch

from lhcml.taggers.packing import segment_sum

ARCHITECTURE = {"width": 8, "dropout": 0.1}
INPUTS = ["part_deta", "part_dphi"]


class Mean(torch.nn.Module):
    def __init__(self, width, dropout, mean, scale):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(len(mean), width), torch.nn.ReLU(), torch.nn.Dropout(dropout), torch.nn.Linear(width, 2)
        )

    def forward(self, batch):
        total = segment_sum(((batch.values - self.mean) / self.scale).abs(), batch)
        return self.layers(total / batch.lengths.clamp(min=1)[:, None])


def build_model(architecture, inputs, mean, scale):
    return Mean(architecture["width"], architecture["dropout"], mean, scale)
'''


def test_defaults_are_read_and_completed():
    assert complete_architecture("pfn", {}) == {"phi": [100, 100, 256], "f": [100, 100, 100]}
    assert default_inputs("pfn") == ["part_log_pt_rel", "aligned_deta", "aligned_dphi"]
    assert complete_architecture("pfn", {"f": [7]}) == {"phi": [100, 100, 256], "f": [7]}


@pytest.mark.parametrize("family", ["nothing", "__init__", "../pfn"])
def test_unknown_family(family):
    with pytest.raises(UserError, match="no tagger family") as error:
        complete_architecture(family, {})
    assert "pfn" in error.value.fix


def test_a_new_family_is_one_file(tmp_path):
    package = Path(families.__file__).resolve().parents[1]
    shutil.copytree(package, tmp_path / "src/lhcml", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "src/lhcml/taggers/models/meancloud.py").write_text(CLOUD)
    top, qcd = (write_toy(tmp_path, kind, 800, seed) for seed, kind in enumerate(("top", "qcd")))
    training = {
        "optimiser": "adam",
        "learning_rate": 0.02,
        "weight_decay": 0.0,
        "schedule": "constant",
        "warmup": 0.0,
        "batch_size": 64,
        "epochs": 6,
        "patience": 6,
        "gradient_clip": 0,
        "precision": "float32",
    }
    config = {"family": "meancloud", "inputs": ["part_deta", "part_dphi"], "architecture": {}, "training": training}
    model, meta = tmp_path / "model.safetensors", tmp_path / "model.meta.json"

    def run(module, *arguments):
        command = [sys.executable, "-m", f"lhcml.taggers.{module}", *map(str, arguments)]
        return subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "src")},
            capture_output=True,
            text=True,
            check=False,
        )

    files = ["--signal", top, "--background", qcd, "--tagger", "mine", "--seed", 1, "--output", model, "--meta", meta]
    trained = run("train_network", *files, "--config", json.dumps(config))
    assert trained.returncode == 0, trained.stderr
    # the mean distance of constituents from the axis separates the toys
    assert json.loads(meta.read_text())["history"][-1]["validation_auc"] > 0.9
    scored = run(
        "score_network", "--model", model, "--meta", meta, "--features", top, "--output", tmp_path / "s.parquet"
    )
    assert scored.returncode == 0, scored.stderr
    wrong = run("train_network", *files, "--config", json.dumps(config | {"architecture": {"width": 2.5}}))
    assert wrong.returncode == 1
    assert "give an integer, as 8" in wrong.stderr


def test_a_family_finds_its_inputs_by_name():
    assert input_positions(["part_pt", "part_deta", "part_dphi"], ["part_dphi", "part_pt"], "cnn") == [2, 0]
    with pytest.raises(UserError, match="family cnn needs part_eta"):
        input_positions(["part_pt"], ["part_pt", "part_eta"], "cnn")
