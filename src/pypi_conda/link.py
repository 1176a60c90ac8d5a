"""Choose the `conda` of a virtual environment: a real one on PATH, else the project's own front end.

Usage: PYTHONPATH=src python -m pypi_conda.link VENV [--pypi]
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from packaging.version import Version

from lhcml.common.errors import UserError
from pypi_conda.quick import VERSION

LAUNCHER = Path(__file__).resolve().parent / "conda"


def find_real_conda(path: str) -> Path | None:
    """Return the first `conda` of a search path that is not the project's own front end."""
    candidates = (Path(entry, "conda") for entry in path.split(os.pathsep) if entry)
    return next((file for file in candidates if os.access(file, os.X_OK) and not is_ours(file)), None)


def is_ours(file: Path) -> bool:
    """Tell whether a file is the launcher of a front end like this one, of this checkout or another."""
    return file.resolve().match("pypi_conda/conda")


def conda_version(program: Path) -> Version | None:
    """Return the version of a conda, or None if it does not run."""
    try:
        output = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\d+\.\d+\.\d+", output)
    return Version(match[0]) if match else None


def choose(venv: Path, path: str, pypi: bool = False) -> str:
    """Link or unlink the front end in a virtual environment.

    Parameters
    ----------
    venv : Path
        The virtual environment; its `bin/conda` is the link.
    path : str
        Search path for a real conda.
    pypi : bool
        Take the front end even if there is a real conda, e.g. where conda-forge cannot be reached.

    Returns
    -------
    str
        What was chosen and why.

    Raises
    ------
    UserError
        If there is no such virtual environment or its `bin/conda` is something else.
    """
    link = venv.absolute() / "bin" / "conda"
    if not link.parent.is_dir():
        raise UserError(f"{venv} is no virtual environment", "make it first, with 'make venv'")
    if pypi:
        _link(link)
        return f"conda: own front end (PyPI), linked as {link}, as asked"
    real = find_real_conda(path)
    version = conda_version(real) if real else None
    if real and version and version >= Version(VERSION):
        if link.is_symlink() and is_ours(link):
            link.unlink()
        return f"conda: {real}, version {version}"
    reason = f"{real} is version {version or 'unknown'}, {VERSION} is needed" if real else "no conda on PATH"
    _link(link)
    return f"conda: own front end (PyPI), linked as {link} ({reason})"


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line and return the exit status."""
    parser = argparse.ArgumentParser(description="Choose the conda of a virtual environment.")
    parser.add_argument("venv", type=Path, help="the virtual environment")
    parser.add_argument("--pypi", action="store_true", help="never a real conda")
    options = parser.parse_args(argv)
    try:
        print(choose(options.venv, os.environ.get("PATH", os.defpath), options.pypi))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _link(link: Path) -> None:
    """Make `link` point at the launcher."""
    if link.is_symlink():
        link.unlink()
    elif link.exists():
        raise UserError(f"{link} is a conda that is too old or does not run", "update or remove it")
    link.symlink_to(os.path.relpath(LAUNCHER, link.parent.resolve()))


if __name__ == "__main__":
    sys.exit(main())
