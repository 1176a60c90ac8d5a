"""What each switch of the configuration puts into or takes out of the graph of jobs; dry runs only."""

from __future__ import annotations

import pytest
from workflow_runs import NO_FIRMWARE, TWO_TAGGERS, Checkout, rule_bodies

QUICK = ("--configfile", "config/quick.yaml")


def test_the_default_run_has_every_stage(checkout: Checkout) -> None:
    planned = checkout.planned()
    assert (planned["train_bdt"], planned["train_network"]) == (4, 9)
    for rule in (
        "generate_events",
        "skim_events",
        "build_features",
        "fit_workspace",
        "scan_limit",
        "simulate_rtl",
        "make_report",
    ):
        assert planned[rule] >= 1


def test_overlays_merge_over_the_default(checkout: Checkout) -> None:
    # two ends of the graph: all of the full configuration is 22,000 jobs, which take minutes to plan
    target = ("--", "results/skim/toptag/cutflow.json", "results/unfolding/comparison.json")
    full = checkout.planned("--configfile", "config/full.yaml", *target)
    default, quick = checkout.planned(*target), checkout.planned(*QUICK, *target)
    assert full["generate_events"] > default["generate_events"] > quick["generate_events"]


def test_a_single_target_plans_its_own_chain_only(checkout: Checkout) -> None:
    planned = checkout.planned("results/skim/toptag/cutflow.json")
    assert set(planned) == {"generate_events", "skim_events", "merge_cutflow"}


def test_number_of_chunks_follows_events_and_chunk_size(checkout: Checkout) -> None:
    overlay = checkout.overlay(
        {
            "samples": {"events_per_chunk": 100},
            "channels": {"toptag": {"datasets": {"top": {"events": 201}, "qcd": {"events": 200}}}},
        }
    )
    target = [f"results/samples/toptag/{chunk}.root" for chunk in ("top/0", "top/2", "qcd/1")]
    assert checkout.planned("--configfile", overlay, "--", *target)["generate_events"] == 3
    # top has three chunks and qcd two, of which 3 + 2 are read by the cutflow, beside the other datasets
    planned = checkout.planned("--configfile", overlay, "--", "results/features/toptag/top/nominal/2.parquet")
    assert planned == {"generate_events": 1, "skim_events": 1, "build_features": 1}


def test_a_batch_is_a_part_of_the_skims(checkout: Checkout) -> None:
    names = ("top", "qcd", "top_pseudodata", "qcd_pseudodata")
    overlay = {
        "samples": {"events_per_chunk": 100},
        "channels": {"toptag": {"datasets": {name: {"events": 500} for name in names}}},
    }
    # as in docs/costs.md
    greedy = ("--scheduler", "greedy", "--scheduler-greedy-omit-prioritize-by-temp-and-input")
    batch = ("--batch", "merge_cutflow=1/2", "--", "results/skim/toptag/cutflow.json")
    planned = checkout.planned("--configfile", checkout.overlay(overlay), *greedy, *batch)
    # half of the inputs, of which a few are sources; what comes after the skims waits for the last batch
    assert set(planned) == {"generate_events", "skim_events"}
    assert 10 <= planned["skim_events"] == planned["generate_events"] < 20


def test_no_displays(checkout: Checkout) -> None:
    planned = checkout.planned("--configfile", checkout.overlay({"report": {"displays": 0}}))
    assert "plot_events" not in planned
    assert "plot_jets" not in planned


def test_seeds_multiply_the_trainings(checkout: Checkout) -> None:
    planned = checkout.planned(
        "--configfile", checkout.overlay({"taggers": {"seeds": [1, 2, 3, 4, 5], "models": TWO_TAGGERS}} | NO_FIRMWARE)
    )
    assert planned["train_bdt"] == planned["train_network"] == 5


def test_a_tagger_set_to_null_is_gone(checkout: Checkout) -> None:
    overlay = checkout.overlay({"taggers": {"models": TWO_TAGGERS | {"pfn": None}}} | NO_FIRMWARE)
    planned = checkout.planned("--configfile", overlay)
    assert "train_network" not in planned
    assert planned["train_bdt"] == 3


def test_a_channel_set_to_null_is_gone(checkout: Checkout) -> None:
    before = checkout.planned()["skim_events"]
    channels = {"dijet": None, "zjets": None, "trigger": None}
    rest = {"features": {"levels": {"zjets": None}}, "unfolding": {"methods": None}}
    rest |= {"anomaly": {"methods": None, "pairs": {"data": None}}}
    rest |= {"inference": {"measurements": dict.fromkeys(("z_jets", "top_and_z", "resonance"))}}
    gone = checkout.overlay({"channels": channels} | rest | NO_FIRMWARE)
    assert 0 < checkout.planned("--configfile", gone)["skim_events"] < before


def test_no_measurement(checkout: Checkout) -> None:
    overlay = checkout.overlay({"inference": {"measurements": None}})
    planned = checkout.planned("--configfile", overlay)
    assert "fit_workspace" not in planned
    assert "build_workspace" not in planned
    assert "train_bdt" in planned


def test_a_given_workspace_is_fitted_without_events(checkout: Checkout) -> None:
    (checkout.folder / "given.json").write_text("{}")
    overlay = checkout.overlay({"inference": {"measurements": {"given": {"workspace": "given.json"}}}})
    planned = checkout.planned("--configfile", overlay, "--", "results/inference/given/fit.json")
    assert set(planned) == {"import_workspace", "fit_workspace"}


def test_files_are_read_where_they_are(checkout: Checkout) -> None:
    for name in ("b.root", "a.root"):
        (checkout.folder / name).touch()
    datasets = {"mine": {"files": ["*.root"], "cross_section": 1.0}}
    overlay = checkout.overlay({"channels": {"own": {"datasets": datasets}}})
    planned = checkout.planned("--configfile", overlay, "--", "results/skim/own/cutflow.json")
    assert planned == {"skim_events": 2, "merge_cutflow": 1}


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        ({"sead": 3}, "did you mean 'seed'?"),
        ({"taggers": {"signal": ["tob"]}}, "did you mean 'top'?"),
        ({"samples": {"events_per_chunk": -1}}, "samples.events_per_chunk: -1 is less than the minimum"),
    ],
)
def test_a_bad_configuration_stops_before_any_job(checkout: Checkout, overlay: dict, message: str) -> None:
    output = checkout.run("--cores", "1", "--configfile", checkout.overlay(overlay), check=False)
    assert message in output
    assert "Traceback" not in output
    assert not (checkout.folder / "results/samples").exists()


def test_every_rule_is_documented_logged_and_benchmarked() -> None:
    bodies = rule_bodies()
    assert len(bodies) > 15
    for name, body in bodies.items():
        for needed in ('    """', "log:", "benchmark:", "conda:", "threads:", "mem_mb", "runtime", "code=sources("):
            # the report archive is made by Snakemake itself: no module, no environment of its own
            if name != "make_report" or needed not in ("conda:", "code=sources("):
                assert needed in body, f"{name} lacks {needed}"
