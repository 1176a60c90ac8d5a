"""Pythia 8 events in batches of flat columns, with shower-variation weights and the cross section."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np

from lhcml.common.errors import UserError
from lhcml.samples.arrays import Floats, Integers, Mask
from lhcml.samples.veto import make_jet_veto

# Particles that live longer than this (c tau in mm) reach the detector: K0S, Lambda and charged hyperons are stable.
STABLE_DECAY_LENGTH = 10.0

# Order and meaning of NanoAOD's PSWeight. "Up" means more radiation: the scale of alpha_s is halved.
VARIATIONS = ("isrUp", "fsrUp", "isrDown", "fsrDown")
VARIATION_SETTINGS = (
    "UncertaintyBands:doVariations = on",
    "UncertaintyBands:List = {isrUp isr:muRfac=0.5, fsrUp fsr:muRfac=0.5, "
    "isrDown isr:muRfac=2.0, fsrDown fsr:muRfac=2.0}",
    # Variations of soft emissions near the cut-off blow up the spread of the weights without a meaning of their own: as
    # CMS does, only emissions with pT^2 > 20 pTmin^2 are varied.
    "UncertaintyBands:FSRpTmin2Fac = 20.",
    # Trial emissions are oversampled to keep the spread of the weights down, at a price in time that is most of the
    # price of the variations; these values are the compromise measured in docs/samples.md.
    "UncertaintyBands:overSampleFSR = 2.",
    "UncertaintyBands:overSampleISR = 1.5",
)


@dataclass(frozen=True)
class EventRecord:
    """Event records of a batch, all particles of all events in one set of columns.

    Attributes
    ----------
    offsets : ndarray of int64, shape (events + 1,)
        Where each event begins in the columns.
    event : ndarray of int64, shape (particles,)
        Event of each particle, counted in the batch.
    pdg_id, status : ndarray of int32, shape (particles,)
        Particle code and Pythia status code (positive: final).
    mother : ndarray of int64, shape (particles,)
        Position of the first mother in these columns; of the particle itself where there is none.
    px, py, pz, energy, mass : ndarray of float64, shape (particles,)
        Momentum in GeV.
    weight : ndarray of float64, shape (events,)
        Generator weight.
    variations : ndarray of float64, shape (events, variations)
        Weight of each shower variation over the generator weight, in the order of `VARIATIONS`; no column if off.
    """

    offsets: Integers
    event: Integers
    pdg_id: Integers
    status: Integers
    mother: Integers
    px: Floats
    py: Floats
    pz: Floats
    energy: Floats
    mass: Floats
    weight: Floats
    variations: Floats

    @property
    def size(self) -> int:
        """Number of events."""
        return len(self.offsets) - 1

    def of_events(self, keep: Mask) -> EventRecord:
        """Return the events flagged in `keep`, shape (events,)."""
        mask = keep[self.event]
        counts = np.diff(self.offsets)[keep]
        moved = np.cumsum(mask) - 1
        columns = {name: getattr(self, name)[mask] for name in ("pdg_id", "status", "px", "py", "pz", "energy", "mass")}
        return EventRecord(
            offsets=np.concatenate([[0], np.cumsum(counts)]),
            event=np.repeat(np.arange(len(counts)), counts),
            mother=moved[self.mother[mask]],
            weight=self.weight[keep],
            variations=self.variations[keep],
            **columns,
        )


@dataclass(frozen=True)
class Generator:
    """An initialised Pythia, and the user hook that it calls but does not keep alive."""

    pythia: Any
    hook: Any


@dataclass(frozen=True)
class JetRange:
    """Range of pT of the leading parton-level jet in GeV, its radius, and whether it must hold a whole top decay."""

    low: float
    high: float
    radius: float
    merged_top: bool = False


@dataclass(frozen=True)
class CrossSection:
    """Cross section of a process from the phase-space sampling of one job, in pb."""

    value: float
    error: float


def import_pythia() -> Any:
    """Return the module of Pythia 8: `pythia8` (conda-forge) or `pythia8mc` (PyPI).

    Raises
    ------
    UserError
        If neither is installed.
    """
    try:
        import pythia8 as module
    except ImportError:
        try:
            import pythia8mc as module
        except ImportError as error:
            raise UserError(
                "no Python module of Pythia 8 is installed", "use the environment envs/samples.yaml"
            ) from error
    return module


def start_pythia(
    settings: Sequence[str], seed: int, *, variations: bool = False, veto: JetRange | None = None
) -> Generator:
    """Return an initialised generator.

    Parameters
    ----------
    settings : sequence of str
        Lines as in a Pythia command file.
    seed : int
        Seed, 1 to 900 000 000.
    variations : bool
        Compute the weights of the shower variations.
    veto : JetRange, optional
        What the leading parton-level jet must be; other events are dropped early.

    Raises
    ------
    UserError
        If Pythia refuses a line or cannot be initialised with these lines.
    """
    # the first argument is the path of Pythia's data, found by itself; the second silences the banner
    module = import_pythia()
    hook = None
    pythia = module.Pythia("", False)
    frame = [
        "Print:quiet = on",
        "Random:setSeed = on",
        f"Random:seed = {seed}",
        "ParticleDecays:limitTau0 = on",
        f"ParticleDecays:tau0Max = {STABLE_DECAY_LENGTH}",
        *(VARIATION_SETTINGS if variations else ()),
    ]
    for line in [*frame, *settings]:
        if not pythia.readString(line):
            raise UserError(
                f"Pythia refuses the setting {line!r}",
                "correct its name and value after Pythia's manual, in `generate: {settings: [...]}` of the dataset",
            )
    if veto is not None:
        hook = make_jet_veto(module, pythia, veto.low, veto.high, veto.radius, veto.merged_top)
        pythia.setUserHooksPtr(hook)
    if not pythia.init():
        raise UserError(
            "Pythia cannot be initialised with the settings " + "; ".join(settings),
            "Pythia's own message is in this log; a process must be switched on and its phase space must be open",
        )
    return Generator(pythia, hook)


def read_batch(generator: Generator, count: int) -> EventRecord:
    """Generate `count` events.

    An event that Pythia gives up on is replaced by another one, as in every Pythia program: such failures are part of
    Pythia's own event counting and of its cross section.

    Raises
    ------
    UserError
        If more than half of the attempts fail.
    """
    try:
        batch = generator.pythia.nextBatch(count, 2.0)
    except RuntimeError as error:
        raise UserError(f"Pythia failed in event generation: {error}", "check the settings of the process") from error
    counts = ak.to_numpy(ak.num(batch.prt)).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    event: Integers = np.repeat(np.arange(count), counts)
    flat = ak.flatten(batch.prt)

    def column(values: ak.Array) -> Floats:
        return ak.to_numpy(values)

    mother = column(flat.mother1).astype(np.int64)
    mother = np.where(mother > 0, mother + offsets[event], np.arange(len(event)))
    weights = ak.to_numpy(batch.info.weights)
    names = [name.lower() for name in generator.pythia.infoPython().weightNameVector()]
    # groups come after the single variations, under the names given to them
    positions = [names.index(name.lower()) for name in VARIATIONS if name.lower() in names]
    return EventRecord(
        offsets=offsets,
        event=event,
        pdg_id=column(flat.id),
        status=column(flat.status),
        mother=mother,
        px=column(flat.p.px),
        py=column(flat.p.py),
        pz=column(flat.p.pz),
        energy=column(flat.p.e),
        mass=column(flat.m),
        weight=weights[:, 0],
        variations=weights[:, positions] / weights[:, :1],
    )


def generate(generator: Generator, events: int, batch: int) -> Iterator[EventRecord]:
    """Yield batches until `events` events are generated."""
    while events > 0:
        yield read_batch(generator, min(batch, events))
        events -= batch


def cross_section(generator: Generator) -> CrossSection:
    """Return the cross section that Pythia found so far, converted from mb to pb."""
    info = generator.pythia.infoPython()
    return CrossSection(1e9 * info.sigmaGen(), 1e9 * info.sigmaErr())


def charges(generator: Generator, pdg_ids: Integers) -> Floats:
    """Return the electric charge of each particle in units of e, shape of `pdg_ids`."""
    codes, inverse = np.unique(pdg_ids, return_inverse=True)
    values = np.array([generator.pythia.particleData.chargeType(int(code)) for code in codes]) / 3.0
    return values[inverse]
