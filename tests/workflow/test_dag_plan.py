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
    hours = [{row["rule"]: row["cpu_hours"] for row in found["rules"]}["generate_events"] for found in (small, large)]
    # four times the chunks of the same size
    assert hours[1] == pytest.approx(4 * hours[0])
    walls = large["total"]["wall_hours"]
    assert walls["100"] < walls["2"] < large["total"]["cpu_hours"]
    assert f"{walls['2']:.2f} hours on 2 cores" in text


def test_a_training_with_a_maximum_of_jets_costs_no_more(checkout: Checkout) -> None:
    def hours(most: int) -> float:
        overlay = with_events(2000)
        models = {"ae_images": {"family": "autoencoder", "label": "AE", "inputs": {"images": {}}}}
        block = {"train_jets": most, "validation_jets": 10, "test_jets": 10, "models": models | {"nae_images": None}}
        found, _ = plan(checkout, overlay | {"anomaly": overlay["anomaly"] | {"autoencoders": block}})
        return next(row["cpu_hours"] for row in found["rules"] if row["rule"] == "train_autoencoder")

    # 4,000 events are 333 jets to train on: then all of them are used
    few, more, all_jets, no_limit = (hours(most) for most in (100, 200, 333, 10**6))
    assert few < more < all_jets
    # in proportion to the jets above what no jets cost
    assert (all_jets - few) / (more - few) == pytest.approx(2.33, rel=1e-6)
    assert no_limit == pytest.approx(all_jets, rel=0.01)


def test_benchmarks_of_ones_own_replace_the_shipped_ones(checkout: Checkout) -> None:
    overlay = with_events(1000)
    made = checkout.folder / "results/samples/toptag/top/0.root"
    benchmark = checkout.folder / "results/benchmarks/samples/generate_events/toptag_top_0.tsv"
    # written at the end of a run
    configuration = checkout.folder / "results/report/config.json"
    try:
        for path in (made, benchmark, configuration):
            path.parent.mkdir(parents=True, exist_ok=True)
        made.write_bytes(b"0" * 5_000_000)
        # an hour for 1000 events
        benchmark.write_text(HEADER + "3600\t1:00:00\t700\t0\t0\t0\t0\t0\t50\t3600\n")
        configuration.write_text(json.dumps(overlay))
        found, _ = plan(checkout, overlay)
        row = next(row for row in found["rules"] if row["rule"] == "generate_events")
        assert row["longest_job_hours"] == pytest.approx(1.0)
        assert row["cpu_hours"] == pytest.approx(4.0)
        # 5 MB of each of the four jobs
        assert row["disk_gb"] == pytest.approx(0.02)
        assert row["largest_memory_mb"] == pytest.approx(700)
    finally:
        for name in ("samples", "benchmarks", "report"):
            shutil.rmtree(checkout.folder / "results" / name)
