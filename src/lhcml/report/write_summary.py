"""Gather the figures of merit of a run in one page of text and one JSON file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.files import read_json, write_json, write_text


def with_error(value: float | None, error: float | None, digits: int) -> str:
    """Return "value ± error" with a number of decimals, "-" where there is no value."""
    if value is None:
        return "-"
    return f"{value:.{digits}f}" + ("" if error is None else f" ± {error:.{digits}f}")


def describe_taggers(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of the tagger table: ours, and the published value in the last column."""
    lines = [f"{'tagger':<16} {'AUC':>16} {'accuracy':>9} {'1/eps_B @ 0.3':>16} {'published AUC':>14} {'1/eps_B':>8}"]
    for entry in entries:
        published = entry.get("published") or {}
        lines.append(
            f"{entry['tagger']:<16} {with_error(entry['auc'], entry['auc_std'], 4):>16} {entry['accuracy']:>9.4f} "
            f"{with_error(entry['rejection_30'], entry['rejection_30_std'], 0):>16} "
            f"{with_error(published.get('auc'), None, 4):>14} {with_error(published.get('rejection_30'), None, 0):>8}"
        )
    return lines


def describe_unfolding(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the table of unfolding: triangular discriminator of each observable and method to the truth."""
    names = list(dict.fromkeys(row["observable"] for row in rows))
    labels = {row["method"]: row["label"] for row in rows}
    found = {(row["method"], row["observable"]): row for row in rows}
    lines = [f"{'observable':<18}" + "".join(f" {label[:18]:>18}" for label in labels.values()) + f" {'floor':>8}"]
    for name in names:
        cells = [found[method, name] for method in labels]
        values = [with_error(cell["triangular_e3"], cell["triangular_e3_std"], 2) for cell in cells]
        floor = with_error(cells[0]["floor_e3"], None, 2)
        lines.append(f"{name:<18}" + "".join(f" {value:>18}" for value in values) + f" {floor:>8}")
    return lines


def describe_searches(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the table of the resonance search: a line for each mixture and method."""
    lines = [
        f"{'mixture':<14} {'method':<16} {'AUC':>16} {'max SIC':>14} {'published':>9} {'z':>6} {'5 sigma / fb':>12}"
    ]
    for row in rows:
        lines.append(
            f"{row['mixture']:<14} {row['method']:<16} {with_error(row['auc'], row['auc_std'], 3):>16} "
            f"{with_error(row['max_sic'], row['max_sic_std'], 1):>14} {with_error(row['published'], None, 1):>9} "
            f"{with_error(row['z_local'], None, 1):>6} {with_error(row['xsec_5sigma'], None, 1):>12}"
        )
    return lines


def describe_autoencoders(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each autoencoder and direction: AUC and the published one."""
    lines = []
    for row in rows:
        published = with_error((row["published"] or {}).get("auc"), None, 2)
        lines.append(
            f"{row['label']:<20} trained on {row['trained_on']:<6} finds {row['found']:<6} "
            f"AUC {with_error(row['auc'], row['auc_std'], 3)} (published {published})"
        )
    return lines


def describe_measurement(name: str, results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the lines of a measurement, as far as it has the results: value, limits, significance, tests.

    Parameters
    ----------
    name : str
        The measurement, or a signal of a grid.
    results : mapping
        Contents of its JSON files by their names without ".json".
    """
    lines = [name]
    for result, block in results.items():
        if block.get("valid") is False:
            reasons = block.get("reason") or "; ".join(block.get("reasons", [])) or "see the file"
            lines.append(f"  {result.upper()} IS NOT VALID, do not use it: {reasons}")
        else:
            lines += [f"  {line}" for line in DESCRIPTIONS[result](block)]
    return lines


def describe_fit(fit: Mapping[str, Any]) -> list[str]:
    """Return the line of a fit."""
    poi = fit["poi"]
    return [f"{poi['name']} = {with_error(poi['value'], poi['uncertainty'], 3)}"]


def describe_breakdown(ranking: Mapping[str, Any]) -> list[str]:
    """Return the line of statistical and systematic uncertainty, and of the parameter that matters most."""
    parts = ranking["breakdown"]
    line = ", ".join(f"{kind} {with_error(parts[kind]['decomposition'], None, 3)}" for kind in KINDS)
    return [f"uncertainty: {line}; largest impact: {ranking['parameters'][0]['name']}"]


def describe_limit(limit: Mapping[str, Any]) -> list[str]:
    """Return the line of an upper limit."""
    observed, expected = (with_error(limit[key], None, 3) for key in ("observed", "expected_median"))
    return [f"{limit['poi']} < {observed} at {1 - limit['level']:.0%} CL ({expected} expected without signal)"]


def describe_toy_limit(result: Mapping[str, Any]) -> list[str]:
    """Return the line of an upper limit from pseudo-experiments."""
    observed = result["observed"]
    limit = with_error(observed["limit"], observed["uncertainty"], 3)
    asymptotic = with_error(result["asymptotic"]["observed"], None, 3)
    return [f"the same from pseudo-experiments: {limit} (asymptotic {asymptotic})"]


def describe_significance(result: Mapping[str, Any]) -> list[str]:
    """Return the line of the discovery significance."""
    expected = with_error(result["expected"]["postfit"]["z"], None, 2)
    return [f"significance: {with_error(result['observed']['z'], None, 2)} standard deviations ({expected} expected)"]


def describe_goodness(result: Mapping[str, Any]) -> list[str]:
    """Return the line of the goodness of fit."""
    toys = with_error(result["p_value_toys"], result["p_value_toys_uncertainty"], 3)
    return [f"goodness of fit: p = {with_error(result['p_value'], None, 3)} (pseudo-experiments {toys})"]


def describe_toys(toys: Mapping[str, Any]) -> list[str]:
    """Return the line of coverage and pull."""
    coverage = with_error(toys["coverage"], toys["coverage_uncertainty"], 3)
    pull = with_error(toys["pull_mean"], toys["pull_mean_uncertainty"], 2)
    return [f"{toys['count']} pseudo-experiments: coverage {coverage} (0.683 is right), mean pull {pull}"]


def describe_linearity(linearity: Mapping[str, Any]) -> list[str]:
    """Return the line of fitted against injected signal."""
    line = linearity["line"]
    slope, start = (with_error(line[key], line[f"{key}_uncertainty"], 3) for key in ("slope", "intercept"))
    return [f"fitted against injected: slope {slope}, intercept {start}"]


def describe_grid(limits: Mapping[str, Any]) -> list[str]:
    """Return a line for each signal of a grid."""
    return [
        f"{point['patch']}: {limits['poi']} < {with_error(point['observed'], None, 3)} "
        f"({with_error(point['expected'][2] if point['expected'] else None, None, 3)} expected)"
        for point in limits["points"]
    ]


def describe_check(check: Mapping[str, Any]) -> list[str]:
    """Return the line of the check of what is published."""
    if check["reproduced"]:
        return ["publication: pyhf alone reproduces the limits"]
    return [f"publication: NOT reproduced by pyhf alone: {check['reason']}"]


def describe_firmware(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the table of firmware: a line for each model at its chosen point."""
    lines = [
        f"{'model':<16} {'point':<10} {'AUC float':>10} {'quantised':>10} {'LUT':>7} {'% VU9P':>7} "
        f"{'latency / ns':>13} {'differing':>20}"
    ]
    for row in summaries:
        differing = f"{row['emulation_mismatches']} HLS, {row['rtl_mismatches']} RTL"
        lines.append(
            f"{row['label']:<16} {row['point']:<10} {with_error(row['auc_float'], None, 4):>10} "
            f"{with_error(row['auc_fixed'], None, 4):>10} {row['lut']:>7} {row['lut_vu9p_percent']:>7.2f} "
            f"{row['latency_ns']:>13.1f} {differing:>14} of {row['events']}"
        )
        lines += [
            f"  {'published: ' + entry['name']:<50} "
            + (f"{entry['lut']} LUT, " if entry["lut"] else "")
            + f"{entry['latency_ns']} ns, {entry['source']}"
            + ("" if entry["verified"] else " (unverified)")
            for entry in row["published"]
        ]
    return lines


KINDS = ("statistics", "systematics")
DESCRIPTIONS: Mapping[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "fit": describe_fit, "ranking": describe_breakdown, "limit": describe_limit, "toy_limit": describe_toy_limit,
    "significance": describe_significance, "goodness_of_fit": describe_goodness, "toys": describe_toys,
    "linearity": describe_linearity, "limits": describe_grid, "publication.check": describe_check,
}  # fmt: skip


def describe_cutflow(channel: str, cutflow: Mapping[str, Any]) -> list[str]:
    """Return a line a dataset: events read and selected."""
    lines = []
    for dataset, block in cutflow["datasets"].items():
        cuts = block["cutflow"]["nominal"]
        lines.append(f"{channel + '/' + dataset:<28} {cuts[0]['raw']:>10} events, {cuts[-1]['raw']:>9} selected")
        for path in block.get("skipped_files", []):
            lines.append(f"  SKIPPED: {path}")
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Read the result files of the stages and write the summary."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--cutflow", action="append", default=[], type=Path, help="cutflow.json of a channel; repeatable"
    )
    parser.add_argument("--comparison", type=Path, help="comparison.json of the taggers")
    parser.add_argument("--anomaly", type=Path, help="comparison.json of the resonance search")
    parser.add_argument("--autoencoders", type=Path, help="autoencoders.json of the autoencoders on jets")
    parser.add_argument("--unfolding", type=Path, help="comparison.json of the unfolding")
    parser.add_argument(
        "--inference", action="append", default=[], type=Path, help="a JSON result of a measurement; repeatable"
    )
    parser.add_argument(
        "--firmware", action="append", default=[], type=Path, help="summary.json of a firmware model; repeatable"
    )
    parser.add_argument("--benchmarks", type=Path, help="JSON of tabulate_benchmarks")
    parser.add_argument("--text", type=Path, required=True, help="summary to write")
    parser.add_argument("--json", type=Path, required=True, help="the same as JSON")
    args = parser.parse_args(argv)
    start_log()
    summary: dict[str, Any] = {
        "cutflows": {},
        "taggers": [],
        "anomaly": [],
        "autoencoders": [],
        "unfolding": [],
        "inference": {},
        "firmware": [],
    }
    lines = ["", "Summary", "=======", "", "Events"]
    for path in args.cutflow:
        summary["cutflows"][path.parent.name] = cutflow = read_json(path)
        lines += describe_cutflow(path.parent.name, cutflow)
    if args.comparison:
        summary["taggers"] = read_json(args.comparison)
        lines += ["", "Taggers (test jets; ± spread over seeds and bootstrap)", *describe_taggers(summary["taggers"])]
    if args.anomaly:
        summary["anomaly"] = rows = read_json(args.anomaly)["rows"]
        lines += ["", "Resonance search (± spread over seeds)", *describe_searches(rows)]
    if args.autoencoders:
        summary["autoencoders"] = rows = read_json(args.autoencoders)["rows"]
        lines += ["", "Autoencoders on jets (± spread over seeds and bootstrap)", *describe_autoencoders(rows)]
    if args.unfolding:
        summary["unfolding"] = rows = read_json(args.unfolding)["rows"]
        if rows[0]["triangular_e3"] is not None:
            lines += ["", "Unfolding (triangular discriminator to the truth / 1e-3)", *describe_unfolding(rows)]
    for path in args.inference:
        name = path.parent.as_posix().rpartition("results/inference/")[2]
        summary["inference"].setdefault(name, {})[path.stem] = read_json(path)
    if args.inference:
        lines += ["", "Measurements"]
    for name, results in summary["inference"].items():
        lines += describe_measurement(name, results)
    if args.firmware:
        summary["firmware"] = rows = [read_json(path) for path in args.firmware]
        lines += ["", "Firmware (test split; look-up tables are an upper figure)", *describe_firmware(rows)]
    if args.benchmarks:
        rows = read_json(args.benchmarks)
        summary["cost"] = rows
        total, memory = sum(row["seconds_total"] for row in rows), max(row["memory_mb_max"] for row in rows)
        lines += ["", f"Cost: {total / 60:.1f} job minutes in all, {memory:.0f} MB in the largest job"]
    lines += ["", "Figures and tables: results/report.zip (open report.html), or the plots folder of each stage", ""]
    write_text(args.text, "\n".join(lines))
    write_json(args.json, summary)


if __name__ == "__main__":
    run_main(main)
