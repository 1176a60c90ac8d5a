"""CLs upper limits from the profile likelihood ratio and its asymptotic distribution (arXiv:1007.1727)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lhcml.inference.likelihood import Array, Likelihood
from lhcml.inference.minimise import Fit, FitError, minimise, require_valid
from lhcml.inference.poi_fits import AT_BOUND, bottom, fit_free, nearest, scattered, sharpen, with_poi_bounds

# Background fluctuations, in standard deviations, of the expected limits
BANDS = (-2, -1, 0, 1, 2)
# A fit lower than the one taken for the minimum by more than this shows that there was a second minimum
SECOND_MINIMUM = 1e-3
# Limits are found to this relative precision
PRECISION = 1e-5
# Sensitivity, sqrt(q_A), at which a first guess of the limit is near enough, and below which it is rounding
NEAR, ROUNDING = (0.5, 5.0), 3e-3
MOST_STEPS = 25


def normal_cdf(value: float) -> float:
    """Return the cumulative standard normal distribution."""
    return 0.5 * math.erfc(-value / math.sqrt(2))


def normal_quantile(probability: float) -> float:
    """Return the inverse of `normal_cdf`."""
    from scipy.special import ndtri

    return float(ndtri(probability))


def cls_observed(q: float, q_asimov: float, statistic: str = "qtilde") -> float:
    """Return the observed CLs of a signal strength (arXiv:1007.1727, eqs. 57-59 for q, 64-66 for q~).

    Parameters
    ----------
    q : float
        Test statistic of the data.
    q_asimov : float
        The same of the Asimov data without signal.
    statistic : str
        "qtilde" or "q".
    """
    from scipy.special import log_ndtr

    if q_asimov <= 0:
        return 1.0  # no sensitivity: signal and no signal predict the same
    root = math.sqrt(q_asimov)
    linear = statistic == "q" or q <= q_asimov
    distance = math.sqrt(q) - root if linear else (q - q_asimov) / (2 * root)
    # logarithms, since both probabilities underflow for strengths far beyond the limit
    return math.exp(log_ndtr(-(distance + root)) - log_ndtr(-distance))


def cls_expected(q_asimov: float) -> list[float]:
    """Return the CLs expected without signal, for background fluctuations of -2, -1, 0, 1, 2 standard deviations."""
    root = math.sqrt(max(q_asimov, 0.0))
    return [normal_cdf(band - root) / normal_cdf(band) for band in BANDS]


@dataclass
class Scan:
    """q~ of data and background-only Asimov data as functions of the signal strength, each fit done once.

    The fitted strength may not be negative in q~, whatever the bounds of the model; an upper bound below the fitted or
    a tested strength is moved. With `statistic="q"` the lower bound is that of the model.

    Parameters
    ----------
    likelihood : Likelihood
    data : array of shape (B + A,)
    statistic : str
        "qtilde" or "q" (arXiv:1007.1727, eqs. 16 and 14).

    Attributes
    ----------
    free, background : Fit
        Fits with free strength (not negative for q~) and without signal.
    negative : Fit or None
        Fit of a strength below zero, where the data and the bounds prefer one; not used by q~.
    asimov : array of shape (B + A,)
        Expected data of the fit without signal.
    several : bool
        Whether the likelihood was found to have more than one minimum; fits then begin at several points each.
    remarks : list of str
        What the reader of the limit should know.

    Raises
    ------
    FitError
        If a fit does not converge.
    """

    likelihood: Likelihood
    data: Array
    statistic: str = "qtilde"
    observed_fits: dict[float, Fit] = field(default_factory=dict)
    asimov_fits: dict[float, Fit] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    fits: int = 0
    several: bool = False

    def __post_init__(self) -> None:
        low, high = (float(bound[self.likelihood.poi]) for bound in (self.likelihood.lower, self.likelihood.upper))
        tilde = self.statistic == "qtilde"
        self.bounded = with_poi_bounds(self.likelihood, 0.0, high) if tilde and low < 0 else self.likelihood
        self.free = fit_free(self.bounded, self.data, self.remarks)
        best = float(self.free.values[self.likelihood.poi])
        if best > high:
            self.bounded = with_poi_bounds(self.bounded, float(self.bounded.lower[self.likelihood.poi]), 10 * best)
        self.fits += 1
        self._fit_background([self.free.values, self.likelihood.start])

    def _fit_background(self, starts: Sequence[Array]) -> None:
        """Fit without signal, the free fit from there too, and make the Asimov data."""
        self.background = self._lowest(self.likelihood, self.data, 0.0, starts)
        self.free = self._lowest(self.bounded, self.data, None, [self.free.values, self.background.values])
        self.background = sharpen(self.likelihood, self.data, self.background)
        self.negative = self._fit_negative() if self.bounded is not self.likelihood else None
        # Asimov data are fitted exactly by the parameters that made them
        self.asimov = self.likelihood.expected(self.background.values)
        self.asimov_minimum = self.likelihood.twice_nll(self.background.values, self.asimov)

    @property
    def best(self) -> float:
        """Fitted signal strength; below zero if the bounds of the model allow it."""
        return float((self.negative or self.free).values[self.likelihood.poi])

    @property
    def known(self) -> list[float]:
        """Strengths at which the Asimov data were fitted, ascending."""
        return sorted(self.asimov_fits)

    def _lowest(self, likelihood: Likelihood, data: Array, strength: float | None, starts: Sequence[Array]) -> Fit:
        """Return the lowest of the fits from several starting points; remember if they end in different minima."""
        constant = None if strength is None else {likelihood.poi: strength}
        fits = [minimise(likelihood, data, constant=constant, start=start, covariance=False) for start in starts]
        self.fits += len(fits)
        valid = [fit for fit in fits if fit.valid] or [
            require_valid(fits[0], "the fit" if strength is None else f"the fit at signal strength {strength:g}")
        ]
        best = min(valid, key=lambda fit: fit.twice_nll)
        self.several = self.several or max(fit.twice_nll for fit in valid) > best.twice_nll + SECOND_MINIMUM
        return best

    def _fit(self, data: Array, strength: float, known: dict[float, Fit], other: Fit) -> Fit:
        """Return the fit at a strength, from the nearest known one; from more places if there are several minima."""
        starts = [nearest(known, strength, other).values]
        if self.several:
            sides = ([at for at in known if at < strength], [at for at in known if at > strength])
            starts += [known[choose(side)].values for choose, side in zip((max, min), sides, strict=True) if side]
            starts += [self.likelihood.start, self.free.values, self.background.values]
        return self._lowest(self.likelihood, data, strength, starts)

    def verify(self, strengths: Sequence[float]) -> bool:
        """Fit again at these strengths from the model's starting values, which finds a second minimum of many.

        Returns False where there is one, after which the fits of all strengths are forgotten, to be done from several
        points.
        """
        if self.several:
            return True
        for strength in strengths:
            start = [self.likelihood.start]
            for data, known in ((self.data, self.observed_fits), (self.asimov, self.asimov_fits)):
                if strength in known:
                    again = self._lowest(self.likelihood, data, strength, start)
                    self.several = self.several or abs(again.twice_nll - known[strength].twice_nll) > SECOND_MINIMUM
        if self.several:
            ends = [fit.values for fit in (*self.observed_fits.values(), *self.asimov_fits.values())]
            self.observed_fits.clear()
            self.asimov_fits.clear()
            self._fit_background([self.free.values, self.background.values, *ends, *scattered(self.likelihood)])
        return not self.several

    def _fit_negative(self) -> Fit | None:
        poi = self.likelihood.poi
        if self.free.values[poi] > AT_BOUND * self.bounded.upper[poi]:
            return None
        fit = minimise(self.likelihood, self.data, start=self.background.values, covariance=False)
        self.fits += 1
        return fit if fit.valid and fit.values[poi] < 0 else None

    def _require_minimum(self, fit: Fit) -> None:
        """Fit again from a point that lies below the minimum, which then was a local one."""
        if fit.twice_nll < self.free.twice_nll - SECOND_MINIMUM:
            self.several = True
            self.free = self._lowest(self.bounded, self.data, None, [fit.values, self.free.values])

    def widen(self, strength: float) -> None:
        """Move the upper bound of the free fit beyond a strength, the order of the limit, and fit again."""
        poi = self.likelihood.poi
        low, high = float(self.bounded.lower[poi]), float(self.bounded.upper[poi])
        if strength <= high:
            return
        self.bounded = with_poi_bounds(self.bounded, low, 10 * strength)
        start = self.free.values.copy()
        start[poi] = strength
        self.free = self._lowest(self.bounded, self.data, None, [start, self.free.values])

    def statistics(self, strength: float) -> tuple[float, float]:
        """Return the test statistic of the data and of the Asimov data at a signal strength."""
        return self.q_observed(strength), self.q_asimov(strength)

    def q_observed(self, strength: float, minimum: float | None = None) -> float:
        """Return the test statistic of the data at a signal strength.

        Parameters
        ----------
        strength : float
        minimum : float, optional
            -2 ln L to compare with, instead of the lowest with a strength that the statistic admits.
        """
        if self.free.values[self.likelihood.poi] > strength or (strength == 0 and self.statistic == "qtilde"):
            return 0.0
        if strength not in self.observed_fits:
            self.observed_fits[strength] = self._fit(self.data, strength, self.observed_fits, self.free)
            self._require_minimum(self.observed_fits[strength])
        if minimum is None:
            # a fit that ends at zero may lie above the fit without signal, by rounding
            minimum = min(bottom(self.free), bottom(self.background))
        return max(0.0, bottom(self.observed_fits[strength]) - minimum)

    def q_asimov(self, strength: float) -> float:
        """Return the test statistic of the Asimov data without signal at a signal strength."""
        if strength == 0:
            return 0.0
        if strength not in self.asimov_fits:
            self.asimov_fits[strength] = self._fit(self.asimov, strength, self.asimov_fits, self.background)
        return max(0.0, bottom(self.asimov_fits[strength]) - self.asimov_minimum)

    def test(self, strength: float) -> dict[str, Any]:
        """Return observed and expected CLs of a signal strength with their ingredients.

        Where the fitted strength is negative, `cls_unclipped` is what `pyhf.infer.hypotest` returns for q~ with these
        bounds: the test statistic q with the distribution of q~, against which pyhf warns.
        """
        q, q_asimov = self.statistics(strength)
        result = {
            "poi": strength, "cls_observed": cls_observed(q, q_asimov, self.statistic),
            "cls_expected": cls_expected(q_asimov), "q": q, "q_asimov": q_asimov,
        }  # fmt: skip
        if self.negative and strength > 0:
            result["cls_unclipped"] = cls_observed(self.q_observed(strength, bottom(self.negative)), q_asimov)
        return result


def upper_limits(scan: Scan, level: float = 0.05) -> tuple[float | None, list[float | None]]:
    """Return the observed and the five expected upper limits: the signal strengths with CLs equal to `level`.

    The fits at the limits are done again from the model's starting values; where that finds a second minimum, the
    limits are computed anew with fits from several points each.

    None is a limit that the data do not set: CLs stays above the level however large the signal.
    """
    limits = _find_limits(scan, level)
    if scan.verify([limit for limit in (limits[0], *limits[1]) if limit is not None]):
        return limits
    return _find_limits(scan, level)


def _find_limits(scan: Scan, level: float) -> tuple[float | None, list[float | None]]:
    """Return the limits of `upper_limits` from the fits that the scan does."""
    # CLs of band N falls to `level` where sqrt(q_A) = N + Phi^-1(1 - level * Phi(N))
    roots = [band + normal_quantile(1 - level * normal_cdf(band)) for band in BANDS]
    guess = first_guess(scan)
    if guess is None:
        return None, [None] * len(BANDS)
    scan.widen(guess)
    expected = [_expected_limit(scan, root, guess) for root in roots]

    def observed(strength: float) -> float:
        # its logarithm falls smoothly, which a secant likes
        return math.log(max(cls_observed(*scan.statistics(strength), scan.statistic), 1e-300) / level)

    middle = expected[BANDS.index(0)] or guess
    low = max(scan.best, 0.0)
    return _crossing(observed, low, low + middle), expected


def first_guess(scan: Scan) -> float | None:
    """Return a signal strength of the order of the expected limit; None if the data have no sensitivity.

    Starts from the model's starting value and follows sqrt(q_A), which is proportional to the strength where the
    likelihood is a parabola, so that a parameter of interest of any scale is found.
    """
    strength = abs(float(scan.likelihood.start[scan.likelihood.poi])) or 1.0
    good = None
    for _ in range(MOST_STEPS):
        try:
            root = math.sqrt(scan.q_asimov(strength))
        except FitError:
            if good is not None:
                return good
            strength /= 10  # too far for a fit: 10^6 times too large a signal, say
            continue
        if NEAR[0] <= root <= NEAR[1]:
            return strength
        good = strength if root > ROUNDING else None
        strength *= float(np.clip(1.8 / root, 1e-3, 1e3)) if root > ROUNDING else 1e3
    return good


def _expected_limit(scan: Scan, root: float, guess: float) -> float | None:
    """Return where sqrt(q_A) rises to `root`, between strengths that are known already if there are such."""
    known = [0.0, *scan.known]
    below = [strength for strength in known if math.sqrt(scan.q_asimov(strength)) < root]
    above = [strength for strength in known if math.sqrt(scan.q_asimov(strength)) >= root]
    low = max([strength for strength in below if not above or strength < min(above)], default=0.0)
    if above:
        high = min(above)
    else:
        # a little beyond where the line through the last known point says
        high = 1.05 * low * root / max(math.sqrt(scan.q_asimov(low)), ROUNDING) if low > 0 else guess
    return _crossing(lambda strength: root - math.sqrt(scan.q_asimov(strength)), low, high)


def _crossing(function: Callable[[float], float], low: float, high: float) -> float | None:
    """Return where a falling function, positive at `low`, crosses zero; None if it does not within 20 doublings."""
    from scipy.optimize import brentq

    if function(low) <= 0:
        return low
    step = high - low
    for _ in range(20):
        try:
            found = function(low + step) < 0
        except FitError:
            return None  # signals so large that no fit describes the data
        if found:
            return float(brentq(function, low, low + step, xtol=PRECISION * (low + step), rtol=PRECISION))
        low, step = low + step, 2 * step
    return None


def scan_points(limits: list[float | None], best: float, count: int) -> list[float]:
    """Return evenly spaced signal strengths from zero to beyond every limit."""
    known = [limit for limit in limits if limit is not None]
    largest = max([*known, best, 0.0]) or 1.0
    return [float(point) for point in np.linspace(0, 1.15 * largest, count)]
