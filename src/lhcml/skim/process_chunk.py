"""Selection of one chunk of events, in every shift at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from lhcml.skim.columns import TOP_COLUMNS, Plan
from lhcml.skim.constituents import keep_constituents
from lhcml.skim.luminosity import luminosity_mask
from lhcml.skim.read_source import EVENT_IDS, Source, load_columns
from lhcml.skim.selection import FOUR_MOMENTUM, Columns, Mask, event_cuts, fixed_jet_mask, in_range, jet_cuts
from lhcml.skim.systematics import event_weights, hashed_normal, jet_factors, match_generated, shifted_met
from lhcml.skim.truth import hadronic_tops, holds_top

# shift -> cut -> [events, sum of weights, sum of squared weights]
Cutflow = dict[str, dict[str, list[float]]]
SMALL_RADIUS = 0.4


def count_cuts(cutflow: Cutflow, shift: str, masks: Mapping[str, Mask], weights: NDArray[np.floating[Any]]) -> Mask:
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


def shift_jets(columns: Columns, plan: Plan, config: Mapping[str, Any], radius: float) -> dict[str, dict[str, Any]]:
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
    factors: dict[str, dict[str, Any]] = {}
    for collection in plan.shifted:
        jets = {name: columns[f"{collection}_{name}"] for name in ("pt", "eta", "phi")}
        normal = hashed_normal([columns[name] for name in EVENT_IDS], jets["pt"])
        gen_pt = ak.zeros_like(jets["pt"])
        if collection in plan.generated:
            generated = {name: columns[f"{plan.generated[collection]}_{name}"] for name in ("pt", "eta", "phi")}
            own_radius = radius if collection == plan.shifted[0] else SMALL_RADIUS
            gen_pt = match_generated(jets, generated, own_radius, config["jer"])
        factors[collection] = jet_factors(jets["pt"], gen_pt, normal, config, plan.kinematic_shifts)
    return factors


def scaled(values: ak.Array, factor: Any) -> ak.Array:
    """Return values times a factor, in the type in which they are written: what is cut on is what is written."""
    return ak.values_astype(values * factor, np.float32)


def process_chunk(
    source: Source,
    events: ak.Array,
    plan: Plan,
    selection: Mapping[str, Any],
    config: Mapping[str, Any],
    golden: Mapping[int, NDArray[np.int64]] | None,
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
    written : dict of str to ak.Array
        Columns of the events kept, by skim name; empty if no event is kept.
    sum_weight : dict of str to float
        Sums of the nominal weight and of the weight shifts over all events of the chunk.
    dropped : int
        Links between jets and candidates that lead nowhere.
    """
    columns = load_columns(source, events, plan.selecting)
    jets = selection["jets"]["collection"]
    length = len(events)
    gen_weight = np.ones(length) if plan.data else ak.to_numpy(columns["genWeight"])
    weights = event_weights(gen_weight, columns["PSWeight"] if plan.weight_shifts else None)
    weights = {shift: weights[shift] for shift in ("nominal", *plan.weight_shifts)}

    common: dict[str, Mask] = {}
    if golden is not None:
        run, block = (ak.to_numpy(columns[name]).astype(np.int64) for name in ("run", "luminosityBlock"))
        common["luminosity mask"] = luminosity_mask(run, block, golden)
    common |= event_cuts(columns, selection, plan.triggers)
    allowed = fixed_jet_mask(columns, selection)
    matched = None
    if plan.top_match:
        tops = hadronic_tops({name.partition("_")[2]: columns[name] for name in TOP_COLUMNS})
        directions = {name: columns[f"{jets}_{name}"] for name in ("eta", "phi")}
        matched = holds_top(directions, tops, selection["top_match"]["radius"])

    factors = shift_jets(columns, plan, config, selection["jets"]["radius"])
    made: dict[str, Any] = {}
    keep = np.full(length, selection["keep"]["events"] == "all")
    wanted = None
    for shift in ("nominal", *plan.kinematic_shifts):
        suffix = "" if shift == "nominal" else f"_{shift}"
        for collection, of_shift in factors.items():
            for name in ("pt", "mass"):
                made[f"{collection}_{name}{suffix}"] = scaled(columns[f"{collection}_{name}"], of_shift[shift])
        shifted = {name: columns[f"{jets}_{name}"] for name in FOUR_MOMENTUM}
        shifted |= {name: made[f"{jets}_{name}{suffix}"] for name in ("pt", "mass") if jets in factors}
        missing = _shift_met(columns, plan, factors, shift)
        made |= {f"{name}{suffix}": values for name, values in missing.items()}
        masks = dict(common)
        if "met" in selection:
            collection = selection["met"]["collection"]
            values = missing.get(f"{collection}_pt", ak.to_numpy(columns[f"{collection}_pt"]))
            masks["MET"] = in_range(values, selection["met"])
        of_jets, selected = jet_cuts(shifted, allowed, selection, matched)
        masks |= of_jets
        passes = count_cuts(cutflow, shift, masks, weights["nominal"])
        if shift == "nominal":
            for name in plan.weight_shifts:
                count_cuts(cutflow, name, masks, weights[name])
        made[f"passes_{shift}"] = passes
        made[f"selectedJet_{shift}"] = ak.values_astype(selected[ak.broadcast_arrays(passes, selected)[0]], np.int32)
        keep |= passes
        chosen = _flags(made[f"selectedJet_{shift}"], columns[f"{jets}_pt"])
        wanted = chosen if wanted is None else wanted | chosen
    made |= {f"weight_{shift}": values for shift, values in weights.items()}
    sums = {shift: float(values.sum()) for shift, values in weights.items()}
    # an empty chunk gives its columns, so that a skim without events has its branches
    if length and not keep.any():
        return {}, sums, 0
    written, dropped = _write_columns(source, events, plan, columns, made, keep, wanted)
    return written, sums, dropped


def _shift_met(columns: Columns, plan: Plan, factors: Mapping[str, Any], shift: str) -> dict[str, Any]:
    """Return "<collection>_pt" and "<collection>_phi" of the missing momentum in a shift."""
    found: dict[str, Any] = {}
    if plan.shifted:
        # jets with R = 0.4 where the file has them, else the selected ones
        jets = plan.shifted[-1]
        jet_pt, jet_phi = (columns[f"{jets}_{name}"] for name in ("pt", "phi"))
        for name in plan.met:
            pt, phi = (ak.to_numpy(columns[f"{name}_{part}"]) for part in ("pt", "phi"))
            pt, phi = shifted_met(pt, phi, jet_pt, jet_phi, factors[jets][shift])
            found |= {f"{name}_pt": pt.astype(np.float32), f"{name}_phi": phi.astype(np.float32)}
    return found


def _flags(positions: ak.Array, like: ak.Array) -> ak.Array:
    """Turn positions of jets into a flag per jet."""
    counts = ak.to_numpy(ak.num(like)).astype(np.int64)
    starts = np.cumsum(counts) - counts
    flags: Mask = np.zeros(int(counts.sum()), bool)
    flags[ak.to_numpy(ak.flatten(positions + starts))] = True
    return ak.unflatten(flags, counts)


def _write_columns(
    source: Source,
    events: ak.Array,
    plan: Plan,
    columns: Columns,
    made: Mapping[str, Any],
    keep: Mask,
    wanted: ak.Array,
) -> tuple[dict[str, Any], int]:
    """Return all columns of the events kept, and the number of links to candidates that lead nowhere."""
    late = [name for name in plan.written if name not in columns]
    written = load_columns(source, events, late, keep)
    written |= {name: columns[name][keep] for name in plan.written if name in columns}
    written |= {name: values[keep] for name, values in made.items()}
    dropped = 0
    if plan.constituents is not None:
        links = plan.constituents
        candidates = {name: values for name, values in written.items() if name.startswith("PFCands_")}
        kept, new_links, dropped = keep_constituents(
            candidates, written[f"{links}_jetIdx"], written[f"{links}_pFCandsIdx"], wanted[keep], source.path
        )
        written |= kept | {f"{links}_{name}": values for name, values in new_links.items()}
    return written, dropped
