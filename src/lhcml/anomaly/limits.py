"""Upper limits on the yield of a resonance: CLs by pyhf, with a background that the same spectrum determines.

The fitted background enters as a template with its eigen-variations. Each is a log-linear factor in every bin, which is
what a dijet function does to first order in the bin width, so that the model has the freedom of the function.
pyhf constrains variations by a unit Gaussian. The data that would give this constraint are those that are fitted, and
they must not count twice: the variations are `WIDENING` standard deviations wide, so that the constraint adds only
1 / WIDENING^2 of the information.
"""

from __future__ import annotations

import warnings
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lhcml.anomaly.spectrum_fit import Background

Floats: TypeAlias = "NDArray[np.float64]"

WIDENING = 10.0
# Relative precision of a limit
PRECISION = 1e-3
# Largest logarithm of a variation, where the spectrum tells nothing
LARGEST_LOG = 50.0
# Ranges of the yield that are tried, in units of its first guess
RANGES = (4.0, 20.0, 100.0)
# Lower end: CLs of a yield of exactly zero is 0 / 0
LEAST = 0.01


def eigen_variations(background: Background) -> Floats:
    """Return what one standard deviation along each eigenvector of the fit does to the background.

    Returns
    -------
    array of shape (B, d)
        Logarithms of the factors on the events of each bin.
    """
    function, fits = background.function, background.fits
    expected, slope = (part[0] for part in function.with_gradient(fits.internal))
    scale, directions = np.linalg.eigh(fits.covariance[0])
    return np.asarray((slope @ (directions * np.sqrt(np.maximum(scale, 0.0)))) / np.maximum(expected, 1e-300)[:, None])


def make_workspace(background: Background, counts: Floats, template: Floats, unit: float = 1.0) -> dict[str, Any]:
    """Return a pyhf workspace of one channel.

    Parameters
    ----------
    background : Background
        Fit of the spectrum without signal.
    counts : array of shape (B,)
        Observed events.
    template : array of shape (B,)
        Share of the signal in each bin.
    unit : float
        Signal events at a value 1 of the parameter of interest `signal`.

    Notes
    -----
    Interpolation must be exponential, as in `make_model`.
    """
    expected = background.function.expected(background.fits.internal)[0]
    factors = np.exp(np.clip(WIDENING * eigen_variations(background), -LARGEST_LOG, LARGEST_LOG))
    bins = np.arange(len(counts))
    samples = [{
        "name": "signal", "data": (unit * template).tolist(),
        "modifiers": [{"name": "signal", "type": "normfactor", "data": None}],
    }]  # fmt: skip
    for index in bins:
        # a sample of one bin, since a factor with exponential interpolation is one of a whole sample
        samples.append({
            "name": f"background_{index}", "data": np.where(bins == index, expected, 0.0).tolist(),
            "modifiers": [
                {"name": f"background_{number}", "type": "normsys", "data": {"hi": float(high), "lo": float(1 / high)}}
                for number, high in enumerate(factors[index])
            ],
        })  # fmt: skip
    return {
        "version": "1.0.0", "channels": [{"name": "spectrum", "samples": samples}],
        "observations": [{"name": "spectrum", "data": counts.tolist()}],
        "measurements": [{"name": "resonance", "config": {"poi": "signal", "parameters": [
            {"name": "signal", "bounds": [[0, max(RANGES)]], "inits": [1.0]},
        ]}}],
    }  # fmt: skip


def make_model(workspace: dict[str, Any]) -> Any:
    """Return the pyhf model of `make_workspace`, with exponential interpolation of its variations."""
    import pyhf

    with warnings.catch_warnings():
        # pyhf 0.7 validates with a class that jsonschema is going to drop
        warnings.filterwarnings("ignore", message="jsonschema.RefResolver is deprecated", category=DeprecationWarning)
        return pyhf.Workspace(workspace).model(modifier_settings={"normsys": {"interpcode": "code1"}})


def upper_limits(
    background: Background, counts: Floats, template: Floats, guess: float, level: float = 0.05
) -> dict[str, Any]:
    """Return observed and expected upper limits on the signal events, CLs with q~ in the asymptotic approximation.

    Parameters
    ----------
    background, counts, template
        As in `make_workspace`.
    guess : float
        Rough size of the limit, e.g. the fitted yield plus twice its error.
    level : float
        1 minus the confidence level.

    Returns
    -------
    dict
        `observed`; `expected` without signal for -2, -1, 0, 1, 2 standard deviations; `level`; `reason` why they are
        None, or None.
    """
    import pyhf

    unit = max(guess, 1.0)
    result: dict[str, Any] = {"observed": None, "expected": None, "level": level, "reason": None}
    with warnings.catch_warnings():
        # SLSQP steps beyond bounds and into overflows on its way; what it ends with is checked
        for message in ("Values in x were outside bounds", ".* encountered in "):
            warnings.filterwarnings("ignore", message=message, category=RuntimeWarning)
        model = make_model(make_workspace(background, counts, template, unit))
        data = counts.tolist() + model.config.auxdata
        for upper in RANGES:
            try:
                observed, expected = pyhf.infer.intervals.upper_limits.toms748_scan(
                    data, model, LEAST, upper, level=level, atol=PRECISION, rtol=PRECISION
                )
            except ValueError as error:  # no limit in this range
                result["reason"] = str(error)
                continue
            except pyhf.exceptions.FailedMinimization as error:
                result["reason"] = f"a fit of pyhf did not converge: {error}"
                break
            values = [float(observed), *map(float, expected)]
            if np.isfinite(values).all():
                return result | {
                    "observed": unit * values[0], "expected": [unit * v for v in values[1:]], "reason": None,
                }  # fmt: skip
            result["reason"] = "the limit is not a number"
    return result
