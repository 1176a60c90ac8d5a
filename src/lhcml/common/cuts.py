"""Cuts as the configuration writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def in_range(values: Any, limits: Mapping[str, float]) -> Any:
    """Tell which values are within `min <= value <= max`; either limit may be absent. NaN is never within."""
    passes = values == values
    if "min" in limits:
        passes = passes & (values >= limits["min"])
    if "max" in limits:
        passes = passes & (values <= limits["max"])
    return passes
