"""Models from ROOT histograms written with uproot, and their faults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyhf
import pytest
import uproot
from uproot.writing.identify import to_TAxis, to_TH1x

from lhcml.common.errors import UserError
from lhcml.inference import plot_systematics, read_histograms
from lhcml.inference.check_measurements import check_measurements
from lhcml.inference.read_histograms import rebin

EDGES = np.array([0.0, 10, 20, 30, 40, 60])
BACKGROUND = np.array([50.0, 40, 30, 20, 10])
SIGNAL = np.array([0.0, 1, 4, 1, 0])


def histogram(events: Any, variance: Any = None, edges: Any = EDGES) -> Any:
    """Return a TH1D with events and, if given, sums of squared weights; flow bins hold 7 events."""
    events = np.asarray(events, float)
    squares = None if variance is None else np.concatenate([[7], np.asarray(variance, float), [7]])
    axis = to_TAxis("xaxis", "", len(events), edges[0], edges[-1], fXbins=np.asarray(edges, float))
    entries = events.sum()
    return to_TH1x(
        None, "", np.concatenate([[7], events, [7]]), entries, entries, entries, 0.0, 0.0, squares, axis
    )  # fmt: skip


def write(path: Path, **changes: Any) -> dict[str, Any]:
    """Write the histograms of two regions, with changes by name, and return a measurement of them."""
    content = {}
    for region, factor in (("sr", 1.0), ("cr", 2.0)):
        content |= {
            f"{region}/sig": histogram(factor * SIGNAL, 0.01 * SIGNAL),
            f"{region}/bkg": histogram(factor * BACKGROUND, 0.1 * BACKGROUND),
            f"{region}/bkg_jes_up": histogram(factor * BACKGROUND * 1.1, BACKGROUND),
            f"{region}/bkg_jes_down": histogram(factor * BACKGROUND * 0.95, BACKGROUND),
            f"{region}/data": histogram(np.round(factor * BACKGROUND + SIGNAL)),
        }
    for name, new in changes.items():
        key = name.replace("__", "/")
        if new is None:
            del content[key]
        else:
            content[key] = new
    with uproot.recreate(path) as file:
        for name, one in content.items():
            file[name] = one
    return {
        "histograms": {
            "file": str(path), "nominal": "{region}/{sample}", "variation": "{region}/{sample}_{modifier}_{side}",
            "data": "{region}/data", "data_sample": "data",
        },
        "regions": {"sr": {"bins": [0, 20, 30, 60]}, "cr": {}},
        "samples": {"sig": {"regions": ["sr"]}, "bkg": {}},
        "injected": 1.0,
        "poi": "mu",
        "modifiers": {
            "mu": {"type": "normfactor", "samples": ["sig"], "initial": 1.0, "bounds": [0, 10]},
            "jes": {"type": "histosys", "samples": ["bkg"]},
            "mc": {"type": "staterror"},
        },
        "smoothing": {"modifiers": []},
        "pruning": {"norm": 0.0, "shape": 0.0},
    }  # fmt: skip


def build(config: dict, folder: Path) -> tuple[dict, dict]:
    """Run the command line and return workspace and description."""
    paths = [folder / name for name in ("workspace.json", "digest.txt", "meta.json")]
    read_histograms.main(
        ["--config", json.dumps(config), "--workspace", str(paths[0]), "--digest", str(paths[1]),
         "--description", str(paths[2])]
    )  # fmt: skip
    assert paths[1].read_text().strip() == pyhf.utils.digest(json.loads(paths[0].read_text()))
    return json.loads(paths[0].read_text()), json.loads(paths[2].read_text())


def test_workspace_by_hand(tmp_path):
    config = write(tmp_path / "in.root")
    check_measurements({"m": config}, {})
    spec, meta = build(config, tmp_path)
    channels = {channel["name"]: {one["name"]: one for one in channel["samples"]} for channel in spec["channels"]}
    assert set(channels["cr"]) == {"bkg"}
    # bins 0-20, 20-30, 30-60 of 50 40 30 20 10; without the flow bins
    background = channels["sr"]["bkg"]
    assert background["data"] == [90, 30, 30]
    assert channels["sr"]["sig"]["data"] == [1, 4, 1]
    modifiers = {one["name"]: one["data"] for one in background["modifiers"]}
    np.testing.assert_allclose(modifiers["jes"]["hi_data"], [99, 33, 33])
    np.testing.assert_allclose(modifiers["jes"]["lo_data"], [85.5, 28.5, 28.5])
    np.testing.assert_allclose(modifiers["mc_sr"], np.sqrt([9, 3, 3]))
    assert next(one["data"] for one in spec["observations"] if one["name"] == "cr") == [100, 81, 64, 41, 20]
    assert meta["regions"]["sr"]["bins"] == [0, 20, 30, 60]
    assert meta["regions"]["cr"]["bins"] == EDGES.tolist()
    assert not meta["simulated_data"]
    assert not any("squared weights" in remark for remark in meta["remarks"])
    plot_systematics.main(
        ["--description", str(tmp_path / "meta.json"), "--output", str(tmp_path / "systematics.png"), "--labels",
         json.dumps({"observable": "x", "samples": {}, "left": "", "right": ""})]
    )  # fmt: skip
    assert (tmp_path / "systematics.pdf").stat().st_size > 1000


def test_without_data_the_observations_are_asimov_data_and_that_is_told(tmp_path):
    config = write(tmp_path / "in.root")
    del config["histograms"]["data"]
    spec, meta = build(config | {"injected": 2.0}, tmp_path)
    observed = {one["name"]: one["data"] for one in spec["observations"]}
    assert observed["sr"] == [90 + 2, 30 + 8, 30 + 2]
    assert any("Asimov" in remark for remark in meta["remarks"])
    assert meta["simulated_data"]


def test_histograms_without_squared_weights_are_told(tmp_path):
    _, meta = build(write(tmp_path / "in.root", cr__bkg=histogram(BACKGROUND)), tmp_path)
    assert any(
        remark.startswith("1 histograms have no sums of squared weights") and remark.endswith("histogram cr/bkg")
        for remark in meta["remarks"]
    )


def test_one_file_a_sample_and_other_names(tmp_path):
    config = write(tmp_path / "bkg.root")
    (tmp_path / "signal.root").write_bytes((tmp_path / "bkg.root").read_bytes())
    (tmp_path / "data.root").write_bytes((tmp_path / "bkg.root").read_bytes())
    expected, _ = build(config, tmp_path)
    with uproot.update(tmp_path / "signal.root") as file:
        file["sr/signal"] = histogram(SIGNAL, 0.01 * SIGNAL)
    config["histograms"]["file"] = str(tmp_path / "{sample}.root")
    config["samples"]["sig"]["histogram"] = "signal"
    config["modifiers"]["jes"] |= {"up": "up", "down": "down"}
    assert build(config, tmp_path)[0] == expected


def test_rebinning_by_hand_and_unknown_edges():
    events, variance = rebin(EDGES, np.array([10.0, 30, 40]), BACKGROUND, 2 * BACKGROUND, "h")
    assert events.tolist() == [70, 20]
    assert variance.tolist() == [140, 40]
    with pytest.raises(UserError, match="h: no edge at 25; it has 0, 10, 20, 30, 40, 60"):
        rebin(EDGES, np.array([10.0, 25, 40]), BACKGROUND, BACKGROUND, "h")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sr__bkg_jes_up": None}, r"in.root has no histogram 'sr/bkg_jes_up'; near it: .*sr/bkg_jes_down"),
        ({"sr__bkg": histogram([50, 40, 30, 20, 10], BACKGROUND, EDGES + 1)}, r"sr/bkg: no edge at 0"),
        (
            {"cr__bkg": histogram([50, 40, -30, 20, 10], BACKGROUND)},
            r"region cr, sample bkg, bin 2 \(20 to 30\): negative \(-30 events\)",
        ),
        ({"cr__bkg": histogram([0, 0, 0, 0, 0], BACKGROUND)}, "region cr, sample bkg: empty template"),
        ({"cr__bkg": histogram([50, 40, 30, 0, 10], BACKGROUND)}, r"region cr, bin 3 \(30 to 40\): no sample expects"),
        (
            {"cr__bkg": histogram([50, 40, 30, 20, 10], [1, 1, 0, 1, 1])},
            r"region cr, sample bkg, bin 2 \(20 to 30\): modifier mc: 30 events with zero uncertainty",
        ),
        ({"cr__bkg_jes_up": histogram([1.0, 1], [1, 1], [0, 1, 2])}, "edges differ from those of other histograms"),
    ],
)
def test_faults_name_file_histogram_region_sample_and_bin(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        build(write(tmp_path / "in.root", **changes), tmp_path)
    assert not (tmp_path / "workspace.json").exists()


@pytest.mark.parametrize("content", [None, b"", b"no ROOT file", b"root"])
def test_files_that_are_no_root_files(tmp_path, content):
    config = write(tmp_path / "in.root")
    path = tmp_path / "other.root"
    if content is not None:
        path.write_bytes(content)
    config["histograms"]["file"] = str(path)
    with pytest.raises(UserError, match=r"cannot read .*other.root as ROOT"):
        build(config, tmp_path)


def test_names_that_cannot_tell_histograms_apart(tmp_path):
    config = write(tmp_path / "in.root")
    config["histograms"]["variation"] = "{region}/{sample}_{side}"
    with pytest.raises(UserError, match=r"histograms.variation: .* does not tell \{modifier\}"):
        check_measurements({"m": config}, {})
    config["modifiers"]["jes"] |= {"up": "jesUp", "down": "jesDown"}
    check_measurements({"m": config}, {})
    with pytest.raises(UserError, match=r"regions.sr.tagged: histograms are filled already"):
        check_measurements({"m": config | {"regions": {"sr": {"tagged": True}, "cr": {}}}}, {})
