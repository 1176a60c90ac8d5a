"""Reading of pyhf workspaces, ours or anyone's: validated, with one parameter of interest, compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyhf

from lhcml.common.errors import UserError
from lhcml.common.files import read_json
from lhcml.inference.check_model import check_workspace
from lhcml.inference.check_parameters import find_parameter_faults
from lhcml.inference.compile_likelihood import compile_likelihood
from lhcml.inference.fault import name_few, repeated, sort_faults
from lhcml.inference.likelihood import Array, Likelihood
from lhcml.inference.quiet_pyhf import quiet_pyhf

__all__ = ["Problem", "choose_measurement", "make_problem", "quiet_pyhf", "read_problem"]

# What pyhf raises for a model that its schema admits and that cannot be built
PYHF_FAULTS = (
    pyhf.exceptions.InvalidModel, pyhf.exceptions.InvalidModifier, pyhf.exceptions.InvalidNameReuse, ValueError,
    KeyError, IndexError, AssertionError, TypeError,
)  # fmt: skip
# Free parameters are told apart if their slopes differ by more than this, relative to their size
RANK_TOLERANCE = 1e-9


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
    remarks = check_workspace(spec, where, strict)
    chosen = choose_measurement(spec, where, measurement, poi)
    name = poi or chosen["config"]["poi"]
    remarks += sort_faults(find_parameter_faults(spec["channels"], chosen, name), where, strict)
    model_spec = {"channels": spec["channels"], "parameters": chosen["config"]["parameters"]}
    with quiet_pyhf():
        try:
            model = pyhf.Model(model_spec, poi_name=name, validate=False)
        except PYHF_FAULTS as error:
            raise UserError(
                f"{where}: pyhf cannot build the model: {error or type(error).__name__}", "correct the workspace"
            ) from error
    observed = {block["name"]: block["data"] for block in spec["observations"]}
    data = np.array(
        [*(value for channel in model.config.channels for value in observed[channel]), *model.config.auxdata]
    )
    likelihood = compile_likelihood(model)
    # a shapefactor of one bin may be of interest: pyhf calls the parameter name, and its component name[0]
    likelihood = replace(
        likelihood, names=[name if i == likelihood.poi else part for i, part in enumerate(likelihood.names)]
    )
    _require_positive(likelihood, where)
    _require_determined(likelihood, name, where)
    return Problem(likelihood, data.astype(float), name, pyhf.utils.digest(spec), chosen["name"], remarks)


def _require_positive(likelihood: Likelihood, where: str) -> None:
    """Raise a UserError if a bin expects less than nothing at the starting values."""
    rates = likelihood.rates(likelihood.start)
    for channel, part in likelihood.channels.items():
        for index, rate in enumerate(rates[part]):
            if rate < 0:
                raise UserError(
                    f"{where}: channel {channel}, bin {index}: {rate:g} events expected at the starting values",
                    "change the `inits` of the measurement: they pull a variation beyond the nominal events",
                )


def _require_determined(likelihood: Likelihood, poi: str, where: str) -> None:
    """Raise a UserError if the parameter of interest does nothing, or free parameters do the same.

    Free are those without a constraint. The data determine them if no combination of their slopes vanishes in all bins;
    slopes are taken a little beside the starting values, where nothing cancels by chance. A parameter that does
    nothing at all is told elsewhere: it does no harm.
    """
    point = likelihood.start * (1 + 0.1 * np.cos(1 + np.arange(len(likelihood.start))))
    point = np.where(likelihood.fixed, likelihood.start, np.where(point == 0, 0.1, point))
    slopes = likelihood.rate_slopes(point)
    if not slopes[:, likelihood.poi].any():
        raise UserError(
            f"{where}: the parameter of interest {poi!r} changes no expected event: its samples are empty",
            "give its samples events (a patch of the signal may be missing), or name another with the key `poi`",
        )
    free = np.flatnonzero(~likelihood.fixed & ~likelihood.constrained & slopes.any(axis=0))
    scaled = slopes[:, free] / np.linalg.norm(slopes[:, free], axis=0)
    _, sizes, directions = np.linalg.svd(scaled)
    null = directions[np.count_nonzero(sizes > RANK_TOLERANCE) :]
    together = [likelihood.names[index] for index in free[(np.abs(null) > 1e-6).any(axis=0)]]
    if together:
        raise UserError(
            f"{where}: the data cannot tell these free parameters apart, whatever they are: {name_few(together, 8)}",
            "they scale the same events (or there are more of them than bins): fix or remove one, add a region that "
            "separates them, or constrain one (normsys)",
        )


def choose_measurement(
    spec: Mapping[str, Any], where: str, measurement: str | None, poi: str | None
) -> Mapping[str, Any]:
    """Return the block of the measurement to use.

    Raises
    ------
    UserError
        If it is unknown, ambiguous, or without a parameter of interest.
    """
    sort_faults(repeated([block["name"] for block in spec["measurements"]], "measurement"), where, strict=True)
    blocks = {block["name"]: block for block in spec["measurements"]}
    if measurement is not None and measurement not in blocks:
        raise UserError(
            f"{where} has no measurement {measurement!r}", f"set `measurement` to one of: {', '.join(blocks)}"
        )
    pois = {block["config"]["poi"] for block in blocks.values()}
    if measurement is None and poi is None and len(pois) > 1:
        listed = ", ".join(f"{name} (poi {block['config']['poi']!r})" for name, block in blocks.items())
        raise UserError(
            f"{where} has several measurements with different parameters of interest: {listed}",
            "choose one with the keys `measurement` or `poi`",
        )
    chosen: Mapping[str, Any] = blocks[measurement] if measurement is not None else next(iter(blocks.values()))
    if not (poi or chosen["config"]["poi"]):
        free = [
            modifier["name"]
            for channel in spec["channels"]
            for sample in channel["samples"]
            for modifier in sample["modifiers"]
            if modifier["type"] == "normfactor"
        ]
        raise UserError(
            f"{where}: measurement {chosen['name']!r} has no parameter of interest",
            f"name one with the key `poi`; free factors are: {name_few(dict.fromkeys(free), 12) or '(none)'}",
        )
    return chosen
