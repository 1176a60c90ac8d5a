"""What rules ask of a batch system, and the profiles that ask for it; dry runs only."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from workflow_runs import ROOT, Checkout, rule_bodies

QUICK = ("--configfile", "config/quick.yaml")
SAMPLE = "results/samples/toptag/top/0.root"


def test_every_request_grows_with_the_attempt() -> None:
    """Through `memory` and `runtime`, which multiply by it: a constant would make the retries of a cluster useless."""
    for name, body in rule_bodies().items():
        assert "mem_mb=memory(" in body, name
        assert "runtime=runtime(" in body, name


def test_first_attempts_fit_a_queue_of_four_hours() -> None:
    """A common limit of default partitions: what asks for more waits there for ever. The input adds to the minutes."""
    asked = {name: int(re.findall(r"runtime=runtime\((\d+)", body)[0]) for name, body in rule_bodies().items()}
    # fetches files of many GB, where Snakemake runs
    assert asked.pop("fetch_public") == 1440
    assert max(asked.values()) <= 180


def requests(output: str, rule: str) -> dict[str, int]:
    """Return the resources of the job of a rule that a dry run printed."""
    line = output.split(f"rule {rule}:")[1].split("resources:")[1].splitlines()[0]
    return {name: int(value) for name, value in re.findall(r"(mem_mb|runtime)=(\d+)", line)}


def test_generation_asks_in_proportion_to_the_events_of_a_chunk(checkout: Checkout) -> None:
    few = checkout.run("-n", *QUICK, "--", SAMPLE)
    overlay = {
        "samples": {"events_per_chunk": 100_000},
        "channels": {"toptag": {"datasets": {"top": {"events": 250_000}}}},
    }
    many = checkout.run("-n", *QUICK, checkout.overlay(overlay), "--", SAMPLE)
    # 1 GB and 10 minutes, 0.05 MB and 0.1 s an event
    assert requests(few, "generate_events") == {"mem_mb": 1050, "runtime": 12}
    assert requests(many, "generate_events") == {"mem_mb": 6000, "runtime": 177}


def profile(name: str) -> dict:
    return yaml.safe_load((ROOT / "profiles" / name).read_text())


def test_the_profile_of_slurm_keeps_what_the_default_profile_sets() -> None:
    default, slurm = profile("default/profile.yaml"), profile("slurm/profile.yaml")
    # a network file system is slower
    assert default.pop("latency-wait") <= slurm["latency-wait"]
    assert default.items() <= slurm.items()


@pytest.mark.parametrize("site", ["commented", "everything"])
def test_snakemake_takes_the_example_of_a_site(checkout: Checkout, site: str) -> None:
    folder = Path("profiles/slurm")
    text = (ROOT / folder / "site.example.yaml").read_text()
    if site == "everything":
        # lines that hold a key or an entry; the rest of the comments is prose
        text = re.sub(r"^( *)# (?=(  )?[a-z_-]+:(?: |$))", r"\1", text, flags=re.MULTILINE)
        assert "\nslurm-partition-config:" in text
        assert "\n  train_network:" in text
    (checkout.folder / folder / "site.yaml").write_text(text)
    partitions = (ROOT / folder / "partitions.example.yaml").read_text()
    (checkout.folder / folder / "partitions.yaml").write_text(partitions)
    arguments = ("--profile", str(folder / "site.yaml"), "--workflow-profile", str(folder), *QUICK)
    output = checkout.run("-n", *arguments, "--", SAMPLE)
    assert "slurm_account=my_account" in output
    assert ("slurm_partition=short" in output) == (site == "everything")
