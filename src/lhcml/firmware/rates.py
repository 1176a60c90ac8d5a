"""Rates of a trigger: from cross sections, and from bunch crossings.

The two conventions answer different questions. A cross section times the luminosity is the rate of the simulated
processes alone. A false positive rate times the rate of crossings treats every crossing as if it held one event of the
simulated background. That is right for a background that is what crossings hold; for events that were selected first,
by a lepton for example, it overstates the rate by orders of magnitude.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lhcml.common.errors import UserError
from lhcml.firmware.detection import Floats

# 1 pb in cm^2
PB_IN_CM2 = 1e-36
# LHC: slots for bunches a turn, turns a second (27 km at the speed of light), and the bunch pairs that collide in
# ATLAS and CMS of a 25 ns filling scheme with 2760 of them
BUNCH_SLOTS = 3564
REVOLUTION_HZ = 11245.0
COLLIDING_BUNCHES = 2760
# one crossing every 25 ns, as if each slot had a bunch: what an FPR is often multiplied with
NOMINAL_CROSSINGS_HZ = 40e6
SECONDS_A_MONTH = 30 * 86400.0


def crossing_rate(bunches: int = COLLIDING_BUNCHES) -> float:
    """Return the rate of bunch crossings with collisions in Hz: 31.0 MHz for 2760 pairs of bunches.

    Raises
    ------
    UserError
        If there are fewer than one or more than the slots of the LHC.
    """
    if not 0 < bunches <= BUNCH_SLOTS:
        raise UserError(f"{bunches} colliding bunches", f"the LHC has room for 1 to {BUNCH_SLOTS}")
    return bunches * REVOLUTION_HZ


def rate_of(cross_section: ArrayLike, luminosity: float) -> Floats:
    """Return rates in Hz of cross sections in pb at an instantaneous luminosity in cm^-2 s^-1."""
    return np.asarray(cross_section, np.float64) * PB_IN_CM2 * luminosity


def events_a_month(cross_section: float, efficiency: float, luminosity: float, duty_cycle: float) -> float:
    """Return the events of a process that are taken in 30 days.

    Parameters
    ----------
    cross_section : float
        After the selection of the inputs, in pb.
    efficiency : float
        Share of the selected events that the trigger takes.
    luminosity : float
        Mean over a fill, in cm^-2 s^-1.
    duty_cycle : float
        Share of the time with collisions.
    """
    return float(rate_of(cross_section, luminosity)) * efficiency * SECONDS_A_MONTH * duty_cycle
