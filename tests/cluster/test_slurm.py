"""The workflow on a real Slurm cluster: same results as a local run, whatever happens to its jobs and nodes.

Two chains of two jobs each (events, skim) run on two nodes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from compare_results import compare_results
from slurm_cluster import Cluster, wait_for
from workflow_runs import NOTHING, Checkout

pytestmark = [pytest.mark.slurm, pytest.mark.workflow]

SMALL = {"channels": {"toptag": {"datasets": {"top": {"events": 100}, "qcd": {"events": 100}}}}}
TARGETS = [f"results/skim/toptag/{dataset}/0.json" for dataset in ("top", "qcd")]
JOBS = 4
# as a user calls it, but asking Slurm more often
SLURM = (
    "--workflow-profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "1",
    "--max-status-checks-per-second", "1", "--latency-wait", "20",
)  # fmt: skip
ACTIVE = ("RUNNING", "COMPLETING", "PENDING", "CONFIGURING")
# of a job of generate_events
TOO_LITTLE_MB = 120


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, snakemake_bin: Path) -> Path:
    """Return the results of a run without a cluster; it also builds the environments if they are not there."""
    run = Checkout(tmp_path_factory.mktemp("local"), snakemake_bin)
    run.run("--cores", "2", "--configfile", "config/quick.yaml", run.overlay(SMALL), "--", *TARGETS)
    return run.folder


class Run:
    """A copy of the checkout whose Snakemake uses the cluster."""

    def __init__(self, folder: Path, snakemake_bin: Path, cluster: Cluster) -> None:
        self.checkout = Checkout(folder, snakemake_bin)
        self.checkout.environment["SLURM_CONF"] = cluster.environment["SLURM_CONF"]
        self.folder = self.checkout.folder
        self.arguments = (*SLURM, "--configfile", "config/quick.yaml", self.checkout.overlay(SMALL))
        self.heads: list[subprocess.Popen[str]] = []

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Start Snakemake."""
        self.heads.append(self.checkout.start(*self.arguments, *options, "--", *TARGETS))
        return self.heads[-1]

    def run(self, *options: str) -> str:
        """Run Snakemake to its end, which has to be a good one, and return what it printed."""
        return finish(self.start(*options))


@pytest.fixture
def run(tmp_path: Path, local: Path, snakemake_bin: Path, cluster: Cluster) -> Iterator[Run]:
    """Return a run; after the test nothing of it is left on the cluster, and all nodes are there for the next."""
    run = Run(tmp_path, snakemake_bin, cluster)
    yield run
    for head in run.heads:
        if head.poll() is None:
            os.killpg(head.pid, signal.SIGKILL)
            head.communicate()
    cluster.run("scancel", "--user", "root")
    wait_for(cluster.is_idle, 120, "idle nodes after the test")


def assert_same_results(folder: Path, expected: Path) -> None:
    how, differences = compare_results(folder / "results", expected / "results")
    assert not differences
    # events and skims, beside the README of the folder
    assert how.total() == 7


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a run and return what it printed; it has to end well."""
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    return output


def first_running(cluster: Cluster, process: subprocess.Popen[str], rule: str) -> str:
    """Wait until a job of a rule runs, and return its number."""

    def numbers() -> list[str]:
        return [number for number, comment in cluster.jobs("RUNNING").items() if rule in comment]

    wait_for(lambda: bool(numbers()) or process.poll() is not None, 300, f"running job of {rule}")
    assert process.poll() is None, process.communicate()[0]
    return numbers()[0]


def state_of(cluster: Cluster, number: str) -> dict[str, str]:
    """Return what Slurm noted of a job when it last ended."""
    return [job for job in cluster.ended() if job["JobId"] == number][-1]


def test_a_run_on_the_cluster_gives_the_results_of_a_local_run(run: Run, local: Path, cluster: Cluster) -> None:
    before = len(cluster.ended())
    run.run()
    assert_same_results(run.folder, local)
    # only a job that is killed leaves a temporary file
    assert not list((run.folder / "results").rglob("*.part*"))
    jobs = cluster.ended()[before:]
    assert [job["JobState"] for job in jobs] == ["COMPLETED"] * JOBS
    assert {job["NodeList"] for job in jobs} == set(cluster.nodes)
    assert {job["Partition"] for job in jobs} == {"short"}
    assert all(job["Name"].startswith("lhcml_") for job in jobs)
    # nor does anything run again with other requests
    assert NOTHING in run.run("-n", "--set-resources", "generate_events:mem_mb=9000", "skim_events:runtime=99")


def test_a_job_over_its_memory_is_tried_again_with_more(run: Run, local: Path, cluster: Cluster) -> None:
    before = len(cluster.ended())
    few = f"generate_events:mem_mb=attempt*attempt*{TOO_LITTLE_MB}"
    output = run.run("--set-resources", few)
    assert_same_results(run.folder, local)
    jobs = [job for job in cluster.ended()[before:] if f"mem={TOO_LITTLE_MB}M" in job["Tres"]]
    assert len(jobs) == 2
    assert all(job["JobState"] != "COMPLETED" for job in jobs)
    again = [job for job in cluster.ended()[before:] if f"mem={4 * TOO_LITTLE_MB}M" in job["Tres"]]
    assert len(again) == 2
    # the time limit is the rule's own: twice as long at the second attempt, but for rounding to a minute
    for first, second in zip(jobs, again, strict=True):
        assert int(second["TimeLimit"]) == pytest.approx(2 * int(first["TimeLimit"]), abs=1)
    assert "Trying to restart" in output


def test_a_cancelled_job_is_submitted_again(run: Run, local: Path, cluster: Cluster) -> None:
    process = run.start()
    number = first_running(cluster, process, "generate_events")
    cluster.run("scancel", number)
    finish(process)
    assert state_of(cluster, number)["JobState"] == "CANCELLED"
    assert_same_results(run.folder, local)


def test_jobs_of_a_lost_node_run_again(run: Run, local: Path, cluster: Cluster) -> None:
    process = run.start()
    number = first_running(cluster, process, "generate_events")
    node = cluster.run("squeue", "--noheader", "--jobs", number, "--format", "%N").strip()
    cluster.lose_node(node)
    try:
        assert number in cluster.jobs("PENDING"), "Slurm did not put the job back into the queue"
    finally:
        cluster.bring_back(node)
    # Left to Slurm it starts after two minutes; if at once, the signal that ends its first life may end the second one
    cluster.run("scontrol", "update", f"JobId={number}", "StartTime=now+20")
    finish(process)
    # the same job, run twice
    assert state_of(cluster, number)["JobState"] == "COMPLETED"
    assert_same_results(run.folder, local)


def test_a_restarted_controller_changes_nothing(run: Run, local: Path, cluster: Cluster) -> None:
    before = len(cluster.ended())
    process = run.start()
    first_running(cluster, process, "generate_events")
    cluster.stop("slurmctld")
    # jobs go on meanwhile, and questions of Snakemake wait for ten seconds
    time.sleep(3)
    cluster.start_controller()
    finish(process)
    assert [job["JobState"] for job in cluster.ended()[before:]] == ["COMPLETED"] * JOBS
    assert_same_results(run.folder, local)


def test_ctrl_c_cancels_the_jobs(run: Run, local: Path, cluster: Cluster) -> None:
    # a shell that starts the suite in the background makes it ignore Ctrl-C, and with it all that it starts
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process = run.start()
    number = first_running(cluster, process, "generate_events")
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=300)
    assert process.returncode != 0
    wait_for(lambda: not cluster.jobs(*ACTIVE), 120, "empty queue")
    assert state_of(cluster, number)["JobState"] == "CANCELLED"
    run.run()
    assert_same_results(run.folder, local)


def test_a_killed_head_is_recovered_as_documented(run: Run, local: Path, cluster: Cluster) -> None:
    process = run.start()
    number = first_running(cluster, process, "generate_events")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert number in cluster.jobs("RUNNING"), "the jobs go on without Snakemake"
    subprocess.run(["make", "cancel"], cwd=run.folder, env=run.checkout.environment, check=True)
    assert not cluster.jobs(*ACTIVE)
    run.run("--unlock")
    run.run()
    assert_same_results(run.folder, local)
