"""Reading of pyhf workspaces, ours or anyone's: validated, with one parameter of interest, compiled."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyhf

from lhcml.common.errors import UserError
from lhcml.common.files import read_json
from lhcml.inference.check_model import check_workspace
from lhcml.inference.compile_likelihood import compile_likelihood
from lhcml.inference.likelihood import Array, Likelihood

# What pyhf raises for a model that its schema admits and that cannot be built
PYHF_FAULTS = (
    pyhf.exceptions.InvalidModel, pyhf.exceptions.InvalidModifier, pyhf.exceptions.InvalidNameReuse, ValueError,
    KeyError, IndexError, AssertionError,
)  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """A model with the data to fit.

    Attributes
    ----------
    likelihood : Likelihood
    data : array of shape (B + A,)
        Observed main data and nominal auxiliary data.
    poi : str
        Name of the parameter of interest.
    digest : str
        SHA-256 of the workspace by `pyhf.utils.digest`.
    measurement : str
        Name of the pyhf measurement in use.
    remarks : list of str
        Harmless faults of the model.
    """

    likelihood: Likelihood
    data: Array
    poi: str
    digest: str
    measurement: str
    remarks: list[str] = field(default_factory=list)


def read_problem(path: str | Path, measurement: str | None = None, poi: str | None = None) -> Problem:
    """Read, check and compile a workspace file.

    Parameters
    ----------
    path : path
        pyhf workspace JSON.
    measurement : str, optional
        Which of its measurements; needed if it has several with different parameters of interest.
    poi : str, optional
        Parameter of interest, instead of the workspace's.

    Raises
    ------
    UserError
        If the file is no valid workspace, its model has a fault, or the parameter of interest is not one parameter.
    """
    return make_problem(read_json(path), str(path), measurement, poi)


def make_problem(
    spec: Any, where: str, measurement: str | None = None, poi: str | None = None, strict: bool = False
) -> Problem:
    """Check and compile a workspace; as `read_problem`, with the JSON already read from `where`.

    With `strict`, faults that are harmless to the likelihood are errors too.
    """
    validate_schema(spec, where)
    remarks = check_workspace(spec, where, strict)
    chosen = choose_measurement(spec, where, measurement, poi)
    name = poi or chosen["config"]["poi"]
    with quiet_pyhf():
        workspace = pyhf.Workspace(spec, validate=False)
        try:
            model = workspace.model(measurement_name=chosen["name"], poi_name=None, validate=False)
        except PYHF_FAULTS as error:
            raise UserError(
                f"{where}: pyhf cannot build the model: {error or type(error).__name__}", "correct the workspace"
            ) from error
        data = np.asarray(workspace.data(model), float)
    require_poi(model.config, name, where)
    model.config.set_poi(name)
    likelihood = compile_likelihood(model)
    if not likelihood.cell_slopes(likelihood.start)[:, likelihood.poi].any():
        raise UserError(
            f"{where}: the parameter of interest {name!r} changes no expected event: its samples are empty",
            "give its samples events (a patch of the signal may be missing), or name another with the key `poi`",
        )
    return Problem(likelihood, data, name, pyhf.utils.digest(spec), chosen["name"], remarks)


@contextmanager
def quiet_pyhf() -> Iterator[None]:
    """Silence pyhf's line per modifier, and one warning: it uses a resolver that jsonschema has deprecated."""
    logging.getLogger("pyhf").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="jsonschema.RefResolver is deprecated", category=DeprecationWarning)
        yield


def validate_schema(spec: Any, where: str) -> None:
    """Validate a workspace against pyhf's JSON schema.

    Raises
    ------
    UserError
        With the place in the file and what was expected there.
    """
    if not isinstance(spec, Mapping) or "channels" not in spec:
        raise UserError(
            f"{where} is no pyhf workspace: it has no key 'channels'",
            "give a workspace with channels, observations, measurements and version (`pyhf xml2json` makes one)",
        )
    try:
        with quiet_pyhf():
            pyhf.schema.validate(spec, "workspace.json", version=str(spec.get("version", "1.0.0")))
    except pyhf.exceptions.InvalidSpecification as error:
        place = ".".join(str(part) for part in error.parent.absolute_path) if error.parent else ""
        cause = error.parent.message if error.parent else str(error)
        raise UserError(
            f"{where} is not a valid pyhf workspace: at {place or 'top level'}: {shorten(cause)}",
            "correct that key; the schema is https://scikit-hep.org/pyhf/schemas/1.0.0/workspace.json",
        ) from error
    except FileNotFoundError as error:
        raise UserError(
            f"{where}: pyhf knows no workspace schema of version {spec.get('version')!r}", "set `version` to 1.0.0"
        ) from error


def shorten(text: str, length: int = 300) -> str:
    """Return a text cut in its middle, since a schema error quotes whole objects."""
    return text if len(text) <= length else f"{text[: length // 2]} ... {text[-length // 2 :]}"


def choose_measurement(
    spec: Mapping[str, Any], where: str, measurement: str | None, poi: str | None
) -> Mapping[str, Any]:
    """Return the block of the measurement to use.

    Raises
    ------
    UserError
        If it is unknown, ambiguous, or without a parameter of interest.
    """
    blocks = {block["name"]: block for block in spec["measurements"]}
    if measurement is not None and measurement not in blocks:
        raise UserError(
            f"{where} has no measurement {measurement!r}", f"set `measurement` to one of: {', '.join(blocks)}"
        )
    if not blocks:
        raise UserError(f"{where} has no measurement", "add one with its parameter of interest to `measurements`")
    pois = {block["config"]["poi"] for block in blocks.values()}
    if measurement is None and poi is None and len(pois) > 1:
        listed = ", ".join(f"{name} (poi {block['config']['poi']!r})" for name, block in blocks.items())
        raise UserError(
            f"{where} has several measurements with different parameters of interest: {listed}",
            "choose one with the keys `measurement` or `poi`",
        )
    chosen: Mapping[str, Any] = blocks[measurement] if measurement is not None else next(iter(blocks.values()))
    if not (poi or chosen["config"]["poi"]):
        raise UserError(
            f"{where}: measurement {chosen['name']!r} has no parameter of interest", "name one with the key `poi`"
        )
    return chosen


def require_poi(config: Any, name: str, where: str) -> None:
    """Raise a UserError unless `name` is a free parameter of the model with one component."""
    single = [key for key in config.par_order if config.param_set(key).n_parameters == 1]
    free = [key for key in single if not getattr(config.param_set(key), "constrained", False)]
    if name not in config.par_order:
        raise UserError(
            f"{where}: the parameter of interest {name!r} is not a parameter of the model",
            f"set `poi` to one of: {', '.join(free or single)}",
        )
    if name not in single:
        raise UserError(
            f"{where}: {name!r} has {config.param_set(name).n_parameters} components; a parameter of interest has one",
            f"set `poi` to one of: {', '.join(free or single)}",
        )
    if all(config.param_set(name).suggested_fixed):
        raise UserError(f"{where}: the parameter of interest {name!r} is fixed", "set its `fixed` to false")
