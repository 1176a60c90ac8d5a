"""The calls of `conda` that do something."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from lhcml.common.errors import UserError
from pypi_conda.build import ensure_environment

_SUPPORTED = (
    "this is the project's own front end, which builds environments from PyPI and knows only: "
    "conda --version; conda info --json; conda env create|update --file FILE --prefix FOLDER [--quiet]; "
    "conda clean. For anything else install a real conda"
)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors have a fix."""

    def error(self, message: str) -> NoReturn:
        """Raise a `UserError` instead of leaving with the bare usage."""
        raise UserError(f"{self.prog}: {message}", _SUPPORTED)


def run(arguments: Sequence[str]) -> int:
    """Carry out one call and return the exit status.

    Parameters
    ----------
    arguments : sequence of str
        Command line after `conda`.
    """
    try:
        options = _make_parser().parse_args(arguments)
        if options.command == "env":
            ensure_environment(options.file, options.prefix, options.quiet)
        else:
            print("nothing to clean: downloads are in uv's cache; 'uv cache clean' empties it")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        fix = "check the permissions and the free space there"
        print(f"error: {error}\n  fix: {fix}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the next call starts afresh", file=sys.stderr)
        return 130
    return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="conda", description=_SUPPORTED, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    env = commands.add_parser("env", help="make an environment", allow_abbrev=False)
    actions = env.add_subparsers(dest="action", required=True, metavar="action")
    for name in ("create", "update"):
        action = actions.add_parser(name, help="make the environment what its file says", allow_abbrev=False)
        action.add_argument("--file", "-f", type=Path, required=True, help="environment file")
        action.add_argument("--prefix", "-p", type=Path, required=True, help="folder of the environment")
        action.add_argument("--quiet", "-q", action="store_true", help="leave out uv's lines")
        for option in ("--no-default-packages", "--yes", "--prune"):
            action.add_argument(option, action="store_true", help="accepted; always the case here")
    clean = commands.add_parser("clean", help="does nothing: uv has a cache of its own", allow_abbrev=False)
    for option in ("--yes", "-y", "--tarballs", "--packages", "--all"):
        clean.add_argument(option, action="store_true", help="accepted")
    return parser
