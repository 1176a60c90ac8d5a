"""Measure how time and memory of rules grow with the number of events.

  PYTHONPATH=src python benchmarks/scaling.py --folder . --output scaling.json \
      [--scales 1 10 100] [--rules skim_events ...] [--figure docs/images/scaling.png]

`--folder` is a checkout with the results of the default run. Run in the root of a checkout, in an environment that
holds the packages of all stages (`.test-env`). The command of each rule is the one in its log. Its events are made
1, 10, 100 ... times as many: by asking for more (generate_events), by repeating the events of its file (skim_events,
build_features), or by giving the same files many times (rules that read all chunks). Each runs alone, on one thread.
Written are events, wall and processor seconds, and the largest resident memory; the slope is that of log(processor time
- time at no events) between the two largest sizes, 1 for a cost in proportion to the events.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lhcml.common.files import read_json, write_json
from lhcml.report.costs import logged_cost

Command = list[str]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "MPLBACKEND": "Agg"}


def logged_command(log: Path) -> Command:
    """Return the command of a job, `-m module options`, from the first line of its log."""
    words = shlex.split(log.read_text(encoding="utf-8").split("\n", 1)[0])
    return words[words.index("python") + 1 :]


def with_options(command: Command, options: Mapping[str, Sequence[str]]) -> Command:
    """Return the command with other values of some of its options."""
    changed, position = [], 0
    while position < len(command):
        word = command[position]
        changed.append(word)
        position += 1
        if word in options:
            changed += options[word]
            while position < len(command) and not command[position].startswith("--"):
                position += 1
    return changed


def values_of(command: Command, option: str) -> list[str]:
    """Return the values of an option in a command."""
    rest = command[command.index(option) + 1 :]
    end = next((index for index, word in enumerate(rest) if word.startswith("--")), len(rest))
    return rest[:end]


def measure(command: Command, folder: Path) -> dict[str, float]:
    """Run a command in a folder; return wall and processor time (s) and its largest memory (MB)."""
    environment = os.environ | ONE_THREAD | {"PYTHONPATH": str(Path("src").resolve())}
    environment["NUMBA_CACHE_DIR"] = str(Path(".numba-cache").resolve())
    begin = time.monotonic()
    done = subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True)
    cost = logged_cost(done.stderr)
    if done.returncode or cost is None:
        raise SystemExit(f"{shlex.join(command)} failed:\n{done.stdout}{done.stderr}")
    return {"seconds": time.monotonic() - begin, "cpu_seconds": cost[0], "memory_mb": cost[1]}


def repeat_events(source: Path, times: int, target: Path) -> int:
    """Write the events of a ROOT file several times into one file; return how many it holds."""
    import awkward as ak
    import uproot

    from lhcml.skim.write_skim import SkimWriter

    with uproot.open(source) as file:
        events = file["Events"].arrays()
        runs = file["Runs"].arrays() if "Runs" in file else None
    counters = {f"n{name.partition('_')[0]}" for name in events.fields}
    columns = {name: events[name] for name in events.fields if name not in counters}
    columns = {name: ak.to_numpy(values) if values.ndim == 1 else values for name, values in columns.items()}
    with SkimWriter(target) as writer:
        for _ in range(times):
            writer.add(columns)
        if runs is not None:
            writer.file["Runs"] = {
                name: ak.to_numpy(runs[name]) * (times if "Event" in name else 1) for name in runs.fields
            }
    return times * len(events)


def repeat_links(folder: Path, suffix: str, times: int, target: Path) -> int:
    """Link the numbered files of a folder several times under further numbers; return how many there are."""
    target.mkdir(parents=True, exist_ok=True)
    files = sorted(folder.glob(f"*{suffix}"), key=lambda path: int(path.stem))
    for number in range(times * len(files)):
        (target / f"{number}{suffix}").symlink_to(files[number % len(files)].resolve())
    return times * len(files)


def options_of_generation(command: Command, folder: Path, scratch: Path, scale: int) -> dict[str, Sequence[str]]:
    """Ask for a seventh of the chunk, times the scale."""
    return {"--events": [str(int(values_of(command, "--events")[0]) // 7 * scale)]}


def options_of_file(command: Command, folder: Path, scratch: Path, scale: int) -> dict[str, Sequence[str]]:
    """Repeat the events of the input file."""
    target = scratch / "input.root"
    repeat_events(folder / values_of(command, "--input")[0], scale, target)
    return {"--input": [str(target)]}


def repeated_files(*options: str) -> Callable[[Command, Path, Path, int], dict[str, Sequence[str]]]:
    """Return the choice that gives the files of some options several times."""
    return lambda command, folder, scratch, scale: {option: values_of(command, option) * scale for option in options}


def options_of_dijets(command: Command, folder: Path, scratch: Path, scale: int) -> dict[str, Sequence[str]]:
    """Link the feature files of the dataset under further numbers."""
    number = repeat_links(folder / values_of(command, "--features")[0], ".parquet", scale, scratch / "features")
    return {"--features": [str(scratch / "features")], "--chunks": [str(chunk) for chunk in range(number)]}


def options_of_levels(command: Command, folder: Path, scratch: Path, scale: int) -> dict[str, Sequence[str]]:
    """Link the levels of all datasets and shifts under further numbers."""
    config = json.loads(values_of(command, "--config")[0])
    for blocks in config["datasets"].values():
        for name, block in blocks.items():
            for shift in ("nominal", *config["shifts"]):
                path = Path(name) / shift / "levels"
                source = folder / values_of(command, "--levels")[0] / path
                if source.is_dir():
                    number = repeat_links(source, ".parquet", scale, scratch / "levels" / path)
                    block["chunks"] = list(range(number))
    return {"--levels": [str(scratch / "levels")], "--config": [json.dumps(config)]}


def options_of_cutflow(command: Command, folder: Path, scratch: Path, scale: int) -> dict[str, Sequence[str]]:
    """Link the summaries of all datasets under further numbers."""
    source = folder / values_of(command, "--skims")[0]
    numbers = {
        name: repeat_links(source / name, ".json", scale, scratch / "skims" / name)
        for name in json.loads(values_of(command, "--chunks")[0])
    }
    return {"--skims": [str(scratch / "skims")], "--chunks": [json.dumps(numbers)]}


def repeated_tables(*options: str) -> Callable[[Command, Path, Path, int], dict[str, Sequence[str]]]:
    """Return the choice that repeats the rows of the Parquet files of some options, each given as name=path."""

    def choose(command: Command, folder: Path, scratch: Path, scale: int) -> dict[str, Sequence[str]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        changed: dict[str, Sequence[str]] = {}
        for option in options:
            pairs = [value.partition("=")[::2] for value in values_of(command, option)]
            for name, path in pairs:
                rows = pq.read_table(folder / path)
                pq.write_table(pa.concat_tables([rows] * scale), scratch / f"{name}.parquet", compression="zstd")
            changed[option] = [f"{name}={scratch / name}.parquet" for name, _ in pairs]
        return changed

    return choose


def options_of_stimuli(command: Command, folder: Path, scratch: Path, scale: int) -> dict[str, Sequence[str]]:
    """Repeat the test events among the words that gates are checked on."""
    from lhcml.firmware.stimuli import read_stimuli, write_stimuli

    given, target = read_stimuli(folder / values_of(command, "--stimuli")[0]), scratch / "stimuli.npz"
    rows = [*range(given.events)] * scale + [*range(given.events, len(given.inputs))]
    write_stimuli(target, given.inputs[rows], given.outputs[rows], scale * given.events)
    return {"--stimuli": [str(target)]}


# Rule -> log of the job, how its events become more, and the option with its first output
CASES: dict[str, tuple[str, Callable[..., dict[str, Sequence[str]]], tuple[str, ...]]] = {
    "generate_events": ("samples/generate_events/toptag_top_0", options_of_generation, ("--output",)),
    "skim_events": ("skim/skim_events/toptag_top_0", options_of_file, ("--output", "--summary")),
    "build_features": ("features/build_features/toptag_top_nominal_0", options_of_file, ("--output",)),
    "build_levels": ("features/build_levels/zjets_nominal_nominal_0", options_of_file, ("--output",)),
    "merge_cutflow": ("skim/merge_cutflow/toptag", options_of_cutflow, ("--output", "--table", "--files")),
    "train_bdt": (
        "taggers/train_bdt/xgboost_1", repeated_files("--signal", "--background"), ("--output", "--meta"),
    ),
    "train_network": (
        "taggers/train_network/dense_1", repeated_files("--signal", "--background"), ("--output", "--meta"),
    ),
    "score_bdt": ("taggers/score_bdt/xgboost_1_top_nominal", repeated_files("--features"), ("--output",)),
    "score_network": ("taggers/score_network/pfn_1_top_nominal", repeated_files("--features"), ("--output",)),
    "collect_dijets": ("anomaly/collect_dijets/qcd", options_of_dijets, ("--output",)),
    "build_matrices": ("anomaly/build_matrices/w", repeated_files("--skims"), ("--output", "--summary")),
    "collect_objects": ("firmware/collect_objects/vae_w", repeated_files("--skims"), ("--output",)),
    "collect_events": (
        "unfolding/collect_events", options_of_levels, ("--simulation", "--data", "--normalisation"),
    ),
    "train_float": (
        "firmware/train_float/jets", repeated_tables("--signals", "--background"), ("--model", "--description"),
    ),
    "quantise_network": (
        "firmware/quantise_network/jets_ebops3000", repeated_tables("--signals", "--background"),
        ("--model", "--encoding", "--quantised", "--stimuli", "--scores"),
    ),
    "convert_network": (
        "firmware/convert_network/jets_ebops3000_vitis_reuse1", options_of_stimuli, ("--project", "--output"),
    ),
    "write_rtl": ("firmware/write_rtl/jets_ebops3000", options_of_stimuli, ("--project", "--output")),
    "simulate_rtl": ("firmware/simulate_rtl/jets_ebops3000", options_of_stimuli, ("--output",)),
}  # fmt: skip


def events_behind(rule: str, folder: Path) -> int:
    """Return how many generated events the job of a rule is behind at scale 1."""
    import yaml

    config = yaml.safe_load((folder / "config/config.yaml").read_text(encoding="utf-8"))
    channels = {name: block["datasets"] for name, block in config["channels"].items()}
    chunk = min(config["samples"]["events_per_chunk"], channels["toptag"]["top"]["events"])
    toptag, zjets = channels["toptag"], channels["zjets"]
    tagged = toptag["top"]["events"] + toptag["qcd"]["events"]
    return {
        "generate_events": chunk // 7,
        "skim_events": chunk,
        "build_features": chunk,
        "build_levels": zjets["nominal"]["events"],
        "merge_cutflow": sum(block["events"] for block in toptag.values()),
        "score_bdt": toptag["top"]["events"],
        "score_network": toptag["top"]["events"],
        "collect_dijets": channels["dijet"]["qcd"]["events"],
        "build_matrices": channels["trigger"]["w"]["events"],
        "collect_objects": channels["trigger"]["w"]["events"],
        "collect_events": zjets["nominal"]["events"] + zjets["tune25"]["events"],
    }.get(rule, tagged)  # all others are behind the training jets


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True, type=Path, help="folder of a finished default run")
    parser.add_argument("--scales", nargs="+", type=int, default=[1, 10, 100])
    parser.add_argument("--rules", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--output", required=True, type=Path, help="JSON; what it holds of other rules is kept")
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args(argv)
    rows = read_json(args.output) if args.output.is_file() else []
    for rule in args.rules:
        log, options, outputs = CASES[rule]
        command = logged_command(args.folder / f"results/logs/{log}.log")
        for scale in args.scales:
            with tempfile.TemporaryDirectory(dir=args.output.resolve().parent) as name:
                scratch = Path(name)
                changed = options(command, args.folder.resolve(), scratch, scale)
                changed |= {option: [str(scratch / Path(values_of(command, option)[0]).name)] for option in outputs}
                events = events_behind(rule, args.folder) * scale
                row = {"rule": rule, "events": events} | measure(with_options(command, changed), args.folder)
            rows = [old for old in rows if (old["rule"], old["events"]) != (rule, events)] + [row]
            print(json.dumps(row), flush=True)
            write_json(args.output, rows)
    summarise(rows)
    if args.figure:
        draw(rows, args.figure)


def of_rule(rows: Sequence[Mapping[str, Any]], rule: str) -> list[Mapping[str, Any]]:
    """Return the measurements of a rule by number of events."""
    return sorted((row for row in rows if row["rule"] == rule), key=lambda row: row["events"])


def slope(points: Sequence[Mapping[str, Any]], quantity: str) -> float:
    """Return the log-log slope between the two largest sizes of what lies above the cost at no events.

    The cost at no events is the end of the line through the two smallest sizes.
    """
    import math

    (x0, y0), (x1, y1) = ((point["events"], point[quantity]) for point in points[:2])
    base = max(y0 - x0 * (y1 - y0) / (x1 - x0), 0.0)
    (x2, y2), (x3, y3) = ((point["events"], point[quantity]) for point in points[-2:])
    return math.log(max(y3 - base, 1e-9) / max(y2 - base, 1e-9)) / math.log(x3 / x2)


def summarise(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rate, slope and growth of memory of each rule, as a Markdown table."""
    print("| rule | events | CPU s | events/s | slope of time | memory [MB] |\n|---|---|---|---|---|---|")
    for rule in CASES:
        points = of_rule(rows, rule)
        if len(points) > 1:
            first, last = points[0], points[-1]
            rate = (last["events"] - first["events"]) / (last["cpu_seconds"] - first["cpu_seconds"])
            times, memory = (" / ".join(f"{p[key]:.3g}" for p in points) for key in ("cpu_seconds", "memory_mb"))
            sizes = " / ".join(f"{point['events']:,}" for point in points)
            print(f"| `{rule}` | {sizes} | {times} | {rate:,.0f} | {slope(points, 'cpu_seconds'):.2f} | {memory} |")


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw processor time and memory against events, both logarithmic."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.8), layout="constrained")
    rules = [rule for rule in CASES if len(of_rule(rows, rule)) > 1]
    for number, rule in enumerate(rules):
        points = of_rule(rows, rule)
        events = [point["events"] for point in points]
        for axis, key in zip(axes, ("cpu_seconds", "memory_mb"), strict=True):
            marker = "osv^D<>ph*XPd"[number % 13]
            axis.plot(events, [p[key] for p in points], marker=marker, label=rule, color=plt.get_cmap("tab20")(number))
    for axis, title in zip(axes, ("Processor time [s]", "Largest memory [MB]"), strict=True):
        axis.set(xscale="log", yscale="log", xlabel="Generated events behind the job", ylabel=title)
        axis.grid(alpha=0.3)
    low, high = axes[0].get_xlim()
    axes[0].plot([low, high], [low / 500, high / 500], "k:", lw=1, label="proportional")
    axes[0].set_xlim(low, high)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
