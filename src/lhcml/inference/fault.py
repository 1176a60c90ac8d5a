"""A fault of a model: what is wrong, where, and what can be done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from lhcml.common.errors import UserError

# "error": no fit makes sense. "strict": harmless to the likelihood and found in published workspaces, such as a sample
# without events in a control region, but in a workspace built here a sign of too few simulated events: an error there
# and a remark elsewhere. "remark": right at times, wrong at others; the user decides.
Level = Literal["error", "strict", "remark"]

LISTED = 10


class Fault(NamedTuple):
    """A fault of one kind; `kind` is the name that documentation and tests have for it."""

    kind: str
    cause: str
    fix: str
    level: Level = "error"


def sort_faults(found: Iterable[Fault], where: str, strict: bool) -> list[str]:
    """Return the causes of harmless faults, and raise a UserError that lists the others.

    Parameters
    ----------
    found : iterable of Fault
    where : str
        File of the model, for the message.
    strict : bool
        Whether faults of level "strict" are errors.

    Raises
    ------
    UserError
        With all errors, and the fix of the first.
    """
    faults = list(found)
    errors = [fault for fault in faults if fault.level == "error" or (strict and fault.level == "strict")]
    if errors:
        listed = "\n  ".join(shorten_list([fault.cause for fault in errors], 20))
        raise UserError(f"{where} cannot be fitted:\n  {listed}", errors[0].fix)
    kinds: dict[str, list[str]] = defaultdict(list)
    for fault in faults:
        kinds[fault.kind].append(fault.cause)
    return [cause for causes in kinds.values() for cause in shorten_list(causes, LISTED)]


def shorten_list(texts: Sequence[str], length: int) -> list[str]:
    """Return the first texts, and how many more there are."""
    more = [f"and {len(texts) - length} more of this kind"] if len(texts) > length else []
    return [*texts[:length], *more]


def name_bins(bins: Sequence[int]) -> str:
    """Return "bin 3" or "bins 0, 2, 3", cut after a few."""
    more = f" and {len(bins) - 6} more" if len(bins) > 6 else ""
    return f"bin{'s' if len(bins) > 1 else ''} {', '.join(str(index) for index in bins[:6])}{more}"


def name_few(names: Iterable[str], length: int = 6) -> str:
    """Return names with commas, cut after a few."""
    listed = list(names)
    more = f" and {len(listed) - length} more" if len(listed) > length else ""
    return ", ".join(listed[:length]) + more


def repeated(names: Sequence[str], what: str) -> Iterator[Fault]:
    """Yield a fault for names that occur more than once."""
    for name in sorted({name for name in names if names.count(name) > 1}):
        cause = f"{what} {name} is defined {names.count(name)} times"
        yield Fault("repeated name", cause, "give each its own name, or keep one of them")
