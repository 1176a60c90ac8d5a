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
    leading_jet_pt : tuple of float, optional
        Range in GeV of the pT of the leading large-radius jet of partons; other events are dropped early, replaced, and
        not part of the cross section (`lhcml.samples.veto`).
    merged_top : bool
        With `leading_jet_pt`: the jet must hold a top and its three decay quarks, loosely.
    min_lepton_pt : float
        If above 0, only events with a final electron or muon of this pT in GeV are written; all are counted.
    variations : bool
        Compute the weights of the shower variations.
    """

    settings: tuple[str, ...]
    leading_jet_pt: tuple[float, float] | None = None
    merged_top: bool = False
    min_lepton_pt: float = 0.0
    variations: bool = True


# Top Tagging Reference: 14 TeV, no multiple interactions (arXiv:1902.09914). Choice of the ranges: docs/samples.md.
_TOPTAG = ("Beams:eCM = 14000.", "PartonLevel:MPI = off")
# LHC Olympics R&D: 13 TeV, no multiple interactions, a jet of R = 1.0 above 1.2 TeV (Zenodo 4536377).
_DIJET = ("Beams:eCM = 13000.", "PartonLevel:MPI = off")
# A Z recoiling against a jet, pTHat above 150 GeV, ATLAS A14 tunes.
_Z_AND_JET = (
    "WeakBosonAndParton:qqbar2gmZg = on",
    "WeakBosonAndParton:qg2gmZq = on",
    "WeakZ0:gmZmode = 2",
    "PhaseSpace:pTHatMin = 150.",
)
# OmniFold: 14 TeV, stable Z (Zenodo 3548091).
_ZJETS = ("Beams:eCM = 14000.", *_Z_AND_JET, "23:mayDecay = off")
# ATLAS, 24 observables unfolded at once: 13 TeV, Z to muons (arXiv:2405.20041, Zenodo 11507450).
_ZJETS_MUMU = ("Beams:eCM = 13000.", *_Z_AND_JET, "23:onMode = off", "23:onIfAny = 13")
# Anomaly detection at 40 MHz: 13 TeV, an electron or muon (Zenodo 5046389 and its signals).
_TRIGGER = ("Beams:eCM = 13000.",)
_TRIGGER_LEPTON = 20.0
_LEPTONIC_W = ("24:onMode = off", "24:onIfAny = 11 13 15")

PROCESSES: dict[str, Process] = {
    "toptag_top": Process(
        (
            *_TOPTAG,
            "Top:gg2ttbar = on",
            "Top:qqbar2ttbar = on",
            "24:onMode = off",
            "24:onIfAny = 1 2 3 4 5",
            "PhaseSpace:pTHatMin = 250.",
        ),
        leading_jet_pt=(515.0, 740.0),
        merged_top=True,
    ),
    "toptag_qcd": Process((*_TOPTAG, "HardQCD:all = on", "PhaseSpace:pTHatMin = 300."), leading_jet_pt=(515.0, 720.0)),
    "dijet_qcd": Process(
        (*_DIJET, "HardQCD:all = on", "PhaseSpace:pTHatMin = 700."), leading_jet_pt=(1100.0, float("inf"))
    ),
    # A neutral vector boson stands for the W' of the benchmark, and scalars of our own for X and Y
    "dijet_resonance": Process(
        (
            *_DIJET,
            "LeftRightSymmmetry:ffbar2ZR = on",
            "9900023:m0 = 3500.",
            "PhaseSpace:mHatMin = 3000.",
            "9000001:all = X void 1 0 0 500. 2. 450. 550. 0.",
            "9000001:isResonance = on",
            "9000001:oneChannel = 1 1.0 100 1 -1",
            "9000002:all = Y void 1 0 0 100. 1. 80. 120. 0.",
            "9000002:isResonance = on",
            "9000002:oneChannel = 1 1.0 100 1 -1",
            "9900023:oneChannel = 1 1.0 100 9000001 9000002",
        )
    ),
    "zjets": Process((*_ZJETS, "Tune:pp = 26")),
    # the opposite variation of the same tune
    "zjets_tune25": Process((*_ZJETS, "Tune:pp = 25"), variations=False),
    # softer fragmentation and twice the transverse momentum of hadrons: about as far from tune 26 as Herwig is, as
    # docs/samples.md measures
    "zjets_hadronisation": Process(
        (*_ZJETS, "Tune:pp = 26", "StringZ:aLund = 2.0", "StringPT:sigma = 0.72"), variations=False
    ),
    "zjets_mumu": Process((*_ZJETS_MUMU, "Tune:pp = 26")),
    "zjets_mumu_tune25": Process((*_ZJETS_MUMU, "Tune:pp = 25"), variations=False),
    # another shower: twenty times slower
    "zjets_vincia": Process((*_ZJETS, "PartonShowers:model = 2"), variations=False),
    "trigger_w": Process(
        (*_TRIGGER, "WeakSingleBoson:ffbar2W = on", *_LEPTONIC_W), min_lepton_pt=_TRIGGER_LEPTON, variations=False
    ),
    "trigger_z": Process(
        (
            *_TRIGGER,
            "WeakSingleBoson:ffbar2gmZ = on",
            "PhaseSpace:mHatMin = 50.",
            "23:onMode = off",
            "23:onIfAny = 11 13 15",
        ),
        min_lepton_pt=_TRIGGER_LEPTON,
        variations=False,
    ),
    "trigger_tt": Process(
        (*_TRIGGER, "Top:gg2ttbar = on", "Top:qqbar2ttbar = on"), min_lepton_pt=_TRIGGER_LEPTON, variations=False
    ),
    # leptons of multijet events come from heavy quarks; those of gluon splitting are in the shower of HardQCD
    "trigger_qcd": Process(
        (*_TRIGGER, "HardQCD:hardbbbar = on", "HardQCD:hardccbar = on", "PhaseSpace:pTHatMin = 30."),
        min_lepton_pt=_TRIGGER_LEPTON,
        variations=False,
    ),
    "trigger_leptoquark": Process(
        (
            *_TRIGGER,
            "LeptoQuark:gg2LQLQbar = on",
            "LeptoQuark:qqbar2LQLQbar = on",
            "42:m0 = 80.",
            "42:mMin = 50.",
            "42:0:products = 5 15",
        ),
        min_lepton_pt=_TRIGGER_LEPTON,
        variations=False,
    ),
    "trigger_a4l": Process(
        (
            *_TRIGGER,
            "HiggsSM:gg2H = on",
            "25:m0 = 50.",
            "25:onMode = off",
            "25:onIfMatch = 23 23",
            "23:mMin = 1.",
            "23:onMode = off",
            "23:onIfAny = 11 13",
        ),
        min_lepton_pt=_TRIGGER_LEPTON,
        variations=False,
    ),
    "trigger_h0": Process(
        (*_TRIGGER, "HiggsSM:gg2H = on", "25:m0 = 60.", "25:onMode = off", "25:onIfAny = 15"),
        min_lepton_pt=_TRIGGER_LEPTON,
        variations=False,
    ),
    "trigger_hplus": Process(
        (
            *_TRIGGER,
            "Higgs:useBSM = on",
            "HiggsBSM:ffbar2H+- = on",
            "37:m0 = 60.",
            "37:mMin = 40.",
            "37:onMode = off",
            "37:onIfAny = 15",
        ),
        min_lepton_pt=_TRIGGER_LEPTON,
        variations=False,
    ),
}


def find_process(block: str | Sequence[str] | Mapping[str, Any]) -> Process:
    """Return the process of a dataset.

    Parameters
    ----------
    block : str, sequence of str or mapping
        The dataset's `generate`: the name of a process; a list of Pythia settings; or a mapping with `process` (a name)
        or not, `settings` (Pythia settings, read after those of the process), and the other attributes of `Process`.

    Raises
    ------
    UserError
        If there is no process of this name, or neither a process nor settings.
    """
    if isinstance(block, str):
        block = {"process": block}
    elif not isinstance(block, Mapping):
        block = {"settings": list(block)}
    name, lines = block.get("process"), tuple(block.get("settings", ()))
    if name is not None and name not in PROCESSES:
        raise UserError(
            f"unknown process {name!r} in `generate`",
            f"use one of {', '.join(sorted(PROCESSES))}, or give Pythia settings: generate: [...]",
        )
    if name is None and not lines:
        raise UserError(
            "`generate` has neither `process` nor `settings`", f"name a process: {', '.join(sorted(PROCESSES))}"
        )
    base = Process(()) if name is None else PROCESSES[name]
    window = block.get("leading_jet_pt", base.leading_jet_pt)
    return Process(
        settings=(*base.settings, *lines),
        leading_jet_pt=None if window is None else (float(window[0]), float(window[1])),
        merged_top=block.get("merged_top", base.merged_top),
        min_lepton_pt=block.get("min_lepton_pt", base.min_lepton_pt),
        variations=block.get("variations", base.variations),
    )
