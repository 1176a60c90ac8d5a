"""How long jobs take together, on so many cores."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence, Set


def elapsed_time(
    seconds: Sequence[float], threads: Sequence[int], waits_for: Mapping[int, Set[int]], cores: int
) -> float:
    """Return the time from the first start to the last end of jobs on a number of cores.

    A job starts as soon as all that it waits for has ended and its cores are free; of several, the one that became
    ready first. A job that wants more cores than there are takes all of them, as Snakemake lets it.

    Parameters
    ----------
    seconds, threads : sequence
        Duration and cores of each job.
    waits_for : mapping of int to set of int
        Positions of the jobs that each job waits for.
    cores : int
        Cores, or slots of a batch system.

    Raises
    ------
    ValueError
        If jobs wait for each other in a circle.
    """
    left = {job: len(waits_for.get(job, ())) for job in range(len(seconds))}
    followers: dict[int, list[int]] = {}
    for job, others in waits_for.items():
        for other in others:
            followers.setdefault(other, []).append(job)
    ready = [(0.0, job) for job, count in left.items() if count == 0]
    heapq.heapify(ready)
    running: list[tuple[float, int]] = []
    now, free, ended = 0.0, cores, 0
    while ready or running:
        waiting = []
        while ready and free:
            since, job = heapq.heappop(ready)
            wanted = min(threads[job], cores)
            if wanted > free:
                waiting.append((since, job))
                continue
            free -= wanted
            heapq.heappush(running, (now + seconds[job], job))
        for entry in waiting:
            heapq.heappush(ready, entry)
        now, job = heapq.heappop(running)
        free += min(threads[job], cores)
        ended += 1
        for follower in followers.get(job, ()):
            left[follower] -= 1
            if not left[follower]:
                heapq.heappush(ready, (now, follower))
    if ended < len(seconds):
        raise ValueError("jobs wait for each other in a circle")
    return now
