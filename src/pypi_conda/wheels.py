"""Choose between CPU and GPU builds; only torch and its kin have both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

BACKEND_VARIABLE = "PYPI_CONDA_TORCH"
"""Environment variable that overrules the choice: a uv torch backend, or "pypi" for PyPI's own build."""


def wheel_folders(environment: Mapping[str, str]) -> list[Path]:
    """Return the existing local folders of `PIP_FIND_LINKS`, which pip reads and uv does not."""
    entries = environment.get("PIP_FIND_LINKS", "").split()
    folders = [Path(entry.removeprefix("file://")) for entry in entries]
    return [folder for folder in folders if folder.is_dir()]


def cpu_constraints(requirements: Iterable[str], folders: Iterable[Path], python: Version) -> list[str]:
    """Pin each package that has a CPU build in a local folder, if all requirements admit it.

    Without the pin, the GPU build of several GB on PyPI can win over it.

    Parameters
    ----------
    requirements : iterable of str
        PyPI requirements; those that are not names with versions (options, URLs) are not looked at.
    folders : iterable of Path
        Folders of wheels.
    python : Version
        Version of the environment's Python.

    Returns
    -------
    list of str
        Constraints such as "torch==2.9.1+cpu", the newest admitted build of each package.
    """
    wanted = _specifiers(requirements)
    usable = _usable_tags(python)
    best: dict[str, Version] = {}
    for wheel in (path for folder in folders for path in sorted(folder.glob("*+cpu*.whl"))):
        try:
            name, version, _, tags = parse_wheel_filename(wheel.name)
        except InvalidWheelFilename:
            continue
        admitted = wanted.get(name, SpecifierSet()).contains(version, prereleases=True)
        if admitted and not usable.isdisjoint(tags) and (name not in best or version > best[name]):
            best[name] = version
    return [f"{name}=={version}" for name, version in sorted(best.items())]


def torch_arguments(gpu: bool, constraints: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Return uv's arguments that choose the build of torch.

    The choice is also made where torch is not listed, since another package may depend on it.

    Parameters
    ----------
    gpu : bool
        Whether the environment file asks for a GPU build.
    constraints : sequence of str
        Result of `cpu_constraints`.
    environment : mapping
        Environment variables; `PYPI_CONDA_TORCH` overrules the choice.
    """
    have_local = any(constraint.startswith("torch==") for constraint in constraints)
    default = "auto" if gpu else "pypi" if have_local else "cpu"
    backend = environment.get(BACKEND_VARIABLE) or default
    return [] if backend == "pypi" else ["--torch-backend", backend]


def _specifiers(requirements: Iterable[str]) -> dict[str, SpecifierSet]:
    """Collect the versions that requirements admit, by canonical name."""
    wanted: dict[str, SpecifierSet] = {}
    for text in requirements:
        try:
            requirement = Requirement(text.split(" #")[0])
        except InvalidRequirement:
            continue
        name = canonicalize_name(requirement.name)
        wanted[name] = wanted.get(name, SpecifierSet()) & requirement.specifier
    return wanted


def _usable_tags(python: Version) -> set[Tag]:
    """Return the wheel tags that a CPython of this version on this machine can install."""
    release = (python.major, python.minor)
    interpreter = f"cp{python.major}{python.minor}"
    return {*cpython_tags(release), *compatible_tags(release, interpreter)}
