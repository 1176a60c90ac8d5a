from pathlib import Path

import pytest
from packaging.tags import platform_tags
from packaging.version import Version

from pypi_conda.wheels import cpu_constraints, torch_arguments, wheel_folders

PLATFORM = next(iter(platform_tags()))
PYTHON = Version("3.11.7")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for version in ("2.9.1+cpu", "2.10.0+cpu", "2.11.0+cu130"):
        (tmp_path / f"torch-{version}-cp311-cp311-{PLATFORM}.whl").touch()
    (tmp_path / f"torch-2.12.0+cpu-cp313-cp313-{PLATFORM}.whl").touch()
    (tmp_path / "torch-2.13.0+cpu-cp311-cp311-unheard_of.whl").touch()
    (tmp_path / "not-a-wheel+cpu.whl").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("requirements", "expected"),
    [
        (["torch"], ["torch==2.10.0+cpu"]),
        (["torch==2.9.*"], ["torch==2.9.1+cpu"]),
        (["torch>=2.9,<2.10", "numpy"], ["torch==2.9.1+cpu"]),
        (["torch<3", "Torch!=2.10.0"], ["torch==2.9.1+cpu"]),
        (["torch==2.11.*"], []),
        (["zuko"], ["torch==2.10.0+cpu"]),
        (["--pre", "numpy @ https://example.org/numpy.whl", "torch==2.9.1  # a note"], ["torch==2.9.1+cpu"]),
    ],
)
def test_the_newest_admitted_cpu_build_is_pinned(folder: Path, requirements: list[str], expected: list[str]) -> None:
    assert cpu_constraints(requirements, [folder], PYTHON) == expected


def test_another_python_takes_its_own_wheel(folder: Path) -> None:
    assert cpu_constraints(["torch"], [folder], Version("3.13.0")) == ["torch==2.12.0+cpu"]
    assert cpu_constraints(["torch"], [folder], Version("3.12.0")) == []


@pytest.mark.parametrize(
    ("gpu", "constraints", "variable", "expected"),
    [
        (False, [], "", ["--torch-backend", "cpu"]),
        (False, ["torch==2.10.0+cpu"], "", []),
        (True, [], "", ["--torch-backend", "auto"]),
        (False, [], "cu126", ["--torch-backend", "cu126"]),
        (True, [], "pypi", []),
        (False, [], "pypi", []),
    ],
)
def test_the_build_of_torch(gpu: bool, constraints: list[str], variable: str, expected: list[str]) -> None:
    assert torch_arguments(gpu, constraints, {"PYPI_CONDA_TORCH": variable}) == expected


def test_only_local_folders_that_exist_are_searched(tmp_path: Path) -> None:
    links = f"{tmp_path} file://{tmp_path} {tmp_path}/missing https://example.org/wheels"
    assert wheel_folders({"PIP_FIND_LINKS": links}) == [tmp_path, tmp_path]
    assert wheel_folders({}) == []
