"""Build a pyhf workspace from features, scores and the normalisation of a channel.

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
from lhcml.common.files import write_json, write_text
from lhcml.common.seeds import derive_seed
from lhcml.inference.assemble_workspace import assemble_workspace, require_filled
from lhcml.inference.read_jets import Jets, feature_files, read_jets, read_normalisation
from lhcml.inference.templates import (
    INVERSE_FB_IN_INVERSE_PB,
    Template,
    accept_events,
    fill_template,
    in_region,
    largest_luminosity,
    score_threshold,
    split_scale,
)

# By dataset and weight ("nominal" or a shift): from generator weight to pb
Factors: TypeAlias = Mapping[str, Mapping[str, float]]


class Source:
    """The jets of a channel, read when first needed.

    Parameters
    ----------
    features, scores : Path
        Folders `results/features/{channel}` and `results/taggers/{tagger}/{seed}/scores`.
    chunks : mapping of str to int
        Number of feature files of each dataset.
    observable : str
        Feature column to histogram.
    weight_shifts : sequence of str
        Shifts that are weight columns.
    """

    def __init__(
        self, features: Path, scores: Path, chunks: Mapping[str, int], observable: str, weight_shifts: Sequence[str]
    ) -> None:
        self.features, self.scores, self.chunks = features, scores, chunks
        self.observable, self.weight_shifts = observable, weight_shifts
        self._known: dict[tuple[str, str], Jets] = {}

    def jets(self, dataset: str, shift: str = "nominal") -> Jets:
        """Return the jets of a simulated dataset under a shift."""
        if (dataset, shift) not in self._known:
            weights = self.weight_shifts if shift == "nominal" else ()
            self._known[dataset, shift] = self._read(dataset, shift, weights, True)
        return self._known[dataset, shift]

    def data(self, dataset: str, simulated: bool) -> Jets:
        """Return the jets of (pseudo-)data; recorded collisions have no weights."""
        return self._read(dataset, "nominal", (), simulated)

    def _read(self, dataset: str, shift: str, weights: Sequence[str], weighted: bool) -> Jets:
        files = feature_files(self.features, dataset, shift, self.chunks[dataset])
        jets = read_jets(files, self.scores / dataset / f"{shift}.parquet", self.observable, weights, weighted)
        logging.getLogger("lhcml").info("%s %s: %d jets", dataset, shift, len(jets))
        return jets


def variations(config: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield (label, shift of the features, weight) of the nominal templates and of every shifted one."""
    yield "nominal", "nominal", "nominal"
    for modifier in config["modifiers"].values():
        if modifier["type"] == "histosys":
            for side in ("up", "down"):
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
    config: Mapping[str, Any], source: Source, factors: Factors, threshold: float
) -> dict[str, dict[str, dict[str, Template]]]:
    """Return templates[region][sample][label], in events at the configured luminosity.

    A template made of one split is scaled up to the whole dataset by the nominal sums of weights; shifted templates
    take the nominal factor, so that a shift of the acceptance stays in them.
    """
    templates: dict[str, dict[str, dict[str, Template]]] = {
        region: {sample: {} for sample in config["samples"]} for region in config["regions"]
    }
    for sample, block in config["samples"].items():
        for dataset in block["datasets"]:
            scale = split_scale(source.jets(dataset), block["split"], f"sample {sample}, dataset {dataset}")
            scale *= config["luminosity"] * INVERSE_FB_IN_INVERSE_PB
            for label, shift, weight in dict.fromkeys(variations(config)):
                jets = source.jets(dataset, shift)
                factor = scale * weight_factor(factors[dataset], weight, dataset)
                use = np.ones(len(jets), bool) if block["split"] == "all" else jets.split == block["split"]
                for region, cut in config["regions"].items():
                    new = fill_template(jets, use & in_region(jets, cut, threshold), cut["bins"], weight, factor)
                    old = templates[region][sample].get(label)
                    templates[region][sample][label] = new if old is None else old + new
    return templates


def count_data(
    config: Mapping[str, Any], source: Source, factors: Factors, threshold: float, seed: int
) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Return observed counts per region and, per dataset, how many jets there were and were used."""
    observed = {region: np.zeros(len(cut["bins"]) - 1) for region, cut in config["regions"].items()}
    report: dict[str, Any] = {}
    block = config["data"]
    for dataset in block["datasets"]:
        jets = source.data(dataset, block["simulated"])
        report[dataset] = {"jets": len(jets)}
        use: NDArray[np.bool_] = np.ones(len(jets), bool)
        if block["simulated"]:
            strength = config["injected"] if dataset in block["signal"] else 1.0
            generator = np.random.default_rng(derive_seed(seed, "accept_events", dataset))
            use = accept_events(jets, factors[dataset]["nominal"], config["luminosity"] * strength, generator, dataset)
            report[dataset]["largest_luminosity"] = largest_luminosity(jets, factors[dataset]["nominal"]) / max(
                strength, 1e-9
            )
        report[dataset]["used"] = int(use.sum())
        for region, cut in config["regions"].items():
            chosen = use & in_region(jets, cut, threshold)
            observed[region] += np.histogram(jets.observable[chosen], cut["bins"])[0]
            report[dataset][f"outside_bins_{region}"] = int(
                chosen.sum() - _inside(jets.observable[chosen], cut["bins"])
            )
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
            jets = source.jets(dataset)
            use = np.ones(len(jets), bool) if block["split"] == "all" else jets.split == block["split"]
            weight = jets.weights["nominal"][use] * factors[dataset]["nominal"]
            passed += weight[jets.score[use] >= threshold].sum()
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
        If a template is empty or negative somewhere, or the pseudo-data cannot reach the luminosity.
    """
    point = config["working_point"]
    signal = point["signal"]
    threshold = score_threshold(
        [source.jets(name) for name in signal],
        [factors[name]["nominal"] for name in signal],
        point["signal_efficiency"],
    )
    templates = make_templates(config, source, factors, threshold)
    require_filled(config, templates)
    observed, data_report = count_data(config, source, factors, threshold, seed)
    workspace = assemble_workspace(config, templates, observed)
    description = {
        "poi": config["poi"],
        "injected": config["injected"],
        "luminosity": config["luminosity"],
        "factors": config["factors"],
        "observable": config["observable"],
        "simulated_data": config["data"]["simulated"],
        "regions": {name: {"bins": cut["bins"], "tagged": cut["tagged"]} for name, cut in config["regions"].items()},
        "working_point": {
            "threshold": threshold, "signal_efficiency_wanted": point["signal_efficiency"],
            "measured": efficiencies(config, source, factors, threshold),
        },
        "raw_counts": {
            region: {sample: parts["nominal"].raw.tolist() for sample, parts in samples.items()}
            for region, samples in templates.items()
        },
        "data": data_report,
    }  # fmt: skip
    return workspace, description


def main(argv: Sequence[str] | None = None) -> None:
    """Build the workspace of one measurement."""
    parser = make_parser(__doc__)
    parser.add_argument("--features", required=True, type=Path, help="folder results/features/{channel}")
    parser.add_argument("--scores", required=True, type=Path, help="folder results/taggers/{tagger}/{seed}/scores")
    parser.add_argument("--cutflow", required=True, type=Path, help="results/skim/{channel}/cutflow.json")
    parser.add_argument("--chunks", required=True, type=json_argument, help="number of feature files of each dataset")
    parser.add_argument("--config", required=True, type=json_argument, help="the measurement, as in the configuration")
    parser.add_argument("--seed", required=True, type=int, help="seed of the pseudo-data")
    parser.add_argument("--workspace", required=True, type=Path, help="workspace to write")
    parser.add_argument("--digest", required=True, type=Path, help="text file for its SHA-256")
    parser.add_argument("--description", required=True, type=Path, help="JSON of how it was made")
    args = parser.parse_args(argv)
    start_log("pyhf", "awkward", "numpy", seed=args.seed)
    config = args.config
    by_weight = [part for part in config["modifiers"].values() if part.get("source") == "weights"]
    weight_shifts = [part[side] for part in by_weight for side in ("up", "down")]
    source = Source(args.features, args.scores, args.chunks, config["observable"], weight_shifts)
    simulated = [name for block in config["samples"].values() for name in block["datasets"]]
    simulated += config["data"]["datasets"] if config["data"]["simulated"] else []
    names = list(dict.fromkeys(simulated + config["working_point"]["signal"]))
    factors = read_normalisation(args.cutflow, names, weight_shifts, config["factors"])
    workspace, description = build_workspace(config, source, factors, args.seed)
    write_workspace(workspace, description, args.workspace, args.digest, args.description)


def write_workspace(
    workspace: Mapping[str, Any], description: Mapping[str, Any], path: Path, digest_path: Path, description_path: Path
) -> None:
    """Check a workspace as any other and write it with its digest and description."""
    from lhcml.inference.read_workspace import make_problem

    problem = make_problem(workspace, "the workspace built", poi=description["poi"], strict=True)
    write_json(path, workspace)
    write_text(digest_path, problem.digest + "\n")
    write_json(description_path, {"digest": problem.digest, **description})
    logging.getLogger("lhcml").info("%s: %d parameters, digest %s", path, len(problem.likelihood.names), problem.digest)


if __name__ == "__main__":
    run_main(main)
