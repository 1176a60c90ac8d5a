#!/usr/bin/env python3
"""Kill the workflow at random moments, resume it as documented, and compare every result with an undisturbed run.

  make chaos N=50 CONFIG=config/quick.yaml SEED=1 REFERENCE=/folder/of/results

or, with the arguments of Snakemake behind `--`:

  python workflow/chaos.py --kills 50 --seed 1 -- --cores 2 --configfile config/quick.yaml

A fresh copy of the checkout is run. At a random time after each start all processes (Snakemake, its jobs, and what they
started, in whatever session) are stopped and then killed with SIGKILL, so that none sees another one die. Then every
file that Snakemake takes for complete is compared with the reference run (`compare_results.py`), and the run goes on
with `snakemake --unlock` and the same command. A run that completes must equal the reference as a whole and
have nothing left to do; then the next copy begins. Status 1 at the first kill that does harm.
docs/reliability.md tells what was found. Linux only.
"""

from __future__ import annotations

import argparse
import base64
import ctypes
import fnmatch
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from compare_results import (
    RECORDS,
    Difference,
    compare_file,
    compare_results,
    describe,
    is_temporary,
    list_results,
)

ROOT = Path(__file__).resolve().parents[1]
NOTHING = "Nothing to be done"
# Made by a training that was killed, and read when it goes on: no result
CHECKPOINT = "*.ckpt"
# prctl(2): orphans become children of this process, also those of other sessions
PR_SET_CHILD_SUBREAPER = 36
TABLE = "kill\trun\tseconds\tmarked\ttemporary\tcompared\tverdict\trunning"


def copy_checkout(target: Path) -> Path:
    """Copy the files of the checkout that git tracks or would track, as a fresh clone holds them."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)
    return target


def processes() -> dict[int, tuple[int, str]]:
    """Return pid -> (pid of the parent, state) of all processes, from /proc."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                # the name, in parentheses, may hold anything
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:  # ended meanwhile
                continue
            found[int(entry.name)] = int(parent), state
    return found


def descendants() -> set[int]:
    """Return the living processes that descend from this one."""
    known = processes()
    found: set[int] = set()
    waiting = {os.getpid()}
    while waiting:
        waiting = {pid for pid, (parent, _) in known.items() if parent in waiting} - found
        found |= waiting
    return {pid for pid in found if known[pid][1] != "Z"}


def send(pids: set[int], number: signal.Signals) -> None:
    """Send a signal to processes, of which some may have ended."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def kill_everything() -> None:
    """Kill all descendants at once: they are stopped first, so that none can react to the death of another."""
    stopped: set[int] = set()
    while new := descendants() - stopped:
        send(new, signal.SIGSTOP)
        stopped |= new
    while alive := descendants():
        send(alive, signal.SIGKILL)
        time.sleep(0.01)
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def running_modules() -> list[str]:
    """Return the modules of the package that descendants run, each once."""
    found = set()
    for pid in descendants():
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        found |= set(re.findall(r"^\S*python\S*\0-m\0lhcml\.([\w.]+)", line))
    return sorted(found)


def marked_incomplete(folder: Path) -> set[str]:
    """Return the outputs that Snakemake marks as being made, below a working folder."""
    marks = folder / ".snakemake/incomplete"
    # a long name is split into folders that start with "@"
    encoded = ["".join(part.removeprefix("@") for part in path.relative_to(marks).parts) for path in marks.rglob("*")
               if path.is_file()]  # fmt: skip
    return {base64.urlsafe_b64decode(name).decode() for name in encoded}


@dataclass
class Copy:
    """A copy of the checkout in which the workflow runs; `compared` remembers which versions of files are right."""

    folder: Path
    arguments: Sequence[str]
    environment: Mapping[str, str]
    compared: dict[str, int] = field(default_factory=dict)

    @property
    def results(self) -> Path:
        """Folder of the results."""
        return self.folder / "results"

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        """Start Snakemake; its output is appended to a file beside the copy."""
        with self.folder.with_suffix(".log").open("ab") as log:
            return subprocess.Popen(
                ["snakemake", *more, *self.arguments], cwd=self.folder, env=dict(self.environment),
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def tail(self) -> str:
        """Return the last lines that Snakemake printed."""
        return "\n".join(self.folder.with_suffix(".log").read_text(errors="replace").splitlines()[-40:])


def make_copy(folder: Path, arguments: Sequence[str]) -> Copy:
    """Make a fresh copy, with temporary files of its own and the environments of the checkout."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_suffix(".log").unlink(missing_ok=True)
    copy_checkout(folder)
    (folder / "tmp").mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "CONDA"))}
    environment.setdefault("SNAKEMAKE_CONDA_PREFIX", str(ROOT / ".snakemake/conda"))
    return Copy(folder, arguments, environment | {"TMPDIR": str(folder / "tmp")})


def finish(copy: Copy, *more: str) -> None:
    """Run Snakemake to its end.

    Raises
    ------
    SystemExit
        If it fails, with the end of its output.
    """
    process = copy.start(*more)
    if process.wait():
        sys.exit(f"snakemake {' '.join([*more, *copy.arguments])} failed in {copy.folder}:\n{copy.tail()}")


def check_whole_files(copy: Copy, reference: Path, marked: set[str]) -> list[Difference]:
    """Compare every file that Snakemake takes for complete with the reference run.

    Parameters
    ----------
    copy : Copy
        Nothing runs in it.
    reference : Path
        Results of the undisturbed run.
    marked : set of str
        What Snakemake marks as being made, which is not compared: files, and folders with all in them.
    """
    differences = []
    for name in list_results(copy.results):
        path = copy.results / name
        inside = {parent.as_posix() for parent in path.relative_to(copy.folder).parents}
        if fnmatch.fnmatch(name, CHECKPOINT) or marked & {f"results/{name}", *inside}:
            continue
        stamp = path.stat().st_mtime_ns
        if copy.compared.get(name) == stamp:
            continue
        if not (reference / name).is_file():
            differences.append(Difference(name, "not in the reference run"))
        elif difference := compare_file(name, path, reference / name)[1]:
            differences.append(Difference(name, difference))
        else:
            copy.compared[name] = stamp
    return differences


def count_temporary(folder: Path) -> int:
    """Return the number of files that were being written when their jobs were killed; they keep a temporary name."""
    return sum(is_temporary(path) for path in folder.rglob(".*"))


def check_end(copy: Copy, reference: Path, part: bool) -> tuple[Counter[str], list[Difference]]:
    """Compare a completed run with the reference as a whole.

    Returns
    -------
    how : Counter
        Number of files that are the same, by the way in which they are.
    differences : list of Difference
        Results that differ or are missing, records that are missing, marks that were left, jobs left to do.
    """
    how, differences = compare_results(copy.results, reference)
    if part:
        differences = [one for one in differences if (copy.results / one.name).is_file()]
    else:
        records = ({path.relative_to(folder) for kind in RECORDS for path in (folder / kind).rglob("*")
                    if path.is_file()} for folder in (copy.results, reference))  # fmt: skip
        ours, theirs = records
        differences += [Difference(str(name), "in one run only") for name in sorted(ours ^ theirs)]
    differences += [Difference(name, "still marked as incomplete") for name in sorted(marked_incomplete(copy.folder))]
    finish(copy, "-n")
    if NOTHING not in copy.tail():
        differences.append(Difference("the run", f"is not complete:\n{copy.tail()}"))
    return how, differences


def report(differences: Sequence[Difference], where: Path) -> None:
    """Print differences and end with status 1 if there are any."""
    for difference in differences:
        print(f"differs: {difference.name}: {difference.what}")
    if differences:
        sys.exit(f"{len(differences)} differences; the run is kept in {where}")


def disturb(copy: Copy, reference: Path, delay: float, label: str) -> bool:
    """Start or resume a run, kill it after `delay` seconds and check what is there; False if it was complete before."""
    finish(copy, "--unlock")
    process = copy.start()
    try:
        status = process.wait(timeout=delay)
    except subprocess.TimeoutExpired:
        modules = running_modules()
        kill_everything()
        process.returncode = -signal.SIGKILL
    else:
        if status:
            sys.exit(f"failed without a kill in {copy.folder}:\n{copy.tail()}")
        return False
    marked = marked_incomplete(copy.folder)
    temporary = count_temporary(copy.results)
    differences = check_whole_files(copy, reference, marked)
    verdict = "differs" if differences else "same"
    running = ", ".join(modules) or "Snakemake alone"
    print(label, f"{delay:.1f}", len(marked), temporary, len(copy.compared), verdict, running, sep="\t", flush=True)
    report(differences, copy.folder)
    return True


def main() -> None:
    """Make or take the reference, then kill and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills (default: 1)")
    parser.add_argument("--between", type=float, nargs=2, default=(5.0, 60.0), metavar=("LEAST", "MOST"),
                        help="seconds after a start at which a kill falls (default: 5 60)")  # fmt: skip
    parser.add_argument("--reference", type=Path, help="results of an undisturbed run (default: it is made first)")
    parser.add_argument("--part", action="store_true", help="the reference holds more than this run makes")
    parser.add_argument("--folder", type=Path, default=ROOT / ".chaos", help="of the copies (default: .chaos)")
    parser.add_argument("arguments", nargs="+", help="of Snakemake, behind `--`")
    args = parser.parse_args()
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    # ended from outside, it must not leave jobs behind either
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    moments = random.Random(args.seed)
    try:
        if args.reference:
            reference = args.reference.resolve()
        else:
            undisturbed = make_copy(folder / "reference", args.arguments)
            print("reference run", flush=True)
            finish(undisturbed)
            reference = undisturbed.results
        print(TABLE, flush=True)
        kills = run = 0
        while kills < args.kills:
            run += 1
            copy = make_copy(folder / f"run{run}", args.arguments)
            # kills until the run is complete, or all are spent
            while kills < args.kills:
                label = f"{kills + 1}\t{run}"
                if not disturb(copy, reference, moments.uniform(*args.between), label):
                    break
                kills += 1
            else:
                finish(copy, "--unlock")
                finish(copy)
            how, differences = check_end(copy, reference, args.part)
            report(differences, copy.folder)
            left = count_temporary(copy.results)
            print(f"run {run} is complete and the same as the reference; {left} temporary files of killed jobs:")
            print(describe(how), flush=True)
            shutil.rmtree(copy.folder)
        print(f"{kills} of {args.kills} kills: every complete file and {run} completed runs equal the reference")
    finally:
        kill_everything()


if __name__ == "__main__":
    main()
