"""Reading of a ROOT file of events through coffea's NanoEvents, with errors that name the file and the branch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import awkward as ak
import numpy as np
import uproot
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory
from numpy.typing import NDArray

from lhcml.common.errors import UserError
from lhcml.common.identity import EVENT_IDENTITY
from lhcml.skim.naming import canonical_name, canonical_names
from lhcml.skim.remote import FETCH_AGAIN, first_line, read_error


class SkimSchema(NanoAODSchema):  # type: ignore[misc]
    """NanoAOD with the skim's names, as plain columns.

    Behaviours of four-vectors and the columns that coffea derives would ask for branches that a skim does not read.
    """

    __dask_capable__ = False
    warn_missing_crossrefs = False
    mixins: ClassVar[dict[str, str]] = {}
    all_cross_references: ClassVar[dict[str, str]] = {}
    nested_items: ClassVar[dict[str, list[str]]] = {}
    nested_index_items: ClassVar[dict[str, tuple[str, str]]] = {}
    special_items: ClassVar[dict[str, Any]] = {}
    full_like_items: ClassVar[dict[str, Any]] = {}
    rename_items: ClassVar[dict[str, str]] = {}
    alias_items: ClassVar[dict[str, str]] = {}

    def _build_collections(self, field_names: list[str], input_contents: list[Any]) -> Any:
        return super()._build_collections([canonical_name(name) for name in field_names], input_contents)


@dataclass(frozen=True)
class Source:
    """An open file of events: its path, the directory, its object `Events` and `{skim name: name in the file}`."""

    path: str
    directory: Any
    events: Any
    names: Mapping[str, str]

    @property
    def num_entries(self) -> int:
        """Number of events."""
        return int(self.events.num_entries)

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *error: object) -> None:
        self.directory.close()


def open_source(path: str) -> Source:
    """Open a ROOT file that holds `Events` as TTree or RNTuple.

    Raises
    ------
    UserError
        If the file is missing, empty, truncated, not a ROOT file, or has no `Events`.
    """
    try:
        directory = uproot.open(path)
        objects = sorted(set(directory.keys(cycle=False)))
        # the branches in use may lie before the cut, but then nobody knows what the file would have held
        cut_off = directory.file.fEND - directory.file.source.num_bytes
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}", "check the path in the dataset's `files`") from error
    except Exception as error:  # uproot raises a dozen types on damaged bytes
        raise read_error(
            path,
            f"cannot open {path} as a ROOT file",
            error,
            f"it is truncated, empty or not a ROOT file: {FETCH_AGAIN}",
        ) from error
    if cut_off > 0:
        raise UserError(f"{path} is truncated: {cut_off} bytes are missing at its end", FETCH_AGAIN)
    if "Events" not in objects:
        raise UserError(
            f"{path} has no tree `Events`; it holds: {', '.join(objects) or 'nothing'}",
            "give a NanoAOD or PFNano file; one that holds nothing was not written to its end",
        )
    try:
        events = directory["Events"]
        names = canonical_names(events.keys(recursive=False))
        int(events.num_entries)
        # coffea asks for the types of all branches with each chunk, for formats other than NanoAOD; in a file of two
        # thousand branches that takes longer than the chunk
        events.typenames = dict
    except Exception as error:
        raise read_error(
            path,
            f"cannot read `Events` of {path}",
            error,
            f"the file is damaged or `Events` is neither a TTree nor an RNTuple: {FETCH_AGAIN}",
        ) from error
    return Source(path, directory, events, names)


def present_columns(source: Source, required: Iterable[str], optional: Iterable[str]) -> list[str]:
    """Return the columns that the file has, after checking that the required ones are there and of a usable type.

    Parameters
    ----------
    source : Source
        Open file.
    required, optional : iterable of str
        Skim names, e.g. "FatJet_pt".

    Raises
    ------
    UserError
        If a required branch is missing, or a branch is not numbers, one or a list per event.
    """
    required = list(dict.fromkeys(required))
    missing = [name for name in required if name not in source.names]
    if missing:
        collections = {name.partition("_")[0] for name in missing}
        near = sorted(name for name in source.names if name.partition("_")[0] in collections)[:12]
        raise UserError(
            f"{source.path} has no branch {', '.join(missing)}",
            f"drop what needs it from the channel's `selection`, or give a file that has it; near it are: "
            f"{', '.join(near) or 'none of that collection'}",
        )
    columns = [name for name in dict.fromkeys([*required, *optional]) if name in source.names]
    for name in columns:
        _check_type(source, name)
    return columns


def _check_type(source: Source, column: str) -> None:
    """Raise a UserError if a branch is not a number per event or a list of numbers per event with its counter."""
    branch = source.events[source.names[column]]
    collection = column.partition("_")[0]
    counted = "n" + collection in source.names
    expected = "a list of numbers per event" if counted else "one number per event"
    try:
        rntuple = isinstance(branch, uproot.behaviors.RNTuple.HasFields)
        form = branch.to_akform()[0].contents[0] if rntuple else branch.interpretation.awkward_form(None)
    except Exception as error:
        raise UserError(
            f"branch {branch.name} of {source.path} has a type that cannot be read ({first_line(error)})",
            f"the skim needs {expected} there",
        ) from error
    content = getattr(form, "content", None)
    numeric = isinstance(content if counted else form, ak.forms.NumpyForm)
    if not numeric or form.parameter("__array__") is not None:
        raise UserError(
            f"branch {branch.name} of {source.path} is {branch.typename}, expected {expected}",
            "give a NanoAOD or PFNano file, whose branches are numbers",
        )


def chunk_bounds(source: Source, columns: Sequence[str], step_size: int) -> Iterator[tuple[int, int]]:
    """Yield `(start, stop)` of chunks of about `step_size` events, cut where baskets end if the layout allows it.

    A chunk that ends inside a basket makes two chunks decompress it. Results do not depend on the cuts.
    """
    ends = np.arange(step_size, source.num_entries, step_size)
    if hasattr(source.events, "common_entry_offsets") and source.num_entries > step_size:
        wanted = {source.names[name] for name in columns}
        offsets = np.asarray(source.events.common_entry_offsets(filter_name=lambda name: name in wanted))
        nearest = offsets[np.abs(offsets[:, None] - ends).argmin(axis=0)]
        # a basket border is taken only if it is near, so that a file of few large baskets does not fill the memory
        ends = np.unique(np.where(np.abs(nearest - ends) <= step_size // 2, nearest, ends))
    bounds = [0, *(int(end) for end in ends if 0 < end < source.num_entries), source.num_entries]
    yield from pairwise(bounds)


def read_chunk(source: Source, columns: Sequence[str], start: int, stop: int) -> ak.Array:
    """Return the events `start` to `stop` as NanoEvents with virtual arrays; a branch is read when it is first used."""
    wanted = {*columns, *("n" + name.partition("_")[0] for name in columns), *EVENT_IDENTITY}
    in_file = {source.names[name] for name in wanted if name in source.names}
    factory = NanoEventsFactory.from_root(
        source.directory,
        treepath="Events",
        mode="virtual",
        entry_start=start,
        entry_stop=stop,
        schemaclass=SkimSchema,
        iteritems_options={"filter_name": lambda name: name in in_file, "recursive": False},
    )
    return factory.events()


def load_columns(
    source: Source, events: ak.Array, columns: Iterable[str], keep: NDArray[np.bool_] | None = None
) -> dict[str, ak.Array]:
    """Read columns of a chunk now, and check that they hold finite numbers.

    Parameters
    ----------
    source : Source
        Where the events come from, for messages.
    events : ak.Array
        NanoEvents of `read_chunk`.
    columns : iterable of str
        Skim names.
    keep : ndarray, optional
        Events wanted, all if not given.

    Returns
    -------
    dict of str to ak.Array
        Flat or jagged arrays without behaviour.

    Raises
    ------
    UserError
        If a basket cannot be read or decompressed, or a value is NaN or infinite.
    """
    arrays: dict[str, ak.Array] = {}
    for column in columns:
        collection, _, name = column.partition("_")
        try:
            # HLT_* and flags are records of flat columns, PSWeight and run are columns by themselves
            array = ak.materialize(events[collection][name] if name else events[collection])
        except Exception as error:  # damaged baskets end in errors of the codecs, of NumPy or of uproot
            failure = f"cannot read branch {source.names[column]} of {source.path}"
            raise read_error(source.path, failure, error, f"the file is damaged: {FETCH_AGAIN}") from error
        array = ak.without_parameters(array)
        if keep is not None and not keep.all():
            array = array[keep]
        _require_finite(source, column, array)
        arrays[column] = array
    return arrays


def _require_finite(source: Source, column: str, array: ak.Array) -> None:
    flat = ak.to_numpy(ak.flatten(array, axis=None))
    if flat.dtype.kind == "f" and not np.isfinite(flat).all():
        bad = int(np.count_nonzero(~np.isfinite(flat)))
        raise UserError(
            f"{bad} values of branch {source.names[column]} of {source.path} are NaN or infinite",
            "find the events concerned in the file; a NaN never enters a training or a fit",
        )
