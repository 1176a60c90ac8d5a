"""Events or jets of background and signals, as the training and the quantisation of a network read them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lhcml.common.errors import UserError
from lhcml.common.identity import JET_IDENTITY
from lhcml.firmware.detection import area
from lhcml.firmware.encoding import Array, Encoding
from lhcml.firmware.input_table import read_inputs

# families that learn from the background alone
ANOMALY = ("vae", "autoencoder")


@dataclass(frozen=True)
class Samples:
    """Rows of all datasets.

    Attributes
    ----------
    names : tuple of str
        Names of the inputs.
    inputs : ndarray of float64, shape (rows, inputs)
        Raw physical values.
    dataset, split : ndarray of str, shape (rows,)
        Dataset; "train", "validation" or "test".
    label : ndarray of int64, shape (rows,)
        0 background, 1 signal.
    weight : ndarray of float64, shape (rows,)
        Weight in pb for events.
    identity : ndarray of int64, shape (rows, 3 or 4)
        run, luminosityBlock, event, and jet_rank for jets.
    """

    names: tuple[str, ...]
    inputs: Array
    dataset: NDArray[np.str_]
    split: NDArray[np.str_]
    label: NDArray[np.int64]
    weight: Array
    identity: NDArray[np.int64]

    def __getitem__(self, rows: NDArray[np.bool_]) -> Samples:
        return Samples(
            self.names, self.inputs[rows], self.dataset[rows], self.split[rows], self.label[rows], self.weight[rows],
            self.identity[rows],
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.label)

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """Return the columns of scores.parquet that do not depend on a model."""
        who = {
            name: np.ascontiguousarray(self.identity[:, n])
            for n, name in enumerate(JET_IDENTITY[: self.identity.shape[1]])
        }
        rest = {"split": self.split, "weight": self.weight, "label": self.label}
        return {"dataset": self.dataset, **who, **rest}


def named_path(text: str) -> tuple[str, Path]:
    """Read `name=path` of a command line.

    Raises
    ------
    argparse.ArgumentTypeError
        If there is no name or no path.
    """
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"not of the form dataset=path: {text!r}")
    return name, Path(path)


def read_samples(background: Sequence[tuple[str, Path]], signals: Sequence[tuple[str, Path]]) -> Samples:
    """Read the inputs of all datasets.

    Parameters
    ----------
    background, signals : sequence of (name, path)
        Datasets and their files of inputs.

    Raises
    ------
    UserError
        If a file is damaged, files have different inputs, or the background has no events.
    """
    tables = [
        (name, label, read_inputs(path)) for label, group in enumerate((background, signals)) for name, path in group
    ]
    first = tables[0]
    for name, _, table in tables:
        if table.names != first[2].names or table.identity.shape[1] != first[2].identity.shape[1]:
            raise UserError(
                f"the inputs of {name} and {first[0]} are not the same", "collect both with the same configuration"
            )
    sizes = [len(table.weight) for _, _, table in tables]
    return Samples(
        first[2].names,
        np.concatenate([table.inputs for _, _, table in tables]).astype(np.float64),
        np.repeat([name for name, _, _ in tables], sizes),
        np.concatenate([table.split for _, _, table in tables]),
        np.repeat([label for _, label, _ in tables], sizes),
        np.concatenate([table.weight for _, _, table in tables]),
        np.concatenate([table.identity for _, _, table in tables]),
    )


def choose_training(samples: Samples, family: str, split: str) -> Samples:
    """Return the rows of a split that a network may learn from, their weights of mean 1.

    For "vae" and "autoencoder" the background, events weighted by their cross section. For "dense" both classes, of the
    same total weight each.

    Raises
    ------
    UserError
        If there are fewer than 2 rows (of a class), or weights are negative or all 0.
    """
    rows = samples.split == split
    if family in ANOMALY:
        rows &= samples.label == 0
    chosen = samples[rows]
    weight = chosen.weight.copy()
    for label in (0,) if family in ANOMALY else (0, 1):
        mine = chosen.label == label
        kind = ("background", "signal")[label]
        total = weight[mine].sum()
        if mine.sum() < 2 or not np.all(weight[mine] >= 0) or not total > 0:
            raise UserError(
                f"{int(mine.sum())} events of {kind} of total weight {total:g} in the {split} split",
                "generate more events, loosen the selection, or choose other datasets; weights must not be negative",
            )
        weight[mine] *= mine.sum() / total if family in ANOMALY else len(chosen) / (2 * total)
    return replace(chosen, weight=weight)


def encode_samples(samples: Samples, encoding: Encoding, *, rounded: bool) -> tuple[Array, Mapping[str, float]]:
    """Return encoded inputs and the saturated shares; see `Encoding.encode`.

    Raises
    ------
    UserError
        If the names of the inputs are not those of the encoding, or values are NaN or infinite.
    """
    if samples.names != encoding.names:
        raise UserError("the inputs are not those that the encoding was made for", "delete the model and run again")
    return encoding.encode(samples.inputs, rounded=rounded)


def areas(samples: Samples, score: Array, split: str) -> dict[str, float | None]:
    """Return the area under the ROC curve of each signal against all background of a split; None without events."""
    rows = samples.split == split
    background = rows & (samples.label == 0)
    found: dict[str, float | None] = {}
    for name in dict.fromkeys(samples.dataset[samples.label == 1].tolist()):
        signal = rows & (samples.dataset == name) & (samples.label == 1)
        found[name] = None
        if signal.any() and background.any():
            both = signal | background
            found[name] = area(score[both], signal[both], samples.weight[both], f"{name} and background")
    return found
