"""What the section of firmware puts into or takes out of the graph of jobs; dry runs only."""

from __future__ import annotations

from typing import Any

import pytest
from workflow_runs import Checkout

# Everything else is out of the way: no fits, no searches
REST = {
    "inference": {"measurements": None},
    "anomaly": {"methods": None, "autoencoders": {"models": None}, "pairs": {"data": None}},
    "unfolding": {"methods": None},
}
GATES = {"convert_network": 1, "write_rtl": 1, "simulate_rtl": 1, "synthesise_rtl": 1}


def planned(checkout: Checkout, models: dict[str, Any], *targets: str, **section: Any) -> dict[str, int]:
    """Return rule -> jobs of this stage for files below results/firmware, with these changes of the models."""
    overlay = checkout.overlay(REST | {"firmware": {"models": models} | section})
    jobs = checkout.planned("--configfile", overlay, "--", *(f"results/firmware/{target}" for target in targets))
    return {
        rule: count for rule, count in jobs.items() if rule not in ("generate_events", "skim_events", "merge_cutflow")
    }


def test_a_network_from_events_to_gates(checkout: Checkout) -> None:
    targets = [f"vae/aware6/{name}" for name in ("simulation.json", "synthesis.json", "hls/vitis_reuse1.json")]
    jobs = planned(checkout, {}, *targets)
    assert jobs == {"collect_objects": 8, "train_float": 1, "quantise_network": 1, **GATES}


def test_points_are_wildcards(checkout: Checkout) -> None:
    points = ("post6", "aware4_pruned50", "ebops700", "ebops700_pruned25")
    jobs = planned(checkout, {}, *(f"vae/{point}/synthesis.json" for point in points))
    assert jobs["quantise_network"] == len(points)
    assert jobs["train_float"] == 1


@pytest.mark.parametrize("point", ["post", "aware6x", "ebops", "pruned50"])
def test_what_is_no_point_is_told(checkout: Checkout, point: str) -> None:
    overlay = checkout.overlay(REST)
    output = checkout.run(
        "-n", "--configfile", overlay, "--", f"results/firmware/vae/{point}/synthesis.json", check=False
    )
    assert "MissingRuleException" in output


def test_trees_are_those_of_a_tagger(checkout: Checkout) -> None:
    jobs = planned(checkout, {}, "trees/post10/hls/conifer_reuse1.json", "trees/post12/simulation.json")
    assert jobs["train_bdt"] == 1
    expected = {"quantise_trees": 2, "emulate_trees": 1, "write_rtl": 1, "simulate_rtl": 1}
    assert {rule: jobs[rule] for rule in expected} == expected
    assert "train_float" not in jobs


def test_reuse_and_backend_are_wildcards(checkout: Checkout) -> None:
    targets = ["vae/post8/hls/vitis_reuse4.json", "vae/post8/hls/oneapi_reuse1.json"]
    assert planned(checkout, {}, *targets)["convert_network"] == 2


def test_the_summary_is_of_all_points_and_the_projects_of_the_chosen(checkout: Checkout) -> None:
    models = {"vae": {"points": ["post8", "aware6"], "chosen": "aware6"}}
    jobs = planned(checkout, models, "vae/summary.json", reuse=[1, 2], backends=["vitis", "oneapi"])
    # four projects at the chosen point, two at the other
    expected = {"quantise_network": 2, "convert_network": 6, "synthesise_rtl": 2, "simulate_rtl": 2, "read_reports": 1}
    assert {rule: jobs[rule] for rule in expected} == expected
    assert "place_rtl" not in jobs


def test_timing_is_made_on_request(checkout: Checkout) -> None:
    jobs = planned(checkout, {}, "trees/summary.json", timing=["trees"])
    assert jobs["place_rtl"] == 1


def test_only_anomaly_triggers_are_evaluated_as_such(checkout: Checkout) -> None:
    jobs = planned(checkout, {}, "vae/plots/roc.png", "jets/plots/quantisation.png")
    assert (jobs["evaluate_detection"], jobs["plot_detection"], jobs["plot_quantisation"]) == (1, 1, 1)


def test_without_models_there_is_no_stage(checkout: Checkout) -> None:
    jobs = checkout.planned("--configfile", checkout.overlay({"firmware": {"models": None}}))
    assert not {"train_float", "quantise_network", "quantise_trees", "write_rtl", "summarise_firmware"} & set(jobs)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"vae": {"channel": "nothing"}}, "firmware.models.vae.channel: 'nothing' is not defined"),
        ({"vae": {"signals": ["w"]}}, "w is both signal and background"),
        ({"vae": {"chosen": "post4"}}, "firmware.models.vae.chosen: 'post4' is not defined"),
        ({"vae": {"points": ["eight"]}}, "firmware.models.vae.points.0: 'eight' does not match"),
        ({"vae": {"tagger": "pfn"}}, "a vae is trained here"),
        ({"trees": {"tagger": "pfn"}}, "firmware.models.trees.tagger: 'pfn' is not defined"),
        ({"trees": {"points": ["aware6"]}}, "'aware6' is for networks"),
        ({"mine": {"family": "bdt"}}, "firmware.models.mine names no tagger"),
    ],
)
def test_a_wrong_model_is_told(checkout: Checkout, models: dict[str, Any], message: str) -> None:
    overlay = checkout.overlay({"firmware": {"models": models}})
    assert message in checkout.run("-n", "--configfile", overlay, check=False)
