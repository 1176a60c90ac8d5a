from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import awkward as ak
import numpy as np
import pytest

from lhcml.common.errors import UserError
from lhcml.common.files import (
    finite_or_none,
    read_json,
    read_list,
    read_parquet,
    require_finite,
    write_atomic,
    write_json,
    write_parquet,
    write_text,
)

SRC = Path(__file__).parents[2] / "src"


def test_a_failed_write_leaves_neither_file_nor_temporary(tmp_path: Path) -> None:
    def fail() -> None:
        with write_atomic(tmp_path / "x.json") as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "x.txt", "old")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.txt", {"a": float("nan")})
    assert (tmp_path / "x.txt").read_text() == "old"


def test_a_kill_in_mid_write_leaves_no_file_under_the_final_name(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom lhcml.common.files import write_atomic\n"
        f"with write_atomic({str(tmp_path / 'out.bin')!r}) as t:\n"
        "    t.write_bytes(b'x' * 1000)\n    print('writing', flush=True)\n    time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == b"writing\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not (tmp_path / "out.bin").exists()


def test_unwritable_folder_names_cause_and_fix(tmp_path: Path) -> None:
    # a file where a folder should be fails for root as well, unlike a missing permission
    (tmp_path / "folder").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*folder/x.json[\s\S]*fix: "):
        write_json(tmp_path / "folder/x.json", {})


def test_parquet_round_trip_of_flat_and_jagged_columns(tmp_path: Path) -> None:
    columns = {"a": np.array([1.0, 2.0, 3.0]), "b": ak.Array([[1, 2], [], [3]]), "s": ak.Array(["x", "y", "x"])}
    write_parquet(tmp_path / "t.parquet", columns)
    back = read_parquet([tmp_path / "t.parquet", tmp_path / "t.parquet"])
    assert back.a.tolist() == [1.0, 2.0, 3.0] * 2
    assert back.b.tolist() == [[1, 2], [], [3]] * 2
    assert back.s.tolist() == ["x", "y", "x"] * 2
    assert ak.fields(read_parquet(tmp_path / "t.parquet", ["b"])) == ["b"]


def test_parquet_of_no_rows(tmp_path: Path) -> None:
    write_parquet(tmp_path / "t.parquet", {"a": np.zeros(0), "b": ak.Array([[1.0]])[:0]})
    assert len(read_parquet(tmp_path / "t.parquet", ["a", "b"])) == 0


def test_parquet_errors_name_file_and_column(tmp_path: Path) -> None:
    write_parquet(tmp_path / "t.parquet", {"a": np.zeros(3)})
    with pytest.raises(UserError, match=r"t\.parquet has no column zz"):
        read_parquet(tmp_path / "t.parquet", ["a", "zz"])
    data = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "short.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"cannot read .*short\.parquet as Parquet"):
        read_parquet(tmp_path / "short.parquet")
    with pytest.raises(ValueError, match="different lengths"):
        write_parquet(tmp_path / "t.parquet", {"a": np.zeros(3), "b": np.zeros(2)})


def test_json_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*none\.json"):
        read_json(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(UserError, match=r"bad\.json is not valid JSON"):
        read_json(tmp_path / "bad.json")


def test_require_finite_counts_bad_values() -> None:
    require_finite("x", np.array([1.0, 2.0]), "t")
    require_finite("x", ak.Array([[1.0], []]), "t")
    with pytest.raises(UserError, match="2 of 4 values of column x in file t are NaN or infinite"):
        require_finite("column x", ak.Array([[1.0, np.nan], [], [np.inf, 0.0]]), "file t")


def test_small_readers(tmp_path: Path) -> None:
    write_text(tmp_path / "list.txt", "a b.root\n\nc.root\n")
    assert read_list(tmp_path / "list.txt") == ["a b.root", "c.root"]
    assert finite_or_none(float("inf")) is None
    assert finite_or_none(1.5) == 1.5


def test_two_writers_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom lhcml.common.files import write_text\n"
        f"for i in range(200): write_text({str(tmp_path / 'x.txt')!r}, sys.argv[1] * 10000)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    writers = [subprocess.Popen([sys.executable, "-c", code, letter], env=environment) for letter in "ab"]
    deadline = time.monotonic() + 60
    while any(writer.poll() is None for writer in writers) and time.monotonic() < deadline:
        if (tmp_path / "x.txt").exists():
            assert (tmp_path / "x.txt").read_text() in ("a" * 10000, "b" * 10000)
    assert [writer.wait() for writer in writers] == [0, 0]
