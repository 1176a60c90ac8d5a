"""The front end under Snakemake itself."""

import subprocess
from pathlib import Path

import pytest
from front_end import FrontEnd

SNAKEFILE = """
rule all:
    input:
        "left.txt",
        "right.txt",


rule left:
    output:
        "left.txt",
    conda:
        "left.yaml"
    shell:
        "python -c 'import tabulate as t; print(t.__version__)' > {output}"


rule right:
    output:
        "right.txt",
    conda:
        "right.yaml"
    shell:
        "python -c 'import tabulate as t; print(t.__version__)' > {output}"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "a workflow"
    folder.mkdir()
    (folder / "Snakefile").write_text(SNAKEFILE)
    write_file(folder / "left.yaml", "0.8.9")
    write_file(folder / "right.yaml", "0.8.10")
    return folder


def write_file(file: Path, version: str) -> None:
    file.write_text(f"channels: [conda-forge]\ndependencies: [python >=3.11, tabulate =={version}]\n")


def snakemake(front_end: FrontEnd, folder: Path, *arguments: str) -> str:
    command = [front_end.snakemake, "--cores", "1", "--sdm", "conda", *arguments]
    result = subprocess.run(
        command, cwd=folder, env=front_end.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def test_each_rule_has_its_own_environment_and_reruns_when_it_changes(front_end: FrontEnd, folder: Path) -> None:
    snakemake(front_end, folder)
    left, right = folder / "left.txt", folder / "right.txt"
    assert (left.read_text(), right.read_text()) == ("0.8.9\n", "0.8.10\n")
    before = left.stat()
    write_file(folder / "right.yaml", "0.9.0")
    said = snakemake(front_end, folder)
    assert "1 of 2 steps" in said
    assert "rule left" not in said
    assert right.read_text() == "0.9.0\n"
    after = left.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert "Nothing to be done" in snakemake(front_end, folder, "--dry-run")
