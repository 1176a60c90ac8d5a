"""The plan of a configuration: its jobs are those of a dry run, and its costs follow the events."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from workflow_runs import NO_FIRMWARE, Checkout

# Events, skims and features of one channel; everything after them is left out
SMALL: dict[str, Any] = {
    "channels": dict.fromkeys(("dijet", "zjets", "trigger")),
    "features": {"levels": {"zjets": None}},
    "taggers": {"models": None},
    "unfolding": {"methods": None},
    "anomaly": {"methods": None, "pairs": {"data": None}, "autoencoders": {"models": None}},
    "inference": {"measurements": None},
} | NO_FIRMWARE
HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def plan(checkout: Checkout, overlay: dict[str, Any], *arguments: str) -> tuple[dict[str, Any], str]:
    """Return the plan of an overlay, and what was printed."""
    command = [str(Path(checkout.command).parent / "python"), "workflow/plan.py", "--json", "plan.json", *arguments]
    done = subprocess.run(
        [*command, "--configfile", checkout.overlay(overlay)],
        cwd=checkout.folder, env=checkout.environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((checkout.folder / "plan.json").read_text()), done.stdout


def with_events(number: int) -> dict[str, Any]:
    """Return the small overlay with this many events in each dataset, 1000 a chunk."""
    names = ("top", "qcd", "top_pseudodata", "qcd_pseudodata")
    channels = SMALL["channels"] | {"toptag": {"datasets": {name: {"events": number} for name in names}}}
    return SMALL | {"channels": channels, "samples": {"events_per_chunk": 1000}}


def test_the_jobs_are_those_of_a_dry_run_and_costs_follow_the_events(checkout: Checkout) -> None:
    small, _ = plan(checkout, with_events(1000))
    large, text = plan(checkout, with_events(4000), "--cores", "2", "--slots", "100")
    counted = {row["rule"]: row["jobs"] for row in large["rules"]}
    assert counted | large["not_measured"] == checkout.planned("--configfile", "overlay.yaml")
    assert large["total"]["jobs"] == sum(counted.values()) + sum(large["not_measured"].values())
    hours = [rule_hours(found)["generate_events"] for found in (small, large)]
    # four times the chunks of the same size
    assert hours[1] == pytest.approx(4 * hours[0])
    walls = large["total"]["wall_hours"]
    assert walls["100"] < walls["2"] < large["total"]["cpu_hours"]
    assert f"{walls['2']:.2f} hours on 2 cores" in text


def rule_hours(found: dict[str, Any]) -> dict[str, float]:
    """Return the processor hours of each rule of a plan."""
    return {row["rule"]: row["cpu_hours"] for row in found["rules"]}


def autoencoder_hours(checkout: Checkout, model: dict[str, Any], events: int = 2000, **settings: int) -> float:
    """Return the processor hours of one autoencoder of jets."""
    overlay = with_events(events)
    block = {"validation_jets": 10, "test_jets": 10, "models": {"ae_images": None, "nae_images": None, "one": model}}
    found, _ = plan(checkout, overlay | {"anomaly": overlay["anomaly"] | {"autoencoders": block | settings}})
    return rule_hours(found)["train_autoencoder"]


def test_an_autoencoder_with_a_maximum_of_jets_costs_no_more(checkout: Checkout) -> None:
    model = {"family": "autoencoder", "label": "AE", "inputs": {"images": {}}}
    # 4,000 events are 333 jets to train on: then all of them are used
    few, more, all_jets, no_limit = (
        autoencoder_hours(checkout, model, train_jets=most) for most in (100, 200, 333, 10**6)
    )
    assert few < more < all_jets
    # in proportion to the jets above what no jets cost
    assert (all_jets - few) / (more - few) == pytest.approx(2.33, rel=1e-6)
    assert no_limit == pytest.approx(all_jets, rel=0.01)


def test_a_normalized_autoencoder_costs_what_its_updates_do(checkout: Checkout) -> None:
    def hours(updates: int, events: int = 2000) -> float:
        model = {"family": "nae", "label": "NAE", "inputs": {"images": {}}, "normalization": {"updates": updates}}
        return autoencoder_hours(checkout, model, events)

    once, twice, thrice = (hours(updates) for updates in (100, 200, 300))
    assert thrice - twice == pytest.approx(twice - once, rel=1e-6)
    assert twice > once
    # whatever there is to train on
    assert hours(100, 4000) == pytest.approx(once, rel=1e-6)


def test_who_goes_twice_through_the_events_costs_more(checkout: Checkout) -> None:
    # each number of passes of the default configuration, and its double; whatever tagger comes first
    chosen: dict[str, Any] = {"inference": {"measurements": {"boosted_top": {"tagger": "xgboost"}}}}
    overlay = chosen | {
        "taggers": {"models": {"xgboost": {"boosting": {"rounds": 1200}}, "pfn": {"training": {"epochs": 40}}}},
        "anomaly": {
            "methods": {
                "supervised": {"classifier": {"trees": {"members": 10}}},
                "cathode": {"flow": {"epochs": 100}},
            },
            "autoencoders": {"models": {"ae_images": {"training": {"epochs": 60}}}},
            "pairs": {"training": {"epochs": 60}},
        },
        "unfolding": {"ensemble": 8},
        "firmware": {"models": {"jets": {"training": {"epochs": 60}, "quantisation": {"epochs": 40}}}},
    }
    once, twice = (rule_hours(plan(checkout, settings)[0]) for settings in (chosen, overlay))
    more = {rule for rule in once if twice[rule] > once[rule]}
    assert more == {
        "train_bdt", "train_network", "train_float", "quantise_network", "unfold_events",
        "score_events", "train_autoencoder", "train_event_autoencoder",
    }  # fmt: skip
    assert all(twice[rule] == pytest.approx(once[rule]) for rule in set(once) - more)


def test_a_run_of_ones_own_corrects_the_shipped_costs(checkout: Checkout, root: Path) -> None:
    shipped = json.loads((root / "workflow/costs.json").read_text())["rules"]["generate_events"]
    names = ("top", "qcd", "top_pseudodata", "qcd_pseudodata")

    def cost(name: str, quantity: str) -> float:
        return shipped["base"][quantity] + 1000 * shipped["variants"][f"toptag/{name}"][quantity]

    overlay = with_events(1000)
    made = checkout.folder / "results/samples/toptag/top/0.root"
    benchmark = checkout.folder / "results/benchmarks/samples/generate_events/toptag_top_0.tsv"
    # written at the end of a run
    configuration = checkout.folder / "results/report/config.json"
    try:
        for path in (made, benchmark, configuration):
            path.parent.mkdir(parents=True, exist_ok=True)
        made.write_bytes(b"0" * 5_000_000)
        # an hour and 7 GB for 1000 events
        benchmark.write_text(HEADER + "3600\t1:00:00\t7000\t0\t0\t0\t0\t0\t50\t3600\n")
        configuration.write_text(json.dumps(overlay))
        found, _ = plan(checkout, overlay)
        row = next(row for row in found["rules"] if row["rule"] == "generate_events")
        # its job took what it took, and the others take as many times longer than on the machine of the shipped costs
        others = sum(cost(name, "cpu_seconds") for name in names[1:])
        assert row["longest_job_hours"] == pytest.approx(1.0)
        assert row["cpu_hours"] == pytest.approx(1 + others / cost("top", "cpu_seconds"))
        # 5 MB of this job, and the shipped ones of the others
        disk = 5 + sum(cost(name, "table_mb") + shipped["variants"][f"toptag/{name}"]["other_mb"] for name in names[1:])
        assert row["disk_gb"] == pytest.approx(disk / 1e3)
        assert row["largest_memory_mb"] == pytest.approx(7000)
    finally:
        for name in ("samples", "benchmarks", "report"):
            shutil.rmtree(checkout.folder / "results" / name)
