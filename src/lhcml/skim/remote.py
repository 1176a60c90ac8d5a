"""Files read over the network by XRootD: time limits, what an error means, and trying again."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, TypeVar
from urllib.parse import urlsplit

from lhcml.common.errors import UserError
from lhcml.common.files import is_remote

Result = TypeVar("Result")
FETCH_AGAIN = "fetch it again, or set `skim.on_bad_file: skip` to go on without it"
SHORT_FILE = "expected Chunk of length"
# What XRootD says when trying again cannot help
NO_FILE = ("[3011]", "no such file")
NO_PERMISSION = ("[3010]", "Auth failed", "Authentication failed", "Permission denied", "permission denied")


class UnreachableError(UserError):
    """A remote file could not be read just now; trying again may help."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text; of one by XRootD, from what the server or the client said."""
    text = str(error).strip()
    said = re.search(r"\[(?:FATAL|ERROR)\].*", text)
    return said.group() if said else text.splitlines()[0] if text else "no message"


def read_error(path: str, failure: str, error: Exception, fix: str) -> UserError:
    """Return the error to raise where reading a file failed.

    Parameters
    ----------
    path : str
        File or address.
    failure : str
        What failed, e.g. "cannot read branch Jet_pt of a.root".
    error : Exception
        What the libraries raised.
    fix : str
        What to do if the file itself is the cause.

    Returns
    -------
    UserError
        An `UnreachableError` if a network may be the cause.
    """
    cause = f"{failure} ({type(error).__name__}: {first_line(error)})"
    # damaged bytes make uproot and the codecs raise other types, a file that ends too early this OSError of uproot's
    of_network = isinstance(error, OSError) and not str(error).strip().startswith(SHORT_FILE)
    if not (is_remote(path) and of_network):
        return UserError(cause, fix)
    address = urlsplit(path)
    inside = PurePosixPath(address.path.replace("//", "/", 1))
    if any(sign in str(error) for sign in NO_FILE):
        return UserError(
            f"there is no file {inside} on {address.netloc} ({path})",
            f"check the dataset's `files`; `xrdfs {address.netloc} ls {inside.parent}` lists its folder",
        )
    if any(sign in str(error) for sign in NO_PERMISSION):
        return UserError(
            f"{address.netloc} refuses {inside} ({first_line(error)})",
            "get a proxy or a ticket (`voms-proxy-init`, `kinit`) that the job can see, also on a cluster",
        )
    return UnreachableError(
        f"{cause}; host {address.netloc}",
        f"see whether the host answers: `xrdfs {address.netloc} stat {inside}`; then run again, or fetch the file with "
        "`xrdcp` and give its path, or set `on_bad_file: skip` to go on without it",
    )


def limit_waiting(timeout: int) -> None:
    """Have XRootD's client give up after `timeout` seconds without an answer; its own limit is half an hour.

    Variables that the user has set stay. To be called before the client is imported, which reads them once.
    """
    for name in ("XRD_REQUESTTIMEOUT", "XRD_STREAMTIMEOUT", "XRD_CONNECTIONWINDOW"):
        os.environ.setdefault(name, str(timeout))
    # how often the client looks at its clocks; and no memory of a host that failed, or a second attempt would be none
    for name, value in {"XRD_TIMEOUTRESOLUTION": "1", "XRD_CONNECTIONRETRY": "1", "XRD_STREAMERRORWINDOW": "0"}.items():
        os.environ.setdefault(name, value)


def try_again(task: Callable[[], Result], settings: Mapping[str, Any]) -> Result:
    """Run a task that reads a remote file, again if the file could not be reached.

    Parameters
    ----------
    task : callable
        Leaves nothing behind when it fails.
    settings : mapping
        "attempts", and "wait", the seconds before the second of them; the wait doubles each time.

    Raises
    ------
    UserError
        That of the last attempt, or the first that trying again cannot help.
    """
    log = logging.getLogger("lhcml")
    attempts, wait = settings["attempts"], settings["wait"]
    for attempt in range(1, attempts):
        try:
            return task()
        except UnreachableError as error:
            log.warning("attempt %d of %d: %s; waiting %g s", attempt, attempts, error.cause, wait)
            time.sleep(wait)
            wait *= 2
    try:
        return task()
    except UnreachableError as error:
        raise UserError(f"{error.cause}; {attempts} attempts", error.fix) from error
