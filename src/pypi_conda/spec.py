"""Conda match specs (`numpy >=1.26,<2`) translated to PEP 440 (`numpy>=1.26,<2`)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from packaging.specifiers import InvalidSpecifier, SpecifierSet

_SPEC = re.compile(
    r"""
    (?:[^\s\[\]=<>!~]+::)?                   # channel, e.g. conda-forge:: or conda-forge/linux-64::
    (?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*)
    \s*
    (?:\[(?P<keys>[^\[\]]*)\]|(?P<rest>[^\[\]]*))
    """,
    re.VERBOSE,
)
_KEY = re.compile(r"""\s*(\w+)\s*=\s*(?:'([^']*)'|"([^"]*)"|([^,'"]*))\s*(?:,|$)""")
_VERSION_AND_BUILD = re.compile(r"={0,2}(?P<version>[^=<>!~,|]+)=(?P<build>[^=<>!~,|]+)")
_CLAUSE = re.compile(r"(?P<operator>==|!=|>=|<=|~=|>|<|=|)(?P<version>[^\s=<>!~*]+?)(?P<star>\.?\*)?")
_ANY = {"", "*", "=*", "==*"}


class SpecError(ValueError):
    """A match spec that cannot be read or has no PEP 440 equivalent."""


@dataclass(frozen=True)
class MatchSpec:
    """One conda requirement.

    Attributes
    ----------
    name : str
        Name on conda-forge, lower case.
    version : str
        PEP 440 specifier; empty if any version will do.
    build : str
        Pattern of conda's build string, e.g. "cuda*"; PyPI has no such thing.
    """

    name: str
    version: str = ""
    build: str = ""


def parse_spec(text: str) -> MatchSpec:
    """Read a conda match spec.

    Parameters
    ----------
    text : str
        E.g. "numpy", "numpy =1.26", "conda-forge::numpy>=1.26,<2" or "numpy[version='>=1.26']".

    Raises
    ------
    SpecError
        If the text is no match spec or its version has no PEP 440 equivalent.
    """
    body = text.split("#")[0].strip()
    match = _SPEC.fullmatch(body)
    if match is None:
        raise SpecError("it is not written like 'name', 'name =1.2' or 'name >=1.2,<2'")
    if match["keys"] is None:
        version, build = _split_build(match["rest"])
    else:
        version, build = _read_keys(match["keys"])
    return MatchSpec(match["name"].lower(), to_pep440(version), build)


def to_pep440(version: str) -> str:
    """Translate a conda version constraint to a PEP 440 specifier.

    Parameters
    ----------
    version : str
        E.g. "=1.26" (fuzzy: 1.26 and its patch releases), "1.26.4" (exactly that), ">=1.26,<2".

    Returns
    -------
    str
        The specifier; empty if any version will do.

    Raises
    ------
    SpecError
        If there is no equivalent.
    """
    if "|" in version:
        raise SpecError(f"'|' (or) in '{version}' has no PEP 440 equivalent; write a range or two files")
    clauses = [_translate_clause(re.sub(r"\s+", "", clause)) for clause in version.split(",")]
    specifier = ",".join(clause for clause in clauses if clause)
    try:
        SpecifierSet(specifier)
    except InvalidSpecifier as error:
        raise SpecError(f"the version '{version.strip()}' has no PEP 440 equivalent") from error
    return specifier


def _split_build(rest: str) -> tuple[str, str]:
    """Split what follows the name into version and build string."""
    joined = re.sub(r"\s*([,|])\s*", r"\1", rest.strip())
    joined = re.sub(r"([=<>!~])\s+", r"\1", joined)
    parts = joined.split()
    if len(parts) > 2:
        raise SpecError(f"'{rest.strip()}' has more parts than a version and a build")
    if len(parts) == 2:
        return parts[0], parts[1].removeprefix("=")
    both = _VERSION_AND_BUILD.fullmatch(joined)
    # with a build string conda takes the version as exact: `numpy=1.26.4=py311_0`
    return (both["version"], both["build"]) if both else (joined, "")


def _read_keys(keys: str) -> tuple[str, str]:
    """Read version and build from the bracketed form, e.g. `version='>=1.2',build=cuda*`."""
    found: dict[str, str] = {}
    position = 0
    while position < len(keys):
        match = _KEY.match(keys, position)
        if match is None:
            raise SpecError(f"'[{keys}]' is not a list of key=value")
        found[match[1]] = next(value for value in match.groups()[1:] if value is not None).strip()
        position = match.end()
    unknown = sorted(set(found) - {"version", "build", "channel", "subdir"})
    if unknown:
        raise SpecError(f"the keys {unknown} are not supported, only version, build, channel and subdir")
    return found.get("version", ""), found.get("build", "")


def _translate_clause(clause: str) -> str:
    """Translate one constraint without commas or spaces."""
    if clause in _ANY:
        return ""
    match = _CLAUSE.fullmatch(clause)
    if match is None:
        raise SpecError(f"the version '{clause}' is not understood")
    operator, version, star = match["operator"], match["version"], match["star"]
    if operator == "<":
        # conda's `<3.0a0` shuts out pre-releases of 3.0; PEP 440 does so for `<3.0` and, told
        # `<3.0a0`, would let in pre-releases of older versions
        version = re.sub(r"(?<=\d)a0$", "", version)
    if operator in {">=", ">", "<=", "<", "~="}:
        return operator + version
    fuzzy = ".*" if star or operator == "=" else ""
    return ("!=" if operator == "!=" else "==") + version + fuzzy
