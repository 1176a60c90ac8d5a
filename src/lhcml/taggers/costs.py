"""What scoring costs: real jets to try on, and time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import awkward as ak

from lhcml.common.errors import UserError
from lhcml.common.files import read_parquet
from lhcml.taggers.inputs import columns_of
from lhcml.taggers.jets import Jets, concatenate, pack

# Jets of each feature file given, a fixed choice, so that a count is the same on any machine
JETS_PER_FILE = 256
REPETITIONS = 5


def sample_jets(files: Sequence[Path], inputs: Sequence[str]) -> Jets:
    """Return the first test jets of each file, with the multiplicities they have.

    Raises
    ------
    UserError
        If there is none.
    """
    parts = []
    for path in files:
        table = read_parquet(path, columns=[*columns_of(inputs), "split"])
        parts.append(pack(table[ak.to_numpy(table["split"] == "test")][:JETS_PER_FILE], inputs, str(path)))
    jets = concatenate(parts)
    if not len(jets):
        raise UserError("there is no test jet to measure the cost on", "generate more events")
    return jets


def jets_per_second(score: Callable[[], object], jets: int) -> float:
    """Return the median rate of `score`, which scores this many jets, over repetitions after a first one.

    Seconds are those of the processor, so that the rate of one thread is not that of the other jobs on the machine.
    """
    score()
    seconds = []
    for _ in range(REPETITIONS):
        begin = time.process_time()
        score()
        seconds.append(time.process_time() - begin)
    return jets / statistics.median(seconds)
