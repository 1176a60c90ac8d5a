"""The error that users are meant to read."""

from __future__ import annotations


class UserError(Exception):
    """A problem in the input or the configuration, told with its cause and its fix.

    The command-line frame prints it without a traceback and exits with status 1.

    Parameters
    ----------
    cause : str
        What is wrong, with the file, key or value concerned.
    fix : str
        What the user can do about it.
    """

    def __init__(self, cause: str, fix: str) -> None:
        super().__init__(f"{cause}\n  fix: {fix}")
        self.cause = cause
        self.fix = fix
