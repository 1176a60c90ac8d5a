"""Choice of parameters by name or pattern, and what kind of modifier each belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from lhcml.common.errors import UserError
from lhcml.inference.read_workspace import Problem

# Groups of parameters by the kinds of their modifiers; the first one that fits holds
KINDS = {
    "shapes": ("histosys",),
    "rates": ("normsys",),
    "luminosity": ("lumi",),
    "simulation statistics": ("staterror", "shapesys"),
    "free normalisations": ("normfactor", "shapefactor"),
}


def base_name(name: str) -> str:
    """Return the name of a parameter without the number of its component: "stat[3]" is of "stat"."""
    return name.partition("[")[0]


def matches(name: str, pattern: str) -> bool:
    """Tell whether a pattern is the parameter's name, or fits the name without its component (`jes*`)."""
    return name == pattern or fnmatchcase(base_name(name), pattern)


def select_parameters(problem: Problem, patterns: Iterable[str], key: str) -> list[int]:
    """Return the free parameters that the patterns choose, by index, in the model's order.

    Parameters
    ----------
    problem : Problem
    patterns : iterable of str
        Names; patterns with `*`; "poi" for the parameter of interest; "all".
    key : str
        Configuration key, for the error.

    Raises
    ------
    UserError
        If a pattern chooses nothing.
    """
    likelihood = problem.likelihood
    free = [index for index, fixed in enumerate(likelihood.fixed) if not fixed]
    chosen: set[int] = set()
    for pattern in patterns:
        if pattern == "poi":
            found = [likelihood.poi]
        else:
            found = [index for index in free if pattern == "all" or matches(likelihood.names[index], pattern)]
        if not found:
            names = list(dict.fromkeys(base_name(likelihood.names[index]) for index in free))
            raise UserError(
                f"`{key}` names {pattern!r}, which is no free parameter of the model",
                f"choose among: {', '.join(names[:40])}{', ...' if len(names) > 40 else ''}",
            )
        chosen.update(found)
    return sorted(chosen)


def kinds_of_parameters(spec: Mapping[str, Any]) -> dict[str, str]:
    """Return the default group of each parameter of a workspace, by name without component.

    A parameter that moves shapes and rates belongs to "shapes".
    """
    kinds: dict[str, set[str]] = {}
    for channel in spec["channels"]:
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                kinds.setdefault(modifier["name"], set()).add(modifier["type"])
    return {name: next(group for group, types in KINDS.items() if found & set(types)) for name, found in kinds.items()}


def group_parameters(
    problem: Problem, spec: Mapping[str, Any], groups: Mapping[str, Sequence[str]]
) -> dict[str, list[int]]:
    """Return the parameters of each group, by index, without the parameter of interest.

    Parameters
    ----------
    problem : Problem
    spec : mapping
        Content of the workspace.
    groups : mapping of str to patterns
        Groups of the configuration; the others fall into groups by the kind of their modifier.

    Raises
    ------
    UserError
        If a pattern chooses nothing, or two groups choose the same parameter.
    """
    likelihood = problem.likelihood
    place: dict[int, str] = {}
    for group, patterns in sorted(groups.items()):
        for index in select_parameters(problem, patterns, f"ranking.groups.{group}"):
            if index in place:
                raise UserError(
                    f"`ranking.groups`: {likelihood.names[index]!r} is in {place[index]!r} and in {group!r}",
                    "make the patterns of the groups exclude each other",
                )
            place[index] = group
    kinds = kinds_of_parameters(spec)
    for index, name in enumerate(likelihood.names):
        if not likelihood.fixed[index] and index not in place:
            place[index] = kinds[base_name(name) if base_name(name) in kinds else name]
    place.pop(likelihood.poi, None)
    order = [*sorted(groups), *KINDS]
    return {
        group: members for group in dict.fromkeys(order) if (members := [i for i in sorted(place) if place[i] == group])
    }
