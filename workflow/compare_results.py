#!/usr/bin/env python3
"""Compare the results of two runs file by file; status 1 if they differ.

  .test-env/bin/python workflow/compare_results.py results /elsewhere/results

Two files are the same if their bytes are. Where they are not, the kind of file decides what may differ: `RULES` states
it, with the reason. A file that no rule names may not differ in a single byte.
"""

from __future__ import annotations

import argparse
import csv
import filecmp
import fnmatch
import json
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Snakemake's notes of when, how fast and where each job ran
RECORDS = ("logs", "benchmarks")
# Snakemake's mark in a folder that a rule makes
STAMP = ".snakemake_timestamp"
# keys of JSON files and columns of tables that tell how long something took, or which commit of the sources made it
MEASURED = frozenset(
    {
        "git", "seconds", "train_seconds", "build_seconds", "run_seconds",
        "train_jets_per_second", "jets_per_second",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """What differs between the two versions of a file."""

    name: str
    what: str


def is_temporary(path: Path) -> bool:
    """Tell whether a file has the temporary name under which the workflow writes (`lhcml.common.files`)."""
    return path.name.startswith(".") and ".part" in path.name


def list_results(folder: Path) -> Iterator[str]:
    """Yield the names, relative to a folder of results, of its files: no records of Snakemake, no temporary files."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and name.parts[0] not in RECORDS and path.name != STAMP and not is_temporary(path):
            yield name.as_posix()


def without_measured(value: Any) -> Any:
    """Return what JSON holds without the keys of `MEASURED`."""
    if isinstance(value, dict):
        return {key: without_measured(item) for key, item in value.items() if key not in MEASURED}
    return [without_measured(item) for item in value] if isinstance(value, list) else value


def first_difference(ours: Any, theirs: Any, where: str = "") -> str | None:
    """Return the first place at which two values read from JSON differ, or None."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if ours.keys() != theirs.keys():
            return f"{where or 'top'}: keys {sorted(ours.keys() ^ theirs.keys())} in one only"
        pairs = ((f"{where}.{key}".lstrip("."), ours[key], theirs[key]) for key in ours)
    elif isinstance(ours, list) and isinstance(theirs, list):
        if len(ours) != len(theirs):
            return f"{where or 'top'}: {len(ours)} and {len(theirs)} items"
        pairs = ((f"{where}[{number}]", *both) for number, both in enumerate(zip(ours, theirs, strict=True)))
    else:
        return None if ours == theirs else f"{where or 'top'}: {ours!r} and {theirs!r}"
    return next((found for place, a, b in pairs if (found := first_difference(a, b, place))), None)


def compare_json(ours: Path, theirs: Path) -> str | None:
    """Compare all values but those of the keys in `MEASURED`."""
    texts = [json.loads(path.read_text(encoding="utf-8")) for path in (ours, theirs)]
    return first_difference(*map(without_measured, texts))


def compare_csv(ours: Path, theirs: Path) -> str | None:
    """Compare all columns of two tables but those of `MEASURED`."""
    tables = []
    for path in (ours, theirs):
        with path.open(newline="", encoding="utf-8") as file:
            tables.append([without_measured(row) for row in csv.DictReader(file)])
    return first_difference(tables[0], tables[1])


def compare_root(ours: Path, theirs: Path) -> str | None:
    """Compare size, names and classes of all objects, and every branch or histogram value for value; NaN equals NaN."""
    import awkward as ak
    import uproot

    if ours.stat().st_size != theirs.stat().st_size:
        return f"{ours.stat().st_size} and {theirs.stat().st_size} bytes"
    with uproot.open(ours) as first, uproot.open(theirs) as second:
        if first.classnames() != second.classnames():
            return f"objects {first.classnames()} and {second.classnames()}"
        for name, kind in first.classnames().items():
            if kind in ("TTree", "ROOT::RNTuple"):
                if first[name].keys() != second[name].keys():
                    return f"{name}: branches {sorted({*first[name].keys()} ^ {*second[name].keys()})} in one only"
                for branch in first[name].keys():  # noqa: SIM118  (not a dict)
                    a, b = first[name][branch].array(), second[name][branch].array()
                    if not ak.array_equal(a, b, equal_nan=True, dtype_exact=True):
                        return f"{name}/{branch} differs"
            elif kind.startswith(("TH1", "TH2")):
                a, b = first[name], second[name]
                if not all((one == other).all() for one, other in zip(a.to_numpy(), b.to_numpy(), strict=True)):
                    return f"{name} differs"
                if not (a.variances() == b.variances()).all():
                    return f"variances of {name} differ"
            elif not kind.startswith("TDirectory"):
                return f"{name} is a {kind}, which is not compared"
    return None


def read_members(path: Path) -> dict[str, bytes]:
    """Return the contents of a ZIP archive by name."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def compare_report(ours: Path, theirs: Path) -> str | None:
    """Compare the files in two reports by name and bytes; their folders are named by digests of absolute paths."""
    measured = ("report.html", "benchmarks.csv", "summary.txt", "comparison.csv", "costs.png")
    first, second = (
        Counter((Path(name).name, content) for name, content in read_members(path).items()
                if Path(name).name not in measured)
        for path in (ours, theirs)
    )  # fmt: skip
    names = {name for name, _ in (first - second) + (second - first)}
    return f"members {sorted(names)} differ" if names else None


def compare_keras(ours: Path, theirs: Path) -> str | None:
    """Compare architecture and weights of two Keras models, without the date and the addresses of objects."""
    first, second = read_members(ours), read_members(theirs)
    if first["model.weights.h5"] != second["model.weights.h5"]:
        return "the weights differ"
    texts = (re.sub(rb'"shared_object_id": \d+', b"", members["config.json"]) for members in (first, second))
    return None if len({*texts}) == 1 else "config.json differs"


def accept(ours: Path, theirs: Path) -> str | None:
    """Ask only that both files are there and hold something."""
    return None if ours.stat().st_size and theirs.stat().st_size else "empty"


Compare = Callable[[Path, Path], str | None]
# pattern of names, comparison, what may differ and why; the first pattern that fits counts
RULES: tuple[tuple[str, Compare, str], ...] = (
    ("report/benchmarks.*", accept, "measured times and memory"),
    ("report/resources.yaml", accept, "measured times and memory"),
    ("report/summary.*", accept, "holds the time of the run"),
    ("taggers/plots/costs.*", accept, "measured times"),
    ("report.zip", compare_report, "the page holds times and dates: figures and tables are compared by name and bytes"),
    ("*.root", compare_root, "uproot writes the date and a random identifier: size and all values are compared"),
    ("*.keras", compare_keras, "Keras writes the date and addresses of objects: architecture and weights are compared"),
    ("*.csv", compare_csv, "columns as keys of JSON files"),
    ("*.json", compare_json, "without " + ", ".join(sorted(MEASURED))),
)


def compare_file(name: str, ours: Path, theirs: Path) -> tuple[str, str | None]:
    """Compare two files of one name.

    Parameters
    ----------
    name : str
        Name below the folder of results; it chooses the rule.
    ours, theirs : Path
        The two files.

    Returns
    -------
    how : str
        "bytes" if they are the same to the last byte, else the pattern of the rule that was used ("" if none fits).
    difference : str or None
        What differs; None if nothing does that the rule forbids.
    """
    if filecmp.cmp(ours, theirs, shallow=False):
        return "bytes", None
    for pattern, compare, _ in RULES:
        if fnmatch.fnmatch(name, pattern):
            try:
                return pattern, compare(ours, theirs)
            except ImportError:  # of this Python, not of the files
                raise
            except Exception as error:  # a file cut short raises whatever its reader raises: that is the difference
                return pattern, f"cannot be compared: {type(error).__name__}: {error}"
    return "", f"{ours.stat().st_size} and {theirs.stat().st_size} bytes that differ"


def compare_results(ours: Path, theirs: Path) -> tuple[Counter[str], list[Difference]]:
    """Compare all files of two folders of results.

    Returns
    -------
    how : Counter
        Number of files that are the same, by the way in which they are.
    differences : list of Difference
        Files that differ or are missing on a side.
    """
    names, others = set(list_results(ours)), set(list_results(theirs))
    how: Counter[str] = Counter()
    differences = [Difference(name, f"only in {ours if name in names else theirs}") for name in sorted(names ^ others)]
    for name in sorted(names & others):
        rule, difference = compare_file(name, ours / name, theirs / name)
        if difference is None:
            how[rule] += 1
        else:
            differences.append(Difference(name, difference))
    return how, differences


def describe(how: Counter[str]) -> str:
    """Return a line a kind of comparison: how many files, and what could differ."""
    reasons = {"bytes": "the same to the last byte"} | {pattern: reason for pattern, _, reason in RULES}
    return "\n".join(f"{count:6d}  {rule:24s} {reasons[rule]}" for rule, count in how.most_common())


def main() -> None:
    """Compare two folders and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ours", type=Path, help="folder of results")
    parser.add_argument("theirs", type=Path, help="another one")
    args = parser.parse_args()
    for folder in (args.ours, args.theirs):
        if not folder.is_dir():
            parser.error(f"no folder {folder}")
    try:
        how, differences = compare_results(args.ours, args.theirs)
    except ImportError as error:
        fix = "`make test-env`, then .test-env/bin/python workflow/compare_results.py"
        sys.exit(f"error: no module {error.name} to read the files\n  fix: {fix}")
    print(describe(how))
    for difference in differences:
        print(f"differs: {difference.name}: {difference.what}")
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
