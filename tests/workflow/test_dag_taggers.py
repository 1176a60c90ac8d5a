"""What the switches of the evaluation of taggers put into the graph of jobs; dry runs only."""

from __future__ import annotations

import pytest
from workflow_runs import NO_FIRMWARE, TWO_TAGGERS, Checkout

ENSEMBLE = {"family": "ensemble", "members": ["xgboost", "pfn"]}
COMPARISON = ("--", "results/taggers/comparison.json")


def with_models(**models: dict) -> dict:
    return {"taggers": {"models": TWO_TAGGERS | models}} | NO_FIRMWARE


def test_the_default_run_measures_cost_and_no_robustness(checkout: Checkout) -> None:
    planned = checkout.planned()
    # trees and two networks with three seeds, trees and three networks with one, and an ensemble
    assert (planned["cost_bdt"], planned["cost_network"], planned["compute_metrics"]) == (4, 9, 16)
    assert not {"compute_robustness", "import_scores", "plot_learning_curves"} & set(planned)


def test_an_ensemble_is_scored_and_not_trained(checkout: Checkout) -> None:
    overlay = checkout.overlay(with_models(both=ENSEMBLE))
    planned = checkout.planned("--configfile", overlay, *COMPARISON)
    # three seeds, each on signal and background; no training but those of its members
    assert (planned["fit_ensemble"], planned["score_ensemble"], planned["compute_metrics"]) == (3, 6, 9)
    assert (planned["train_bdt"], planned["train_network"], planned["cost_bdt"]) == (3, 3, 3)


def test_an_ensemble_has_the_seeds_of_its_members(checkout: Checkout) -> None:
    overlay = checkout.overlay(with_models(both=ENSEMBLE, pfn={"seeds": [2]}))
    planned = checkout.planned("--configfile", overlay, *COMPARISON)
    assert (planned["fit_ensemble"], planned["train_bdt"], planned["train_network"]) == (1, 3, 1)


def test_scores_made_elsewhere_come_in_once(checkout: Checkout) -> None:
    (checkout.folder / "mine.csv").touch()
    overlay = checkout.overlay(with_models(mine={"family": "external", "scores": "mine.csv"}))
    target = [f"results/taggers/{name}" for name in ("comparison.json", "plots/mine_scores.png", "plots/mine_mass.png")]
    planned = checkout.planned("--configfile", overlay, "--", *target)
    assert (planned["import_scores"], planned["list_test_jets"], planned["compute_metrics"]) == (1, 1, 7)
    assert planned["score_bdt"] == 6


def test_robustness_scores_the_shifted_jets(checkout: Checkout) -> None:
    mine = {"family": "external", "scores": "mine.csv"}
    taggers = {"robustness": {"shifts": ["jesUp", "drop"]}, "models": TWO_TAGGERS | {"mine": mine, "both": ENSEMBLE}}
    overlay = checkout.overlay({"taggers": taggers, "features": {"perturbations": {"drop": {}}}} | NO_FIRMWARE)
    (checkout.folder / "mine.csv").touch()
    planned = checkout.planned("--configfile", overlay, "--", "results/taggers/plots/robustness.png")
    # two taggers and their ensemble, three seeds; three shifts of two datasets each; nothing from elsewhere
    assert (planned["compute_robustness"], planned["score_network"], planned["score_ensemble"]) == (9, 18, 18)


def test_learning_curves_train_on_fewer_jets(checkout: Checkout) -> None:
    overlay = checkout.overlay({"taggers": {"learning_curve": {"taggers": ["pfn"], "sizes": [500, 2000]}}})
    planned = checkout.planned("--configfile", overlay, "--", "results/taggers/plots/learning_curves.png")
    # three seeds of two sizes and of all jets
    assert (planned["train_network"], planned["compute_metrics"], planned["plot_learning_curves"]) == (9, 9, 1)
    assert "train_bdt" not in planned
    curve = {"taggers": ["pfn"], "sizes": [500, 2000], "seeds": [2]}
    overlay = checkout.overlay({"taggers": {"learning_curve": curve}})
    planned = checkout.planned("--configfile", overlay, "--", "results/taggers/plots/learning_curves.png")
    assert planned["train_network"] == 5


def test_a_tagger_may_have_seeds_of_its_own(checkout: Checkout) -> None:
    overlay = checkout.overlay(with_models(pfn={"seeds": [7]}))
    planned = checkout.planned("--configfile", overlay, *COMPARISON)
    assert (planned["train_network"], planned["train_bdt"]) == (1, 3)


def test_number_of_training_jets_and_gpu_reach_the_training(checkout: Checkout) -> None:
    taggers = {"jets": 300, "models": TWO_TAGGERS | {"pfn": {"gpus": 1}}}
    overlay = checkout.overlay({"taggers": taggers} | NO_FIRMWARE)
    target = [f"results/taggers/pfn/1{size}/model.safetensors" for size in ("", "_200jets")]
    printed = checkout.run("-n", "-p", "--cores", "1", "--configfile", overlay, "--", *target)
    commands = [line for line in printed.splitlines() if "-m lhcml.taggers.train_network" in line]
    assert any("--size 300 " in line and "--as-many-as" not in line and "--gpus 1" in line for line in commands)
    assert any("--size 200 " in line and "--as-many-as 300" in line for line in commands)
    # the same jets for both: one seed of the choice
    assert len({line.split("--size-seed ")[1].split()[0] for line in commands}) == 1


def test_every_network_may_be_exported_and_applied(checkout: Checkout) -> None:
    ours = {"family": "onnx", "model": "results/taggers/pfn/1/model.onnx"}
    for name in ("their.onnx", "preprocess.json"):
        (checkout.folder / name).touch()
    theirs = {"family": "onnx", "model": "their.onnx", "preprocess": "preprocess.json"}
    overlay = checkout.overlay(
        with_models(pfn={"seeds": [1]}, ours=ours | {"seeds": [1]}, theirs=theirs | {"seeds": [1]})
    )
    planned = checkout.planned("--configfile", overlay, *COMPARISON)
    assert (planned["export_onnx"], planned["describe_onnx"], planned["score_onnx"]) == (1, 2, 4)


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        (with_models(both=ENSEMBLE | {"members": ["xgboost", "pnf"]}), "'pnf' is no tagger that can be a member"),
        (with_models(both={"family": "ensemble"}), "'members' is a required property"),
        (with_models(pfn={"scores": "mine.csv"}), "for family external only"),
        (with_models(mine={"family": "onnx"}), "'model' is a required property"),
        (with_models(mine={"family": "pnf"}), "there is no tagger family 'pnf'"),
        (with_models(pfn={"architecture": {"fi": [8]}}), "architecture has no 'fi'"),
        ({"taggers": {"learning_curve": {"taggers": ["pnf"]}}}, "'pnf' is not defined"),
        ({"taggers": {"robustness": {"shifts": ["isrUp"]}}}, "'isrUp' is not among the shifts of channel toptag"),
    ],
)
def test_a_bad_block_stops_before_any_job(checkout: Checkout, overlay: dict, message: str) -> None:
    output = checkout.run("-n", "--cores", "1", "--configfile", checkout.overlay(overlay), check=False)
    assert message in output
    assert "Traceback" not in output
