"""Collision data: certified luminosity sections, and the list of those that were read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from lhcml.common.errors import UserError
from lhcml.skim.list_luminosity import count_missing, main, merge_sections
from lhcml.skim.luminosity import compress_sections, expand_sections, read_golden_json

# run 1: events are in sections 1 to 6, fifty in each; see conftest
CERTIFIED = {"1": [[1, 2], [5, 5], [9, 9]], "2": [[1, 3]]}


def test_sections_are_joined_and_sorted() -> None:
    run, block = np.array([2, 1, 1, 1, 2, 1, 1]), np.array([7, 3, 1, 2, 7, 9, 3])
    found = compress_sections(run, block)
    assert found == {"1": [[1, 3], [9, 9]], "2": [[7, 7]]}
    assert expand_sections(found).tolist() == [[1, 1], [1, 2], [1, 3], [1, 9], [2, 7]]
    assert compress_sections(run[:0], block[:0]) == {}


def collisions(events: dict[str, Any]) -> dict[str, Any]:
    return {name: values for name, values in events.items() if name not in ("genWeight", "PSWeight")}


def golden(folder: Path, content: Any = CERTIFIED) -> Path:
    path = folder / "golden.json"
    path.write_text(json.dumps(content))
    return path


def test_the_mask_keeps_what_is_certified(commands, skim_settings, events, write, tmp_path: Path) -> None:
    path = write(tmp_path / "data.root", collisions(events))
    summary, written = commands.skim(path, skim_settings({"golden_json": str(golden(tmp_path))}, data=True))
    kept = {section: int(np.sum(written.luminosityBlock == section)) for section in range(1, 7)}
    # nothing else is cut on: every event with at least one jet
    jets = np.array([len(jets) > 0 for jets in events["FatJet"].pt])
    in_section = {section: int(np.sum(jets & (events["luminosityBlock"] == section))) for section in (1, 2, 5)}
    assert kept == {1: in_section[1], 2: in_section[2], 3: 0, 4: 0, 5: in_section[5], 6: 0}
    rows = {row["cut"]: row["raw"] for row in summary["cutflow"]["nominal"]}
    assert rows["luminosity mask"] == 150
    # without a tree of sections, those that have events
    assert summary["luminosity"] == {"from": "Events", "sections": {"1": [[1, 2], [5, 5]]}}


def test_sections_without_events_count(commands, skim_settings, events, write, tmp_path: Path) -> None:
    path = write(tmp_path / "data.root", collisions(events))
    with uproot.update(path) as file:
        tree = file.mktree("LuminosityBlocks", {"run": np.uint32, "luminosityBlock": np.uint32})
        tree.extend({"run": np.ones(9, np.uint32), "luminosityBlock": np.arange(1, 10, dtype=np.uint32)})
    summary, _ = commands.skim(path, skim_settings({"golden_json": str(golden(tmp_path))}, data=True))
    assert summary["luminosity"] == {"from": "LuminosityBlocks", "sections": {"1": [[1, 2], [5, 5], [9, 9]]}}
    without, _ = commands.skim(path, skim_settings({}, data=True))
    assert without["luminosity"]["sections"] == {"1": [[1, 9]]}


@pytest.mark.parametrize("content", [[1, 2], {"1": [[1, 2, 3]]}, {"run": [[1, 2]]}, {"1": 5}])
def test_a_file_that_certifies_nothing(tmp_path: Path, content: Any) -> None:
    with pytest.raises(UserError, match="is not a file of certified luminosity sections"):
        read_golden_json(golden(tmp_path, content))


def test_the_list_of_a_dataset(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sections = [{"1": [[1, 2]]}, {"1": [[2, 3]], "2": [[4, 4]]}]
    blocks: list[dict[str, Any]] = [
        {"luminosity": {"from": "Events", "sections": of}, "skipped": []} for of in sections
    ]
    blocks.append({"luminosity": None, "skipped": [{"file": "bad.root", "cause": "truncated"}]})
    for number, block in enumerate(blocks):
        (tmp_path / f"{number}.json").write_text(json.dumps(block))
    arguments = ["--skims", str(tmp_path), "--chunks", "3", "--output", str(tmp_path / "luminosity.json")]
    certified = golden(tmp_path, {"1": [[1, 5]], "2": [[4, 4]], "3": [[1, 9]]})
    with caplog.at_level("INFO", logger="lhcml"):
        main([*arguments, "--golden-json", str(certified)])
    assert json.loads((tmp_path / "luminosity.json").read_text()) == {"1": [[1, 3]], "2": [[4, 4]]}
    assert "4 luminosity sections of 2 runs" in caplog.text
    assert "1 sections are in more than one file" in caplog.text
    assert "1 skipped files" in caplog.text
    # sections 4 and 5 of run 1; run 3 belongs to other data
    assert "2 sections of these runs" in caplog.text
    main([*arguments, "--golden-json"])


def test_nothing_read() -> None:
    assert merge_sections([{"luminosity": None}]) == ({}, 0)
    assert count_missing(CERTIFIED, {}) == 0
