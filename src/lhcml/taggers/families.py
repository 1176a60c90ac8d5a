"""Network families: one module each in `lhcml.taggers.models`, found by its name.

A family module holds `ARCHITECTURE`, a literal dictionary of its settings with their defaults (the published ones),
`INPUTS`, a literal list of the inputs it takes if the configuration names none, and
`build_model(architecture, inputs, mean, scale)`. Nothing else has to be edited to add one. A model may have a method
`start(train)` that sets its weights from the training jets (`LabelledJets`) before the first epoch.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lhcml.common.errors import UserError

if TYPE_CHECKING:
    import torch

# Types of settings, in words for messages
KINDS = {bool: "true or false", int: "an integer", float: "a number", str: "a text", list: "a list"}
MODELS = Path(__file__).resolve().parent / "models"


def family_module(family: str) -> str:
    """Return the dotted name of a family's module.

    Raises
    ------
    UserError
        If there is none, naming those there are.
    """
    known = sorted(path.stem for path in MODELS.glob("*.py") if path.stem != "__init__")
    if family not in known:
        raise UserError(
            f"there is no tagger family {family!r}",
            f"use bdt or one of {', '.join(known)}, or add {MODELS.name}/{family}.py",
        )
    return f"lhcml.taggers.models.{family}"


def literal(family: str, name: str) -> Any:
    """Return a literal of a family's module, read without importing it (and so without torch).

    Raises
    ------
    UserError
        If the family is unknown or its module lacks the literal.
    """
    path = MODELS / f"{family_module(family).rpartition('.')[2]}.py"
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if node_value(node) and any(isinstance(t, ast.Name) and t.id == name for t in targets):
            return ast.literal_eval(node_value(node))
    raise UserError(
        f"{path} has no {name}",
        "define ARCHITECTURE as a literal dictionary (setting -> default value) and INPUTS as a literal list of inputs",
    )


def default_inputs(family: str) -> list[str]:
    """Return `INPUTS` of a family: the inputs it takes if the configuration names none."""
    return list(literal(family, "INPUTS"))


def node_value(node: ast.stmt) -> Any:
    """Return the right-hand side of an assignment, else None."""
    return node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None


def complete_architecture(family: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a family with defaults filled in.

    Raises
    ------
    UserError
        If a setting is unknown or of another type than its default.
    """
    default = dict(literal(family, "ARCHITECTURE"))
    for key, value in given.items():
        if key not in default:
            raise UserError(f"architecture has no {key!r} in family {family}", f"choose among {', '.join(default)}")
        numbers = isinstance(default[key], float) and isinstance(value, int) and not isinstance(value, bool)
        if type(value) is not type(default[key]) and not numbers:
            raise UserError(
                f"architecture {key} of family {family} is {value!r}",
                f"give {KINDS[type(default[key])]}, as {default[key]!r}",
            )
    return default | dict(given)


def input_positions(inputs: Sequence[str], needed: Sequence[str], family: str) -> list[int]:
    """Return where the inputs are that a family needs by name.

    Raises
    ------
    UserError
        If one is not among the inputs.
    """
    missing = [name for name in needed if name not in inputs]
    if missing:
        raise UserError(
            f"family {family} needs {', '.join(missing)} among its inputs",
            "add them to `inputs:`, or leave `inputs:` out",
        )
    return [list(inputs).index(name) for name in needed]


def build_network(
    family: str, architecture: Mapping[str, Any], inputs: Sequence[str], mean: torch.Tensor, scale: torch.Tensor
) -> torch.nn.Module:
    """Build a network of a family.

    Parameters
    ----------
    family : str
        Name of the module.
    architecture : mapping
        Complete settings.
    inputs : sequence of str
        Names of the columns of `Batch.values`, in order.
    mean, scale : torch.Tensor, shape (inputs,)
        Mean and standard deviation of each input over the training sample.

    Returns
    -------
    torch.nn.Module
        Maps a `Batch` to two logits a jet (background, signal), shape (jets, 2).
    """
    model: torch.nn.Module = importlib.import_module(family_module(family)).build_model(
        architecture, inputs, mean, scale
    )
    return model
