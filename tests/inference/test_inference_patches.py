"""Patches and grids of signals: which are applied, which are refused, and what the commands write."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path

import pyhf
import pytest
from inference_models import workspace

from lhcml.common.errors import UserError
from lhcml.inference import apply_patch, import_grid, import_workspace
from lhcml.inference.quiet_pyhf import quiet_pyhf
from lhcml.inference.read_document import apply_patch_file, read_document, read_patchset


def background() -> dict:
    """Return the workspace without its signal."""
    spec = workspace()
    for channel in spec["channels"]:
        channel["samples"] = [sample for sample in channel["samples"] if sample["name"] != "signal"]
    return spec


def signal_patch(scale: float) -> list[dict]:
    """Return the operations that put a signal, scaled, at the first place of each channel."""
    operations = []
    for index, channel in enumerate(workspace()["channels"]):
        sample = copy.deepcopy(channel["samples"][0])
        sample["data"] = [scale * value for value in sample["data"]]
        for modifier in sample["modifiers"]:
            if modifier["type"] == "histosys":
                modifier["data"] = {key: [scale * x for x in values] for key, values in modifier["data"].items()}
        operations.append({"op": "add", "path": f"/channels/{index}/samples/0", "value": sample})
    return operations


def patchset(**metadata) -> dict:
    """Return a patchset of three signals on the background."""
    scales = {"m100": 2.0, "m200": 1.0, "m300": 0.5}
    return {
        "version": "1.0.0",
        "metadata": {
            "references": {"hepdata": "ins1234567"}, "labels": ["mass"], "description": "signals",
            "digests": {"sha256": pyhf.utils.digest(background())},
        } | metadata,
        "patches": [
            {"metadata": {"name": name, "values": [float(name[1:])]}, "patch": signal_patch(scale)}
            for name, scale in scales.items()
        ],
    }  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Return a folder with background.json, patchset.json and a plain patch.json."""
    (tmp_path / "background.json").write_text(json.dumps(background()))
    (tmp_path / "patchset.json").write_text(json.dumps(patchset()))
    (tmp_path / "patch.json").write_text(json.dumps(signal_patch(1.0)))
    return tmp_path


def outputs(folder: Path) -> list[str]:
    return ["--workspace", str(folder / "w.json"), "--digest", str(folder / "d.txt"),
            "--description", str(folder / "m.json")]  # fmt: skip


def load(path: Path) -> dict:
    return json.loads(path.read_text())


@pytest.mark.parametrize("patch", ["patchset.json#m200", "patch.json"])
def test_patched_background_is_the_workspace_it_was_made_from(files, patch):
    config = json.dumps({"patch": [str(files / patch)]})
    import_workspace.main(["--input", str(files / "background.json"), "--config", config, *outputs(files)])
    assert load(files / "w.json") == workspace()
    assert load(files / "m.json")["digest"] == pyhf.utils.digest(workspace()) == (files / "d.txt").read_text().strip()


def test_patches_are_applied_in_order(files):
    (files / "double.json").write_text(
        json.dumps([{"op": "replace", "path": "/channels/0/samples/0/data/0", "value": 10.0}])
    )
    config = json.dumps({"patch": [str(files / "patch.json"), str(files / "double.json")]})
    import_workspace.main(["--input", str(files / "background.json"), "--config", config, *outputs(files)])
    assert load(files / "w.json")["channels"][0]["samples"][0]["data"] == [10.0, 6.0, 7.0]


@pytest.mark.parametrize("patch", ["m100", "m200", "m300"])
def test_grid_of_signals_equals_pyhf(files, patch):
    made = files / "made"
    import_grid.main(
        ["--input", str(files / "background.json"), "--signals", str(files / "patchset.json"), "--config", "{}",
         "--background", str(made / "background.json"), "--patchset", str(made / "patchset.json")]
    )  # fmt: skip
    assert load(made / "patchset.json") == patchset()
    apply_patch.main(
        ["--background", str(made / "background.json"), "--patchset", str(made / "patchset.json"), "--patch", patch,
         "--config", "{}", *outputs(made)]
    )  # fmt: skip
    with quiet_pyhf():
        theirs = pyhf.PatchSet(patchset()).apply(background(), patch)
    assert load(made / "w.json") == dict(theirs)
    about = load(made / "m.json")
    assert about["patch"]["values"] == [float(patch[1:])]
    assert about["patch"]["labels"] == ["mass"]
    assert about["poi"] == "mu"
    assert about["regions"]["b"] == {"bins": [0, 1, 2, 3]}


def test_edges_and_luminosity_of_a_patchset_reach_the_description(files):
    (files / "patchset.json").write_text(
        json.dumps(patchset(regions={"b": {"bins": [0.0, 10.0, 20.0, 40.0]}}, luminosity=4.0))
    )
    apply_patch.main(
        ["--background", str(files / "background.json"), "--patchset", str(files / "patchset.json"),
         "--patch", "m100", "--config", "{}", *outputs(files)]
    )  # fmt: skip
    about = load(files / "m.json")
    assert about["luminosity"] == 4.0
    assert about["regions"] == {"b": {"bins": [0.0, 10.0, 20.0, 40.0]}, "a": {"bins": [0, 1, 2]}}


def spoilt(change) -> dict:
    made = patchset()
    change(made)
    return made


BAD_PATCHSETS = {
    "other background": (
        spoilt(lambda p: p["metadata"].update(digests={"sha256": "0" * 64})), "belongs to another background: sha256",
    ),
    "no digests": (spoilt(lambda p: p["metadata"].pop("digests")), "not a valid patchset.*'digests'"),
    "repeated name": (
        spoilt(lambda p: p["patches"][1]["metadata"].update(name="m100")), "patch m100 is defined 2 times",
    ),
    "values and labels": (
        spoilt(lambda p: p["patches"][1]["metadata"].update(values=[1, 2])), "not a valid patchset: ",
    ),
    "a workspace": (workspace(), "is a workspace, not a patchset"),
    "a patch": (signal_patch(1.0), "is a JSON patch, not a patchset"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_PATCHSETS)
def test_bad_patchset_is_refused(files, kind):
    content, message = BAD_PATCHSETS[kind]
    (files / "bad.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        read_patchset(files / "bad.json", background(), "background.json")


BAD_PATCHES = {
    "unknown name": ("patchset.json#m150", "no patch 'm150'.*\n.*m100, m200, m300"),
    "no name": ("patchset.json", "no patch of it is chosen.*\n.*patchset.json#name, of: m100"),
    "a workspace": ("background.json", "is a workspace, not a JSON patch"),
    "name of a plain patch": ("patch.json#m100", "is a JSON patch, not a patchset"),
    "missing": ("nothing.json", "cannot read .*nothing.json"),
}


@pytest.mark.parametrize("kind", BAD_PATCHES)
def test_bad_patch_is_refused(files, kind):
    given, message = BAD_PATCHES[kind]
    with pytest.raises(UserError, match=message):
        apply_patch_file(background(), str(files / given), "background.json")


def test_patch_of_another_model_is_refused(files):
    (files / "wrong.json").write_text(json.dumps([{"op": "remove", "path": "/channels/7"}]))
    with pytest.raises(UserError, match=r"wrong.json cannot be applied: .*\n.*other channels"):
        apply_patch_file(background(), str(files / "wrong.json"), "background.json")


NO_JSON = {
    "empty": (b" \n", "is empty"),
    "gzip": (gzip.compress(b"{}"), "compressed by gzip.*\n.*gunzip"),
    "zip": (b"PK\x03\x04rest", "zip archive"),
    "ROOT": (b"root\x00\x00", "is a ROOT file.*\n.*histograms"),
    "XML": (b"<!DOCTYPE Combination>", "is XML.*\n.*histfactory"),
    "text": (b"signal: 5", "not valid JSON"),
    "cut off": (b'{"channels": [', "not valid JSON"),
    "bytes": (b"\xff\xfe\x00", "not valid JSON"),
    "key twice": (b'{"samples": [{"name": "top", "data": [1], "data": [2]}]}', "key 'data' stands twice .* of 'top'"),
}


@pytest.mark.parametrize("kind", NO_JSON)
def test_file_that_is_no_json_is_told_apart(tmp_path, kind):
    content, message = NO_JSON[kind]
    path = tmp_path / "given.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_document(path)
