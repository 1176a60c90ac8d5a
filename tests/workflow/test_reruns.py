"""What runs again after a change: exactly the rules that use what was changed, and what comes after them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from workflow_runs import NOTHING, ROOT, Checkout, rule_bodies

from lhcml.common.sources import import_closure

pytestmark = pytest.mark.workflow
QUICK = ("--configfile", "config/quick.yaml")
# these read all results, so they follow every change of one
END = {"tabulate_benchmarks", "write_summary", "make_report"}


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
    """Return rule -> rules that read what it makes, from Snakemake's own rule graph."""
    dot = quick_run.run("--rulegraph", *QUICK)
    names = dict(re.findall(r'(\d+)\[.*?label ?= ?"(\w+)', dot))
    after: dict[str, set[str]] = {name: set() for name in names.values()}
    for a, b in re.findall(r"(\d+) -> (\d+)", dot):
        after[names[a]].add(names[b])
    return after


def with_downstream(rules: set[str], graph: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(rules & set(graph))
    while waiting:
        rule = waiting.pop()
        if rule not in found:
            found.add(rule)
            waiting.extend(graph[rule])
    return found - {"all", "default"}


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
        ({"features": {"max_constituents": 50}}, {"build_features", "make_report"}),
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
