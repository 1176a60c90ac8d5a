"""Comparison of the results of two runs: what may differ, and that nothing else may."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from compare_results import compare_results

from lhcml.common.files import write_json, write_parquet, write_text
from lhcml.common.style import new_figure, save_figure

VALUES = np.array([1.0, np.nan, 3.0])


def write_root(path: Path, values: np.ndarray = VALUES, counts: tuple[int, ...] = (2, 0, 1)) -> None:
    with uproot.recreate(path, compression=None) as file:
        file["Events"] = {"x": values, "jets": ak.unflatten(np.arange(sum(counts), dtype=np.float32), counts)}
        file["h"] = np.histogram(values[np.isfinite(values)], bins=3, range=(0, 4))


def write_report(path: Path, table: str, page: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        # named by a digest of absolute paths
        archive.writestr(f"report/data/raw/{abs(hash(path)):x}/roc.csv", table)
        archive.writestr("report/report.html", page)


def write_keras(path: Path, seconds: float, weights: bytes = b"weights", layer: str = "dense") -> None:
    """Write what Keras writes; the time stands for date and addresses."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", f'{{"date_saved": "{seconds}"}}')
        archive.writestr("config.json", f'{{"name": "{layer}", "shared_object_id": {1000 * seconds:.0f}}}')
        archive.writestr("model.weights.h5", weights)


def write_results(folder: Path, seconds: float = 1.0) -> None:
    """Write a file of each kind, as a run that took `seconds` would."""
    for name in ("samples", "plots", "report", "logs", "benchmarks"):
        (folder / name).mkdir(parents=True)
    write_root(folder / "samples/0.root")
    write_parquet(folder / "samples/0.parquet", {"x": VALUES})
    write_json(folder / "samples/meta.json", {"auc": 0.9, "train_seconds": seconds, "steps": [{"seconds": seconds}]})
    write_text(folder / "report/benchmarks.csv", f"rule,seconds\nskim,{seconds}\n")
    write_text(folder / "samples/table.csv", f"tagger,auc,train_seconds\npfn,0.9,{seconds}\n")
    write_text(folder / "logs/skim.log", f"{seconds}\n")
    write_report(folder / "report.zip", "1,2\n", f"<html>{seconds}</html>")
    write_keras(folder / "samples/model.keras", seconds)
    figure, axes = new_figure()
    axes.plot([0, 1], [0, 1])
    save_figure(figure, folder / "plots/line.png")


def test_two_runs_differ_in_dates_and_times_only(tmp_path: Path) -> None:
    write_results(tmp_path / "a")
    # dates in ROOT, ZIP and PDF files have a grain of up to two seconds
    time.sleep(2.1)
    write_results(tmp_path / "b", seconds=2.0)
    (tmp_path / "b/samples/.1.root.0a1b2c3d.part.root").touch()
    how, differences = compare_results(tmp_path / "a", tmp_path / "b")
    assert differences == []
    # figures and Parquet files hold no date at all
    assert how == {
        "bytes": 3,
        "*.root": 1,
        "*.json": 1,
        "*.keras": 1,
        "*.csv": 1,
        "report/benchmarks.*": 1,
        "report.zip": 1,
    }


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def set_last_byte(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("samples/0.root", lambda path: write_root(path, np.array([1.0, np.nan, 3.5])), "Events;1/x differs"),
        ("samples/0.root", lambda path: write_root(path, counts=(2, 1, 0)), "Events;1/jets differs"),
        ("samples/0.root", truncate, "bytes"),
        ("samples/0.parquet", lambda path: write_parquet(path, {"x": VALUES + 1}), "bytes that differ"),
        ("samples/meta.json", lambda path: path.write_text('{"auc": 0.9, "steps": []}'), "steps: 0 and 1 items"),
        ("samples/meta.json", lambda path: path.write_text('{"auc": 0.9}'), "['steps'] in one only"),
        ("samples/meta.json", truncate, "cannot be compared: JSONDecodeError"),
        (
            "samples/table.csv",
            lambda path: path.write_text("tagger,auc,train_seconds\npfn,0.8,1.0\n"),
            "[0].auc: '0.8'",
        ),
        ("plots/line.png", set_last_byte, "bytes that differ"),
        ("report.zip", lambda path: write_report(path, "1,3\n", ""), "members ['roc.csv'] differ"),
        ("samples/model.keras", lambda path: write_keras(path, 1.0, b"other"), "the weights differ"),
        ("samples/model.keras", lambda path: write_keras(path, 1.0, layer="relu"), "config.json differs"),
        ("report/benchmarks.csv", lambda path: path.write_text(""), "empty"),
        ("plots/line.pdf", Path.unlink, "only in"),
    ],
)
def test_a_spoilt_file_is_told(tmp_path: Path, name: str, spoil: Callable[[Path], object], message: str) -> None:
    write_results(tmp_path / "a")
    write_results(tmp_path / "b")
    spoil(tmp_path / "b" / name)
    _, differences = compare_results(tmp_path / "b", tmp_path / "a")
    assert [difference.name for difference in differences] == [name]
    assert message in differences[0].what


def test_the_command_names_the_file_and_fails(tmp_path: Path, root: Path) -> None:
    for folder, auc in (("a", 0.9), ("b", 0.8)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "meta.json").write_text(json.dumps({"auc": auc}))
    command = [sys.executable, str(root / "workflow/compare_results.py"), str(tmp_path / "a")]
    other = subprocess.run([*command, str(tmp_path / "b")], capture_output=True, text=True, check=False)
    assert other.returncode == 1
    assert "differs: meta.json: auc: 0.9 and 0.8" in other.stdout
    same = subprocess.run([*command, str(tmp_path / "a")], capture_output=True, text=True, check=False)
    assert same.returncode == 0


def test_a_python_that_cannot_read_root_files_is_told_and_is_no_difference(tmp_path: Path, root: Path) -> None:
    for folder, number in (("a", 1.0), ("b", 2.0)):
        (tmp_path / folder).mkdir()
        write_root(tmp_path / folder / "0.root", VALUES * number)
    # -S: without site-packages
    command = [sys.executable, "-S", root / "workflow/compare_results.py", tmp_path / "a", tmp_path / "b"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no module awkward" in done.stderr
    assert ".test-env/bin/python" in done.stderr
    assert "differs" not in done.stdout
