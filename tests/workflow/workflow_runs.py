"""Calls of Snakemake on copies of the checkout, and what they print, for the workflow tests."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from chaos import copy_checkout

ROOT = Path(__file__).parents[2]
NOTHING = "Nothing to be done"
# Leaves XGBoost and the PFN of the taggers of the default run
TWO_TAGGERS = dict.fromkeys(("xgboost_small", "dense", "efn", "cnn", "particlenet_lite", "stacked"))
# Firmware is made of one of the taggers that are left out
NO_FIRMWARE: dict[str, Any] = {"firmware": None}
RULE = re.compile(r"^(?:rule|checkpoint) (\w+):\n(.*?)(?=^\S|\Z)", flags=re.DOTALL | re.MULTILINE)


def rule_bodies() -> dict[str, str]:
    """Return the text of every rule of the workflow by name."""
    files = sorted((ROOT / "workflow/rules").glob("*.smk"))
    return {name: body for path in files for name, body in RULE.findall(path.read_text())}


def snakemake_environment(folder: Path) -> dict[str, str]:
    """Return the variables of a user who activated `.venv`, with environments shared among the copies."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "CONDA", "OMP_"))}
    environment["PATH"] = f"{folder}{os.pathsep}{environment['PATH']}"
    environment["SNAKEMAKE_CONDA_PREFIX"] = str(ROOT / ".snakemake/conda")
    return environment


class Checkout:
    """A copy of the checkout in which Snakemake is run."""

    def __init__(self, folder: Path, snakemake_bin: Path) -> None:
        self.folder = copy_checkout(folder)
        self.environment = snakemake_environment(snakemake_bin)
        self.command = str(snakemake_bin / "snakemake")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start Snakemake in a session of its own, so that it can be killed with all its jobs."""
        return subprocess.Popen(
            [self.command, *arguments], cwd=self.folder, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def run(self, *arguments: str, check: bool = True) -> str:
        """Run Snakemake and return all it printed; a failure raises with that text if `check`."""
        process = self.start(*arguments)
        output, _ = process.communicate()
        if check and process.returncode:
            raise AssertionError(f"snakemake {' '.join(arguments)} failed:\n{output}")
        if not check:
            assert process.returncode, f"snakemake {' '.join(arguments)} should have failed:\n{output}"
        return output

    def overlay(self, values: Mapping[str, Any], name: str = "overlay.yaml") -> str:
        """Write a configuration overlay and return its path."""
        (self.folder / name).write_text(yaml.safe_dump(dict(values)))
        return name

    def planned(self, *arguments: str) -> dict[str, int]:
        """Return rule -> number of jobs of a dry run; empty if there is nothing to do."""
        output = self.run("-n", "--cores", "2", *arguments)
        if NOTHING in output:
            return {}
        table = output.split("Job stats:")[1]
        found = re.findall(r"^(\w+) +(\d+)$", table.split("total")[0], flags=re.MULTILINE)
        return {rule: int(count) for rule, count in found if rule not in ("all", "default")}
