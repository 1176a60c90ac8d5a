r"""Compare the methods of the search: figures of merit and sensitivity, over seeds, beside published values.

A row for each method and mixture: AUC and largest significance improvement with the spread over seeds, median
significance, the cross section for 5 sigma and that of the inclusive search.

By hand: the first line of a job's log is its command.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.files import read_json, write_json, write_text
from lhcml.common.references import require_known

INCLUSIVE = "inclusive"
COLUMNS = (
    "method", "mixture", "seeds", "auc", "auc_std", "max_sic", "max_sic_std", "min_background", "z_local",
    "xsec_5sigma", "xsec_5sigma_inclusive", "gain", "published",
)  # fmt: skip


def spread(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return mean and standard deviation; no standard deviation of fewer than two values, no mean of none."""
    if not values:
        return None, None
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def read_published() -> dict[str, Any]:
    """Return published figures of merit by row name, with their source."""
    table: dict[str, Any] = read_json(Path(str(resources.files("lhcml.anomaly") / "published.json")))
    return table


def cross_section(scan: Mapping[str, Any] | None) -> float | None:
    """Return the cross section for 5 sigma of a scan of injections, None where it has none."""
    return None if scan is None else scan.get("xsec_5sigma")


def compare(
    folder: Path, methods: Mapping[str, Mapping[str, Any]], mixtures: Mapping[str, Mapping[str, Any]], window: str
) -> list[dict[str, Any]]:
    """Return the rows of the comparison.

    Parameters
    ----------
    folder : Path
        `results/anomaly`.
    methods : Mapping
        Name -> {"label", "published"}.
    mixtures : Mapping
        Name -> {"seeds", "methods", "signal_to_background"}; the last is None for collision data, into which no signal
        is injected, so that there are no scans of injections.
    window : str
        Signal region, as in the names of folders.

    Raises
    ------
    UserError
        If a result is missing, or a method names a row of published figures that is not there.
    """
    published = read_published()
    rows_of_papers = [name for name, entry in published.items() if isinstance(entry, dict)]
    for name, block in methods.items():
        if "published" in block:
            require_known(f"anomaly.methods.{name}.published", [block["published"]], rows_of_papers)
    injected = any(block["signal_to_background"] is not None for block in mixtures.values())
    scans = {name: read_json(folder / "search" / f"{name}.json") if injected else None for name in methods}
    inclusive = cross_section(scans.get(INCLUSIVE))
    rows = []
    for mixture, block in mixtures.items():
        for name in block["methods"]:
            cells = [folder / mixture / str(seed) / name / window for seed in block["seeds"]]
            merits = [read_json(cell / "metrics.json") for cell in cells if (cell / "metrics.json").is_file()]
            searches = [read_json(cell / "search.json") for cell in cells]
            auc, auc_std = spread([merit["auc"] for merit in merits])
            sic, sic_std = spread([merit["max_sic"] for merit in merits if merit["max_sic"] is not None])
            z = [search["z_local"] for search in searches if search["z_local"] is not None]
            xsec = cross_section(scans[name])
            row = published[methods[name]["published"]] if "published" in methods[name] else None
            rows.append(
                {
                    "method": name, "label": methods[name].get("label", name), "mixture": mixture,
                    "signal_to_background": block.get("signal_to_background"), "seeds": len(block["seeds"]),
                    "auc": auc, "auc_std": auc_std, "max_sic": sic, "max_sic_std": sic_std,
                    "min_background": merits[0]["min_background"] if merits else None,
                    "z_local": statistics.median(z) if z else None,
                    "xsec_5sigma": xsec, "xsec_5sigma_inclusive": inclusive,
                    "gain": inclusive / xsec if inclusive and xsec else None,
                    "published": None if row is None else row["max_sic"],
                }
            )  # fmt: skip
    return rows


def table_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as CSV, numbers with four digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([f"{row[c]:.4g}" if isinstance(row[c], float) else row[c] for c in COLUMNS])
    return text.getvalue()


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--folder", required=True, type=Path, help="folder of the results of the stage")
    parser.add_argument("--window", required=True, help="signal region, as in the names of folders: 3300-3700")
    parser.add_argument("--config", required=True, type=json_argument, help="`methods` and `mixtures`, JSON")
    parser.add_argument("--json", required=True, type=Path, help="rows of the comparison")
    parser.add_argument("--csv", required=True, type=Path, help="the same as a table")
    args = parser.parse_args(argv)
    log = start_log("numpy")

    rows = compare(args.folder, args.config["methods"], args.config["mixtures"], args.window)
    log.info("%d rows", len(rows))
    published = read_published()
    write_json(args.json, {"published": {key: published[key] for key in ("source", "verified")}, "rows": rows})
    write_text(args.csv, table_text(rows))


if __name__ == "__main__":
    run_main(main)
