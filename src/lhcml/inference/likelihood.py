"""The HistFactory likelihood of a pyhf model as flat arrays, with its analytic gradient.

pyhf defines the model: parameters, their order, constraints and starting values are read from it. Its NumPy backend
has no automatic differentiation, so that a minimiser spends a call per parameter for each gradient. Here the same
function is evaluated on sparse arrays together with its derivative, at the price of about two calls whatever the
number of parameters. The value agrees with `pyhf.infer.mle.twice_nll` to rounding, which `compile_likelihood` checks.

Expected events of bin b (HistFactory, CERN-OPEN-2012-016, eq. 6)::

    nu_b = sum over samples s of (nominal_sb + sum_p delta_psb(alpha_p)) * prod_q factor_qsb(theta_q)

with `delta` (histosys) interpolated by code 4p and the factors of normsys by code 4, pyhf's defaults; normfactor,
shapefactor, shapesys, staterror and lumi are factors equal to their parameter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, xlogy

Array: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.intp]

# Below this expectation the logarithm goes on along its tangent: finite where a minimiser strays to nu <= 0.
SMALLEST_RATE = 1e-9

# Inverse of the matrix that matches 1 + sum a_i x^i (i = 1..6) and two derivatives to the exponentials at x = +-1
CODE4 = np.linalg.inv(
    [
        [x**i for i in range(1, 7)] for x in (1.0, -1.0)
    ] + [
        [i * x ** (i - 1) for i in range(1, 7)] for x in (1.0, -1.0)
    ] + [
        [i * (i - 1) * x ** max(i - 2, 0) for i in range(1, 7)] for x in (1.0, -1.0)
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Term:
    """Constraint terms of one kind: `parameter` indices, where their auxiliary data sit, and width or factor."""

    parameter: Indices
    position: Indices
    scale: Array


@dataclass(frozen=True)
class Likelihood:
    """A compiled model. A cell is one bin of one sample in one channel; E counts entries of sparse arrays.

    Attributes
    ----------
    names : list of str
        Parameters in pyhf's order, binned ones as "name[0]".
    start, lower, upper : array of shape (P,)
        Suggested starting values and bounds.
    fixed : array of bool, shape (P,)
        Parameters that the model holds constant.
    constrained : array of bool, shape (P,)
        Parameters with a constraint term.
    poi : int
        Index of the parameter of interest.
    channels : dict
        Bins of each channel, as a slice of the B bins, in pyhf's order.
    samples : list of (channel, sample, slice)
        The cells of each sample of each channel, as a slice of the C cells.
    auxdata : array of shape (A,)
        Nominal auxiliary data.
    """

    names: list[str]
    start: Array
    lower: Array
    upper: Array
    fixed: NDArray[np.bool_]
    constrained: NDArray[np.bool_]
    poi: int
    channels: dict[str, slice]
    samples: list[tuple[str, str, slice]]
    auxdata: Array
    nominal: Array
    bin_of_cell: Indices
    block_of_cell: Indices
    add_parameter: Indices
    add_cell: Indices
    add_up: Array
    add_down: Array
    scale_parameter: Indices
    scale_block: Indices
    scale_log_up: Array
    scale_log_down: Array
    scale_coefficients: Array
    spread_entry: Indices
    spread_cell: Indices
    factor: Indices
    slope_cell: Indices
    slope_parameter: Indices
    normal: Term
    poisson: Term

    @property
    def bins(self) -> int:
        """Number of bins B of all channels."""
        return sum(part.stop - part.start for part in self.channels.values())

    def _cells(self, parameters: Array, slopes: bool) -> tuple[Array, Array]:
        """Return expected events of the cells, shape (C,), and if wanted the slopes in order of `slope_cell`."""
        size = len(self.nominal)
        added, added_slope = interpolate_code4p(parameters[self.add_parameter], self.add_up, self.add_down)
        base = self.nominal + np.bincount(self.add_cell, added, minlength=size)
        scales, scale_slopes = interpolate_code4(
            parameters[self.scale_parameter], self.scale_log_up, self.scale_log_down, self.scale_coefficients
        )
        block_scale = np.ones(len(self.samples))
        np.multiply.at(block_scale, self.scale_block, scales)
        factors = np.append(parameters, 1.0)[self.factor]
        scale = block_scale[self.block_of_cell]
        product = scale * factors.prod(axis=0)
        cells = base * product
        if not slopes:
            return cells, np.empty(0)
        # products of all factors but one, from both ends, since a factor may be zero (a signal strength is at times)
        before, after = np.ones_like(factors), np.ones_like(factors)
        np.cumprod(factors[:-1], axis=0, out=before[1:])
        np.cumprod(factors[:0:-1], axis=0, out=after[-2::-1])
        parts = [
            added_slope * product[self.add_cell],
            cells[self.spread_cell] * (scale_slopes / scales)[self.spread_entry],
            (base * scale * before * after).ravel(),
        ]
        return cells, np.concatenate(parts)

    def cells(self, parameters: Array) -> Array:
        """Return the expected events of each sample in each channel and bin, shape (C,)."""
        return self._cells(parameters, slopes=False)[0]

    def cell_slopes(self, parameters: Array) -> Array:
        """Return the derivatives of the cells by the parameters, shape (C, P)."""
        _, slopes = self._cells(parameters, slopes=True)
        count = len(self.names)
        flat = np.bincount(
            self.slope_cell * (count + 1) + self.slope_parameter, slopes, minlength=len(self.nominal) * (count + 1)
        )
        return flat.reshape(len(self.nominal), count + 1)[:, :count]

    def rate_slopes(self, parameters: Array) -> Array:
        """Return the derivatives of the expected events of the bins by the parameters, shape (B, P)."""
        _, slopes = self._cells(parameters, slopes=True)
        count = len(self.names) + 1
        place = self.bin_of_cell[self.slope_cell] * count + self.slope_parameter
        return np.bincount(place, slopes, minlength=self.bins * count).reshape(self.bins, count)[:, :-1]

    def rates(self, parameters: Array) -> Array:
        """Return the expected events of each bin, shape (B,)."""
        return np.bincount(self.bin_of_cell, self.cells(parameters), minlength=self.bins)

    def expected(self, parameters: Array) -> Array:
        """Return expected main and auxiliary data, shape (B + A,): the Asimov data of these parameters."""
        aux = self.auxdata.copy()
        aux[self.normal.position] = parameters[self.normal.parameter]
        aux[self.poisson.position] = parameters[self.poisson.parameter] * self.poisson.scale
        return np.concatenate([self.rates(parameters), aux])

    def sample(self, parameters: Array, generator: np.random.Generator) -> Array:
        """Return one pseudo-experiment, shape (B + A,): main and auxiliary data drawn from their distributions."""
        mean = self.expected(parameters)
        toy = mean.copy()
        toy[: self.bins] = generator.poisson(mean[: self.bins])
        normal, poisson = self.bins + self.normal.position, self.bins + self.poisson.position
        toy[normal] = generator.normal(mean[normal], self.normal.scale)
        toy[poisson] = generator.poisson(mean[poisson])
        return toy

    def twice_nll(self, parameters: Array, data: Array) -> float:
        """Return -2 ln L with all constants, as `pyhf.infer.mle.twice_nll` does.

        Parameters
        ----------
        parameters : array of shape (P,)
        data : array of shape (B + A,)
            Main data, then auxiliary data, in pyhf's order.
        """
        count, aux = data[: self.bins], data[self.bins :]
        mean, width = parameters[self.normal.parameter], self.normal.scale
        pull = (aux[self.normal.position] - mean) / width
        rate = parameters[self.poisson.parameter] * self.poisson.scale
        total = (
            poisson_term(count, self.rates(parameters)).sum()
            + poisson_term(aux[self.poisson.position], rate).sum()
            + (0.5 * pull**2 + np.log(width * np.sqrt(2 * np.pi))).sum()
        )
        return float(2 * total)

    def gradient(self, parameters: Array, data: Array) -> Array:
        """Return the derivative of `twice_nll` by the parameters, shape (P,)."""
        count, aux = data[: self.bins], data[self.bins :]
        cells, slopes = self._cells(parameters, slopes=True)
        rates = np.bincount(self.bin_of_cell, cells, minlength=self.bins)
        weight = poisson_slope(count, rates)[self.bin_of_cell]
        size = len(self.names)
        result = np.bincount(self.slope_parameter, slopes * weight[self.slope_cell], minlength=size + 1)[:size]
        normal, poisson = self.normal, self.poisson
        result[normal.parameter] += (parameters[normal.parameter] - aux[normal.position]) / normal.scale**2
        rate = parameters[poisson.parameter] * poisson.scale
        result[poisson.parameter] += poisson_slope(aux[poisson.position], rate) * poisson.scale
        return 2 * result

    def prefit_width(self) -> Array:
        """Return the widths of the constraint terms, shape (P,); 0 for free and fixed parameters."""
        width = np.zeros(len(self.names))
        width[self.normal.parameter] = self.normal.scale
        width[self.poisson.parameter] = 1 / np.sqrt(self.poisson.scale)
        width[self.fixed] = 0
        return width


def poisson_term(count: Array, rate: Array) -> Array:
    """Return -ln Poisson(count | rate), for real counts; a rate below zero counts by its size."""
    low = rate < SMALLEST_RATE
    if low.any():
        safe = np.where(low, SMALLEST_RATE, rate)
        logarithm = np.log(safe) + np.where(low, (rate - SMALLEST_RATE) / SMALLEST_RATE, 0.0)
        return np.abs(rate) - np.where(count > 0, count * logarithm, 0.0) + gammaln(count + 1)
    return rate - xlogy(count, rate) + gammaln(count + 1)


def poisson_slope(count: Array, rate: Array) -> Array:
    """Return the derivative of `poisson_term` by the rate."""
    return np.where(rate < 0, -1.0, 1.0) - count / np.maximum(rate, SMALLEST_RATE)


def interpolate_code4p(alpha: Array, up: Array, down: Array) -> tuple[Array, Array]:
    """Return additive interpolation and its slope: linear outside |alpha| <= 1, a polynomial of order 6 inside.

    Parameters
    ----------
    alpha : array of shape (E,)
    up, down : array of shape (E,)
        Events at +1 minus nominal, and nominal minus events at -1.
    """
    square = alpha * alpha
    symmetric, asymmetric = 0.5 * (up + down), 0.0625 * (up - down)
    value = alpha * symmetric + asymmetric * square * (square * (3 * square - 10) + 15)
    slope = symmetric + asymmetric * alpha * (square * (18 * square - 40) + 30)
    outer = np.where(alpha > 0, up, down)
    outside = square > 1
    return np.where(outside, alpha * outer, value), np.where(outside, outer, slope)


def interpolate_code4(alpha: Array, log_up: Array, log_down: Array, coefficients: Array) -> tuple[Array, Array]:
    """Return multiplicative interpolation and its slope: exponential outside |alpha| < 1, a polynomial inside.

    Parameters
    ----------
    alpha, log_up, log_down : array of shape (E,)
        Parameter, and logarithms of the factors at +1 and -1.
    coefficients : array of shape (6, E)
        From `code4_coefficients`.
    """
    # by Horner's rule, and exponentials only where they are wanted: this is the most frequent step of all fits
    value = coefficients[5] * alpha
    slope = 6 * coefficients[5]
    for order in range(5, 0, -1):
        value = (value + coefficients[order - 1]) * alpha
        slope = slope * alpha + order * coefficients[order - 1]
    value += 1
    outside = np.flatnonzero(np.abs(alpha) >= 1)
    if len(outside):
        far = alpha[outside]
        logarithm = np.where(far > 0, log_up[outside], -log_down[outside])
        with np.errstate(over="ignore"):
            value[outside] = np.exp(far * logarithm)
        slope[outside] = value[outside] * logarithm
    return value, slope


def code4_coefficients(log_up: Array, log_down: Array) -> Array:
    """Return the polynomial coefficients of code 4, shape (6, E)."""
    up, down = np.exp(log_up), np.exp(log_down)
    known = np.array([up - 1, down - 1, log_up * up, -log_down * down, log_up**2 * up, log_down**2 * down])
    return CODE4 @ known
