from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lhcml.common.errors import UserError
from pypi_conda.envfile import NAMES_FILE, Names, Request, read_environment, read_names

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def names() -> Names:
    return read_names()


def test_the_table_of_names_is_consistent(names: Names) -> None:
    table = yaml.safe_load(NAMES_FILE.read_text())
    counts = Counter([*table["same"], *table["map"], *table["drop"]])
    assert [name for name, count in counts.items() if count > 1] == []
    assert all(name == name.lower() for name in counts)
    assert all(Requirement(name).name for name in names.pypi.values())
    assert all(canonicalize_name(a) != canonicalize_name(b) or "[" in b for a, b in table["map"].items())
    assert names.gpu <= set(names.pypi) | names.drop


@pytest.mark.parametrize(
    ("conda", "pypi"),
    [
        ("pytorch", "torch"),
        ("pytorch-cpu", "torch"),
        ("matplotlib-base", "matplotlib"),
        ("py-xgboost", "xgboost-cpu"),
        ("xgboost", "xgboost-cpu"),
        ("py-xgboost-cpu", "xgboost-cpu"),
        ("pythia8", "pythia8mc"),
        ("pytables", "tables"),
        ("uproot-base", "uproot"),
        ("snakemake-minimal", "snakemake"),
        ("scikit-learn", "scikit-learn"),
    ],
)
def test_names_that_matter_here(names: Names, conda: str, pypi: str) -> None:
    assert names.pypi[conda] == pypi


@pytest.mark.parametrize("file", sorted((REPO / "envs").glob("*.yaml")), ids=lambda file: file.name)
def test_the_project_files_can_be_built_from_pypi(names: Names, file: Path) -> None:
    assert read_environment(file, names).requirements


def test_every_kind_of_entry(names: Names, write_env: Callable[..., Path]) -> None:
    file = write_env("python >=3.11", "pytorch =2.5", "cpuonly", "pip", "pip: [toolz, 'vector==1.6']")
    assert read_environment(file, names) == Request(
        python=">=3.11",
        requirements=("torch==2.5.*", "pip"),
        pip=("toolz", "vector==1.6"),
        dropped=("cpuonly",),
        gpu=False,
    )


@pytest.mark.parametrize("package", ["pytorch-gpu", "cuda-version =12", "pytorch =2.5=cuda*", "py-xgboost-gpu"])
def test_gpu_builds_are_asked_for_in_the_file(names: Names, write_env: Callable[..., Path], package: str) -> None:
    assert read_environment(write_env("numpy", package), names).gpu


def test_an_unknown_name_is_told_with_the_file_the_table_and_a_near_match(
    names: Names, write_env: Callable[..., Path]
) -> None:
    file = write_env("numpy", "matplotlb >=3", "qqqqqq", "numpy =1|=2")
    with pytest.raises(UserError) as caught:
        read_environment(file, names)
    message = str(caught.value)
    assert str(file) in message
    assert str(NAMES_FILE) in message
    assert "'matplotlb' is not in names.yaml" in message
    assert "did you mean 'matplotlib'" in message
    assert "'qqqqqq' is not in names.yaml, the table of names\n" in message
    assert "'numpy =1|=2'" in message


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("- numpy\n", "no list 'dependencies'"),
        ("channels: [conda-forge]\n", "no list 'dependencies'"),
        ("dependencies: numpy\n", "no list 'dependencies'"),
        ("dependencies: [numpy\n", "not valid YAML"),
        ("dependencies: [numpy]\nvariables: {A: b}\n", "variables"),
        ("dependencies: [[numpy]]\n", "neither a package nor a 'pip:' list"),
    ],
)
def test_what_is_no_environment_file_is_refused(names: Names, tmp_path: Path, content: str, cause: str) -> None:
    file = tmp_path / "env.yaml"
    file.write_text(content)
    with pytest.raises(UserError, match=cause):
        read_environment(file, names)


def test_a_missing_file_is_told(names: Names, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*missing\.yaml"):
        read_environment(tmp_path / "missing.yaml", names)
