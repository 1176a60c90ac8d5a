"""What the section of unfolding puts into or takes out of the graph of jobs; dry runs only."""

from __future__ import annotations

import pytest
from workflow_runs import Checkout

METHODS = {"multifold": None, "multifold_trees": None, "ibu": None, "inversion": None, "before": None}
TREES = {"family": "multifold", "estimator": "trees"}


def unfolding(**block: object) -> dict[str, object]:
    """Return an overlay of the section with one method of trees, without tests."""
    return {"unfolding": {"methods": METHODS | {"trees": TREES}, "tests": {"methods": None}} | block}


def test_without_methods_there_is_no_unfolding(checkout: Checkout) -> None:
    # the fit of Z and jets reads levels too
    overlay = {"unfolding": {"methods": None}, "inference": {"measurements": {"z_jets": None, "top_and_z": None}}}
    planned = checkout.planned("--configfile", checkout.overlay(overlay))
    for rule in ("collect_events", "build_levels", "unfold_events", "publish_dataset", "compare_methods"):
        assert rule not in planned


def test_each_group_of_variations_is_a_job(checkout: Checkout) -> None:
    target = ("--", "results/unfolding/trees/spectra.json")
    planned = checkout.planned("--configfile", checkout.overlay(unfolding()), *target)
    assert planned["unfold_events"] == 5
    fewer = unfolding(ensemble=0, bootstraps={"data": 0}, systematics=None)
    assert checkout.planned("--configfile", checkout.overlay(fewer), *target)["unfold_events"] == 2


def test_shifts_of_systematics_make_levels(checkout: Checkout) -> None:
    target = ("--", "results/unfolding/simulation.parquet")
    with_jes = checkout.planned("--configfile", checkout.overlay(unfolding()), *target)["build_levels"]
    without = checkout.overlay(unfolding(systematics={"jes": None}))
    # one chunk of the simulation, up and down
    assert with_jes - checkout.planned("--configfile", without, *target)["build_levels"] == 2


def test_tables_need_no_events(checkout: Checkout) -> None:
    for name in ("simulation.parquet", "data.parquet"):
        (checkout.folder / name).touch()
    tables = {"simulation": ["simulation.parquet"], "data": ["data.parquet"]}
    overlay = checkout.overlay(unfolding(tables=tables, systematics=None, columns={"reco_jet_mass": "mass"}))
    planned = checkout.planned("--configfile", overlay, "--", "results/unfolding/trees/dataset/manifest.json")
    assert planned == {"collect_events": 1, "unfold_events": 4, "publish_dataset": 1}


def test_derived_observables_come_from_the_data_set(checkout: Checkout) -> None:
    derived = {"mass_over_pt": None, "half": {"observable": "-jet_mass / 2", "bins": [10, -40, 0]}}
    overlay = checkout.overlay(unfolding(derived=derived))
    planned = checkout.planned("--configfile", overlay, "--", "results/unfolding/trees/derived/half.json")
    assert planned["histogram_observable"] == 1
    assert planned["publish_dataset"] == 1
    assert "tabulate_spectra" not in planned


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"channel": "zjet"}, "unfolding.channel: 'zjet' is not defined\n  fix: did you mean 'zjets'?"),
        ({"channel": "toptag"}, "unfolding.channel: 'toptag' is not defined"),
        ({"data": ["tune52"]}, "did you mean 'tune25'?"),
        ({"observables": None}, "unfolding.observables is empty"),
        ({"methods": {"trees": {"family": "omnifold", "estimator": "trees"}}}, "trees take no lists of constituents"),
        ({"methods": {"flow": {"family": "omnifold"}}}, "set features.levels.zjets.constituents to true"),
        ({"methods": {"ibu": {"epochs": 3}}}, "unfolding.methods.ibu"),
        ({"methods": {"one": {"family": "unifold", "observables": ["mass"]}}}, "'mass' is not defined"),
        ({"systematics": {"jes": {"up": "jesUpp"}}}, "did you mean 'jesUp'?"),
        ({"systematics": {"prior": {"source": "prior", "dataset": "nominl"}}}, "did you mean 'nominal'?"),
        ({"tests": {"methods": ["multifolt"]}}, "did you mean 'multifold'?"),
    ],
)
def test_errors_name_key_and_fix(checkout: Checkout, block: dict, message: str) -> None:
    output = checkout.run("-n", "--configfile", checkout.overlay({"unfolding": block}), check=False)
    assert message in output
    assert "Traceback" not in output
