"""Draw a few events in the eta-phi plane and a few jets with their constituents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_parquet
from lhcml.common.style import COLOURS, add_label, new_figure, save_figure

# Objects of an event and how they are drawn: collection, legend, colour, radius of a circle (rad) or marker.
CIRCLES = (("FatJet", "large-R jets", COLOURS[2], 0.8), ("Jet", "small-R jets", COLOURS[0], 0.4))
MARKERS = (("Electron", "electrons", COLOURS[4], "P"), ("Muon", "muons", COLOURS[6], "X"))
# pT (GeV) below which an object is left out of an event display
LEAST_PT = {"FatJet": 100.0, "Jet": 25.0, "Electron": 5.0, "Muon": 5.0, "PFCands": 0.5}


def marker_area(pt: Any) -> Any:
    """Return marker areas in points squared for transverse momenta in GeV: 2 + 1.2 pT, at most 400."""
    return np.minimum(2.0 + 1.2 * np.asarray(pt), 400.0)


def read_events(path: Path, count: int) -> dict[str, ak.Array]:
    """Return the first events of a NanoAOD-like file: collection -> records with pt, eta, phi.

    Collections that the file lacks are left out; `MET` has pt and phi only.

    Raises
    ------
    UserError
        If the file cannot be read or has no tree `Events`.
    """
    import uproot

    try:
        with uproot.open(path) as file:
            tree = file["Events"]
            present = set(tree.keys())
            found = {}
            for name in ("FatJet", "Jet", "Electron", "Muon", "PFCands", "MET"):
                fields = ("pt", "phi") if name == "MET" else ("pt", "eta", "phi")
                branches = [f"{name}_{field}" for field in fields]
                if present.issuperset(branches):
                    arrays = tree.arrays(branches, entry_stop=count)
                    found[name] = ak.zip({f: arrays[b] for f, b in zip(fields, branches, strict=True)})
    except (OSError, KeyError, ValueError) as error:
        raise UserError(
            f"cannot read events of {path}: {error}", "give a NanoAOD-like ROOT file with tree Events"
        ) from error
    return found


def draw_event(axes: Any, event: dict[str, Any]) -> None:
    """Draw one event in the eta-phi plane."""
    from matplotlib.patches import Circle

    if "PFCands" in event:
        cands = event["PFCands"][event["PFCands"].pt > LEAST_PT["PFCands"]]
        axes.scatter(
            cands.eta, cands.phi, s=marker_area(cands.pt), color=COLOURS[3], alpha=0.6, lw=0, label="candidates"
        )
    for name, label, colour, radius in CIRCLES:
        if name in event:
            for number, jet in enumerate(event[name][event[name].pt > LEAST_PT[name]]):
                # a jet at the seam of phi is drawn on both sides
                for phi in (jet.phi, jet.phi - 2 * np.pi, jet.phi + 2 * np.pi):
                    if abs(phi) < np.pi + radius:
                        circle = Circle((jet.eta, phi), radius, fill=False, ec=colour, lw=1.4)
                        circle.set_label(label if number == 0 and phi == jet.phi else "_")
                        axes.add_patch(circle)
                text = {"color": colour, "fontsize": 8, "ha": "center", "va": "bottom", "annotation_clip": True}
                # the number stands on the circle
                axes.annotate(f"{jet.pt:.0f}", (jet.eta, jet.phi + radius), **text)
    for name, label, colour, marker in MARKERS:
        if name in event:
            leptons = event[name][event[name].pt > LEAST_PT[name]]
            if len(leptons):
                axes.scatter(leptons.eta, leptons.phi, marker=marker, s=60, color=colour, label=label)
    if "MET" in event:
        axes.axhline(event["MET"].phi, ls=":", color="k", lw=1, label="MET direction")
        axes.text(
            0.99, 0.98, f"MET {event['MET'].pt:.0f} GeV", transform=axes.transAxes, ha="right", va="top", fontsize=9
        )
    axes.set(xlim=(-4.5, 4.5), ylim=(-np.pi, np.pi), xlabel=r"$\eta$", ylabel=r"$\phi$ [rad]", aspect="equal")


def draw_jet(axes: Any, jet: Any) -> None:
    """Draw the constituents of one jet around its axis, the area of a marker growing with pT."""
    charged = np.asarray(jet.part_charge) != 0
    for mask, label, colour in ((charged, "charged", COLOURS[2]), (~charged, "neutral", COLOURS[0])):
        axes.scatter(
            np.asarray(jet.part_deta)[mask], np.asarray(jet.part_dphi)[mask], s=marker_area(jet.part_pt)[mask],
            color=colour, alpha=0.6, lw=0.3, ec="k", label=label,
        )  # fmt: skip
    axes.set(xlim=(-1, 1), ylim=(-1, 1), xlabel=r"$\Delta\eta$", ylabel=r"$\Delta\phi$ [rad]", aspect="equal")
    text = f"$p_T$ = {jet.jet_pt:.0f} GeV\n$m$ = {jet.jet_mass:.0f} GeV\n" + rf"$\tau_{{32}}$ = {jet.jet_tau32:.2f}"
    axes.text(0.03, 0.97, text, transform=axes.transAxes, va="top", fontsize=10)


def main(argv: Sequence[str] | None = None) -> None:
    """Draw events of one file, or jets of one feature file, side by side."""
    parser = make_parser(__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--events", type=Path, help="NanoAOD-like ROOT file")
    source.add_argument("--jets", type=Path, help="feature file (Parquet)")
    parser.add_argument("--count", type=int, default=3, help="how many are drawn")
    parser.add_argument("--label", default="", help="text above the plot at the right")
    parser.add_argument("--output", type=Path, required=True, help="PNG to write; a PDF is written beside it")
    args = parser.parse_args(argv)
    log = start_log("awkward", "uproot", "matplotlib")
    # the frame of an event is 9 units of eta by 2 pi of phi, that of a jet is square
    figure, axes = new_figure(1, args.count, width=5.4 if args.events else 4.4, height=4.9, squeeze=False)
    drawn = 0
    if args.events:
        collections = read_events(args.events, args.count)
        drawn = min(args.count, *(len(array) for array in collections.values())) if collections else 0
        for i in range(drawn):
            draw_event(axes[0, i], {name: array[i] for name, array in collections.items()})
    else:
        wanted = ["part_pt", "part_deta", "part_dphi", "part_charge", "jet_pt", "jet_mass", "jet_tau32"]
        jets = read_parquet(args.jets, wanted)[: args.count]
        drawn = len(jets)
        for i in range(drawn):
            draw_jet(axes[0, i], jets[i])
    for i, panel in enumerate(axes[0]):
        add_label(panel, args.label if i == args.count - 1 else "")
        if i >= drawn:
            panel.text(0.5, 0.5, "no more events", transform=panel.transAxes, ha="center")
    # one legend for all panels: an object may be missing in the first
    found = {
        label: handle for panel in axes[0] for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=len(found) or 1, fontsize=10)
    log.info("%d drawn", drawn)
    save_figure(figure, args.output)


if __name__ == "__main__":
    run_main(main)
