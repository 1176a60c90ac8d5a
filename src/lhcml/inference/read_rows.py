"""Reading of the jets or events that enter templates: few columns, joined with the scores of a tagger row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.errors import UserError
from lhcml.common.files import read_json, read_parquet, require_finite
from lhcml.inference.likelihood import Array

IDENTITY = ("run", "luminosityBlock", "event", "jet_rank")


@dataclass(frozen=True)
class Rows:
    """Selected rows of a table of a dataset under one shift: jets, or events; N of them.

    Attributes
    ----------
    columns : dict of arrays of shape (N,)
        What is histogrammed or cut on, e.g. "jet_mass" in GeV; with a tagger "score", 0 (background-like) to 1.
    weights : dict of arrays of shape (N,)
        Generator weights by shift, among them "nominal".
    event : array of int, shape (N,)
        Number of the event a row belongs to, counted from 0; the jets of one event share it.
    split : array of str, shape (N,), optional
        "train", "validation" or "test"; none for tables that no tagger is trained on.
    """

    columns: dict[str, Array]
    weights: dict[str, Array]
    event: NDArray[np.intp]
    split: NDArray[np.str_] | None = None

    def __len__(self) -> int:
        return len(self.event)

    def in_split(self, split: str) -> NDArray[np.bool_]:
        """Tell which rows are of a split; all of them for "all" and in a table without splits."""
        if split == "all" or self.split is None:
            return np.ones(len(self), bool)
        return np.asarray(self.split == split)


def table_files(folder: Path, dataset: str, shift: str, chunks: int, table: str) -> list[Path]:
    """Return the files of a table of a dataset under a shift, in order of chunks.

    Parameters
    ----------
    folder : Path
        Features of the channel.
    table : str
        "features" (a row a jet) or "levels" (a row an event).
    """
    below = folder / dataset / shift / ("levels" if table == "levels" else "")
    return [below / f"{chunk}.parquet" for chunk in range(chunks)]


def read_features(
    features: Sequence[Path],
    scores: Path | None,
    columns: Sequence[str],
    weight_shifts: Sequence[str] = (),
    weighted: bool = True,
) -> Rows:
    """Read the jets of one dataset under one shift.

    Parameters
    ----------
    features : sequence of Path
        Feature files, in order of chunks.
    scores : Path, optional
        Score file with the rows of all chunks in the same order; its score becomes the column "score".
    columns : sequence of str
        Feature columns to histogram or cut on.
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
    names = [*columns, *(f"weight_{shift}" for shift in shifts)]
    rows = read_parquet(features, list(dict.fromkeys([*IDENTITY, "split", *names])))
    where = f"{features[0].parent if features else 'no feature file'}"
    values = _numbers(rows, names, where)
    if scores is not None:
        values["score"] = _score(rows, scores, where)
    split = ak.to_numpy(rows["split"]).astype(str)
    return _rows(values, shifts, _events(rows), split)


def read_levels(
    files: Sequence[Path], columns: Sequence[str], weight_shifts: Sequence[str] = (), weighted: bool = True
) -> Rows:
    """Read the events of one dataset under one shift that pass the selection at detector level.

    Parameters and errors as in `read_features`; columns are those of the levels, e.g. reco_jet_pt.
    """
    import awkward as ak

    shifts = ["nominal", *weight_shifts] if weighted else []
    names = [*columns, *(f"weight_{shift}" for shift in shifts)]
    rows = read_parquet(files, list(dict.fromkeys([*IDENTITY[:3], "pass_reco", *names])))
    rows = rows[ak.to_numpy(rows["pass_reco"]).astype(bool)]
    values = _numbers(rows, names, f"{files[0].parent if files else 'no file of levels'}")
    return _rows(values, shifts, _events(rows), None)


def _rows(
    values: Mapping[str, Array], shifts: Sequence[str], event: NDArray[np.intp], split: NDArray[np.str_] | None
) -> Rows:
    """Return rows with weights and other columns apart; without weights each row counts one."""
    weights = {shift: values[f"weight_{shift}"] for shift in shifts} or {"nominal": np.ones(len(event))}
    return Rows(dict(values), weights, event, split)


def _numbers(rows: Any, names: Sequence[str], where: str) -> dict[str, Array]:
    """Return columns as floats, all finite."""
    import awkward as ak

    values = {name: ak.to_numpy(rows[name]).astype(float) for name in dict.fromkeys(names)}
    for name, column in values.items():
        require_finite(f"column {name}", column, where)
    return values


def _score(rows: Any, scores: Path, where: str) -> Array:
    """Return the scores of rows, after a check that they are of the same jets."""
    import awkward as ak

    scored = read_parquet(scores, [*IDENTITY, "score"])
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
    score = np.asarray(ak.to_numpy(scored["score"]), float)
    require_finite("column score", score, str(scores))
    return score


def _events(rows: Any) -> NDArray[np.intp]:
    """Return the number of the event of each row; the rows of one event follow each other."""
    import awkward as ak

    identity = np.stack([ak.to_numpy(rows[name]) for name in IDENTITY[:3]])
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
