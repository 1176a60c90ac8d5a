"""The examples with public data: what is fetched, into how many chunks its rows go, and what is made of them."""

from __future__ import annotations

import pytest
from workflow_runs import Checkout


@pytest.mark.parametrize(
    ("example", "target", "expected"),
    [
        # 25 + 9 + 9 chunks of 50,000 rows, for each of two labels
        (
            "toptag",
            "results/taggers/test_jets.parquet",
            {"fetch_public": 3, "import_events": 86, "skim_events": 86, "build_features": 86, "list_test_jets": 1},
        ),
        (
            "jetclass",
            "results/skim/toptag/cutflow.json",
            {"fetch_public": 1, "import_events": 8, "skim_events": 8, "merge_cutflow": 1},
        ),
        ("olympics", "results/anomaly/events/qcd.parquet", {"fetch_public": 1, "import_events": 22}),
        # 3 chunks of each file; the simulation has its shifts jesUp and jesDown in the systematics of the same rule
        ("omnifold", "results/unfolding/data.parquet", {"fetch_public": 8, "import_events": 24, "build_levels": 48}),
        ("trigger", "results/firmware/vae/inputs/a4l.parquet", {"fetch_public": 5, "import_events": 44}),
    ],
)
def test_examples(checkout: Checkout, example: str, target: str, expected: dict[str, int]) -> None:
    planned = checkout.planned("--configfile", f"config/examples/public_{example}.yaml", "--", target)
    assert planned | expected == planned


def test_rows_of_several_files(checkout: Checkout) -> None:
    files = ["a.tar/b/0.root", "a.tar/b/1.root"]
    own = {"layout": "jetclass", "files": files, "label": "Tbqq"}
    public = own | {"record": 77}
    datasets = {"own": {"import": own, "events": 250}, "public": {"import": public, "events": 250, "split": "test"}}
    overlay = checkout.overlay(
        {
            "channels": {"own": {"datasets": datasets}},
            "samples": {"events_per_chunk": 100, "public": {"folder": "/shared/zenodo"}},
            "anomaly": {"imports": {"features": {"olympics": "f.h5", "record": 78}}},
        }
    )
    (checkout.folder / "a.tar").touch()
    targets = [f"results/samples/own/{dataset}/imported/{chunk}.root" for dataset in datasets for chunk in range(6)]
    targets.append("results/anomaly/events/features.parquet")
    printed = checkout.run("-n", "-p", "--cores", "1", "--configfile", overlay, "--", *targets)
    for chunk, (file, first, rows, offset) in enumerate(
        [(0, 0, 100, 0), (0, 100, 100, 0), (0, 200, 50, 0), (1, 0, 100, 250), (1, 100, 100, 250), (1, 200, 50, 250)]
    ):
        rest = f"--first-row {first} --rows {rows} --event-offset {offset} --luminosity-block {chunk + 1} "
        assert f"--layout jetclass --input a.tar/b/{file}.root --label Tbqq {rest}" in printed
        assert f"--layout jetclass --input /shared/zenodo/77/a.tar/b/{file}.root --label Tbqq {rest}" in printed
    # a file that the list does not know is asked for at the record
    assert "--record 77 --name a.tar --known '{}' --folder /shared/zenodo --address https://zenodo.org" in printed
    assert "lhcml.anomaly.import_olympics --input /shared/zenodo/78/f.h5" in printed
    assert printed.count("lhcml.samples.fetch_public ") == 2


def test_a_split_of_a_dataset_enters_its_features_only(checkout: Checkout) -> None:
    block = {"layout": "toptag", "files": ["test.h5"]}
    datasets = {"test": {"import": block, "events": 10, "split": "test"}, "mixed": {"import": block, "events": 10}}
    overlay = checkout.overlay({"channels": {"own": {"datasets": datasets}}})
    (checkout.folder / "test.h5").touch()
    targets = [f"results/features/own/{dataset}/nominal/0.parquet" for dataset in datasets]
    printed = checkout.run("-n", "-p", "--cores", "1", "--configfile", overlay, "--", *targets)
    for split in ('{"test": 1.0, "train": 0.0, "validation": 0.0}', '{"test": 0.5, "train": 0.4, "validation": 0.1}'):
        assert printed.count(f'"split": {split}') == 1
