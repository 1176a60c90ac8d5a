"""What the switches of the evaluation of taggers put into the graph of jobs; dry runs only."""

from __future__ import annotations

import pytest
from workflow_runs import Checkout

ENSEMBLE = {"family": "ensemble", "members": ["xgboost", "pfn"]}
COMPARISON = ("--", "results/taggers/comparison.json")


def with_models(**models: dict) -> dict:
    return {"taggers": {"models": models}}


def test_the_default_run_measures_cost_and_no_robustness(checkout: Checkout) -> None:
    planned = checkout.planned("results/taggers/comparison.json", "results/taggers/plots/calibration.png")
    assert (planned["cost_bdt"], planned["cost_network"], planned["compute_metrics"]) == (3, 3, 6)
    assert not {"compute_robustness", "fit_ensemble", "import_scores", "plot_learning_curves"} & set(planned)


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
    taggers = {"robustness": {"shifts": ["jesUp", "drop"]}, "models": {"mine": mine, "both": ENSEMBLE}}
    overlay = checkout.overlay({"taggers": taggers, "features": {"perturbations": {"drop": {}}}})
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


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        (with_models(both=ENSEMBLE | {"members": ["xgboost", "pnf"]}), "'pnf' is no tagger that can be a member"),
        (with_models(both={"family": "ensemble"}), "'members' is a required property"),
        (with_models(pfn={"scores": "mine.csv"}), "for family external only"),
        ({"taggers": {"robustness": {"shifts": ["isrUp"]}}}, "'isrUp' is not among the shifts of channel toptag"),
    ],
)
def test_a_bad_block_stops_before_any_job(checkout: Checkout, overlay: dict, message: str) -> None:
    output = checkout.run("-n", "--cores", "1", "--configfile", checkout.overlay(overlay), check=False)
    assert message in output
    assert "Traceback" not in output
