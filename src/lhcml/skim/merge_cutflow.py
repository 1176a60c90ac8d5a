"""Sum the cutflows and normalisations of the skims of a channel.

Reads `<skims>/<dataset>/<chunk>.json` for the chunks given and writes, per dataset, the cutflow of each shift, the sums
of generator weights, the cross section and the factor from weight to pb, as JSON; the cutflow as a table (CSV); and a
table of the files that were read or skipped (CSV).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_json, write_text

Rows: TypeAlias = list[dict[str, Any]]
COUNTS = ("raw", "weighted", "weighted_squared")


def add_cutflows(
    cutflows: Sequence[Mapping[str, list[dict[str, Any]]]], dataset: str
) -> dict[str, list[dict[str, Any]]]:
    """Sum cutflows cut by cut and shift by shift.

    Raises
    ------
    UserError
        If the files differ in shifts or cuts, as when only some have shower weights: their sum would mean nothing.
    """
    total: dict[str, Rows] = {}
    first: dict[str, list[str]] = {}
    for number, cutflow in enumerate(cutflows):
        layout = {shift: [row["cut"] for row in rows] for shift, rows in cutflow.items()}
        if number == 0:
            total = {shift: [dict(row) for row in rows] for shift, rows in cutflow.items()}
            first = layout
        elif layout != first:
            different = sorted(shift for shift in {*layout, *first} if layout.get(shift) != first.get(shift))
            raise UserError(
                f"the files of dataset {dataset} differ in the shifts {', '.join(different)}, or in their cuts",
                "drop these shifts from `selection.shifts`, or make two datasets of the files (shower weights need "
                "four PSWeight in each file)",
            )
        else:
            for shift, rows in cutflow.items():
                for mine, row in zip(total[shift], rows, strict=True):
                    for name in COUNTS:
                        mine[name] += row[name]
    return total or {"nominal": [{"cut": "all events", "raw": 0, "weighted": 0.0, "weighted_squared": 0.0}]}


def merge_dataset(summaries: Sequence[Mapping[str, Any]], dataset: str) -> dict[str, Any]:
    """Sum the JSON files of the skims of a dataset.

    Parameters
    ----------
    summaries : sequence of mapping
        Contents of the files; skipped source files count nowhere but in `skipped_files`.
    dataset : str
        Name, for messages.

    Returns
    -------
    dict
        "weight_to_pb" is the cross section over the sum of generator weights, None for collision data or if there is no
        cross section. The cross section of several files is the mean weighted with their generated events.

    Raises
    ------
    UserError
        If cutflows do not fit together, or only some files have a cross section.
    """
    used = [summary for summary in summaries if not summary["skipped"]]
    skipped = [entry for summary in summaries for entry in summary["skipped"]]
    data = any(summary["data"] for summary in summaries)
    count = sum(summary["count"] for summary in used)
    sums: dict[str, float] = {}
    for summary in used:
        for shift, value in summary["sum_weight"].items():
            sums[shift] = sums.get(shift, 0.0) + value
    cross_sections = [summary["cross_section_pb"] for summary in used]
    known = [value for value in cross_sections if value is not None]
    if known and len(known) < len(cross_sections):
        lacking = [summary["source"] for summary in used if summary["cross_section_pb"] is None]
        raise UserError(
            f"dataset {dataset}: {', '.join(lacking)} has no cross section, other files have one",
            "give the dataset's `cross_section` in pb",
        )
    cross_section = None
    if known and len(set(known)) == 1:
        cross_section = known[0]
    elif known and count:
        cross_section = sum(summary["cross_section_pb"] * summary["count"] for summary in used) / count
    total = sums.get("nominal", 0.0)
    return {
        "data": data,
        "files": len(used),
        "events": sum(summary["events"] for summary in used),
        "kept": sum(summary["kept"] for summary in used),
        "count": count,
        "sum_genWeight": None if data else total,
        "sum_weight": sums,
        "cross_section_pb": cross_section,
        "weight_to_pb": cross_section / total if cross_section is not None and total else None,
        "normalisation_from": sorted({summary["normalisation_from"] for summary in used} - {None}),
        "cutflow": add_cutflows([summary["cutflow"] for summary in used], dataset),
        "candidate_links_dropped": sum(summary["candidate_links_dropped"] for summary in used),
        "notes": sorted({note for summary in used for note in summary["notes"]}),
        "skipped": skipped,
        "skipped_files": [entry["file"] for entry in skipped],
    }


def cutflow_table(datasets: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the cutflows as CSV; the efficiency is weighted and relative to all events."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["dataset", "shift", "cut", "raw", "weighted", "weighted_error", "efficiency"])
    for name, block in datasets.items():
        for shift, rows in block["cutflow"].items():
            for row in rows:
                start = rows[0]["weighted"]
                efficiency = f"{row['weighted'] / start:.6g}" if start else ""
                error = row["weighted_squared"] ** 0.5
                weighted = f"{row['weighted']:.8g}"
                writer.writerow([name, shift, row["cut"], row["raw"], weighted, f"{error:.6g}", efficiency])
    return text.getvalue()


def files_table(skims: Path, summaries: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return the files as CSV, skipped ones first: status, skim made of it, dataset, events, events kept, file, cause.

    Parameters
    ----------
    skims : Path
        Folder of the channel's skims.
    summaries : mapping of str to sequence of mapping
        Per dataset the JSON files of its skims, in the order of the chunks.
    """
    rows: list[list[Any]] = []
    for name, blocks in summaries.items():
        for chunk, block in enumerate(blocks):
            cause = " ".join(entry["cause"] for entry in block["skipped"])
            status = "skipped" if block["skipped"] else "read"
            skim = str(skims / name / f"{chunk}.root")
            rows.append([status, skim, name, block["events"], block["kept"], block["source"], cause])
    rows.sort(key=lambda row: row[0] != "skipped")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["status", "skim", "dataset", "events", "kept", "file", "cause"])
    writer.writerows(rows)
    return text.getvalue()


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--skims", required=True, type=Path, help="folder of the channel's skims")
    parser.add_argument("--chunks", required=True, type=json_argument, help='JSON: {"dataset": number of chunks}')
    parser.add_argument("--output", required=True, type=Path, help="cutflow.json to write")
    parser.add_argument("--table", required=True, type=Path, help="cutflow.csv to write")
    parser.add_argument("--files", required=True, type=Path, help="table of the files to write (.csv)")
    args = parser.parse_args(argv)
    log = start_log()
    summaries = {
        name: [read_json(args.skims / name / f"{chunk}.json") for chunk in range(chunks)]
        for name, chunks in args.chunks.items()
    }
    datasets = {}
    for name, blocks in summaries.items():
        datasets[name] = merge_dataset(blocks, name)
        for entry in datasets[name]["skipped"]:
            log.warning("%s: skipped %s: %s", name, entry["file"], entry["cause"])
    write_json(args.output, {"datasets": datasets})
    write_text(args.table, cutflow_table(datasets))
    write_text(args.files, files_table(args.skims, summaries))


if __name__ == "__main__":
    run_main(main)
