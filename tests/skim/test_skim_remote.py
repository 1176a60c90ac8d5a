"""Files read from a real XRootD server, and what happens when it does not answer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import pytest
import uproot

from lhcml.common.configuration import expand_files
from lhcml.common.errors import UserError
from lhcml.skim.remote import UnreachableError, first_line, read_error, try_again

JETS = {"jets": {"candidates": {"pt": {"min": 200}}}, "shifts": ["jesUp"]}
# the server refuses to run as root
NOBODY = 65534
QUICK = {"attempts": 2, "wait": 0.1, "timeout": 2}


class Server:
    """An XRootD server on a free port of this host that serves one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        self.files = folder / "files"
        self.files.mkdir()
        (folder / "admin").mkdir()
        (folder / "server.cfg").write_text(
            f"all.export /\noss.localroot {self.files}\nall.adminpath {folder}/admin\nall.pidpath {folder}/admin\n"
            f"xrd.port {self.port}\nxrd.network nodnr\n"
        )
        folder.chmod(0o755)
        if os.geteuid() == 0:
            os.chown(folder / "admin", NOBODY, NOBODY)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        user: Any = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        command = ["xrootd", "-c", str(self.folder / "server.cfg"), "-l", str(self.folder / "admin/log")]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, cwd=self.folder / "admin", **quiet, **user)
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError(f"xrootd does not answer: {(self.folder / 'admin/log').read_text()[-2000:]}")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def add(self, path: Path, name: str = "events.root", size: int | None = None) -> str:
        """Serve a copy of a file, or its first `size` bytes, and return its address."""
        (self.files / name).write_bytes(path.read_bytes()[:size])
        return f"root://{self.host}//{name}"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    pytest.importorskip("fsspec_xrootd", reason="no XRootD client for Python here")
    if shutil.which("xrootd") is None:
        pytest.skip("no XRootD server here (Debian: xrootd-server)")
    with tempfile.TemporaryDirectory(prefix="lhcml-xrootd-") as folder:
        running = Server(Path(folder))
        running.start()
        yield running
        running.stop()


@pytest.fixture
def up(server: Server) -> Server:
    """Return the server, running."""
    if server.process is None:
        server.start()
    return server


def test_an_address_is_read_like_a_file(commands, skim_settings, events_file: Path, up: Server) -> None:
    # small steps, so that it is read more than once
    config = skim_settings(JETS, step_size=100)
    local, written = commands.skim(events_file, config)
    address = up.add(events_file)
    done = commands.run(address, config)
    assert done.returncode == 0, done.stderr
    assert json.loads(commands.summary.read_text()) == local | {"source": address}
    with uproot.open(commands.output) as file:
        assert ak.array_equal(file["Events"].arrays(), written)
    assert len(written) > 0


def test_a_file_that_is_not_there_is_not_tried_again(commands, skim_settings, up: Server) -> None:
    message = commands.error(f"root://{up.host}//mc/none.root", skim_settings(JETS))
    assert f"there is no file /mc/none.root on {up.host}" in message
    assert f"xrdfs {up.host} ls /mc" in message


@pytest.mark.parametrize("size", [0, 5000, -2000], ids=["empty", "nearly nothing", "without its end"])
def test_a_damaged_file_is_not_tried_again(commands, skim_settings, events_file: Path, up: Server, size: int) -> None:
    address = up.add(events_file, "cut.root", size=size)
    message = commands.error(address, skim_settings(JETS))
    assert address in message
    assert "attempts" not in message


def test_a_host_that_is_down(commands, skim_settings, events_file: Path, up: Server) -> None:
    address = up.add(events_file)
    up.stop()
    config = skim_settings(JETS, remote=QUICK)
    message = commands.error(address, config)
    assert f"host {up.host}; 2 attempts" in message
    assert f"xrdfs {up.host} stat /events.root" in message
    done = commands.run(address, config | {"skim": config["skim"] | {"on_bad_file": "skip"}})
    assert done.returncode == 0, done.stderr
    assert "attempt 1 of 2" in done.stderr
    (skipped,) = json.loads(commands.summary.read_text())["skipped"]
    assert skipped["file"] == address
    assert up.host in skipped["cause"]


def test_a_host_that_comes_back(commands, skim_settings, events_file: Path, up: Server) -> None:
    address = up.add(events_file)
    up.stop()
    waiting = commands.start(address, skim_settings(JETS, remote={"attempts": 2, "wait": 3, "timeout": 5}))
    for line in waiting.stderr:
        if "attempt 1 of 2" in line:
            break
    up.start()
    _, rest = waiting.communicate()
    assert waiting.returncode == 0, rest
    assert json.loads(commands.summary.read_text())["events"] == 300


def test_a_host_that_hangs(commands, skim_settings, events_file: Path, up: Server) -> None:
    address = up.add(events_file)
    assert up.process is not None
    up.process.send_signal(signal.SIGSTOP)
    try:
        begin = time.monotonic()
        message = commands.error(address, skim_settings(JETS, remote=QUICK))
        # start of Python included; the client's own limit is half an hour
        assert time.monotonic() - begin < 60
    finally:
        up.process.send_signal(signal.SIGCONT)
    assert f"host {up.host}; 2 attempts" in message


ADDRESS = "root://host.org:1094//store/data/a.root"


@pytest.mark.parametrize(
    ("text", "again", "told"),
    [
        ("Failed to open file: [FATAL] Auth failed", False, "host.org:1094 refuses /store/data/a.root"),
        ("[ERROR] Server responded with an error: [3010] permission denied", False, "voms-proxy-init"),
        (
            "[ERROR] Server responded with an error: [3011] Unable to open",
            False,
            "no file /store/data/a.root on host.org",
        ),
        ("[ERROR] Operation expired", True, "[ERROR] Operation expired); host host.org:1094"),
    ],
)
def test_what_the_client_says(text: str, again: bool, told: str) -> None:
    error = read_error(ADDRESS, "cannot read branch Jet_pt of a.root", OSError(text), "fetch it again")
    assert isinstance(error, UnreachableError) == again
    assert told in str(error)


def test_damage_is_no_matter_of_the_network() -> None:
    for path, error in ((ADDRESS, ValueError("bad basket")), ("a.root", OSError("Input/output error"))):
        told = read_error(path, "cannot read it", error, "fetch it again")
        assert not isinstance(told, UnreachableError)
        assert told.fix == "fetch it again"


def test_first_line_is_what_was_said() -> None:
    text = "Failed to submit <bound method File.open of <File object at 0x7f>> request: [FATAL] Connection error\n"
    assert first_line(OSError(text)) == "[FATAL] Connection error"
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(ValueError()) == "no message"


def test_trying_again_stops_at_the_first_success() -> None:
    calls: list[int] = []

    def task() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise UnreachableError("host is down", "wait")
        return "read"

    assert try_again(task, {"attempts": 5, "wait": 0.0}) == "read"
    assert len(calls) == 3


def test_other_errors_are_not_tried_again() -> None:
    calls: list[int] = []

    def task() -> None:
        calls.append(1)
        raise UserError("no branch Jet_pt", "another file")

    with pytest.raises(UserError, match="no branch"):
        try_again(task, {"attempts": 5, "wait": 0.0})
    assert len(calls) == 1


def expanded(files: list[str]) -> list[str]:
    config = {"channels": {"c": {"datasets": {"d": {"files": files}}}}}
    expand_files(config)
    result: list[str] = config["channels"]["c"]["datasets"]["d"]["files"]
    return result


def test_lists_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.root", "b1.root", "b0.root"):
        (tmp_path / name).touch()
    (tmp_path / "list.txt").write_text("# run H\nroot://host//x.root\n\n  b*.root  \n")
    assert expanded(["a.root", "@list.txt"]) == ["a.root", "root://host//x.root", "b0.root", "b1.root"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["@none.txt"], "cannot read the list 'none.txt'"),
        (["@empty.txt"], "the list 'empty.txt' names no file"),
        (["@lost.txt"], r"files: lost\.txt: 'lost\.root' matches no file"),
        (["root://host//store/*.root"], "only its host knows"),
        (["https://host/a.root"], "is no root:// address"),
        (["a.root", "root://host//x.root", "*.root"], r"a\.root is there more than once"),
    ],
)
def test_lists_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.root").touch()
    (tmp_path / "empty.txt").write_text("# nothing\n")
    (tmp_path / "lost.txt").write_text("lost.root\n")
    with pytest.raises(UserError, match=message):
        expanded(files)
