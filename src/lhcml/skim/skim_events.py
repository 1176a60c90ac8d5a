"""Select events and objects of one ROOT file, with all systematic shifts in one pass.

Reads a NanoAOD or PFNano file (TTree or RNTuple), applies the channel's selection nominally and in every shift, and
writes the events that pass in any of them as a TTree, with a JSON file of cutflows and normalisation. See docs/skim.md.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhcml.common.cli import Progress, json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import is_remote, write_atomic, write_json
from lhcml.skim.remote import limit_waiting, try_again


def cutflow_rows(cutflow: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, list[dict[str, Any]]]:
    """Return the cutflow as written: per shift a list of cuts with "raw", "weighted" and "weighted_squared" counts."""
    return {
        shift: [
            {"cut": cut, "raw": int(raw), "weighted": weighted, "weighted_squared": squared}
            for cut, (raw, weighted, squared) in cuts.items()
        ]
        for shift, cuts in cutflow.items()
    }


def skim_file(
    path: str,
    output: Path,
    *,
    dataset: str,
    selection: Mapping[str, Any],
    config: Mapping[str, Any],
    data: bool = False,
    cross_section: float | None = None,
) -> dict[str, Any]:
    """Skim one file.

    Parameters
    ----------
    path : str
        ROOT file of events, or its address.
    output : Path
        ROOT file to write.
    dataset : str
        Name of the dataset, which decides about top matching.
    selection : mapping
        The channel's `selection`, defaults filled in.
    config : mapping
        "step_size", "jes", "jer" of the section `skim`.
    data : bool
        Collision data.
    cross_section : float, optional
        Cross section of the dataset, pb; overrides the file's.

    Returns
    -------
    dict
        Content of the JSON file beside the skim.

    Raises
    ------
    UserError
        If the file cannot be used, naming the file, what is wrong and what to do.
    """
    from lhcml.skim.columns import make_plan
    from lhcml.skim.luminosity import read_golden_json, read_sections
    from lhcml.skim.normalisation import normalise, read_runs
    from lhcml.skim.process_chunk import Cutflow, process_chunk
    from lhcml.skim.read_source import chunk_bounds, open_source, read_chunk
    from lhcml.skim.write_skim import SkimWriter

    log = logging.getLogger("lhcml")
    golden = read_golden_json(selection["golden_json"]) if data and "golden_json" in selection else None
    with open_source(path) as source:
        plan = make_plan(source, selection, config["jer"]["scale"], dataset, data)
        for note in plan.notes:
            log.info("%s: %s", path, note)
        runs = None if data else read_runs(source)
        luminosity = read_sections(source, golden) if data else None
        cutflow: Cutflow = {}
        sum_weight: dict[str, float] = {}
        dropped = 0
        progress = Progress(source.num_entries, "events")
        everything = [*plan.selecting, *plan.written]
        with write_atomic(output) as temporary, SkimWriter(temporary) as writer:
            for start, stop in chunk_bounds(source, everything, config["step_size"]):
                events = read_chunk(source, everything, start, stop)
                columns, sums, links = process_chunk(source, events, plan, selection, config, golden, cutflow)
                sum_weight = {shift: sum_weight.get(shift, 0.0) + value for shift, value in sums.items()}
                dropped += links
                if columns:
                    writer.add(columns)
                progress.add(stop - start)
            if writer.count == 0 and not writer.waiting:
                nothing = read_chunk(source, everything, 0, 0)
                writer.add(process_chunk(source, nothing, plan, selection, config, golden, {})[0])
        return {
            "source": path,
            "data": data,
            "events": source.num_entries,
            "kept": writer.count,
            **normalise(runs, source.num_entries, sum_weight, cross_section, data),
            "kinematic_shifts": plan.kinematic_shifts,
            "weight_shifts": plan.weight_shifts,
            "cutflow": cutflow_rows(cutflow),
            "luminosity": luminosity,
            "candidate_links_dropped": dropped,
            "notes": plan.notes,
            "skipped": [],
        }


def skip_file(path: str, output: Path, selection: Mapping[str, Any], data: bool, error: UserError) -> dict[str, Any]:
    """Write the skim of a file that cannot be used: no events, and its name and the cause in the JSON."""
    from lhcml.skim.write_skim import SkimWriter, skeleton

    with write_atomic(output) as temporary, SkimWriter(temporary) as writer:
        writer.add(skeleton(selection, data))
    return {
        "source": path, "data": data, "events": 0, "kept": 0, "normalisation_from": None, "count": 0,
        "sum_genWeight": None if data else 0.0, "sum_weight": {}, "cross_section_pb": None, "cross_section_from": None,
        "kinematic_shifts": [], "weight_shifts": [], "cutflow": {}, "luminosity": None, "candidate_links_dropped": 0,
        "notes": [], "skipped": [{"file": path, "cause": error.cause}],
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--input", required=True, help="ROOT file of events, or its root:// address")
    parser.add_argument("--dataset", required=True, help="name of the dataset")
    parser.add_argument(
        "--config",
        required=True,
        type=json_argument,
        help='JSON: {"skim": section, "selection": block of the channel, "data": bool, "cross_section": pb or null}',
    )
    parser.add_argument("--output", required=True, type=Path, help="skim to write (.root)")
    parser.add_argument("--summary", required=True, type=Path, help="cutflow and normalisation to write (.json)")
    args = parser.parse_args(argv)
    log = start_log("coffea", "uproot", "awkward", "numpy")
    config, selection, data = args.config["skim"], args.config["selection"], args.config["data"]

    def skim() -> dict[str, Any]:
        return skim_file(
            args.input,
            args.output,
            dataset=args.dataset,
            selection=selection,
            config=config,
            data=data,
            cross_section=args.config["cross_section"],
        )

    try:
        if is_remote(args.input):
            limit_waiting(config["remote"]["timeout"])
            summary = try_again(skim, config["remote"])
        else:
            summary = skim()
    except UserError as error:
        if config["on_bad_file"] != "skip":
            raise
        log.warning("skipped: %s", error)
        summary = skip_file(args.input, args.output, selection, data, error)
    write_json(args.summary, summary)
    for row in summary["cutflow"].get("nominal", []):
        log.info("%-16s %9d events, sum of weights %.6g", row["cut"], row["raw"], row["weighted"])


if __name__ == "__main__":
    run_main(main)
