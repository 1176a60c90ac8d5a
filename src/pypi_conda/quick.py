"""The questions that Snakemake asks on every run, even a dry one; answered without slow imports."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence

VERSION = "24.7.1"
"""The conda version whose command line is followed: the least that Snakemake accepts."""

BASE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "base")  # noqa: PTH100, PTH118, PTH120
"""The folder whose `bin/activate` Snakemake sources."""

_SYSTEMS = {"Linux": "linux", "Darwin": "osx"}
_MACHINES = {"x86_64": "64", "amd64": "64", "i686": "32"}


def platform_name(system: str, machine: str) -> str:
    """Return conda's name of a platform, e.g. "linux-64".

    Parameters
    ----------
    system, machine : str
        As given by `os.uname()`.
    """
    return f"{_SYSTEMS.get(system, system.lower())}-{_MACHINES.get(machine, machine)}"


def quick_answer(arguments: Sequence[str]) -> str | None:
    """Return what to print for a question about conda itself, or None if it is none.

    Parameters
    ----------
    arguments : sequence of str
        Command line after `conda`.
    """
    match list(arguments):
        case ["--version"] | ["-V"]:
            return f"conda {VERSION}"
        case ["info", "--json"]:
            # Snakemake puts this path unquoted into `source <conda_prefix>/bin/activate`
            base = shlex.quote(BASE)
            platform = platform_name(os.uname().sysname, os.uname().machine)
            info = {"conda_prefix": base, "root_prefix": base, "conda_version": VERSION, "platform": platform}
            return json.dumps(info, indent=2)
        case ["config", "--get", "channel_priority", "--json"]:
            return json.dumps({"get": {"channel_priority": "strict"}})
        case _:
            return None
