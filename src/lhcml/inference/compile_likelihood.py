"""Compilation of a pyhf model into the flat arrays of a `Likelihood`."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.inference.likelihood import SMALLEST_RATE, Array, Indices, Likelihood, Term, code4_coefficients


def compile_likelihood(model: Any) -> Likelihood:
    """Compile a `pyhf.Model`.

    Raises
    ------
    RuntimeError
        If the compiled function differs from pyhf's: a fault of this module, never of the model.
    """
    config = model.config
    names = list(config.par_names)
    channels, cells, lists = _read_cells(model)
    nominal = np.concatenate([part["data"] for part in cells])
    size, count = len(nominal), len(names)
    depth = max([len(part["factors"]) for part in cells] + [1])
    factor = np.full((depth, size), count)
    bin_of_cell: Indices = np.empty(size, np.intp)
    block_of_cell: Indices = np.empty(size, np.intp)
    samples = []
    for block, part in enumerate(cells):
        here = part["cells"]
        bin_of_cell[here] = np.arange(channels[part["channel"]].start, channels[part["channel"]].stop)
        block_of_cell[here] = block
        samples.append((part["channel"], part["sample"], here))
        for layer, indices in enumerate(part["factors"]):
            factor[layer, here] = indices
    add = {key: np.concatenate([[], *lists[f"add_{key}"]]) for key in ("parameter", "cell", "up", "down")}
    scale = np.array(lists["scale"], float).reshape(-1, 4)
    # each scale entry acts on all cells of its block
    spread = [
        (np.full(part.stop - part.start, entry), np.arange(part.start, part.stop))
        for entry, block in enumerate(scale[:, 1].astype(int))
        for part in [samples[block][2]]
    ]
    spread_entry = np.concatenate([[], *(entry for entry, _ in spread)]).astype(np.intp)
    spread_cell = np.concatenate([[], *(cell for _, cell in spread)]).astype(np.intp)
    scale_parameter, add_parameter = scale[:, 0].astype(np.intp), add["parameter"].astype(np.intp)
    bounds = np.array(config.suggested_bounds(), float)
    normal, poisson = _read_constraints(config)
    constrained: NDArray[np.bool_] = np.zeros(count, bool)
    constrained[normal.parameter] = constrained[poisson.parameter] = True
    likelihood = Likelihood(
        names=names, start=np.array(config.suggested_init(), float), lower=bounds[:, 0], upper=bounds[:, 1],
        fixed=np.array(config.suggested_fixed(), bool), constrained=constrained,
        poi=int(config.poi_index), channels=channels, samples=samples, auxdata=np.array(config.auxdata, float),
        nominal=nominal, bin_of_cell=bin_of_cell, block_of_cell=block_of_cell,
        add_parameter=add_parameter, add_cell=add["cell"].astype(np.intp), add_up=add["up"], add_down=add["down"],
        scale_parameter=scale_parameter, scale_block=scale[:, 1].astype(np.intp),
        scale_log_up=scale[:, 2], scale_log_down=scale[:, 3],
        scale_coefficients=code4_coefficients(scale[:, 2], scale[:, 3]),
        spread_entry=spread_entry, spread_cell=spread_cell, factor=factor,
        slope_cell=np.concatenate([add["cell"], spread_cell, np.tile(np.arange(size), depth)]).astype(np.intp),
        slope_parameter=np.concatenate([add_parameter, scale_parameter[spread_entry], factor.ravel()]),
        normal=normal, poisson=poisson,
    )  # fmt: skip
    _compare_with_pyhf(likelihood, model)
    return likelihood


def _read_cells(model: Any) -> tuple[dict[str, slice], list[dict[str, Any]], dict[str, list[Any]]]:
    """Return channels, a record per sample of a channel, and the entries of additive and scaling modifiers."""
    config = model.config
    lists: dict[str, list[Any]] = defaultdict(list)
    channels = {name: config.channel_slices[name] for name in config.channels}
    specs = {channel["name"]: channel for channel in model.spec["channels"]}
    cells: list[dict[str, Any]] = []
    first = 0
    # bins of a staterror count on through the channels that share its name
    stat_bins: dict[str, int] = defaultdict(int)
    for channel, part in channels.items():
        bins = np.arange(part.stop - part.start)
        seen: set[str] = set()
        for sample in specs[channel]["samples"]:
            data = np.array(sample["data"], float)
            here = slice(first, first + len(bins))
            record = {"channel": channel, "sample": sample["name"], "data": data, "cells": here, "factors": []}
            for modifier in sample["modifiers"]:
                kind, values = modifier["type"], modifier["data"]
                index = config.par_slice(modifier["name"]).start
                if kind == "histosys":
                    up, down = np.array(values["hi_data"], float) - data, data - np.array(values["lo_data"], float)
                    # published templates are full of bins that a variation leaves alone
                    moved = np.flatnonzero((up != 0) | (down != 0))
                    lists["add_parameter"].append(np.full(len(moved), index))
                    lists["add_cell"].append(moved + first)
                    lists["add_up"].append(up[moved])
                    lists["add_down"].append(down[moved])
                elif kind == "normsys":
                    lists["scale"].append((index, len(cells), np.log(values["hi"]), np.log(values["lo"])))
                elif kind in ("normfactor", "lumi"):
                    record["factors"].append(np.full(len(bins), index))
                elif kind == "staterror":
                    seen.add(modifier["name"])
                    record["factors"].append(index + stat_bins[modifier["name"]] + bins)
                else:  # shapesys, shapefactor
                    record["factors"].append(index + bins)
            cells.append(record)
            first += len(bins)
        for name in seen:
            stat_bins[name] += len(bins)
    return channels, cells, lists


def _read_constraints(config: Any) -> tuple[Term, Term]:
    """Return the normal and the Poisson constraint terms of a pyhf model configuration."""
    rows: dict[str, list[tuple[int, int, float]]] = {"normal": [], "poisson": []}
    position = 0
    for name in config.auxdata_order:
        paramset = config.param_set(name)
        kind = paramset.pdf_type
        scale = paramset.width() if kind == "normal" else paramset.factors
        for offset in range(paramset.n_parameters):
            rows[kind].append((config.par_slice(name).start + offset, position, float(scale[offset])))
            position += 1
    tables = [np.array(rows[kind], float).reshape(-1, 3) for kind in ("normal", "poisson")]
    normal, poisson = (Term(table[:, 0].astype(np.intp), table[:, 1].astype(np.intp), table[:, 2]) for table in tables)
    return normal, poisson


def _compare_with_pyhf(likelihood: Likelihood, model: Any) -> None:
    """Raise RuntimeError if expected data and likelihood differ from pyhf's at a point away from the start."""
    shift = np.where(np.arange(len(likelihood.start)) % 2, 0.07, -0.05)
    point = np.where(likelihood.fixed, likelihood.start, likelihood.start * (1 + shift) + shift)
    point = np.clip(point, likelihood.lower, likelihood.upper)
    ours, theirs = likelihood.expected(point), np.asarray(model.expected_data(point), float)
    if not np.allclose(ours, theirs, rtol=1e-9, atol=1e-9):
        raise RuntimeError("the compiled model and pyhf expect different data; please report the workspace")
    if (ours[: likelihood.bins] <= SMALLEST_RATE).any():
        return  # pyhf's logarithm has no value there
    data: Array = np.append(likelihood.rates(likelihood.start), likelihood.auxdata)
    both = likelihood.twice_nll(point, data), -2 * float(model.logpdf(point, data)[0])
    if not np.isclose(*both, rtol=1e-9, atol=1e-7):
        raise RuntimeError(f"-2 ln L is {both[0]} here and {both[1]} in pyhf; please report the workspace")
