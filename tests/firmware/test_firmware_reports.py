"""Vendor reports, in files of exactly the layout that the tools write, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lhcml.common.errors import UserError
from lhcml.firmware.read_reports import find_reports, main

CSYNTH = """<?xml version="1.0" encoding="UTF-8"?>
<profile>
<UserAssignments><TopModelName>myproject</TopModelName><TargetClockPeriod>5.00</TargetClockPeriod></UserAssignments>
<PerformanceEstimates>
  <SummaryOfTimingAnalysis><EstimatedClockPeriod>3.504</EstimatedClockPeriod></SummaryOfTimingAnalysis>
  <SummaryOfOverallLatency>
    <Best-caseLatency>7</Best-caseLatency><Worst-caseLatency>8</Worst-caseLatency>
    <Interval-min>1</Interval-min><Interval-max>2</Interval-max>
  </SummaryOfOverallLatency>
</PerformanceEstimates>
<AreaEstimates>
  <Resources><BRAM_18K>3</BRAM_18K><FF>1234</FF><LUT>5678</LUT><DSP>9</DSP><URAM>0</URAM></Resources>
  <AvailableResources><LUT>1182240</LUT></AvailableResources>
</AreaEstimates>
</profile>
"""
UTILISATION = """Copyright
1. CLB Logic
+-------------------------+------+-------+------------+-----------+-------+
|        Site Type        | Used | Fixed | Prohibited | Available | Util% |
+-------------------------+------+-------+------------+-----------+-------+
| CLB LUTs*               | 2345 |     0 |          0 |   1182240 |  0.20 |
|   LUT as Logic          | 2340 |     0 |          0 |   1182240 |  0.20 |
| CLB Registers           |  678 |     0 |          0 |   2364480 |  0.03 |
+-------------------------+------+-------+------------+-----------+-------+
* Warning! The Final LUT count, after physical optimizations, is typically lower.
2. BLOCKRAM
| Block RAM Tile |  1.5 |     0 |          0 |      2160 |  0.07 |
3. ARITHMETIC
| DSPs      |    4 |     0 |          0 |      6840 |  0.06 |
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def csynth_of(project: Path, text: str = CSYNTH) -> Path:
    return write(project / "myproject_prj/solution1/syn/report/myproject_csynth.xml", text)


def test_reads_c_synthesis_of_hls4ml_and_not_that_of_its_functions(tmp_path: Path) -> None:
    report = csynth_of(tmp_path / "vitis_reuse1")
    write(report.with_name("dense_latency_csynth.xml"), CSYNTH)
    (entry,) = find_reports(tmp_path / "vitis_reuse1")
    assert entry == {
        "project": "vitis_reuse1",
        "report": "myproject_prj/solution1/syn/report/myproject_csynth.xml",
        "source": "C synthesis",
        # the worst case, and 18-kbit memories as halves of a tile
        "latency_cycles": 8, "initiation_interval": 2, "clock_ns": 3.504,
        "lut": 5678, "ff": 1234, "dsp": 9, "bram": 1.5,
    }  # fmt: skip


def test_reads_vivado_hls_and_conifers_folder(tmp_path: Path) -> None:
    old = CSYNTH.replace("<DSP>9</DSP>", "<DSP48E>11</DSP48E>")
    write(tmp_path / "model/solution1/syn/report/model_csynth.xml", old)
    (entry,) = find_reports(tmp_path)
    assert entry["dsp"] == 11


def test_resources_after_logic_synthesis_replace_estimates(tmp_path: Path) -> None:
    project = tmp_path / "vitis_reuse1"
    csynth_of(project)
    write(project / "vivado_synth.rpt", UTILISATION)
    main(["--projects", str(tmp_path / "none"), str(project), "--output", str(tmp_path / "vendor.json")])
    result = json.loads((tmp_path / "vendor.json").read_text())
    assert len(result.pop("found")) == 2
    assert result == {
        "latency_cycles": 8, "initiation_interval": 2, "clock_ns": 3.504,
        "lut": 2345, "ff": 678, "dsp": 4, "bram": 1.5,
        "source": "vitis_reuse1: C synthesis, logic synthesis (Vivado)", "note": None,
    }  # fmt: skip


def oneapi(folder: Path, alm: str) -> None:
    json_folder = folder / "build/myproject.report.prj/reports/resources/json"
    rows = [
        {"name": "Available", "data": [1866240, 3732480, 11721, 5760, 0]},
        {"name": "Total", "data": [100, 200, 3, 4, 5]},
    ]
    write(json_folder / "summary.ndjson", "\n".join(map(json.dumps, rows)))
    loops = [{"af": "480.0", "ii": "1", "lt": "12.000000"}, {"af": "400", "ii": "~1", "lt": "7"}, {"name": "x"}]
    write(json_folder / "loop_attr.ndjson", "\n".join(map(json.dumps, loops)))
    fitter = {
        "quartusFitClockSummary": {"nodes": [{"clock fmax": "500.0"}]},
        "quartusFitResourceUsageSummary": {"nodes": [{"alm": alm, "reg": "2,000", "dsp": "6", "ram": "7"}]},
    }
    write(json_folder / "quartus.ndjson", json.dumps(fitter, indent=1))


@pytest.mark.parametrize(
    ("alm", "expected"),
    [
        ("TBD", {"lut": 100, "ff": 200, "bram": 3, "dsp": 4, "clock_ns": 2.5}),
        ("1,000", {"alm": 1000, "lut": 100, "ff": 2000, "bram": 7, "dsp": 6, "clock_ns": 2.0}),
    ],
)
def test_reads_oneapi_and_the_fitter_where_it_ran(tmp_path: Path, alm: str, expected: dict[str, float]) -> None:
    oneapi(tmp_path, alm)
    (entry,) = find_reports(tmp_path)
    assert entry["latency_cycles"] == 12
    assert entry["initiation_interval"] == 1
    assert {key: entry[key] for key in expected} == expected
    assert ("alm" in entry) == ("alm" in expected)


@pytest.mark.parametrize(
    ("script", "command"),
    [
        ("build_prj.tcl", "vitis-run --mode hls --tcl build_prj.tcl"),
        ("build_hls.tcl", "vitis_hls -f build_hls.tcl"),
        ("CMakeLists.txt", "cmake .. && make report"),
    ],
)
def test_without_reports_it_tells_the_command(tmp_path: Path, script: str, command: str) -> None:
    write(tmp_path / "project" / script, "")
    main(["--projects", str(tmp_path / "project"), "--output", str(tmp_path / "vendor.json")])
    result = json.loads((tmp_path / "vendor.json").read_text())
    assert result["found"] == []
    assert result["lut"] is None
    assert command in result["note"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (CSYNTH[:300], "no element found|unclosed|mismatched"),
        (CSYNTH.replace("<LUT>5678</LUT>", ""), "no AreaEstimates/Resources/LUT"),
        (CSYNTH.replace(">8<", ">undef<"), "'undef', not a number"),
        (CSYNTH.replace(">8<", ">-1<"), "'-1'"),
        (CSYNTH.replace("<profile>", '<!DOCTYPE a [<!ENTITY b "c">]><profile>'), "entities"),
    ],
)
def test_damaged_c_synthesis_is_an_error_that_names_the_file(tmp_path: Path, text: str, reason: str) -> None:
    csynth_of(tmp_path, text)
    with pytest.raises(UserError, match=rf"(?s)myproject_csynth\.xml: .*({reason})"):
        find_reports(tmp_path)


def test_other_damaged_reports_are_errors(tmp_path: Path) -> None:
    write(tmp_path / "a/vivado_synth.rpt", UTILISATION.replace("CLB Registers", "something"))
    with pytest.raises(UserError, match="no row CLB Registers"):
        find_reports(tmp_path / "a")
    oneapi(tmp_path / "b", "1")
    write(next((tmp_path / "b").rglob("summary.ndjson")), '{"name": "Total", "data": [1]}')
    with pytest.raises(UserError, match="no row Total"):
        find_reports(tmp_path / "b")
    write(next((tmp_path / "b").rglob("summary.ndjson")), "not JSON")
    with pytest.raises(UserError, match=r"damaged report .*summary\.ndjson"):
        find_reports(tmp_path / "b")
