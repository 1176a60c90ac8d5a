r"""Generate one chunk of events: Pythia 8, parametric detector, FastJet; written as ROOT with NanoAOD/PFNano names.

By hand:

    PYTHONPATH=src python -m lhcml.samples.generate_events --generate '"toptag_top"' \
        --events 100 --first-event 1 --luminosity-block 1 --seed 1 --output events.root
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from lhcml.common.cli import Progress, json_argument, make_parser, run_main, start_log
from lhcml.samples.arrays import Floats, Integers, Mask
from lhcml.samples.detector import Particles
from lhcml.samples.generator import (
    VARIATIONS,
    EventRecord,
    JetRange,
    charges,
    cross_section,
    generate,
    start_pythia,
)
from lhcml.samples.jets import Jets, cluster, match
from lhcml.samples.nanoaod import (
    Columns,
    EventFile,
    candidate_collections,
    collection,
    gen_part_collection,
    jet_columns,
    lepton_collection,
)
from lhcml.samples.processes import Process, find_process
from lhcml.samples.reconstruction import (
    find_candidates,
    find_leptons,
    missing_momentum,
    visible_particles,
)
from lhcml.samples.truth import prune

# events in memory at a time: about 150 kB each with multiple interactions
BATCH = 500

FAT_JET_MIN_PT = 170.0
GEN_FAT_JET_MIN_PT = 100.0
JET_MIN_PT = 15.0
GEN_JET_MIN_PT = 10.0


LEPTON_MAX_ETA = 2.7


@dataclass(frozen=True)
class Content:
    """What is written of each event.

    Attributes
    ----------
    collections : tuple of str
        Among FatJet, Jet, PFCands, GenCands, Lepton.
    fat_jet_radius : float
        Radius of FatJet and GenJetAK8.
    """

    collections: tuple[str, ...] = ("FatJet", "PFCands")
    fat_jet_radius: float = 0.8


def read_content(block: Mapping[str, Any]) -> Content:
    """Return the content asked for by a channel's `samples` block."""
    default = Content()
    return Content(
        collections=tuple(block.get("collections", default.collections)),
        fat_jet_radius=block.get("fat_jet_radius", default.fat_jet_radius),
    )


def has_lepton(particles: Particles, events: int, min_pt: float) -> Floats:
    """Return which events have an electron or muon above `min_pt` GeV within abs(eta) < 2.7; shape (events,)."""
    lepton = np.isin(np.abs(particles.pdg_id), (11, 13)) & (np.abs(particles.eta) < LEPTON_MAX_ETA)
    lepton &= particles.pt > min_pt
    return np.bincount(particles.event[lepton], minlength=events) > 0


def jets_with_candidates(
    reco: Particles, gen: Particles, events: int, content: Content
) -> tuple[dict[str, Any], dict[str, Jets], dict[str, Jets]]:
    """Return jet collections of both levels, and the jets by the names of their cross-reference collections."""
    made: dict[str, Any] = {}
    references: dict[str, Jets] = {}
    gen_references: dict[str, Jets] = {}
    for name, gen_name, index, radius, min_pt, gen_min_pt, reference, gen_reference in (
        ("FatJet", "GenJetAK8", "genJetAK8Idx", content.fat_jet_radius, FAT_JET_MIN_PT, GEN_FAT_JET_MIN_PT,
         "FatJetPFCands", "GenFatJetCands"),
        ("Jet", "GenJet", "genJetIdx", 0.4, JET_MIN_PT, GEN_JET_MIN_PT, "JetPFCands", "GenJetCands"),
    ):  # fmt: skip
        if name not in content.collections:
            continue
        jets = cluster(reco, events=events, radius=radius, min_pt=min_pt)
        gen_jets = cluster(gen, events=events, radius=radius, min_pt=gen_min_pt)
        columns = jet_columns(jets) | {index: match(jets, gen_jets, radius)}
        made[name] = collection(jets.counts, columns)
        made[gen_name] = collection(gen_jets.counts, jet_columns(gen_jets))
        references[reference] = jets
        gen_references[gen_reference] = gen_jets
    return made, references, gen_references


def simulate(
    record: EventRecord, gen: Particles, rng: np.random.Generator, content: Content, numbers: Columns
) -> Columns:
    """Return the branches of a batch of events that passed the generator filter.

    Parameters
    ----------
    record : EventRecord
        Generated events.
    gen : Particles
        Their visible stable particles.
    rng : Generator
        Random numbers of the detector.
    content : Content
        What is written.
    numbers : dict of ndarray, shape (events,)
        run, luminosityBlock, event.
    """
    events = record.size
    reco = find_candidates(gen, rng)
    branches: Columns = {**numbers, "genWeight": record.weight.astype(np.float32)}
    branches["PSWeight"] = ps_weights(record)
    branches["GenPart"] = gen_part_collection(prune(record))
    made, references, gen_references = jets_with_candidates(reco, gen, events, content)
    branches |= made
    if "PFCands" in content.collections:
        branches |= candidate_collections(reco, references, events, "PFCands")
    if "GenCands" in content.collections:
        branches |= candidate_collections(gen, gen_references, events, "GenCands")
    if "Lepton" in content.collections:
        for code, name in ((11, "Electron"), (13, "Muon")):
            branches[name] = lepton_collection(find_leptons(code, reco, rng), code, events)
    for name, particles in (("MET", reco), ("GenMET", gen)):
        pt, phi, sum_et = missing_momentum(particles.event, particles.pt, particles.phi, events)
        branches |= {f"{name}_pt": pt.astype(np.float32), f"{name}_phi": phi.astype(np.float32)}
        if name == "MET":
            branches["MET_sumEt"] = sum_et.astype(np.float32)
    return branches


def ps_weights(record: EventRecord) -> ak.Array:
    """Return PSWeight; a single 1 where variations are off, as in NanoAOD."""
    values = record.variations if record.variations.shape[1] else np.ones((record.size, 1))
    return ak.from_regular(ak.Array(values.astype(np.float32)), axis=1)


def generate_chunk(
    output: Path, process: Process, content: Content, *, events: int, first_event: int, block: int, seed: int
) -> None:
    """Generate a chunk and write its file.

    Parameters
    ----------
    output : Path
        ROOT file.
    process : Process
        What is generated.
    content : Content
        What is written.
    events : int
        Number of events to generate; those that fail the generator filter are counted but not written.
    first_event : int
        Number of the first event.
    block : int
        luminosityBlock.
    seed : int
        Seed of the job.
    """
    log = logging.getLogger("lhcml")
    veto = None
    if process.leading_jet_pt is not None:
        veto = JetRange(*process.leading_jet_pt, content.fat_jet_radius, process.merged_top)
    generator = start_pythia(process.settings, seed, variations=process.variations, veto=veto)
    rng = np.random.default_rng(seed)
    progress = Progress(events, "events")
    sums = np.zeros(2)
    variation_sums = np.zeros(len(VARIATIONS))
    generated = written = 0
    with EventFile(output) as file:
        for record in generate(generator, events, BATCH):
            gen = visible_particles(record, charges(generator, record.pdg_id))
            keep: Mask = np.ones(record.size, dtype=bool)
            if process.min_lepton_pt > 0:
                keep = has_lepton(gen, record.size, process.min_lepton_pt)
            number: Integers = first_event + generated + np.flatnonzero(keep)
            kept = int(keep.sum())
            numbers: Columns = {
                "run": np.ones(kept, dtype=np.uint32),
                "luminosityBlock": np.full(kept, block, dtype=np.uint32),
                "event": number.astype(np.uint64),
            }
            file.add(simulate(record.of_events(keep), gen.of_events(keep), rng, content, numbers))
            generated += record.size
            written += kept
            sums += (record.weight.sum(), (record.weight**2).sum())
            if process.variations:
                variation_sums += record.weight @ record.variations
            progress.add(record.size)
        section = cross_section(generator)
        runs = {
            "run": np.ones(1, dtype=np.uint32),
            "genEventCount": np.array([generated], dtype=np.int64),
            "genEventSumw": sums[:1],
            "genEventSumw2": sums[1:],
            "crossSection": np.array([section.value]),
            "crossSectionError": np.array([section.error]),
        }
        if process.variations:
            # A shower variation leaves the cross section before any veto as it is, so its sum of weights is that of
            # the nominal ones. Events vetoed early are not among those summed here: what the variation changes in the
            # number of events kept is physics, and must not be divided out.
            runs["PSSumw"] = (np.ones(len(VARIATIONS)) if veto else variation_sums / sums[0])[None, :]
        file.finish(runs)
    log.info("wrote %d of %d generated events; cross section %.6g +- %.2g pb", written, generated, section.value,
             section.error)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--generate", required=True, type=json_argument, help="dataset's `generate` block, JSON")
    parser.add_argument("--content", default={}, type=json_argument, help="channel's `samples` block, JSON")
    parser.add_argument("--events", required=True, type=int, help="number of events to generate")
    parser.add_argument("--first-event", default=1, type=int, help="number of the first event")
    parser.add_argument("--luminosity-block", default=1, type=int, help="luminosityBlock of all events")
    parser.add_argument("--seed", required=True, type=int, help="seed, 1 to 900000000")
    parser.add_argument("--output", required=True, type=Path, help="ROOT file to write")
    args = parser.parse_args(argv)
    start_log("pythia8", "pythia8mc", "fastjet", "awkward", "uproot", "numpy", seed=args.seed)
    generate_chunk(
        args.output,
        find_process(args.generate),
        read_content(args.content),
        events=args.events,
        first_event=args.first_event,
        block=args.luminosity_block,
        seed=args.seed,
    )


if __name__ == "__main__":
    run_main(main)
