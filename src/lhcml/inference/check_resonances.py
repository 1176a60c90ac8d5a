"""Check that the measurements of resonances name searches that the anomaly stage makes, before any job starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lhcml.common.errors import UserError


def check_resonances(measurements: Mapping[str, Any], anomaly: Mapping[str, Any], windows: Sequence[str]) -> None:
    """Check the blocks `resonance`.

    Parameters
    ----------
    measurements : mapping
        Section `inference.measurements`.
    anomaly : mapping
        Section `anomaly`.
    windows : sequence of str
        Signal regions that are searched, as in the names of folders.

    Raises
    ------
    UserError
        For the first fault, with its key, value and fix.
    """
    for name, measurement in measurements.items():
        block = measurement.get("resonance")
        if block is None:
            continue
        mixture = anomaly["mixtures"].get(block["mixture"], {})
        choices = {
            "mixture": list(anomaly["mixtures"]), "seed": mixture.get("seeds", []),
            "method": mixture.get("methods", list(anomaly["methods"])), "window": list(windows),
        }  # fmt: skip
        for key, known in choices.items():
            if key in block and block[key] not in known:
                raise UserError(
                    f"inference.measurements.{name}.resonance.{key}: there is no search with {block[key]!r}",
                    f"choose among: {', '.join(map(str, known)) or '(none defined)'}; or set the measurement to null",
                )
