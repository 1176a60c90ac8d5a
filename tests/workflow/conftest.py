from __future__ import annotations

import time
from pathlib import Path

import pytest
from workflow_runs import Checkout

QUICK = ("--configfile", "config/quick.yaml")


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory, snakemake_bin: Path) -> Checkout:
    """Return a copy of the checkout without results, for dry runs."""
    return Checkout(tmp_path_factory.mktemp("checkout"), snakemake_bin)


@pytest.fixture(scope="session")
def quick_run(tmp_path_factory: pytest.TempPathFactory, snakemake_bin: Path) -> Checkout:
    """Return a copy in which the quick configuration was run to its end on two cores."""
    run = Checkout(tmp_path_factory.mktemp("quick"), snakemake_bin)
    run.run("--cores", "2", *QUICK, "--conda-create-envs-only")
    begin = time.monotonic()
    output = run.run("--cores", "2", *QUICK)
    print(f"\nquick run: {time.monotonic() - begin:.0f} s")
    assert "Summary" in output
    return run
