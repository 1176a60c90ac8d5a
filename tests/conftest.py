"""What tests of several stages share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# One thread a process: the suite runs beside others, and results must not depend on it
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("NUMBA_CACHE_DIR", str(ROOT / ".numba-cache"))
os.environ.setdefault("MPLBACKEND", "Agg")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest file, as two processes share the files."""
    items.sort(key=lambda item: item.path.name != "test_quick_run.py")


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def snakemake_bin() -> Path:
    """Return the folder of the `snakemake` that `make venv` installs, or else of the one on PATH."""
    beside = ROOT / ".venv/bin/snakemake"
    found = beside if beside.exists() else shutil.which("snakemake")
    if not found:
        pytest.fail("no snakemake: run `make venv` first")
    return Path(found).parent


@pytest.fixture(scope="session")
def python() -> str:
    """Return the interpreter of the test environment."""
    return sys.executable


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder that is a file system of its own, of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no permission to mount a small file system: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
