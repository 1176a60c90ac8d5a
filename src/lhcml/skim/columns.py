"""Which columns a skim reads and writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lhcml.common.errors import UserError
from lhcml.common.identity import EVENT_IDENTITY
from lhcml.skim.read_source import Source, present_columns
from lhcml.skim.selection import FOUR_MOMENTUM, lepton_blocks, required_columns
from lhcml.skim.systematics import KINEMATIC_SHIFTS, SHOWER_WEIGHTS, WEIGHT_SHIFTS

Z_COLUMNS = ("GenPart_pt", "GenPart_pdgId", "GenPart_statusFlags")
TOP_COLUMNS = ("GenPart_eta", "GenPart_phi", "GenPart_pdgId", "GenPart_genPartIdxMother")
GENERATED_JETS = {"FatJet": "GenJetAK8", "Jet": "GenJet"}
LINKS = {"FatJet": "FatJetPFCands", "Jet": "JetPFCands"}
GENERATED_LINKS = {"FatJet": "GenFatJetCands", "Jet": "GenJetCands"}

# what is written of a collection if the file has it, beside what the cuts use
WRITTEN = {
    "FatJet": (*FOUR_MOMENTUM, "msoftdrop", "tau1", "tau2", "tau3", "tau4", "jetId", "nConstituents", "genJetAK8Idx"),
    "Jet": (*FOUR_MOMENTUM, "jetId", "nConstituents", "genJetIdx", "hadronFlavour"),
    "Muon": (*FOUR_MOMENTUM, "charge"),
    "Electron": (*FOUR_MOMENTUM, "charge"),
    "MET": ("pt", "phi"),
    "PuppiMET": ("pt", "phi"),
    "PFCands": (*FOUR_MOMENTUM, "charge", "pdgId", "puppiWeight", "d0", "d0Err", "dz", "dzErr"),
    "GenCands": (*FOUR_MOMENTUM, "charge", "pdgId"),
    "GenJet": FOUR_MOMENTUM,
    "GenJetAK8": FOUR_MOMENTUM,
    "GenMET": ("pt", "phi"),
    "GenDressedLepton": (*FOUR_MOMENTUM, "pdgId"),
    "GenPart": (*FOUR_MOMENTUM, "pdgId", "status", "statusFlags", "genPartIdxMother"),
}
PARTICLE_LEVEL = ("GenJet", "GenJetAK8", "GenMET", "GenDressedLepton", "GenPart", "GenCands")


def columns_of(*collections: str) -> list[str]:
    """Return the columns written of collections, as "collection_column"."""
    return [f"{collection}_{name}" for collection in collections for name in WRITTEN[collection]]


@dataclass(frozen=True)
class Plan:
    """What is read and written for one file.

    Attributes
    ----------
    data : bool
        Collision data.
    selecting : list of str
        Columns that cuts, weights and shifts need, read for all events.
    written : list of str
        Columns written as they are for the events kept.
    constituents : str or None
        The table that links jets to candidates, if candidates are written.
    triggers : list of str
        Trigger paths that the file has.
    kinematic_shifts, weight_shifts : list of str
        Shifts made.
    met : list of str
        Kinds of missing momentum read.
    shifted : list of str
        Collections of jets whose energy is shifted: the selected ones, then those that change the missing momentum.
    generated : dict of str to str
        Generated jets to match, by collection.
    top_match : bool
        Taken jets must hold a top quark.
    notes : list of str
        What the file lacks and what follows from it.
    """

    data: bool
    selecting: list[str]
    written: list[str]
    constituents: str | None
    triggers: list[str]
    kinematic_shifts: list[str]
    weight_shifts: list[str]
    met: list[str]
    shifted: list[str]
    generated: dict[str, str]
    top_match: bool
    notes: list[str]


def check_kind(source: Source, data: bool) -> None:
    """Raise a UserError if a file of collision data is called simulation or the reverse."""
    if data and "genWeight" in source.names:
        raise UserError(
            f"{source.path} has generator weights but its dataset says `data: true`",
            "remove `data: true`: simulation used as pseudo-data is still simulation",
        )
    if not data and "genWeight" not in source.names:
        raise UserError(
            f"{source.path} has no branch genWeight", "set `data: true` in its dataset if it is collision data"
        )


def find_triggers(source: Source, selection: Mapping[str, Any]) -> list[str]:
    """Return the trigger paths of a selection that the file has; menus change from run to run.

    Raises
    ------
    UserError
        If the file has none of them.
    """
    triggers = [path for path in selection["triggers"] if path in source.names]
    if selection["triggers"] and not triggers:
        raise UserError(
            f"{source.path} has none of the triggers {', '.join(selection['triggers'])}",
            "name at least one path of its menu in `selection.triggers`",
        )
    return triggers


def find_shifts(source: Source, wanted: list[str], data: bool, notes: list[str]) -> tuple[list[str], list[str]]:
    """Return the kinematic and the weight shifts to make, noting those the file does not allow."""
    kinematic = [shift for shift in wanted if shift in KINEMATIC_SHIFTS and not data]
    weights = [shift for shift in wanted if shift in WEIGHT_SHIFTS and not data]
    if weights:
        enough = False
        if "PSWeight" in source.names:
            present_columns(source, ["PSWeight"], [])
            first = source.events[source.names["PSWeight"]].array(entry_stop=1)
            enough = len(first) == 0 or len(first[0]) >= len(SHOWER_WEIGHTS)
        if not enough:
            notes.append("no four shower weights in PSWeight: no " + ", ".join(weights))
            weights = []
    return kinematic, weights


def make_plan(source: Source, selection: Mapping[str, Any], jer_scale: float, dataset: str, data: bool) -> Plan:
    """Return what is read and written, after checking that the file has it.

    Parameters
    ----------
    source : Source
        Open file.
    selection : mapping
        The channel's selection.
    jer_scale : float
        Nominal resolution scale factor: other than 1, jets change without any shift.
    dataset : str
        Name of the dataset.
    data : bool
        Collision data.

    Raises
    ------
    UserError
        If the file lacks a branch that the selection needs, or one is of the wrong type.
    """
    check_kind(source, data)
    jets, keep = selection["jets"]["collection"], selection["keep"]
    notes: list[str] = []
    triggers = find_triggers(source, selection)
    kinematic, weights = find_shifts(source, selection["shifts"], data, notes)
    top_match = not data and dataset in selection.get("top_match", {}).get("datasets", [])

    required = [*EVENT_IDENTITY, *required_columns(selection, source.names), *triggers]
    required += [] if data else ["genWeight"]
    required += ["PSWeight"] if weights else []
    required += TOP_COLUMNS if top_match else []
    required += Z_COLUMNS if "generated_z" in selection and not data else []
    cut_on = [selection["met"]["collection"]] if "met" in selection else []
    kept_met = [name for name in ("MET", "PuppiMET") if name in keep["collections"] and f"{name}_pt" in source.names]
    met = list(dict.fromkeys([*cut_on, *kept_met]))
    required += columns_of(*met)
    shifted: list[str] = []
    if not data and (kinematic or jer_scale != 1):
        shifted = [jets, "Jet"] if met and jets != "Jet" and "Jet_pt" in source.names else [jets]
    generated: dict[str, str] = {}
    for collection in shifted:
        required += [f"{collection}_{name}" for name in FOUR_MOMENTUM]
        if f"{GENERATED_JETS[collection]}_pt" in source.names:
            generated[collection] = GENERATED_JETS[collection]
            required += [f"{generated[collection]}_{name}" for name in ("pt", "eta", "phi")]
        else:
            notes.append(f"no {GENERATED_JETS[collection]}: resolution of {collection} smeared at random")

    collections = [jets, *lepton_blocks(selection).values(), *keep["collections"], *met]
    optional = columns_of(*dict.fromkeys(collections))
    constituents = LINKS[jets] if keep["constituents"] else None
    if constituents is not None:
        links = [f"{constituents}_jetIdx", f"{constituents}_pFCandsIdx", *(f"PFCands_{name}" for name in FOUR_MOMENTUM)]
        if all(name in source.names for name in links):
            optional += links + columns_of("PFCands")
        else:
            notes.append(f"no candidates of {jets}: constituents are not written")
            constituents = None
    if keep["particle_level"] and not data:
        optional += columns_of(*PARTICLE_LEVEL)
        optional += [f"{GENERATED_LINKS[jets]}_{name}" for name in ("jetIdx", "pFCandsIdx")]
    written = [*EVENT_IDENTITY, *keep["branches"], *([] if data else ["genWeight"])]
    selecting = present_columns(source, required, [])
    written = present_columns(source, written, [*selecting, *optional])
    return Plan(
        data, selecting, written, constituents, triggers, kinematic, weights, met, shifted, generated, top_match, notes
    )
