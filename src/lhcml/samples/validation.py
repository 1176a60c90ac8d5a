"""What the validation plots show: leading jets, response, lepton efficiency and weights of generated files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from lhcml.common.errors import UserError
from lhcml.samples.arrays import Floats
from lhcml.samples.generator import VARIATIONS

JET_COLLECTIONS = (("FatJet", "GenJetAK8", "genJetAK8Idx"), ("Jet", "GenJet", "genJetIdx"))
LEPTONS = (("Electron", 11), ("Muon", 13))
# a last-copy lepton of the hard process or of a decay in it
PROMPT_FINAL = (1 << 0) | (1 << 13)


@dataclass(frozen=True)
class Dataset:
    """Events of a dataset and the sums of each of its chunks."""

    name: str
    events: Any
    cross_sections: Floats
    cross_section_errors: Floats


def read_dataset(name: str, files: Sequence[Path]) -> Dataset:
    """Read what the plots need from the files of a dataset.

    Raises
    ------
    UserError
        If a file cannot be read or lacks the trees.
    """
    wanted = [f"{group}_{key}" for group, _, index in JET_COLLECTIONS for key in (
        "pt", "eta", "phi", "mass", "nConstituents", index)]  # fmt: skip
    wanted += [f"{group}_{key}" for _, group, _ in JET_COLLECTIONS for key in ("pt", "eta", "mass")]
    wanted += [f"{group}_{key}" for group, _ in LEPTONS for key in ("pt", "eta", "phi")]
    wanted += [f"GenPart_{key}" for key in ("pt", "eta", "phi", "pdgId", "status", "statusFlags")]
    wanted += ["MET_pt", "MET_phi", "MET_sumEt", "GenMET_pt", "GenMET_phi", "genWeight", "PSWeight"]
    parts, sections, errors = [], [], []
    for path in files:
        try:
            with uproot.open(path) as file:
                tree, runs = file["Events"], file["Runs"]
                parts.append(tree.arrays([branch for branch in wanted if branch in tree]))
                sections.append(runs["crossSection"].array(library="np")[0])
                errors.append(runs["crossSectionError"].array(library="np")[0])
        except (OSError, KeyError, ValueError) as error:
            raise UserError(f"cannot read {path}: {error}", "delete the file and run again") from error
    return Dataset(name, ak.concatenate(parts), np.array(sections), np.array(errors))


def main_jets(events: Any) -> tuple[str, str, str] | None:
    """Return the names of the jets that a channel is about: FatJet where there is one, else Jet."""
    for names in JET_COLLECTIONS:
        if f"{names[0]}_pt" in events.fields:
            return names
    return None


def leading_jets(events: Any) -> dict[str, Floats]:
    """Return pt, mass, nConstituents and event weight of the leading jets of the main collection."""
    names = main_jets(events)
    if names is None:
        return {}
    some = events[ak.num(events[f"{names[0]}_pt"]) > 0]
    columns = {key: ak.to_numpy(some[f"{names[0]}_{key}"][:, 0]) for key in ("pt", "mass", "nConstituents")}
    return columns | {"weight": ak.to_numpy(some["genWeight"])}


def matched_jets(events: Any) -> dict[str, Floats]:
    """Return both levels of the matched jets of the main collection: pt, mass and gen_pt, gen_eta, gen_mass."""
    names = main_jets(events)
    if names is None:
        return {}
    reco, gen, index_name = names
    # the softest jets of a sample are shaped by the threshold of the collection: two per event are enough
    index = events[f"{reco}_{index_name}"][:, :2]
    matched = index >= 0
    chosen = index[matched]
    columns = {key: ak.to_numpy(ak.flatten(events[f"{reco}_{key}"][:, :2][matched])) for key in ("pt", "mass")}
    truth = {f"gen_{key}": ak.to_numpy(ak.flatten(events[f"{gen}_{key}"][chosen])) for key in ("pt", "eta", "mass")}
    return columns | truth


def profile(x: Floats, ratio: Floats, edges: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return median and resolution of a ratio in bins of x, with their statistical errors; NaN below 20 entries.

    The resolution is half of the central 68 % interval over the median: tails do not move it. Errors are those of a
    normal distribution: 1.25 sigma / sqrt(n) for the median and 1.25 sigma / sqrt(2 n) for the width.
    """
    median, width, counts = (np.full(len(edges) - 1, np.nan) for _ in range(3))
    bins = np.digitize(x, edges) - 1
    for i in range(len(edges) - 1):
        values = ratio[bins == i]
        if len(values) >= 20:
            low, median[i], high = np.quantile(values, [0.16, 0.5, 0.84])
            width[i] = 0.5 * (high - low) / median[i]
            counts[i] = len(values)
    return median, width, 1.2533 * width * median / np.sqrt(counts), 1.25 * width / np.sqrt(2 * counts)


def lepton_efficiency(events: Any, group: str, code: int, edges: Floats) -> tuple[Floats, Floats]:
    """Return numbers of true and of found prompt final leptons with abs(eta) < 2.5 in bins of true pT.

    A true lepton is found if an identified one is within 0.1 in eta and phi.
    """
    flags = events["GenPart_statusFlags"]
    truth = (abs(events["GenPart_pdgId"]) == code) & ((flags & PROMPT_FINAL) == PROMPT_FINAL)
    truth = truth & (events["GenPart_status"] == 1) & (abs(events["GenPart_eta"]) < 2.5)
    gen = ak.zip({key: events[f"GenPart_{key}"][truth] for key in ("pt", "eta", "phi")})
    reco = ak.zip({key: events[f"{group}_{key}"] for key in ("eta", "phi")})
    one, other = ak.unzip(ak.cartesian([gen, reco], nested=True))
    delta_phi = abs(one.phi - other.phi)
    delta_phi = ak.where(delta_phi > np.pi, 2 * np.pi - delta_phi, delta_phi)
    found = ak.any(np.hypot(one.eta - other.eta, delta_phi) < 0.1, axis=-1)
    pt = ak.to_numpy(ak.flatten(gen.pt))
    return np.histogram(pt, edges)[0], np.histogram(pt[ak.to_numpy(ak.flatten(found))], edges)[0]


def shower_weights(events: Any) -> Floats | None:
    """Return the weights of the shower variations, shape (events, 4), or None if they are off."""
    if ak.num(events["PSWeight"])[0] != len(VARIATIONS):
        return None
    return ak.to_numpy(ak.to_regular(events["PSWeight"]))


def chunk_pulls(dataset: Dataset) -> Floats:
    """Return (sigma_chunk - mean of the others) over its error, for each chunk; empty for a single chunk."""
    values, errors = dataset.cross_sections, dataset.cross_section_errors
    if len(values) < 2:
        return np.empty(0)
    weights = 1 / errors**2
    rest = weights.sum() - weights
    mean = ((weights * values).sum() - weights * values) / rest
    return (values - mean) / np.sqrt(errors**2 + 1 / rest)
