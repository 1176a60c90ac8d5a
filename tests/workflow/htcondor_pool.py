"""Snakemake with its executor for HTCondor, on a pool that is this process: `htcondor_pool.py FOLDER ARGUMENTS...`.

The executor, `htcondor2.Submit` and the reader of event logs are the real ones. In the place of the scheduler, each
submit description is turned into a job's ClassAd by HTCondor's own code (`htcondor.Submit.jobs`, what `condor_submit
-dry-run` does), written to FOLDER, and the job is run here as its ad says: command, working folder, environment,
files for output and errors, event log. The first attempt of a rule named in HOLD_FIRST is held instead, as if it had
used more memory than it asked for.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

# no pool, no configuration; without this the bindings warn of it
os.environ.setdefault("CONDOR_CONFIG", os.devnull)

import htcondor
import snakemake_executor_plugin_htcondor as plugin
from snakemake.cli import main

FOLDER = Path(sys.argv[1])
LOCK = threading.Lock()


def job_ad(text: str) -> dict[str, Any]:
    """Return the ClassAd of the one job of a submit description, by HTCondor's own code."""
    (ad,) = htcondor.Submit(text).jobs(count=1)
    return {name: str(ad.lookup(name)) if name == "Requirements" else ad.eval(name) for name in ad}


def environment(ad: dict[str, Any]) -> dict[str, str]:
    """Return the variables that HTCondor starts the job with: none but those of the ad."""
    return dict(word.split("=", 1) for word in shlex.split(ad.get("Environment", "")))


class Result:
    """What a submission returns: its cluster of one job."""

    def __init__(self, number: int) -> None:
        self.number = number

    def cluster(self) -> int:
        """Return the number of the cluster."""
        return self.number


class Pool:
    """Stands for the scheduler."""

    number = 0
    running: dict[int, subprocess.Popen[bytes]] = {}  # noqa: RUF012

    def submit(self, description: Any) -> Result:
        """Record a job and start it, or hold it."""
        with LOCK:
            Pool.number += 1
            number = Pool.number
        ad = job_ad(str(description))
        (FOLDER / f"{number}.json").write_text(json.dumps({name: str(value) for name, value in ad.items()}, indent=1))
        (FOLDER / f"{number}.sub").write_text(str(description))
        self.event(ad, number, 0, "Job submitted from host: <127.0.0.1:9618>")
        rule = ad["JobBatchName"].rpartition("-")[0]
        marker = FOLDER / f"held_{rule}"
        if rule == os.environ.get("HOLD_FIRST") and not marker.exists():
            marker.touch()
            reason = f"Job has gone over cgroup memory limit of {ad['RequestMemory']} megabytes."
            self.event(ad, number, 12, f"Job was held.\n\t{reason}\n\tCode 34 Subcode 0")
        else:
            threading.Thread(target=self.work, args=(ad, number), daemon=True).start()
        return Result(number)

    def work(self, ad: dict[str, Any], number: int) -> None:
        """Run a job; an error of this pool ends everything, as Snakemake would wait for the job for ever."""
        try:
            self.run(ad, number)
        except BaseException:
            traceback.print_exc()
            os._exit(70)

    def run(self, ad: dict[str, Any], number: int) -> None:
        """Run a job as its ad says."""
        self.event(ad, number, 1, "Job executing on host: <127.0.0.1:9618>")
        folder = Path(ad["Iwd"])
        out, err = (folder / ad[name].replace("$(ClusterId)", str(number)) for name in ("Out", "Err"))
        with open(out, "wb") as stdout, open(err, "wb") as stderr:
            # without quotes around them, arguments are divided by spaces, and nothing else is special
            command = [ad["Cmd"], *ad["Args"].split()]
            process = subprocess.Popen(command, cwd=folder, env=environment(ad), stdout=stdout, stderr=stderr)
            Pool.running[number] = process
            code = process.wait()
        usage = "\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Remote Usage\n" * 4
        self.event(ad, number, 5, f"Job terminated.\n\t(1) Normal termination (return value {code})\n{usage.rstrip()}")

    def event(self, ad: dict[str, Any], number: int, kind: int, text: str) -> None:
        """Append to the event log, in the form in which HTCondor writes it."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        with LOCK, open(Path(ad["Iwd"]) / ad["UserLog"], "a") as log:
            log.write(f"{kind:03d} ({number:03d}.000.000) {stamp} {text}\n...\n")

    def act(self, action: Any, jobs: list[str]) -> None:
        """Remove jobs."""
        (FOLDER / "removed.txt").write_text(" ".join(jobs))
        for job in jobs:
            Pool.running[int(job.partition(".")[0])].terminate()


plugin.htcondor.Submit.issue_credentials = lambda self: None
plugin.htcondor.Schedd = Pool
sys.argv[0] = "snakemake"
sys.exit(main(sys.argv[2:]))
