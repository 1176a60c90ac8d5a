r"""Compute the observables of the events of one skim at detector and at particle level, for an unfolding.

Reads the tree `Events` of a skim that kept all events and the particle level, and writes a Parquet file with a row an
event: identity, weights, who passes which level, observables `gen_...` and `reco_...`. docs/features.md describes them.

By hand:
  python -m lhcml.features.build_levels --input results/skim/zjets/nominal/0.root --output levels.parquet \
      --config '{"jet": "Jet", "radius": 0.4, "max_constituents": 200, "puppi_jets": [],
                 "soft_drop": {"zcut": 0.1, "beta": 0}, "data": false,
                 "levels": {"jets": 1, "leptons": false, "constituents": false},
                 "selection": {"candidates": {}, "generated_z": {"pt": {"min": 200}}}}'
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lhcml.common.cli import Progress, json_argument, make_parser, run_main, start_log

# Events read at once: with both levels and their candidates about 0.5 GB.
STEP_SIZE = 10_000


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; see the module's docstring."""
    parser = make_parser(__doc__)
    parser.add_argument("--input", required=True, type=Path, help="skim (ROOT)")
    parser.add_argument("--shift", default="nominal", help="nominal or a kinematic shift of the skim")
    parser.add_argument("--config", required=True, type=json_argument, help="jets, levels and selection, JSON")
    parser.add_argument("--output", required=True, type=Path, help="levels (Parquet)")
    parser.add_argument("--threads", type=int, default=1, help="threads of the kernels")
    arguments = parser.parse_args(argv)
    log = start_log("awkward", "uproot", "numba", "numpy", "pyarrow")

    import numba

    from lhcml.common.files import write_parquet_parts
    from lhcml.features.levels import read_levels
    from lhcml.features.read_skim import open_events

    numba.set_num_threads(min(arguments.threads, numba.config.NUMBA_NUM_THREADS))
    log.info("levels of %s, shift %s", arguments.input, arguments.shift)
    counts = {"events": 0, "reco": 0, "gen": 0, "both": 0}
    progress = Progress(open_events(arguments.input).num_entries, "events")

    def counted() -> Iterator[dict[str, Any]]:
        for columns in read_levels(arguments.input, arguments.shift, arguments.config, STEP_SIZE):
            reco = columns["pass_reco"]
            gen = columns.get("pass_gen", reco & False)
            for name, passed in (("reco", reco), ("gen", gen), ("both", reco & gen)):
                counts[name] += int(passed.sum())
            counts["events"] += len(reco)
            progress.add(len(reco))
            yield columns

    write_parquet_parts(arguments.output, counted())
    log.info("%(events)d events: %(reco)d pass the detector level, %(gen)d the particle level, %(both)d both", counts)
    if counts["events"] and counts["reco"] == counts["events"] and not arguments.config["data"]:
        log.warning("no event fails the detector level: was the skim made with `selection.keep.events: all`?")


if __name__ == "__main__":
    run_main(main)
