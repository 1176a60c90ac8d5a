"""Select the most anomalous events, fit their dijet mass, and search it for a resonance.

Writes search.json: spectrum, fits, local and global p-values, upper limits; see docs/anomaly_search.md. The method
`inclusive` keeps all events and needs no scores. Keys of the configuration are those of `anomaly_search.schema.yaml`,
and `range`, the range of bins that have none of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lhcml.anomaly.plot_search import draw_search
from lhcml.anomaly.selection import apply_selection, check_sculpting, select
from lhcml.anomaly.signal_shape import MINIMUM_EVENTS, make_signal
from lhcml.anomaly.spectrum_search import bin_edges, search_spectrum
from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import parquet_columns, read_json, read_parquet, require_finite, write_json
from lhcml.common.style import save_figure

Floats: TypeAlias = "NDArray[np.float64]"
INCLUSIVE = "inclusive"


def read_columns(path: Path, names: Sequence[str]) -> dict[str, Floats]:
    """Return those of the columns that a table has, as float64.

    Raises
    ------
    UserError
        If the table is empty, has no dijet mass, or holds NaN.
    """
    import awkward as ak

    present = [name for name in names if name in parquet_columns(path)]
    table = read_parquet(path, present if "dijet_mass" in present else ["dijet_mass", *present])
    if not len(table):
        raise UserError(f"{path} has no events", "look at the step that wrote it")
    columns = {name: ak.to_numpy(table[name]).astype(np.float64) for name in present}
    for name, values in columns.items():
        require_finite(f"column {name}", values, str(path))
    return columns


def describe_injected(
    columns: Mapping[str, Floats], chosen: NDArray[np.bool_], window: tuple[float, float], per_fb: float | None
) -> dict[str, Any]:
    """Return how much signal is in simulated data; all None for collision data, which have no labels."""
    if "label" not in columns:
        return dict.fromkeys(("events", "selected", "signal_to_background", "cross_section_fb"))
    signal, mass = columns["label"] > 0, columns["dijet_mass"]
    inside = (mass >= window[0]) & (mass < window[1])
    background = int((inside & ~signal).sum())
    return {
        "events": int(signal.sum()), "selected": int((signal & chosen).sum()),
        "signal_to_background": float((inside & signal).sum() / background) if background else None,
        "cross_section_fb": float(signal.sum() / per_fb) if per_fb else None,
    }  # fmt: skip


def signal_events(
    path: Path | None, rule: Mapping[str, Any], edges: Floats
) -> tuple[Floats | None, float | None]:  # fmt: skip
    """Return masses of simulated signal, and the share of it that is selected and within the bins.

    Parameters
    ----------
    path : path or None
        Table of simulated signal, empty if there is none; with a column `score`, the selection is applied to it.
    rule : Mapping
        From `select`.
    edges : array
        Bins.

    Returns
    -------
    array or None
        Selected masses, all where they are too few for a shape; None without simulated signal.
    float or None
        The share; None without simulated signal, or if there are no scores to select by.
    """
    if path is None or not len(read_parquet(path, ["dijet_mass"])):
        return None, None
    columns = read_columns(path, ("dijet_mass", "score"))
    mass = columns["dijet_mass"]
    inside = (mass >= edges[0]) & (mass < edges[-1])
    if "score" not in columns:
        everything = rule["threshold"] is None and "coefficients" not in rule
        return mass, float(inside.mean()) if everything else None
    passed = apply_selection(rule, columns["score"], mass)
    enough = (passed & inside).sum() >= MINIMUM_EVENTS
    return mass[passed] if enough else mass, float((passed & inside).mean())


def search(
    columns: Mapping[str, Floats], signal: Path | None, window: tuple[float, float], settings: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:  # fmt: skip
    """Return the content of search.json without the names of method and mixture.

    Raises
    ------
    UserError
        If there are no scores to select by, or too few events.
    """
    mass, edges = columns["dijet_mass"], bin_edges(settings["bins"], settings.get("range"))
    efficiency = float(settings["efficiency"])
    if efficiency < 1 and "score" not in columns:
        raise UserError("the events have no column score", "give scores.parquet, or set `efficiency` to 1")
    beside = (mass < window[0]) | (mass >= window[1])
    chosen, rule = select(
        columns.get("score", mass), mass, efficiency, decorrelate=settings["decorrelate"], order=settings["order"],
        learn=beside & (mass >= edges[0]) & (mass < edges[-1]),
    )  # fmt: skip
    counts = np.histogram(mass[chosen], edges)[0].astype(np.float64)
    signal_mass, signal_efficiency = signal_events(signal, rule, edges)
    centre = 0.5 * (window[0] + window[1])
    shape, described = make_signal(settings["signal"], signal_mass, edges, centre)
    result = search_spectrum(edges, counts, window, shape, settings, seed)
    per_fb = settings.get("events_per_fb")
    limit = result["limit"]
    limit_fb = None
    if limit and limit["observed"] is not None and per_fb and signal_efficiency:
        scale = 1 / (per_fb * signal_efficiency)
        limit_fb = {"observed": scale * limit["observed"], "expected": [scale * value for value in limit["expected"]]}
    return {
        "window": list(window), "efficiency": efficiency, "selection": rule | {"decorrelate": settings["decorrelate"]},
        "events": len(mass), "selected": int(counts.sum()), "signal_efficiency": signal_efficiency,
        "signal_model": described | {
            "mass": centre, "simulated_mass": settings["signal"].get("mass"), "profile": shape.profile(centre, edges)
        },
        **result, "limit_fb": limit_fb,
        "sculpting": check_sculpting(mass, chosen, edges, window) if efficiency < 1 else None,
        "injected": describe_injected(columns, chosen, window, per_fb),
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Search the events of one method and window."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--scores", required=True, type=Path, help="scores.parquet; any table of events for `inclusive`"
    )
    parser.add_argument("--signal", type=Path, help="simulated signal: signal_scores.parquet or signal.parquet")
    parser.add_argument("--info", type=Path, help="mixture.json, which knows `events_per_fb` of pseudo-data")
    parser.add_argument("--window", required=True, nargs=2, type=float, metavar="GEV", help="ends of the signal region")
    parser.add_argument("--config", required=True, type=json_argument, help="block `search`, as JSON")
    parser.add_argument("--method", required=True, help="name of the method")
    parser.add_argument("--mixture", required=True, help="name of the mixture")
    parser.add_argument("--mixture-seed", required=True, type=int, help="number of the mixture's seed, for the record")
    parser.add_argument("--seed", required=True, type=int, help="seed of the toys")
    parser.add_argument("--output", required=True, type=Path, help="search.json to write")
    parser.add_argument("--figure", type=Path, help="figure, .png; a .pdf goes beside it")
    parser.add_argument("--right", default="", help="text above the figure at the right")
    args = parser.parse_args(argv)
    log = start_log("iminuit", "pyhf", "scipy", "numpy", seed=args.seed)
    low, high = args.window
    if not low < high:
        raise UserError(f"the window {low:g} .. {high:g} GeV is empty", "give the lower end first")
    settings = args.config | ({"efficiency": 1.0} if args.method == INCLUSIVE else {})
    per_fb = read_json(args.info).get("events_per_fb") if args.info else None
    settings = ({"events_per_fb": per_fb} if per_fb else {}) | settings
    columns = read_columns(args.scores, ("dijet_mass", "score", "label"))
    result = {"method": args.method, "mixture": args.mixture, "seed": args.mixture_seed}
    result |= search(columns, args.signal, (low, high), settings, args.seed)
    write_json(args.output, result)
    log.info("%d of %d events, %s; z local %s, global %s (%s)", result["selected"], result["events"],
             result["background_fit"]["function"], result["z_local"], result["z_global"], result["status"])  # fmt: skip
    if args.figure:
        save_figure(draw_search(result, args.right), args.figure)


if __name__ == "__main__":
    run_main(main)
