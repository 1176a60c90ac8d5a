"""Jets as the autoencoders see them: images or lists of constituents, from feature files.

Both come after `lhcml.common.alignment.align`: centred on the pT-weighted centroid, turned with the principal axis
along the first axis, mirrored. Images as in arXiv:1902.09914, with smearing and a power of the pixels as in
arXiv:2206.14225; the power decides how much the soft part of a jet counts (arXiv:2104.09051).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from lhcml.common.alignment import align
from lhcml.common.errors import UserError
from lhcml.common.files import read_parquet, require_finite
from lhcml.common.identity import JET_IDENTITY

Floats: TypeAlias = NDArray[np.float64]

CONSTITUENTS = ("part_pt", "part_deta", "part_dphi")


@dataclass(frozen=True)
class Constituents:
    """Constituents of jets, one jet after the other, hardest first.

    Attributes
    ----------
    pt, first, second : ndarray, shape (rows,)
        Transverse momenta in GeV and aligned coordinates.
    lengths : ndarray of int, shape (jets,)
        Constituents of each jet.
    """

    pt: Floats
    first: Floats
    second: Floats
    lengths: NDArray[np.int64]

    @property
    def jet(self) -> NDArray[np.int64]:
        """Jet that each constituent is of, shape (rows,)."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)


def read_jets(paths: Sequence[Path], wanted: Mapping[str, int]) -> dict[str, ak.Array]:
    """Return jets of each split, in the order of the files; files are read until there are enough.

    Parameters
    ----------
    paths : sequence of Path
        Feature files of one class.
    wanted : mapping
        Split -> number of jets at most.

    Raises
    ------
    UserError
        If a file cannot be read or lacks a column, or a split has no jet.
    """
    parts: dict[str, list[ak.Array]] = {split: [] for split in wanted}
    missing = dict(wanted)
    for path in paths:
        if not any(missing.values()):
            break
        table = read_parquet(path, [*JET_IDENTITY, *CONSTITUENTS, "jet_mass", "split"])
        for split in wanted:
            chosen = table[table["split"] == split][: missing[split]]
            parts[split].append(chosen)
            missing[split] -= len(chosen)
    empty = [split for split, number in wanted.items() if missing[split] == number]
    if empty:
        raise UserError(
            f"there is no jet of split {', '.join(empty)} in {', '.join(map(str, paths)) or 'no file'}",
            "generate more events, or give the split a larger share in `features.split`",
        )
    return {split: ak.concatenate(tables) for split, tables in parts.items()}


def aligned_constituents(jets: ak.Array, where: str) -> Constituents:
    """Return the aligned constituents of jets.

    Raises
    ------
    UserError
        If a jet has no constituents, or a column holds NaN.
    """
    lengths = ak.to_numpy(ak.num(jets["part_pt"])).astype(np.int64)
    if not lengths.all():
        raise UserError(
            f"{np.count_nonzero(lengths == 0)} jets of {where} have no constituents",
            "cut on jet_multiplicity in the selection of the channel",
        )
    pt, deta, dphi = (ak.to_numpy(ak.flatten(jets[name])).astype(np.float64) for name in CONSTITUENTS)
    for name, values in zip(CONSTITUENTS, (pt, deta, dphi), strict=True):
        require_finite(f"column {name}", values, where)
    first, second = align(pt, deta, dphi, lengths)
    return Constituents(pt, np.asarray(first), np.asarray(second), lengths)


def make_images(
    jets: Constituents, *, pixels: int, half_width: float, smearing: float, power: float
) -> NDArray[np.float32]:
    """Return images of jets.

    Parameters
    ----------
    jets : Constituents
    pixels : int
        Pixels along each side.
    half_width : float
        The image covers coordinates from -half_width up to, but without, half_width; the rest of a jet is left out.
    smearing : float
        Standard deviation of a Gaussian filter, in pixels; 0 for none.
    power : float
        Each pixel is raised to it before the filter.

    Returns
    -------
    ndarray, shape (jets, pixels, pixels)
        Sum 1, or 0 where nothing of a jet is inside.
    """
    from scipy.ndimage import gaussian_filter

    row, column = (np.floor((x + half_width) * (pixels / (2 * half_width))) for x in (jets.first, jets.second))
    inside = (row >= 0) & (row < pixels) & (column >= 0) & (column < pixels)
    place = ((jets.jet[inside] * pixels + row[inside]) * pixels + column[inside]).astype(np.int64)
    number = len(jets.lengths)
    images = np.bincount(place, jets.pt[inside], minlength=number * pixels**2).reshape(number, pixels, pixels)
    images = gaussian_filter(normalised(images) ** power, (0, smearing, smearing), mode="constant")
    return normalised(images).astype(np.float32)


def normalised(images: Floats) -> Floats:
    """Return images divided by their sums; those without content stay 0."""
    total = images.sum(axis=(1, 2), keepdims=True)
    return images / np.where(total > 0, total, 1.0)


def make_lists(jets: Constituents, *, number: int) -> NDArray[np.float32]:
    """Return the hardest constituents: share of the jet's summed pT and aligned coordinates, shape (jets, number, 3).

    Places without a constituent are 0.
    """
    rank = np.arange(len(jets.pt)) - np.repeat(np.cumsum(jets.lengths) - jets.lengths, jets.lengths)
    keep = rank < number
    result: NDArray[np.float32] = np.zeros((len(jets.lengths), number, 3), dtype=np.float32)
    total = np.bincount(jets.jet, jets.pt, minlength=len(jets.lengths))
    for feature, values in enumerate((jets.pt / total[jets.jet], jets.first, jets.second)):
        result[jets.jet[keep], rank[keep], feature] = values[keep]
    return result


def make_inputs(jets: ak.Array, settings: Mapping[str, Any], where: str) -> NDArray[np.float32]:
    """Return the inputs that a configuration asks for.

    Parameters
    ----------
    jets : awkward record array
        Jets of `read_jets`.
    settings : mapping
        `{"images": {...}}` or `{"constituents": {...}}`, the keyword arguments of `make_images` or `make_lists`.
    where : str
        What the jets are, for messages.

    Returns
    -------
    ndarray, shape (jets, pixels, pixels) or (jets, number, 3)
    """
    constituents = aligned_constituents(jets, where)
    if "images" in settings:
        return make_images(constituents, **settings["images"])
    return make_lists(constituents, **settings["constituents"])


def input_scale(train: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return what inputs are divided by, so that energies of all inputs are of order 1.

    One number for all pixels, the root of their mean variance over the training jets: a pixel keeps its weight. For
    constituents one number for each of pT share and the two coordinates.

    Raises
    ------
    UserError
        If all training jets are the same.
    """
    variance = train.var(axis=0, dtype=np.float64)
    scale = np.sqrt(variance.mean(axis=0) if train.shape[2] == 3 else variance.mean())
    if not np.all(scale > 0):
        raise UserError("all training jets are the same", "check the features and the width of the image")
    return np.asarray(scale)
