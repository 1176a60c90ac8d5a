"""Draw the tests of unbinned methods: closure, stress, coverage of the bootstrap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.files import read_json
from lhcml.common.style import COLOURS, add_label, new_figure, save_figure

# share of a Gaussian within one standard deviation
ONE_SIGMA = 0.683


def draw_closure(tests: Mapping[str, Mapping[str, Any]], right: str) -> Any:
    """Return the figure.

    Parameters
    ----------
    tests : mapping
        Method -> content of its closure.json.
    right : str
        Text above the axes at the right.
    """
    names = list(next(iter(tests.values()))["observables"])
    figure, axes = new_figure(1, 2, width=max(5.5, 0.9 * len(names)), height=4.6)
    left, middle = axes
    for number, (method, test) in enumerate(tests.items()):
        offset = 0.15 * (number - (len(tests) - 1) / 2)
        places = np.arange(len(names)) + offset
        rows = [test["observables"][name] for name in names]
        colour = COLOURS[number % len(COLOURS)]
        for kind, marker in (("closure", "o"), ("stress", "s")):
            values = [row[kind]["triangular_e3"] for row in rows]
            left.plot(places, values, marker, color=colour, label=f"{method}, {kind}")
        # without bins of enough events there is no coverage: NaN draws nothing
        found, errors = (
            [np.nan if row["coverage"][key] is None else row["coverage"][key] for row in rows]
            for key in ("coverage", "error")
        )
        middle.errorbar(places, found, errors, fmt="o", color=colour, label=method)
    first = next(iter(tests.values()))["observables"]
    edges = np.arange(len(names) + 1) - 0.5
    for key, style, label in (("before_e3", "--", "stress, before unfolding"), ("floor_e3", ":", "statistics")):
        left.stairs([first[name]["stress"][key] for name in names], edges, color="0.4", linestyle=style, label=label)
    left.set(yscale="log", ylabel="Triangular discriminator / $10^{-3}$")
    middle.axhline(ONE_SIGMA, color="0.4", linestyle="--")
    middle.set(ylim=(0, 1), ylabel="Coverage of the bootstrap uncertainty")
    for axis in axes:
        axis.set_xlim(-0.6, len(names) - 0.4)
        axis.set_xticks(range(len(names)), names, rotation=35, ha="right")
        axis.tick_params(axis="x", which="minor", bottom=False, top=False)
    low, high = left.get_ylim()
    left.set_ylim(low, high * 8)
    left.legend(ncols=2, fontsize=9, loc="upper center")
    middle.legend(loc="lower center")
    add_label(left)
    add_label(middle, right, kind="")
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Read the tests and draw them."""
    parser = make_parser(__doc__)
    parser.add_argument("--closure", nargs="+", type=Path, required=True, help="closure.json in the folder of a method")
    parser.add_argument("--right", default="", help="text above the axes at the right, e.g. the energy")
    parser.add_argument("--output", type=Path, required=True, help="figure, .png; a .pdf goes beside it")
    args = parser.parse_args(argv)
    start_log("matplotlib", "numpy")
    tests = {path.parent.name: read_json(path) for path in args.closure}
    save_figure(draw_closure(tests, args.right), args.output)


if __name__ == "__main__":
    run_main(main)
