"""The grid of fixed-point words that the inputs of a network or of trees are put on.

A raw value x (GeV, rad, or a number without unit) becomes

    x' = (x - offset) / scale,  rounded to a multiple of 2^-(bits - integer),  saturated at the ends of the range
         -2^(integer - 1) ... 2^(integer - 1) - 2^-(bits - integer)

that is a signed fixed-point number of `bits` bits, `integer` of them before the point with the sign among these, as
`ap_fixed<bits, integer>`. Every scale is a power of two, so hardware only moves the point. Rounding is to nearest,
halves upwards (floor(x + 1/2), `AP_RND`); saturation, not wrapping, because the events in the tails are those that are
looked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lhcml.common.errors import UserError
from lhcml.common.files import read_json

Array: TypeAlias = NDArray[np.float64]
# float32, in which Keras computes, has 24 bits; a word of the inputs must leave room for products and sums
LARGEST_BITS = 18


@dataclass(frozen=True)
class Encoding:
    """Offset and scale of each input, and the format of its words.

    Parameters
    ----------
    names : tuple of str
        Names of the inputs, in order.
    offset, scale : tuple of float
        One a name, in the unit of the raw value; each scale a power of two.
    bits : int
        Bits of a word, sign included.
    integer : int
        Bits before the point, sign included.
    """

    names: tuple[str, ...]
    offset: tuple[float, ...]
    scale: tuple[float, ...]
    bits: int
    integer: int

    @property
    def step(self) -> float:
        """Distance of two neighbours on the grid."""
        return float(2.0 ** (self.integer - self.bits))

    @property
    def low(self) -> float:
        """Lowest value of the grid."""
        return -float(2.0 ** (self.integer - 1))

    @property
    def high(self) -> float:
        """Highest value of the grid."""
        return -self.low - self.step

    def encode(self, values: ArrayLike, *, rounded: bool = True) -> tuple[Array, dict[str, float]]:
        """Put raw values on the grid.

        Parameters
        ----------
        values : array_like, shape (events, inputs)
            Raw values in the order of `names`.
        rounded : bool
            False: shifted, scaled and saturated only, as the float network is trained on.

        Returns
        -------
        words : array of float64, shape (events, inputs)
            Values on the grid.
        saturated : dict
            Share of events whose value lay outside the range, for each input.

        Raises
        ------
        UserError
            If a value is NaN or infinite, naming the input, or the number of inputs is another one.
        """
        raw = check_values(self.names, values)
        words = (raw - np.asarray(self.offset)) / np.asarray(self.scale)
        if rounded:
            words = np.floor(words / self.step + 0.5) * self.step
        clipped = np.clip(words, self.low, self.high)
        outside = np.mean(clipped != words, axis=0) if len(raw) else np.zeros(len(self.names))
        return clipped, {name: float(share) for name, share in zip(self.names, outside, strict=True)}

    def round(self, shifted: ArrayLike) -> Array:
        """Return values that are shifted and scaled already on the grid: rounded and saturated."""
        words: Array = np.floor(np.asarray(shifted) / self.step + 0.5) * self.step
        return np.clip(words, self.low, self.high)

    def to_json(self) -> dict[str, Any]:
        """Return what `encoding.json` holds."""
        return asdict(self)


def check_values(names: Sequence[str], values: ArrayLike) -> Array:
    """Return values as float64 of shape (events, inputs).

    Raises
    ------
    UserError
        If a value is NaN or infinite, naming the input, or the number of inputs is another one.
    """
    raw = np.asarray(values, dtype=np.float64)
    if raw.ndim != 2 or raw.shape[1] != len(names):
        raise UserError(
            f"inputs of shape {raw.shape} do not fit the {len(names)} names of the encoding",
            "make the inputs and the encoding of this model again from the same configuration",
        )
    bad = np.count_nonzero(~np.isfinite(raw), axis=0)
    if bad.any():
        which = ", ".join(f"{name} ({count})" for name, count in zip(names, bad, strict=True) if count)
        raise UserError(
            f"NaN or infinite values of the inputs {which}, of {len(raw)} events",
            "find them in the files that the inputs were collected from; hardware has no word for them",
        )
    return raw


def check_format(bits: int, integer: int) -> None:
    """Check the format of a word.

    Raises
    ------
    UserError
        If it has no bits, too many, or more before the point than there are.
    """
    if not 2 <= bits <= LARGEST_BITS:
        raise UserError(f"inputs of {bits} bits", f"choose `encoding.bits` from 2 to {LARGEST_BITS}")
    if not 1 <= integer <= bits:
        raise UserError(
            f"inputs of {bits} bits with {integer} before the point",
            "choose `encoding.integer` from 1 (the sign alone) to `encoding.bits`",
        )


def nearest_power(width: float) -> float:
    """Return the power of two nearest to a positive number on a logarithmic axis; 1 for zero."""
    return float(2.0 ** np.round(np.log2(width))) if width > 0 else 1.0


def kind_of(name: str) -> str:
    """Return the kind of quantity of an input of an object, the last part of its name: "pt", "eta" or "phi"."""
    return name.rsplit("_", 1)[-1]


def fit_objects(names: Sequence[str], values: ArrayLike, weights: ArrayLike, bits: int, integer: int) -> Encoding:
    """Find the encoding of the objects of a trigger: a scale for each input, no offset.

    The scale is the power of two nearest to the weighted root mean square over all events, with 0 for an absent object:
    as with inputs of unit variance (arXiv:2107.02157), an object that background events seldom have is large where
    there is one. Without an offset an absent object stays 0. An object that no event has gets scale 1.

    Parameters
    ----------
    names : sequence of str
        Inputs.
    values : array_like, shape (events, inputs)
        Raw values, GeV and rad; 0 for absent objects.
    weights : array_like, shape (events,)
        Weights of the events.
    bits, integer : int
        Format of a word, see `Encoding`.

    Raises
    ------
    UserError
        If values are NaN or infinite, there is no event, or the format is impossible.
    """
    raw, weight = checked(names, values, weights, bits, integer)
    widths = np.sqrt(np.average(raw**2, axis=0, weights=weight))
    scale = tuple(nearest_power(float(width)) for width in widths)
    return Encoding(tuple(names), (0.0,) * len(scale), scale, bits, integer)


def fit_features(names: Sequence[str], values: ArrayLike, weights: ArrayLike, bits: int, integer: int) -> Encoding:
    """Find the encoding of features: offset the mean, scale the power of two nearest to the standard deviation.

    Both are weighted. A feature that is constant has scale 1.

    Parameters
    ----------
    names : sequence of str
        Inputs.
    values : array_like, shape (events, inputs)
        Raw values.
    weights : array_like, shape (events,)
        Weights of the rows.
    bits, integer : int
        Format of a word, see `Encoding`.

    Raises
    ------
    UserError
        If values are NaN or infinite, there is no row, or the format is impossible.
    """
    raw, weight = checked(names, values, weights, bits, integer)
    mean = np.average(raw, axis=0, weights=weight)
    variance = np.average((raw - mean) ** 2, axis=0, weights=weight)
    # the mean of a constant column is off by rounding; that is no width
    constant = np.ptp(raw, axis=0) == 0
    scale = [1.0 if flat else nearest_power(float(np.sqrt(v))) for flat, v in zip(constant, variance, strict=True)]
    return Encoding(tuple(names), tuple(float(m) for m in mean), tuple(scale), bits, integer)


def checked(
    names: Sequence[str], values: ArrayLike, weights: ArrayLike, bits: int, integer: int
) -> tuple[Array, Array]:
    """Return values and weights as float64 after all checks of `fit_objects` and `fit_features`."""
    check_format(bits, integer)
    raw = check_values(names, values)
    weight = np.asarray(weights, dtype=np.float64)
    if not len(raw) or not weight.sum() > 0:
        raise UserError(
            f"{len(raw)} events of total weight {weight.sum():g} to find the range of the inputs from",
            "loosen the selection of the channel, or give more events",
        )
    return raw, weight


def encoding_from_json(document: Mapping[str, Any], where: str) -> Encoding:
    """Return the encoding that a document holds.

    Raises
    ------
    UserError
        If a key is missing or lengths differ.
    """
    try:
        encoding = Encoding(
            tuple(document["names"]),
            tuple(float(value) for value in document["offset"]),
            tuple(float(value) for value in document["scale"]),
            int(document["bits"]),
            int(document["integer"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{where} is not an encoding of inputs: {error!r}", "delete it and run again") from error
    if not len(encoding.names) == len(encoding.offset) == len(encoding.scale):
        raise UserError(f"{where} has names, offsets and scales of different number", "delete it and run again")
    check_format(encoding.bits, encoding.integer)
    return encoding


def read_encoding(path: str | Path) -> Encoding:
    """Read `encoding.json`.

    Raises
    ------
    UserError
        If the file is missing, damaged or not an encoding.
    """
    return encoding_from_json(read_json(path), str(path))
