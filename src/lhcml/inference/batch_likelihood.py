"""The compiled likelihood for many parameter points at once, as pseudo-experiments need it.

A call of `Likelihood` on a small model is mostly the fixed price of some fifty NumPy calls. For T points in one call
that price is paid once. Sums over entries are products with sparse matrices, made once per model.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lhcml.inference.likelihood import (
    SMALLEST_RATE,
    Array,
    Indices,
    Likelihood,
    interpolate_code4p,
    poisson_slope,
    poisson_term,
)

# Numbers in the largest temporary array: 32 MB
LARGEST_ARRAY = 4_000_000


class BatchLikelihood:
    """Value, gradient and expected curvature of -2 ln L at T points with T data sets.

    Parameters
    ----------
    likelihood : Likelihood
        The model; values and gradients are its own to rounding.
    """

    def __init__(self, likelihood: Likelihood) -> None:
        self.likelihood = likelihood
        cells, bins, parameters = len(likelihood.nominal), likelihood.bins, len(likelihood.names)
        self._add = _selection(likelihood.add_cell, cells)
        self._bin = _selection(likelihood.bin_of_cell, bins)
        # entries of one block together, so that their product is a reduction over neighbours
        self._order = np.argsort(likelihood.scale_block, kind="stable")
        self._blocks, self._starts = np.unique(likelihood.scale_block[self._order], return_index=True)
        # index P stands for "no factor": its column is dropped
        self._slope = _selection(likelihood.slope_parameter, parameters + 1)[:parameters]
        flat = likelihood.bin_of_cell[likelihood.slope_cell] * (parameters + 1) + likelihood.slope_parameter
        self._jacobian = _selection(flat, bins * (parameters + 1))

    @property
    def chunk(self) -> int:
        """Number of points that fit into one call."""
        likelihood = self.likelihood
        largest = max(len(likelihood.slope_cell), likelihood.bins * (len(likelihood.names) + 1),
                      len(likelihood.names) ** 2)  # fmt: skip
        return max(1, LARGEST_ARRAY // largest)

    def _cells(self, points: Array, slopes: bool) -> tuple[Array, Array]:
        """Return the cells, shape (T, C), and if wanted their slopes in order of `slope_cell`, shape (T, N)."""
        likelihood = self.likelihood
        added, added_slope = interpolate_code4p(
            points[:, likelihood.add_parameter], likelihood.add_up, likelihood.add_down
        )
        base = likelihood.nominal + (self._add @ added.T).T
        scales, scale_slopes = self._scales(points[:, likelihood.scale_parameter])
        block_scale = np.ones((len(points), len(likelihood.samples)))
        if self._blocks.size:
            block_scale[:, self._blocks] = np.multiply.reduceat(scales[:, self._order], self._starts, axis=1)
        factors = np.concatenate([points, np.ones((len(points), 1))], axis=1)[:, likelihood.factor]
        scale = block_scale[:, likelihood.block_of_cell]
        product = scale * factors.prod(axis=1)
        cells = base * product
        if not slopes:
            return cells, np.empty((len(points), 0))
        before, after = np.ones_like(factors), np.ones_like(factors)
        np.cumprod(factors[:, :-1], axis=1, out=before[:, 1:])
        np.cumprod(factors[:, :0:-1], axis=1, out=after[:, -2::-1])
        parts = [
            added_slope * product[:, likelihood.add_cell],
            cells[:, likelihood.spread_cell] * (scale_slopes / scales)[:, likelihood.spread_entry],
            ((base * scale)[:, None, :] * before * after).reshape(len(points), -1),
        ]
        return cells, np.concatenate(parts, axis=1)

    def _scales(self, alpha: Array) -> tuple[Array, Array]:
        """Return factors by code 4 and their slopes, shape (T, E)."""
        likelihood = self.likelihood
        value, slope = np.zeros_like(alpha), np.zeros_like(alpha)
        for coefficient in likelihood.scale_coefficients[::-1]:
            slope = slope * alpha + value
            value = value * alpha + coefficient
        # the polynomial is 1 + alpha * value
        slope, value = slope * alpha + value, value * alpha + 1
        logarithm = np.where(alpha > 0, likelihood.scale_log_up, -likelihood.scale_log_down)
        outside = np.abs(alpha) >= 1
        with np.errstate(over="ignore"):
            outer = np.exp(alpha * logarithm)
        return np.where(outside, outer, value), np.where(outside, outer * logarithm, slope)

    def rates(self, points: Array) -> Array:
        """Return the expected events of each bin, shape (T, B)."""
        return np.ascontiguousarray((self._bin @ self._cells(points, slopes=False)[0].T).T)

    def twice_nll(self, points: Array, data: Array) -> Array:
        """Return -2 ln L of each data set at its point, shape (T,); points (T, P), data (T, B + A)."""
        return self._value(points, data, self.rates(points))

    def _value(self, points: Array, data: Array, rates: Array) -> Array:
        likelihood = self.likelihood
        count, aux = data[:, : likelihood.bins], data[:, likelihood.bins :]
        normal, poisson = likelihood.normal, likelihood.poisson
        pull = (aux[:, normal.position] - points[:, normal.parameter]) / normal.scale
        constraint = poisson_term(aux[:, poisson.position], points[:, poisson.parameter] * poisson.scale)
        constant = float(np.log(normal.scale * np.sqrt(2 * np.pi)).sum())
        total = poisson_term(count, rates).sum(axis=1) + constraint.sum(axis=1) + 0.5 * (pull**2).sum(axis=1) + constant
        return np.asarray(2 * total)

    def gradient(self, points: Array, data: Array) -> Array:
        """Return the derivatives of `twice_nll` by the parameters, shape (T, P)."""
        likelihood = self.likelihood
        cells, slopes = self._cells(points, slopes=True)
        rates = (self._bin @ cells.T).T
        weight = poisson_slope(data[:, : likelihood.bins], rates)[:, likelihood.bin_of_cell]
        result = np.ascontiguousarray((self._slope @ (slopes * weight[:, likelihood.slope_cell]).T).T)
        return self._add_constraints(result, points, data)

    def _add_constraints(self, half: Array, points: Array, data: Array) -> Array:
        """Return the gradient of -2 ln L from that of the main part of -ln L, which is changed."""
        normal, poisson = self.likelihood.normal, self.likelihood.poisson
        aux = data[:, self.likelihood.bins :]
        half[:, normal.parameter] += (points[:, normal.parameter] - aux[:, normal.position]) / normal.scale**2
        rate = points[:, poisson.parameter] * poisson.scale
        half[:, poisson.parameter] += poisson_slope(aux[:, poisson.position], rate) * poisson.scale
        return 2 * half

    def expand(self, points: Array, data: Array) -> tuple[Array, Array, Array]:
        """Return value (T,), gradient (T, P) and expected second derivatives (T, P, P) of -2 ln L.

        The expected ones (Fisher's information) need first derivatives of the rates only and are never negative.
        """
        likelihood = self.likelihood
        size, count = len(points), data[:, : likelihood.bins]
        cells, slopes = self._cells(points, slopes=True)
        rates = np.ascontiguousarray((self._bin @ cells.T).T)
        jacobian = (self._jacobian @ slopes.T).T.reshape(size, likelihood.bins, -1)[:, :, :-1]
        half = np.einsum("tbp,tb->tp", jacobian, poisson_slope(count, rates))
        gradient = self._add_constraints(half, points, data)
        root = jacobian / np.sqrt(np.maximum(np.abs(rates), SMALLEST_RATE))[:, :, None]
        matrix = np.matmul(root.transpose(0, 2, 1), root)
        normal, poisson = likelihood.normal, likelihood.poisson
        matrix[:, normal.parameter, normal.parameter] += 1 / normal.scale**2
        rate = np.maximum(points[:, poisson.parameter] * poisson.scale, SMALLEST_RATE)
        matrix[:, poisson.parameter, poisson.parameter] += poisson.scale**2 / rate
        return self._value(points, data, rates), gradient, 2 * matrix


def _selection(target: Indices, size: int) -> Any:
    """Return the sparse matrix, shape (size, entries), that adds each entry to its target."""
    from scipy.sparse import csr_array

    entries = np.arange(len(target))
    return csr_array((np.ones(len(target)), (target, entries)), shape=(size, len(target)))
