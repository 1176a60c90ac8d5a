"""Compare taggers with each other and with published ones, in one table as JSON, CSV and LaTeX.

An entry a tagger: the mean over its trainings. A standard deviation ending in `_std` is that of one training on this
test sample: the spread over seeds and the bootstrap of the test jets, added in quadrature; both stand beside it. With
one seed it is the bootstrap alone.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_json, write_text
from lhcml.taggers.tables import as_csv, as_latex

Trainings = Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
# Figures of merit that are averaged with their errors
FIGURES = ("auc", "rejection_30", "rejection_50", "ece", "ece_calibrated", "jsd_30", "jsd_50")


def quadrature(*parts: float | None) -> float | None:
    """Return the root of the sum of squares of the parts that are known; None if none is."""
    known = [part for part in parts if part is not None]
    return math.sqrt(sum(part**2 for part in known)) if known else None


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean, None if there is no value or one is not known: a mean over the others would be biased."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def spread(values: Sequence[float]) -> float | None:
    """Return the standard deviation, None of a single value."""
    return statistics.stdev(values) if len(values) > 1 else None


def combine(metrics: Sequence[Mapping[str, Any]], name: str) -> dict[str, float | None]:
    """Return mean, spread over seeds, mean bootstrap error and both in quadrature for one figure of merit.

    All are None if a training has no value, e.g. no background jet passes. Where so few background jets pass that some
    bootstrap replicas have none, the statistical error takes the bootstrap's place in the sum.
    """
    values = [m.get(name) for m in metrics]
    central = mean(values)
    if central is None:
        return {name: None, f"{name}_std": None, f"{name}_seed_std": None, f"{name}_bootstrap_std": None}
    seeds = spread([value for value in values if value is not None])
    resampled = mean([m.get(f"{name}_bootstrap_std") for m in metrics])
    statistical = mean([m.get(f"{name}_statistical_std") for m in metrics])
    return {
        name: central,
        f"{name}_std": quadrature(seeds, statistical if resampled is None else resampled),
        f"{name}_seed_std": seeds,
        f"{name}_bootstrap_std": resampled,
    }


def flat(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return all figures of merit of a training in one dictionary."""
    return {**metrics, **metrics.get("calibration", {}), **metrics.get("sculpting", {})}


def cost_entry(costs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean cost over seeds: operations a jet and jets a second; None if it was not measured."""
    return {
        "operations_per_jet": mean([cost["operations_per_jet"] for cost in costs]),
        "operations_are": costs[0]["operations_are"] if costs else None,
        "jets_per_second": mean([cost["jets_per_second"] for cost in costs]),
    }


def summed_costs(members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the cost of an ensemble: its members score one after the other; None if a member's is not known."""
    if any(member["operations_per_jet"] is None for member in members):
        return cost_entry([])
    kinds = dict.fromkeys(member["operations_are"] for member in members)
    return {
        "operations_per_jet": sum(member["operations_per_jet"] for member in members),
        "operations_are": " and ".join(kinds),
        "jets_per_second": 1 / sum(1 / member["jets_per_second"] for member in members),
    }


def published_entry(name: str | None, published: Mapping[str, Any]) -> dict[str, Any]:
    """Return a published entry by name, and one of Nones if no name is given.

    Raises
    ------
    UserError
        If there is no such entry.
    """
    if name is None:
        return {"name": None, "auc": None, "rejection_30": None, "source": "no published value given"}
    if name not in published:
        raise UserError(
            f"`published: {name}` is not among the published taggers", f"choose among {', '.join(sorted(published))}"
        )
    return dict(published[name])


def describe(
    tagger: str,
    trainings: Trainings,
    costs: Sequence[Mapping[str, Any]],
    block: Mapping[str, Any],
    published: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the entry of one tagger.

    Parameters
    ----------
    tagger : str
        Its name.
    trainings : sequence of (metrics, meta)
        What compute_metrics and the training wrote, for each seed.
    costs : sequence of mapping
        What cost_bdt or cost_network wrote, for each seed; empty for taggers they do not measure.
    block : mapping
        `label` and `published`, both optional.
    published : mapping
        Published entries by name.
    """
    metrics = [flat(m) for m, _ in trainings]
    metas = [meta for _, meta in trainings]
    reference = published_entry(block.get("published"), published)
    train = metas[0]["n_train"] or {"signal": None, "background": None}
    entry: dict[str, Any] = {
        "tagger": tagger,
        "label": block.get("label", tagger),
        # the jets of an external tagger are not known
        "n_train": None if train["signal"] is None else train["signal"] + train["background"],
        "n_train_signal": train["signal"],
        "n_train_background": train["background"],
        "n_test": metrics[0]["n_signal"] + metrics[0]["n_background"],
        "n_test_signal": metrics[0]["n_signal"],
        "n_test_background": metrics[0]["n_background"],
        "seeds": len(trainings),
    }
    for name in FIGURES:
        entry |= combine(metrics, name)
    for name in ("rejection_30", "rejection_50"):
        limits = [m[f"{name}_lower_limit"] for m in metrics if m[f"{name}_lower_limit"] is not None]
        entry[f"{name}_lower_limit"] = limits[0] if limits else None
    for name in ("accuracy", "balanced_accuracy"):
        entry[name] = statistics.fmean(m[name] for m in metrics)
        entry[f"{name}_seed_std"] = spread([m[name] for m in metrics])
    entry["ece_noise"] = mean([m.get("ece_noise") for m in metrics])
    entry["temperature"] = mean([m.get("temperature") for m in metrics])
    for point in (30, 50):
        entry[f"jsd_{point}_noise"] = mean([m.get(f"jsd_{point}_noise") for m in metrics])
        divergence = entry[f"jsd_{point}"]
        entry[f"inverse_jsd_{point}"] = 1 / divergence if divergence else None
    # trees stop at different sizes, so their number of parameters is a mean
    parameters = mean([meta["parameters"] for meta in metas])
    entry["parameters"] = None if parameters is None else round(parameters)
    entry["parameters_are"] = metas[0]["parameters_are"]
    seconds = mean([meta["train_seconds"] for meta in metas])
    entry["train_seconds"] = None if seconds is None else round(seconds, 2)
    entry["train_jets_per_second"] = mean([meta.get("train_jets_per_second") for meta in metas])
    entry |= cost_entry(costs)
    entry["std_is"] = "spread over seeds and bootstrap of the test jets in quadrature, for one training"
    entry["published"] = reference
    if reference["name"] is not None and entry["n_train"] is not None:
        share = entry["n_train"] / reference["n_train"]
        entry["differs"] = (
            f"{entry['n_train']} training jets here, {reference['n_train']} published ({100 * share:.1f} %); "
            "published numbers are for the Top Tagging Reference (Zenodo 2603256), ours for this configuration's events"
        )
    entry["per_seed"] = [
        {key: m[key] for key in ("auc", "accuracy", "balanced_accuracy", "rejection_30", "rejection_50")}
        | {"train_seconds": meta["train_seconds"], "best_iteration": meta["best_iteration"]}
        for m, meta in trainings
    ]
    return entry


def main(argv: Sequence[str] | None = None) -> None:
    """Read metrics and descriptions of all trainings, write the tables."""
    parser = make_parser(__doc__)
    parser.add_argument("--metrics", nargs="+", type=Path, required=True, help="metrics.json of each training")
    parser.add_argument("--meta", nargs="+", type=Path, required=True, help="model.meta.json of each, in order")
    parser.add_argument("--cost", nargs="*", type=Path, default=[], help="cost.json of those trainings that have one")
    parser.add_argument("--published", type=Path, required=True, help="published entries, JSON")
    parser.add_argument(
        "--config",
        type=json_argument,
        required=True,
        help="JSON: tagger -> its optional `label`, `published`, `members`",
    )
    parser.add_argument("--json", type=Path, required=True, help="comparison as JSON, to write")
    parser.add_argument("--csv", type=Path, required=True, help="the same as CSV")
    parser.add_argument("--latex", type=Path, required=True, help="the same as LaTeX")
    args = parser.parse_args(argv)
    log = start_log()
    if len(args.metrics) != len(args.meta):
        raise UserError(
            f"{len(args.metrics)} files of metrics and {len(args.meta)} of descriptions", "give one of each a training"
        )
    published = read_json(args.published)
    groups: dict[str, list[tuple[Any, Any]]] = {name: [] for name in args.config}
    for metrics, meta in zip(args.metrics, args.meta, strict=True):
        description = read_json(meta)
        if description["tagger"] not in groups:
            raise UserError(f"{meta} is of tagger {description['tagger']!r}, which --config lacks", "add it there")
        groups[description["tagger"]].append((read_json(metrics), description))
    costs: dict[str, list[Any]] = {name: [] for name in args.config}
    for path in args.cost:
        cost = read_json(path)
        costs[cost["tagger"]].append(cost)
    entries = [
        describe(name, group, costs[name], args.config[name], published) for name, group in groups.items() if group
    ]
    entries.sort(key=lambda entry: entry["auc"], reverse=True)
    by_name = {entry["tagger"]: entry for entry in entries}
    for name, entry in by_name.items():
        if "members" in args.config[name]:
            entry |= summed_costs([by_name[member] for member in args.config[name]["members"]])
    write_json(args.json, entries)
    write_text(args.csv, as_csv(entries))
    write_text(args.latex, as_latex(entries))
    for entry in entries:
        log.info("%s: AUC %.4f +- %s", entry["tagger"], entry["auc"], entry["auc_std"])


if __name__ == "__main__":
    run_main(main)
