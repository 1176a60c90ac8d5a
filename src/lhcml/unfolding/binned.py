"""Binned unfolding of one observable: iterative Bayesian unfolding and regularised matrix inversion.

Bins are numbered 0 (below the range), 1 .. K, K + 1 (above), N = K + 2 of them, the same at both levels, so that no
event is lost: one that migrates into the range from outside is a cause of its own, not a fake.

All functions work on stacks of replicas along leading axes (...), so that bootstraps cost one call. Weights may be
negative.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[np.float64]
Bins: TypeAlias = NDArray[np.intp]
# Of an effective parameter in generalised cross-validation, see `choose_tau`
PARAMETER_COST = 1.4
# Of the inversion: the second takes variances from the first
PASSES = 2


def find_bins(values: ArrayLike, edges: ArrayLike) -> Bins:
    """Return the bin of each value: 0 below the range, 1 .. K, K + 1 above; the upper edge belongs to bin K."""
    edge, value = np.asarray(edges, float), np.asarray(values, float)
    return np.asarray(np.searchsorted(edge, value, side="right") - (value == edge[-1]), np.intp)


@dataclass(frozen=True)
class Response:
    """What the simulation says of one observable, in expected events.

    Attributes
    ----------
    migration : array of shape (..., N, N)
        Events of both levels by (detector bin, particle bin).
    missed : array of shape (..., N)
        Events of the particle level that fail the detector level.
    fakes : array of shape (..., N)
        Events of the detector level that fail the particle level, by detector bin.
    background : array of shape (..., N)
        Events of other processes, by detector bin.
    """

    migration: Array
    missed: Array
    fakes: Array
    background: Array

    @property
    def prior(self) -> Array:
        """Particle-level spectrum of the simulation, shape (..., N)."""
        return np.asarray(self.migration.sum(axis=-2) + self.missed)

    @property
    def folded(self) -> Array:
        """Detector-level spectrum of the simulation with background, shape (..., N)."""
        return np.asarray(self.migration.sum(axis=-1) + self.fakes + self.background)


def response_cells(gen: Bins, reco: Bins, pass_gen: ArrayLike, pass_reco: ArrayLike, background: ArrayLike,
                   bins: int) -> Bins:  # fmt: skip
    """Return the cell of the response that each event belongs to, shape (events,), for `fill_response`.

    Parameters
    ----------
    gen, reco : arrays of shape (events,)
        Bins of `find_bins`; not used where the event fails the level.
    pass_gen, pass_reco, background : bool arrays of shape (events,)
        Background takes part at detector level only, whatever `pass_gen` says.
    bins : int
        N, with the two bins outside of the range.
    """
    other = np.asarray(background, bool)
    true, seen = np.asarray(pass_gen, bool) & ~other, np.asarray(pass_reco, bool)
    square = bins * bins
    return np.select(
        [true & seen, true, seen & ~other, seen],
        [reco * bins + gen, square + gen, square + bins + reco, square + 2 * bins + reco],
        default=square + 3 * bins,
    )


def fill_response(cells: Bins, weights: ArrayLike, bins: int) -> Response:
    """Return the response of simulated events.

    Parameters
    ----------
    cells : array of shape (events,)
        From `response_cells`.
    weights : array_like of shape (events,) or (..., events)
        Expected events.
    bins : int
        N, with the two bins outside of the range.
    """
    square, weight = bins * bins, np.asarray(weights, float)
    size = square + 3 * bins + 1
    rows = [np.bincount(cells, row, size) for row in weight.reshape(-1, weight.shape[-1])]
    counts = np.reshape(rows, (*weight.shape[:-1], size))
    migration, missed, fakes, background, _ = np.split(counts, square + bins * np.arange(4), axis=-1)
    return Response(migration.reshape(*migration.shape[:-1], bins, bins), missed, fakes, background)


def unfold_bayes(data: ArrayLike, response: Response, iterations: int) -> Array:
    """Unfold by D'Agostini's iteration, from the simulated spectrum as the prior.

    With r_i the unfolded over the simulated events of particle bin i, M the migration matrix, d the data, r_f the
    factor of the fakes F and B the background (NIM A 362 (1995) 487, eqs. 3 to 5; arXiv:1010.0632)::

        folded_j = sum_i M_ji r_i + F_j r_f + B_j
        r_i <- r_i * sum_j (M_ji d_j / folded_j) / sum_j M_ji        (and so for r_f)

    Fakes are one more cause, whose size follows the data and whose shape is simulated; background stays as it is
    predicted. As a result holds r_i times all simulated events of bin i, missed ones are corrected for. A bin that the
    simulation never sees at detector level keeps r = 1; data in detector bins where nothing is expected cannot be
    attributed and are left out.

    Parameters
    ----------
    data : array_like of shape (..., N)
        Events per detector bin.
    response : Response
        With leading axes that broadcast with the data's.
    iterations : int
        Number of iterations; the regularisation: fewer stay closer to the prior.

    Returns
    -------
    array of shape (..., N)
        Unfolded events per particle bin.
    """
    measured = np.asarray(data, float)
    causes = np.concatenate([response.migration, response.fakes[..., :, None]], axis=-1)
    seen = causes.sum(axis=-2)
    usable = seen > 0
    shape = np.broadcast_shapes(measured.shape[:-1], seen.shape[:-1])
    ratio = np.ones((*shape, seen.shape[-1]))
    for _ in range(iterations):
        folded = np.matmul(causes, ratio[..., None])[..., 0] + response.background
        scale = np.divide(measured, folded, out=np.zeros(folded.shape), where=folded > 0)
        update = np.matmul(np.swapaxes(causes, -1, -2), scale[..., None])[..., 0]
        ratio = ratio * np.divide(update, seen, out=np.ones(update.shape), where=np.broadcast_to(usable, update.shape))
    return np.asarray(ratio[..., :-1] * response.prior)


@dataclass(frozen=True)
class Inversion:
    """Result of `unfold_inversion`.

    Attributes
    ----------
    unfolded : array of shape (..., N)
        Unfolded events per particle bin.
    covariance : array of shape (..., N, N)
        Its covariance from the statistical errors of the data, for fixed variances V_j. In bins of a few events these
        fluctuate with the data and errors are larger by up to a third; bootstraps have it all.
    cross_validation : array of shape (...)
        The function that `choose_tau` minimises.
    """

    unfolded: Array
    covariance: Array
    cross_validation: Array


def unfold_inversion(data: ArrayLike, response: Response, tau: float, weight: float = 1.0) -> Inversion:
    """Unfold by least squares with Tikhonov regularisation: smooth ratio to the prior.

    Minimises, over the ratio x of unfolded to simulated events per particle bin::

        sum_j ((d_j - B_j) p_j - sum_i M_ji x_i)^2 / (p_j^2 V_j) + tau^2 s^2 sum_i (x_{i-1} - 2 x_i + x_{i+1})^2

    with p_j the share of events of both levels among simulated non-background events of detector bin j: fakes follow
    the data bin by bin. Curvature of the ratio to the prior as in the SVD method (hep-ph/9509307); s^2 is the ratio of
    the traces of both quadratic forms, so that tau has no dimension. tau = 0 is plain matrix inversion. Directions that
    nothing constrains keep the prior (x = 1).

    The variance V_j is Poisson's of the data, in a second pass of the prediction of the first: weights from the data
    themselves favour low fluctuations, and the unfolded number of events comes out too small.

    Parameters
    ----------
    data : array_like of shape (..., N)
        Events per detector bin.
    response : Response
        With leading axes that broadcast with the data's.
    tau : float
        Strength of the regularisation, see `choose_tau`.
    weight : float
        Sum of squared weights over sum of weights of the data events; 1 for collisions. Variances are this times the
        events of a bin, and at least that of one event.
    """
    measured = np.asarray(data, float)
    matched = response.migration.sum(axis=-1)
    signal = matched + response.fakes
    usable = (matched > 0) & (signal > 0)
    purity = np.divide(matched, signal, out=np.zeros(signal.shape), where=usable)
    expected = measured + np.zeros(purity.shape)
    known = np.broadcast_to(usable, expected.shape)
    bins = purity.shape[-1]
    curvature = np.diff(np.eye(bins), n=2, axis=0)
    for _ in range(PASSES):
        error = purity * np.sqrt(weight * np.maximum(expected, weight))
        inverse_error = np.divide(1.0, error, out=np.zeros(error.shape), where=known)
        matrix = inverse_error[..., None] * response.migration
        # solved for x - 1, so that the least-norm solution is the prior where nothing constrains
        target = inverse_error * ((measured - response.background) * purity - matched)
        strength = tau * np.sqrt(np.sum(matrix**2, axis=(-2, -1), keepdims=True) / np.sum(curvature**2))
        inverse = np.linalg.pinv(np.concatenate([matrix, strength * curvature], axis=-2))[..., :bins]
        change = np.matmul(inverse, target[..., None])[..., 0]
        found = matched + np.matmul(response.migration, change[..., None])[..., 0]
        expected = response.background + np.divide(found, purity, out=np.zeros(error.shape), where=known)
    # `inverse` acts on data in units of their errors, which have unit covariance
    transfer = response.prior[..., :, None] * inverse
    residual = target - np.matmul(matrix, change[..., None])[..., 0]
    parameters = np.trace(np.matmul(matrix, inverse), axis1=-2, axis2=-1)
    free = np.sum(known, axis=-1) - PARAMETER_COST * parameters
    score = np.divide(np.sum(residual**2, axis=-1), free**2, out=np.full(free.shape, np.inf), where=free > 0.5)
    return Inversion(
        unfolded=(1 + change) * response.prior,
        covariance=np.matmul(transfer, np.swapaxes(transfer, -1, -2)),
        cross_validation=score,
    )


def choose_tau(data: ArrayLike, response: Response, weight: float = 1.0) -> float:
    """Return the strength of the regularisation by generalised cross-validation.

    The smallest chi-square over (bins - 1.4 effective parameters)^2 among tau = 10^-2 .. 10^4 in steps of 10^0.1
    (Golub, Heath, Wahba, Technometrics 21 (1979) 215; the factor against chance minima with too little smoothing: Kim,
    Gu, J. R. Stat. Soc. B 66 (2004) 337). It takes the size of the fluctuations from the data, so that the statistical
    error of the response need not be known. The smallest global correlation (TUnfold, arXiv:1205.6201) is no guide
    here: with as many detector bins as particle bins it hardly smooths.

    Parameters
    ----------
    data : array_like of shape (N,)
    response : Response
        Without leading axes.
    weight : float
        As in `unfold_inversion`.
    """
    taus = 10.0 ** np.arange(-2, 4.05, 0.1)
    scores = [float(unfold_inversion(data, response, tau, weight).cross_validation) for tau in taus]
    return float(taus[int(np.argmin(scores))])
