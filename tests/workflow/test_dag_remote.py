"""Files that Snakemake never sees: a dry run needs no network, and an address is no input file."""

from __future__ import annotations

from typing import Any

from workflow_runs import Checkout

# nothing but a skim
SKIM_ONLY: dict[str, Any] = {
    "channels": dict.fromkeys(("toptag", "dijet", "zjets", "trigger")),
    "features": {"levels": None, "plots": None},
    "taggers": {"models": None},
    "anomaly": {"methods": None, "autoencoders": {"models": None}, "pairs": {"data": None}},
    "unfolding": {"methods": None},
    "firmware": {"models": None},
    "inference": {"measurements": None},
}


def test_addresses_are_planned_without_network(checkout: Checkout) -> None:
    (checkout.folder / "list.txt").write_text("# run H\nroot://host.invalid//b.root\nroot://host.invalid//c.root\n")
    (checkout.folder / "local.root").touch()
    datasets = {
        "collisions": {"files": ["root://host.invalid//a.root", "@list.txt"], "data": True},
        "simulation": {"files": ["root://host.invalid//d.root"], "cross_section": 1.0},
        "at_hand": {"files": ["local.root"], "cross_section": 1.0},
    }
    channels = SKIM_ONLY["channels"] | {"own": {"datasets": datasets}}
    overlay = checkout.overlay(SKIM_ONLY | {"channels": channels})
    # and the example for CMS Open Data, with the file that its first lines tell to fetch
    golden = checkout.folder / "data/Cert_271036-284044_13TeV_Legacy2016_Collisions16_JSON.txt"
    golden.parent.mkdir(exist_ok=True)
    golden.write_text('{"278820": [[17, 24]]}')
    planned = checkout.planned("--configfile", "config/examples/cms_open_data.yaml", overlay)
    assert planned["skim_events"] == 5 + 2
    assert (planned["merge_cutflow"], planned["list_luminosity"], planned["plot_cutflow"]) == (2, 2, 2)
    # only the skim reads over the network: events are drawn of the file at hand
    assert planned["plot_events"] == 1
