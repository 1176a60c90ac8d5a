"""Build a pyhf workspace from the tables, scores and normalisation of a channel.

Writes the workspace, its SHA-256 digest (`pyhf.utils.digest`) and a description of how it was made: working point,
raw counts, what lies outside the bins, and the luminosity that the pseudo-data support.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.seeds import derive_seed
from lhcml.inference.assemble_workspace import assemble_workspace
from lhcml.inference.check_templates import VARIANCE, require_filled, require_uncertainties
from lhcml.inference.describe_workspace import describe, observable
from lhcml.inference.read_rows import Rows, read_features, read_levels, read_normalisation, table_files
from lhcml.inference.read_workspace import make_problem
from lhcml.inference.templates import (
    INVERSE_FB_IN_INVERSE_PB,
    Template,
    accept_events,
    fill_template,
    fill_variance,
    in_region,
    largest_luminosity,
    score_threshold,
    split_scale,
)
from lhcml.inference.write_workspace import add_outputs, write_workspace

# By dataset and weight ("nominal" or a shift): from generator weight to pb
Factors: TypeAlias = Mapping[str, Mapping[str, float]]


class Source:
    """The jets or events of a channel, read when first needed.

    Parameters
    ----------
    features : Path
        Folder `results/features/{channel}`.
    scores : Path or None
        Folder `results/taggers/{tagger}/{seed}/scores`, where a region needs the score.
    chunks : mapping of str to int
        Number of feature files of each dataset.
    config : mapping
        The measurement, whose observables, cuts, variances and weight shifts tell which columns to read.
    """

    def __init__(
        self, features: Path, scores: Path | None, chunks: Mapping[str, int], config: Mapping[str, Any]
    ) -> None:
        self.features, self.scores, self.chunks = features, scores, chunks
        self.table = config.get("table", "features")
        regions = config["regions"].values()
        names = [observable(config, region) for region in regions] + [cut for r in regions for cut in r.get("cuts", {})]
        self.columns = [name for name in dict.fromkeys(names) if name != "score"]
        self.simulated_columns = list(dict.fromkeys([*self.columns, *variance_columns(config)]))
        self.weight_shifts = weight_shifts(config)
        self._known: dict[tuple[str, str], Rows] = {}

    def rows(self, dataset: str, shift: str = "nominal") -> Rows:
        """Return the rows of a simulated dataset under a shift."""
        if (dataset, shift) not in self._known:
            weights = self.weight_shifts if shift == "nominal" else ()
            columns = self.simulated_columns if shift == "nominal" else self.columns
            self._known[dataset, shift] = self._read(dataset, shift, columns, weights, True)
        return self._known[dataset, shift]

    def data(self, dataset: str, simulated: bool) -> Rows:
        """Return the rows of (pseudo-)data; recorded collisions have no weights."""
        return self._read(dataset, "nominal", self.columns, (), simulated)

    def _read(self, dataset: str, shift: str, columns: Sequence[str], weights: Sequence[str], weighted: bool) -> Rows:
        files = table_files(self.features, dataset, shift, self.chunks[dataset], self.table)
        if self.table == "levels":
            rows = read_levels(files, columns, weights, weighted)
        else:
            scores = None if self.scores is None else self.scores / dataset / f"{shift}.parquet"
            rows = read_features(files, scores, columns, weights, weighted)
        logging.getLogger("lhcml").info("%s %s: %d rows", dataset, shift, len(rows))
        return rows


def variance_columns(config: Mapping[str, Any]) -> list[str]:
    """Return the columns that shapesys modifiers take variances from."""
    return [part["column"] for part in config["modifiers"].values() if "column" in part]


def weight_shifts(config: Mapping[str, Any]) -> list[str]:
    """Return the shifts of a measurement that are weight columns."""
    parts = [part for part in config["modifiers"].values() if part.get("source") == "weights"]
    return list(dict.fromkeys(part[side] for part in parts for side in ("up", "down") if side in part))


def uses_score(config: Mapping[str, Any]) -> bool:
    """Tell whether a region is defined by the score of a tagger, or histograms it."""
    regions = config["regions"].values()
    return any("tagged" in r or "score" in r.get("cuts", {}) or observable(config, r) == "score" for r in regions)


def variations(config: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield (label, shift of the table, weight) of the nominal templates and of every shifted one."""
    yield "nominal", "nominal", "nominal"
    for modifier in config["modifiers"].values():
        if modifier["type"] == "histosys":
            for side in ("up", "down"):
                if side in modifier:
                    name = modifier[side]
                    by_weight = modifier["source"] == "weights"
                    yield name, "nominal" if by_weight else name, name if by_weight else "nominal"


def weight_factor(factors: Mapping[str, float], weight: str, dataset: str) -> float:
    """Return the factor to pb of a weight.

    Raises
    ------
    UserError
        If the dataset has no sum of these weights.
    """
    if weight not in factors:
        raise UserError(
            f"dataset {dataset} has no sum of weights {weight!r}",
            f"add {weight!r} to the channel's `selection.shifts`, or remove the modifier that uses it",
        )
    return factors[weight]


def make_templates(
    config: Mapping[str, Any], source: Source, factors: Factors, threshold: float | None
) -> dict[str, dict[str, dict[str, Template]]]:
    """Return templates[region][sample][label], in events at the configured luminosity.

    A template made of one split is scaled up to the whole dataset by the nominal sums of weights; shifted templates
    take the nominal factor, so that a shift of the acceptance stays in them.
    """
    regions = config["regions"]
    templates: dict[str, dict[str, dict[str, Template]]] = {region: {} for region in regions}
    labels = list(dict.fromkeys(variations(config)))
    for sample, block in config["samples"].items():
        places = [region for region in regions if region in block.get("regions", regions)]
        for region in places:
            templates[region][sample] = {}
        for dataset in block["datasets"]:
            scale = split_scale(source.rows(dataset), block["split"], f"sample {sample}, dataset {dataset}")
            scale *= config["luminosity"] * INVERSE_FB_IN_INVERSE_PB
            for label, shift, weight in labels:
                rows = source.rows(dataset, shift)
                factor = scale * weight_factor(factors[dataset], weight, dataset)
                for region in places:
                    cut, column = regions[region], observable(config, regions[region])
                    use = rows.in_split(block["split"]) & in_region(rows, cut, threshold)
                    new = fill_template(rows, use, column, cut["bins"], weight, factor)
                    parts = templates[region][sample]
                    parts[label] = parts[label] + new if label in parts else new
                    for name in variance_columns(config) if label == "nominal" else ():
                        variance = fill_variance(rows, use, column, cut["bins"], name, factor)
                        other, key = Template(new.events, variance, new.raw), VARIANCE + name
                        parts[key] = parts[key] + other if key in parts else other
    return templates


def count_data(
    config: Mapping[str, Any], source: Source, factors: Factors, threshold: float | None, seed: int
) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Return observed counts per region and, per dataset, how many rows there were and were used."""
    observed = {region: np.zeros(len(cut["bins"]) - 1) for region, cut in config["regions"].items()}
    report: dict[str, Any] = {}
    block = config["data"]
    for dataset in block["datasets"]:
        rows = source.data(dataset, block["simulated"])
        report[dataset] = {"jets": len(rows)}
        use: NDArray[np.bool_] = np.ones(len(rows), bool)
        if block["simulated"]:
            strength = config["injected"] if dataset in block["signal"] else 1.0
            generator = np.random.default_rng(derive_seed(seed, "accept_events", dataset))
            use = accept_events(rows, factors[dataset]["nominal"], config["luminosity"] * strength, generator, dataset)
            report[dataset]["largest_luminosity"] = largest_luminosity(rows, factors[dataset]["nominal"]) / max(
                strength, 1e-9
            )
        report[dataset]["used"] = int(use.sum())
        for region, cut in config["regions"].items():
            values = rows.columns[observable(config, cut)][use & in_region(rows, cut, threshold)]
            observed[region] += np.histogram(values, cut["bins"])[0]
            report[dataset][f"outside_bins_{region}"] = len(values) - _inside(values, cut["bins"])
    return {region: counts.tolist() for region, counts in observed.items()}, report


def _inside(values: Any, bins: Sequence[float]) -> int:
    return int(np.count_nonzero((values >= bins[0]) & (values <= bins[-1])))


def efficiencies(
    config: Mapping[str, Any], source: Source, factors: Factors, threshold: float
) -> dict[str, dict[str, float]]:
    """Return per sample the tagged share of its jets, in the split of its templates, with its binomial uncertainty."""
    result = {}
    for sample, block in config["samples"].items():
        passed = total = squares = 0.0
        for dataset in block["datasets"]:
            rows = source.rows(dataset)
            use = rows.in_split(block["split"])
            weight = rows.weights["nominal"][use] * factors[dataset]["nominal"]
            passed += weight[rows.columns["score"][use] >= threshold].sum()
            total += weight.sum()
            squares += (weight**2).sum()
        share = passed / total
        result[sample] = {"efficiency": share, "uncertainty": float(np.sqrt(share * (1 - share) * squares) / total)}
    return result


def build_workspace(
    config: Mapping[str, Any], source: Source, factors: Factors, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return workspace and description.

    Parameters
    ----------
    config : Mapping
        A measurement of the configuration.
    source : Source
    factors : mapping
        Generator weight to pb of each simulated dataset, by weight.
    seed : int
        Of the pseudo-data.

    Raises
    ------
    UserError
        If a template is empty or negative somewhere, a variation is at fault, or the pseudo-data cannot reach the
        luminosity.
    """
    threshold, point = None, config.get("working_point")
    if point is not None and uses_score(config):
        threshold = score_threshold(
            [source.rows(name) for name in point["signal"]],
            [factors[name]["nominal"] for name in point["signal"]],
            point["signal_efficiency"],
        )
    templates = make_templates(config, source, factors, threshold)
    edges = {name: cut["bins"] for name, cut in config["regions"].items()}
    require_filled(edges, templates)
    require_uncertainties(edges, templates, config["modifiers"])
    observed, data_report = count_data(config, source, factors, threshold, seed)
    workspace, report = assemble_workspace(config, templates, observed)
    description: dict[str, Any] = describe(config, edges, report) | {
        "luminosity": config["luminosity"],
        "factors": config["factors"],
        "simulated_data": config["data"]["simulated"],
        "raw_counts": {
            region: {sample: parts["nominal"].raw.tolist() for sample, parts in samples.items()}
            for region, samples in templates.items()
        },
        "data": data_report,
    }
    if point is not None and threshold is not None:
        description["working_point"] = {
            "threshold": threshold, "signal_efficiency_wanted": point["signal_efficiency"],
            "measured": efficiencies(config, source, factors, threshold),
        }  # fmt: skip
    return workspace, description


def main(argv: Sequence[str] | None = None) -> None:
    """Build the workspace of one measurement."""
    parser = make_parser(__doc__)
    parser.add_argument("--features", required=True, type=Path, help="folder results/features/{channel}")
    parser.add_argument(
        "--scores", type=Path, help="folder results/taggers/{tagger}/{seed}/scores, where a region needs the score"
    )
    parser.add_argument("--cutflow", required=True, type=Path, help="results/skim/{channel}/cutflow.json")
    parser.add_argument("--chunks", required=True, type=json_argument, help="number of feature files of each dataset")
    parser.add_argument("--config", required=True, type=json_argument, help="the measurement, as in the configuration")
    parser.add_argument("--seed", required=True, type=int, help="seed of the pseudo-data")
    add_outputs(parser)
    args = parser.parse_args(argv)
    start_log("pyhf", "awkward", "numpy", seed=args.seed)
    config = args.config
    source = Source(args.features, args.scores, args.chunks, config)
    simulated = [name for block in config["samples"].values() for name in block["datasets"]]
    simulated += config["data"]["datasets"] if config["data"]["simulated"] else []
    names = list(dict.fromkeys(simulated + config.get("working_point", {}).get("signal", [])))
    factors = read_normalisation(args.cutflow, names, weight_shifts(config), config["factors"])
    workspace, description = build_workspace(config, source, factors, args.seed)
    problem = make_problem(workspace, "the workspace built", poi=description["poi"], strict=True)
    write_workspace(args, workspace, problem, description)


if __name__ == "__main__":
    run_main(main)
