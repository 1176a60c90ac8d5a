"""A Z and jets: decays of the Z, and pseudo-data with another hadronisation."""

import awkward as ak
import numpy as np
import pytest
import uproot

from lhcml.samples.generate_events import Content, generate_chunk
from lhcml.samples.processes import find_process

Z_MASS = 91.19
PROMPT, LAST_COPY = 1, 1 << 13


def make(folder, process, collections, events):
    path = folder / f"{process}.root"
    generate_chunk(path, find_process(process), Content(collections), events=events, first_event=1, block=1, seed=4)
    return uproot.open(path)["Events"].arrays()


@pytest.mark.parametrize("process", ["zjets_mumu", "zjets_mumu_tune25"])
def test_every_z_decays_to_muons(tmp_path, process):
    events = make(tmp_path, process, ("Jet", "PFCands", "GenCands", "Lepton"), 40)
    pdg, flags = events["GenPart_pdgId"], events["GenPart_statusFlags"]
    prompt = (events["GenPart_status"] == 1) & (flags & PROMPT > 0)
    muons = prompt & (abs(pdg) == 13)
    assert ak.all(ak.sum(muons, axis=1) == 2)
    assert ak.all(ak.sum(pdg[muons], axis=1) == 0)
    assert not ak.any((pdg == 23) & (events["GenPart_status"] == 1))
    pt, eta, phi = (events[f"GenPart_{name}"][muons] for name in ("pt", "eta", "phi"))
    mass = np.sqrt(2 * pt[:, 0] * pt[:, 1] * (np.cosh(eta[:, 0] - eta[:, 1]) - np.cos(phi[:, 0] - phi[:, 1])))
    # photons take some of the mass in a few events; the width of the Z is 2.5 GeV
    assert abs(np.median(mass.to_list()) - Z_MASS) < 1.0
    z = (pdg == 23) & (flags & LAST_COPY > 0)
    # the lower edge of the phase space, less what the initial state's radiation moves
    assert np.median(ak.max(events["GenPart_pt"][z], axis=1).to_list()) > 150


def test_the_other_hadronisation_makes_fewer_hadrons(tmp_path):
    number, spread = [], []
    for process in ("zjets", "zjets_hadronisation"):
        events = make(tmp_path, process, ("Jet", "PFCands", "GenCands"), 200)
        hard = events["GenJet_pt"] > 100
        number.append(ak.to_numpy(ak.flatten(events["GenJet_nConstituents"][hard])).astype(float))
        spread.append(number[-1].std() / np.sqrt(len(number[-1])))
    # 23.4 and 20.7 on average over 1200 jets each: here 200 jets, whose means have a spread of 0.7
    difference = number[0].mean() - number[1].mean()
    assert 0 < difference < 2.7 + 3 * np.hypot(*spread)
