"""List the luminosity sections of collision data that were read and are certified.

Reads `<skims>/<chunk>.json` for the chunks given and writes ``{"run": [[first, last], ...]}``, the form of the files of
certified sections: what brilcalc needs to tell the integrated luminosity of the events in the skims. Files that were
skipped are not in it. The log tells how many certified sections of the runs read were in no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.files import read_json, write_json
from lhcml.skim.luminosity import compress_sections, expand_sections


def merge_sections(summaries: Sequence[Mapping[str, Any]]) -> tuple[dict[str, list[list[int]]], int]:
    """Return the sections of all files, and how many of them are in more than one file.

    Parameters
    ----------
    summaries : sequence of mapping
        JSON files of the skims; the sections of a section split over files count once.
    """
    blocks = [summary["luminosity"]["sections"] for summary in summaries if summary["luminosity"]]
    pairs = np.concatenate([expand_sections({}), *map(expand_sections, blocks)])
    merged = compress_sections(pairs[:, 0], pairs[:, 1])
    return merged, len(pairs) - len(expand_sections(merged))


def count_missing(certified: Mapping[str, Sequence[Sequence[int]]], found: Mapping[str, Any]) -> int:
    """Return the number of certified sections, of the runs that were read, that no file holds."""
    of_runs = {run: ranges for run, ranges in certified.items() if run in found}
    return len(set(map(tuple, expand_sections(of_runs))) - set(map(tuple, expand_sections(found))))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--skims", required=True, type=Path, help="folder of the dataset's skims")
    parser.add_argument("--chunks", required=True, type=int, help="number of chunks")
    parser.add_argument("--golden-json", nargs="*", default=[], type=Path, help="file of certified sections")
    parser.add_argument("--output", required=True, type=Path, help="luminosity.json to write")
    args = parser.parse_args(argv)
    log = start_log("numpy")
    summaries = [read_json(args.skims / f"{chunk}.json") for chunk in range(args.chunks)]
    sections, shared = merge_sections(summaries)
    number = sum(last - first + 1 for ranges in sections.values() for first, last in ranges)
    log.info("%d luminosity sections of %d runs", number, len(sections))
    if shared:
        log.info("%d sections are in more than one file: parts of them, or events that are there twice", shared)
    lost = sum(bool(summary["skipped"]) for summary in summaries)
    if lost:
        log.warning("%d skipped files: their sections are not in the list", lost)
    for path in args.golden_json:
        missing = count_missing(read_json(path), sections)
        log.info("%d sections of these runs that %s certifies are in no file that was read", missing, path)
    write_json(args.output, sections)


if __name__ == "__main__":
    run_main(main)
