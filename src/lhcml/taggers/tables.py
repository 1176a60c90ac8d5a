"""The comparison of taggers as CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

CSV_COLUMNS = (
    "tagger", "label", "n_train", "n_test", "seeds", "auc", "auc_std", "auc_seed_std", "auc_bootstrap_std", "accuracy",
    "balanced_accuracy", "rejection_30", "rejection_30_std", "rejection_30_lower_limit", "rejection_50",
    "rejection_50_std", "ece", "ece_std", "ece_noise", "ece_calibrated", "temperature", "jsd_30", "jsd_30_std",
    "jsd_30_noise", "jsd_50", "jsd_50_std", "jsd_50_noise", "inverse_jsd_50", "parameters", "operations_per_jet",
    "jets_per_second", "train_seconds", "train_jets_per_second",
)  # fmt: skip
PUBLISHED_COLUMNS = (
    "name", "auc", "accuracy", "rejection_30", "rejection_30_std", "rejection_50", "parameters", "source",
)  # fmt: skip
HEADINGS = (
    "tagger", "jets", "AUC", "accuracy", r"$1/\epsilon_B$ @ 0.3", r"$1/\epsilon_B$ @ 0.5", "ECE", "JSD @ 0.5",
    "parameters", "operations", "AUC (publ.)", r"$1/\epsilon_B$ @ 0.3 (publ.)",
)  # fmt: skip
NOTES = (
    r"% needs \usepackage{booktabs}",
    "% accuracy: at equal class weights; JSD: base 2, background jets passing and failing at signal efficiency 0.5;",
    "% operations a jet: of floating point in networks, comparisons in trees; publ.: on other jets, see the JSON",
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


def number(value: float | None, error: float | None, digits: int) -> str:
    """Return a value with its error in LaTeX; two dashes for None."""
    if value is None:
        return "--"
    return f"${value:.{digits}f}" + ("$" if error is None else rf" \pm {error:.{digits}f}$")


def short(value: float | None) -> str:
    """Return a number with two significant digits and k, M or G, three below a thousand; two dashes for None."""
    if value is None:
        return "--"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        # 999,700 is 1M rather than 1000k
        if value >= 0.9995 * size:
            scaled = value / size
            return f"{scaled:.1f}{letter}" if scaled < 9.95 else f"{scaled:.0f}{letter}"
    return f"{value:.0f}"


def rejection(entry: Mapping[str, Any], name: str) -> str:
    """Return a rejection with its error, or its lower limit."""
    if entry.get(f"{name}_lower_limit") is not None:
        return f"$> {entry[f'{name}_lower_limit']:.0f}$"
    return number(entry.get(name), entry.get(f"{name}_std"), 0)


def escape(text: str) -> str:
    """Return a text with LaTeX's special characters escaped."""
    return "".join("\\" + character if character in "&%$#_{}" else character for character in text)


def as_latex(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return the table as LaTeX (booktabs); the CSV has more columns."""
    lines = [*NOTES, rf"\begin{{tabular}}{{l{'r' * (len(HEADINGS) - 1)}}}", r"\toprule"]
    lines += [" & ".join(HEADINGS) + r" \\", r"\midrule"]
    for entry in entries:
        published = entry["published"]
        cells = [
            escape(entry["label"]),
            "--" if entry["n_train"] is None else str(entry["n_train"]),
            number(entry["auc"], entry["auc_std"], 4),
            number(entry["balanced_accuracy"], entry["balanced_accuracy_seed_std"], 4),
            rejection(entry, "rejection_30"),
            rejection(entry, "rejection_50"),
            number(entry["ece"], entry["ece_std"], 3),
            number(entry["jsd_50"], entry["jsd_50_std"], 2),
            short(entry["parameters"]),
            short(entry["operations_per_jet"]),
            number(published["auc"], None, 4),
            rejection(published, "rejection_30"),
        ]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])
