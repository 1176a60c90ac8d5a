"""Combine measurements: one workspace with the regions of all, in which parameters of the same name are the same.

Regions of one name are renamed `<measurement>_<region>`. So are parameters with a value per bin (staterror, shapesys,
shapefactor) of one name: bins of different measurements are not the same, and pyhf would take them for it. What the
measurements set of a shared parameter (bounds, starting value, widths, whether it is fixed) has to agree.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_json
from lhcml.inference.check_model import require_workspace
from lhcml.inference.check_parameters import list_parameters
from lhcml.inference.read_workspace import choose_measurement, make_problem
from lhcml.inference.write_workspace import add_outputs, write_workspace

BINNED = ("staterror", "shapesys", "shapefactor")


@dataclass(frozen=True)
class Part:
    """A measurement to combine: its name, its workspace, its block of the workspace's measurements, its description."""

    name: str
    spec: Mapping[str, Any]
    measurement: Mapping[str, Any]
    description: Mapping[str, Any]

    @property
    def poi(self) -> str:
        """Parameter of interest."""
        return str(self.description["poi"])


def combine_workspaces(parts: Sequence[Part], poi: str | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the combined workspace and what its description says of it.

    Parameters
    ----------
    parts : sequence of Part
        At least two, of different names.
    poi : str, optional
        Parameter of interest; needed if the parts have different ones.

    Raises
    ------
    UserError
        If the parameters of interest, the type of a shared parameter, or its settings disagree.
    """
    pois = {part.name: part.poi for part in parts}
    if poi is None and len(set(pois.values())) > 1:
        listed = ", ".join(f"{name} has {value!r}" for name, value in pois.items())
        raise UserError(
            f"the combined measurements have different parameters of interest: {listed}",
            "name the parameter of interest of the combination with its key `poi`",
        )
    types = {part.name: list_parameters(part.spec["channels"])[0] for part in parts}
    channels_of = _count(parts, [[channel["name"] for channel in part.spec["channels"]] for part in parts])
    holders = _count(parts, [list(types[part.name]) for part in parts])
    remarks = _same_data(parts)
    channels, observations = [], []
    regions: dict[str, Any] = {}
    settings: dict[str, dict[str, tuple[str, Any]]] = defaultdict(dict)
    for part in parts:
        new_channels = {name: _own(part, name) for name, found in channels_of.items() if len(found) > 1}
        new_names = {
            name: _own(part, name)
            for name, kind in types[part.name].items()
            if kind in BINNED and len(holders[name]) > 1
        }
        channels += [_rename_channel(channel, new_channels, new_names) for channel in part.spec["channels"]]
        observed = {block["name"]: block["data"] for block in part.spec["observations"]}
        for channel in part.spec["channels"]:
            old = channel["name"]
            observations.append({"name": new_channels.get(old, old), "data": observed[old]})
            if old in part.description.get("regions", {}):
                regions[new_channels.get(old, old)] = part.description["regions"][old]
        for block in part.measurement["config"]["parameters"]:
            if block["name"] in types[part.name]:
                _add_settings(settings[new_names.get(block["name"], block["name"])], block, part.name)
    shared = [name for name, found in holders.items() if len(found) > 1 and not _binned(name, types)]
    for name in shared:
        _require_one_type(name, {part: types[part][name] for part in holders[name]})
    parameters = [
        {"name": name} | {key: value for key, (_, value) in found.items()} for name, found in settings.items()
    ]
    spec = {
        "version": "1.0.0", "channels": channels, "observations": observations,
        "measurements": [{"name": "combination", "config": {"poi": poi or parts[0].poi, "parameters": parameters}}],
    }  # fmt: skip
    about = {"combined": [part.name for part in parts], "correlated": sorted(shared), "regions": regions}
    return spec, about | _merged([part.description for part in parts]) | {"remarks": remarks}


def _own(part: Part, name: str) -> str:
    """Return a name that no other measurement has."""
    return f"{part.name}_{name}"


def _count(parts: Sequence[Part], names: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    """Return for each name the measurements that have it; also for the names that `_own` would give."""
    found: dict[str, list[str]] = defaultdict(list)
    for part, listed in zip(parts, names, strict=True):
        for name in listed:
            found[name].append(part.name)
    for part, listed in zip(parts, names, strict=True):
        for name in listed:
            if len(found[name]) > 1 and _own(part, name) in found:
                raise UserError(
                    f"{name} of measurement {part.name} would be renamed {_own(part, name)}, which exists",
                    "rename the measurement",
                )
    return dict(found)


def _binned(name: str, types: Mapping[str, Mapping[str, str]]) -> bool:
    """Tell whether all but one of the measurements with this parameter hold it per bin, so that none share it."""
    kinds = [found[name] for found in types.values() if name in found]
    return sum(kind not in BINNED for kind in kinds) <= 1


def _require_one_type(name: str, kinds: Mapping[str, str]) -> None:
    """Raise a UserError unless a shared parameter has one constraint in all measurements."""
    scalar = {kind for kind in kinds.values() if kind not in BINNED}
    if len(scalar) > 1 and scalar != {"histosys", "normsys"}:
        listed = ", ".join(f"{kind} in {part}" for part, kind in kinds.items())
        raise UserError(
            f"parameter {name} has a different constraint in the combined measurements: {listed}",
            "rename it in one of them, or give it the same type: a parameter has one constraint",
        )


def _rename_channel(
    channel: Mapping[str, Any], channels: Mapping[str, str], names: Mapping[str, str]
) -> dict[str, Any]:
    """Return a channel with its own name and the names of its modifiers replaced."""
    samples = [
        dict(sample)
        | {"modifiers": [dict(part) | {"name": names.get(part["name"], part["name"])} for part in sample["modifiers"]]}
        for sample in channel["samples"]
    ]
    return {"name": channels.get(channel["name"], channel["name"]), "samples": samples}


def _add_settings(known: dict[str, tuple[str, Any]], block: Mapping[str, Any], part: str) -> None:
    """Add what a measurement sets of a parameter to what others set, if it agrees."""
    for key, value in block.items():
        if key == "name":
            continue
        other, before = known.setdefault(key, (part, value))
        if before != value:
            raise UserError(
                f"parameter {block['name']}: {key} is {before} in measurement {other}, and {value} in {part}",
                "make them agree (in a given workspace by a `patch`), or rename the parameter in one of them",
            )


def _same_data(parts: Sequence[Part]) -> list[str]:
    """Return remarks on regions of two measurements that observe the same numbers."""
    remarks = []
    for one, other in combinations(parts, 2):
        for first in one.spec["observations"]:
            for second in other.spec["observations"]:
                if len(first["data"]) > 1 and any(first["data"]) and first["data"] == second["data"]:
                    remarks.append(
                        f"region {first['name']} of {one.name} and {second['name']} of {other.name} observe the same "
                        "numbers: a combination asks for independent data"
                    )
    return remarks


def _merged(descriptions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return labels and reports of systematics of all, and what is the same in all."""
    merged: dict[str, Any] = {}
    labels = [block["labels"] for block in descriptions if isinstance(block.get("labels"), Mapping)]
    if labels:
        merged["labels"] = {key: value for block in reversed(labels) for key, value in block.items()}
    systematics = [row for block in descriptions for row in block.get("systematics", [])]
    if systematics:
        merged["systematics"] = systematics
    luminosities = {block.get("luminosity") for block in descriptions}
    if len(luminosities) == 1 and None not in luminosities:
        merged["luminosity"] = luminosities.pop()
    return merged


def main(argv: Sequence[str] | None = None) -> None:
    """Combine workspaces."""
    parser = make_parser(__doc__)
    parser.add_argument("--names", required=True, nargs="+", help="measurements to combine")
    parser.add_argument("--inputs", required=True, nargs="+", type=Path, help="their workspaces, in the same order")
    parser.add_argument("--descriptions", required=True, nargs="+", type=Path, help="their workspace.meta.json")
    parser.add_argument("--config", required=True, type=json_argument, help="the combination, as in the configuration")
    add_outputs(parser)
    args = parser.parse_args(argv)
    log = start_log("pyhf", "numpy")
    parts = []
    for name, path, description in zip(args.names, args.inputs, args.descriptions, strict=True):
        spec, about = read_json(path), read_json(description)
        require_workspace(spec, str(path))
        measurement = choose_measurement(spec, str(path), about["measurement"], about["poi"])
        parts.append(Part(name, spec, measurement, about))
    spec, about = combine_workspaces(parts, args.config.get("poi"))
    log.info("correlated parameters: %s", ", ".join(about["correlated"]) or "(none)")
    problem = make_problem(spec, "the combination of " + ", ".join(args.names), poi=args.config.get("poi"))
    write_workspace(args, spec, problem, about | {"source": [str(path) for path in args.inputs]})


if __name__ == "__main__":
    run_main(main)
