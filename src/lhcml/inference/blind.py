"""Blinded regions: their data never enter; Asimov data stand in for them.

The nuisance parameters are fitted in the other regions, with the parameter of interest held at the assumed value; the
expectation of that fit replaces the observed counts of the blinded regions before anything else sees them. Every module
that starts from the data takes its problem through `blinded_problem`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.errors import UserError
from lhcml.inference.likelihood import Likelihood
from lhcml.inference.minimise import minimise
from lhcml.inference.read_workspace import Problem


def blinded_regions(config: Mapping[str, Any]) -> list[str]:
    """Return the regions whose data are blinded, from the block of a measurement (`fit: {blinded: [...]}`)."""
    return list(config.get("fit", {}).get("blinded", []))


def blinded_problem(problem: Problem, config: Mapping[str, Any]) -> Problem:
    """Return the problem with the data of the blinded regions replaced; the same problem if none is blinded.

    Parameters
    ----------
    problem : Problem
    config : mapping
        Block of the measurement. `fit.blinded`: regions; `fit.blinded_poi`: value of the parameter of interest of the
        Asimov data, `injected` if not given, and 1 without either.

    Raises
    ------
    UserError
        If a region is unknown, or the other regions cannot be fitted.
    """
    regions = blinded_regions(config)
    if not regions:
        return problem
    strength = config.get("fit", {}).get("blinded_poi", config.get("injected", 1.0))
    return blind(problem, regions, float(strength))


def blind(problem: Problem, regions: Sequence[str], strength: float) -> Problem:
    """Return the problem with Asimov data in some regions.

    Parameters
    ----------
    problem : Problem
    regions : sequence of str
        Regions to blind.
    strength : float
        Parameter of interest, in the fit of the other regions and in the Asimov data.

    Raises
    ------
    UserError
        If a region is unknown, or the other regions cannot be fitted.
    """
    likelihood = problem.likelihood
    unknown = sorted(set(regions) - set(likelihood.channels))
    if unknown:
        raise UserError(
            f"`fit.blinded` names {', '.join(unknown)}, which the workspace does not have",
            f"choose among its regions: {', '.join(likelihood.channels)}",
        )
    hidden: NDArray[np.bool_] = np.zeros(likelihood.bins, bool)
    for region in regions:
        hidden[likelihood.channels[region]] = True
    values = likelihood.start.copy()
    if not hidden.all():
        visible = keep_channels(likelihood, set(likelihood.channels) - set(regions))
        seen = np.concatenate([problem.data[: likelihood.bins][~hidden], problem.data[likelihood.bins :]])
        fit = minimise(visible, seen, constant={likelihood.poi: strength}, covariance=False)
        if not fit.valid:
            raise UserError(
                f"the fit of the regions that are not blinded did not converge: {fit.attempts[-1]['reasons']}",
                "blind other regions, or give the nuisance parameters that only these regions know a constraint",
            )
        values = fit.values.copy()
    values[likelihood.poi] = strength
    data = problem.data.copy()
    data[: likelihood.bins][hidden] = likelihood.rates(values)[hidden]
    remark = f"blinded: Asimov data at {problem.poi} = {strength:g} stand in for those of {', '.join(regions)}"
    return replace(problem, data=data, remarks=[*problem.remarks, remark])


def keep_channels(likelihood: Likelihood, channels: Collection[str]) -> Likelihood:
    """Return the likelihood of some channels, with all parameters and constraint terms.

    Parameters
    ----------
    likelihood : Likelihood
    channels : collection of str
        Those to keep; the order stays that of the likelihood.
    """
    slices, first = {}, 0
    for name, part in likelihood.channels.items():
        if name in channels:
            slices[name] = slice(first, first + part.stop - part.start)
            first = slices[name].stop
    keep_bin = np.concatenate([np.full(part.stop - part.start, name in slices)
                               for name, part in likelihood.channels.items()])  # fmt: skip
    keep_cell = keep_bin[likelihood.bin_of_cell]
    keep_block = np.array([channel in slices for channel, _, _ in likelihood.samples])
    # old index to new one, where kept
    bin_number, cell_number, block_number, entry_number = (
        np.cumsum(kept) - 1 for kept in (keep_bin, keep_cell, keep_block, keep_block[likelihood.scale_block])
    )
    samples = [(channel, sample, slice(int(cell_number[here.start]), int(cell_number[here.stop - 1]) + 1))
               for channel, sample, here in likelihood.samples if channel in slices]  # fmt: skip
    add, spread = keep_cell[likelihood.add_cell], keep_cell[likelihood.spread_cell]
    entry, slope = keep_block[likelihood.scale_block], keep_cell[likelihood.slope_cell]
    return replace(
        likelihood, channels=slices, samples=samples, nominal=likelihood.nominal[keep_cell],
        bin_of_cell=bin_number[likelihood.bin_of_cell[keep_cell]],
        block_of_cell=block_number[likelihood.block_of_cell[keep_cell]],
        add_parameter=likelihood.add_parameter[add], add_cell=cell_number[likelihood.add_cell[add]],
        add_up=likelihood.add_up[add], add_down=likelihood.add_down[add],
        scale_parameter=likelihood.scale_parameter[entry], scale_block=block_number[likelihood.scale_block[entry]],
        scale_log_up=likelihood.scale_log_up[entry], scale_log_down=likelihood.scale_log_down[entry],
        scale_coefficients=likelihood.scale_coefficients[:, entry],
        spread_entry=entry_number[likelihood.spread_entry[spread]],
        spread_cell=cell_number[likelihood.spread_cell[spread]], factor=likelihood.factor[:, keep_cell],
        slope_cell=cell_number[likelihood.slope_cell[slope]], slope_parameter=likelihood.slope_parameter[slope],
    )  # fmt: skip
