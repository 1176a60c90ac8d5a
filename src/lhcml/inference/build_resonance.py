"""Build workspaces for a resonance at several masses from the spectrum that an anomaly search selected.

Reads search.json of the anomaly stage and mixture.json for the luminosity; writes background.json (a pyhf workspace
without signal) and patchset.json (one signal a mass). The parameter of interest `sigma_visible` is the cross section in
fb times acceptance and efficiency, for a resonance within the spectrum.

The background function enters by the eigen-variations of its fit, exponential factors in every bin. pyhf's default
interpolation of factors (code 4) is exponential beyond one standard deviation and a polynomial within, which for large
factors is another function. So the parameters of the function have the value `CENTRE` = 2 where the fit of the
background is (their auxiliary measurement says so too, and the templates are those of 0), and stay above 1: exponential
throughout. Their constraints stand in for the data of the spectrum itself, which are fitted: they are `WIDENING` times
as wide as the data make the parameters, so that they add 1 / WIDENING^2 of the information.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_json
from lhcml.inference.likelihood import Array
from lhcml.inference.split_signal import NO_INSPIRE

POI = "sigma_visible"
CENTRE, REACH = 2.0, 1.0
WIDENING = 10.0
# Largest logarithm of a factor, which limits the widening of what the spectrum hardly determines
LARGEST_LOG = 20.0
# A resonance of which less than this is within the spectrum is not fitted
LEAST_SHARE = 0.1


def signal_shares(search: Mapping[str, Any], mass: float) -> Array:
    """Return the share of a resonance in each bin, shape (B,), of all that is within the spectrum.

    Mean and width are proportional to the mass, as for a constant relative resolution.

    Parameters
    ----------
    search : mapping
        Content of search.json.
    mass : float
        Mass of the resonance in GeV.

    Raises
    ------
    UserError
        If less than `LEAST_SHARE` of it is within the spectrum.
    """
    from scipy.interpolate import PchipInterpolator

    edges, profile = np.asarray(search["spectrum"]["edges"], float), search["signal_model"]["profile"]
    ratio = np.asarray(profile["ratio"], float)
    inside = (edges / mass >= ratio[0] * (1 - 1e-9)) & (edges / mass <= ratio[-1] * (1 + 1e-9))
    shares = np.zeros(len(edges) - 1)
    if inside.all():
        cumulative = PchipInterpolator(ratio, profile["cumulative"])(np.clip(edges / mass, ratio[0], ratio[-1]))
        shares = np.maximum(np.diff(cumulative), 0.0)
    if shares.sum() < LEAST_SHARE:
        raise UserError(
            f"a resonance of {mass:g} GeV is outside the spectrum of the search, {edges[0]:g} ... {edges[-1]:g} GeV",
            "choose `masses` within it, or widen `anomaly.range`",
        )
    return np.asarray(shares / shares.sum())


def build_background(search: Mapping[str, Any], luminosity: float) -> dict[str, Any]:
    """Return the pyhf workspace of the spectrum without signal.

    A sample a bin: a factor acts on a whole sample, and the function changes every bin by another one.

    Parameters
    ----------
    search : mapping
        Content of search.json.
    luminosity : float
        In 1/fb; sets the range of the parameter of interest.
    """
    spectrum = search["spectrum"]
    expected, counts = np.asarray(spectrum["background"], float), np.asarray(spectrum["counts"], float)
    one_sigma = np.asarray(spectrum["background_variations"], float)
    widening = np.minimum(WIDENING, LARGEST_LOG / np.maximum(np.abs(one_sigma).max(axis=1), 1e-6))
    logs = widening[:, None] * one_sigma
    nominal = expected * np.exp(-CENTRE * logs.sum(axis=0))
    samples: list[dict[str, Any]] = [
        {
            "name": f"background_{index}", "data": np.where(np.arange(len(nominal)) == index, nominal, 0.0).tolist(),
            "modifiers": [
                {"name": f"function_{number}", "type": "normsys",
                 "data": {"hi": float(np.exp(log)), "lo": float(np.exp(-log))}}
                for number, log in enumerate(logs[:, index])
            ],
        }
        for index in range(len(nominal))
    ]  # fmt: skip
    parameters: list[dict[str, Any]] = [
        {
            "name": f"function_{number}",
            "inits": [CENTRE],
            "auxdata": [CENTRE],
            "bounds": [[CENTRE - REACH, CENTRE + REACH]],
        }
        for number in range(len(logs))
    ]
    highest = max(float(counts.sum()), 10.0) / luminosity
    parameters.append({"name": POI, "inits": [0.01 * highest], "bounds": [[0.0, highest]]})
    return {
        "version": "1.0.0", "channels": [{"name": "spectrum", "samples": samples}],
        "observations": [{"name": "spectrum", "data": counts.tolist()}],
        "measurements": [{"name": "resonance", "config": {"poi": POI, "parameters": parameters}}],
    }  # fmt: skip


def build_patchset(
    search: Mapping[str, Any], background: Mapping[str, Any], luminosity: float, config: Mapping[str, Any],
    efficiency: float | None,
) -> dict[str, Any]:  # fmt: skip
    """Return the pyhf patchset with a signal of a visible cross section of 1 fb at each mass.

    Parameters
    ----------
    search, background : mapping
        search.json and the result of `build_background`.
    luminosity : float
        In 1/fb.
    config : mapping
        `masses` in GeV; `uncertainties` of the signal rate, relative, by name.
    efficiency : float or None
        Acceptance times efficiency at the simulated mass.
    """
    import pyhf

    simulated = search["signal_model"].get("simulated_mass")
    modifiers: list[dict[str, Any]] = [{"name": POI, "type": "normfactor", "data": None}]
    for name, size in sorted(config.get("uncertainties", {}).items()):
        modifiers.append({"name": name, "type": "normsys", "data": {"hi": 1 + size, "lo": 1 / (1 + size)}})
    patches = []
    for mass in config["masses"]:
        signal = {"name": "signal", "data": (luminosity * signal_shares(search, mass)).tolist(), "modifiers": modifiers}
        known = efficiency if simulated is not None and mass == simulated else None
        patches.append({
            "metadata": {"name": f"m{mass:g}", "values": [mass], "efficiency": known},
            "patch": [{"op": "add", "path": "/channels/0/samples/0", "value": signal}],
        })  # fmt: skip
    description = (
        f"Resonances in the spectrum selected by {search['method']} in {search['mixture']}. {POI}: cross section in "
        "fb times acceptance and efficiency, for masses within the spectrum. Shape at other masses than the simulated: "
        "mean and width proportional to the mass."
    )
    metadata = {
        "name": "resonance", "labels": ["mass"], "description": description, "references": {"hepdata": NO_INSPIRE},
        "digests": {"sha256": pyhf.utils.digest(background)}, "luminosity": luminosity,
        "regions": {"spectrum": {"bins": search["spectrum"]["edges"]}}, "simulated_mass": simulated,
        "efficiency": efficiency,
    }  # fmt: skip
    return {"metadata": metadata, "patches": patches, "version": "1.0.0"}


def check_search(search: Mapping[str, Any], where: str) -> None:
    """Raise a UserError if the search has no valid fit of the background, or lacks what the signal needs."""
    if search.get("background_fit", {}).get("valid") is not True:
        raise UserError(f"{where}: the fit of the background is not valid", "look at the figure beside it")
    if "background_variations" not in search["spectrum"] or "profile" not in search.get("signal_model", {}):
        raise UserError(f"{where} is of an older version: it has no variations of the background", "make it anew")
    if min(search["spectrum"]["background"]) <= 0:
        raise UserError(f"{where}: a bin has no expected background", "shorten the range of the bins")


def total_efficiency(search: Mapping[str, Any], info: Mapping[str, Any], luminosity: float) -> float | None:
    """Return acceptance times efficiency of the simulated signal; None where the search does not know it."""
    per_fb, selected = info.get("events_per_fb"), search.get("signal_efficiency")
    return float(per_fb * selected / luminosity) if per_fb and selected else None


def main(argv: Sequence[str] | None = None) -> None:
    """Build background and patchset of one search."""
    parser = make_parser(__doc__)
    parser.add_argument("--search", required=True, type=Path, help="search.json of the anomaly stage")
    parser.add_argument("--info", required=True, type=Path, help="mixture.json, which knows the luminosity")
    parser.add_argument("--config", required=True, type=json_argument, help="keys `resonance` and `luminosity`")
    parser.add_argument("--background", required=True, type=Path, help="background.json to write")
    parser.add_argument("--patchset", required=True, type=Path, help="patchset.json to write")
    args = parser.parse_args(argv)
    log = start_log("pyhf", "numpy", "scipy")
    search, info = read_json(args.search), read_json(args.info)
    check_search(search, str(args.search))
    luminosity = args.config.get("luminosity") or info.get("luminosity_fb")
    if not luminosity:
        raise UserError(f"{args.info} knows no luminosity", "set `luminosity` (1/fb) of the measurement")
    background = build_background(search, luminosity)
    efficiency = total_efficiency(search, info, luminosity)
    patchset = build_patchset(search, background, luminosity, args.config["resonance"], efficiency)
    write_json(args.background, background)
    write_json(args.patchset, patchset)
    log.info("%d masses, %g/fb, efficiency at the simulated mass %s", len(patchset["patches"]), luminosity, efficiency)


if __name__ == "__main__":
    run_main(main)
