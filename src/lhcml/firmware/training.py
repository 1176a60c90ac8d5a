"""What the float and the fixed-point training have in common: seeds, threads, batches, the best epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lhcml.common.cli import Progress
from lhcml.common.errors import UserError


def start_torch(seed: int, threads: int) -> Any:
    """Return torch with its seed, its number of threads, and deterministic algorithms."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    return torch


def batches(count: int, size: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the rows of an epoch in random order, `size` at a time; a last part of less than half of it is left out."""
    order = generator.permutation(count)
    for start in range(0, count, size):
        rows = order[start : start + size]
        if start == 0 or len(rows) >= size / 2:
            yield rows


def draw_rows(count: int, size: int, number: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield `number` batches of `size` of `count` rows, each row once before any comes again."""
    rows: np.ndarray = np.zeros(0, dtype=np.int64)
    for _ in range(number):
        if len(rows) < size:
            rows = np.concatenate([rows, generator.permutation(count)])
        yield rows[:size]
        rows = rows[size:]


def cosine_rate(step: int, steps: int, largest: float) -> float:
    """Return the learning rate of a step: up over the first tenth, then down to 0 along a cosine."""
    warm = max(steps // 10, 1)
    if step < warm:
        return largest * (step + 1) / warm
    return largest * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(steps - warm, 1)))


def train_epochs(
    epochs: int,
    patience: int,
    run_epoch: Callable[[int], dict[str, float]],
    keep: Callable[[], None],
) -> list[dict[str, float]]:
    """Run epochs and keep the best one, by the entry `figure` of what an epoch returns (lower is better).

    Parameters
    ----------
    epochs : int
        Largest number.
    patience : int
        Epochs without improvement after which training stops.
    run_epoch : callable
        Trains epoch n, returns what is written into the history.
    keep : callable
        Called after an epoch that is the best up to now.

    Raises
    ------
    UserError
        If a figure is NaN.
    """
    history: list[dict[str, float]] = []
    best, since = math.inf, 0
    progress = Progress(epochs, "epochs")
    for epoch in range(epochs):
        entry = {"epoch": epoch, **run_epoch(epoch)}
        history.append(entry)
        if math.isnan(entry["figure"]):
            raise UserError(f"the loss is NaN in epoch {epoch}", "lower `learning_rate` of the model")
        since += 1
        if entry["figure"] < best:
            best, since = entry["figure"], 0
            keep()
        progress.add(1)
        if since >= patience:
            break
    return history
