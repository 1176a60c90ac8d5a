"""A whole run on a Slurm cluster of this machine, compared file by file with a local run.

    export PYTHONPATH=workflow:tests/workflow:tests/cluster
    .test-env/bin/python benchmarks/slurm_run.py /tmp/slurm_run --reference /path/to/local/results

Needs root, Slurm's programs (docs/clusters.md) and a `snakemake` on PATH with the environments it will need. Prints the
wall time, what became of the jobs, and every difference of the results. Options of Snakemake follow after `--`, e.g.
`-- --groups skim_events=chunk`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

from compare_results import compare_results, describe
from slurm_cluster import slurm_cluster
from workflow_runs import ROOT, copy_checkout


def seconds_between(begin: str, end: str) -> float:
    """Return the time between two stamps of Slurm."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


def main() -> None:
    """Run, and print what is asked for above; status 1 if the run failed or results differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="new folder for the cluster and a copy of the checkout")
    parser.add_argument("--reference", type=Path, help="folder of results of a local run of the same configuration")
    parser.add_argument("--configfile", nargs="+", default=["config/quick.yaml"])
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--cpus", type=int, default=1, help="processors of a node")
    parser.add_argument("--accounting", action="store_true", help="with slurmdbd, and status by sacct")
    # by hand: argparse would take a second "--", which Snakemake wants before targets, for its own
    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    args, options = parser.parse_args(arguments[:end]), arguments[end + 1 :]
    snakemake = shutil.which("snakemake")
    if snakemake is None:
        parser.error("no snakemake on PATH: source .venv/bin/activate")
    run = copy_checkout(args.folder / "run")
    # the partitions of the example are those of the cluster: later attempts may ask for more time than `short` allows
    options = ["--slurm-partition-config", "profiles/slurm/partitions.example.yaml", *options]
    if args.accounting:
        options = ["--slurm-status-command", "sacct", *options]
    with slurm_cluster(args.folder, args.nodes, args.cpus, memory=12000, accounting=args.accounting) as cluster:
        environment = {name: value for name, value in cluster.environment.items() if not name.startswith("OMP_")}
        environment.setdefault("SNAKEMAKE_CONDA_PREFIX", str(ROOT / ".snakemake/conda"))
        command = [snakemake, "--workflow-profile", "profiles/slurm", "--configfile", *args.configfile, *options]
        environment.pop("PYTHONPATH", None)
        subprocess.run([*command[:1], "--conda-create-envs-only", *command[1:]], cwd=run, env=environment, check=True)
        begin = time.monotonic()
        with (args.folder / "snakemake.log").open("w") as log:
            status = subprocess.run(command, cwd=run, env=environment, stdout=log, stderr=log).returncode
        wall = time.monotonic() - begin
        jobs = cluster.ended()
    states = Counter(job["JobState"] for job in jobs)
    busy = sum(seconds_between(job["StartTime"], job["EndTime"]) for job in jobs)
    queued = sum(seconds_between(job["SubmitTime"], job["StartTime"]) for job in jobs)
    print(f"snakemake: status {status}, {wall:.0f} s with {args.nodes} nodes of {args.cpus} on {os.cpu_count()} cores")
    print(f"jobs of Slurm: {dict(states)}; {busy:.0f} s running, {queued:.0f} s waiting for a node, in all")
    if args.reference:
        how, differences = compare_results(run / "results", args.reference)
        print(describe(how))
        for difference in differences:
            print(f"differs: {difference.name}: {difference.what}")
        status = status or int(bool(differences))
    sys.exit(status)


if __name__ == "__main__":
    main()
