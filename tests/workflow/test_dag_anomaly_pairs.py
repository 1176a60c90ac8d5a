"""What the search in two-object masses puts into the graph of jobs; dry runs only."""

from __future__ import annotations

from workflow_runs import Checkout


def test_a_search_for_each_region_and_matrices_for_each_dataset(checkout: Checkout) -> None:
    pairs = {"data": ["w", "tt"], "signals": ["tt", "a4l"], "regions": [100, 0.5]}
    overlay = {"anomaly": {"methods": None, "autoencoders": {"models": None}, "pairs": pairs}}
    overlay |= {"inference": {"measurements": None}}
    # tt is both searched and a signal, and built once
    planned = checkout.planned(
        "--configfile", checkout.overlay(overlay), "--", *(
            f"results/anomaly/pairs/plots/{name}.png" for name in ("losses", "100pb_spectra", "0.5pb_limits")
        ),
    )  # fmt: skip
    assert planned["build_matrices"] == 3
    assert planned["train_event_autoencoder"] == 1
    assert (planned["search_pairs"], planned["plot_pairs"], planned["plot_losses"]) == (2, 2, 1)
