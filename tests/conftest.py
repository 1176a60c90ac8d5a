"""What tests of several stages share."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# One thread a process: the suite runs beside others, and results must not depend on it
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("NUMBA_CACHE_DIR", str(ROOT / ".numba-cache"))
os.environ.setdefault("MPLBACKEND", "Agg")


# before the hook of pytest-xdist, which reads the groups
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file, and all that look at the quick run, in one worker; begin with that run, the longest."""

    def needs_run(item: pytest.Item) -> bool:
        return "quick_run" in getattr(item, "fixturenames", ())

    for item in items:
        item.add_marker(pytest.mark.xdist_group("quick run" if needs_run(item) else item.path.name))
    items.sort(key=lambda item: not needs_run(item))


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
