"""The frame of every command line of the package.

A module offers `main(argv)`, built as::

    def main(argv: Sequence[str] | None = None) -> None:
        parser = make_parser(__doc__)
        parser.add_argument("--output", required=True, type=Path)
        args = parser.parse_args(argv)
        log = start_log("numpy", "uproot", seed=args.seed)
        ...


    if __name__ == "__main__":
        run_main(main)
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from lhcml.common.errors import UserError


def make_parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser whose description is the module's docstring."""
    return argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )


def json_argument(text: str) -> Any:
    """Read a command-line value as JSON; used for the configuration block of a rule.

    Raises
    ------
    argparse.ArgumentTypeError
        If the text is not JSON.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not valid JSON ({error}): {text!r}") from error


def package_version(name: str) -> str:
    """Return the installed version of a distribution, or "not installed".

    Where none has this name, the version of the one that provides the module of this name: xgboost-cpu is xgboost.
    """
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        providers = metadata.packages_distributions().get(name, [])
        return metadata.version(providers[0]) if providers else "not installed"


def git_hash() -> str:
    """Return the commit of the source tree, marked "+changes" if it was edited; "unknown" outside git."""
    here = Path(__file__).resolve().parent
    try:
        command = ["git", "-C", str(here), "describe", "--always", "--abbrev=12", "--dirty=+changes", "--exclude=*"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def start_log(*packages: str, seed: int | None = None) -> logging.Logger:
    """Start the log of a job with what is needed to repeat it.

    The first lines give the exact command, package versions, git hash, seed and host.

    Parameters
    ----------
    *packages : str
        Distributions whose versions are written.
    seed : int, optional
        Seed of the job.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    log = logging.getLogger("lhcml")
    # `python -m` leaves the module's file in argv[0]; orig_argv holds what was really typed
    command = ["python", *sys.orig_argv[1:]]
    log.info("command: PYTHONPATH=%s %s", os.environ.get("PYTHONPATH", ""), shlex.join(command))
    versions = ", ".join(f"{name} {package_version(name)}" for name in packages)
    log.info("versions: python %s, %s", platform.python_version(), versions)
    log.info("git: %s; seed: %s; host: %s", git_hash(), seed, platform.node())
    return log


def largest_memory() -> float:
    """Return the largest resident memory of this process so far in MB, or of a program that it called."""
    # Linux counts in kB, macOS in bytes
    unit = 1e6 if sys.platform == "darwin" else 1024
    own, called = (resource.getrusage(who).ru_maxrss / unit for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    status = Path("/proc/self/status")
    if status.is_file():
        # getrusage also counts the program that was replaced by this one, here a copy of Snakemake
        lines = status.read_text(encoding="utf-8").splitlines()
        own = next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
    return max(own, called)


def log_cost() -> None:
    """End the log of a job with its exact processor time and largest memory, of the programs that it called too.

    A benchmark of Snakemake only samples them.
    """
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(part.ru_utime + part.ru_stime for part in usage)
    logging.getLogger("lhcml").info("cost: %.2f s of processor time, %.1f MB", seconds, largest_memory())


def run_main(main: Callable[[Sequence[str] | None], None]) -> None:
    """Run a `main` as a program: a `UserError` prints its cause and fix and exits with status 1.

    A program that succeeded ends without the teardown of its libraries: Arrow's threads at times abort a process that
    ends right after it has read Parquet (apache/arrow#34314), when all is written and closed.
    """
    try:
        main(None)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    log_cost()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


class Progress:
    """Lines of progress on a long step, at most one every few seconds.

    Parameters
    ----------
    total : int
        Number of items to come.
    unit : str
        What is counted, e.g. "events".
    every : float
        Least time between two lines, in seconds.
    """

    def __init__(self, total: int, unit: str, every: float = 10.0) -> None:
        self.total, self.unit, self.every = total, unit, every
        self.done = 0
        self.begin = self.last = time.monotonic()

    def add(self, count: int) -> None:
        """Count `count` more items and print a line when one is due, and at the end."""
        self.done += count
        now = time.monotonic()
        if now - self.last >= self.every or self.done >= self.total:
            self.last = now
            rate = self.done / max(now - self.begin, 1e-9)
            share = 100 * self.done / max(self.total, 1)
            logging.getLogger("lhcml").info(
                "%d/%d %s (%.0f %%), %.0f %s/s", self.done, self.total, self.unit, share, rate, self.unit
            )
