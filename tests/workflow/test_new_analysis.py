"""A repository made by `make new-analysis`: what it plans, its tagger in the comparison, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import yaml
from workflow_runs import NO_FIRMWARE, ROOT, Checkout, copy_checkout

from lhcml.common.files import write_parquet

# The taggers of the default run are left out, and with them what is made of one
OTHERS = ("xgboost", "xgboost_small", "pfn", "dense", "efn", "cnn", "particlenet_lite", "stacked")
ALONE: dict[str, Any] = {
    "taggers": {"models": dict.fromkeys(OTHERS)},
    "inference": {"measurements": None},
} | NO_FIRMWARE
TARGET = "results/taggers/comparison.json"
# of the jets below: the features differ by so many standard deviations between the classes
DIFFERENCES = {"jet_mass": 1.0, "jet_tau21": -0.5, "jet_tau32": -1.0, "jet_multiplicity": 0.0, "jet_width": 0.0}


def create(checkout: Checkout, folder: Path, check: bool = True) -> str:
    command = [sys.executable, "workflow/new_analysis/create.py", str(folder)]
    environment = checkout.environment | {"PYTHONPATH": "src"}
    done = subprocess.run(command, cwd=checkout.folder, env=environment, capture_output=True, text=True)
    assert (done.returncode == 0) == check, done.stderr
    return done.stdout + done.stderr


class Analysis(Checkout):
    """A folder beside a copy of the checkout, in which Snakemake is run."""

    def __init__(self, checkout: Checkout, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.environment = checkout.environment | variables
        self.command = checkout.command


@pytest.fixture
def analysis(checkout: Checkout) -> Analysis:
    folder = checkout.folder.parent / f"mine{len(list(checkout.folder.parent.glob('mine*')))}"
    create(checkout, folder)
    return Analysis(checkout, folder)


def test_it_plans_the_workflow_with_its_tagger(analysis: Analysis) -> None:
    planned = analysis.planned()
    assert planned["score_fisher"] == planned["import_scores"] == planned["make_report"] == 1
    # the taggers of the default run and its own: figures of the scores of each
    assert planned["plot_scores"] == len(OTHERS) + 1


def test_every_file_is_found_from_there(analysis: Analysis) -> None:
    for path in analysis.folder.rglob("*"):
        if path.is_file():
            assert "@LHCML@" not in path.read_text(), path
    readme = (analysis.folder / "README.md").read_text()
    links = [part.split(")")[0] for part in readme.split("](")[1:]]
    assert links
    for link in links:
        assert (analysis.folder / link).is_file(), link


def test_configuration_of_the_command_line_comes_last(checkout: Checkout, analysis: Analysis) -> None:
    overlay = analysis.overlay(ALONE | {"samples": {"events_per_chunk": 2000}})
    output = analysis.run("-n", "--cores", "1", "--configfile", overlay, "--", TARGET)
    # 22,000 top and 23,000 multijet events of the default run; its own tagger only
    for rule, jobs in (("generate_events", 11 + 12), ("import_scores", 1), ("score_fisher", 1), ("compute_metrics", 1)):
        assert re.search(rf"^{rule} +{jobs}$", output, flags=re.MULTILINE), rule
    # the workflow's source files are inputs where they are, so that an edit reruns what uses them
    words = [word.rstrip(",") for word in output.split()]
    inputs = {(analysis.folder / word).resolve() for word in words if word.endswith(".py")}
    assert (checkout.folder / "src/lhcml/taggers/import_scores.py").resolve() in inputs


def test_import_from_a_git_host(checkout: Checkout, tmp_path: Path) -> None:
    host, folder = tmp_path / "host", tmp_path / "mine"
    copy_checkout(host)
    for command in ("init --quiet --initial-branch main", "add .", "commit --quiet --message all"):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", "-C", str(host), *identity, *command.split()], check=True)
    # what snakedeploy writes; git takes the address for that of the folder
    for name in ("config", "profiles"):
        shutil.copytree(host / name, folder / name)
    (folder / "workflow").mkdir()
    (folder / "workflow/Snakefile").write_text(
        'configfile: "config/config.yaml"\nmodule lhcml:\n    snakefile:\n'
        '        github("owner/lhcml", path="workflow/Snakefile", branch="main")\n    config:\n        config\n'
        "use rule * from lhcml\n"
    )
    mine = Analysis(
        checkout, folder, XDG_CACHE_HOME=str(tmp_path / "cache"), GIT_CONFIG_COUNT="1",
        GIT_CONFIG_KEY_0=f"url.{host.as_uri()}.insteadOf", GIT_CONFIG_VALUE_0="https://github.com/owner/lhcml",
    )  # fmt: skip
    output = mine.run("-n", "--cores", "1", "results/skim/toptag/cutflow.json")
    assert re.search(r"^generate_events +12$", output, flags=re.MULTILINE)
    assert ".snakemake/lhcml/src/lhcml/skim/skim_events.py" in output
    assert (folder / ".snakemake/lhcml/src/lhcml/skim/skim_events.py").is_file()


def write_jets(folder: Path, signal: bool, count: int, rng: np.random.Generator) -> None:
    """Write features of made-up jets: unit Gaussians, those of the signal moved by the differences."""
    columns: dict[str, Any] = {name: rng.normal(size=count) + signal * shift for name, shift in DIFFERENCES.items()}
    columns |= {"jet_pt": np.full(count, 600.0), "jet_eta": np.zeros(count)}
    columns |= {"run": np.ones(count, int), "luminosityBlock": np.ones(count, int), "event": np.arange(count)}
    columns |= {"jet_rank": np.zeros(count, int), "split": np.resize(["train", "validation", "test", "test"], count)}
    write_parquet(folder / "nominal/0.parquet", columns)


@pytest.mark.workflow
def test_its_tagger_is_in_the_comparison(analysis: Analysis) -> None:
    rng = np.random.default_rng(1)
    for dataset in ("top", "qcd"):
        write_jets(analysis.folder / "results/features/toptag" / dataset, dataset == "top", 8000, rng)
    chunks = {"channels": {"toptag": {"datasets": {"top": {"events": 10}, "qcd": {"events": 10}}}}}
    overlay = analysis.overlay(ALONE | chunks)
    # the features are taken as they are
    rules = ["score_fisher", "list_test_jets", "import_scores", "compute_metrics", "compare_taggers"]
    environments = ("--conda-prefix", str(ROOT / ".snakemake/conda"))
    arguments = ("--cores", "1", *environments, "--configfile", overlay, "--allowed-rules", *rules, "--", TARGET)
    analysis.run(*arguments)
    (entry,) = (row for row in json.loads((analysis.folder / TARGET).read_text()) if row["tagger"] == "fisher")
    assert entry["n_test"] == 8000
    # Gaussians of equal covariance at distance d: the discriminant is the likelihood ratio, AUC = Phi(d / sqrt 2);
    # its statistical error is 0.004
    distance = np.sqrt(sum(shift**2 for shift in DIFFERENCES.values()))
    assert entry["auc"] == pytest.approx(NormalDist().cdf(distance / np.sqrt(2)), abs=0.015)


def test_a_folder_in_use_is_refused(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    assert "is not empty" in create(checkout, tmp_path, check=False)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    assert "inside of the checkout" in create(checkout, checkout.folder / "mine", check=False)


def test_what_the_workflow_catalog_asks_for() -> None:
    assert (ROOT / "workflow/Snakefile").is_file()
    assert "config.yaml" in (ROOT / "config/README.md").read_text()
    readme = (ROOT / "README.md").read_text().lower()
    assert "snakemake" in readme
    assert "workflow" in readme
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert usage["software-stack-deployment"]["conda"] is True


def test_a_cloned_empty_repository_is_filled(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    create(checkout, tmp_path)
    assert (tmp_path / "workflow/Snakefile").is_file()
