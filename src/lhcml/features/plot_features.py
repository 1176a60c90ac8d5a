r"""Draw the features of the datasets of a channel: observables, multiplicity, average primary Lund planes.

Feature files are told apart by their folders, as the workflow lays them out: {dataset}/{shift}/{chunk}.parquet.

By hand:
  python -m lhcml.features.plot_features --features results/features/toptag/*/nominal/0.parquet \
      --observables observables.png --multiplicity multiplicity.png --lund-planes lund_planes.png
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_parquet
from lhcml.common.style import COLOURS, add_label, new_figure, save_figure

if TYPE_CHECKING:
    import awkward as ak
    from matplotlib.axes import Axes

# column: (axis title, lower edge, upper edge, bins)
OBSERVABLES = {
    "jet_mass": ("Jet mass [GeV]", 0, 300, 50),
    "jet_msoftdrop": ("Soft-drop mass [GeV]", 0, 300, 50),
    "jet_tau21": (r"$\tau_{21}$", 0, 1, 40),
    "jet_tau32": (r"$\tau_{32}$", 0, 1, 40),
    "jet_d2": (r"$D_2$", 0, 10, 40),
    "jet_n2": (r"$N_2$", 0, 0.5, 40),
    "jet_m2": (r"$M_2$", 0, 0.2, 40),
    "jet_c2": (r"$C_2$", 0, 0.5, 40),
    "jet_width": (r"Width $\lambda_1$", 0, 0.6, 40),
    "jet_lha": (r"LHA $\lambda_{0.5}$", 0, 0.8, 40),
    "jet_zg": (r"$z_g$", 0, 0.5, 40),
    "jet_rg": (r"$R_g$ [rad]", 0, 0.8, 40),
}
MULTIPLICITY = {
    "jet_multiplicity": ("Constituents", -0.5, 149.5, 50),
    "jet_ptd": (r"$p_\mathrm{T}^\mathrm{D}$", 0, 1, 40),
}
LUND = ("lund_ln_delta", "lund_ln_kt", "lund_depth")
# ln(1 / Delta) and ln(kt / GeV)
LUND_RANGE = ((0.0, 6.0), (-4.0, 6.0))
LUND_BINS = (36, 40)


def normalised_histogram(
    values: Any, weights: Any, edges: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a histogram of unit sum over all values, also those out of range, and its statistical uncertainty.

    Parameters
    ----------
    values, weights : array_like of shape (n,)
        Entries and their weights.
    edges : array of shape (bins + 1,)
        Bin edges.

    Returns
    -------
    heights, errors : arrays of shape (bins,)
        Sums of weights and root of the sums of squared weights, over the sum of all weights. Zeros if there are none.
    """
    values, weights = np.asarray(values, np.float64), np.asarray(weights, np.float64)
    total = weights.sum()
    sums = np.histogram(values, edges, weights=weights)[0]
    squares = np.histogram(values, edges, weights=weights**2)[0]
    return (sums / total, np.sqrt(squares) / abs(total)) if total else (sums, np.sqrt(squares))


def average_lund_plane(ln_delta: ak.Array, ln_kt: ak.Array, depth: ak.Array, *, weights: Any) -> NDArray[np.float64]:
    """Return the mean density of primary emissions, (1/N) d²n / d ln(1/Delta) d ln kt (arXiv:1807.04758, eq. 2.5).

    Parameters
    ----------
    ln_delta, ln_kt, depth : ak.Array of shape (jets, var)
        Lund columns of the feature file.
    weights : array_like of shape (jets,)
        Weight of each jet.

    Returns
    -------
    array of shape `LUND_BINS`
        Density on `LUND_RANGE`.
    """
    import awkward as ak

    weights = np.asarray(weights, np.float64)
    primary = depth == 0
    per_emission = ak.flatten(ak.broadcast_arrays(weights, ln_delta)[0][primary])
    x, y = (ak.to_numpy(ak.flatten(values[primary])) for values in (-ln_delta, ln_kt))
    counts, x_edges, y_edges = np.histogram2d(x, y, LUND_BINS, LUND_RANGE, weights=ak.to_numpy(per_emission))
    area = (x_edges[1] - x_edges[0]) * (y_edges[1] - y_edges[0])
    return counts / (area * weights.sum()) if weights.sum() else counts


def draw_distribution(axes: Axes, column: str, binning: tuple[str, float, float, int], data: Mapping[str, Any]) -> None:
    """Draw one feature of all datasets as steps with bands of statistical uncertainty."""
    title, low, high, bins = binning
    edges = np.linspace(low, high, bins + 1)
    for (name, jets), colour in zip(data.items(), COLOURS, strict=False):
        heights, errors = normalised_histogram(jets[column], jets["weight_nominal"], edges)
        axes.stairs(heights, edges, color=colour, label=f"{name} ({len(jets)} jets)")
        axes.stairs(heights + errors, edges, baseline=heights - errors, fill=True, color=colour, alpha=0.3)
    axes.margins(y=0.08)
    axes.set(xlabel=title, ylabel="Fraction of jets per bin", xlim=(low, high))
    axes.set_ylim(bottom=0)


def draw_distributions(
    data: Mapping[str, Any], features: Mapping[str, Any], columns: int, label: tuple[str, str], path: Path
) -> None:
    """Draw a figure of several features; the label is what stands above it at the right, and the kind of data."""
    rows = -(-len(features) // columns)
    figure, axes = new_figure(rows, columns, width=4.6, height=3.7, squeeze=False)
    for position, (column, binning) in zip(axes.flat, features.items(), strict=True):
        draw_distribution(position, column, binning, data)
        add_label(position, *label)
    handles, names = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=max(len(names), 1), fontsize=13)
    save_figure(figure, path)


def draw_lund_planes(data: Mapping[str, Any], label: tuple[str, str], path: Path) -> None:
    """Draw the average primary Lund plane of each dataset on one colour scale."""
    planes = {
        name: average_lund_plane(*(jets[column] for column in LUND), weights=jets["weight_nominal"])
        for name, jets in data.items()
    }
    figure, axes = new_figure(1, len(planes), width=5.6, height=5.0, squeeze=False, sharey=True)
    top = max(float(plane.max()) for plane in planes.values()) or 1.0
    image = None
    for position, (name, plane) in zip(axes.flat, planes.items(), strict=True):
        extent = (*LUND_RANGE[0], *LUND_RANGE[1])
        shown = np.ma.masked_equal(plane.T, 0.0)
        image = position.imshow(shown, origin="lower", extent=extent, aspect="auto", cmap="viridis", vmin=0, vmax=top)
        position.set(xlabel=r"$\ln(1/\Delta)$")
        position.text(0.96, 0.95, name, transform=position.transAxes, ha="right", va="top", fontsize=15)
        add_label(position, *label)
    axes.flat[0].set_ylabel(r"$\ln(k_\mathrm{t}/\mathrm{GeV})$")
    title = r"$\frac{1}{N}\ \mathrm{d}^2n\,/\,\mathrm{d}\ln(1/\Delta)\,\mathrm{d}\ln k_\mathrm{t}$"
    figure.colorbar(image, ax=axes, label=title, pad=0.01)
    save_figure(figure, path)


def read_datasets(paths: Sequence[Path]) -> dict[str, ak.Array]:
    """Return the columns to draw, of the files of each dataset; the dataset is the folder above that of the shift.

    Raises
    ------
    UserError
        If a file cannot be read, or no dataset has a jet.
    """
    columns = ["weight_nominal", *OBSERVABLES, *MULTIPLICITY, *LUND]
    files: dict[str, list[Path]] = {}
    for path in paths:
        files.setdefault(path.absolute().parent.parent.name, []).append(path)
    data = {name: read_parquet(parts, columns) for name, parts in files.items()}
    if not any(len(jets) for jets in data.values()):
        raise UserError(
            f"no jet in any of {', '.join(map(str, paths))}",
            "loosen the selection of the channel, generate more events, or take the channel out of `features.plots`",
        )
    return data


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; see the module's docstring."""
    parser = make_parser(__doc__)
    parser.add_argument("--features", required=True, nargs="+", type=Path, help="feature files of all datasets")
    parser.add_argument("--label", default="", help="text at the right above the plots, e.g. 14 TeV")
    parser.add_argument("--kind", default="Simulation", help="text at the left: Simulation, Data, ...")
    parser.add_argument("--observables", required=True, type=Path, help="figure (PNG; the PDF is written beside it)")
    parser.add_argument("--multiplicity", required=True, type=Path, help="figure, likewise")
    parser.add_argument("--lund-planes", required=True, type=Path, help="figure, likewise")
    arguments = parser.parse_args(argv)
    log = start_log("matplotlib", "mplhep", "awkward", "numpy")
    data = read_datasets(arguments.features)
    log.info("jets: %s", ", ".join(f"{name} {len(jets)}" for name, jets in data.items()))
    label = (arguments.label, arguments.kind)
    draw_distributions(data, OBSERVABLES, 4, label, arguments.observables)
    draw_distributions(data, MULTIPLICITY, 2, label, arguments.multiplicity)
    draw_lund_planes(data, label, arguments.lund_planes)


if __name__ == "__main__":
    run_main(main)
