"""The search for a resonance in one binned spectrum: fit, significance, scan, limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lhcml.anomaly.bump_hunter import (
    ENOUGH_TOYS,
    draw_toys,
    events_below,
    hunt,
    p_from_toys,
    signed_root,
    to_p,
    to_z,
)
from lhcml.anomaly.dijet_functions import DijetFunction
from lhcml.anomaly.likelihood_fit import Fits, Model, fit_one, fit_toys
from lhcml.anomaly.limits import eigen_variations, upper_limits
from lhcml.anomaly.signal_shape import CrystalBall
from lhcml.anomaly.spectrum_fit import Background, describe_fit, fit_background, goodness
from lhcml.common.errors import UserError
from lhcml.common.seeds import derive_seed

Floats: TypeAlias = "NDArray[np.float64]"

# Widths around the mean of a resonance whose background decides whether asymptotic formulae are used
CORE = 2.0
# Goodness of fit with signal below which the search says that its functions fail
POOR_FIT = 1e-4
# Toys fitted at once
CHUNK = 1000


def bin_edges(block: Mapping[str, Any], interval: Mapping[str, float] | None = None) -> Floats:
    """Return the edges of the block `bins` in GeV.

    Parameters
    ----------
    block : Mapping
        `edges`, or `count` equal bins from `min` to `max`.
    interval : Mapping, optional
        Range of the search, for `min` and `max` that are not given.

    Raises
    ------
    UserError
        If there is neither.
    """
    if "edges" in block:
        return np.asarray(block["edges"], np.float64)
    ends = dict(interval or {}) | dict(block)
    if not {"min", "max"} <= set(ends):
        raise UserError("the bins of the dijet mass have no range", "set `min` and `max` in `bins`")
    return np.linspace(ends["min"], ends["max"], block["count"] + 1)


def outside(edges: Floats, window: tuple[float, float] | None) -> NDArray[np.bool_]:
    """Tell which bins do not overlap with the window, shape (B,)."""
    if window is None:
        return np.ones(len(edges) - 1, dtype=bool)
    return (edges[1:] <= window[0]) | (edges[:-1] >= window[1])


def toy_roots(function: DijetFunction, background: Fits, template: Floats, number: int, seed: int) -> Floats:
    """Return the signed root of q0 of background-only toys, those whose fits fail left out."""
    model, signal = Model(function), Model(function, template)
    toys = draw_toys(function.expected(background.internal)[0], number, seed)
    roots = []
    for begin in range(0, number, CHUNK):
        part = toys[begin : begin + CHUNK]
        without = fit_toys(model, part)
        fits = fit_toys(signal, part, without)
        roots.append(signed_root(without, fits)[without.valid & (fits.valid | (fits.yields <= 0))])
    return np.concatenate(roots)


def local_significance(root: float, toys: Floats | None) -> dict[str, Any]:
    """Return local p-value and significance, one-sided: a deficit counts as p = 0.5, z = 0.

    Parameters
    ----------
    root : float
        Signed root of q0 of the data.
    toys : array or None
        The same of background-only toys where asymptotic formulae are doubtful. Where fewer than `ENOUGH_TOYS` of them
        reach the data, the significance of the toy that ranks there is taken and continued by the asymptotic slope.

    Returns
    -------
    dict
        `z`, `p`; `z_signed`, `p_signed` without the one-sided convention; `method`.
    """
    z_signed, method = root, "asymptotic"
    if toys is not None:
        p_value, beyond = p_from_toys(root, toys)
        z_signed, method = to_z(p_value), "toys"
        if beyond < ENOUGH_TOYS:
            last = float(np.sort(toys)[-ENOUGH_TOYS])
            z_signed = to_z(p_from_toys(last, toys)[0]) + root - last
            method = "toys, extrapolated"
    z = max(0.0, z_signed)
    return {"z": z, "p": min(0.5, to_p(z)), "z_signed": z_signed, "p_signed": to_p(z_signed), "method": method}


def test_mass(
    background: Background, counts: Floats, shape: CrystalBall, settings: Mapping[str, Any], seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fit background and resonance, and return the fit (events, error, valid) and its local significance.

    Asymptotic formulae are used if at least `asymptotic_minimum` background events are expected within two widths of
    the mean of the resonance, else `local_toys` toys.
    """
    function = background.function
    template = shape.template(function.edges)
    model = Model(function, template)
    fits, attempts = fit_one(model, counts, background.fits)
    expected = model.expected(np.concatenate([fits.internal, fits.yields[:, None]], axis=1))[0]
    root = float(signed_root(background.fits, fits)[0])
    ends = np.array([shape.mean - CORE * shape.sigma, shape.mean + CORE * shape.sigma])
    under = float(np.diff(events_below(ends, function.edges, background.expected))[0])
    toys = None
    if under < settings["asymptotic_minimum"]:
        toys = toy_roots(function, background.fits, template, settings["local_toys"], seed)
    error = float(fits.yield_errors[0])
    signal = {
        "events": float(fits.yields[0]), "error": error if np.isfinite(error) else None, "valid": bool(fits.valid[0]),
        "background": under, **goodness(counts, expected, model.size), "attempts": attempts,
    }  # fmt: skip
    return signal, local_significance(root, toys)


def search_spectrum(
    edges: Floats, counts: Floats, window: tuple[float, float] | None, shape: CrystalBall,
    settings: Mapping[str, Any], seed: int,
) -> dict[str, Any]:  # fmt: skip
    """Search one spectrum.

    Parameters
    ----------
    edges, counts : arrays of shape (B + 1,) and (B,)
        Spectrum, edges in GeV.
    window : tuple of float or None
        Signal region in GeV, left out when the order of the function is chosen.
    shape : CrystalBall
        Resonance at the tested mass.
    settings : Mapping
        Block `search`.
    seed : int
        Seed of the toys.

    Returns
    -------
    dict
        Content of search.json that comes from the spectrum; see docs/anomaly_search.md.
    """
    background = fit_background(
        edges, counts, settings["sqrt_s"], settings["functions"], settings["f_test"], outside(edges, window)
    )
    described = describe_fit(background, counts)
    result: dict[str, Any] = {
        "spectrum": {
            "edges": edges.tolist(), "counts": counts.tolist(), "background": background.expected.tolist(),
            "signal_shape": shape.template(edges).tolist(),
        },
        "background_fit": described, "signal": None, "z_local": None, "p_local": None, "z_signed": None,
        "p_signed": None, "local_method": None, "z_global": None, "p_global": None, "scan": None, "bump": None,
        "limit": None, "status": "ok",
    }  # fmt: skip
    if not described["valid"]:
        return result | {"status": "the fit of the background did not converge from any start"}
    result["spectrum"]["background_variations"] = eigen_variations(background).T.tolist()
    signal, local = test_mass(background, counts, shape, settings, derive_seed(seed, "local"))
    result |= {"signal": signal}
    if not signal["valid"] and signal["events"] > 0:
        result |= {"status": "the fit of background and signal did not converge from any start"}
    else:
        result |= {
            "z_local": local["z"], "p_local": local["p"], "z_signed": local["z_signed"],
            "p_signed": local["p_signed"], "local_method": local["method"],
        }  # fmt: skip
        if signal["p_value"] is not None and signal["p_value"] < POOR_FIT:
            poor = f"background and signal do not describe the spectrum (p = {signal['p_value']:.1g})"
            result |= {"status": f"{poor}: do not use the p-values; other bins or functions may help"}
    if settings["toys"]:
        found = hunt(background.function, background.fits, counts, shape, settings["toys"], derive_seed(seed, "scan"))
        described["p_deviance"] = found["p_deviance"]
        scan = found["scan"]
        result |= {"z_global": scan["z_global"], "p_global": scan["p_global"], "scan": scan, "bump": found["bump"]}
    if settings["limit"]:
        guess = max(signal["events"], 0.0) + 2 * (signal["error"] or np.sqrt(signal["background"] + 1))
        limit = upper_limits(background, counts, shape.template(edges), guess, settings["level"])
        result |= {"limit": limit}
        if limit["reason"] and result["status"] == "ok":
            result |= {"status": f"no limit: {limit['reason']}"}
    return result


def read_histogram(content: Any, name: str) -> tuple[Floats, Floats]:
    """Return edges and counts of a spectrum {"edges", "counts"}, or of a search.json.

    Raises
    ------
    UserError
        If a key is missing, the lengths do not match, or a number is not finite or negative.
    """
    block = content.get("spectrum", content) if isinstance(content, dict) else {}
    if not {"edges", "counts"} <= set(block):
        raise UserError(f"{name} has no edges and counts", 'write {"edges": [...], "counts": [...]}')
    edges, counts = (np.asarray(block[key], np.float64) for key in ("edges", "counts"))
    if len(edges) != len(counts) + 1:
        raise UserError(f"{name} has {len(edges)} edges for {len(counts)} counts", "edges are one more than counts")
    if not (np.isfinite(edges).all() and np.isfinite(counts).all() and (counts >= 0).all()):
        raise UserError(f"{name} holds NaN, infinity or negative counts", "mend the spectrum")
    return edges, counts
