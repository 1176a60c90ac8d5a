"""Tables of a HEPData submission from the results of a measurement, with hepdata_lib.

A function a result, each from the content of its JSON file to tables. What a result does not have is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

DIGITS = 6
# More parameters than this have a table of their larger correlations only: a million rows help nobody
MOST_CORRELATED = 100
LEAST_CORRELATION = 0.05


def variable(name: str, values: Sequence[Any], units: str = "", independent: bool = False, binned: bool = False) -> Any:
    """Return a variable of hepdata_lib, with `DIGITS` significant digits; binned values are (low, high)."""
    from hepdata_lib import Variable

    made = Variable(name, is_independent=independent, is_binned=binned, units=units, values=list(values))
    made.digits = DIGITS
    # bins without uncertainty are left without one on purpose
    made.zero_uncertainties_warning = False
    return made


def add_uncertainty(to: Any, label: str, values: Sequence[Any]) -> None:
    """Add a source of uncertainty: numbers, or pairs (minus, plus) with minus negative; None where there is none."""
    from hepdata_lib import Uncertainty

    pairs = any(isinstance(value, tuple) for value in values)
    made = Uncertainty(label, is_symmetric=not pairs)
    made.values = list(values)
    to.add_uncertainty(made)


def table(name: str, description: str, columns: Sequence[Any], keywords: Sequence[str] = ()) -> Any:
    """Return a table; HEPData allows 64 characters of its name, which is a file name too."""
    from hepdata_lib import Table

    made = Table(re.sub(r"[^\w.+-]+", " ", name).strip()[:64])
    made.description = description
    made.location = "from the likelihood published with this record"
    made.keywords["phrases"] = list(keywords) or ["Likelihood"]
    for column in columns:
        made.add_variable(column)
    return made


def yields_tables(yields: Mapping[str, Any], observable: str, units: str, blinded: Sequence[str]) -> list[Any]:
    """Return a table a region: observed events; expected before and after the fit, in total and per sample.

    Parameters
    ----------
    yields : mapping
        Content of yields.json.
    observable, units : str
        Name and unit of the binned quantity.
    blinded : sequence of str
        Regions without observed events.
    """
    tables = []
    for region, block in yields.items():
        edges = block["edges"]
        bins = list(pairwise(edges))
        columns = [variable(observable, bins, units, independent=True, binned=True)]
        if region not in blinded and block.get("observed") is not None:
            columns.append(variable("Observed events", block["observed"]))
        for stage, words in (("postfit", "after the fit"), ("prefit", "before the fit")):
            part = block.get(stage)
            if part is None:
                continue
            for sample, events in [("total", part["total"]), *part["samples"].items()]:
                column = variable(f"Expected events {words}, {sample}", events["bins"])
                add_uncertainty(column, "total", events["bin_uncertainties"])
                columns.append(column)
        text = f"Events in region {region}. Uncertainties of samples and bins are correlated; see the likelihood."
        tables.append(table(f"Events in {region}", text, columns, ["Event yield"]))
    return tables


def limit_tables(limit: Mapping[str, Any]) -> list[Any]:
    """Return the upper limits and the scan of CLs, from the content of limit.json; none if it is not valid."""
    if not limit.get("valid"):
        return []
    poi, confidence = limit["poi"], f"{100 * (1 - limit['level']):g} % CL"
    named = [("observed", limit["observed"]), *zip(
        [f"expected without signal, {band:+d} s.d." if band else "expected without signal, median"
         for band in limit["bands"]], limit["expected"], strict=True)]  # fmt: skip
    named = [(name, value) for name, value in named if value is not None]
    tables = []
    if named:
        column = variable(f"Upper limit on {poi}", [value for _, value in named])
        column.add_qualifier("CONFIDENCE LEVEL", confidence)
        names = variable("Limit", [name for name, _ in named], independent=True)
        text = f"Upper limits on {poi} at {confidence} by CLs with asymptotic formulae."
        tables.append(table("Upper limits", text, [names, column], ["Upper limit"]))
    if limit.get("scan"):
        tables.append(cls_table(poi, limit["scan"]))
    return tables


def cls_table(poi: str, scan: Sequence[Mapping[str, Any]]) -> Any:
    """Return the table of CLs against the parameter of interest, expected values with bands as uncertainties."""
    columns = [variable(poi, [point["poi"] for point in scan], independent=True)]
    if all(point["cls_observed"] is not None for point in scan):
        columns.append(variable("CLs observed", [point["cls_observed"] for point in scan]))
    expected = variable("CLs expected without signal", [point["cls_expected"][2] for point in scan])
    add_bands(expected, [point["cls_expected"] for point in scan])
    return table("CLs", f"CLs against {poi}.", [*columns, expected], ["CLs"])


def add_bands(to: Any, expected: Sequence[Sequence[float | None]]) -> None:
    """Add the bands of 1 and 2 standard deviations of expected values (-2, -1, 0, 1, 2 each) as uncertainties."""
    for label, low, high in (("1 s.d.", 1, 3), ("2 s.d.", 0, 4)):
        ranges = []
        for values in expected:
            below, middle, above = values[low], values[2], values[high]
            if below is None or middle is None or above is None:
                ranges.append((0.0, 0.0))
            else:
                ranges.append((below - middle, above - middle))
        add_uncertainty(to, label, ranges)


def fit_tables(fit: Mapping[str, Any]) -> list[Any]:
    """Return fitted parameters and their correlations, from the content of fit.json; none if it is not valid."""
    if not fit.get("valid"):
        return []
    parameters = fit["parameters"]
    names = variable("Parameter", list(parameters), independent=True)
    value = variable("Fitted value", [part["value"] for part in parameters.values()])
    add_uncertainty(value, "fit", [part["uncertainty"] for part in parameters.values()])
    before = variable("Value before the fit", [part["start"] for part in parameters.values()])
    add_uncertainty(before, "constraint", [part["prefit_uncertainty"] for part in parameters.values()])
    text = "Parameters after the fit and before it. Parameters without uncertainty before the fit are free."
    tables = [table("Parameters", text, [names, value, before], ["Fit"])]
    listed, matrix = fit["correlations"]["parameters"], fit["correlations"]["matrix"]
    pairs = [(first, second, value) for first, row in zip(listed, matrix, strict=True)
             for second, value in zip(listed, row, strict=True)]  # fmt: skip
    text = "Correlation matrix of the fitted parameters."
    if len(listed) > MOST_CORRELATED:
        pairs = [(x, y, value) for x, y, value in pairs if x < y and abs(value) >= LEAST_CORRELATION]
        text = f"Correlations of the fitted parameters of {LEAST_CORRELATION} and more; all are in results/fit.json."
    columns = [
        variable("First parameter", [first for first, _, _ in pairs], independent=True),
        variable("Second parameter", [second for _, second, _ in pairs], independent=True),
        variable("Correlation", [value for _, _, value in pairs]),
    ]
    return [*tables, table("Correlations", text, columns, ["Correlation"])] if pairs else tables


def ranking_tables(ranking: Mapping[str, Any]) -> list[Any]:
    """Return impacts of parameters and of their groups, from the content of ranking.json; none if it is not valid."""
    if not ranking.get("valid"):
        return []
    poi, tables = ranking["poi"]["name"], []
    known = [part for part in ranking["parameters"] if None not in (*part["postfit"].values(), part["uncertainty"])]
    if known:
        columns = [variable("Parameter", [part["name"] for part in known], independent=True)]
        value = variable("Fitted value", [part["value"] for part in known])
        add_uncertainty(value, "fit", [part["uncertainty"] for part in known])
        columns.append(value)
        for side, words in (("up", "raised"), ("down", "lowered")):
            impacts = [part["postfit"][side] for part in known]
            columns.append(variable(f"Change of {poi}, parameter {words} by its uncertainty", impacts))
        text = f"Change of the fitted {poi} with a parameter held at its fitted value plus or minus its uncertainty."
        tables.append(table("Ranking", text, columns, ["Uncertainty"]))
    breakdown = ranking.get("breakdown") or {}
    rows = {"total": breakdown.get("total")}
    rows |= {name: (breakdown.get(name) or {}).get("impact") for name in ("statistics", "systematics")}
    rows |= {name: group["impact"] for name, group in (breakdown.get("groups") or {}).items()}
    rows = {name: impact for name, impact in rows.items() if impact is not None}
    if rows:
        columns = [
            variable("Source", list(rows), independent=True),
            variable(f"Uncertainty of {poi}", list(rows.values())),
        ]
        text = (
            f"Uncertainty of {poi} by source. Sources are correlated after the fit: they do not add up in quadrature."
        )
        tables.append(table("Breakdown of the uncertainty", text, columns, ["Uncertainty"]))
    return tables


def scan_tables(scan: Mapping[str, Any]) -> list[Any]:
    """Return the profile likelihood of each scanned parameter, from the content of scan.json."""
    tables = []
    for name, curve in scan["parameters"].items():
        pairs = [(x, y) for x, y in zip(curve["values"], curve["rise"], strict=True) if y is not None]
        if pairs:
            columns = [
                variable(name, [x for x, _ in pairs], independent=True),
                variable("-2 ln L above its minimum", [y for _, y in pairs]),
            ]
            tables.append(table(f"Likelihood of {name}", f"Profile likelihood of {name}.", columns))
    return tables


def significance_tables(result: Mapping[str, Any]) -> list[Any]:
    """Return observed and expected significance, from the content of significance.json; none if it is not valid."""
    if not result.get("valid"):
        return []
    words = f"expected at {result['poi']} = {result['injected']:g}"
    rows = {
        "observed": result["observed"],
        f"{words}, nuisance parameters as fitted": result["expected"]["postfit"],
        f"{words}, nuisance parameters as before the fit": result["expected"]["prefit"],
    }
    columns = [
        variable("Data", list(rows), independent=True),
        variable("Significance", [row["z"] for row in rows.values()], "standard deviations"),
        variable("p-value", [row["p_value"] for row in rows.values()]),
    ]
    return [table("Significance", "Discovery significance from q0.", columns, ["Significance"])]


def grid_table(labels: Sequence[str], points: Sequence[tuple[Sequence[Any], Mapping[str, Any]]], poi: str) -> Any:
    """Return the table of limits over a grid of signals.

    Parameters
    ----------
    labels : sequence of str
        What the values of a patch are.
    points : sequence of (values, limit)
        Values of each patch and the content of its limit.json; limits that are not valid are left out.
    poi : str
        What is limited.
    """
    points = [(values, limit) for values, limit in points if limit.get("valid") and limit["expected"][2] is not None]
    columns = [
        variable(label, [values[index] for values, _ in points], independent=True) for index, label in enumerate(labels)
    ]
    if points and all(limit["observed"] is not None for _, limit in points):
        columns.append(variable(f"Observed upper limit on {poi}", [limit["observed"] for _, limit in points]))
    expected = variable(f"Expected upper limit on {poi}", [limit["expected"][2] for _, limit in points])
    add_bands(expected, [limit["expected"] for _, limit in points])
    return table("Upper limits over the grid", "Upper limits for each signal.", [*columns, expected], ["Upper limit"])


def result_tables(results: Mapping[str, Any]) -> list[Any]:
    """Return the tables of all results but the yields, by what is there."""
    makers = {
        "limit": limit_tables,
        "significance": significance_tables,
        "fit": fit_tables,
        "ranking": ranking_tables,
        "scan": scan_tables,
    }
    return [made for name, maker in makers.items() if name in results for made in maker(results[name])]
