"""The tutorial, run as written: the commands of docs/tutorial.md, in order, in one shell, from a fresh clone."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from workflow_runs import ROOT, copy_checkout, snakemake_environment

PAGE = (ROOT / "docs/tutorial.md").read_text()
COMMAND = re.compile(r"^## (\d+)\. .*?^```bash\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
ROW = re.compile(r"^\| (\d{4}) \| ([\d.]+) \| ([\d.]+) \|$", flags=re.MULTILINE)


def commands() -> list[str]:
    found = COMMAND.findall(PAGE)
    assert [int(number) for number, _ in found] == list(range(1, len(found) + 1))
    return [text.strip() for _, text in found]


def test_there_are_ten_commands() -> None:
    assert len(commands()) == 10
    assert len(re.findall("^```bash$", PAGE, flags=re.MULTILINE)) == 10


@pytest.mark.workflow
def test_the_tutorial_ends_in_limits(tmp_path: Path) -> None:
    origin = copy_checkout(tmp_path / "origin")
    for command in ("init --quiet --initial-branch main", "add .", "commit --quiet --message all"):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", "-C", str(origin), *identity, *command.split()], check=True)
    script = "\n".join(["set -e", *commands()]).replace("<this repository>", str(origin))
    # environments of the rules are shared with the other tests; .venv is made anew
    environment = snakemake_environment(tmp_path)
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]

    results = tmp_path / "lhcml/results"
    points = json.loads((results / "inference/dijet_limits/limits.json").read_text())["points"]
    found = {point["values"][0]: (point["observed"], point["expected"][2]) for point in points if point["valid"]}
    told = {int(mass): (float(observed), float(expected)) for mass, observed, expected in ROW.findall(PAGE)}
    assert set(found) == set(told)
    for mass, limits in told.items():
        # the page is of the same seeds; another version of Pythia gives other events of the same distribution, and
        # an observed limit then moves by its expected band, a third
        assert found[mass] == pytest.approx(limits, rel=0.4), mass
    for shown in ("inference/dijet_limits/plots/limits.png", "report.zip", "report/summary.txt"):
        assert (results / shown).stat().st_size > 0, shown
    # what the page says one sees
    assert (results / "skim/mine/cutflow.csv").read_text() in done.stdout
