"""What the section of inference puts into or takes out of the graph of jobs; dry runs only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from workflow_runs import Checkout

NONE = dict.fromkeys(("boosted_top", "z_jets", "top_and_z", "resonance"))
SIGNALS = ("light", "heavy_1")


def inference(**measurements: Any) -> dict[str, Any]:
    """Return an overlay with these measurements only."""
    return {"inference": {"measurements": NONE | measurements}}


@pytest.fixture(scope="module")
def given(checkout: Checkout) -> Path:
    """Return a file that stands for a workspace; dry runs do not read it."""
    path = checkout.folder / "given.json"
    path.write_text("{}")
    patches = [{"metadata": {"name": name, "values": [1]}, "patch": []} for name in SIGNALS]
    (checkout.folder / "patchset.json").write_text(json.dumps({"patches": patches}))
    (checkout.folder / "combination.xml").write_text("<Combination/>")
    (checkout.folder / "histograms.root").touch()
    return path


def planned(checkout: Checkout, overlay: dict[str, Any], *targets: str) -> dict[str, int]:
    """Return rule -> jobs of these files below results/inference."""
    files = [f"results/inference/{target}" for target in targets]
    return checkout.planned("--configfile", checkout.overlay(overlay), "--", *files)


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ({"workspace": "given.json"}, "import_workspace"),
        ({"workspace": "given.json", "patch": ["given.json"]}, "import_workspace"),
        ({"histfactory": "combination.xml"}, "import_workspace"),
    ],
)
def test_a_model_from_elsewhere_needs_no_events(checkout: Checkout, source: dict[str, Any], rule: str) -> None:
    jobs = planned(checkout, inference(given=source), "given/ranking.json", "given/limit.json")
    assert jobs == {rule: 1, "rank_parameters": 1, "scan_limit": 1}


@pytest.mark.usefixtures("given")
def test_a_model_of_histograms_needs_no_events(checkout: Checkout) -> None:
    block = {
        "histograms": {"file": "histograms.root"},
        "poi": "mu",
        "regions": {"a": {}},
        "samples": {"s": {}},
        "modifiers": {"mu": {"type": "normfactor"}},
    }
    jobs = planned(checkout, inference(mine=block), "mine/fit.json", "mine/plots/systematics.png")
    assert jobs == {"read_histograms": 1, "fit_workspace": 1, "plot_systematics": 1}


@pytest.mark.usefixtures("given")
def test_every_signal_of_a_grid_is_a_wildcard(checkout: Checkout) -> None:
    grid = {"workspace": "given.json", "patchset": "patchset.json", "results": ["limit"]}
    jobs = planned(checkout, inference(grid=grid), "grid/plots/limits.png")
    assert jobs == {"import_grid": 1, "apply_patch": 2, "scan_limit": 2, "collect_limits": 1, "plot_grid": 1}
    one = planned(checkout, inference(grid=grid), "grid/patches/heavy_1/toy_limit.json")
    assert one == {"import_grid": 1, "apply_patch": 1, "throw_toys": 1, "summarise_toys": 1}
    chosen = planned(checkout, inference(grid=grid | {"patches": ["light"]}), "grid/limits.json")
    assert chosen["scan_limit"] == 1


@pytest.mark.usefixtures("given")
def test_a_combination_is_made_of_its_measurements(checkout: Checkout) -> None:
    one = {"workspace": "given.json"}
    overlay = inference(one=one, other=one, both={"combine": ["one", "other"], "poi": "mu"})
    jobs = planned(checkout, overlay, "both/fit.json")
    assert jobs == {"import_workspace": 2, "combine_workspaces": 1, "fit_workspace": 1}


def test_a_resonance_is_searched_before(checkout: Checkout) -> None:
    jobs = checkout.planned("--", "results/inference/resonance/limits.json")
    assert {"build_resonance", "search_resonance", "score_events"} <= set(jobs)
    assert jobs["scan_limit"] == jobs["apply_patch"] == 8


def test_the_best_tagger_is_chosen_before_the_shifts_are_scored(checkout: Checkout) -> None:
    target = "boosted_top/workspace.json"
    best = planned(checkout, {}, target)
    assert best["choose_tagger"] == 1
    # signal and background of the taggers trained here
    assert best["score_network"] == 2 * 5
    named = planned(checkout, {"inference": {"measurements": {"boosted_top": {"tagger": "xgboost"}}}}, target)
    assert "choose_tagger" not in named
    assert "score_network" not in named
    # four datasets, two of them with four shifts of the jets
    assert named["score_bdt"] == 4 + 2 * 4


def test_results_say_what_is_made(checkout: Checkout) -> None:
    every = checkout.planned()
    block = {"results": ["fit"]}
    few = {"inference": {"measurements": {"boosted_top": block, "top_and_z": block, "resonance": None}}}
    fewer = checkout.planned("--configfile", checkout.overlay(few))
    gone = {
        "plot_ranking",
        "plot_scan",
        "compute_significance",
        "throw_toys",
        "publish_measurement",
        "check_publication",
    }
    assert gone <= set(every)
    assert not gone & set(fewer)
    assert fewer["fit_workspace"] == 3


@pytest.mark.usefixtures("given")
def test_pseudo_experiments_share_their_jobs(checkout: Checkout) -> None:
    given = {"workspace": "given.json", "toys": {"batches": 3}}
    assert planned(checkout, inference(given=given), "given/toys.json")["throw_toys"] == 3


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize(
    ("measurements", "message"),
    [
        ({"m": {"workspace": "absent.json"}}, "inference.measurements.m.workspace: no file 'absent.json'"),
        ({"m": {"workspace": "given.json", "histfactory": "combination.xml"}}, "do not go together; keep one of them"),
        ({"m": {"workspace": "given.json", "resluts": []}}, "did you mean 'results'?"),
        ({"m": {"combine": ["one", "two"]}}, "one"),
    ],
)
def test_a_wrong_measurement_is_told(checkout: Checkout, measurements: dict[str, Any], message: str) -> None:
    overlay = checkout.overlay(inference(**measurements))
    assert message in checkout.run("-n", "--configfile", overlay, check=False)
