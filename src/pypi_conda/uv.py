"""Run uv, and say in plain words what its failures mean."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lhcml.common.errors import UserError
from pypi_conda.wheels import BACKEND_VARIABLE

# Would make uv or the Pythons it asks look at another environment than ours
_HIDDEN = ("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH")

_FIXES = (
    (
        r"no usable wheels|building from source is disabled|no wheels with a matching|only has wheels for",
        "nothing is compiled here and there is no ready-made wheel of that version for this Python and "
        "machine: choose a version that has one, or install conda",
    ),
    (
        r"(Failed to fetch|error sending request)[^\n]*/whl/",
        "the index of torch builds cannot be reached: put a wheel of torch into a folder and name the folder "
        f"in PIP_FIND_LINKS, or set {BACKEND_VARIABLE}=pypi to take PyPI's own build (on Linux a GPU build "
        "of several GB)",
    ),
    (
        r"invalid peer certificate",
        "this network has a certificate authority of its own: set UV_SYSTEM_CERTS=1 to trust the system's, or "
        "name its file in SSL_CERT_FILE",
    ),
    (
        r"Failed to fetch|error sending request|dns error|timed out|tcp connect|Failed to download",
        "the package index cannot be reached: check the network, the proxy (HTTPS_PROXY) or the mirror "
        "(UV_DEFAULT_INDEX), then run the same command again",
    ),
    (
        r"No space left on device|Disk quota exceeded",
        "free some space, or put environments (--conda-prefix) and uv's cache (UV_CACHE_DIR) elsewhere",
    ),
    (
        r"was not found in the package registry",
        "PyPI has no package of that name: correct it in the environment file or the table of names",
    ),
    (
        r"No solution found",
        "no set of versions meets all requirements, for the reason in uv's lines above: change the versions "
        "in the environment file",
    ),
)


@dataclass(frozen=True)
class Uv:
    """How uv is run for one environment.

    Attributes
    ----------
    program : str
        Path of uv.
    file : Path
        Environment file; uv works in its folder.
    lock : int
        File descriptor of the build's lock. uv inherits it, so that a uv that outlives a killed
        build keeps others from building in the same folder.
    echo : bool
        Whether uv's lines are shown while it works.
    """

    program: str
    file: Path
    lock: int
    echo: bool

    def run(self, *arguments: str) -> str:
        """Run uv and return its output.

        Raises
        ------
        UserError
            If uv fails; the fix depends on what it wrote.
        """
        process = subprocess.Popen(
            [self.program, *arguments],
            cwd=self.file.parent,
            env=uv_environment(os.environ),
            pass_fds=[self.lock],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        lines: list[str] = []
        with process:
            for line in process.stdout or ():
                lines.append(line)
                if self.echo:
                    print(f"    {line}", end="", file=sys.stderr)
        output = "".join(lines).strip()
        if process.returncode:
            shown = "" if self.echo else f":\n{output}"
            command = " ".join(arguments[: 2 if arguments[0] == "pip" else 1])
            raise UserError(f"'uv {command}' failed for {self.file}{shown}", explain(output))
        return output


def find_uv() -> str:
    """Return the path of uv: that of this Python's environment, else the one on PATH."""
    beside = str(Path(sys.executable).parent)
    program = shutil.which("uv", path=os.pathsep.join([beside, os.environ.get("PATH", os.defpath)]))
    if program is None:
        raise UserError(f"uv is neither in {beside} nor on PATH", "run 'make venv', which installs it")
    return program


def uv_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables for uv.

    uv finds the Pythons of pyenv, too, but not pyenv's shims, which fail for versions that are not
    selected; it downloads none.
    """
    kept = {name: value for name, value in environment.items() if name not in _HIDDEN}
    root = Path(environment.get("PYENV_ROOT") or Path.home() / ".pyenv")
    shims = str(root / "shims")
    given = environment.get("PATH", os.defpath).split(os.pathsep)
    path = [entry for entry in given if entry.rstrip("/") != shims]
    path += [str(folder) for folder in sorted(root.glob("versions/3*/bin"))]
    changes = {"PATH": os.pathsep.join(path), "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}
    return kept | changes


def explain(output: str) -> str:
    """Return what to do about a failure of uv.

    Parameters
    ----------
    output : str
        What uv wrote.
    """
    fixes = (fix for pattern, fix in _FIXES if re.search(pattern, output))
    return next(fixes, "see the reason in uv's lines above")
