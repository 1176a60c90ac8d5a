"""Draw the diagnostics of an unbinned unfolding: weights, training and closeness to the truth in each iteration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import parquet_columns, read_json
from lhcml.common.style import COLOURS, add_label, new_figure, save_figure
from lhcml.unfolding.metrics import triangular_discriminator
from lhcml.unfolding.uncertainties import NOMINAL, Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

GROUPS = {
    "nominal": ("Nominal", "black"), "ensemble": ("Ensemble", COLOURS[0]),
    "bootstrap_data": ("Data boots.", COLOURS[1]), "bootstrap_simulation": ("Sim. boots.", COLOURS[2]),
    "systematics": ("Systematics", COLOURS[4]),
}  # fmt: skip
LINES = ("-", "--", ":")
WEIGHT_BINS = 60
# title: names of the figures and their line styles, scale
PANELS: dict[str, tuple[dict[str, str], str]] = {
    "Effective share of events": ({"effective_share": "-"}, "linear"),
    "Largest and smallest weight / mean": ({"largest_weight": "-", "smallest_weight": "--"}, "log"),
    "Change of weights / mean": ({"change": "-"}, "log"),
    "Normalisation of the ratio": ({"normalisation_drift_step1": "-", "normalisation_drift_step2": "--"}, "linear"),
    "Loss (1: indistinguishable)": ({"loss_step1": "-", "loss_step2": "--"}, "linear"),
}


def curves(diagnostics: Sequence[Mapping[str, Any]], name: str) -> Iterator[tuple[str, Array]]:
    """Yield group and values by iteration of a figure, for each replica of all files."""
    for part in diagnostics:
        for run in part["runs"]:
            values = np.array([iteration[name] for iteration in run["iterations"]])
            for replica in values.T:
                yield part["group"], replica


def plain_numbers(axis: Axis) -> None:
    """Write numbers rather than powers at the ticks of a logarithmic axis, those between as well if it is short."""
    low, high = axis.get_view_interval()
    short = high / low < 300
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(lambda value, _: f"{value:g}" if short and f"{value:e}"[0] in "25" else "")
    axis.set_tick_params(which="minor", labelsize=10)


def iterations_axis(axes: Axes) -> None:
    """Make the horizontal axis one of iterations."""
    from matplotlib.ticker import MaxNLocator, NullLocator

    axes.set_xlabel("Iteration")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_minor_locator(NullLocator())


def draw_curves(axes: Axes, diagnostics: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> None:
    """Draw figures of every replica against the iteration, nominal on top."""
    for name, line in names.items():
        for group, values in curves(diagnostics, name):
            nominal = group == "nominal"
            look: dict[str, Any] = {"linewidth": 2, "zorder": 3} if nominal else {"linewidth": 0.8, "alpha": 0.6}
            axes.plot(range(1, len(values) + 1), values, linestyle=line, color=GROUPS[group][1], marker="o",
                      markersize=3, **look)  # fmt: skip
    iterations_axis(axes)


def nominal_runs(diagnostics: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the runs of the nominal unfolding: one, or one an observable.

    Raises
    ------
    UserError
        If it is not among the files.
    """
    runs = [run for part in diagnostics if part["group"] == "nominal" for run in part["runs"]]
    if not runs:
        raise UserError("no diagnostics of the nominal unfolding", "give diagnostics/nominal.json too")
    return runs


def draw_calibration(axes: Axes, runs: Sequence[Mapping[str, Any]]) -> None:
    """Draw the observed ratio of weights against the estimated one, in quantiles of the estimate, last iteration."""
    low, high = 1.0, 1.0
    for number, (step, marker) in enumerate({"step1": "o", "step2": "s"}.items()):
        for index, run in enumerate(runs):
            points = np.array(run["calibration"][step])
            axes.plot(points[:, 0], points[:, 1], marker=marker, markersize=4, linewidth=0.8, color=COLOURS[number],
                      label=f"Step {number + 1}" if index == 0 else None)  # fmt: skip
            low, high = min(low, points[:, 0].min()), max(high, points[:, 0].max())
    axes.plot([low, high], [low, high], color="0.5", linewidth=1, zorder=1)
    axes.set(xlabel="Estimated ratio", ylabel="Observed ratio")
    axes.legend(loc="upper left")


def distances(runs: Sequence[Mapping[str, Any]], spectra: Mapping[str, Any]) -> dict[str, tuple[str, list[float]]]:
    """Return label and triangular discriminator to the truth, before unfolding and after each iteration.

    Of a method that unfolds each observable by itself, from its own run. Without a truth the distance is the one to the
    simulation before unfolding.
    """
    found = {}
    for run in runs:
        own = run["inputs"] if len(runs) > 1 else list(run["spectra"])
        for name in own:
            block = spectra["observables"][name]
            centre = block["prior"] if block["truth"] is None else block["truth"]
            widths = np.diff(block["edges"])
            rows = [block["prior"], *run["spectra"][name]]
            found[name] = block["label"], [triangular_discriminator(row, centre, widths) for row in rows]
    return found


def draw_distances(axes: Axes, found: Mapping[str, tuple[str, list[float]]], truth: bool) -> None:
    """Draw the discriminator of each observable against the iteration."""
    for number, (label, values) in enumerate(found.values()):
        start = 0 if truth else 1
        axes.plot(range(start, len(values)), values[start:], marker="o", markersize=3, linewidth=1.2, label=label,
                  color=COLOURS[number % len(COLOURS)],
                  linestyle=LINES[number // len(COLOURS) % len(LINES)])  # fmt: skip
    iterations_axis(axes)
    axes.set(yscale="log", ylabel=f"Triangular disc. to {'truth' if truth else 'simulation'} / $10^{{-3}}$")
    plain_numbers(axes.yaxis)


def read_factors(weights: Path, simulation: Path) -> dict[str, Array]:
    """Return the nominal weights over the prior, of mean 1, by column.

    Raises
    ------
    UserError
        If the files are of different events.
    """
    import pyarrow.parquet

    events = pyarrow.parquet.read_table(simulation, columns=["pass_gen", NOMINAL], use_threads=False)
    prior = events[NOMINAL].to_numpy()[events["pass_gen"].to_numpy()]
    factors = {}
    for column in parquet_columns(weights):
        if column.rpartition(".")[2] != NOMINAL:
            continue
        values = pyarrow.parquet.read_table(weights, columns=[column], use_threads=False)[column].to_numpy()
        if len(values) != len(prior):
            raise UserError(
                f"{weights} has {len(values)} rows for {len(prior)} events of {simulation} that pass at particle level",
                "give the simulation and the weights of the same run of the workflow",
            )
        used = prior != 0
        factors[column] = (values[used] / prior[used]) * (prior.sum() / values.sum())
    return factors


def draw_factors(axes: Axes, factors: Mapping[str, Array]) -> None:
    """Draw the distribution of the factors that the unfolding gives events; each column by itself."""
    low = min(float(values.min()) for values in factors.values())
    high = max(float(values.max()) for values in factors.values())
    edges = np.geomspace(max(low, 1e-4) / 1.01, high * 1.01, WEIGHT_BINS + 1)
    for number, values in enumerate(factors.values()):
        axes.stairs(np.histogram(values, edges)[0], edges, color=COLOURS[number % len(COLOURS)], linewidth=1)
    axes.set(xscale="log", yscale="log", xlabel="Final weight / prior weight (mean 1)", ylabel="Events")
    plain_numbers(axes.xaxis)


def clipped(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the largest share of events whose ratio was at its bound, in any iteration, as a text."""
    shares = [
        100
        * max(value for run in runs for iteration in run["iterations"] for value in iteration[f"clipped_step{step}"])
        for step in (1, 2)
    ]
    return f"Events at the bound of the ratio: {shares[0]:.2g} % in step 1, {shares[1]:.2g} % in step 2"


def draw_diagnostics(
    diagnostics: Sequence[Mapping[str, Any]], spectra: Mapping[str, Any], factors: Mapping[str, Array], right: str
) -> Any:
    """Return the figure.

    Parameters
    ----------
    diagnostics : sequence of mapping
        Contents of diagnostics/{group}.json, nominal among them.
    spectra : mapping
        Content of spectra.json.
    factors : mapping of str to array
        Result of `read_factors`.
    right : str
        Text above the axes at the right.
    """
    figure, axes = new_figure(3, 3, width=5.2, height=4.0)
    panels = list(axes.flat)
    for panel, (title, (names, scale)) in zip(panels, PANELS.items(), strict=False):
        draw_curves(panel, diagnostics, names)
        panel.set(ylabel=title, yscale=scale)
        if scale == "log":
            plain_numbers(panel.yaxis)
        if len(names) > 1 and "step" in next(iter(names)):
            panel.plot([], [], color="0.4", label="Step 1")
            panel.plot([], [], color="0.4", linestyle="--", label="Step 2")
            panel.legend()
    panels[0].set_ylim(bottom=0)
    for group in [part["group"] for part in diagnostics if part["runs"]]:
        label, colour = GROUPS[group]
        panels[0].plot([], [], color=colour, label=label)
    panels[0].legend(loc="lower left", ncols=2)
    runs = nominal_runs(diagnostics)
    draw_calibration(panels[5], runs)
    truth = all(block["truth"] is not None for block in spectra["observables"].values())
    draw_distances(panels[6], distances(runs, spectra), truth)
    draw_factors(panels[7], factors)
    handles, labels = panels[6].get_legend_handles_labels()
    panels[8].axis("off")
    panels[8].legend(handles, labels, loc="center left", ncols=2, fontsize=10, title="Observables")
    panels[8].text(0, 0, clipped(runs), transform=panels[8].transAxes, fontsize=10)
    add_label(panels[0], kind="Simulation" if truth else "Data")
    add_label(panels[1], spectra["label"], kind="")
    add_label(panels[2], right, kind="")
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Read diagnostics, spectra and weights of a method, draw them."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--diagnostics", nargs="+", type=Path, required=True, help="diagnostics/{group}.json, with nominal"
    )
    parser.add_argument("--spectra", type=Path, required=True, help="spectra.json of the method")
    parser.add_argument("--weights", type=Path, required=True, help="weights/nominal.parquet of the method")
    parser.add_argument("--simulation", type=Path, required=True, help="simulation.parquet of collect_events")
    parser.add_argument("--right", default="", help="text above the axes at the right, e.g. the energy")
    parser.add_argument("--output", type=Path, required=True, help="figure, .png; a .pdf goes beside it")
    args = parser.parse_args(argv)
    start_log("matplotlib", "numpy", "pyarrow")
    factors = read_factors(args.weights, args.simulation)
    diagnostics = [read_json(path) for path in args.diagnostics]
    save_figure(draw_diagnostics(diagnostics, read_json(args.spectra), factors, args.right), args.output)


if __name__ == "__main__":
    run_main(main)
