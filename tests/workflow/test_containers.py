"""The container recipe and the REANA specification: no engine runs them here, so what they name is checked."""

from __future__ import annotations

import json
import re
import shutil
import string
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from workflow_runs import ROOT, copy_checkout, rule_bodies, snakemake_environment

RECIPE = (ROOT / "containers/Containerfile").read_text()
REANA: dict[str, Any] = yaml.safe_load((ROOT / "reana.yaml").read_text())
README = (ROOT / "README.md").read_text()
COMMAND = re.search(r"^make run +# (CORES=)\d+ for more cores, (CONFIG=\S+) ", README, flags=re.MULTILINE)


def instructions() -> list[tuple[str, str]]:
    """Return the recipe's instructions with their arguments, continued lines joined."""
    lines = [line for line in RECIPE.splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word, " ".join(rest.split())) for word, rest in (line.split(maxsplit=1) for line in joined.splitlines())]


def test_the_image_runs_the_command_of_the_readme() -> None:
    assert COMMAND is not None, "README.md tells `make run` in another way now"
    assert dict(instructions())["CMD"] == '["make", "run"]'
    docs = (ROOT / "docs/containers.md").read_text()
    # every engine's line of the page ends in it
    lines = re.findall(r"^(?:podman|docker|apptainer) (?:run|exec) .*", docs.replace("\\\n", ""), flags=re.MULTILINE)
    assert len(lines) >= 2
    for line in lines:
        assert re.search(rf"make run( CORES=\d+)?( {COMMAND[2]})?$", line), line


def test_the_recipe_builds_with_targets_that_there_are() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    runs = [argument for word, argument in instructions() if word == "RUN"]
    # every environment that a configuration can ask for: without network none can be built later
    configurations = {name for run in runs for name in re.findall(r"make envs CONFIG=(\S+)", run)}
    assert configurations == {"config/quick.yaml", "config/examples/public_toptag.yaml"}
    assert all((ROOT / name).is_file() for name in configurations)
    called = {name for run in runs for name in re.findall(r"(?:^|&& )make (\w+)", run)}
    assert called == {"envs"}
    assert called <= targets
    # all that README.md says is needed, and what setup_venv.sh asks of Python
    installed = set(next(run for run in runs if "apt-get" in run).split())
    assert {"git", "make", "perl", "g++", "python3", "python3-venv", "ca-certificates"} <= installed
    # what a clone does not hold stays out of the image
    ignored = set((ROOT / ".dockerignore").read_text().split())
    assert {".venv", ".snakemake", "results"} <= ignored


def test_reana_runs_the_command_of_the_readme() -> None:
    assert COMMAND is not None
    (step,) = REANA["workflow"]["specification"]["steps"]
    parameters = {name: str(value) for name, value in REANA["inputs"]["parameters"].items()}
    (command,) = (string.Template(text).substitute(parameters) for text in step["commands"])
    assert command == f"make run {COMMAND[1]}{parameters['cores']} {COMMAND[2]}"


def test_the_reana_specification_is_valid(tmp_path: Path, snakemake_bin: Path) -> None:
    """Against the schema that REANA's client and server check it with."""
    install = [snakemake_bin / "uv", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path]
    done = subprocess.run([*install, "reana-commons==0.9.11"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"REANA's schema cannot be had: {done.stderr[-300:]}")
    schema = json.loads((tmp_path / "reana_commons/validation/schemas/reana_analysis_schema.json").read_text())
    jsonschema.validate(REANA, schema)
    broken = REANA | {"workflow": REANA["workflow"] | {"type": "make"}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


@pytest.mark.workflow
def test_what_reana_uploads_is_enough(tmp_path: Path, snakemake_bin: Path) -> None:
    clone = copy_checkout(tmp_path / "clone")
    uploaded = tmp_path / "workspace"
    for name in REANA["inputs"]["directories"]:
        shutil.copytree(clone / name, uploaded / name)
    for name in REANA["inputs"]["files"]:
        shutil.copyfile(clone / name, uploaded / name)
    environment = snakemake_environment(snakemake_bin)
    # every rule looks for its sources when the workflow is read, whatever the target
    config = REANA["inputs"]["parameters"]["config"]
    target = "results/skim/toptag/cutflow.json"
    plan = subprocess.run(
        [snakemake_bin / "snakemake", "-n", "--cores", "2", "--configfile", config, "--", target],
        cwd=uploaded, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert plan.returncode == 0, plan.stdout[-3000:]
    assert "merge_cutflow" in plan.stdout.split("Job stats:")[1]
    rules = "".join(rule_bodies().values())
    assert all(f'"{name}"' in rules for name in REANA["outputs"]["files"])
