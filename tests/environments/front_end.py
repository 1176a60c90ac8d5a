"""The front end as the tests call it."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class FrontEnd:
    """A `conda` as it is in a virtual environment that `make venv` made."""

    program: Path
    snakemake: Path
    environment: dict[str, str]

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run conda to its end."""
        return subprocess.run(
            [self.program, *arguments], env=self.environment, capture_output=True, text=True, timeout=60
        )

    def start(self, *arguments: str | Path, **variables: str) -> subprocess.Popen[str]:
        """Start conda, with more environment variables if need be."""
        return subprocess.Popen(
            [self.program, *arguments],
            env=self.environment | variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def create(self, file: Path, prefix: Path) -> subprocess.CompletedProcess[str]:
        """Build an environment as Snakemake does."""
        return self.run("env", "create", "--quiet", "--no-default-packages", "--file", file, "--prefix", prefix)


def find_snakemake() -> Path:
    """Return the snakemake of LHCML_SNAKEMAKE, of the repo's .venv or on PATH."""
    given = os.environ.get("LHCML_SNAKEMAKE")
    candidates = [Path(given)] if given else [REPO / ".venv" / "bin" / "snakemake"]
    on_path = shutil.which("snakemake")
    candidates += [Path(on_path)] if on_path else []
    for program in candidates:
        if program.is_file() and (program.parent / "python").is_file():
            return program
    pytest.fail("no snakemake with a python beside it in .venv/bin or on PATH: run 'make venv'")
