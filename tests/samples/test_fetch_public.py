"""Public files are fetched from a server that breaks off, refuses or lies, and told apart from wrong ones."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lhcml.common.errors import UserError
from lhcml.samples import fetch_public
from lhcml.samples.public import find_file, read_records, split_member

ROOT = Path(__file__).parents[2]
CONTENT = bytes(range(256)) * 20_000  # 5 MB
MD5 = "md5:" + hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


class Zenodo(ThreadingHTTPServer):
    """A server with the addresses of Zenodo's interface, and the faults that a test sets.

    Attributes
    ----------
    breaks : list of int
        Bytes after which the next answers break off.
    refusals : list of int
        Status codes of the next answers.
    ranges : bool
        Whether it gives parts of files.
    content : bytes
        What the file holds.
    asked : list of str
        Range of each request for the file, "" for all of it.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.breaks: list[int] = []
        self.refusals: list[int] = []
        self.ranges = True
        self.content = CONTENT
        self.asked: list[str] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing of a client that leaves in the middle."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answer(BaseHTTPRequestHandler):
    server: Zenodo

    def log_message(self, *arguments: Any) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        if self.server.refusals:
            self.send_response(self.server.refusals.pop(0))
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path == "/api/records/77":
            files = [{"key": "train file.h5", "size": len(CONTENT), "checksum": MD5}]
            self.reply(200, json.dumps({"id": 77, "files": files}).encode(), {})
        elif self.path == "/api/records/77/files/train%20file.h5/content":
            self.give()
        else:
            self.send_error(404)

    def give(self) -> None:
        content, wanted = self.server.content, self.headers.get("Range", "")
        self.server.asked.append(wanted)
        found = re.fullmatch(r"bytes=(\d+)-", wanted)
        first = int(found[1]) if found and self.server.ranges else 0
        if first >= len(content):
            self.send_error(416)
        elif first:
            header = {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"}
            self.reply(206, content[first:], header)
        else:
            self.reply(200, content, {})

    def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        breaks = self.server.breaks
        self.wfile.write(body[: breaks.pop(0)] if breaks and len(body) > 10_000 else body)


@pytest.fixture
def zenodo() -> Iterator[Zenodo]:
    with Zenodo() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def run(folder: Path, address: str, known: dict[str, Any] | None = None) -> tuple[Path, dict[str, Any]]:
    """Fetch the file of record 77 and return where it is, with what the job tells of it."""
    command = ["--record", "77", "--name", "train file.h5", "--folder", str(folder / "public"), "--address", address]
    command += ["--known", json.dumps(known or {}), "--wait", "0.01", "--output", str(folder / "told.json")]
    fetch_public.main(command)
    return folder / "public/77/train file.h5", json.loads((folder / "told.json").read_text())


def test_a_file_is_fetched_once(tmp_path: Path, zenodo: Zenodo) -> None:
    target, told = run(tmp_path, zenodo.address)
    assert target.read_bytes() == CONTENT
    expected = {"record": 77, "file": "train file.h5", "size": len(CONTENT), "checksum": MD5}
    assert told == expected | {"checksum_from": "record"}
    assert run(tmp_path, zenodo.address)[1] == told
    assert zenodo.asked == [""]
    assert [path.name for path in target.parent.iterdir()] == ["train file.h5"]


def test_broken_connections_go_on_where_they_stopped(tmp_path: Path, zenodo: Zenodo) -> None:
    zenodo.breaks = [1_500_000, 10, 2_000_000]
    target, _ = run(tmp_path, zenodo.address, {"checksum": MD5})
    assert target.read_bytes() == CONTENT
    assert zenodo.asked == ["", "bytes=1500000-", "bytes=1500010-", "bytes=3500010-"]


def test_what_an_earlier_job_fetched_is_not_fetched_again(tmp_path: Path, zenodo: Zenodo) -> None:
    folder = tmp_path / "public/77"
    folder.mkdir(parents=True)
    for have, asked in ((1000, "bytes=1000-"), (len(CONTENT), f"bytes={len(CONTENT)}-")):
        (folder / "train file.h5.part").write_bytes(CONTENT[:have])
        target, _ = run(tmp_path, zenodo.address, {"checksum": MD5})
        assert target.read_bytes() == CONTENT
        assert zenodo.asked.pop() == asked
        target.unlink()


def test_a_server_without_parts_is_asked_for_all(tmp_path: Path, zenodo: Zenodo) -> None:
    zenodo.ranges, zenodo.breaks = False, [1_500_000]
    assert run(tmp_path, zenodo.address)[0].read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(tmp_path: Path, zenodo: Zenodo) -> None:
    zenodo.refusals = [429, 503, 500]
    assert run(tmp_path, zenodo.address)[0].read_bytes() == CONTENT


def test_a_damaged_beginning_is_fetched_anew(tmp_path: Path, zenodo: Zenodo, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "public/77"
    folder.mkdir(parents=True)
    (folder / "train file.h5.part").write_bytes(b"x" * 1000)
    with caplog.at_level(logging.WARNING, "lhcml"):
        assert run(tmp_path, zenodo.address)[0].read_bytes() == CONTENT
    assert "is damaged" in caplog.text
    assert zenodo.asked == ["bytes=1000-", ""]


def test_a_wrong_checksum_leaves_no_file(tmp_path: Path, zenodo: Zenodo) -> None:
    zenodo.content = CONTENT[:-1] + b"x"
    with pytest.raises(UserError, match="was fetched twice with the checksum md5:"):
        run(tmp_path, zenodo.address)
    assert list((tmp_path / "public/77").iterdir()) == []
    assert not (tmp_path / "told.json").exists()


def test_an_unknown_file_is_told_with_those_that_there_are(tmp_path: Path, zenodo: Zenodo) -> None:
    command = ["--record", "77", "--folder", str(tmp_path), "--address", zenodo.address, "--output", "no.json"]
    with pytest.raises(UserError, match=r"record 77 has no file tain.h5; it has: train file.h5"):
        fetch_public.main([*command, "--name", "tain.h5"])
    known = json.dumps({"checksum": MD5})
    with pytest.raises(UserError, match=r"cannot fetch .*: HTTP Error 404"):
        fetch_public.main([*command, "--name", "gone.h5", "--known", known])


def test_without_a_network_the_message_tells_what_to_do(tmp_path: Path) -> None:
    for known in ({}, {"checksum": MD5}):
        with pytest.raises(UserError) as error:
            run(tmp_path, "http://127.0.0.1:9", known)
        place = tmp_path / "public/77/train file.h5"
        assert f"fetch train file.h5 elsewhere from http://127.0.0.1:9/records/77, put it to {place}" in error.value.fix
        assert "Connection refused" in error.value.cause


def test_a_file_put_by_hand_is_checked(tmp_path: Path, zenodo: Zenodo, caplog: pytest.LogCaptureFixture) -> None:
    target = tmp_path / "public/77/train file.h5"
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT)
    sha = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
    assert run(tmp_path, "http://127.0.0.1:9", {"checksum": sha})[1]["checksum_from"] == "list"
    assert run(tmp_path, zenodo.address)[1]["checksum_from"] == "record"
    with caplog.at_level(logging.WARNING, "lhcml"):
        told = run(tmp_path, "http://127.0.0.1:9")[1]
    assert (told["checksum"], told["checksum_from"]) == (MD5, None)
    assert "is NOT checked" in caplog.text
    target.write_bytes(CONTENT + b"x")
    with pytest.raises(UserError, match="is not the file of record 77"):
        run(tmp_path, zenodo.address)
    # a user's file is never deleted
    assert target.exists()
    assert zenodo.asked == []


def test_two_jobs_do_not_fetch_one_file(tmp_path: Path, zenodo: Zenodo) -> None:
    part = tmp_path / "public/77/train file.h5.part"
    part.parent.mkdir(parents=True)
    with part.open("wb") as other:
        other.write(CONTENT[:1000])
        other.flush()
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="is being fetched by another job"):
            run(tmp_path, zenodo.address)
        assert part.stat().st_size == 1000
    assert run(tmp_path, zenodo.address)[0].read_bytes() == CONTENT


def test_a_full_disk_is_told_before_the_download(tmp_path: Path, zenodo: Zenodo, monkeypatch) -> None:
    usage = fetch_public.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(fetch_public.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"has no room for train file.h5.part"):
        run(tmp_path, zenodo.address)


def test_the_list_of_records() -> None:
    records = read_records(ROOT / "data/public.yaml")
    numbers = {2603256, 4536377, 5759087, 3548091, 5046389, 5055454, 5046446, 5061633, 5061688, 6619768}
    assert numbers <= set(records)
    lengths = {"md5": 32, "sha256": 64}
    for number, record in records.items():
        assert record["doi"] == f"10.5281/zenodo.{number}"
        assert {"title", "paper", "layout", "source", "files"} <= set(record)
        for name in record["files"]:
            known = find_file(records, number, name)
            kind, _, digest = known.get("checksum", "md5:" + "0" * 32).partition(":")
            assert re.fullmatch(f"[0-9a-f]{{{lengths[kind]}}}", digest), name
    assert find_file(records, 2603256, "test.h5")["size"] == 347849376
    assert find_file(records, 1, "test.h5") == {}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a/train.h5", ("a/train.h5", None)),
        ("a/x.tar", ("a/x.tar", None)),
        ("a/x.tar/val_5M/HToBB_120.root", ("a/x.tar", "val_5M/HToBB_120.root")),
    ],
)
def test_members_of_archives(name: str, parts: tuple[str, str | None]) -> None:
    assert split_member(name) == parts
