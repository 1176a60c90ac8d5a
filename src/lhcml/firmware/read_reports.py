"""Read what a vendor's tool reported, where it was run in the projects of a point; else tell how to run it.

Looked for, in the folders that hls4ml's and conifer's build scripts write to:

  <project>[_prj]/solution*/syn/report/<top>_csynth.xml   Vivado or Vitis HLS: estimates of C synthesis
  vivado_synth.rpt                                        Vivado: utilisation after logic synthesis
  build/<name>.prj/reports/resources/json/*.ndjson        oneAPI: estimates, and Quartus's fitter where it ran

By hand:
  python -m lhcml.firmware.read_reports --projects hls/vitis_reuse1 --output vendor.json
"""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import write_json

FIX = "run the vendor's tool in that project again, or delete the report"
KEYS = ("latency_cycles", "initiation_interval", "clock_ns", "lut", "ff", "dsp", "bram")
# Vivado's table of utilisation; 7-series and Versal call the same rows by other names
UTILISATION = {
    "lut": ("CLB LUTs", "Slice LUTs"),
    "ff": ("CLB Registers", "Slice Registers"),
    "bram": ("Block RAM Tile",),
    "dsp": ("DSPs", "DSP Slices"),
}
COMMANDS = (
    ("build_prj.tcl", "vitis-run --mode hls --tcl build_prj.tcl", "vitis_hls -f build_prj.tcl"),
    ("build_hls.tcl", "vitis-run --mode hls --tcl build_hls.tcl", "vitis_hls -f build_hls.tcl"),
    ("CMakeLists.txt", "mkdir -p build && cd build && cmake .. && make report", None),
)


def damaged(path: Path, why: object) -> UserError:
    """Return the error of a report that cannot be read."""
    return UserError(f"damaged report {path}: {why}", FIX)


def read_text(path: Path) -> str:
    """Read a report.

    Raises
    ------
    UserError
        If it cannot be read as text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise damaged(path, error) from error


def read_csynth(path: Path) -> dict[str, Any]:
    """Read the estimates of C synthesis.

    Latency and interval are the worst case; 18-kbit block RAMs count as halves of a tile.

    Raises
    ------
    UserError
        If the file is not XML, declares entities, or lacks a number.
    """
    text = read_text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        # the tool writes none, and entities that contain each other can fill the memory
        raise damaged(path, "it declares a document type or entities")
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        raise damaged(path, error) from error

    def number(*places: str) -> float:
        for place in places:
            found = root.findtext(place)
            if found is not None:
                return parse_number(found, path, place)
        raise damaged(path, f"no {places[0]}")

    timing, latency = "PerformanceEstimates/SummaryOfTimingAnalysis", "PerformanceEstimates/SummaryOfOverallLatency"
    resources = "AreaEstimates/Resources"
    return {
        "latency_cycles": int(number(f"{latency}/Worst-caseLatency")),
        "initiation_interval": int(number(f"{latency}/Interval-max")),
        "clock_ns": number(f"{timing}/EstimatedClockPeriod"),
        "lut": int(number(f"{resources}/LUT")),
        "ff": int(number(f"{resources}/FF")),
        # Vivado HLS names the slice
        "dsp": int(number(f"{resources}/DSP", f"{resources}/DSP48E")),
        "bram": number(f"{resources}/BRAM_18K") / 2,
    }


def parse_number(text: object, path: Path, place: str) -> float:
    """Return a number of a report; thousands may be set apart by commas.

    Raises
    ------
    UserError
        If it is none: a latency that depends on the data is "undef" or "?".
    """
    try:
        value = float(str(text).replace(",", ""))
    except ValueError as error:
        raise damaged(path, f"{place} is {text!r}, not a number") from error
    if not math.isfinite(value) or value < 0:
        raise damaged(path, f"{place} is {text!r}")
    return value


def read_utilisation(path: Path) -> dict[str, Any]:
    """Read Vivado's utilisation after logic synthesis: columns "Site Type" and "Used" of its tables.

    Raises
    ------
    UserError
        If a row is missing or holds no number.
    """
    rows: dict[str, str] = {}
    for line in read_text(path).splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        # a row is repeated in later tables, e.g. of registers by type: the first is of the whole design
        if len(cells) > 3 and cells[1]:
            # a star refers to a footnote
            rows.setdefault(cells[1].rstrip("*"), cells[2])
    found: dict[str, Any] = {}
    for key, names in UTILISATION.items():
        name = next((name for name in names if name in rows), None)
        if name is None:
            raise damaged(path, f"no row {names[0]}")
        value = parse_number(rows[name], path, name)
        found[key] = value if key == "bram" else int(value)
    return found


def read_records(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON objects, one a line or one alone.

    Raises
    ------
    UserError
        If it is not such a file.
    """
    text = read_text(path)
    try:
        try:
            records = [json.loads(text)]
        except json.JSONDecodeError:
            records = [json.loads(line) for line in text.splitlines() if line.strip()]
    except json.JSONDecodeError as error:
        raise damaged(path, error) from error
    if not all(isinstance(record, dict) for record in records):
        raise damaged(path, "not JSON objects")
    return records


def read_oneapi(folder: Path) -> dict[str, Any]:
    """Read the reports of a oneAPI project (`reports/resources/json`), as hls4ml's reader takes them.

    Estimates: adaptive look-up tables, registers, memory blocks, DSP blocks; latency and interval are the largest of
    its loops. Where Quartus's fitter ran, its clock and resources replace them, adaptive logic modules under `alm`.

    Raises
    ------
    UserError
        If a file is missing or holds no numbers.
    """
    path = folder / "summary.ndjson"
    total = next((record for record in read_records(path) if record.get("name") == "Total"), None)
    if total is None or not isinstance(total.get("data"), list) or len(total["data"]) < 5:
        raise damaged(path, "no row Total of five numbers")
    alut, ff, ram, dsp, _ = (int(parse_number(value, path, "Total")) for value in total["data"][:5])
    result: dict[str, Any] = {"lut": alut, "ff": ff, "dsp": dsp, "bram": ram}
    path = folder / "loop_attr.ndjson"
    loops = [record for record in read_records(path) if {"af", "ii", "lt"} <= set(record)]
    # a loop without a fixed interval has a text in its place
    intervals = [int(str(loop["ii"])) for loop in loops if re.fullmatch(r"\d+", str(loop["ii"]))]
    latencies = [parse_number(loop["lt"], path, "lt") for loop in loops]
    clocks = [parse_number(loop["af"], path, "af") for loop in loops]
    result["latency_cycles"] = math.ceil(max(latencies)) if latencies else None
    result["initiation_interval"] = max(intervals, default=None)
    result["clock_ns"] = 1000 / min(clocks) if clocks and min(clocks) > 0 else None
    fitter = folder / "quartus.ndjson"
    return result | (read_quartus(fitter) if fitter.is_file() else {})


def read_quartus(path: Path) -> dict[str, Any]:
    """Read resources and clock of Quartus's fitter; nothing where it did not run ("TBD").

    Raises
    ------
    UserError
        If the file holds no such tables.
    """
    tables: dict[str, Any] = {}
    for record in read_records(path):
        tables |= record
    try:
        clock = tables["quartusFitClockSummary"]["nodes"][0]
        used = tables["quartusFitResourceUsageSummary"]["nodes"][0]
        if "TBD" in (used["alm"], used["dsp"]):
            return {}
        found: dict[str, Any] = {
            key: int(parse_number(used[name], path, name))
            for key, name in (("alm", "alm"), ("ff", "reg"), ("dsp", "dsp"), ("bram", "ram"))
        }
    except (KeyError, IndexError, TypeError) as error:
        raise damaged(path, f"no {error}") from error
    frequency = clock.get("clock fmax", clock.get("kernel clock fmax"))
    if frequency is not None:
        found["clock_ns"] = 1000 / max(parse_number(frequency, path, "clock fmax"), 1e-9)
    return found


def find_reports(project: Path) -> list[dict[str, Any]]:
    """Read all reports of a project.

    Returns
    -------
    list of dict
        Per report: `project`, `report` (path in the project), `source`, and the numbers it has; the rest None.
    """
    kinds = (
        ("C synthesis", "*/*/syn/report/*_csynth.xml", read_csynth),
        ("logic synthesis (Vivado)", "vivado_synth.rpt", read_utilisation),
        ("oneAPI", "build/*.prj/reports/resources/json", read_oneapi),
    )
    found = []
    for source, pattern, read in kinds:
        paths = sorted(project.glob(pattern))
        if source == "C synthesis":
            # beside the report of the top function there is one for each function that was not inlined
            paths = [path for path in paths if path.name == f"{top_of(path)}_csynth.xml"]
        for path in paths:
            place = {"project": project.name, "report": path.relative_to(project).as_posix(), "source": source}
            found.append(place | dict.fromkeys(KEYS) | read(path))
    return found


def top_of(report: Path) -> str:
    """Return the top function of the project that a report of C synthesis lies in, from the name of its folder."""
    return report.parents[3].name.removesuffix("_prj")


def how_to_run(projects: Sequence[Path]) -> str:
    """Return a sentence on how to make the vendor's reports."""
    for project in projects:
        for script, command, older in COMMANDS:
            if (project / script).is_file():
                before = f" (up to Vitis 2024.2 also `{older}`)" if older else ""
                return f"no vendor report; run `{command}`{before} in {project.name}, then this rule again"
    return "no vendor report, and no script of a vendor's tool in the projects"


def combine(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one set of numbers, of the first project with reports: what comes later in the flow counts."""
    if not found:
        return dict.fromkeys((*KEYS, "source"))
    first = [entry for entry in found if entry["project"] == found[0]["project"]]
    merged: dict[str, Any] = dict.fromkeys(KEYS)
    for entry in first:
        merged |= {key: entry[key] for key in KEYS if entry[key] is not None}
    return merged | {"source": f"{first[0]['project']}: {', '.join(str(entry['source']) for entry in first)}"}


def main(argv: Sequence[str] | None = None) -> None:
    """Read the reports of the projects of a point."""
    parser = make_parser(__doc__)
    parser.add_argument("--projects", nargs="+", type=Path, required=True, help="folders of projects")
    parser.add_argument("--output", type=Path, required=True, help="what the reports say, JSON")
    args = parser.parse_args(argv)
    log = start_log()
    found = [entry for project in args.projects for entry in find_reports(project)]
    note = None if found else how_to_run(args.projects)
    log.info("%s", note or f"{len(found)} reports")
    write_json(args.output, {"found": found, **combine(found), "note": note})


if __name__ == "__main__":
    run_main(main)
