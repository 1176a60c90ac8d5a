"""Every unusable input, on the real command line: message names file, cause and fix; nothing is left behind."""

from __future__ import annotations

import json
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

JETS = {"jets": {"candidates": {"pt": {"min": 200}}}}


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "cannot open"),
        (b"run,event\n1,2\n" * 50, "cannot open"),
        (b"PAR1" + bytes(200) + b"PAR1", "cannot open"),
        (b"root" + bytes(300), "holds: nothing"),
    ],
    ids=["empty file", "text", "parquet", "root in name only"],
)
def test_wrong_kind_of_file(commands, skim_settings, tmp_path: Path, content: bytes, cause: str) -> None:
    path = tmp_path / "bad.root"
    path.write_bytes(content)
    message = commands.error(path, skim_settings(JETS))
    assert cause in message
    assert str(path) in message


@pytest.mark.parametrize("share", [0.02, 0.7, 0.99])
def test_truncated_file(commands, skim_settings, events_file: Path, tmp_path: Path, share: float) -> None:
    content = events_file.read_bytes()
    path = tmp_path / "truncated.root"
    path.write_bytes(content[: int(share * len(content))])
    message = commands.error(path, skim_settings(JETS))
    assert str(path) in message
    assert "skim.on_bad_file: skip" in message


def test_damaged_basket_names_the_branch(commands, skim_settings, events_file: Path, tmp_path: Path) -> None:
    with uproot.open(events_file) as file:
        branch = file["Events/FatJet_pt"]
        where, length = branch.member("fBasketSeek")[0], branch.member("fBasketBytes")[0]
    content = bytearray(events_file.read_bytes())
    # beyond the basket's key and the header of the compressed block
    content[where + 120 : where + length] = bytes(length - 120)
    path = tmp_path / "damaged.root"
    path.write_bytes(content)
    message = commands.error(path, skim_settings(JETS))
    assert "FatJet_pt" in message
    assert str(path) in message


def test_missing_file(commands, skim_settings, tmp_path: Path) -> None:
    assert "there is no file" in commands.error(tmp_path / "nowhere.root", skim_settings(JETS))


def test_no_events_tree(commands, skim_settings, tmp_path: Path) -> None:
    path = tmp_path / "histograms.root"
    with uproot.recreate(path) as file:
        file["counts"] = np.histogram([1.0, 2.0])
    message = commands.error(path, skim_settings(JETS))
    assert "no tree `Events`" in message
    assert "counts" in message


def test_events_is_no_tree(commands, skim_settings, tmp_path: Path) -> None:
    path = tmp_path / "histogram.root"
    with uproot.recreate(path) as file:
        file["Events"] = np.histogram([1.0, 2.0])
    assert "neither a TTree nor an RNTuple" in commands.error(path, skim_settings(JETS))


def test_missing_branch(commands, skim_settings, events, write, tmp_path: Path) -> None:
    jets = events["FatJet"]
    path = write(tmp_path / "nomass.root", events | {"FatJet": jets[["pt", "eta", "phi"]]})
    message = commands.error(path, skim_settings(JETS))
    assert f"{path} has no branch FatJet_mass" in message
    assert "FatJet_pt" in message


def test_missing_generator_weight(commands, skim_settings, events, write, tmp_path: Path) -> None:
    path = write(tmp_path / "data.root", {name: values for name, values in events.items() if name != "genWeight"})
    assert "set `data: true`" in commands.error(path, skim_settings(JETS))


def test_simulation_called_data(commands, skim_settings, events_file: Path) -> None:
    assert "remove `data: true`" in commands.error(events_file, skim_settings(JETS, data=True))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_in_used_branch(commands, skim_settings, events, write, tmp_path: Path, value: float) -> None:
    jets = events["FatJet"]
    pt = ak.where(ak.local_index(jets.pt) == 1, np.float32(value), jets.pt)
    path = write(tmp_path / "nan.root", events | {"FatJet": ak.with_field(jets, pt, "pt")})
    message = commands.error(path, skim_settings(JETS))
    assert f"branch FatJet_pt of {path} are NaN or infinite" in message
    assert message.startswith(f"error: {ak.sum(ak.num(jets) > 1)} values")


def test_nan_in_candidates(commands, skim_settings, events, write, tmp_path: Path) -> None:
    candidates = events["PFCands"]
    path = write(tmp_path / "nan.root", events | {"PFCands": ak.with_field(candidates, candidates.pt * np.nan, "pt")})
    assert "PFCands_pt" in commands.error(path, skim_settings(JETS))


def test_nan_in_unused_branch_is_no_matter(commands, skim_settings, events, write, tmp_path: Path) -> None:
    path = write(tmp_path / "nan.root", events | {"MET_pt": events["MET_pt"] * np.nan})
    summary, _ = commands.skim(path, skim_settings(JETS))
    assert summary["kept"] > 0


def test_branch_of_wrong_type(commands, skim_settings, events, write, tmp_path: Path) -> None:
    strings = ak.Array(["a"] * len(events["event"]))
    path = write(tmp_path / "strings.root", events | {"HLT_Mu50": strings, "genWeight": ak.Array(events["MET_pt"])})
    message = commands.error(path, skim_settings(JETS | {"triggers": ["HLT_Mu50"]}))
    assert "branch HLT_Mu50" in message
    assert "expected one number per event" in message


def test_number_where_a_list_belongs(commands, skim_settings, events, write, tmp_path: Path) -> None:
    flat = {f"FatJet_{name}": events["MET_pt"] for name in ("pt", "eta", "phi", "mass")}
    others = {name: values for name, values in events.items() if name != "FatJet"}
    path = write(tmp_path / "flat.root", others | flat | {"nFatJet": np.ones(len(events["event"]), np.int32)})
    message = commands.error(path, skim_settings(JETS))
    assert "branch FatJet_pt" in message
    assert "expected a list of numbers per event" in message


def test_lists_where_there_is_no_counter(commands, skim_settings, events, write, tmp_path: Path) -> None:
    path = write(tmp_path / "jagged.root", events | {"MET_pt": events["Jet"].pt})
    message = commands.error(path, skim_settings(JETS | {"met": {"min": 20}}))
    assert "branch MET_pt" in message


def test_no_trigger_of_the_menu(commands, skim_settings, events_file: Path) -> None:
    message = commands.error(events_file, skim_settings(JETS | {"triggers": ["HLT_A", "HLT_B"]}))
    assert "none of the triggers HLT_A, HLT_B" in message


def test_links_beyond_the_candidates(commands, skim_settings, events, write, tmp_path: Path) -> None:
    links = events["FatJetPFCands"]
    bad = ak.with_field(links, ak.values_astype(links.pFCandsIdx + 40, np.int32), "pFCandsIdx")
    path = write(tmp_path / "links.root", events | {"FatJetPFCands": bad})
    assert "points beyond" in commands.error(path, skim_settings(JETS))


def test_skipped_file_is_listed(commands, skim_settings, events_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "truncated.root"
    path.write_bytes(events_file.read_bytes()[:5000])
    config = skim_settings(JETS | {"shifts": ["jesUp", "isrUp"]}, on_bad_file="skip")
    done = commands.run(path, config)
    assert done.returncode == 0, done.stderr
    assert "skipped:" in done.stderr
    summary = json.loads(commands.summary.read_text())
    assert [entry["file"] for entry in summary["skipped"]] == [str(path)]
    assert "truncated" in summary["skipped"][0]["cause"]
    assert summary["sum_genWeight"] == 0.0
    with uproot.open(commands.output) as file:
        tree = file["Events"]
        assert tree.num_entries == 0
        # what later stages read is there
        assert {"FatJet_pt_jesUp", "selectedJet_jesUp", "weight_isrUp", "PFCands_pdgId"} <= set(tree.keys())


def test_read_only_folder(commands, skim_settings, events_file: Path) -> None:
    # a file where the folder should be: refused for every user, root too
    (commands.folder / "out").write_text("")
    done = commands.run(events_file, skim_settings(JETS))
    assert done.returncode == 1
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr
