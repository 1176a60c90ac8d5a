"""What the figures of many taggers share: a look for each, and legends that leave room for twenty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lhcml.common.style import COLOURS

LINES = ("-", "--", ":")
MARKERS = ("o", "s", "D")
# More entries than this do not fit into the axes
FEW = 4


def line_style(position: int) -> dict[str, Any]:
    """Return colour and dashes of the tagger at a position; thirty differ."""
    return {"color": COLOURS[position % len(COLOURS)], "linestyle": LINES[position // len(COLOURS) % len(LINES)]}


def marker_style(position: int) -> dict[str, Any]:
    """Return colour and marker of the tagger at a position; thirty differ."""
    return {"color": COLOURS[position % len(COLOURS)], "marker": MARKERS[position // len(COLOURS) % len(MARKERS)]}


def by_auc(entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return entries of the comparison, the best first."""
    return sorted(entries, key=lambda entry: entry["auc"], reverse=True)


def legend_beside(figure: Any, axes: Any, **options: Any) -> None:
    """Put the legend of the axes to the right of the figure."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=10, **options)
