from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from lhcml.common.errors import UserError
from lhcml.common.files import write_parquet
from lhcml.report import plot_displays
from lhcml.report.plot_displays import marker_area, read_events


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """Two events by hand: one with a jet at the seam of phi, one with a muon and no jet."""
    jets = ak.Array([[{"pt": 600.0, "eta": 0.5, "phi": 3.1}], []])
    muons = ak.Array([[], [{"pt": 30.0, "eta": -1.0, "phi": 0.0}]])
    columns = {"FatJet": jets, "Muon": muons, "MET_pt": np.array([20.0, 50.0]), "MET_phi": np.array([0.0, 1.0])}
    with uproot.recreate(tmp_path / "e.root") as file:
        file.mktree("Events", {name: column.type.content if isinstance(column, ak.Array) else column.dtype
                               for name, column in columns.items()})  # fmt: skip
        file["Events"].extend(columns)
    return tmp_path / "e.root"


def test_collections_present_are_read_and_others_left_out(events: Path) -> None:
    found = read_events(events, 5)
    assert set(found) == {"FatJet", "Muon", "MET"}
    assert found["FatJet"].pt.tolist() == [[600.0], []]
    assert found["MET"].pt.tolist() == [20.0, 50.0]
    assert len(read_events(events, 1)["MET"]) == 1


def test_fewer_events_than_asked_for_are_drawn(events: Path, tmp_path: Path) -> None:
    plot_displays.main(["--events", str(events), "--count", "3", "--output", str(tmp_path / "p/x.png")])
    for suffix in ("png", "pdf"):
        assert (tmp_path / f"p/x.{suffix}").stat().st_size > 5000


def test_jets_are_drawn(tmp_path: Path) -> None:
    parts = {
        "part_pt": [[300.0, 200.0]],
        "part_deta": [[0.1, -0.1]],
        "part_dphi": [[0.0, 0.2]],
        "part_charge": [[1, 0]],
    }
    jets = {"jet_pt": np.array([500.0]), "jet_mass": np.array([80.0]), "jet_tau32": np.array([0.5])}
    write_parquet(tmp_path / "j.parquet", {name: ak.Array(value) for name, value in parts.items()} | jets)
    plot_displays.main(["--jets", str(tmp_path / "j.parquet"), "--count", "1", "--output", str(tmp_path / "j.png")])
    assert (tmp_path / "j.png").stat().st_size > 5000


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.root").write_text("no ROOT file")
    with pytest.raises(UserError, match=r"cannot read events of .*x\.root"):
        read_events(tmp_path / "x.root", 1)


def test_marker_area_by_hand() -> None:
    assert marker_area([0.0, 10.0, 1000.0]).tolist() == [2.0, 14.0, 400.0]
