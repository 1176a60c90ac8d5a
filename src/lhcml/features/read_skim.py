"""Reading of a skim: its selected jets of one shift, with their constituents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray

from lhcml.common.errors import UserError
from lhcml.common.files import require_finite
from lhcml.common.identity import EVENT_IDENTITY
from lhcml.features.constituents import constituent_lists, order_by_pt

CANDIDATES = ("pt", "eta", "phi", "mass", "charge", "pdgId")
PUPPI_WEIGHT = "PFCands_puppiWeight"

Arrays = dict[str, NDArray[Any]]
Change = Callable[[Arrays, NDArray[np.int64], Arrays], tuple[Arrays, NDArray[np.int64], Arrays]]


@dataclass(frozen=True)
class Jets:
    """Selected jets of some events; arrays of shape (jets,) but for `parts`, of shape (sum of counts,).

    Attributes
    ----------
    ids : dict of str to array
        `run`, `luminosityBlock`, `event` (int64).
    rank : array
        Position among the selected jets of the event.
    weights : dict of str to array
        `weight_nominal` and shifted weights.
    jets : dict of str to array
        "pt", "eta", "phi", "mass" of the jets, shifted, in GeV and rad.
    counts, all_counts : array
        Constituents kept, and all that the jet has.
    parts : dict of str to array
        "pt", "eta", "phi", "mass", "charge", "pdgId" of the constituents, by falling pt in each jet.
    """

    ids: dict[str, NDArray[np.int64]]
    rank: NDArray[np.int64]
    weights: dict[str, NDArray[np.float64]]
    jets: dict[str, NDArray[np.float64]]
    counts: NDArray[np.int64]
    all_counts: NDArray[np.int64]
    parts: dict[str, NDArray[Any]]


def open_events(path: str | Path) -> Any:
    """Return the tree `Events` of a ROOT file.

    Raises
    ------
    UserError
        If the file is missing, truncated, not ROOT, or has no `Events`.
    """
    try:
        return uproot.open(path)["Events"]
    except uproot.exceptions.KeyInFileError as error:
        raise UserError(f"{path} has no tree `Events`", "give a file that the skim stage made") from error
    except Exception as error:  # uproot raises a dozen types on damaged bytes
        reason = (str(error).strip().splitlines() or ["no message"])[0]
        raise UserError(
            f"cannot open {path} as a ROOT file ({type(error).__name__}: {reason})", "delete it and make the skim again"
        ) from error


def jet_columns(collection: str, shift: str) -> dict[str, str]:
    """Return the branch of each component of the jets' four-momenta; a kinematic shift changes pt and mass."""
    suffix = "" if shift == "nominal" else f"_{shift}"
    return {name: f"{collection}_{name}{suffix if name in ('pt', 'mass') else ''}" for name in
            ("pt", "eta", "phi", "mass")}  # fmt: skip


def required_branches(collection: str, shift: str) -> tuple[list[str], list[str]]:
    """Return the branches needed of every skim, and those that only files with jet constituents have."""
    jets = {*jet_columns(collection, shift).values(), f"{collection}_pt"}
    always = [*EVENT_IDENTITY, "weight_nominal", f"selectedJet_{shift}", *sorted(jets)]
    links = [f"{collection}PFCands_jetIdx", f"{collection}PFCands_pFCandsIdx"]
    return always, [*links, *(f"PFCands_{name}" for name in CANDIDATES)]


def check_branches(path: str | Path, present: set[str], collection: str, shift: str) -> None:
    """Check that a skim has what the features of a shift need.

    Raises
    ------
    UserError
        Naming the missing branches, and the stages that go without constituents.
    """
    always, constituents = required_branches(collection, shift)
    missing = [name for name in always if name not in present]
    if missing:
        raise UserError(
            f"{path} has no branch {', '.join(missing)}",
            f"make the skim with jets {collection} and shift {shift!r}: see `selection` and `skim.shifts` in the "
            "configuration",
        )
    missing = [name for name in constituents if name not in present]
    if missing:
        raise UserError(
            f"{path} has no jet constituents: missing {', '.join(missing)}",
            "substructure, and the taggers and fits built on it, need PFNano or generated events; without them, "
            "set `keep: {constituents: false}`; the skim and its cutflow need neither",
        )


def check_types(path: str | Path, columns: Mapping[str, ak.Array]) -> None:
    """Raise a UserError for the first branch that is not a number, or a list of numbers, per event as in NanoAOD."""
    for name, values in columns.items():
        per_event = name in EVENT_IDENTITY or name.startswith("weight_")
        wanted, lists = ("one number", 1) if per_event else ("a list of numbers", 2)
        if values.ndim != lists or not str(values.type.content).split(" * ")[-1].startswith(("int", "uint", "float")):
            raise UserError(
                f"branch {name} of {path} is {values.type.content} per event, expected {wanted}", "make the skim again"
            )


def read_steps(tree: Any, branches: list[str], path: str | Path, step_size: int) -> Iterator[dict[str, ak.Array]]:
    """Yield branches of a tree by name, some events at a time; an empty tree gives one empty step.

    Raises
    ------
    UserError
        If the file is damaged.
    """
    for start in range(0, max(tree.num_entries, 1), step_size):
        try:
            events = tree.arrays(branches, entry_start=start, entry_stop=start + step_size)
        except Exception as error:  # uproot raises a dozen types on damaged bytes
            raise UserError(
                f"cannot read events {start} and on of {path} ({type(error).__name__}: {error})",
                "the file is damaged: delete it and make the skim again",
            ) from error
        yield {name: events[name] for name in branches}


def read_jets(
    path: str | Path,
    collection: str,
    shift: str,
    *,
    puppi: bool,
    max_constituents: int,
    step_size: int,
    change: Change | None = None,
) -> Iterator[tuple[int, Jets]]:
    """Yield the number of events read and their selected jets, step by step.

    Constituents have their four-momenta multiplied by the ratio of the shifted to the nominal pt of their jet and, if
    `puppi` is set and the file has `PFCands_puppiWeight`, by that weight; those of weight 0 are no constituents.

    Parameters
    ----------
    path : path
        Skim.
    collection : str
        Jets, e.g. "FatJet".
    shift : str
        "nominal" or a kinematic shift of the skim.
    puppi : bool
        Whether the jets were clustered from PUPPI-weighted candidates (arXiv:1407.6013).
    max_constituents : int
        Largest number of constituents kept in a jet, the hardest.
    step_size : int
        Events a step; an empty file gives one empty step.
    change : function, optional
        Returns constituents, their numbers and four-momenta of the jets, given these, before the cap on constituents.

    Raises
    ------
    UserError
        If the file cannot be read, lacks a branch, has links to nowhere, NaN or infinity, or a jet without momentum.
    """
    tree = open_events(path)
    present = set(tree.keys(recursive=False))
    check_branches(path, present, collection, shift)
    always, constituents = required_branches(collection, shift)
    weights = sorted(name for name in present if name.startswith("weight_"))
    optional = [PUPPI_WEIGHT] if puppi and PUPPI_WEIGHT in present else []
    branches = list(dict.fromkeys([*always, *weights, *constituents, *optional]))
    for columns in read_steps(tree, branches, path, step_size):
        check_types(path, columns)
        try:
            yield (
                len(columns["event"]),
                select_jets(columns, str(path), collection, shift, weights, max_constituents, change),
            )
        except IndexError as error:
            raise UserError(f"{path}: {error}", "make the skim again from a sound file") from error


def flat(values: ak.Array) -> NDArray[Any]:
    """Return the numbers of lists of numbers, one list after the other."""
    return ak.to_numpy(ak.flatten(values))


def selected_positions(
    events: Mapping[str, ak.Array], collection: str, shift: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return for each selected jet its event, its position among the jets of all events, and its rank in the event.

    Raises
    ------
    IndexError
        If a link points to no jet.
    """
    selected = events[f"selectedJet_{shift}"]
    number = ak.to_numpy(ak.num(selected))
    jet_number = ak.to_numpy(ak.num(events[f"{collection}_pt"]))
    if ak.any((selected < 0) | (selected >= jet_number)):
        raise IndexError(f"selectedJet_{shift} points to no jet of {collection}")
    event: NDArray[np.int64] = np.repeat(np.arange(len(number)), number)
    jet = ak.to_numpy(ak.flatten(selected)) + (np.cumsum(jet_number) - jet_number)[event]
    return event, jet, ak.to_numpy(ak.flatten(ak.local_index(selected))).astype(np.int64)


def selected_momenta(
    events: Mapping[str, ak.Array], path: str, collection: str, shift: str, jet: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """Return pt, eta, phi and mass of the selected jets, shifted; `jet` are their positions.

    Raises
    ------
    UserError
        If a number is NaN or infinite, or a jet has no momentum.
    """
    jets = {}
    for name, branch in jet_columns(collection, shift).items():
        jets[name] = flat(events[branch])[jet].astype(np.float64)
        require_finite(f"branch {branch}", jets[name], path)
    nominal_pt = flat(events[f"{collection}_pt"])[jet]
    without = int(np.count_nonzero((jets["pt"] <= 0) | (nominal_pt <= 0)))
    if without:
        raise UserError(
            f"{without} selected jets of {path} have pt <= 0 in shift {shift!r}",
            "cut on the pt of jets in the selection",
        )
    return jets


def select_jets(
    events: Mapping[str, ak.Array],
    path: str,
    collection: str,
    shift: str,
    weights: list[str],
    max_constituents: int,
    change: Change | None,
) -> Jets:
    """Return the selected jets of events given as columns; parameters and errors as in `read_jets`."""
    event, jet, rank = selected_positions(events, collection, shift)
    jets = selected_momenta(events, path, collection, shift, jet)
    jet_number = ak.to_numpy(ak.num(events[f"{collection}_pt"]))
    nominal_pt = flat(events[f"{collection}_pt"])[jet].astype(np.float64)

    lists = constituent_lists(
        jet_number, ak.to_numpy(ak.num(events["PFCands_pt"])), events[f"{collection}PFCands_jetIdx"],
        events[f"{collection}PFCands_pFCandsIdx"],
    )[jet]  # fmt: skip
    counts, candidate = ak.to_numpy(ak.num(lists)), ak.to_numpy(ak.flatten(lists))
    parts = {name: flat(events[f"PFCands_{name}"])[candidate] for name in CANDIDATES}
    for name in ("pt", "eta", "phi", "mass"):
        require_finite(f"branch PFCands_{name}", parts[name], path)
    factor: NDArray[np.float64] = np.repeat(jets["pt"] / nominal_pt, counts)
    if PUPPI_WEIGHT in events:
        factor = factor * flat(events[PUPPI_WEIGHT])[candidate]
    parts["pt"], parts["mass"] = parts["pt"] * factor, parts["mass"] * factor

    # candidates of no momentum, such as those with PUPPI weight 0, are no constituents
    real = parts["pt"] > 0
    counts = np.bincount(np.repeat(np.arange(len(jet)), counts)[real], minlength=len(jet))
    parts = {name: values[real] for name, values in parts.items()}
    if change is not None:
        parts, counts, jets = change(parts, counts, jets)
    order, kept = order_by_pt(parts["pt"], counts, max_constituents)
    return Jets(
        ids={name: ak.to_numpy(events[name]).astype(np.int64)[event] for name in EVENT_IDENTITY},
        rank=rank,
        weights={name: ak.to_numpy(events[name]).astype(np.float64)[event] for name in weights},
        jets=jets,
        counts=kept.astype(np.int64),
        all_counts=counts.astype(np.int64),
        parts={name: values[order] for name, values in parts.items()},
    )
