"""Figures of merit of unfolded spectra, and the statistics they rest on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[np.float64]
# Eigenvalues of a correlation matrix are of order 1; below this share of the largest one there is only rounding
SMALLEST_EIGENVALUE = 1e-6


def normalise(counts: ArrayLike) -> Array:
    """Return the shares of bins, shape (K,), of sum 1; negative bins count as empty, as a density has none.

    Raises
    ------
    ValueError
        If nothing is in range.
    """
    shares = np.clip(np.asarray(counts, float), 0, None)
    if not shares.sum() > 0:
        raise ValueError("a spectrum without events in range has no density")
    return np.asarray(shares / shares.sum())


def triangular_discriminator(p_counts: ArrayLike, q_counts: ArrayLike, widths: ArrayLike) -> float:
    """Return the triangular discriminator of two spectra, in units of 1e-3.

    1/2 * sum over bins of (p - q)^2 / (p + q) * width, with densities p and q that are normalised in range
    (arXiv:1911.09107 and arXiv:2503.09720, both with this factor 1/2). 0: equal, 1000: nowhere both. Bins empty in both
    add nothing. Two samples of N events each of one density, K bins: K / (2 N) on average.

    Parameters
    ----------
    p_counts, q_counts : array_like of shape (K,)
        Events per bin; negative bins count as empty.
    widths : array_like of shape (K,)
        Widths of the bins.
    """
    width = np.asarray(widths, float)
    p, q = normalise(p_counts) / width, normalise(q_counts) / width
    total = p + q
    filled = total > 0
    return float(1e3 * 0.5 * np.sum((p - q)[filled] ** 2 / total[filled] * width[filled]))


def wasserstein_distance(p_counts: ArrayLike, q_counts: ArrayLike, edges: ArrayLike) -> float:
    """Return the first Wasserstein distance of two normalised spectra, in units of the observable.

    Each bin's share sits at the bin's centre, so the distance is the area between the two cumulative distributions.

    Parameters
    ----------
    p_counts, q_counts : array_like of shape (K,)
        Events per bin; negative bins count as empty.
    edges : array_like of shape (K + 1,)
    """
    edge = np.asarray(edges, float)
    centres = (edge[1:] + edge[:-1]) / 2
    between = np.cumsum(normalise(p_counts) - normalise(q_counts))[:-1]
    return float(np.abs(between) @ np.diff(centres))


@dataclass(frozen=True)
class ChiSquare:
    """A test of two histograms.

    Attributes
    ----------
    value : float
        Chi-square.
    degrees : int
        Number of degrees of freedom: directions that the covariance has variance in.
    p_value : float
        Probability of a larger value.
    """

    value: float
    degrees: int
    p_value: float


def chi_square(a: ArrayLike, b: ArrayLike, covariance: ArrayLike, replicas: int | None = None) -> ChiSquare:
    """Compare two histograms under the covariance of their difference.

    The covariance may be singular (spectra normalised to 1, empty bins, few replicas). Bins of zero variance are left
    out. Of the correlation matrix of the others, eigenvectors with eigenvalues under 1e-6 of the largest are left out
    too; the degrees of freedom are the eigenvectors that stay. Correlations rather than covariances are cut, so that
    the rule does not depend on units or on how full bins are.

    Parameters
    ----------
    a, b : array_like of shape (K,)
    covariance : array_like of shape (K, K)
    replicas : int, optional
        Number of replicas that the covariance was estimated from, if it was. The inverse of such an estimate is too
        large on average; the value is scaled by (replicas - degrees - 2) / (replicas - 1) (Hartlap, Simon, Schneider,
        astro-ph/0608064, eq. 17).

    Raises
    ------
    ValueError
        If the covariance was estimated from too few replicas for these bins, or has no variance at all.
    """
    from scipy.stats import chi2

    difference = np.asarray(a, float) - np.asarray(b, float)
    matrix = np.asarray(covariance, float)
    used = np.diag(matrix) > 0
    if not used.any():
        raise ValueError("the covariance has no variance in any bin")
    deviation = np.sqrt(np.diag(matrix)[used])
    values, vectors = np.linalg.eigh(matrix[np.ix_(used, used)] / np.outer(deviation, deviation))
    kept = values > SMALLEST_EIGENVALUE * values[-1]
    pulls = vectors[:, kept].T @ (difference[used] / deviation)
    value, degrees = float(np.sum(pulls**2 / values[kept])), int(kept.sum())
    if replicas is not None:
        if replicas <= degrees + 2:
            raise ValueError(f"{replicas} replicas cannot give the inverse covariance of {degrees} bins; merge bins")
        value *= (replicas - degrees - 2) / (replicas - 1)
    return ChiSquare(value, degrees, float(chi2.sf(value, degrees)))


def bottom_line_test(
    measured: ArrayLike,
    folded_model: ArrayLike,
    measured_covariance: ArrayLike,
    unfolded: ArrayLike,
    model: ArrayLike,
    unfolded_covariance: ArrayLike,
    replicas: int | None = None,
) -> dict[str, Any]:
    """Compare what the data say of a model before and after unfolding.

    Unfolding adds no information, so the chi-square of a model against unfolded data should not exceed the one of the
    folded model against the data themselves; where it does, covariance or regularisation lend the result a power that
    the data do not have (Cousins, May, Sun, arXiv:1607.07038). Exact inversion gives the same value twice.

    Parameters
    ----------
    measured, folded_model : array_like of shape (M,)
        Data and the model's prediction, background included, at detector level.
    measured_covariance : array_like of shape (M, M)
        Of the data (and of the prediction, if it has a sizeable one).
    unfolded, model : array_like of shape (K,)
        Unfolded data and the model at particle level.
    unfolded_covariance : array_like of shape (K, K)
        The covariance of `measured`, carried through the unfolding.
    replicas : int, optional
        Number of replicas that `unfolded_covariance` was estimated from, if it was; see `chi_square`.

    Returns
    -------
    dict
        "detector" and "particle" (value, degrees, p_value), "passed" (particle <= detector, to 1e-6).
    """
    before = chi_square(measured, folded_model, measured_covariance)
    after = chi_square(unfolded, model, unfolded_covariance, replicas)
    return {
        "detector": asdict(before),
        "particle": asdict(after),
        # matrix inversion gives equality, up to rounding
        "passed": bool(after.value <= before.value * (1 + 1e-6)),
    }


def replica_covariance(replicas: ArrayLike) -> Array:
    """Return the sample covariance of R replicas of a histogram around their mean, shape (K, K).

    Parameters
    ----------
    replicas : array_like of shape (R, K)

    Raises
    ------
    ValueError
        With fewer than two replicas.
    """
    sample = np.asarray(replicas, float)
    if sample.ndim != 2 or len(sample) < 2:
        raise ValueError(f"a covariance needs two replicas or more, got an array of shape {sample.shape}")
    centred = sample - sample.mean(axis=0)
    return np.asarray(centred.T @ centred / (len(sample) - 1))


def effective_sample_size(weights: ArrayLike) -> Array:
    """Return (sum of weights)^2 / sum of squares over the last axis: as many events of weight one have its error.

    Kish's effective sample size; 0 without any weight.
    """
    weight = np.asarray(weights, float)
    squares = np.sum(weight**2, axis=-1)
    return np.divide(weight.sum(axis=-1) ** 2, squares, out=np.zeros_like(squares), where=squares > 0)
