"""The leading jets and the Z candidate of each event of a skim, at detector and at particle level."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from lhcml.common.cuts import in_range
from lhcml.common.errors import UserError
from lhcml.common.files import require_finite
from lhcml.common.identity import EVENT_IDENTITY
from lhcml.features import dileptons, substructure
from lhcml.features.constituents import relative_kinematics
from lhcml.features.lund import LEAST_MASS
from lhcml.features.read_skim import (
    CANDIDATES,
    PUPPI_WEIGHT,
    Jets,
    check_branches,
    check_types,
    open_events,
    read_steps,
    required_branches,
    select_jets,
)

JET_OBSERVABLES = (
    "pt", "eta", "phi", "y", "mass", "multiplicity", "width", "lnrho", "tau1", "tau2", "tau3", "tau21", "zg", "ntracks",
)  # fmt: skip
FROM_KERNELS = ("width", "tau1", "tau2", "tau3", "tau21", "zg")
JET_NAMES = ("jet", "jet2")
PARTS = ("part_pt", "part_deta", "part_dphi", "part_pdgId")
# collection of detector-level jets -> particle-level jets, table of their constituents
PARTICLE_LEVEL = {"Jet": ("GenJet", "GenJetCands"), "FatJet": ("GenJetAK8", "GenFatJetCands")}
Z_BOSON = 23
IS_LAST_COPY = 1 << 13  # bit of NanoAOD's statusFlags

Columns: TypeAlias = dict[str, Any]
Mask: TypeAlias = "NDArray[np.bool_]"


def gen_branches(present: set[str], config: Mapping[str, Any]) -> list[str]:
    """Return the branches of the particle level that a configuration needs; parameters as in `read_levels`."""
    jets, links = PARTICLE_LEVEL[config["jet"]]
    selection = config["selection"]
    branches = [f"{jets}_{name}" for name in ("pt", "eta", "phi", "mass")]
    branches += [f"{links}_jetIdx", f"{links}_pFCandsIdx", *(f"GenCands_{name}" for name in CANDIDATES)]
    if "generated_z" in selection:
        branches += [f"GenPart_{name}" for name in ("pt", "pdgId", "statusFlags")]
    if "z_candidate" in selection:
        branches += dileptons.gen_branches(present)
    return list(dict.fromkeys(branches))


def needed_branches(path: Path, present: set[str], shift: str, config: Mapping[str, Any]) -> list[str]:
    """Return all branches to read, after checking that a skim has them.

    Raises
    ------
    UserError
        Naming the missing branches and the keys of the configuration that make them.
    """
    check_branches(path, present, config["jet"], shift)
    always, constituents = required_branches(config["jet"], shift)
    leptons = dileptons.reco_branches(config["selection"]) if "z_candidate" in config["selection"] else []
    needed = [*always, f"passes_{shift}", *constituents, *leptons]
    missing = [name for name in needed if name not in present]
    if missing:
        raise UserError(f"{path} has no branch {', '.join(missing)}", "make the skim again with this selection")
    if not config["data"]:
        gen = gen_branches(present, config)
        missing = [name for name in gen if name not in present]
        if missing:
            raise UserError(
                f"{path} has no particle level: missing {', '.join(missing)}",
                "set `selection.keep.particle_level: true` of the channel and, for generated events, put GenCands into "
                "its `samples.collections`; collision data need `data: true` in their dataset",
            )
        needed += gen
    weights = sorted(name for name in present if name.startswith("weight_"))
    puppi = [PUPPI_WEIGHT] if config["jet"] in config["puppi_jets"] and PUPPI_WEIGHT in present else []
    return list(dict.fromkeys([*needed, *weights, *puppi]))


def read_levels(path: Path, shift: str, config: Mapping[str, Any], step_size: int) -> Iterator[Columns]:
    """Yield the columns of the levels, step by step, a row an event of the skim.

    Parameters
    ----------
    path : Path
        Skim.
    shift : str
        "nominal" or a kinematic shift of the skim; it changes the detector level only.
    config : mapping
        "jet" (collection), "radius", "max_constituents", "puppi_jets", "soft_drop", "data" (collision data), "levels"
        ("jets", "leptons", "constituents") and "selection" (what of the channel's selection both levels share:
        "candidates" of jets and, where it has them, "muons", "electrons", "z_candidate", "generated_z").
    step_size : int
        Events a step; an empty file gives one empty step.

    Raises
    ------
    UserError
        If the file cannot be read, lacks a branch, or holds NaN or infinity.
    """
    tree = open_events(path)
    present = set(tree.keys(recursive=False))
    if tree.num_entries == 0:
        yield no_events(present, shift, config)
        return
    branches = needed_branches(path, present, shift, config)
    for events in read_steps(tree, branches, path, step_size):
        flags = {f"passes_{shift}", *dileptons.reco_branches(config["selection"])}
        check_types(path, {name: values for name, values in events.items() if name not in flags})
        try:
            yield level_columns(events, str(path), shift, config)
        except IndexError as error:
            raise UserError(f"{path}: {error}", "make the skim again from a sound file") from error


def no_events(present: set[str], shift: str, config: Mapping[str, Any]) -> Columns:
    """Return the columns of a skim without events, such as that of a file that was skipped: it may lack branches."""
    selection = config["selection"]
    leptons = dileptons.reco_branches(selection) if "z_candidate" in selection else []
    always, constituents = required_branches(config["jet"], shift)
    lists = {*always, *constituents, *leptons, *gen_branches(present, config)} - set(EVENT_IDENTITY)
    none: Any = np.zeros(0, np.int64)
    events: Columns = {name: ak.unflatten(none, none) for name in lists}
    numbers = {*EVENT_IDENTITY, f"passes_{shift}", *(name for name in present if name.startswith("weight_"))}
    return level_columns(events | dict.fromkeys(numbers, none), "a skim without events", shift, config)


def level_columns(events: Mapping[str, ak.Array], path: str, shift: str, config: Mapping[str, Any]) -> Columns:
    """Return the columns of both levels of some events; parameters as in `read_levels`, `events` by branch."""
    made: Columns = {name: ak.to_numpy(events[name]).astype(np.int64) for name in EVENT_IDENTITY}
    for name in sorted(events):
        if name.startswith("weight_"):
            made[name] = ak.to_numpy(events[name]).astype(np.float64)
            require_finite(f"branch {name}", made[name], path)
    reco = detector_level(events, path, shift, config)
    if config["data"]:
        return made | reco
    return made | particle_level(events, path, config) | reco


def detector_level(events: Mapping[str, ak.Array], path: str, shift: str, config: Mapping[str, Any]) -> Columns:
    """Return `pass_reco` and the columns `reco_...`; parameters as in `level_columns`."""
    count = config["levels"]["jets"]
    selected = events[f"selectedJet_{shift}"]
    passes = ak.to_numpy(events[f"passes_{shift}"]).astype(bool) & ak.to_numpy(ak.num(selected) >= count)
    pair: Columns = {}
    if "z_candidate" in config["selection"]:
        found, pair = dileptons.z_pairs(dileptons.reco_leptons(events, config["selection"]))
        passes &= found
    chosen = dict(events) | {f"selectedJet_{shift}": leading(selected, passes, count)}
    jets = select_jets(chosen, path, config["jet"], shift, [], config["max_constituents"], None)
    return one_level("reco", passes, jets, pair, path, config)


def particle_level(events: Mapping[str, ak.Array], path: str, config: Mapping[str, Any]) -> Columns:
    """Return `pass_gen` and the columns `gen_...`; parameters as in `level_columns`.

    The cuts of the selection that are of kinematics hold here as well: pt and abs_eta of the candidates for jets and of
    leptons, their distance, mass and pt of the Z candidate, pt of the generated Z.
    """
    count, selection = config["levels"]["jets"], config["selection"]
    collection, links = PARTICLE_LEVEL[config["jet"]]
    for name in (*(f"{collection}_{part}" for part in ("pt", "eta", "phi", "mass")), "GenCands_pt", "GenCands_eta",
                 "GenCands_phi", "GenCands_mass"):  # fmt: skip
        require_finite(f"branch {name}", ak.to_numpy(ak.flatten(events[name])), path)
    passes: Mask = np.ones(len(events["event"]), bool)
    pair: Columns = {}
    leptons: list[ak.Array] = []
    if "generated_z" in selection:
        passes &= ak.to_numpy(in_range(hardest_z(events), selection["generated_z"]["pt"]))
    if "z_candidate" in selection:
        leptons = dileptons.gen_leptons(events, selection)
        found, pair = dileptons.z_pairs(leptons)
        passes &= dileptons.passes_z(found, pair, selection["z_candidate"])
    order = particle_jets(events, collection, leptons, selection["candidates"])
    passes &= ak.to_numpy(ak.num(order) >= count)
    # the reader of detector-level jets sees the particle level under the names that it knows
    renamed: Columns = {name: events[name] for name in EVENT_IDENTITY}
    renamed |= {name: values for name, values in events.items() if name.startswith(f"{collection}_")}
    renamed |= {f"PFCands_{name}": events[f"GenCands_{name}"] for name in CANDIDATES}
    renamed |= {f"{collection}PFCands_{name}": events[f"{links}_{name}"] for name in ("jetIdx", "pFCandsIdx")}
    renamed["selectedJet_nominal"] = leading(order, passes, count)
    jets = select_jets(renamed, path, collection, "nominal", [], config["max_constituents"], None)
    return one_level("gen", passes, jets, pair, path, config)


def hardest_z(events: Mapping[str, ak.Array]) -> NDArray[np.float64]:
    """Return the pt in GeV of the hardest Z boson of each event's record, last copies only; NaN if there is none."""
    last = (events["GenPart_pdgId"] == Z_BOSON) & (events["GenPart_statusFlags"] & IS_LAST_COPY > 0)
    pt = ak.values_astype(ak.max(events["GenPart_pt"][last], axis=1), np.float64)
    return ak.to_numpy(ak.fill_none(pt, np.nan))


def particle_jets(
    events: Mapping[str, ak.Array], collection: str, leptons: list[ak.Array], cuts: Mapping[str, Any]
) -> ak.Array:
    """Return the positions of each event's particle-level jets that are candidates, hardest first.

    Parameters
    ----------
    events : mapping of str to ak.Array
        Branches.
    collection : str
        Particle-level jets.
    leptons : list of ak.Array
        Particle-level leptons that count, for each kind.
    cuts : mapping
        `candidates` of the selection's jets, of which pt, abs_eta, mass and away_from_leptons hold.
    """
    pt, eta, phi, mass = (events[f"{collection}_{name}"] for name in ("pt", "eta", "phi", "mass"))
    passes = dileptons.passes_kinematics(pt, eta, cuts) & in_range(mass, cuts.get("mass", {}))
    if "away_from_leptons" in cuts:
        for kind in leptons:
            jet, lepton = ak.unzip(ak.cartesian([ak.zip({"eta": eta, "phi": phi}), kind], nested=True))
            turn = (jet.phi - lepton.phi + np.pi) % (2 * np.pi) - np.pi
            passes = passes & ~ak.any(np.hypot(jet.eta - lepton.eta, turn) < cuts["away_from_leptons"], axis=-1)
    position = ak.local_index(pt)[passes]
    return position[ak.argsort(pt[passes], axis=1, ascending=False, stable=True)]


def leading(positions: ak.Array, passes: Mask, count: int) -> ak.Array:
    """Return the first `count` positions of events that pass, no positions of others."""
    return ak.unflatten(ak.flatten(positions[passes][:, :count]), np.where(passes, count, 0))


def jet_table(jets: Jets, config: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Return `JET_OBSERVABLES` of jets, each of shape (jets,); definitions in docs/features.md."""
    soft_drop, parts, jet = config["soft_drop"], jets.parts, jets.jets
    table, *_ = substructure.jet_observables(
        jets.counts, parts["pt"], parts["eta"], parts["phi"], parts["mass"],
        radius=config["radius"], zcut=soft_drop["zcut"], beta=soft_drop["beta"],
    )  # fmt: skip
    kernels = dict(zip(substructure.OBSERVABLES, table.T, strict=True))
    owner: NDArray[np.int64] = np.repeat(np.arange(len(jets.counts)), jets.counts)
    # a single massless particle left by soft drop has no logarithm: as in the Lund columns
    groomed = np.maximum(kernels["jet_msoftdrop"], LEAST_MASS)
    return {
        **jet,
        "y": np.arcsinh(jet["pt"] * np.sinh(jet["eta"]) / np.hypot(jet["pt"], jet["mass"])),
        "multiplicity": jets.all_counts.astype(np.float64),
        "lnrho": 2 * np.log(groomed / jet["pt"]),
        "ntracks": np.bincount(owner, parts["charge"] != 0, minlength=len(jets.counts)),
        **{name: kernels[f"jet_{name}"] for name in FROM_KERNELS},
    }


def one_level(level: str, passes: Mask, jets: Jets, pair: Columns, path: str, config: Mapping[str, Any]) -> Columns:
    """Return the columns of one level, 0 where an event fails it.

    Parameters
    ----------
    level : str
        "gen" or "reco", the prefix of the columns.
    passes : ndarray of bool, shape (events,)
        Events that pass.
    jets : Jets
        As many leading jets of each of them as asked for, event by event.
    pair : dict of str to ndarray
        Observables of the two leptons, empty if there are none.
    path : str
        File, for messages.
    config : mapping
        As in `read_levels`.
    """
    levels = config["levels"]
    made: Columns = {}
    table = jet_table(jets, config)
    for rank, prefix in enumerate(JET_NAMES[: levels["jets"]]):
        for name in JET_OBSERVABLES:
            values: NDArray[np.float32] = np.zeros(len(passes), np.float32)
            values[passes] = table[name][jets.rank == rank]
            made[f"{level}_{prefix}_{name}"] = values
    if levels["leptons"]:
        for name in dileptons.OBSERVABLES:
            made[f"{level}_{name}"] = np.where(passes, pair[name], 0.0).astype(np.float32)
    for name, values in made.items():
        require_finite(f"column {name}", values, path)
    if levels["constituents"]:
        made |= {f"{level}_{name}": values for name, values in leading_constituents(jets, passes).items()}
    return {f"pass_{level}": passes} | made


def leading_constituents(jets: Jets, passes: Mask) -> Columns:
    """Return `PARTS` of the leading jet of each event, lists by falling pt, empty where an event fails."""
    first = jets.rank == 0
    counts: NDArray[np.int64] = np.zeros(len(passes), np.int64)
    counts[passes] = jets.counts[first]
    of_first: Mask = np.repeat(first, jets.counts)
    relative = relative_kinematics(jets.parts, jets.jets, jets.counts)
    flat = {"part_pt": jets.parts["pt"], "part_deta": relative["part_deta"], "part_dphi": relative["part_dphi"]}
    made = {name: ak.unflatten(values[of_first].astype(np.float32), counts) for name, values in flat.items()}
    return made | {"part_pdgId": ak.unflatten(jets.parts["pdgId"][of_first].astype(np.int32), counts)}
