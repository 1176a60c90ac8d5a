"""The command line, run as Snakemake runs it."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from front_end import FrontEnd

from pypi_conda.quick import BASE, platform_name


def test_the_questions_of_snakemake(front_end: FrontEnd) -> None:
    assert front_end.run("--version").stdout == "conda 24.7.1\n"
    info = json.loads(front_end.run("info", "--json").stdout)
    assert info["conda_prefix"].strip("'") == BASE
    priority = front_end.run("config", "--get", "channel_priority", "--json").stdout
    assert json.loads(priority) == {"get": {"channel_priority": "strict"}}


def test_platform_names() -> None:
    assert platform_name("Linux", "x86_64") == "linux-64"
    assert platform_name("Linux", "aarch64") == "linux-aarch64"
    assert platform_name("Darwin", "arm64") == "osx-arm64"


@pytest.mark.parametrize(
    "arguments",
    [[], ["list"], ["create", "--file", "pin.txt"], ["env"], ["env", "create"], ["env", "create", "--prefix", "p"]],
)
def test_unsupported_calls_fail_with_a_fix(front_end: FrontEnd, arguments: list[str]) -> None:
    result = front_end.run(*arguments)
    assert result.returncode == 1
    assert result.stderr.startswith("error: conda")
    assert "fix: this is the project's own front end" in result.stderr


def test_clean_does_nothing(front_end: FrontEnd) -> None:
    assert front_end.run("clean", "-y", "--tarballs").returncode == 0


def test_the_launcher_needs_a_python_beside_it(tmp_path: Path, front_end: FrontEnd) -> None:
    (tmp_path / "conda").symlink_to(front_end.program.resolve())
    result = subprocess.run([tmp_path / "conda", "--version"], capture_output=True, text=True)
    assert result.returncode == 1
    assert "make venv" in result.stderr


def test_it_works_from_a_checkout_whose_path_has_spaces(
    tmp_path: Path, front_end: FrontEnd, write_env: Callable[..., Path]
) -> None:
    source = tmp_path / "my checkout" / "src"
    for package in ("pypi_conda", "lhcml/common"):
        shutil.copytree(Path(BASE).parents[1] / package, source / package)
    program = tmp_path / "bin" / "conda"
    program.parent.mkdir()
    program.symlink_to(source / "pypi_conda" / "conda")
    shutil.copy(front_end.program.parent / "python", program.parent)
    output = subprocess.run([program, "info", "--json"], capture_output=True, text=True, check=True).stdout
    prefix = tmp_path / "an environment"
    subprocess.run([program, "env", "create", "-q", "-f", write_env("six"), "-p", prefix], check=True)
    activate = f"source {json.loads(output)['conda_prefix']}/bin/activate '{prefix}'; python -c 'import six'"
    subprocess.run(["bash", "-euo", "pipefail", "-c", activate], check=True)


def test_activation_enters_the_environment(tmp_path: Path, front_end: FrontEnd, write_env: Callable[..., Path]) -> None:
    prefix = tmp_path / "env"
    assert front_end.create(write_env("six"), prefix).returncode == 0
    script = f"source '{BASE}/bin/activate' '{prefix}'; command -v python; echo $CONDA_PREFIX"
    result = subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.split() == [f"{prefix}/bin/python", str(prefix)]


def test_activation_of_a_missing_environment_stops_the_job(tmp_path: Path) -> None:
    script = f"source '{BASE}/bin/activate' '{tmp_path}/none'; echo went on"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert result.returncode == 1
    assert "went on" not in result.stdout
    assert f"no environment at '{tmp_path}/none'" in result.stderr
