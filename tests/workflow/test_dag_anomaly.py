"""What the section of anomaly detection puts into or takes out of the graph of jobs; dry runs only."""

from __future__ import annotations

import pytest
from workflow_runs import Checkout

TABLE = ("--", "results/anomaly/comparison.json")


def anomaly(**block: object) -> dict[str, object]:
    """Return an overlay of the section with one mixture of two seeds and two methods."""
    base: dict[str, object] = {
        "mixtures": {"injected": {"seeds": [1, 2]}, "background": None},
        "methods": {"supervised": None, "cathode": None},
        "checks": None,
    }
    return {"anomaly": base | block, "inference": {"measurements": {"resonance": None}}}


def test_without_methods_there_is_no_search(checkout: Checkout) -> None:
    none = {"methods": None, "autoencoders": {"models": None}, "pairs": {"data": None}}
    overlay = {"anomaly": none, "inference": {"measurements": {"resonance": None}}}
    planned = checkout.planned("--configfile", checkout.overlay(overlay))
    for rule in (
        "collect_dijets",
        "mix_data",
        "score_events",
        "search_resonance",
        "train_autoencoder",
        "build_matrices",
    ):
        assert rule not in planned


def test_a_job_for_each_seed_and_method(checkout: Checkout) -> None:
    planned = checkout.planned("--configfile", checkout.overlay(anomaly()), *TABLE)
    assert (planned["mix_data"], planned["score_events"], planned["search_resonance"]) == (2, 4, 4)
    assert planned["scan_injections"] == 2
    assert planned["compare_searches"] == 1


def test_checks_do_not_depend_on_the_order_of_mixtures(checkout: Checkout) -> None:
    """The report is made with the configuration as sorted JSON: "background" then comes before "injected"."""
    block = {"checks": {"mixture": "injected", "methods": ["inclusive"]}}
    listed = checkout.run("-n", "--cores", "2", "--configfile", checkout.overlay({"anomaly": block}))
    assert "results/anomaly/injected/1/inclusive/3300-3700/checks.json" in listed
    assert "results/anomaly/background/1/inclusive/3300-3700/checks.json" not in listed


def test_a_mixture_may_have_fewer_methods(checkout: Checkout) -> None:
    mixtures = {"injected": {"seeds": [1, 2]}, "background": {"methods": ["cwola"], "seeds": [1]}}
    planned = checkout.planned("--configfile", checkout.overlay(anomaly(mixtures=mixtures)), *TABLE)
    assert planned["score_events"] == 5


def test_windows_are_scanned_on_the_first_seed(checkout: Checkout) -> None:
    windows = [{"min": 3100, "max": 3500}, {"min": 3500, "max": 3900}]
    scan = {"mixtures": ["injected"], "methods": ["cwola"], "windows": windows}
    plain = checkout.planned("--configfile", checkout.overlay(anomaly()))
    scanned = checkout.planned("--configfile", checkout.overlay(anomaly(scan=scan)))
    assert scanned["score_events"] - plain["score_events"] == 2


def test_pseudo_experiments_are_tested_for_uniformity(checkout: Checkout) -> None:
    mixtures = {"none": {"shuffle": 400, "seeds": [1, 2, 3], "methods": ["cwola"]}}
    planned = checkout.planned("--configfile", checkout.overlay(anomaly(mixtures=mixtures)))
    assert planned["check_uniformity"] == 1


def test_collision_data_have_no_figures_of_merit(checkout: Checkout) -> None:
    block = anomaly(data=["qcd"], background=None, signal=None)
    planned = checkout.planned("--configfile", checkout.overlay(block))
    assert planned["search_resonance"] == 4
    for rule in ("compute_improvement", "scan_injections", "plot_improvement"):
        assert rule not in planned


def test_imported_events_need_no_channel(checkout: Checkout) -> None:
    for name in ("features.h5", "signal.parquet"):
        (checkout.folder / name).touch()
    imports = {"lhco": {"olympics": "features.h5", "label": "background"}, "mine": {"tables": ["signal.parquet"]}}
    block = anomaly(imports=imports, background=["lhco"], signal=["mine"])
    planned = checkout.planned("--configfile", checkout.overlay(block), *TABLE)
    assert planned["import_olympics"] == planned["import_tables"] == 1
    assert "generate_events" not in planned


def test_a_method_depends_on_its_own_module_only(checkout: Checkout) -> None:
    """An edit of the flows reruns CATHODE and not CWoLa Hunting."""
    overlay = checkout.overlay(anomaly(methods={"supervised": None, "inclusive": None}, checks=None))
    listed = checkout.run("-n", "--cores", "2", "--configfile", overlay, "--", "results/anomaly/comparison.json")
    inputs = {}
    for job in listed.split("rule score_events:")[1:]:
        method = "cathode" if "/cathode/" in job.split("log:")[0] else "cwola"
        inputs[method] = job.split("output:")[0]
    assert "anomaly/flows.py" in inputs["cathode"]
    assert "anomaly/flows.py" not in inputs["cwola"]


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"channel": "dijets"}, "anomaly.channel: 'dijets' is not defined\n  fix: did you mean 'dijet'?"),
        ({"methods": {"cathode": {"family": "cathod"}}}, "anomaly.methods.cathode"),
        ({"search": {"efficency": 0.1}}, "did you mean 'efficiency'?"),
    ],
)
def test_errors_name_key_and_fix(checkout: Checkout, block: dict, message: str) -> None:
    output = checkout.run("-n", "--configfile", checkout.overlay({"anomaly": block}), check=False)
    assert message in output
    assert "Traceback" not in output
