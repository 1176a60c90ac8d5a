"""The profile likelihood around a fit: minima with some parameters held, and the intervals that follow (MINOS)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lhcml.inference.likelihood import Array, Likelihood
from lhcml.inference.minimise import LOWER_MINIMUM, Fit, minimise

# Intervals are searched up to this many standard deviations of the fit
FARTHEST = 12.0


@dataclass
class Profile:
    """Minima of -2 ln L with parameters held, each started where the covariance of the fit expects it.

    Parameters
    ----------
    likelihood : Likelihood
    data : array of shape (B + A,)
    fit : Fit
        Valid, with covariance.
    held : mapping of int to float
        Parameters that are held throughout.
    """

    likelihood: Likelihood
    data: Array
    fit: Fit
    held: Mapping[int, float] = field(default_factory=dict)
    fits: int = 0

    def at(self, values: Mapping[int, float]) -> Fit:
        """Return the minimum with these parameters held (by index), without covariance."""
        self.fits += 1
        return minimise(
            self.likelihood, self.data, constant={**self.held, **values}, start=self._start(values), covariance=False
        )

    def _start(self, values: Mapping[int, float]) -> Array:
        """Return the minimum expected if -2 ln L were a parabola: theta + V_h (V_hh)^-1 shift."""
        covariance = self.fit.covariance
        assert covariance is not None
        chosen = np.array([index for index in values if covariance[index, index] > 0], int)
        start = self.fit.values.copy()
        if len(chosen):
            shift = np.array([values[index] for index in chosen]) - start[chosen]
            start += covariance[:, chosen] @ np.linalg.lstsq(covariance[np.ix_(chosen, chosen)], shift)[0]
        start = np.clip(start, self.likelihood.lower, self.likelihood.upper)
        for index, value in {**self.held, **values}.items():
            start[index] = value
        return start

    def rise(self, values: Mapping[int, float]) -> float | None:
        """Return how far -2 ln L at its minimum with parameters held lies above the fit; None without a valid fit."""
        fit = self.at(values)
        return fit.twice_nll - self.fit.twice_nll if fit.valid else None


def minos(profile: Profile, index: int) -> dict[str, Any]:
    """Return the asymmetric uncertainty of a parameter: where the profile of -2 ln L is one above its minimum.

    Returns
    -------
    dict
        "down" (negative) and "up" in units of the parameter; None where there is none, as "reasons" tell: the bound is
        nearer, a fit did not converge, or a lower minimum exists.
    """
    reasons: list[str] = []
    return {
        "down": _crossing(profile, index, -1, reasons), "up": _crossing(profile, index, 1, reasons), "reasons": reasons,
    }  # fmt: skip


class _NoCrossingError(Exception):
    """Why the profile does not reach one."""


def _crossing(profile: Profile, index: int, sign: int, reasons: list[str]) -> float | None:
    """Return the shift at which the profile is one above the minimum, or append the reason why there is none."""
    from scipy.optimize import brentq

    likelihood, fit = profile.likelihood, profile.fit
    assert fit.errors is not None
    best, width = float(fit.values[index]), float(fit.errors[index])
    bound = float(likelihood.upper[index] - best if sign > 0 else best - likelihood.lower[index])
    side = "upper" if sign > 0 else "lower"

    def height(shift: float) -> float:
        if shift == 0:
            return -1.0
        rise = profile.rise({index: best + sign * shift})
        if rise is None:
            raise _NoCrossingError(f"{side} side: a fit at {best + sign * shift:.4g} did not converge")
        if rise < -LOWER_MINIMUM:
            raise _NoCrossingError(
                f"{side} side: -2 ln L is lower by {-rise:.2g} at {best + sign * shift:.4g} than at the fit"
            )
        # the root of a parabola is linear in the shift, which makes the search short
        return math.sqrt(max(rise, 0.0)) - 1.0

    try:
        low, high = 0.0, min(width, bound)
        while height(high) < 0:
            if high >= bound:
                raise _NoCrossingError(f"{side} side: the bound {best + sign * bound:.4g} is nearer")
            if high > FARTHEST * width:
                raise _NoCrossingError(f"{side} side: no crossing within {FARTHEST:g} standard deviations")
            low, high = high, min(1.4 * high, bound)
        return sign * float(brentq(height, low, high, xtol=1e-4 * width, rtol=1e-5))
    except _NoCrossingError as none:
        reasons.append(str(none))
        return None
