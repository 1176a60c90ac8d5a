"""The gate between two implementations of a model: they agree in every bit on every event, or they do not agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Comparison:
    """Outcome of a comparison; a mismatch is an event of which any output differs."""

    events: int
    mismatches: int
    max_abs_diff: float
    first: str

    def counts(self) -> dict[str, Any]:
        """Return what the JSON files of the gates say."""
        return {"events": self.events, "mismatches": self.mismatches, "max_abs_diff": self.max_abs_diff}


def compare_outputs(reference: NDArray[np.float64], found: NDArray[np.float64]) -> Comparison:
    """Compare outputs with those of the reference, without tolerance.

    Parameters
    ----------
    reference, found : array, shape (events, outputs)
        Outputs; of `found` any shape with as many numbers.

    Returns
    -------
    Comparison
        With a sentence on the first event that differs, empty if none does.
    """
    answers = np.asarray(found, dtype=np.float64).reshape(reference.shape)
    # NaN differs from everything
    different = ~(answers == reference)
    rows = different.any(axis=1)
    # the largest number there is stands for differences that are none: NaN and infinity have no JSON
    largest = float(np.fmax.reduce(np.abs(answers - reference), axis=None, initial=0.0))
    largest = largest if np.isfinite(answers).all() else float(np.finfo(np.float64).max)
    first = ""
    if rows.any():
        event = int(np.argmax(rows))
        output = int(np.argmax(different[event]))
        first = f"event {event}, output {output}: {reference[event, output]} expected, {answers[event, output]} found"
    return Comparison(len(reference), int(np.count_nonzero(rows)), largest, first)
