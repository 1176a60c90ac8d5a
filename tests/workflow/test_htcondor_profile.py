"""The profile for HTCondor: what is asked of a pool; htcondor_pool.py stands in for one."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from workflow_runs import ROOT, Checkout

pytestmark = pytest.mark.workflow
PLUGIN = ("snakemake-executor-plugin-htcondor==0.3.0", "htcondor==24.12.*")


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory, snakemake_bin: Path) -> Path:
    """Return a folder with the executor and HTCondor's bindings, for Snakemake's Python."""
    folder = tmp_path_factory.mktemp("htcondor")
    command = [snakemake_bin / "uv", "pip", "install", "--quiet", "--no-deps", "--target", folder]
    done = subprocess.run(
        [*command, "--python", snakemake_bin / "python", *PLUGIN], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"the executor for HTCondor cannot be installed: {done.stderr[-300:]}")
    return folder


def test_it_has_all_of_the_default_profile() -> None:
    profile, default = (
        yaml.safe_load((ROOT / f"profiles/{name}/profile.yaml").read_text()) for name in ("htcondor", "default")
    )
    # only the wait is longer, for network file systems
    assert profile | {"latency-wait": default["latency-wait"]} == profile | default


def printed_resources(output: str, rule: str) -> list[dict[str, str]]:
    """Return the resources that Snakemake printed for each job of a rule."""
    blocks = re.findall(rf"^rule {rule}:\n(.*?)(?=^\S)", output, flags=re.DOTALL | re.MULTILINE)
    return [dict(re.findall(r"([\w.]+)=([^,\n]+)", block.split("resources:")[1])) for block in blocks]


def test_jobs_run_as_they_are_submitted(tmp_path: Path, snakemake_bin: Path, plugin: Path) -> None:
    """A run on a pool of this machine: a job that is held is submitted again and asks for more, and all is made."""
    checkout = Checkout(tmp_path / "checkout", snakemake_bin)
    overlay = checkout.overlay(
        {"samples": {"events_per_chunk": 10}, "channels": {"toptag": {"datasets": {"top": {"events": 10}}}}}
    )
    # as a site would have it: with attributes of its own
    site = (ROOT / "profiles/htcondor/profile.yaml").read_text().replace("  # classad_", "  classad_")
    (checkout.folder / "profiles/htcondor/site.yaml").write_text(site)
    pool = tmp_path / "pool"
    pool.mkdir()
    target = "results/samples/toptag/top/0.root"
    arguments = ["--workflow-profile", "profiles/htcondor/site.yaml", "--latency-wait", "5"]
    arguments += ["--seconds-between-status-checks", "1", "--configfile", overlay, "--", target]
    done = subprocess.run(
        [snakemake_bin / "python", ROOT / "tests/workflow/htcondor_pool.py", pool, *arguments],
        cwd=checkout.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900, check=False,
        env=checkout.environment | {"PYTHONPATH": str(plugin), "HOLD_FIRST": "generate_events", "MY_SECRET": "s"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert (checkout.folder / target).stat().st_size > 0
    ads = [json.loads(path.read_text()) for path in sorted(pool.glob("*.json"))]
    rules = [ad["JobBatchName"].rpartition("-")[0] for ad in ads]
    assert rules == ["generate_events", "generate_events"]
    asked = printed_resources(done.stdout, "generate_events")
    for ad, resources in zip(ads, asked, strict=True):
        check_ad(ad, resources, checkout.folder, snakemake_bin)
    # amounts are rounded up
    assert 2 * int(ads[0]["RequestMemory"]) - 1 <= int(ads[1]["RequestMemory"]) <= 2 * int(ads[0]["RequestMemory"])
    # what HTCondor caught of a job, and its own log
    assert (checkout.folder / ads[1]["Err"].replace("$(ClusterId)", "2")).stat().st_size > 0
    assert (checkout.folder / "results/logs/samples/generate_events/toptag_top_0.log").is_file()


def check_ad(ad: dict[str, Any], resources: dict[str, str], folder: Path, snakemake_bin: Path) -> None:
    """Check a job's ClassAd against the resources of its rule."""
    assert ad["RequestMemory"] == resources["mem_mb"]
    assert ad["AllowedExecuteDuration"] == ad["MaxRuntime"] == str(60 * int(resources["runtime"]))
    assert ad["RequestDisk"] == str(2000 * 1024)  # KiB
    assert ad["RequestCpus"] == "1"
    assert ad["ShouldTransferFiles"] == "NO"
    assert "FileSystemDomain" in ad["Requirements"]
    assert ad["AccountingGroup"] == "group_u_CMS.u_zh.users"
    assert Path(ad["Iwd"]) == folder
    assert Path(ad["UserLog"]).parent == folder / "results/logs/htcondor"
    assert ad["Out"].startswith("results/logs/htcondor/")
    assert Path(ad["Cmd"]).parent == snakemake_bin
    variables = dict(word.split("=", 1) for word in shlex.split(ad["Environment"]))
    # the project's own conda is found, and nothing is handed over that was not asked for
    assert variables["PATH"].split(os.pathsep)[0] == str(snakemake_bin)
    assert {"HOME", "SNAKEMAKE_CONDA_PREFIX"} <= set(variables)
    assert not {"MY_SECRET", "PYTHONPATH", "HOLD_FIRST"} & set(variables)
