"""Put the front end beside the Python of Snakemake's virtual environment."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from front_end import FrontEnd, find_snakemake

from pypi_conda.link import choose


@pytest.fixture(scope="session")
def front_end(tmp_path_factory: pytest.TempPathFactory) -> FrontEnd:
    """Return the front end, linked in a folder whose name has a space."""
    snakemake = find_snakemake()
    folder = tmp_path_factory.mktemp("a venv") / "bin"
    folder.mkdir()
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec "{snakemake.parent}/python" "$@"\n')
    python.chmod(0o755)
    choose(folder.parent, path="", pypi=True)
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "NO_PROXY": "127.0.0.1"}
    environment.pop("PYTHONPATH", None)
    return FrontEnd(folder / "conda", snakemake, environment)


@pytest.fixture
def write_env(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes an environment file from its packages."""

    def write(*packages: str, name: str = "env.yaml") -> Path:
        file = tmp_path / name
        lines = "".join(f"  - {package}\n" for package in packages)
        file.write_text(f"channels: [conda-forge]\ndependencies:\n{lines}")
        return file

    return write
