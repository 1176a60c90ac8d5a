from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from slurm_cluster import Cluster, has_own_slurm, missing_programs, slurm_cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Return a Slurm cluster of two nodes with a processor each, without accounting."""
    if missing := missing_programs():
        pytest.skip(f"not installed: {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("only root can start a Slurm cluster")
    if has_own_slurm():
        pytest.skip("this machine has a Slurm, which is left alone")
    with slurm_cluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running
