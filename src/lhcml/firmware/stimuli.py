"""The words that every gate is checked on: `stimuli.npz`.

All test events come first, then words over the whole grid of the inputs, which no event need ever have: all inputs at
their lowest, at their highest, at zero, and seeded random words, up to the number asked for, and a fifth of it in any
case. They reach overflows that events of a simulation do not.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from lhcml.common.errors import UserError
from lhcml.common.files import write_atomic
from lhcml.firmware.encoding import Array, Encoding

# of the number asked for: so many are words over the whole grid at least
RANDOM_SHARE = 0.2
LEAST = 10


@dataclass(frozen=True)
class Stimuli:
    """Inputs on the grid, what the quantised model answers, and how many of the first rows are test events."""

    inputs: Array
    outputs: Array
    events: int


def draw_inputs(events: Array, encoding: Encoding, count: int, seed: int) -> tuple[Array, int]:
    """Return at least `count` rows of inputs on the grid and how many of the first are test events.

    Parameters
    ----------
    events : array, shape (events, inputs)
        Encoded test events; all are taken.
    encoding : Encoding
        Format of the words.
    count : int
        Least number of rows, at least 10.
    seed : int
        Seed of the random words.

    Raises
    ------
    UserError
        If there is no event or `count` is too small.
    """
    if count < LEAST:
        raise UserError(f"{count} stimuli", f"set `stimuli` to {LEAST} or more; 10000 make a gate worth its name")
    if not len(events):
        raise UserError("no test events for the stimuli", "give more events, or a larger share to the test split")
    generator = np.random.default_rng(seed)
    width = events.shape[1]
    added = max(count - len(events), int(np.ceil(RANDOM_SHARE * count)), 3)
    corners = np.repeat([[encoding.low], [encoding.high], [0.0]], width, axis=1)
    words = generator.integers(
        round(encoding.low / encoding.step),
        round(encoding.high / encoding.step),
        size=(added - len(corners), width),
        endpoint=True,
    )
    return np.concatenate([events, corners, words * encoding.step]), len(events)


def write_stimuli(path: str | Path, inputs: ArrayLike, outputs: ArrayLike, events: int) -> None:
    """Write stimuli and the answers of the reference.

    Parameters
    ----------
    path : path
        Final name, `stimuli.npz`.
    inputs : array_like, shape (rows, inputs)
        Words on the grid.
    outputs : array_like, shape (rows,) or (rows, outputs)
        Answers of the quantised model.
    events : int
        How many of the first rows are test events.
    """
    rows = np.asarray(inputs, dtype=np.float64)
    answers = np.asarray(outputs, dtype=np.float64).reshape(len(rows), -1)
    with write_atomic(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, inputs=rows, outputs=answers, events=np.int64(events))


def read_stimuli(path: str | Path) -> Stimuli:
    """Read and check stimuli.

    Raises
    ------
    UserError
        If the file is missing, damaged, or its arrays do not fit each other.
    """
    fix = "delete it and run again"
    try:
        # opened here: NumPy leaves a file open that is no archive
        with Path(path).open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            stimuli = Stimuli(file["inputs"], file["outputs"], int(file["events"]))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"cannot read {path} as stimuli: {error}", fix) from error
    inputs, outputs = stimuli.inputs, stimuli.outputs
    if inputs.ndim != 2 or outputs.ndim != 2 or len(inputs) != len(outputs) or not len(inputs):
        raise UserError(f"{path} holds inputs of shape {inputs.shape} and outputs of shape {outputs.shape}", fix)
    if not 0 <= stimuli.events <= len(inputs):
        raise UserError(f"{path} says {stimuli.events} of its {len(inputs)} rows are events", fix)
    if not (np.isfinite(inputs).all() and np.isfinite(outputs).all()):
        raise UserError(f"{path} holds NaN or infinity", fix)
    return stimuli
