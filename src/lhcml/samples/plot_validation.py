"""Validation plots of a channel's generated events: jets, response of the detector, and weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.style import COLOURS, add_label, new_figure, save_figure
from lhcml.samples.arrays import Floats, Integers
from lhcml.samples.generator import VARIATIONS
from lhcml.samples.validation import (
    LEPTONS,
    Dataset,
    chunk_pulls,
    leading_jets,
    lepton_efficiency,
    main_jets,
    matched_jets,
    profile,
    read_dataset,
    shower_weights,
)

AXES = {
    "pt": "Leading jet $p_T$ [GeV]",
    "mass": "Leading jet mass [GeV]",
    "nConstituents": "Constituents of the leading jet",
}


def histogram(axis: Any, values: Floats, weights: Floats, edges: Floats, label: str, colour: str) -> None:
    """Draw a normalised histogram with statistical errors."""
    total = weights.sum() * np.diff(edges)
    content = np.histogram(values, edges, weights=weights)[0] / total
    error = np.sqrt(np.histogram(values, edges, weights=weights**2)[0]) / total
    axis.stairs(content, edges, color=colour, label=label, linewidth=1.5)
    axis.errorbar(0.5 * (edges[1:] + edges[:-1]), content, error, fmt="none", color=colour, linewidth=1)


def draw_jets(datasets: Sequence[Dataset], label: str) -> Any:
    """Return the figure of pT, mass and number of constituents of leading jets."""
    figure, axes = new_figure(1, 3, width=5.4, height=4.8)
    jets = [leading_jets(dataset.events) for dataset in datasets]
    for axis, (key, title) in zip(axes, AXES.items(), strict=True):
        everything = np.concatenate([columns[key] for columns in jets])
        low, high = np.quantile(everything, [0.001, 0.99])
        # about as many bins as the smallest dataset can fill
        bins = int(np.clip(2 * np.sqrt(min(len(columns[key]) for columns in jets)), 10, 40))
        edges = np.linspace(low, high, bins + 1)
        if key == "nConstituents":
            step = max(1, round((high - low) / bins))
            edges = np.arange(low, high + step + 1, step) - 0.5
        for dataset, columns, colour in zip(datasets, jets, COLOURS, strict=False):
            histogram(axis, columns[key], columns["weight"], edges, dataset.name.replace("_", " "), colour)
        axis.set(xlabel=title, ylabel="Normalised to 1 per unit", xlim=(edges[0], edges[-1]))
        axis.set_ylim(0, 1.3 * axis.get_ylim()[1])
        add_label(axis, label)
    axes[0].legend(ncols=2 if len(datasets) > 4 else 1, fontsize=9)
    return figure


def pt_edges(values: Floats) -> Floats:
    """Return bin edges in pT that follow the population, eight bins."""
    low, high = np.quantile(values, [0.005, 0.995])
    return np.asarray(np.geomspace(max(low, 10.0), max(high, 20.0), 9))


def label_logarithmic(axis: Any) -> None:
    """Make the x axis logarithmic, with plain numbers at 1, 2, 5 of each decade."""
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.xaxis.set_minor_formatter(NullFormatter())


def draw_response(datasets: Sequence[Dataset], label: str) -> Any:
    """Return the figure of jet response and resolution, missing momentum and lepton efficiency."""
    with_leptons = "Muon_pt" in datasets[0].events.fields
    figure, axes = new_figure(2, 3, width=5.4, height=4.4)
    names = main_jets(datasets[0].events)
    jets = [matched_jets(dataset.events) for dataset in datasets]
    edges_pt = pt_edges(np.concatenate([columns["gen_pt"] for columns in jets]))
    edges_eta = np.linspace(0, 4, 9) if names is not None and names[0] == "Jet" else np.linspace(0, 2.8, 8)
    edges_mass = np.geomspace(10, 300, 11)
    for dataset, columns, colour in zip(datasets, jets, COLOURS, strict=False):
        response = columns["pt"] / columns["gen_pt"]
        for column, (x, edges, title) in enumerate(
            (
                (columns["gen_pt"], edges_pt, "Particle-level jet $p_T$ [GeV]"),
                (np.abs(columns["gen_eta"]), edges_eta, r"Particle-level jet $|\eta|$"),
            )
        ):
            median, width, median_error, width_error = profile(x, response, edges)
            centre, half = 0.5 * (edges[1:] + edges[:-1]), 0.5 * np.diff(edges)
            name = dataset.name.replace("_", " ")
            for axis, value, error, what in (
                (axes[0, column], median, median_error, "Median of $p_T / p_T^{gen}$"),
                (axes[1, column], width, width_error, "Relative $p_T$ resolution"),
            ):
                axis.errorbar(centre, value, error, half, fmt="o", ms=4, color=colour, label=name)
                axis.set(xlabel=title, ylabel=what)
        heavy = columns["gen_mass"] > edges_mass[0]
        mass = columns["gen_mass"][heavy]
        median, width, median_error, _ = profile(mass, columns["mass"][heavy] / mass, edges_mass)
        axes[0, 2].errorbar(np.sqrt(edges_mass[1:] * edges_mass[:-1]), median, median * width, fmt="o", ms=4,
                            color=colour, capsize=2)  # fmt: skip
    axes[0, 2].set(xlabel="Particle-level jet mass [GeV]", ylabel="$m / m^{gen}$: median, 68 % band")
    if edges_pt[-1] > 4 * edges_pt[0]:
        for axis in axes[:, 0]:
            label_logarithmic(axis)
    label_logarithmic(axes[0, 2])
    for axis in axes[0]:
        axis.axhline(1, color="0.6", linewidth=1, zorder=0)
    for axis in axes[1, :2]:
        axis.set_ylim(0, 1.2 * axis.get_ylim()[1])
    if with_leptons:
        draw_leptons(axes[1, 2], datasets)
    else:
        draw_missing(axes[1, 2], datasets)
    handles, labels = axes[0, 1].get_legend_handles_labels()
    axes[1, 1].legend(handles, labels, ncols=2 if len(datasets) > 3 else 1, fontsize=9)
    for axis in axes.flat:
        add_label(axis, label)
    return figure


def draw_missing(axis: Any, datasets: Sequence[Dataset]) -> None:
    """Draw the resolution of a component of the missing momentum against the scalar sum of pT."""
    for dataset, colour in zip(datasets, COLOURS, strict=False):
        events = dataset.events
        sum_et = np.asarray(events["MET_sumEt"])
        low, high = np.quantile(sum_et, [0.02, 0.98])
        edges = np.linspace(low, high, 9)
        difference = np.asarray(
            events["MET_pt"] * np.cos(events["MET_phi"]) - events["GenMET_pt"] * np.cos(events["GenMET_phi"])
        )
        bins = np.digitize(sum_et, edges) - 1
        used = [i for i in range(len(edges) - 1) if np.count_nonzero(bins == i) >= 10]
        width = np.array([np.subtract(*np.quantile(difference[bins == i], [0.84, 0.16])) / 2 for i in used])
        count = np.array([np.count_nonzero(bins == i) for i in used])
        axis.errorbar(edges[used] + 0.5 * (edges[1] - edges[0]), width, 1.25 * width / np.sqrt(2 * count),
                      0.5 * (edges[1] - edges[0]), fmt="o", ms=4, color=colour)  # fmt: skip
    axis.set(xlabel=r"$\Sigma p_T$ [GeV]", ylabel="Resolution of $p_x^{miss}$ [GeV]")
    axis.set_ylim(0)


def draw_leptons(axis: Any, datasets: Sequence[Dataset]) -> None:
    """Draw the efficiency of prompt electrons and muons against pT, all datasets together."""
    edges = np.array([5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 60.0, 100.0])
    for (group, code), colour in zip(LEPTONS, COLOURS, strict=False):
        counts = [lepton_efficiency(dataset.events, group, code, edges) for dataset in datasets]
        true, found = (np.sum([pair[i] for pair in counts], axis=0) for i in (0, 1))
        used = true > 0
        efficiency = found[used] / true[used]
        # one event more in each class keeps the error of 0 and 1 from vanishing
        smooth = (found[used] + 1) / (true[used] + 2)
        error = np.sqrt(smooth * (1 - smooth) / (true[used] + 3))
        centre, half = 0.5 * (edges[1:] + edges[:-1])[used], 0.5 * np.diff(edges)[used]
        axis.errorbar(centre, efficiency, error, half, fmt="o", ms=4, color=colour, label=group)
    axis.set(xlabel="True lepton $p_T$ [GeV]", ylabel="Efficiency", ylim=(0, 1.15))
    axis.legend(loc="lower right")


def draw_weights(datasets: Sequence[Dataset], label: str) -> Any:
    """Return the figure of shower weights and of the cross sections of chunks."""
    figure, axes = new_figure(1, 3, width=5.4, height=4.8)
    edges = np.linspace(0, 4, 61)
    varied = [(dataset, weights) for dataset in datasets if (weights := shower_weights(dataset.events)) is not None]
    if varied:
        dataset, weights = varied[0]
        for column, (name, colour) in enumerate(zip(VARIATIONS, COLOURS, strict=False)):
            axes[0].hist(np.clip(weights[:, column], 0, edges[-1]), edges, histtype="step", color=colour, label=name)
        axes[0].set(xlabel=f"PSWeight of {dataset.name.replace('_', ' ')} (last bin: above)", ylabel="Events",
                    yscale="log")  # fmt: skip
        axes[0].set_ylim(0.5, 30 * len(weights))
        axes[0].legend(ncols=2, fontsize=9)
    else:
        axes[0].text(0.5, 0.5, "No shower variations", ha="center", transform=axes[0].transAxes)
    for number, (dataset, weights) in enumerate(varied):
        error = weights.std(axis=0) / np.sqrt(len(weights))
        shift = 0.15 * (number - 0.5 * (len(varied) - 1))
        axes[1].errorbar(np.arange(4) + shift, weights.mean(axis=0), error, fmt="o", color=COLOURS[number],
                         label=dataset.name.replace("_", " "), capsize=2)  # fmt: skip
    axes[1].axhline(1, color="0.6", linewidth=1, zorder=0)
    axes[1].set_xticks(range(4), VARIATIONS)
    axes[1].set(ylabel="Mean PSWeight", xlim=(-0.6, 3.6))
    if varied:
        axes[1].set_ylim(None, axes[1].get_ylim()[1] + 0.3 * np.ptp(axes[1].get_ylim()))
        axes[1].legend(loc="upper left")
    positions, names, start = [], [], 0
    for number, dataset in enumerate(datasets):
        pulls = chunk_pulls(dataset)
        if len(pulls):
            at: Integers = start + np.arange(len(pulls))
            axes[2].errorbar(at, pulls, 1, fmt="o", ms=4, color=COLOURS[number % len(COLOURS)])
            positions.append(at.mean())
            names.append(dataset.name.replace("_", "\n"))
            start += len(pulls) + 1
    if positions:
        axes[2].set_xticks(positions, names, fontsize=9)
        axes[2].minorticks_off()
        axes[2].axhline(0, color="0.6", linewidth=1, zorder=0)
        axes[2].set(ylim=(-5, 5))
    else:
        axes[2].text(0.5, 0.5, "One chunk per dataset", ha="center", transform=axes[2].transAxes)
    axes[2].set(ylabel="Pull of the cross section of a chunk")
    for axis in axes:
        add_label(axis, label)
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--events", required=True, nargs="+", type=Path, help="files <dataset>/<chunk>.root")
    parser.add_argument("--label", default="", help="text at the right above the plots, e.g. 14 TeV")
    parser.add_argument("--jets", required=True, type=Path, help="figure of jets to write, PNG; PDF beside it")
    parser.add_argument("--response", required=True, type=Path, help="figure of the response to write")
    parser.add_argument("--weights", required=True, type=Path, help="figure of weights to write")
    args = parser.parse_args(argv)
    start_log("uproot", "awkward", "matplotlib", "mplhep")
    files: dict[str, list[Path]] = defaultdict(list)
    for path in args.events:
        files[path.parent.name].append(path)
    datasets = [read_dataset(name, paths) for name, paths in files.items()]
    save_figure(draw_jets(datasets, args.label), args.jets)
    save_figure(draw_response(datasets, args.label), args.response)
    save_figure(draw_weights(datasets, args.label), args.weights)


if __name__ == "__main__":
    run_main(main)
