"""The named processes: Pythia settings after the published specification of each benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lhcml.common.errors import UserError


@dataclass(frozen=True)
class Process:
    """What is generated.

    Attributes
    ----------
    settings : tuple of str
        Pythia settings.
    gen_fat_jet_pt : tuple of float, optional
        An event is kept if the pT of its leading particle-level large-radius jet lies in this range in GeV.
    min_gen_lepton_pt : float
        An event is kept if it has an electron or muon of at least this pT in GeV within abs(eta) < 2.7; 0 keeps all.
    variations : bool
        Compute the weights of the shower variations.
    """

    settings: tuple[str, ...]
    gen_fat_jet_pt: tuple[float, float] | None = None
    min_gen_lepton_pt: float = 0.0
    variations: bool = True


# Top Tagging Reference: 14 TeV, no multiple interactions (arXiv:1902.09914). Choice of pTHat: docs/samples.md.
_TOPTAG = ("Beams:eCM = 14000.", "PartonLevel:MPI = off", "PhaseSpace:pTHatMin = 450.", "PhaseSpace:pTHatMax = 900.")
_ALL_HADRONIC = ("24:onMode = off", "24:onIfAny = 1 2 3 4 5")

PROCESSES: dict[str, Process] = {
    "toptag_top": Process(
        (*_TOPTAG, "Top:gg2ttbar = on", "Top:qqbar2ttbar = on", *_ALL_HADRONIC), gen_fat_jet_pt=(480.0, 750.0)
    ),
    "toptag_qcd": Process((*_TOPTAG, "HardQCD:all = on"), gen_fat_jet_pt=(480.0, 750.0)),
}


def find_process(block: str | Mapping[str, Any]) -> Process:
    """Return the process of a dataset.

    Parameters
    ----------
    block : str or mapping
        The dataset's `generate`: the name of a process, or a mapping with `process` (a name, optional), `settings`
        (Pythia lines, read after those of the process), `gen_fat_jet_pt`, `min_gen_lepton_pt` and `variations`.

    Raises
    ------
    UserError
        If there is no process of this name, or neither a process nor settings.
    """
    if isinstance(block, str):
        block = {"process": block}
    name = block.get("process")
    lines: Sequence[str] = block.get("settings", [])
    if name is None:
        if not lines:
            raise UserError(
                "`generate` has neither `process` nor `settings`", f"name a process: {', '.join(sorted(PROCESSES))}"
            )
        base = Process(())
    elif name in PROCESSES:
        base = PROCESSES[name]
    else:
        raise UserError(
            f"unknown process {name!r} in `generate`",
            f"use one of {', '.join(sorted(PROCESSES))}, or give Pythia lines: generate: {{settings: [...]}}",
        )
    window = block.get("gen_fat_jet_pt", base.gen_fat_jet_pt)
    return Process(
        settings=(*base.settings, *lines),
        gen_fat_jet_pt=None if window is None else (float(window[0]), float(window[1])),
        min_gen_lepton_pt=block.get("min_gen_lepton_pt", base.min_gen_lepton_pt),
        variations=block.get("variations", base.variations),
    )
