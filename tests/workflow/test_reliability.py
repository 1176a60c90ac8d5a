"""Accidents on a small chain: a full disk, a read-only file system, two runs in one folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from compare_results import compare_file, compare_results
from workflow_runs import Checkout

pytestmark = pytest.mark.workflow
SKIM = ("results/skim/own/mine/0.root", "results/skim/own/mine/0.json")
GENERATED = "results/samples/toptag/top/0.root"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, snakemake_bin: Path) -> Checkout:
    """Return a copy whose jobs run with the packages of the tests, with a file of 50 events in it."""
    checkout = Checkout(tmp_path_factory.mktemp("small"), snakemake_bin)
    profile = checkout.folder / "profiles/default/profile.yaml"
    settings = yaml.safe_load(profile.read_text())
    del settings["software-deployment-method"]
    profile.write_text(yaml.safe_dump(settings))
    checkout.environment["PATH"] = f"{Path(sys.executable).parent}:{checkout.environment['PATH']}"
    checkout.overlay(generated(50), "generate.yaml")
    checkout.run("--cores", "1", "--configfile", "generate.yaml", "--", GENERATED)
    dataset = {"files": [str(checkout.folder / GENERATED)], "cross_section": 1.0}
    checkout.overlay({"channels": {"own": {"datasets": {"mine": dataset}}}}, "skim.yaml")
    checkout.run("--cores", "1", "--configfile", "skim.yaml", "--", *SKIM)
    return checkout


def generated(events: int) -> dict[str, object]:
    return {"channels": {"toptag": {"datasets": {"top": {"events": events}}}}, "samples": {"events_per_chunk": events}}


def elsewhere(checkout: Checkout, folder: Path) -> list[str]:
    """Return the arguments that skim in another working folder, as docs/running.md says."""
    root = checkout.folder
    return ["--cores", "1", "--directory", str(folder), "--snakefile", str(root / "Snakefile"),
            "--workflow-profile", str(root / "profiles/default"), "--configfile", str(root / "skim.yaml"),
            "--", *SKIM]  # fmt: skip


def same_skim(checkout: Checkout, folder: Path) -> None:
    """Compare the skim of another working folder with the one of the copy, and look for half-written files."""
    compared, differences = compare_results(folder / "results/skim", checkout.folder / "results/skim")
    assert not differences
    assert sum(compared.values()) == 2
    assert not list(folder.rglob(".*.part*"))


def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(small: Checkout, disk: Path) -> None:
    command = elsewhere(small, disk)
    # Snakemake's own files fit, the skim does not
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - 80_000)
    output = small.run(*command, check=False)
    assert "No space left on device" in output
    assert "fix: make room" in output
    assert not list((disk / "results").rglob("*.root*"))
    ballast.unlink()
    small.run(*command)
    same_skim(small, disk)


def test_a_read_only_file_system_is_told(small: Checkout, disk: Path) -> None:
    command = elsewhere(small, disk)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    output = small.run(*command, check=False)
    assert "Read-only file system" in output
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    small.run(*command)
    same_skim(small, disk)


def test_a_second_run_in_the_folder_stops_and_harms_nothing(small: Checkout, tmp_path: Path) -> None:
    root = small.folder
    command = ["--cores", "1", "--directory", str(tmp_path), "--snakefile", str(root / "Snakefile"),
               "--workflow-profile", str(root / "profiles/default"), "--configfile", str(root / "generate.yaml"),
               "--", GENERATED]  # fmt: skip
    # a dry run takes no lock: the run that begins beside it goes on
    dry = small.start("-n", *command)
    first = small.start(*command)
    while not list(tmp_path.glob("results/samples/toptag/top/.0.root.*")):
        assert first.poll() is None
        time.sleep(0.05)
    # Snakemake and its job are held until the second has tried
    os.killpg(first.pid, signal.SIGSTOP)
    try:
        second = small.run(*command, check=False)
    finally:
        os.killpg(first.pid, signal.SIGCONT)
    assert "Directory cannot be locked" in second
    planned, _ = dry.communicate()
    assert dry.returncode == 0, planned
    output, _ = first.communicate()
    assert first.returncode == 0, output
    assert compare_file(GENERATED, tmp_path / GENERATED, small.folder / GENERATED) == ("*.root", None)
