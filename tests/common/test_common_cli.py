from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lhcml.common.cli import Progress, git_hash, json_argument, make_parser, package_version

SRC = Path(__file__).parents[2] / "src"


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)


def test_user_errors_end_with_status_1_and_no_traceback() -> None:
    result = run_python(
        "from lhcml.common.cli import run_main\nfrom lhcml.common.errors import UserError\n"
        "def main(argv): raise UserError('the cause', 'the fix')\nrun_main(main)\n"
    )
    assert result.returncode == 1
    assert result.stderr == "error: the cause\n  fix: the fix\n"


def test_a_library_that_aborts_at_exit_spoils_no_job() -> None:
    result = run_python(
        "import atexit, os, sys\nfrom lhcml.common.cli import run_main\natexit.register(os.abort)\n"
        "def main(argv): print('done'); print('told', file=sys.stderr)\nrun_main(main)\n"
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "told\n")


def test_log_starts_with_what_repeats_the_job() -> None:
    result = run_python("from lhcml.common.cli import start_log\nstart_log('numpy', 'nonesuch', seed=7)\n")
    # the command may itself span lines: `python -c` is one
    command, versions, where = re.split(r"\d\d:\d\d:\d\d (?:versions|git): ", result.stderr)
    assert "command: PYTHONPATH=" in command
    assert re.search(r"numpy 2\.\d.*nonesuch not installed", versions)
    assert "seed: 7; host: " in where


def test_json_argument_and_abbreviations(capsys: pytest.CaptureFixture[str]) -> None:
    parser = make_parser("doc")
    parser.add_argument("--config", type=json_argument)
    assert parser.parse_args(["--config", '{"a": [1]}']).config == {"a": [1]}
    for wrong in (["--config", "{a: 1}"], ["--conf", "{}"]):
        with pytest.raises(SystemExit):
            parser.parse_args(wrong)
    assert "not valid JSON" in capsys.readouterr().err


def test_versions() -> None:
    assert package_version("numpy").startswith("2.")
    # PyPI has it as xgboost-cpu
    import xgboost

    assert package_version("xgboost") == xgboost.__version__
    assert git_hash() == "unknown" or len(git_hash()) >= 12


def test_progress_reports_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "lhcml")
    progress = Progress(10, "events", every=3600)
    progress.add(4)
    assert not caplog.messages
    progress.add(6)
    assert caplog.messages[0].startswith("10/10 events (100 %)")
