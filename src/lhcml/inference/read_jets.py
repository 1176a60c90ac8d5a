"""Reading of the jets that enter templates: few feature columns, joined with the scores row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lhcml.common.errors import UserError
from lhcml.common.files import read_json, read_parquet, require_finite
from lhcml.inference.likelihood import Array

IDENTITY = ("run", "luminosityBlock", "event", "jet_rank")


@dataclass(frozen=True)
class Jets:
    """Selected jets of a dataset under one shift, N rows.

    Attributes
    ----------
    observable : array of shape (N,)
        Values to histogram, e.g. the jet mass in GeV.
    score : array of shape (N,)
        Tagger score, 0 background-like to 1 signal-like.
    split : array of str, shape (N,)
        "train", "validation" or "test".
    weights : dict of arrays of shape (N,)
        Generator weights by shift, among them "nominal".
    event : array of int, shape (N,)
        Number of the event a row belongs to, counted from 0; the jets of one event share it.
    """

    observable: Array
    score: Array
    split: NDArray[np.str_]
    weights: dict[str, Array]
    event: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.observable)


def feature_files(folder: Path, dataset: str, shift: str, chunks: int) -> list[Path]:
    """Return the feature files of a dataset under a shift, in order of chunks."""
    return [folder / dataset / shift / f"{chunk}.parquet" for chunk in range(chunks)]


def read_jets(
    features: Sequence[Path], scores: Path, observable: str, weight_shifts: Sequence[str] = (), weighted: bool = True
) -> Jets:
    """Read the jets of one dataset under one shift.

    Parameters
    ----------
    features : sequence of Path
        Feature files, in order of chunks.
    scores : Path
        Score file with the rows of all chunks in the same order.
    observable : str
        Feature column to histogram.
    weight_shifts : sequence of str
        Weight columns to read besides the nominal one, without "weight_".
    weighted : bool
        Whether there are weights; recorded collisions have none and count one each.

    Raises
    ------
    UserError
        If a column is missing, rows of features and scores are not of the same jets, or a number is not finite.
    """
    import awkward as ak

    shifts = ["nominal", *weight_shifts] if weighted else []
    columns = dict.fromkeys([*IDENTITY, "split", observable, *(f"weight_{shift}" for shift in shifts)])
    rows = read_parquet(features, list(columns))
    scored = read_parquet(scores, [*IDENTITY, "score"])
    where = f"{features[0].parent if features else 'no feature file'}"
    if len(rows) != len(scored):
        raise UserError(
            f"{where} has {len(rows)} jets, {scores} has {len(scored)}",
            "both must come from the same features: delete the scores and run again",
        )
    for name in IDENTITY:
        differ = np.flatnonzero(ak.to_numpy(rows[name]) != ak.to_numpy(scored[name]))
        if differ.size:
            raise UserError(
                f"row {differ[0]} of {where} and of {scores} are different jets: {name} is {rows[name][differ[0]]} "
                f"and {scored[name][differ[0]]} ({differ.size} such rows)",
                "scores must keep the order of the feature files: delete the scores and run again",
            )
    values = {name: ak.to_numpy(rows[name]).astype(float) for name in columns if name not in (*IDENTITY, "split")}
    values["score"] = ak.to_numpy(scored["score"]).astype(float)
    for name, column in values.items():
        require_finite(f"column {name}", column, str(scores) if name == "score" else where)
    weights = {shift: values[f"weight_{shift}"] for shift in shifts} or {"nominal": np.ones(len(rows))}
    return Jets(values[observable], values["score"], ak.to_numpy(rows["split"]).astype(str), weights, _events(rows))


def _events(rows: Sequence[object]) -> NDArray[np.intp]:
    """Return the number of the event of each row; the jets of one event follow each other."""
    import awkward as ak

    identity = np.stack([ak.to_numpy(rows[name]) for name in IDENTITY[:3]])  # type: ignore[call-overload]
    new = np.any(identity[:, 1:] != identity[:, :-1], axis=0)
    return np.concatenate([[0], np.cumsum(new)]).astype(np.intp) if identity.shape[1] else np.empty(0, np.intp)


def read_normalisation(
    path: Path, datasets: Sequence[str], shifts: Sequence[str] = (), factors: Mapping[str, float] | None = None
) -> dict[str, dict[str, float]]:
    """Return the factors from generator weight to pb of each dataset, nominal and by weight shift.

    The factor of a weight shift divides by the sum of the shifted weights of all generated events, so that a shower
    variation changes shapes and acceptances and not the cross section.

    Parameters
    ----------
    path : Path
        `cutflow.json` of the channel.
    datasets : sequence of str
        Simulated datasets.
    shifts : sequence of str
        Weight shifts; a dataset that lacks one is an error only where the shift is used.
    factors : mapping of str to float, optional
        Further factors of datasets (K-factors, efficiencies of selections that are not simulated).

    Raises
    ------
    UserError
        If a dataset is missing there or has no cross section.
    """
    cutflow = read_json(path)
    result = {}
    for name in datasets:
        block = cutflow.get("datasets", {}).get(name)
        if block is None:
            raise UserError(f"{path} has no dataset {name!r}", "skim it: add it to the channel's datasets")
        factor = block.get("weight_to_pb")
        if factor is None or not np.isfinite(factor) or factor <= 0:
            raise UserError(
                f"{path}: dataset {name!r} has no cross section (weight_to_pb is {factor})",
                f"set channels.<channel>.datasets.{name}.cross_section in pb",
            )
        scale = float(factor) * (factors or {}).get(name, 1.0)
        sums = block.get("sum_weight", {})
        result[name] = {"nominal": scale}
        result[name] |= {shift: scale * sums["nominal"] / sums[shift] for shift in shifts if sums.get(shift)}
    return result
