"""pyhf models of the tests: published examples, a model with every kind of modifier, and workspaces around them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from lhcml.inference.compile_likelihood import compile_likelihood
from lhcml.inference.likelihood import Likelihood
from lhcml.inference.read_workspace import quiet_pyhf

# One channel per shape of bins; every modifier of HistFactory, some shared between channels and samples.
EVERY_MODIFIER: dict[str, Any] = {
    "channels": [
        {
            "name": "b",
            "samples": [
                {
                    "name": "signal",
                    "data": [5.0, 6.0, 7.0],
                    "modifiers": [
                        {"name": "mu", "type": "normfactor", "data": None},
                        {
                            "name": "jes",
                            "type": "histosys",
                            "data": {"hi_data": [5.5, 6.2, 7.9], "lo_data": [4.7, 5.8, 6.5]},
                        },
                        {"name": "lumi", "type": "lumi", "data": None},
                        {"name": "stat_b", "type": "staterror", "data": [0.5, 0.5, 0.4]},
                    ],
                },
                {
                    "name": "background",
                    "data": [50.0, 60.0, 30.0],
                    "modifiers": [
                        {"name": "jes", "type": "normsys", "data": {"hi": 1.1, "lo": 0.8}},
                        {
                            "name": "jes",
                            "type": "histosys",
                            "data": {"hi_data": [55.0, 62.0, 33.0], "lo_data": [47.0, 58.0, 28.0]},
                        },
                        {"name": "rate", "type": "normsys", "data": {"hi": 0.7, "lo": 1.2}},
                        {"name": "stat_b", "type": "staterror", "data": [2.5, 2.5, 1.4]},
                        {"name": "bin_b", "type": "shapesys", "data": [2.5, 0.0, 1.4]},
                    ],
                },
            ],
        },
        {
            "name": "a",
            "samples": [
                {
                    "name": "signal",
                    "data": [5.0, 6.0],
                    "modifiers": [{"name": "mu", "type": "normfactor", "data": None}],
                },
                {
                    "name": "background",
                    "data": [50.0, 60.0],
                    "modifiers": [
                        {"name": "rate", "type": "normsys", "data": {"hi": 1.3, "lo": 0.9}},
                        {"name": "free", "type": "shapefactor", "data": None},
                    ],
                },
            ],
        },
        {
            "name": "c",
            "samples": [
                {
                    "name": "background",
                    "data": [52.0, 63.0],
                    "modifiers": [{"name": "free", "type": "shapefactor", "data": None}],
                }
            ],
        },
    ],
    "parameters": [{"name": "lumi", "auxdata": [1.0], "sigmas": [0.02], "bounds": [[0.5, 1.5]], "inits": [1.0]}],
}


def build(spec: dict[str, Any], poi: str = "mu") -> tuple[Any, Likelihood]:
    """Return a pyhf model and its compiled form."""
    import pyhf

    with quiet_pyhf():
        model = pyhf.Model(copy.deepcopy(spec), poi_name=poi)
    return model, compile_likelihood(model)


def counting(signal: float = 10.0, background: float = 50.0, **bounds: Any) -> dict[str, Any]:
    """Return a one-bin model with a fixed background."""
    return {
        "channels": [
            {
                "name": "count",
                "samples": [
                    {
                        "name": "signal",
                        "data": [signal],
                        "modifiers": [{"name": "mu", "type": "normfactor", "data": None}],
                    },
                    {"name": "background", "data": [background], "modifiers": []},
                ],
            }
        ],
        "parameters": [{"name": "mu", "bounds": [bounds.get("mu", [-10, 20])], "inits": [1.0]}],
    }


def two_bins() -> Any:
    """Return pyhf's documented example of two bins with uncorrelated uncertainties."""
    import pyhf

    with quiet_pyhf():
        return pyhf.simplemodels.uncorrelated_background(
            signal=[12.0, 11.0], bkg=[50.0, 52.0], bkg_uncertainty=[3.0, 7.0]
        )


def workspace(observed: dict[str, list[float]] | None = None) -> dict[str, Any]:
    """Return a valid workspace of two channels, to be spoiled by the tests."""
    channels = copy.deepcopy(EVERY_MODIFIER["channels"][:2])
    # uncertainty in every bin: a zero is one of the faults
    channels[0]["samples"][1]["modifiers"][4]["data"][1] = 2.0
    data = observed or {"b": [56.0, 65.0, 38.0], "a": [57.0, 63.0]}
    return {
        "version": "1.0.0",
        "channels": channels,
        "observations": [{"name": name, "data": counts} for name, counts in data.items()],
        "measurements": [
            {"name": "fit", "config": {"poi": "mu", "parameters": copy.deepcopy(EVERY_MODIFIER["parameters"])}}
        ],
    }


def data_of(model: Any, observed: list[float]) -> np.ndarray:
    """Return main and nominal auxiliary data."""
    return np.array(list(observed) + list(model.config.auxdata), float)


def random_workspace(seed: int) -> dict[str, Any]:
    """Return a valid workspace with a random choice of what pyhf allows.

    Channels in any order and of any binning, samples missing in some, names shared between channels, samples and the
    types that can share, staterror per channel or over several, bins without uncertainty, settings of parameters.
    """
    generator = np.random.default_rng(seed)

    def yes(chance: float = 0.5) -> bool:
        return bool(generator.random() < chance)

    names = [f"channel {letter}" for letter in generator.permutation(list("dcba"))[: generator.integers(1, 5)]]
    common_stat, bins_of_shape = yes(0.3), int(generator.integers(1, 4))
    channels = []
    for name in names:
        bins = bins_of_shape if yes() else int(generator.integers(1, 4))
        samples: list[dict[str, Any]] = []
        present = ["top", "qcd"] if common_stat else [key for key in ("top", "qcd") if yes(0.8)]
        for sample in ["signal", *present]:
            nominal = generator.uniform(3, 60, bins)
            if sample != "signal" and bins > 1 and yes(0.15):
                nominal[generator.integers(bins)] = 0.0
            modifiers: list[dict[str, Any]] = []
            if sample == "signal":
                modifiers.append({"name": "mu", "type": "normfactor", "data": None})
            if sample == "top" and yes():
                modifiers.append({"name": "top norm", "type": "normfactor", "data": None})
            for key in ("jes", "jer", "isr"):
                # of one name, additive in one sample, a factor in another, or both
                if yes():
                    hi, lo = (1 + generator.uniform(-0.2, 0.2, (2, bins))) * nominal
                    data = {"hi_data": hi.tolist(), "lo_data": lo.tolist()}
                    modifiers.append({"name": key, "type": "histosys", "data": data})
                if yes():
                    hi, lo = np.exp(generator.uniform(-0.3, 0.3, 2))
                    modifiers.append({"name": key, "type": "normsys", "data": {"hi": float(hi), "lo": float(lo)}})
            if yes():
                modifiers.append({"name": "lumi", "type": "lumi", "data": None})
            if sample != "signal":
                errors = np.where(generator.random(bins) < 0.15, 0.0, generator.uniform(0.02, 0.3, bins) * nominal)
                stat = "stat" if common_stat else f"stat {name}"
                modifiers.append({"name": stat, "type": "staterror", "data": errors.tolist()})
                if yes(0.3):
                    width = np.where(generator.random(bins) < 0.3, 0.0, 0.2 * nominal)
                    modifiers.append({"name": f"{name}/{sample}", "type": "shapesys", "data": width.tolist()})
            if sample == "qcd" and bins == bins_of_shape and yes():
                modifiers.append({"name": "shape", "type": "shapefactor", "data": None})
            order = generator.permutation(len(modifiers))
            block = {"name": sample, "data": nominal.tolist(), "modifiers": [modifiers[index] for index in order]}
            samples.append(block)
        channels.append({"name": name, "samples": [samples[index] for index in generator.permutation(len(samples))]})
    observations = [
        {"name": part["name"], "data": generator.poisson(40, len(part["samples"][0]["data"])).tolist()}
        for part in channels
    ]
    sigma = float(generator.uniform(0.01, 0.1))
    parameters: list[dict[str, Any]] = [
        {"name": "lumi", "auxdata": [1.0], "sigmas": [sigma], "bounds": [[0.5, 1.5]], "inits": [1.0]}
    ]
    if yes():
        parameters.append({"name": "mu", "bounds": [[-3, 8]], "inits": [0.7]})
    if yes():
        parameters.append({"name": "jes", "auxdata": [0.2], "inits": [0.1], "fixed": yes(), "bounds": [[-3, 3]]})
    return {
        "version": "1.0.0",
        "channels": channels,
        "observations": [observations[index] for index in generator.permutation(len(observations))],
        "measurements": [{"name": "fit", "config": {"poi": "mu", "parameters": parameters}}],
    }
