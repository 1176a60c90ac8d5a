"""Build an environment beside its place and move it there when it is whole."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import hashlib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from lhcml.common.errors import UserError
from pypi_conda.envfile import NAMES_FILE, Request, read_environment, read_names
from pypi_conda.uv import Uv, find_uv
from pypi_conda.wheels import BACKEND_VARIABLE, cpu_constraints, torch_arguments, wheel_folders

RECORD = Path("pypi-conda", "record.json")
"""Where an environment keeps what it was made from."""


def ensure_environment(file: Path, prefix: Path, quiet: bool = False) -> None:
    """Make `prefix` the environment that `file` describes.

    Nothing is done if it was made from the same file content and table of names.

    Parameters
    ----------
    file : Path
        Environment file.
    prefix : Path
        Folder of the environment.
    quiet : bool
        Leave out uv's own lines.

    Raises
    ------
    UserError
        If the environment cannot be built. `prefix` is then as it was before.
    """
    file, prefix = file.absolute(), prefix.absolute()
    request = read_environment(file, read_names())
    digest = environment_digest(file)
    if is_current(prefix, digest):
        return _say(f"{prefix} is up to date with {file}")
    _refuse_foreign(prefix)
    with _locked(prefix) as lock:
        if is_current(prefix, digest):
            return _say(f"{prefix} was built meanwhile")
        # Snakemake's mark of a finished environment must not outlive the environment it was set for
        prefix.with_suffix(".env_setup_done").unlink(missing_ok=True)
        _build(request, prefix, digest, Uv(find_uv(), file, lock, echo=not quiet))


def environment_digest(file: Path) -> str:
    """Return a digest of all that decides what is in an environment: its file and the table of names."""
    parts = [file.read_bytes(), NAMES_FILE.read_bytes()]
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def is_current(prefix: Path, digest: str) -> bool:
    """Tell whether `prefix` holds a working environment with this digest."""
    try:
        record = json.loads((prefix / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    # the link to Python dangles once that Python was removed
    return bool(record.get("digest") == digest) and os.access(prefix / "bin" / "python", os.X_OK)


def choose_python(specifier: str) -> str:
    """Return what to ask uv for: this Python if `specifier` admits it, else any that it admits."""
    here = platform.python_version()
    return sys.executable if SpecifierSet(specifier).contains(here, prereleases=True) else specifier


def _build(request: Request, prefix: Path, digest: str, uv: Uv) -> None:
    """Build beside `prefix` and swap; the caller holds the lock."""
    side, old = _beside(prefix, ".building"), _beside(prefix, ".old")
    _remove(side, old)
    start = time.monotonic()
    asked = len(request.requirements) + len(request.pip)
    _say(f"building {uv.file} in {prefix}: {asked} packages asked for")
    for name in request.dropped:
        _say(f"{name} left out: PyPI's wheels contain it or it is the system's")
    try:
        python = _make_venv(request, side, uv)
        packages = _install(request, side, python, uv)
        record = {
            "digest": digest,
            "file": str(uv.file),
            "python": str(python),
            "built": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "packages": packages,
        }
        (side / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        if prefix.exists():
            prefix.rename(old)
        side.rename(prefix)
    finally:
        _remove(side, old)
    _say(f"built {prefix}: Python {python}, {len(packages)} packages, {time.monotonic() - start:.1f} s")


def _make_venv(request: Request, side: Path, uv: Uv) -> Version:
    """Make the empty environment and return the version of its Python."""
    wanted = choose_python(request.python)
    try:
        uv.run("venv", "--quiet", "--relocatable", "--python", wanted, str(side))
    except UserError as error:
        version = f"Python '{request.python}'" if request.python else "any Python"
        raise UserError(
            f"{uv.file} asks for {version}, which cannot be used: {error.cause}",
            "install such a Python (for instance with 'uv python install'), or change the file",
        ) from error
    lines = (side / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
    values = dict(line.split(" = ", 1) for line in lines if " = " in line)
    return Version(values["version_info"])


def _install(request: Request, side: Path, python: Version, uv: Uv) -> list[str]:
    """Install the packages and return what is there."""
    lines = [*request.requirements, *request.pip]
    folders = wheel_folders(os.environ)
    chosen = bool(os.environ.get(BACKEND_VARIABLE)) or request.gpu
    constraints = [] if chosen else cpu_constraints(lines, folders, python)
    notes = side / RECORD.parent
    notes.mkdir()
    required, constrained = notes / "requirements.txt", notes / "constraints.txt"
    for path, content in ((required, lines), (constrained, constraints)):
        path.write_text("".join(f"{line}\n" for line in content), encoding="utf-8")
    target = ["--python", str(side / "bin" / "python")]
    if lines:
        uv.run(
            *["pip", "install", "--no-build", *target],
            *[argument for folder in folders for argument in ("--find-links", str(folder))],
            *torch_arguments(request.gpu, constraints, os.environ),
            *(["--constraint", str(constrained)] if constraints else []),
            *["--requirement", str(required)],
        )
    return replace(uv, echo=False).run("pip", "freeze", "--quiet", *target).splitlines()


@contextlib.contextmanager
def _locked(prefix: Path) -> Iterator[int]:
    """Hold the lock of an environment; only one build at a time gets it."""
    path = _beside(prefix, ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _take_lock(path)
    try:
        yield lock
    finally:
        path.unlink(missing_ok=True)
        os.close(lock)


def _take_lock(path: Path) -> int:
    """Wait for the lock file and return its descriptor."""
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"waiting for another build that holds {path}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        # whoever held it removed it when done: then our lock is on a file that nobody else will open
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(lock)):
                return lock
        os.close(lock)


def _refuse_foreign(prefix: Path) -> None:
    """Raise an error if `prefix` is anything but an environment made here, an empty folder or nothing."""
    if not prefix.exists() or (prefix / RECORD).exists():
        return
    if not prefix.is_dir() or any(prefix.iterdir()):
        raise UserError(
            f"{prefix} exists and was not made by this front end, so it is not replaced",
            "remove it or choose another --prefix",
        )


def _beside(prefix: Path, suffix: str) -> Path:
    """Return the path beside `prefix` for a build's own use."""
    return prefix.with_name(prefix.name + suffix)


def _remove(*folders: Path) -> None:
    """Remove folders, if they are there."""
    for folder in folders:
        if folder.exists():
            shutil.rmtree(folder)


def _say(message: str) -> None:
    """Write a line of progress."""
    print(f"conda (PyPI): {message}", file=sys.stderr, flush=True)
