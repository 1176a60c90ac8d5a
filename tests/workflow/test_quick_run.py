"""The quick configuration, run to its end with the real environments; then what runs again after a change:
exactly the rules that use what was changed, and what comes after them. One file, so that one process makes the run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from workflow_runs import NOTHING, ROOT, Checkout, rule_bodies

from lhcml.common.sources import import_closure
from lhcml.unfolding.dataset import read_dataset

pytestmark = pytest.mark.workflow
QUICK = ("--configfile", "config/quick.yaml")
# these read all results, so they follow every change of one
END = {"tabulate_benchmarks", "write_summary", "make_report"}


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def test_all_results_are_there(quick_run: Checkout) -> None:
    results = quick_run.folder / "results"
    entries = {entry["tagger"]: entry for entry in load(results / "taggers/comparison.json")}
    families = {path.stem for path in (ROOT / "src/lhcml/taggers/models").glob("*.py")} - {"__init__"}
    trained = [load(path) for path in results.glob("taggers/*/1/model.meta.json")]
    # every family there is
    assert {meta["family"] for meta in trained} == families | {"bdt", "ensemble", "onnx"}
    assert {meta["tagger"] for meta in trained} == set(entries)
    for name in ("xgboost", "pfn", "dense", "efp", "stacked"):
        # even a few hundred jets of each class are told apart far better than by chance
        assert 0.7 < entries[name]["auc"] < 1, name
    for entry in entries.values():
        assert 0 < entry["auc"] < 1
        assert entry["n_test"] > 0
    # a network exported and applied with onnxruntime is the network
    assert entries["pfn_onnx"]["auc"] == pytest.approx(entries["pfn"]["auc"], abs=1e-3)
    curves = load(results / "taggers/learning_curves.json")
    assert len(curves) > 0
    unfolded = {(row["method"], row["observable"]): row for row in load(results / "unfolding/comparison.json")["rows"]}
    methods = ("multifold", "multifold_trees", "omnifold", "unifold", "ibu", "inversion", "before")
    observables = ("jet_mass", "jet_multiplicity", "jet_width")
    assert set(unfolded) == {(method, name) for method in methods for name in observables}
    # 165 + 169 events in five bins: statistics alone make 15e-3
    assert all(row["triangular_e3"] < 200 for row in unfolded.values())
    for method in ("multifold", "multifold_trees", "omnifold"):
        assert read_dataset(results / f"unfolding/{method}/dataset").manifest["method"]["name"] == method
    check_inference(results / "inference")
    check_firmware(results / "firmware")
    assert "boosted_top" in (results / "report/summary.txt").read_text()


def check_firmware(folder: Path) -> None:
    """Every model is there, and its gates compute what was quantised, for all events."""
    summaries = {path.parent.name: load(path) for path in folder.glob("*/summary.json")}
    assert set(summaries) == {"vae", "ae", "jets", "trees"}
    for summary in summaries.values():
        for point in summary["points"]:
            assert point["events"] >= 1000
            assert (point["rtl_mismatches"], point["emulation_mismatches"], point["emulation_max_abs_diff"]) == (
                0,
                0,
                0,
            )
            assert point["lut"] > 0
    assert summaries["trees"]["timing"]["fmax_mhz"] > 0
    assert summaries["trees"]["auc_fixed"] == pytest.approx(summaries["trees"]["auc_float"], abs=0.02)
    assert "float_rz" in load(folder / "vae/detection.json")["scores"]


def check_inference(folder: Path) -> None:
    """Every result of the measurements is there, is valid, and belongs to its workspace."""
    names = (
        "fit",
        "asimov",
        "ranking",
        "scan",
        "limit",
        "significance",
        "goodness_of_fit",
        "toys",
        "linearity",
        "toy_limit",
    )
    digest = (folder / "boosted_top/workspace.digest.txt").read_text().strip()
    results = {name: load(folder / f"boosted_top/{name}.json") for name in names}
    for name, result in results.items():
        assert result["valid"], name
        assert result["digest"] == digest, name
    assert results["fit"]["poi"]["uncertainty"] > 0
    assert results["ranking"]["poi"]["value"] == pytest.approx(results["fit"]["poi"]["value"], rel=1e-4)
    # the asymptotic limit is the one of limit.json, by another module
    assert results["toy_limit"]["asymptotic"]["observed"] == pytest.approx(results["limit"]["observed"], rel=1e-3)
    both = load(folder / "top_and_z/fit.json")
    assert {"mu", "z_norm", "jes", "qcd_norm"} <= set(both["parameters"])
    points = load(folder / "resonance/limits.json")["points"]
    assert [point["patch"] for point in points] == ["m3400", "m3600"]
    assert all(point["valid"] and point["observed"] > 0 for point in points)
    for name in ("boosted_top", "resonance"):
        assert load(folder / f"{name}/publication.check.json")["reproduced"] is True


def test_the_report_opens_without_network(quick_run: Checkout) -> None:
    with zipfile.ZipFile(quick_run.folder / "results/report.zip") as archive:
        names = archive.namelist()
        page = archive.read(next(name for name in names if name.endswith("report.html"))).decode()
    assert sum(name.endswith(".png") for name in names) >= 10
    # no script or style sheet is fetched from elsewhere
    assert 'src="http' not in page
    assert '<link rel="stylesheet" href="http' not in page


def test_there_is_a_pdf_beside_every_plot(quick_run: Checkout) -> None:
    # what is published holds copies of figures
    found = (quick_run.folder / "results").glob("*/**/*.png")
    plots = [path for path in found if "publication" not in path.parts]
    assert len(plots) >= 10
    for path in plots:
        assert path.with_suffix(".pdf").stat().st_size > 1000, path


def test_logs_start_with_what_repeats_the_job(quick_run: Checkout) -> None:
    logs = [path for path in (quick_run.folder / "results/logs").rglob("*.log") if path.name != "make_report.log"]
    assert len(logs) > 20
    for path in logs:
        head = path.read_text()[:20000]
        for needed in ("command: PYTHONPATH=", "versions: python", "git: ", "host: "):
            assert needed in head, f"{path} lacks {needed}"


def test_nothing_is_left_to_do_and_no_temporary_file(quick_run: Checkout) -> None:
    assert NOTHING in quick_run.run("-n", "--cores", "2", *QUICK)
    assert not list((quick_run.folder / "results").rglob("*.part*"))


@contextmanager
def edited(path: Path, text: str = "\n# edited\n") -> Iterator[None]:
    """Append to a file inside the block, and restore it after."""
    before = path.read_text()
    path.write_text(before + text)
    try:
        yield
    finally:
        path.write_text(before)


@pytest.fixture(scope="module")
def graph(quick_run: Checkout) -> dict[str, set[str]]:
    """Return rule -> rules of which a job follows on one of its jobs, by Snakemake's own graph of jobs."""
    dot = quick_run.run("--dag", *QUICK)
    names = dict(re.findall(r'(\d+)\[.*?label ?= ?"(\w+)', dot))
    after: dict[str, set[str]] = {job: set() for job in names}
    for a, b in re.findall(r"(\d+) -> (\d+)", dot):
        after[a].add(b)
    return {rule: {names[job] for job in following(rule, names, after)} for rule in set(names.values())}


def following(rule: str, names: dict[str, str], after: dict[str, set[str]]) -> set[str]:
    """Return the jobs that read what jobs of a rule make, at any distance, and those jobs themselves."""
    found: set[str] = set()
    waiting = [job for job, name in names.items() if name == rule]
    while waiting:
        job = waiting.pop()
        if job not in found:
            found.add(job)
            waiting.extend(after[job])
    return found


def with_downstream(rules: set[str], graph: dict[str, set[str]]) -> set[str]:
    return set().union(*(graph[rule] for rule in rules & set(graph))) - {"all", "default"}


def rules_using(module_path: str) -> set[str]:
    """Return the rules whose module's import closure holds a file."""
    return {
        name
        for name, body in rule_bodies().items()
        for module in re.findall(r'sources\("([\w.]+)"\)', body)
        if ROOT / "src" / module_path in import_closure(module, ROOT / "src")
    }


def test_touching_everything_reruns_nothing(quick_run: Checkout) -> None:
    for folder in ("src", "envs", "config", "workflow", "results/samples", "results/features"):
        for path in (quick_run.folder / folder).rglob("*"):
            if path.is_file():
                os.utime(path)
    assert NOTHING in quick_run.run("-n", "--cores", "2", *QUICK)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("lhcml/report/write_summary.py", {"write_summary", "make_report"}),
        ("lhcml/report/plot_displays.py", {"plot_events", "plot_jets", *END}),
        ("lhcml/samples/plot_validation.py", {"plot_validation", *END}),
        ("lhcml/taggers/compute_metrics.py", None),
        ("lhcml/taggers/train_bdt.py", None),
        ("lhcml/features/build_features.py", None),
        ("lhcml/skim/skim_events.py", None),
        ("lhcml/inference/fit_workspace.py", None),
        ("lhcml/common/style.py", None),
        ("lhcml/common/files.py", None),
    ],
)
def test_editing_a_module(
    quick_run: Checkout, graph: dict[str, set[str]], module: str, expected: set[str] | None
) -> None:
    with edited(quick_run.folder / "src" / module):
        planned = set(quick_run.planned(*QUICK))
    users = rules_using(module)
    assert users, f"no rule uses {module}"
    assert planned == with_downstream(users, graph)
    if expected is not None:
        assert planned == expected


@pytest.mark.parametrize(
    ("overlay", "rules"),
    [
        ({"report": {"displays": 1}}, {"plot_events", "plot_jets", "make_report"}),
        ({"taggers": {"models": {"xgboost": {"boosting": {"max_depth": 2}}}}}, {"train_bdt", "make_report"}),
        ({"taggers": {"models": {"pfn": {"training": {"learning_rate": 0.01}}}}}, {"train_network", "make_report"}),
        ({"inference": {"measurements": {"boosted_top": {"luminosity": 0.01}}}}, {"build_workspace", "make_report"}),
        ({"features": {"max_constituents": 50}}, {"build_features", "build_levels", "make_report"}),
        ({"unfolding": {"methods": {"multifold": {"iterations": 3}}}}, {"unfold_events", "make_report"}),
        ({"firmware": {"models": {"jets": {"quantisation": {"epochs": 4}}}}}, {"quantise_network", "make_report"}),
    ],
)
def test_editing_a_configuration_value(
    quick_run: Checkout, graph: dict[str, set[str]], overlay: dict[str, Any], rules: set[str]
) -> None:
    """The report always follows: it shows the configuration."""
    planned = set(quick_run.planned(*QUICK, quick_run.overlay(overlay)))
    missing, extra = rules - planned, planned - with_downstream(rules, graph)
    assert not missing, f"{missing} should run again"
    assert not extra, f"{extra} should not run again"


def test_editing_an_environment_reruns_its_rules(quick_run: Checkout, graph: dict[str, set[str]]) -> None:
    with edited(quick_run.folder / "envs/bdt.yaml", "  - tabulate\n"):
        planned = set(quick_run.planned(*QUICK))
    users = {name for name, body in rule_bodies().items() if "envs/bdt.yaml" in body}
    assert users
    assert planned == with_downstream(users, graph)


def test_editing_a_caption_makes_the_report_only(quick_run: Checkout) -> None:
    with edited(quick_run.folder / "workflow/report/workflow.rst", "\nMore.\n"):
        assert set(quick_run.planned(*QUICK)) == {"make_report"}


def test_a_deleted_result_is_made_again(quick_run: Checkout) -> None:
    path = quick_run.folder / "results/inference/boosted_top/limit.json"
    text = path.read_text()
    path.unlink()
    try:
        assert "scan_limit" in quick_run.planned(*QUICK)
    finally:
        path.write_text(text)


def test_killed_runs_resume_on_one_core_to_identical_results(quick_run: Checkout, tmp_path: Path) -> None:
    """`--cores 1` gives what `--cores 2` gave, and kills change nothing; `make chaos` kills the whole run like this.

    A kill in mid-training is a test of the trainings.
    """
    targets = ("results/unfolding/ibu/spectra.json", "results/inference/z_jets/fit.json")
    command = [sys.executable, str(ROOT / "workflow/chaos.py"), "--kills", "3", "--between", "5", "20", "--part",
               "--reference", str(quick_run.folder / "results"), "--folder", str(tmp_path),
               "--", "--cores", "1", *QUICK, "--", *targets]  # fmt: skip
    killed = subprocess.run(command, env=quick_run.environment, capture_output=True, text=True, check=False)
    assert killed.returncode == 0, killed.stdout + killed.stderr
    assert "3 of 3 kills: every complete file and" in killed.stdout
    verdicts = re.findall(r"^\d+\t.*\t(\w+)\t[^\t]*$", killed.stdout, flags=re.MULTILINE)
    assert verdicts == ["same"] * 3
