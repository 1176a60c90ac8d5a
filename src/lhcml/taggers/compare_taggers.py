"""Compare taggers with each other and with published ones, in one table as JSON, CSV and LaTeX.

An entry a tagger: the mean over its trainings. A standard deviation ending in `_std` is that of one training on this
test sample: the spread over seeds and the bootstrap of the test jets, added in quadrature; both stand beside it. With
one seed it is the bootstrap alone.
"""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_json, write_text

Trainings = Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]


def quadrature(*parts: float | None) -> float | None:
    """Return the root of the sum of squares of the parts that are known; None if none is."""
    known = [part for part in parts if part is not None]
    return math.sqrt(sum(part**2 for part in known)) if known else None


def combine(metrics: Sequence[Mapping[str, Any]], name: str) -> dict[str, float | None]:
    """Return mean, spread over seeds, mean bootstrap error and both in quadrature for one figure of merit.

    All are None if a training has no value (no background jet passes): a mean over the others would be biased. Where so
    few background jets pass that some bootstrap replicas have none, the statistical error takes the bootstrap's place
    in the sum.
    """
    values = [m[name] for m in metrics]
    errors = [m[f"{name}_bootstrap_std"] for m in metrics]
    if None in values:
        return {name: None, f"{name}_std": None, f"{name}_seed_std": None, f"{name}_bootstrap_std": None}
    spread = statistics.stdev(values) if len(values) > 1 else None
    resampled = None if None in errors else statistics.fmean(errors)
    estimates = [m[f"{name}_statistical_std"] for m in metrics]
    statistical = None if None in estimates else statistics.fmean(estimates)
    return {
        name: statistics.fmean(values),
        f"{name}_std": quadrature(spread, statistical if resampled is None else resampled),
        f"{name}_seed_std": spread,
        f"{name}_bootstrap_std": resampled,
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
    tagger: str, trainings: Trainings, block: Mapping[str, Any], published: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the entry of one tagger.

    Parameters
    ----------
    tagger : str
        Its name.
    trainings : sequence of (metrics, meta)
        What compute_metrics and the training wrote, for each seed.
    block : mapping
        `label` and `published`, both optional.
    published : mapping
        Published entries by name.
    """
    metrics = [m for m, _ in trainings]
    metas = [meta for _, meta in trainings]
    reference = published_entry(block.get("published"), published)
    train = metas[0]["n_train"]
    entry: dict[str, Any] = {
        "tagger": tagger,
        "label": block.get("label", tagger),
        "n_train": train["signal"] + train["background"],
        "n_train_signal": train["signal"],
        "n_train_background": train["background"],
        "n_test": metrics[0]["n_signal"] + metrics[0]["n_background"],
        "n_test_signal": metrics[0]["n_signal"],
        "n_test_background": metrics[0]["n_background"],
        "seeds": len(trainings),
    }
    for name in ("auc", "rejection_30", "rejection_50"):
        entry |= combine(metrics, name)
    for name in ("rejection_30", "rejection_50"):
        limits = [m[f"{name}_lower_limit"] for m in metrics if m[f"{name}_lower_limit"] is not None]
        entry[f"{name}_lower_limit"] = limits[0] if limits else None
    for name in ("accuracy", "balanced_accuracy"):
        entry[name] = statistics.fmean(m[name] for m in metrics)
        entry[f"{name}_seed_std"] = statistics.stdev(m[name] for m in metrics) if len(metrics) > 1 else None
    # trees stop at different sizes, so their number of parameters is a mean
    entry["parameters"] = round(statistics.fmean(meta["parameters"] for meta in metas))
    entry["parameters_are"] = metas[0]["parameters_are"]
    entry["train_seconds"] = round(statistics.fmean(meta["train_seconds"] for meta in metas), 2)
    entry["std_is"] = "spread over seeds and bootstrap of the test jets in quadrature, for one training"
    entry["published"] = reference
    if reference["name"] is not None:
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


CSV_COLUMNS = (
    "tagger", "label", "n_train", "n_test", "seeds", "auc", "auc_std", "auc_seed_std", "auc_bootstrap_std", "accuracy",
    "balanced_accuracy", "rejection_30", "rejection_30_std", "rejection_30_lower_limit", "rejection_50",
    "rejection_50_std", "parameters", "train_seconds",
)  # fmt: skip
PUBLISHED_COLUMNS = (
    "name",
    "auc",
    "accuracy",
    "rejection_30",
    "rejection_30_std",
    "rejection_50",
    "parameters",
    "source",
)


def as_csv(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return the table as CSV; published values in columns `published_*`, empty where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*CSV_COLUMNS, *(f"published_{name}" for name in PUBLISHED_COLUMNS)])
    for entry in entries:
        writer.writerow(
            [*(entry[name] for name in CSV_COLUMNS), *(entry["published"].get(name) for name in PUBLISHED_COLUMNS)]
        )
    return text.getvalue()


def as_latex(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return the table as LaTeX (booktabs)."""

    def number(value: float | None, error: float | None, digits: int) -> str:
        if value is None:
            return "--"
        return f"${value:.{digits}f}" + ("$" if error is None else rf" \pm {error:.{digits}f}$")

    def rejection(entry: Mapping[str, Any], name: str) -> str:
        if entry.get(f"{name}_lower_limit") is not None:
            return f"$> {entry[f'{name}_lower_limit']:.0f}$"
        return number(entry.get(name), entry.get(f"{name}_std"), 0)

    def escape(text: str) -> str:
        return "".join("\\" + character if character in "&%$#_{}" else character for character in text)

    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{tabular}{lrrrrrrrr}",
        r"\toprule",
        r"tagger & jets & AUC & accuracy & $1/\epsilon_B$ @ 0.3 & $1/\epsilon_B$ @ 0.5 & parameters & AUC (publ.)"
        r" & $1/\epsilon_B$ @ 0.3 (publ.) \\",
        r"\midrule",
    ]
    for entry in entries:
        published = entry["published"]
        ours = number(entry["auc"], entry["auc_std"], 4)
        accuracy = number(entry["balanced_accuracy"], entry["balanced_accuracy_seed_std"], 4)
        cells = [
            escape(entry["label"]),
            str(entry["n_train"]),
            ours,
            accuracy,
            rejection(entry, "rejection_30"),
            rejection(entry, "rejection_50"),
            str(entry["parameters"]),
            number(published["auc"], None, 4),
            rejection(published, "rejection_30"),
        ]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def main(argv: Sequence[str] | None = None) -> None:
    """Read metrics and descriptions of all trainings, write the tables."""
    parser = make_parser(__doc__)
    parser.add_argument("--metrics", nargs="+", type=Path, required=True, help="metrics.json of each training")
    parser.add_argument("--meta", nargs="+", type=Path, required=True, help="model.meta.json of each, in order")
    parser.add_argument("--published", type=Path, required=True, help="published entries, JSON")
    parser.add_argument(
        "--config", type=json_argument, required=True, help="JSON: tagger -> its optional `label` and `published`"
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
    entries = [describe(name, group, args.config[name], published) for name, group in groups.items() if group]
    write_json(args.json, entries)
    write_text(args.csv, as_csv(entries))
    write_text(args.latex, as_latex(entries))
    for entry in entries:
        log.info("%s: AUC %.4f +- %s", entry["tagger"], entry["auc"], entry["auc_std"])


if __name__ == "__main__":
    run_main(main)
