"""CLs upper limits from the profile likelihood ratio q~ and its asymptotic distribution (arXiv:1007.1727)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lhcml.inference.likelihood import Array, Likelihood
from lhcml.inference.minimise import Fit, minimise, require_valid

# Background fluctuations, in standard deviations, of the expected limits
BANDS = (-2, -1, 0, 1, 2)


def normal_cdf(value: float) -> float:
    """Return the cumulative standard normal distribution."""
    return 0.5 * math.erfc(-value / math.sqrt(2))


def normal_quantile(probability: float) -> float:
    """Return the inverse of `normal_cdf`."""
    from scipy.special import ndtri

    return float(ndtri(probability))


def cls_observed(q: float, q_asimov: float) -> float:
    """Return the observed CLs of a signal strength (arXiv:1007.1727, eqs. 64-66).

    Parameters
    ----------
    q : float
        q~ of the data.
    q_asimov : float
        q~ of the Asimov data without signal.
    """
    if q_asimov <= 0:
        return 1.0  # no sensitivity: signal and no signal predict the same
    root = math.sqrt(q_asimov)
    statistic = math.sqrt(q) - root if q <= q_asimov else (q - q_asimov) / (2 * root)
    with_signal, without = normal_cdf(-(statistic + root)), normal_cdf(-statistic)
    return with_signal / without if without > 0 else 0.0


def cls_expected(q_asimov: float) -> list[float]:
    """Return the CLs expected without signal, for background fluctuations of -2, -1, 0, 1, 2 standard deviations."""
    root = math.sqrt(max(q_asimov, 0.0))
    return [normal_cdf(band - root) / normal_cdf(band) for band in BANDS]


@dataclass
class Scan:
    """q~ of data and background-only Asimov data as functions of the signal strength, each value computed once.

    Parameters
    ----------
    likelihood : Likelihood
    data : array of shape (B + A,)

    Raises
    ------
    FitError
        If a fit does not converge.
    """

    likelihood: Likelihood
    data: Array
    known: dict[float, tuple[float, float]] = field(default_factory=dict)
    fits: int = 0

    def __post_init__(self) -> None:
        self.free = self._fit(self.data, None, self.likelihood.start)
        self.background = self._fit(self.data, 0.0, self.free.values)
        # Asimov data are fitted exactly by the parameters that made them
        self.asimov = self.likelihood.expected(self.background.values)
        self.asimov_minimum = self.likelihood.twice_nll(self.background.values, self.asimov)

    @property
    def best(self) -> float:
        """Fitted signal strength."""
        return float(self.free.values[self.likelihood.poi])

    def _fit(self, data: Array, strength: float | None, start: Array) -> Fit:
        constant = None if strength is None else {self.likelihood.poi: strength}
        fit = minimise(self.likelihood, data, constant=constant, start=start, covariance=False)
        self.fits += 1
        return require_valid(fit, "the fit" if strength is None else f"the fit at signal strength {strength:g}")

    def statistics(self, strength: float) -> tuple[float, float]:
        """Return q~ of the data and of the Asimov data at a signal strength."""
        if strength not in self.known:
            self.known[strength] = (self._observed(strength), self._asimov(strength))
        return self.known[strength]

    def _observed(self, strength: float) -> float:
        if self.best > strength:
            return 0.0
        # a negative fitted strength counts as zero (the tilde of q~)
        minimum = self.free if self.best >= 0 else self.background
        fit = self._fit(self.data, strength, self.free.values)
        return max(0.0, fit.twice_nll - minimum.twice_nll)

    def _asimov(self, strength: float) -> float:
        fit = self._fit(self.asimov, strength, self.background.values)
        return max(0.0, fit.twice_nll - self.asimov_minimum)

    def test(self, strength: float) -> dict[str, Any]:
        """Return observed and expected CLs of a signal strength with their ingredients."""
        q, q_asimov = self.statistics(strength)
        return {
            "poi": strength, "cls_observed": cls_observed(q, q_asimov), "cls_expected": cls_expected(q_asimov),
            "q": q, "q_asimov": q_asimov,
        }  # fmt: skip


def upper_limits(scan: Scan, level: float = 0.05) -> tuple[float | None, list[float | None]]:
    """Return the observed and the five expected upper limits: the signal strengths with CLs equal to `level`.

    A limit beyond 10^6 times the first guess is None: the data set none.
    """

    def observed(strength: float) -> float:
        return cls_observed(*scan.statistics(strength)) - level

    # CLs of band N falls to `level` where sqrt(q_A) = N + Phi^-1(1 - level * Phi(N))
    roots = [band + normal_quantile(1 - level * normal_cdf(band)) for band in BANDS]

    def expected(root: float) -> Callable[[float], float]:
        return lambda strength: root - math.sqrt(scan.statistics(strength)[1])

    low = max(scan.best, 0.0)
    guess = max(abs(float(scan.likelihood.start[scan.likelihood.poi])), 1e-3)
    expected_limits = [_crossing(expected(root), 0.0, guess) for root in roots]
    middle = expected_limits[2]
    return _crossing(observed, low, low + middle if middle else low + guess), expected_limits


def _crossing(function: Callable[[float], float], low: float, high: float) -> float | None:
    """Return where a falling function, positive at `low`, crosses zero; None if it does not within 20 doublings."""
    from scipy.optimize import brentq

    if function(low) <= 0:
        return low
    step = high - low
    for _ in range(20):
        if function(low + step) < 0:
            return float(brentq(function, low, low + step, xtol=1e-4 * step, rtol=1e-5))
        low, step = low + step, 2 * step
    return None


def scan_points(limits: list[float | None], best: float, count: int) -> list[float]:
    """Return evenly spaced signal strengths from zero to beyond every limit."""
    known = [limit for limit in limits if limit is not None]
    largest = max([*known, best, 0.0]) or 1.0
    return [float(point) for point in np.linspace(0, 1.15 * largest, count)]
