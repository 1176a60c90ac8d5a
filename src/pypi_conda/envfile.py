"""Read a conda environment file and find its packages on PyPI with the table of names."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement

from lhcml.common.errors import UserError
from pypi_conda.spec import MatchSpec, SpecError, parse_spec

NAMES_FILE = Path(__file__).resolve().parent / "names.yaml"
_KNOWN_KEYS = {"name", "channels", "dependencies", "prefix"}


@dataclass(frozen=True)
class Names:
    """The table of names.

    Attributes
    ----------
    pypi : mapping
        Name on conda-forge -> requirement on PyPI without a version.
    drop : frozenset of str
        Packages that PyPI's wheels already contain.
    gpu : frozenset of str
        Packages that ask for a GPU build.
    """

    pypi: Mapping[str, str]
    drop: frozenset[str]
    gpu: frozenset[str]

    def close_to(self, name: str) -> list[str]:
        """Return known names spelled much like `name`, the nearest first."""
        return difflib.get_close_matches(name, [*self.pypi, *self.drop], n=3, cutoff=0.7)


@dataclass(frozen=True)
class Request:
    """What an environment file asks for.

    Attributes
    ----------
    python : str
        PEP 440 specifier of Python; empty if any version will do.
    requirements : tuple of str
        PyPI requirements of the conda packages.
    pip : tuple of str
        Lines of the `pip:` section, as they are.
    dropped : tuple of str
        Packages left out because PyPI's wheels contain them.
    gpu : bool
        Whether a GPU build is asked for.
    """

    python: str = ""
    requirements: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    gpu: bool = False


def read_names(path: Path = NAMES_FILE) -> Names:
    """Read the table of names."""
    table = yaml.safe_load(path.read_text(encoding="utf-8"))
    pypi = {name: name for name in table["same"]} | table["map"]
    return Names(pypi, frozenset(table["drop"]), frozenset(table["gpu"]))


def read_environment(path: Path, names: Names) -> Request:
    """Read an environment file and translate its packages.

    Parameters
    ----------
    path : Path
        Environment file.
    names : Names
        Table of names.

    Raises
    ------
    UserError
        If the file is no environment file or cannot be had from PyPI; all bad entries are told at once.
    """
    specs: list[MatchSpec] = []
    pip: list[str] = []
    problems: list[str] = []
    for entry in _load_dependencies(path):
        if isinstance(entry, dict) and set(entry) == {"pip"}:
            pip += [str(line) for line in entry["pip"] or []]
        elif isinstance(entry, str):
            try:
                spec = parse_spec(entry)
            except SpecError as error:
                problems.append(f"'{entry}': {error}")
                continue
            specs.append(spec)
            problems += _unknown_name(spec.name, names)
        else:
            problems.append(f"'{entry}' is neither a package nor a 'pip:' list")
    if problems:
        raise UserError(
            f"{path} cannot be built from PyPI:\n    " + "\n    ".join(problems),
            f"correct the file; a package that is missing in {NAMES_FILE} goes there, under 'same' if PyPI "
            "has it by conda-forge's name, under 'map' if by another",
        )
    return _translate(specs, pip, names)


def to_requirement(spec: MatchSpec, names: Names) -> str:
    """Return the PyPI requirement of a known conda package."""
    return str(Requirement(names.pypi[spec.name] + spec.version))


def _load_dependencies(path: Path) -> list[Any]:
    """Return the `dependencies` of an environment file after checking its shape."""
    shape = "write it as 'channels: [conda-forge]' and 'dependencies:' with a list of packages"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "check its path") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {error}", shape) from error
    if not isinstance(content, dict) or not isinstance(content.get("dependencies"), list):
        raise UserError(f"{path} is no environment file: it has no list 'dependencies'", shape)
    unknown = sorted(set(content) - _KNOWN_KEYS)
    if unknown:
        raise UserError(
            f"{path} has keys that cannot be honoured without a real conda: {', '.join(map(str, unknown))}",
            "remove them, or install conda",
        )
    dependencies: list[Any] = content["dependencies"]
    return dependencies


def _unknown_name(name: str, names: Names) -> list[str]:
    """Return the complaint about a name that is not in the table, if it is not."""
    if name == "python" or name in names.pypi or name in names.drop:
        return []
    close = names.close_to(name)
    hint = f"; did you mean {' or '.join(repr(near) for near in close)}?" if close else ""
    return [f"'{name}' is not in {NAMES_FILE.name}, the table of names{hint}"]


def _translate(specs: list[MatchSpec], pip: list[str], names: Names) -> Request:
    """Sort known packages into what becomes of them."""
    wanted = [spec for spec in specs if spec.name in names.pypi]
    return Request(
        python=",".join(spec.version for spec in specs if spec.name == "python" and spec.version),
        requirements=tuple(to_requirement(spec, names) for spec in wanted),
        pip=tuple(pip),
        dropped=tuple(spec.name for spec in specs if spec.name in names.drop),
        gpu=any(spec.name in names.gpu or "cuda" in spec.build for spec in specs),
    )
