import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lhcml.common.errors import UserError
from pypi_conda.link import LAUNCHER, choose

REPO = Path(__file__).resolve().parents[2]
FakeConda = Callable[[str], str]


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    return tmp_path / "venv"


@pytest.fixture
def fake_conda(tmp_path: Path) -> FakeConda:
    """Return a function that makes a `conda` with a body and returns its folder."""

    def make(body: str) -> str:
        folder = tmp_path / "elsewhere"
        folder.mkdir()
        (folder / "conda").write_text(f"#!/bin/sh\n{body}\n")
        (folder / "conda").chmod(0o755)
        return str(folder)

    return make


def test_without_conda_the_front_end_is_linked_again_and_again(venv: Path) -> None:
    for _ in range(2):
        message = choose(venv, path=f"{venv}/bin")
        assert "own front end (PyPI)" in message
        assert "no conda on PATH" in message
        assert (venv / "bin" / "conda").resolve() == LAUNCHER


def test_a_real_conda_wins_and_our_link_goes(venv: Path, fake_conda: FakeConda) -> None:
    choose(venv, path="")
    folder = fake_conda("echo conda 25.1.0")
    for _ in range(2):
        assert choose(venv, path=f"{venv}/bin:{folder}") == f"conda: {folder}/conda, version 25.1.0"
        assert not (venv / "bin" / "conda").is_symlink()


@pytest.mark.parametrize(
    ("body", "version"), [("echo conda 23.11.0", "23.11.0"), ("exit 3", "unknown"), ("echo 24.7", "unknown")]
)
def test_an_old_or_broken_conda_is_passed_over(venv: Path, fake_conda: FakeConda, body: str, version: str) -> None:
    message = choose(venv, path=fake_conda(body))
    assert f"is version {version}, 24.7.1 is needed" in message
    assert (venv / "bin" / "conda").resolve() == LAUNCHER


def test_the_front_end_can_be_demanded(venv: Path, fake_conda: FakeConda) -> None:
    assert "as asked" in choose(venv, path=fake_conda("echo conda 25.1.0"), pypi=True)
    assert (venv / "bin" / "conda").resolve() == LAUNCHER


def test_a_foreign_file_is_not_replaced(venv: Path) -> None:
    (venv / "bin" / "conda").write_text("mine")
    with pytest.raises(UserError, match="too old or does not run"):
        choose(venv, path="")


def test_a_missing_venv_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pypi_conda.link", str(tmp_path / "missing")]
    environment = {"PYTHONPATH": str(REPO / "src"), "PATH": ""}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 1
    assert "missing is no virtual environment" in result.stderr
