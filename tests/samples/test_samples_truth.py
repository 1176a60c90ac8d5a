from __future__ import annotations

import numpy as np
import pytest

from lhcml.samples.generator import EventRecord
from lhcml.samples.truth import (
    FROM_HARD_PROCESS,
    IS_DIRECT_PROMPT_TAU_DECAY_PRODUCT,
    IS_FIRST_COPY,
    IS_HARD_PROCESS,
    IS_LAST_COPY,
    IS_PROMPT,
    follow,
    prune,
)


def record(rows: list[tuple[int, int, int]], events: int = 1) -> EventRecord:
    """Events of the same particles (code, Pythia status, mother; mother = own position: none)."""
    size = len(rows)
    code, status, mother = (np.tile(np.array(column), events) for column in zip(*rows, strict=True))
    event = np.repeat(np.arange(events), size)
    momentum = np.arange(1.0, size * events + 1)
    return EventRecord(
        offsets=np.arange(events + 1) * size,
        event=event,
        pdg_id=code,
        status=status,
        mother=mother + event * size,
        px=momentum,
        py=0 * momentum,
        pz=momentum,
        energy=2 * momentum,
        mass=0 * momentum,
        weight=np.ones(events),
        variations=np.ones((events, 0)),
    )


# t -> b W, W -> tau nu, tau -> mu nu nu; b radiates a gluon and ends in a hadron with a muon
TOP = [
    (90, -11, 0),  # 0 system
    (2212, -12, 1),  # 1 proton
    (21, -21, 1),  # 2
    (6, -22, 2),  # 3
    (6, -62, 3),  # 4 last copy
    (24, -22, 4),  # 5
    (5, -23, 4),  # 6
    (24, -52, 5),  # 7 last copy
    (5, -51, 6),  # 8 last copy
    (21, -51, 6),  # 9 shower gluon
    (-15, -23, 7),  # 10
    (16, 23, 7),  # 11
    (-13, 91, 10),  # 12 tau decay
    (14, 91, 10),  # 13
    (-16, 91, 10),  # 14
    (-521, -83, 8),  # 15 hadron
    (13, 91, 15),  # 16 muon of a hadron
    (22, 91, 15),  # 17
]


def test_pruned_chain():
    kept = prune(record(TOP, events=2))
    half = len(kept.pdg_id) // 2
    assert kept.counts.tolist() == [half, half]
    codes = kept.pdg_id[:half].tolist()
    assert codes == [21, 6, 6, 24, 5, 24, 5, -15, 16, -13, 14, -16]
    # mothers are counted in their event, so both events agree
    assert kept.mother[:half].tolist() == kept.mother[half:].tolist() == [-1, 0, 1, 2, 2, 3, 4, 5, 5, 7, 7, 7]
    assert kept.status[:half].tolist() == [21, 22, 62, 22, 23, 52, 51, 2, 1, 1, 1, 1]


def test_flags():
    kept = prune(record(TOP))
    flags = dict(enumerate(kept.status_flags.tolist()))
    top, last_top, last_bottom, tau, muon = (flags[i] for i in (1, 2, 6, 7, 9))
    assert top == IS_PROMPT | IS_HARD_PROCESS | FROM_HARD_PROCESS | IS_FIRST_COPY
    assert last_top == IS_PROMPT | FROM_HARD_PROCESS | IS_LAST_COPY
    assert last_bottom == IS_PROMPT | FROM_HARD_PROCESS | IS_LAST_COPY
    assert tau & IS_PROMPT
    assert tau & IS_LAST_COPY
    assert muon & IS_DIRECT_PROMPT_TAU_DECAY_PRODUCT
    assert not muon & IS_PROMPT


def test_follow():
    assert follow(np.array([0, 0, 1, 2, 3])).tolist() == [0, 0, 0, 0, 0]
    chain = np.maximum(np.arange(1000) - 1, 0)
    assert (follow(chain) == 0).all()
    with pytest.raises(ValueError, match="circle"):
        follow(np.array([1, 2, 0]))


def test_selection_of_events_keeps_links():
    events = record(TOP, events=3)
    second = events.of_events(np.array([False, True, True]))
    assert second.size == 2
    assert (second.mother == record(TOP, events=2).mother).all()
    assert second.px[0] == events.px[len(TOP)]
