"""Shape of a resonance in the dijet mass: a double-sided Crystal Ball, fitted to simulation or of a generic width.

A Gaussian core with a power law on either side (Oreglia, SLAC-R-236, for one side). With t = (m - mean) / sigma the
density is exp(-t^2 / 2) for -alpha_low < t < alpha_high, and A (B + |t|)^-n beyond, continuous with its derivative.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lhcml.common.errors import UserError

Floats: TypeAlias = "NDArray[np.float64]"

# Simulated events that a fit of six parameters needs at least
MINIMUM_EVENTS = 100
# A Gaussian has no tails this far out
NO_TAIL = 8.0
# Fine bins in which simulation is fitted
FIT_BINS = 200
# Points of a stored cumulative shape: a twelfth of the core's width apart for 2 % resolution in a range of a factor 2
PROFILE_POINTS = 801


@dataclass(frozen=True)
class CrystalBall:
    """A double-sided Crystal Ball.

    Attributes
    ----------
    mean, sigma : float
        Centre and width of the core in GeV.
    alpha_low, alpha_high : float
        Where the tails begin, in units of sigma.
    n_low, n_high : float
        Powers of the tails, above 1.
    """

    mean: float
    sigma: float
    alpha_low: float = NO_TAIL
    n_low: float = 10.0
    alpha_high: float = NO_TAIL
    n_high: float = 10.0

    def cumulative(self, mass: Floats) -> Floats:
        """Return the integral of the normalised shape up to each mass in GeV."""
        from scipy.special import ndtr

        t = (np.asarray(mass, np.float64) - self.mean) / self.sigma
        tails = [_tail(self.alpha_low, self.n_low), _tail(self.alpha_high, self.n_high)]
        root = math.sqrt(2 * math.pi)
        core = root * (ndtr(self.alpha_high) - ndtr(-self.alpha_low))
        total = tails[0] + core + tails[1]
        low = tails[0] * _decline(-t - self.alpha_low, self.alpha_low, self.n_low)
        middle = tails[0] + root * (ndtr(np.clip(t, -self.alpha_low, self.alpha_high)) - ndtr(-self.alpha_low))
        high = total - tails[1] * _decline(t - self.alpha_high, self.alpha_high, self.n_high)
        return np.where(t < -self.alpha_low, low, np.where(t > self.alpha_high, high, middle)) / total

    def moved(self, mass: float, reference: float) -> CrystalBall:
        """Return the shape at another resonance mass: mean and width scale with it, the tails stay."""
        ratio = mass / reference
        return CrystalBall(
            self.mean * ratio, self.sigma * ratio, self.alpha_low, self.n_low, self.alpha_high, self.n_high
        )

    def template(self, edges: Floats) -> Floats:
        """Return the share of the resonance in each bin, shape (B,), of all that is within the edges: their sum is 1.

        Raises
        ------
        UserError
            If less than 1 % of the resonance is within the edges.
        """
        shares = np.diff(self.cumulative(edges))
        if shares.sum() < 0.01:
            raise UserError(
                f"a resonance of {self.mean:.0f} GeV is outside the spectrum, {edges[0]:.0f} .. {edges[-1]:.0f} GeV",
                "choose a window within the bins",
            )
        return np.asarray(shares / shares.sum())

    def profile(self, mass: float, edges: Floats) -> dict[str, list[float]]:
        """Return the cumulative shape against m / `mass`, which `moved` keeps: it gives the shape at any other mass.

        Parameters
        ----------
        mass : float
            Mass in GeV of the resonance that has this shape.
        edges : array
            Edges of the spectrum in GeV, within which masses will be asked for.
        """
        ratio = np.geomspace(edges[0] / edges[-1], edges[-1] / edges[0], PROFILE_POINTS)
        return {"ratio": ratio.tolist(), "cumulative": self.cumulative(mass * ratio).tolist()}

    def as_dict(self) -> dict[str, float]:
        """Return the parameters by name."""
        return {name: float(value) for name, value in asdict(self).items()}


def _tail(alpha: float, n: float) -> float:
    """Return the integral of a tail, in units of sigma times the height of the core."""
    return n / alpha / (n - 1) * math.exp(-0.5 * alpha**2)


def _decline(beyond: Floats, alpha: float, n: float) -> Floats:
    """Return the share of a tail that is farther out than `beyond` (in sigma, from where the tail begins)."""
    return np.asarray((1 + alpha / n * np.maximum(beyond, 0.0)) ** (1 - n))


def fit_signal(mass: Floats, edges: Floats) -> tuple[CrystalBall, dict[str, Any]]:
    """Fit simulated resonances by MIGRAD, multinomial likelihood in fine bins.

    Parameters
    ----------
    mass : array of shape (n,)
        Dijet masses of simulated signal events in GeV; those outside the edges are left out.
    edges : array
        Edges of the spectrum; its range is the range of the fit.

    Returns
    -------
    CrystalBall, dict
        The shape, and how the fit went: `valid`, `chi2`, `ndof`, `events`.

    Raises
    ------
    UserError
        If there are fewer than `MINIMUM_EVENTS` events, or if no start gives a valid fit.
    """
    import iminuit

    inside = mass[(mass >= edges[0]) & (mass < edges[-1])]
    if len(inside) < MINIMUM_EVENTS:
        raise UserError(
            f"{len(inside)} simulated signal events in the spectrum, {MINIMUM_EVENTS} are needed for their shape",
            "simulate more, or set `signal: {shape: generic}`",
        )
    fine = np.linspace(edges[0], edges[-1], FIT_BINS + 1)
    counts = np.histogram(inside, fine)[0].astype(np.float64)
    full = counts > 0

    def expected(*parameters: float) -> Floats:
        return len(inside) * np.maximum(CrystalBall(*parameters).template(fine), 1e-12)

    def deviance(*parameters: float) -> float:
        try:
            rate = expected(*parameters)
        except UserError:
            return 1e12  # an excursion of the fit to where there is no spectrum
        return float(2 * np.sum(counts[full] * np.log(counts[full] / rate[full])))

    low, centre, high = np.quantile(inside, [0.25, 0.5, 0.75])
    width = max((high - low) / 1.35, 1e-3 * centre)
    names = tuple(CrystalBall.__dataclass_fields__)
    for alpha, power in ((1.5, 5.0), (1.0, 3.0), (2.5, 10.0)):
        minuit = iminuit.Minuit(deviance, centre, width, alpha, power, alpha, power, name=names)
        minuit.errordef = 1
        minuit.limits = [(edges[0], edges[-1]), (0.05 * width, 5 * width), *2 * [(0.2, 5.0), (1.05, 50.0)]]
        minuit.migrad()
        if minuit.valid:
            shape = CrystalBall(*minuit.values)
            return shape, _quality(counts, expected(*minuit.values)) | {"valid": True, "events": len(inside)}
    raise UserError(
        "the fit of a Crystal Ball to the simulated signal did not converge from any start",
        "look at its dijet mass; more events, another range of bins or `signal: {shape: generic}` help",
    )


def _quality(counts: Floats, expected: Floats) -> dict[str, float]:
    """Return chi2 and degrees of freedom over bins of at least five expected events."""
    enough = expected >= 5
    chi2 = float(np.sum((counts - expected)[enough] ** 2 / expected[enough]))
    return {"chi2": chi2, "ndof": int(enough.sum()) - 6}


def make_signal(settings: Mapping[str, Any], mass: Floats | None, edges: Floats, at: float) -> tuple[CrystalBall, Any]:
    """Return the shape of a resonance of mass `at` in GeV, and how it was found.

    Parameters
    ----------
    settings : Mapping
        Block `signal`: `shape`, `width` (generic: sigma over mass), `mass` (simulation: mass of the simulated
        resonance in GeV; the fitted mean stands for it if it is not given).
    mass : array or None
        Dijet masses of the simulated signal, needed for the shape `simulation`.
    edges : array
        Edges of the spectrum.
    at : float
        Mass of the resonance that is wanted.

    Raises
    ------
    UserError
        If the shape is to be simulated and no signal is given.
    """
    if settings["shape"] == "generic":
        shape = CrystalBall(at, settings["width"] * at)
        return shape, {"shape": "generic"} | shape.as_dict()
    if mass is None:
        raise UserError("the signal shape is to come from simulation, and no simulated signal is given",
                        "give --signal, or set `signal: {shape: generic}`")  # fmt: skip
    fitted, quality = fit_signal(mass, edges)
    shape = fitted.moved(at, settings.get("mass") or fitted.mean)
    return shape, {"shape": "simulation"} | shape.as_dict() | quality
