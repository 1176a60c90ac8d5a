r"""Fetch a file of a public record on Zenodo, or check one that was put in its place by hand.

What was fetched before an interruption stays in `<file>.part` and is not fetched again. The checksum is that of the
list (data/public.yaml) or, where the list has none, of the record itself.

By hand:

    PYTHONPATH=src python -m lhcml.samples.fetch_public --record 2603256 --name test.h5 --folder data/public \
        --output test.h5.json
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import json
import logging
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhcml.common.cli import Progress, json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import write_json

BLOCK = 1 << 20
TIMEOUT = 60.0  # seconds without an answer
# a server that says "later" (429, 5xx) is asked again; other answers are final
LATER = (408, 429, 500, 502, 503, 504)
NOTHING_LEFT = 416
PARTIAL = 206
# in a row without a byte; waiting doubles each time
ATTEMPTS = 5
LONGEST_WAIT = 300.0
TROUBLE = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)


def open_address(address: str, first_byte: int = 0) -> Any:
    """Return the answer of a server, from a byte on if it can."""
    request = urllib.request.Request(address, headers={"User-Agent": "lhcml"})
    if first_byte:
        request.add_header("Range", f"bytes={first_byte}-")
    return urllib.request.urlopen(request, timeout=TIMEOUT)


def pause(error: Exception, failures: int, wait: float) -> float:
    """Return the seconds to wait after a failure: what the server asks for, or twice as long each time."""
    asked = error.headers.get("Retry-After", "") if isinstance(error, urllib.error.HTTPError) else ""
    return min(float(asked) if asked.isdigit() else wait * 2 ** (failures - 1), LONGEST_WAIT)


def by_hand(target: Path, record: int, address: str) -> str:
    """Return what to do where there is no network."""
    return (
        f"run again to go on where it stopped; or, without a network here, fetch {target.name} elsewhere from "
        f"{address}/records/{record}, put it to {target} and run again: it is then checked, not fetched"
    )


def read_record(record: int, address: str, wait: float) -> dict[str, dict[str, Any]]:
    """Return size and checksum of the files of a record, by name, as its server tells them.

    Raises
    ------
    urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError
        If the server does not answer, or refuses.
    """
    failures = 0
    while True:
        try:
            with open_address(f"{address}/api/records/{record}") as answer:
                files = json.loads(answer.read())["files"]
            return {file["key"]: {"size": file["size"], "checksum": file["checksum"]} for file in files}
        except TROUBLE as error:
            failures += 1
            final = isinstance(error, urllib.error.HTTPError) and error.code not in LATER
            if final or failures == ATTEMPTS:
                raise
            time.sleep(pause(error, failures, wait))


def describe_file(
    known: Mapping[str, Any], target: Path, record: int, address: str, wait: float
) -> tuple[dict[str, Any], str]:
    """Return size and checksum of a file, and where the checksum is from: "list" or "record".

    Parameters
    ----------
    known : mapping
        What the list knows: perhaps `size` and `checksum`.
    target, record, address, wait
        As in `fetch`.

    Raises
    ------
    urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError
        If the list has no checksum and the record cannot be asked.
    UserError
        If the record has no such file, or the answer is none of Zenodo's.
    """
    if "checksum" in known:
        return {"size": known.get("size"), "checksum": known["checksum"]}, "list"
    try:
        files = read_record(record, address, wait)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"the answer of {address} about record {record} is not one of Zenodo's ({type(error).__name__}: {error})",
            by_hand(target, record, address),
        ) from error
    if target.name not in files:
        raise UserError(
            f"record {record} has no file {target.name}; it has: {', '.join(files) or 'none'}",
            "correct `files` of the dataset",
        )
    return files[target.name], "record"


def checksum(path: Path, kind: str) -> str:
    """Return the checksum of a file as "md5:..." or of another kind that hashlib knows."""
    with path.open("rb") as file:
        return f"{kind}:{hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()}"


def receive(address: str, part: Path, size: int | None) -> None:
    """Append to `part` what a server still has of a file; begin anew if it cannot give the rest only.

    Raises
    ------
    urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError
        If the connection breaks; what arrived is kept.
    UserError
        If there is no room for the file, or another job is fetching it.
    """
    have = part.stat().st_size if part.exists() else 0
    if size is not None and have > size:
        # not a beginning of this file
        part.unlink()
        have = 0
    if have and have == size:
        return
    try:
        answer = open_address(address, have)
    except urllib.error.HTTPError as error:
        if error.code == NOTHING_LEFT and have:
            return
        raise
    with answer:
        if answer.status != PARTIAL or not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            have = 0
        length = answer.headers.get("Content-Length")
        expected = have + int(length) if length else size
        if expected is not None and shutil.disk_usage(part.parent).free < expected - have:
            raise UserError(
                f"{part.parent} has no room for {part.name}: {(expected - have) / 1e9:.2f} GB are missing",
                "make room, or set samples.public.folder to a folder on another disk",
            )
        progress = Progress(round((expected or have) / 1e6), "MB")
        progress.done = round(have / 1e6)
        with part.open("ab") as file:
            lock(file, part)
            file.truncate(have)
            while block := answer.read(BLOCK):
                append(file, block, part)
                have += len(block)
                progress.add(round(have / 1e6) - progress.done)
    if expected is not None and have < expected:
        raise ConnectionError(f"the connection ended at {have} of {expected} bytes")


def lock(file: Any, part: Path) -> None:
    """Make sure that no other job writes to a file: the folder may be shared."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(f"{part} is being fetched by another job", "wait for its end, then run again") from error
    except OSError as error:
        logging.getLogger("lhcml").warning("%s: %s; do not fetch it twice at the same time", part, error.strerror)


def append(file: Any, block: bytes, part: Path) -> None:
    """Write a block; an error of the disk is not one of the network."""
    try:
        file.write(block)
    except OSError as error:
        raise UserError(
            f"cannot write {part}: {error.strerror or error}", "make room or mend the disk, then run again: it goes on"
        ) from error


def download(address: str, part: Path, size: int | None, wait: float) -> None:
    """Fetch a file into `part`, again and again where the connection breaks, until no byte comes in several attempts.

    Raises
    ------
    urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError
        If the server refuses, or several attempts in a row brought nothing.
    """
    log = logging.getLogger("lhcml")
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            receive(address, part, size)
            return
        except TROUBLE as error:
            if isinstance(error, urllib.error.HTTPError) and error.code not in LATER:
                raise
            after = part.stat().st_size if part.exists() else 0
            failures = 1 if after > before else failures + 1
            if failures >= ATTEMPTS:
                raise
            seconds = pause(error, failures, wait)
            log.warning("%s; %d bytes are here, next attempt in %.0f s", error, after, seconds)
            time.sleep(seconds)


def fetch(target: Path, record: int, known: Mapping[str, Any], address: str, wait: float) -> dict[str, Any]:
    """Make sure that a file of a record is there and is the right one.

    Parameters
    ----------
    target : Path
        Where it belongs; its name is that in the record.
    record : int
        Number of the record on Zenodo.
    known : mapping
        What the list knows: perhaps `size`, `checksum`, `title`.
    address : str
        Of Zenodo, without a slash at the end.
    wait : float
        Seconds before a second attempt.

    Returns
    -------
    dict
        `record`, `file`, `size`, `checksum`, and `checksum_from`: "list", "record", or None for a file put there by
        hand that neither could tell the checksum of.

    Raises
    ------
    UserError
        If the file cannot be fetched, telling how to put it there by hand, or is another one.
    """
    log = logging.getLogger("lhcml")
    try:
        expected, source = describe_file(known, target, record, address, wait)
    except TROUBLE as error:
        if not target.is_file():
            raise UserError(
                f"cannot ask {address} for the checksum of {target.name} of record {record}: {error}",
                by_hand(target, record, address),
            ) from error
        log.warning("%s is NOT checked: the list has no checksum of it, and %s gives none: %s", target, address, error)
        return {"record": record, "file": target.name, "size": target.stat().st_size,
                "checksum": checksum(target, "md5"), "checksum_from": None}  # fmt: skip
    kind = expected["checksum"].partition(":")[0]
    if not target.is_file():
        part = target.with_name(f"{target.name}.part")
        download_checked(part, target, record, expected, address, wait)
        part.rename(target)
        log.info("%s: fetched, checksum as in the %s", target, source)
    else:
        found = checksum(target, kind)
        if found != expected["checksum"]:
            raise UserError(
                f"{target} is not the file of record {record}: its checksum is {found}, that of the {source} "
                f"{expected['checksum']}",
                f"delete it and run again to fetch it, or put the file of {address}/records/{record} there",
            )
        log.info("%s: was there, checksum as in the %s", target, source)
    return {"record": record, "file": target.name, "size": target.stat().st_size,
            "checksum": expected["checksum"], "checksum_from": source}  # fmt: skip


def download_checked(
    part: Path, target: Path, record: int, expected: Mapping[str, Any], address: str, wait: float
) -> None:
    """Fetch a file into `part` and check it; a wrong one is fetched once more from its first byte."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write to {part.parent}: {error.strerror}", "check its permissions, or set samples.public.folder"
        ) from error
    content = f"{address}/api/records/{record}/files/{urllib.parse.quote(target.name)}/content"
    kind = expected["checksum"].partition(":")[0]
    for last in (False, True):
        try:
            download(content, part, expected["size"], wait)
        except TROUBLE as error:
            raise UserError(f"cannot fetch {content}: {error}", by_hand(target, record, address)) from error
        found = checksum(part, kind)
        if found == expected["checksum"]:
            return
        part.unlink()
        if last:
            raise UserError(
                f"{content} was fetched twice with the checksum {found}; expected {expected['checksum']}",
                "compare with the record's page: if it was changed on purpose, correct data/public.yaml",
            )
        logging.getLogger("lhcml").warning("%s is damaged (%s): fetched anew", part.name, found)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--record", required=True, type=int, help="number of the record on Zenodo")
    parser.add_argument("--name", required=True, help="name of the file in the record")
    parser.add_argument("--known", default={}, type=json_argument, help="its `size` and `checksum` if known, JSON")
    parser.add_argument("--folder", required=True, type=Path, help="the file goes to <folder>/<record>/<name>")
    parser.add_argument("--address", default="https://zenodo.org", help="address of Zenodo")
    parser.add_argument("--wait", default=2.0, type=float, help="seconds before a second attempt")
    parser.add_argument("--output", required=True, type=Path, help="what was found, JSON")
    args = parser.parse_args(argv)
    log = start_log()
    target = args.folder / str(args.record) / args.name
    log.info("%s of record %d %s", args.name, args.record, args.known.get("title", "(not in data/public.yaml)"))
    write_json(args.output, fetch(target, args.record, args.known, args.address.rstrip("/"), args.wait))


if __name__ == "__main__":
    run_main(main)
