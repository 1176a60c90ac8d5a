"""Test events of the processes that an evaluation compares: weights, scores of all points, decisions of the menu."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.errors import UserError
from lhcml.common.files import parquet_columns
from lhcml.common.identity import EVENT_IDENTITY, JET_IDENTITY
from lhcml.firmware.detection import Floats, Sample, join_samples, make_sample
from lhcml.firmware.input_table import InputTable, read_inputs
from lhcml.firmware.menu import Bools, menu_decisions, takes_any

TEST = "test"
# the score of the float network, and of no network
FLOAT, SUM_PT = "float", "sum_pt"


@dataclass(frozen=True)
class Process:
    """Test events of one dataset.

    Attributes
    ----------
    weights : ndarray of float64, shape (events,)
        Scaled up so that they stand for all events of the dataset, the training and validation parts too.
    scores : dict of str to ndarray of float64
        Scores by name.
    lines : dict of str to ndarray of bool
        Decisions of the lines of the menu; empty without a menu.
    menu : ndarray of bool, shape (events,)
        What any line takes.
    """

    weights: Floats
    scores: dict[str, Floats]
    lines: dict[str, Bools]
    menu: Bools


def read_scores(path: Path, dataset: str) -> dict[str, NDArray[Any]]:
    """Return identity (rows, 3 or 4), `score_float`, other scores `score_float_<name>` and `score` of the test rows.

    Raises
    ------
    UserError
        If the file cannot be read or a column is missing.
    """
    import pyarrow.parquet as pq

    present = parquet_columns(path)
    missing = [c for c in (*EVENT_IDENTITY, "dataset", "split", "score_float", "score") if c not in present]
    if missing:
        raise UserError(f"{path} has no column {', '.join(missing)}", "make it with quantise_network or quantise_trees")
    keys = [name for name in JET_IDENTITY if name in present]
    chosen = [("dataset", "==", dataset), ("split", "==", TEST)]
    names = [name for name in present if name == "score" or name.startswith("score_float")]
    table = pq.read_table(path, columns=[*keys, *names], filters=chosen)
    columns = {name: table[name].to_numpy().astype(np.float64) for name in names}
    return {"identity": np.stack([table[name].to_numpy().astype(np.int64) for name in keys], axis=1), **columns}


def match_rows(wanted: NDArray[np.int64], given: NDArray[np.int64], where: str) -> NDArray[np.intp]:
    """Return for each wanted row the position of the given row of the same identity.

    Raises
    ------
    UserError
        If identities repeat, or the two do not hold the same rows.
    """
    orders = [np.lexsort(rows.T[::-1]) for rows in (wanted, given)]
    first, second = wanted[orders[0]], given[orders[1]]
    if len(second) > 1 and bool(np.any(np.all(second[1:] == second[:-1], axis=1))):
        raise UserError(f"{where} has an event twice", "give each event its own run, luminosityBlock and event number")
    if first.shape != second.shape or not np.array_equal(first, second):
        raise UserError(
            f"{where} holds {len(given)} test rows, the inputs {len(wanted)}, or other ones",
            "make scores and inputs again from the same events",
        )
    place: NDArray[np.intp] = np.empty(len(wanted), np.intp)
    place[orders[0]] = orders[1]
    return place


def sum_pt(table: InputTable) -> Floats:
    """Return the scalar sum of the pT of all objects and of the missing momentum, in GeV."""
    columns = [place for place, name in enumerate(table.names) if name.endswith("_pt")]
    return np.asarray(table.inputs[:, columns].astype(np.float64).sum(axis=1))


def read_process(dataset: str, path: Path, files: Mapping[str, Path], menu: Mapping[str, Any] | None) -> Process | None:
    """Read the test events of a dataset; None if it has none.

    Parameters
    ----------
    dataset : str
        Its name in the scores.
    path : Path
        Its inputs.
    files : mapping of str to Path
        Files of scores by name.
    menu : mapping, optional
        Lines of the menu.

    Raises
    ------
    UserError
        If a file cannot be read or the files do not hold the same events.
    """
    table = read_inputs(path)
    test = table.split == TEST
    if not test.any():
        return None
    weights = table.weight[test]
    weights = weights * (table.weight.sum() / weights.sum())
    scores: dict[str, Floats] = {}
    for name, file in files.items():
        rows = read_scores(file, dataset)
        place = match_rows(table.identity[test], rows["identity"], f"{dataset} in {file}")
        # the float network is the same behind all points
        for column in rows:
            if column.startswith("score_float"):
                scores.setdefault(FLOAT + column.removeprefix("score_float"), rows[column][place])
        scores[name] = rows["score"][place]
    lines: dict[str, Bools] = {}
    if "met_pt" in table.names:
        scores[SUM_PT] = sum_pt(table)[test]
    if menu:
        lines = menu_decisions(table.inputs[test], table.names, menu)
    return Process(weights, scores, lines, takes_any(lines, len(weights)))


def joined(processes: Mapping[str, Process], name: str) -> Sample:
    """Return the scores of a name of several processes as one sample."""
    return join_samples([make_sample(process.scores[name], process.weights, key) for key, process in processes.items()])
