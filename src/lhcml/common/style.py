"""Plot style shared by all figures: mplhep, units on axes, an honest label, PNG and PDF."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lhcml.common.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Petroff's sequence of ten colours, distinguishable with colour-vision deficiency (arXiv:2107.02270)
COLOURS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip


def new_figure(rows: int = 1, columns: int = 1, *, width: float = 6.4, height: float = 5.2, **options: Any) -> Any:
    """Return `(figure, axes)` in the project's style; keyword options go to `plt.subplots`."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import mplhep

    plt.style.use(mplhep.style.CMS)
    plt.rcParams.update(
        {
            "figure.dpi": 110, "font.size": 13, "axes.labelsize": 14, "legend.fontsize": 11,
            "axes.prop_cycle": matplotlib.cycler(color=COLOURS), "lines.linewidth": 1.6,
            "xtick.labelsize": 12, "ytick.labelsize": 12, "legend.frameon": False,
        }
    )  # fmt: skip
    return plt.subplots(rows, columns, figsize=(width * columns, height * rows), layout="constrained", **options)


def add_label(axes: Axes, right: str = "", kind: str = "Simulation") -> None:
    """Write the kind of data above the axes at the left and energy, luminosity or channel at the right."""
    axes.text(0, 1.01, kind, transform=axes.transAxes, ha="left", va="bottom", fontsize=12, fontweight="bold",
              fontstyle="italic")  # fmt: skip
    axes.text(1, 1.01, right, transform=axes.transAxes, ha="right", va="bottom", fontsize=11)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Save a figure as PNG and PDF beside each other and close it, also if that fails.

    Parameters
    ----------
    figure : Figure
        The figure.
    path : path
        Final name of either file; the other one takes the other suffix.
    """
    import matplotlib.pyplot as plt

    try:
        for suffix in (".png", ".pdf"):
            with write_atomic(Path(path).with_suffix(suffix)) as temporary:
                # no creation date: the same figure is the same file
                metadata = {"CreationDate": None} if suffix == ".pdf" else None
                figure.savefig(temporary, metadata=metadata)
    finally:
        plt.close(figure)
