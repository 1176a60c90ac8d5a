"""Real, small environments built with uv."""

import fcntl
import json
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from front_end import FrontEnd

WriteEnv = Callable[..., Path]

PRINT_VERSION = "import sys; print(list(sys.version_info[:2]))"


def version_in(prefix: Path, package: str) -> str:
    """Return the version of a package, asked from the environment's own Python."""
    code = f"from importlib.metadata import version; print(version('{package}'))"
    command = [prefix / "bin" / "python", "-I", "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_two_files_with_conflicting_versions_and_a_pip_section(
    front_end: FrontEnd, tmp_path: Path, write_env: WriteEnv
) -> None:
    prefixes = {version: tmp_path / "envs" / f"env {version}" for version in ("0.8", "0.9")}
    for version, prefix in prefixes.items():
        file = write_env(f"tabulate ={version}", "cpuonly", "pip: [six]", name=f"{version}.yaml")
        result = front_end.create(file, prefix)
        assert result.returncode == 0, result.stderr
        assert f"building {file}" in result.stderr
        assert "cpuonly left out" in result.stderr
        assert "2 packages" in result.stderr
    for version, prefix in prefixes.items():
        assert version_in(prefix, "tabulate").startswith(version)
        assert version_in(prefix, "six")
        # the scripts, too, belong to the place the environment was moved to
        subprocess.run([prefix / "bin" / "tabulate", "--help"], check=True, capture_output=True)
    assert names_in(tmp_path / "envs") == ["env 0.8", "env 0.9"]


def test_an_unchanged_file_is_a_no_op_and_a_changed_one_a_rebuild(
    front_end: FrontEnd, tmp_path: Path, write_env: WriteEnv
) -> None:
    prefix = tmp_path / "env"
    record = prefix / "pypi-conda" / "record.json"
    assert front_end.create(write_env("six =1.16"), prefix).returncode == 0
    before = record.stat()
    again = front_end.run("env", "update", "--prune", "--file", write_env("six =1.16"), "--prefix", prefix)
    assert again.returncode == 0
    assert "is up to date" in again.stderr
    after = record.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert front_end.create(write_env("six =1.17"), prefix).returncode == 0
    assert version_in(prefix, "six") == "1.17.0"
    assert "six==1.17.0" in json.loads(record.read_text())["packages"]
    assert names_in(tmp_path) == ["env", "env.yaml"]


def test_an_environment_whose_python_is_gone_is_rebuilt(
    front_end: FrontEnd, tmp_path: Path, write_env: WriteEnv
) -> None:
    prefix, file = tmp_path / "env", write_env("six")
    assert front_end.create(file, prefix).returncode == 0
    (prefix / "bin" / "python").unlink()
    (prefix / "bin" / "python").symlink_to("/nowhere/python")
    assert front_end.create(file, prefix).returncode == 0
    assert version_in(prefix, "six")


@pytest.mark.parametrize(
    ("package", "reason", "fix"),
    [
        ("numpy =0.0.1", "numpy==0.0.1", "change the versions"),
        ("pythia8 ==8.318.0", "no usable wheels", "nothing is compiled here"),
        ("python >=9", "asks for Python '>=9'", "install such a Python"),
        ("matplotlb", "'matplotlb' is not in names.yaml", "correct the file"),
    ],
)
def test_a_build_that_cannot_be_leaves_the_old_environment(
    front_end: FrontEnd, tmp_path: Path, write_env: WriteEnv, package: str, reason: str, fix: str
) -> None:
    prefix = tmp_path / "env"
    assert front_end.create(write_env("six =1.16"), prefix).returncode == 0
    result = front_end.create(write_env(package), prefix)
    assert result.returncode == 1
    assert reason in result.stderr
    assert str(tmp_path / "env.yaml") in result.stderr
    assert fix in result.stderr.split("fix: ")[1]
    assert version_in(prefix, "six") == "1.16.0"
    assert names_in(tmp_path) == ["env", "env.yaml"]


def test_a_stale_mark_of_snakemake_is_removed(front_end: FrontEnd, tmp_path: Path, write_env: WriteEnv) -> None:
    mark = tmp_path / "env.env_setup_done"
    mark.touch()
    assert front_end.create(write_env("six"), tmp_path / "env").returncode == 0
    assert not mark.exists()


def test_a_folder_of_someone_else_is_not_replaced(front_end: FrontEnd, tmp_path: Path, write_env: WriteEnv) -> None:
    prefix = tmp_path / "precious"
    prefix.mkdir()
    (prefix / "thesis.tex").touch()
    result = front_end.create(write_env("six"), prefix)
    assert result.returncode == 1
    assert "was not made by this front end" in result.stderr
    assert names_in(prefix) == ["thesis.tex"]


def test_another_installed_python_is_used_if_the_file_asks_for_it(
    front_end: FrontEnd, tmp_path: Path, write_env: WriteEnv
) -> None:
    own = json.loads(subprocess.check_output([front_end.program.parent / "python", "-c", PRINT_VERSION]))
    others = [f"3.{minor}" for minor in (12, 13, 11) if minor != own[1]]
    pythons = Path.home() / ".pyenv" / "versions"
    found = [v for v in others if shutil.which(f"python{v}") or any(pythons.glob(f"{v}.*"))]
    if not found:
        pytest.skip("only one Python is installed")
    prefix = tmp_path / "env"
    result = front_end.create(write_env(f"python ={found[0]}", "six"), prefix)
    assert result.returncode == 0, result.stderr
    made = json.loads(subprocess.check_output([prefix / "bin" / "python", "-c", PRINT_VERSION]))
    assert ".".join(map(str, made)) == found[0]


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    """Read a process's stderr up to a line with a text."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    pytest.fail(f"the process ended without saying '{text}'")


def test_of_two_builds_at_once_one_builds_and_one_waits(
    front_end: FrontEnd, tmp_path: Path, write_env: WriteEnv
) -> None:
    prefix, file = tmp_path / "env", write_env("six")
    with (tmp_path / "env.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        builds = [front_end.start("env", "create", "--file", file, "--prefix", prefix) for _ in range(2)]
        for build in builds:
            wait_for_line(build, "waiting for another build")
    said = "".join(build.communicate(timeout=60)[1] for build in builds)
    assert [build.returncode for build in builds] == [0, 0]
    assert said.count(f"built {prefix}: Python") == 1
    assert said.count("was built meanwhile") == 1
    assert names_in(tmp_path) == ["env", "env.yaml"]


def test_a_killed_build_is_made_anew_once_its_uv_has_ended(
    front_end: FrontEnd, tmp_path: Path, write_env: WriteEnv
) -> None:
    prefix, file = tmp_path / "env", write_env("six")
    call: list[str | Path] = ["env", "create", "--file", file, "--prefix", prefix]
    with socket.create_server(("127.0.0.1", 0)) as index:  # a package index that never answers
        index.settimeout(30)
        address = f"http://127.0.0.1:{index.getsockname()[1]}/simple"
        killed = front_end.start(*call, UV_DEFAULT_INDEX=address, UV_HTTP_RETRIES="0", UV_HTTP_TIMEOUT="60")
        connection, _ = index.accept()
        killed.kill()
        killed.wait()
        assert not prefix.exists()
        assert (tmp_path / "env.building" / "bin").is_dir()
        second = front_end.start(*call)
        wait_for_line(second, "waiting for another build")  # the killed build's uv is still at work
        connection.close()
    errors = second.communicate(timeout=60)[1]
    assert killed.stderr is not None
    killed.stderr.close()
    assert second.returncode == 0, errors
    assert version_in(prefix, "six")
    assert names_in(tmp_path) == ["env", "env.yaml"]
