"""Sums of weights and cross section of a file: what turns weighted counts into pb."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lhcml.common.errors import UserError
from lhcml.skim.read_source import Source
from lhcml.skim.remote import FETCH_AGAIN, read_error
from lhcml.skim.systematics import SHOWER_WEIGHTS


@dataclass(frozen=True)
class Runs:
    """Sums over the tree `Runs`: generated events, sum of weights by weight shift, cross section in pb if there."""

    count: int
    sum_weight: dict[str, float]
    cross_section_pb: float | None


def read_runs(source: Source) -> Runs | None:
    """Return the sums of the tree `Runs`, or None if the file has none with generator sums.

    `PSSumw` is, by NanoAOD's definition, the sum of shower-varied weights divided by `genEventSumw`. The cross section
    is the mean over the rows weighted with their events.

    Raises
    ------
    UserError
        If the tree is damaged or a sum is not finite.
    """
    if "Runs" not in source.directory.keys(cycle=False):
        return None
    runs = source.directory["Runs"]
    # the first versions of NanoAOD wrote these names with an underscore at the end
    found = {name.rstrip("_"): name for name in runs.keys()}  # noqa: SIM118
    if not {"genEventCount", "genEventSumw"} <= found.keys():
        return None

    def column(name: str) -> Any:
        try:
            array = runs[found[name]].array()
            values = np.array(array.tolist(), dtype=object if name == "PSSumw" else float)
        except Exception as error:
            failure = f"cannot read {name} of the tree Runs of {source.path}"
            raise read_error(source.path, failure, error, f"the file is damaged: {FETCH_AGAIN}") from error
        if values.dtype == float and not np.isfinite(values).all():
            raise UserError(f"{name} of the tree Runs of {source.path} is NaN or infinite", "make the file again")
        return values

    count, sums = column("genEventCount"), column("genEventSumw")
    sum_weight = {"nominal": float(sums.sum())}
    shower = column("PSSumw") if "PSSumw" in found else np.empty((0, 0))
    if shower.ndim == 2 and shower.shape[1] == len(SHOWER_WEIGHTS):
        totals = (shower.astype(float) * sums[:, None]).sum(axis=0)
        sum_weight |= {shift: float(totals[position]) for shift, position in SHOWER_WEIGHTS.items()}
    cross_section = None
    if "crossSection" in found and count.sum() > 0:
        cross_section = float(np.average(column("crossSection"), weights=count))
    return Runs(int(count.sum()), sum_weight, cross_section)


def normalise(
    runs: Runs | None, events: int, sum_weight: Mapping[str, float], cross_section: float | None, data: bool
) -> dict[str, Any]:
    """Return the normalisation block of a file's JSON.

    Parameters
    ----------
    runs : Runs or None
        Result of `read_runs`.
    events : int
        Events in the tree `Events`.
    sum_weight : mapping of str to float
        Sums of the nominal weight and of the weight shifts over them.
    cross_section : float or None
        Cross section of the dataset in the configuration, pb.
    data : bool
        Collision data: no normalisation.
    """
    block: dict[str, Any] = {
        "normalisation_from": None, "count": events, "sum_genWeight": None, "sum_weight": {},
        "cross_section_pb": None, "cross_section_from": None,
    }  # fmt: skip
    if data:
        return block
    sums = dict(sum_weight)
    block["normalisation_from"] = "Events"
    # a `Runs` that counts fewer events than there are was not kept up when files were merged
    if runs is not None and runs.count >= events:
        block |= {"normalisation_from": "Runs", "count": runs.count}
        # where `Runs` lacks the shower sums, the ratio to nominal is that of the events in the file
        ratio = runs.sum_weight["nominal"] / sums["nominal"] if sums["nominal"] else 0.0
        sums = {shift: runs.sum_weight.get(shift, value * ratio) for shift, value in sums.items()}
    if cross_section is not None:
        block |= {"cross_section_pb": cross_section, "cross_section_from": "configuration"}
    elif runs is not None and runs.cross_section_pb is not None:
        block |= {"cross_section_pb": runs.cross_section_pb, "cross_section_from": "Runs"}
    return block | {"sum_genWeight": sums["nominal"], "sum_weight": sums}
