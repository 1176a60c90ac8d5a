"""The comparison of unfolding methods as CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

COLUMNS = (
    "method", "label", "family", "observable", "triangular_e3", "triangular_e3_std", "floor_e3", "prior_e3",
    "wasserstein", "wasserstein_std", "chi2", "degrees", "p_value", "compared_with", "coverage",
)  # fmt: skip
BOTTOM_LINE = ("chi2_detector", "degrees_detector", "chi2_particle", "degrees_particle", "relative_error", "passed")
PUBLISHED = ("value", "name", "source", "verified")
NOTES = (
    r"% needs \usepackage{booktabs}",
    "% triangular discriminator in units of 1e-3, +- spread over replicas; in brackets: published, on other events;",
    "% statistics: mean for two independent samples of these sizes",
)


def bottom_line_cells(test: Mapping[str, Any] | None) -> list[Any]:
    """Return the cells of the columns `BOTTOM_LINE`."""
    if test is None:
        return [None] * len(BOTTOM_LINE)
    values = [test[level][key] for level in ("detector", "particle") for key in ("value", "degrees")]
    return [*values, test["relative_error"], test["passed"]]


def shorten(value: Any) -> Any:
    """Return a number with six significant digits, anything else as it is."""
    return f"{value:.6g}" if isinstance(value, float) else value


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table as CSV, a line a method and observable; empty cells where there is no number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [*COLUMNS, *(f"bottom_line_{name}" for name in BOTTOM_LINE), *(f"published_{name}" for name in PUBLISHED)]
    )
    for row in rows:
        published = row["published"] or {}
        cells = [*(row[name] for name in COLUMNS), *bottom_line_cells(row["bottom_line"])]
        cells += [published.get(name) for name in PUBLISHED]
        writer.writerow([shorten(cell) for cell in cells])
    return text.getvalue()


def escape(text: str) -> str:
    """Return a text with LaTeX's special characters escaped; between dollar signs it stays as it is."""
    parts = text.split("$")
    return "$".join(
        part if number % 2 else "".join("\\" + c if c in "&%#_{}" else c for c in part)
        for number, part in enumerate(parts)
    )


def discriminator(row: Mapping[str, Any] | None) -> str:
    """Return discriminator, spread and published value of a row; two dashes without any."""
    if row is None or row["triangular_e3"] is None:
        return "--"
    error = row["triangular_e3_std"]
    text = f"${row['triangular_e3']:.2f}" + ("$" if error is None else rf" \pm {error:.2f}$")
    return text + (f" [{row['published']['value']:.2f}]" if row["published"] else "")


def as_latex(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the discriminators as LaTeX (booktabs): observables by methods, and what statistics alone would give."""
    found = {(row["observable"], row["method"]): row for row in rows}
    methods = {row["method"]: row["label"] for row in rows}
    observables = {row["observable"]: row for row in rows}
    lines = [*NOTES, rf"\begin{{tabular}}{{l{'r' * (len(methods) + 1)}}}", r"\toprule"]
    lines += [" & ".join(["observable", *map(escape, methods.values()), "statistics"]) + r" \\", r"\midrule"]
    for observable, any_row in observables.items():
        floor = "--" if any_row["floor_e3"] is None else f"${any_row['floor_e3']:.2f}$"
        cells = [discriminator(found.get((observable, method))) for method in methods]
        lines.append(" & ".join([escape(any_row["observable_label"]), *cells, floor]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])
