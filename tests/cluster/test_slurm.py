"""The workflow on a real Slurm cluster: same results as a local run, whatever happens to its jobs and nodes.

Two chains of three jobs each (events, skim, features) run on two nodes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from slurm_cluster import Cluster, wait_for
from workflow_runs import NOTHING, Checkout

from lhcml.common.files import read_json, read_parquet

pytestmark = [pytest.mark.slurm, pytest.mark.workflow]

SMALL = {"channels": {"toptag": {"datasets": {"top": {"events": 100}, "qcd": {"events": 100}}}}}
FEATURES = [f"results/features/toptag/{dataset}/nominal/0.parquet" for dataset in ("top", "qcd")]
SKIMS = [f"results/skim/toptag/{dataset}/0.json" for dataset in ("top", "qcd")]
# as a user calls it, but asking Slurm more often
SLURM = (
    "--workflow-profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "1",
    "--max-status-checks-per-second", "1", "--latency-wait", "20",
)  # fmt: skip
ACTIVE = ("RUNNING", "COMPLETING", "PENDING", "CONFIGURING")
# of a job of generate_events
TOO_LITTLE_MB = 300


def new_run(folder: Path, snakemake_bin: Path, cluster: Cluster) -> tuple[Checkout, tuple[str, ...]]:
    """Return a copy of the checkout for a run on the cluster, and what names its configuration and targets."""
    run = Checkout(folder, snakemake_bin)
    run.environment["SLURM_CONF"] = cluster.environment["SLURM_CONF"]
    return run, ("--configfile", "config/quick.yaml", run.overlay(SMALL), "--", *FEATURES)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, snakemake_bin: Path) -> Path:
    """Return the results of a run without a cluster; it also builds the environments if they are not there."""
    run = Checkout(tmp_path_factory.mktemp("local"), snakemake_bin)
    run.run("--cores", "2", "--configfile", "config/quick.yaml", run.overlay(SMALL), "--", *FEATURES)
    return run.folder


@pytest.fixture
def run(tmp_path: Path, local: Path, snakemake_bin: Path, cluster: Cluster) -> tuple[Checkout, tuple[str, ...]]:
    return new_run(tmp_path, snakemake_bin, cluster)


def assert_same_results(folder: Path, expected: Path) -> None:
    for name in SKIMS:
        ours, theirs = read_json(folder / name), read_json(expected / name)
        assert without_times(ours) == without_times(theirs), name
    for name in FEATURES:
        assert read_parquet(folder / name).to_list() == read_parquet(expected / name).to_list(), name
    assert not list((folder / "results").rglob("*.part*"))


def without_times(summary: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in summary.items() if "second" not in key}


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a run and return what it printed; it has to end well."""
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def first_running(cluster: Cluster, process: subprocess.Popen[str], rule: str) -> str:
    """Wait until a job of a rule runs, and return its number."""

    def numbers() -> list[str]:
        return [number for number, comment in cluster.jobs("RUNNING").items() if rule in comment]

    wait_for(lambda: bool(numbers()) or process.poll() is not None, 90, f"running job of {rule}")
    assert process.poll() is None, process.communicate()[0]
    return numbers()[0]


def state_of(cluster: Cluster, number: str) -> dict[str, str]:
    """Return what Slurm noted of a job when it last ended."""
    return [job for job in cluster.ended() if job["JobId"] == number][-1]


def test_a_run_on_the_cluster_gives_the_results_of_a_local_run(
    run: tuple[Checkout, tuple[str, ...]], local: Path, cluster: Cluster
) -> None:
    checkout, target = run
    before = len(cluster.ended())
    checkout.run(*SLURM, *target)
    assert_same_results(checkout.folder, local)
    jobs = cluster.ended()[before:]
    assert [job["JobState"] for job in jobs] == ["COMPLETED"] * 6
    assert {job["NodeList"] for job in jobs} == set(cluster.nodes)
    assert {job["Partition"] for job in jobs} == {"short"}
    assert all(job["Name"].startswith("lhcml_") for job in jobs)
    assert NOTHING in checkout.run("-n", *SLURM, *target)


def test_a_job_over_its_memory_is_tried_again_with_more(
    run: tuple[Checkout, tuple[str, ...]], local: Path, cluster: Cluster
) -> None:
    checkout, target = run
    before = len(cluster.ended())
    few = f"generate_events:mem_mb=attempt*{TOO_LITTLE_MB}"
    output = checkout.run(*SLURM, "--set-resources", few, *target)
    assert_same_results(checkout.folder, local)
    jobs = [job for job in cluster.ended()[before:] if f"mem={TOO_LITTLE_MB}M" in job["Tres"]]
    assert len(jobs) == 2
    assert all(job["JobState"] != "COMPLETED" for job in jobs)
    again = [job for job in cluster.ended()[before:] if f"mem={2 * TOO_LITTLE_MB}M" in job["Tres"]]
    assert len(again) == 2
    # the time limit is the rule's own: twice as long at the second attempt
    assert {int(job["TimeLimit"]) for job in again} == {2 * int(job["TimeLimit"]) for job in jobs}
    assert "Trying to restart" in output


def test_a_cancelled_job_is_submitted_again(
    run: tuple[Checkout, tuple[str, ...]], local: Path, cluster: Cluster
) -> None:
    checkout, target = run
    process = checkout.start(*SLURM, *target)
    number = first_running(cluster, process, "generate_events")
    cluster.run("scancel", number)
    finish(process)
    assert state_of(cluster, number)["JobState"] == "CANCELLED"
    assert_same_results(checkout.folder, local)


def test_jobs_of_a_lost_node_run_again(run: tuple[Checkout, tuple[str, ...]], local: Path, cluster: Cluster) -> None:
    checkout, target = run
    process = checkout.start(*SLURM, *target)
    number = first_running(cluster, process, "generate_events")
    node = cluster.run("squeue", "--noheader", "--jobs", number, "--format", "%N").strip()
    cluster.lose_node(node)
    try:
        assert number in cluster.jobs("PENDING"), "Slurm did not put the job back into the queue"
    finally:
        cluster.bring_back(node)
    finish(process)
    # the same job, run twice
    assert state_of(cluster, number)["JobState"] == "COMPLETED"
    assert_same_results(checkout.folder, local)


def test_a_restarted_controller_changes_nothing(
    run: tuple[Checkout, tuple[str, ...]], local: Path, cluster: Cluster
) -> None:
    checkout, target = run
    before = len(cluster.ended())
    process = checkout.start(*SLURM, *target)
    first_running(cluster, process, "generate_events")
    cluster.stop("slurmctld", kill=True)
    # long enough for jobs to end and for Snakemake's questions to fail (squeue gives up after 10 s)
    time.sleep(25)
    cluster.start_controller()
    finish(process)
    assert [job["JobState"] for job in cluster.ended()[before:]] == ["COMPLETED"] * 6
    assert_same_results(checkout.folder, local)


def test_ctrl_c_cancels_the_jobs(run: tuple[Checkout, tuple[str, ...]], local: Path, cluster: Cluster) -> None:
    checkout, target = run
    process = checkout.start(*SLURM, *target)
    number = first_running(cluster, process, "generate_events")
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    wait_for(lambda: not cluster.jobs(*ACTIVE), 20, "empty queue")
    assert state_of(cluster, number)["JobState"] == "CANCELLED"
    checkout.run(*SLURM, *target)
    assert_same_results(checkout.folder, local)


def test_a_killed_head_is_recovered_as_documented(
    run: tuple[Checkout, tuple[str, ...]], local: Path, cluster: Cluster
) -> None:
    checkout, target = run
    process = checkout.start(*SLURM, *target)
    number = first_running(cluster, process, "generate_events")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert number in cluster.jobs("RUNNING"), "the jobs go on without Snakemake"
    subprocess.run(["make", "cancel"], cwd=checkout.folder, env=checkout.environment, check=True)
    assert not cluster.jobs(*ACTIVE)
    checkout.run("--unlock", *SLURM, *target)
    checkout.run(*SLURM, *target)
    assert_same_results(checkout.folder, local)
