"""Selection of one chunk of events, in every shift at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import awkward as ak
import numpy as np

from lhcml.common.cuts import in_range
from lhcml.common.errors import UserError
from lhcml.common.identity import EVENT_IDENTITY
from lhcml.skim.columns import TOP_COLUMNS, Z_COLUMNS, Plan
from lhcml.skim.constituents import keep_constituents, particle_flow_charge
from lhcml.skim.jagged import Columns, Floats, Integers, Mask, counts, flat, owners, starts
from lhcml.skim.luminosity import luminosity_mask
from lhcml.skim.read_source import Source, load_columns
from lhcml.skim.selection import FOUR_MOMENTUM, event_cuts, fixed_jet_mask, jet_cuts
from lhcml.skim.systematics import (
    SHOWER_WEIGHTS,
    event_weights,
    hashed_normal,
    jet_factors,
    match_generated,
    shifted_met,
)
from lhcml.skim.truth import hadronic_tops, holds_top, z_pt

# shift -> cut -> [events, sum of weights, sum of squared weights]
Cutflow = dict[str, dict[str, list[float]]]
SMALL_RADIUS = 0.4


def count_cuts(cutflow: Cutflow, shift: str, masks: Mapping[str, Mask], weights: Floats) -> Mask:
    """Count events, weights and squared weights after each cut, applied in order; return who passes all."""
    passes: Mask = np.ones(len(weights), bool)
    table = cutflow.setdefault(shift, {})
    for cut, mask in {"all events": passes, **masks}.items():
        passes = passes & mask
        chosen = weights[passes]
        entry = table.setdefault(cut, [0, 0.0, 0.0])
        entry[0] += len(chosen)
        entry[1] += float(chosen.sum())
        entry[2] += float((chosen**2).sum())
    return passes


def weigh_events(source: Source, columns: Columns, plan: Plan, length: int) -> dict[str, Floats]:
    """Return the weights of the events of a chunk, nominal and shifted; 1 for collision data.

    Raises
    ------
    UserError
        If an event has fewer shower weights than the first one of the file.
    """
    if plan.data:
        return {"nominal": np.ones(length)}
    ps_weight = None
    if plan.weight_shifts:
        number = len(SHOWER_WEIGHTS)
        if (counts(columns["PSWeight"]) < number).any():
            raise UserError(
                f"some events of {source.path} have fewer than {number} values of PSWeight",
                "drop isrUp, isrDown, fsrUp, fsrDown from `selection.shifts`",
            )
        ps_weight = flat(columns["PSWeight"][:, :number]).reshape(-1, number)
    weights = event_weights(ak.to_numpy(columns["genWeight"]), ps_weight)
    return {shift: weights[shift] for shift in ("nominal", *plan.weight_shifts)}


def shift_jets(columns: Columns, plan: Plan, config: Mapping[str, Any], radius: float) -> dict[str, dict[str, Floats]]:
    """Return for each collection that shifts the factor on pT and mass of its jets, nominal and per kinematic shift.

    Parameters
    ----------
    columns : mapping of str to ak.Array
        Columns of the chunk.
    plan : Plan
        What is made.
    config : mapping
        "jes", "jer".
    radius : float
        Radius of the selected jets; `Jet` beside `FatJet` has 0.4.
    """
    identity = [ak.to_numpy(columns[name]) for name in EVENT_IDENTITY]
    factors: dict[str, dict[str, Floats]] = {}
    for collection in plan.shifted:
        jets = {name: flat(columns[f"{collection}_{name}"]) for name in ("pt", "eta", "phi")}
        numbers = counts(columns[f"{collection}_pt"])
        gen_pt = np.zeros_like(jets["pt"])
        if collection in plan.generated:
            gen_name = plan.generated[collection]
            generated = {name: flat(columns[f"{gen_name}_{name}"]) for name in ("pt", "eta", "phi")}
            gen_numbers = counts(columns[f"{gen_name}_pt"])
            own_radius = radius if collection == plan.shifted[0] else SMALL_RADIUS
            gen_pt = match_generated(jets, numbers, generated, gen_numbers, own_radius, config["jer"])
        normal = hashed_normal(identity, numbers)
        factors[collection] = jet_factors(jets["pt"], gen_pt, normal, config, plan.kinematic_shifts)
    return factors


def shift_met(columns: Columns, plan: Plan, factors: Mapping[str, Any], shift: str) -> dict[str, Floats]:
    """Return "<collection>_pt" and "<collection>_phi" of the missing momentum in a shift, as they are written."""
    found: dict[str, Floats] = {}
    for name in plan.met:
        pt, phi = (ak.to_numpy(columns[f"{name}_{part}"]) for part in ("pt", "phi"))
        if plan.shifted:
            # jets with R = 0.4 where the file has them, else the selected ones
            jets = plan.shifted[-1]
            jet_pt, jet_phi = (flat(columns[f"{jets}_{part}"]) for part in ("pt", "phi"))
            owner = owners(counts(columns[f"{jets}_pt"]))
            pt, phi = shifted_met(pt, phi, jet_pt, jet_phi, factors[jets][shift], owner)
        found |= {f"{name}_pt": pt.astype(np.float32), f"{name}_phi": phi.astype(np.float32)}
    return found


def process_chunk(
    source: Source,
    events: ak.Array,
    plan: Plan,
    selection: Mapping[str, Any],
    config: Mapping[str, Any],
    golden: Mapping[int, Integers] | None,
    cutflow: Cutflow,
) -> tuple[dict[str, Any], dict[str, float], int]:
    """Select the events of one chunk and count them.

    Parameters
    ----------
    source : Source
        Open file.
    events : ak.Array
        NanoEvents of the chunk.
    plan : Plan
        What is read and written.
    selection : mapping
        The channel's selection.
    config : mapping
        "jes", "jer".
    golden : mapping or None
        Certified luminosity sections, for collision data.
    cutflow : dict
        Counts per shift and cut, added to in place.

    Returns
    -------
    written : dict of str to array
        Columns of the events kept, by skim name; empty if no event is kept.
    sum_weight : dict of str to float
        Sums of the nominal weight and of the weight shifts over all events of the chunk.
    dropped : int
        Links between jets and candidates that lead nowhere.
    """
    columns = load_columns(source, events, plan.selecting)
    collection, length = selection["jets"]["collection"], len(events)
    numbers = counts(columns[f"{collection}_pt"])
    owner = owners(numbers)
    weights = weigh_events(source, columns, plan, length)

    common: dict[str, Mask] = {}
    if golden is not None:
        run, block = (ak.to_numpy(columns[name]).astype(np.int64) for name in ("run", "luminosityBlock"))
        common["luminosity mask"] = luminosity_mask(run, block, golden)
    common |= event_cuts(columns, selection, plan.triggers)
    if "generated_z" in selection and not plan.data:
        bosons = {name.partition("_")[2]: flat(columns[name]) for name in Z_COLUMNS}
        common["generated Z"] = in_range(z_pt(bosons, counts(columns[Z_COLUMNS[0]])), selection["generated_z"]["pt"])
    allowed = fixed_jet_mask(columns, selection)
    jets = {name: flat(columns[f"{collection}_{name}"]) for name in FOUR_MOMENTUM}
    matched = None
    if plan.top_match:
        particles = {name.partition("_")[2]: flat(columns[name]) for name in TOP_COLUMNS}
        tops, top_numbers = hadronic_tops(particles, counts(columns[TOP_COLUMNS[0]]))
        matched = holds_top(jets, numbers, tops, top_numbers, selection["top_match"]["radius"])

    factors = shift_jets(columns, plan, config, selection["jets"]["radius"])
    made: dict[str, Any] = {}
    keep: Mask = np.full(length, selection["keep"]["events"] == "all")
    wanted: Mask = np.zeros(len(owner), bool)
    for shift in ("nominal", *plan.kinematic_shifts):
        suffix = "" if shift == "nominal" else f"_{shift}"
        shifted = dict(jets)
        for name, of_shift in factors.items():
            for part in ("pt", "mass"):
                # cut on in the type in which it is written
                values = (flat(columns[f"{name}_{part}"]) * of_shift[shift]).astype(np.float32)
                made[f"{name}_{part}{suffix}"] = ak.unflatten(values, counts(columns[f"{name}_{part}"]))
                if name == collection:
                    shifted[part] = values
        missing = shift_met(columns, plan, factors, shift)
        made |= {f"{name}{suffix}": values for name, values in missing.items()}
        masks = dict(common)
        if "met" in selection:
            masks["MET"] = in_range(missing[f"{selection['met']['collection']}_pt"], selection["met"])
        of_jets, selected = jet_cuts(shifted, numbers, allowed, selection, matched)
        masks |= of_jets
        passes = count_cuts(cutflow, shift, masks, weights["nominal"])
        if shift == "nominal":
            for name in plan.weight_shifts:
                count_cuts(cutflow, name, masks, weights[name])
        selected = selected[passes[owner[selected]]]
        positions = (selected - starts(numbers)[owner[selected]]).astype(np.int32)
        made[f"passes_{shift}"] = passes
        made[f"selectedJet_{shift}"] = ak.unflatten(positions, np.bincount(owner[selected], minlength=length))
        keep |= passes
        wanted[selected] = True
    made |= {f"weight_{shift}": values for shift, values in weights.items()}
    sums = {shift: float(values.sum()) for shift, values in weights.items()}
    # an empty chunk gives its columns, so that a skim without events has its branches
    if length and not keep.any():
        return {}, sums, 0
    written = load_columns(source, events, [name for name in plan.written if name not in columns], keep)
    written |= {name: columns[name][keep] for name in plan.written if name in columns}
    written |= {name: values[keep] for name, values in made.items()}
    dropped = 0
    if plan.constituents is not None:
        links = {name: written[f"{plan.constituents}_{name}"] for name in ("jetIdx", "pFCandsIdx")}
        if "PFCands_charge" not in written and "PFCands_pdgId" in written:
            written["PFCands_charge"] = particle_flow_charge(written["PFCands_pdgId"])
        candidates = {name: values for name, values in written.items() if name.startswith("PFCands_")}
        kept, links, dropped = keep_constituents(
            candidates, links["jetIdx"], links["pFCandsIdx"], wanted[keep[owner]], numbers[keep], source.path
        )
        written |= kept | {f"{plan.constituents}_{name}": values for name, values in links.items()}
    return written, sums, dropped
