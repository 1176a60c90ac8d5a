"""Price of the whole step (events, detector, jets, ROOT file) over bare Pythia.

Each row runs Pythia's `nextBatch` alone and then the whole step on the same settings and seed, several times in turn,
and compares the least CPU times. The columns behind the ratio are the time of each part over that of Pythia, from a
profile of one more run.

    PYTHONPATH=src python benchmarks/generate_events.py [--events 1000] [--repeats 3]

The goal is a ratio of at most 1.25 with multiple interactions on, which every real sample has.
"""

from __future__ import annotations

import argparse
import cProfile
import logging
import pstats
import tempfile
import time
from pathlib import Path

from lhcml.samples.generate_events import BATCH, Content, generate_chunk
from lhcml.samples.generator import JetRange, start_pythia
from lhcml.samples.processes import PROCESSES, Process

QCD = ("Beams:eCM = 14000.", "HardQCD:all = on", "PhaseSpace:pTHatMin = 500.")
ROWS: dict[str, tuple[Process, Content]] = {
    "QCD, pTHat > 500 GeV, MPI": (Process(QCD, variations=False), Content()),
    "QCD, pTHat > 500 GeV, MPI, PSWeight": (Process(QCD), Content()),
    "Z+jets, MPI, PSWeight": (PROCESSES["zjets"], Content(("Jet", "PFCands", "GenCands"))),
    "tt with leptons, MPI": (PROCESSES["trigger_tt"], Content(("Jet", "Lepton"))),
    "toptag top, no MPI, veto, PSWeight": (PROCESSES["toptag_top"], Content()),
    "toptag QCD, no MPI, veto": (
        Process(PROCESSES["toptag_qcd"].settings, PROCESSES["toptag_qcd"].leading_jet_pt, variations=False),
        Content(),
    ),
}
PARTS = {
    "detector": "find_candidates",
    "jets": "cluster",
    "truth": "prune",
    "write": "add",
    "columns": "visible_particles",
}


def bare(process: Process, content: Content, events: int) -> float:
    """Return the CPU seconds of Pythia alone."""
    veto = None
    if process.leading_jet_pt is not None:
        veto = JetRange(*process.leading_jet_pt, content.fat_jet_radius, process.merged_top)
    generator = start_pythia(process.settings, 1, variations=process.variations, veto=veto)
    begin = time.process_time()
    left = events
    while left > 0:
        generator.pythia.nextBatch(min(BATCH, left))
        left -= BATCH
    return time.process_time() - begin


def whole(process: Process, content: Content, events: int, folder: Path) -> float:
    """Return the CPU seconds of the whole step, less the start of Pythia as in `bare`."""
    begin = time.process_time()
    start_pythia(process.settings, 1, variations=process.variations)
    start = time.process_time() - begin
    begin = time.process_time()
    generate_chunk(folder / "0.root", process, content, events=events, first_event=1, block=1, seed=1)
    return time.process_time() - begin - start


def parts(process: Process, content: Content, events: int, folder: Path) -> dict[str, float]:
    """Return the share of each part in the CPU time of Pythia, from a profile."""
    profile = cProfile.Profile(time.process_time)
    profile.runcall(generate_chunk, folder / "0.root", process, content, events=events, first_event=1, block=1, seed=1)
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    seconds = dict.fromkeys(PARTS, 0.0)
    pythia = 0.0
    for (file, _, name), (_, _, _, cumulative, _) in stats.items():
        pythia += cumulative if "nextBatch" in name else 0.0
        for part, function in PARTS.items():
            if name == function and "lhcml/samples" in file:
                seconds[part] += cumulative
    return {part: value / pythia for part, value in seconds.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    logging.disable(logging.INFO)
    print(f"{'':38} {'bare':>9} {'whole':>9} {'ratio':>6}   " + " ".join(f"{part:>9}" for part in PARTS))
    with tempfile.TemporaryDirectory() as folder:
        for name, (process, content) in ROWS.items():
            times = [
                (bare(process, content, args.events), whole(process, content, args.events, Path(folder)))
                for _ in range(args.repeats)
            ]
            one, two = (min(column) / args.events * 1e3 for column in zip(*times, strict=True))
            share = parts(process, content, args.events, Path(folder))
            print(
                f"{name:38} {one:6.2f} ms {two:6.2f} ms {two / one:6.2f}   "
                + " ".join(f"{100 * value:7.1f} %" for value in share.values()),
                flush=True,
            )


if __name__ == "__main__":
    main()
