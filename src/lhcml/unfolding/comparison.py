"""Figures of merit of the spectrum of one observable, unfolded by one method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lhcml.common.errors import UserError
from lhcml.unfolding.binned import find_bins
from lhcml.unfolding.binned_spectra import sides
from lhcml.unfolding.metrics import (
    bottom_line_test,
    chi_square,
    effective_sample_size,
    replica_covariance,
    triangular_discriminator,
    wasserstein_distance,
)
from lhcml.unfolding.uncertainties import Array
from lhcml.unfolding.unfold_binned import Sample, histogram

# Replicas for each bin of a chi-square: an inverse covariance from fewer is mostly noise
REPLICAS_PER_BIN = 3
# Events in a bin of the detector level: the variance of few is not that of their expectation
EVENTS_PER_BIN = 25


@dataclass(frozen=True)
class Reference:
    """What the spectra of an observable are compared with, the same for all methods.

    Attributes
    ----------
    truth_replicas : array, shape (replicas of the data, K), or None
        Truth of the pseudo-data, in range, with the bootstrap weights that their unfolding had.
    prior_replicas : array, shape (replicas of the simulation, K)
        Particle level of the simulation, in range, with its bootstrap weights.
    measured, measured_variance, folded : array, shape (K + 2,)
        Detector level, with what is out of range: data, sum of their squared weights, simulation with background.
    simulation_size, truth_size : float
        Effective numbers of events at particle level; `truth_size` 0 without a truth.
    """

    truth_replicas: Array | None
    prior_replicas: Array
    measured: Array
    measured_variance: Array
    folded: Array
    simulation_size: float
    truth_size: float


def make_reference(simulation: Sample, data: Sample, name: str, edges: Array) -> Reference:
    """Return the reference of an observable from the events."""

    def fill(sample: Sample, level: str, replicas: bool = False, power: int = 1) -> Array:
        passes = sample.read(f"pass_{level}").astype(bool)
        weights = sample.weight[passes] ** power
        if replicas:
            weights = sample.bootstrap[:, passes] * weights
        return histogram(find_bins(sample.read(f"{level}_{name}")[passes], edges), weights, len(edges) + 1)

    def size(sample: Sample) -> float:
        passes, values = sample.read("pass_gen").astype(bool), sample.read(f"gen_{name}")
        return float(effective_sample_size(sample.weight[passes & (values >= edges[0]) & (values <= edges[-1])]))

    known = {"pass_gen", f"gen_{name}"} <= set(data.columns)
    return Reference(
        fill(data, "gen", replicas=True)[:, 1:-1] if known else None,
        fill(simulation, "gen", replicas=True)[:, 1:-1],
        fill(data, "reco"), fill(data, "reco", power=2), fill(simulation, "reco"),
        size(simulation), size(data) if known else 0.0,
    )  # fmt: skip


def expected_discriminator(bins: int, first: float, second: float) -> float:
    """Return the mean triangular discriminator (units of 1e-3) of two independent samples of one density.

    Bins have relative variances (1 - p) / (N p) each, so the mean of 1/2 sum (p - q)^2 / (p + q) is
    (K - 1) / 4 * (1 / N + 1 / M): the (K - 1) / (2 N) of two samples of one size.

    Parameters
    ----------
    bins : int
        Number K of bins with events.
    first, second : float
        Effective numbers of events in range, N and M.
    """
    return 1e3 * (bins - 1) / 4 * (1 / first + 1 / second)


def merge_bins(content: Array, bins: int) -> Callable[[Array], Array]:
    """Return a function that adds up neighbouring bins, of shape (..., K), to at most `bins` of about equal content."""
    share = np.cumsum(np.clip(content, 0, None))
    middle = (share - np.clip(content, 0, None) / 2) / share[-1]
    group = np.minimum((middle * bins).astype(int), bins - 1)
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    return lambda values: np.add.reduceat(np.asarray(values, float), starts, axis=-1)


def effective_degrees(samples: Sequence[Array]) -> float:
    """Return the degrees of freedom of the sum of the sample covariances of replicas, each of shape (R, K).

    Welch and Satterthwaite's, from the traces: those of the source that dominates, or more.
    """
    traces = np.array([sample.var(axis=0, ddof=1).sum() for sample in samples])
    degrees = np.array([len(sample) - 1 for sample in samples])
    squares = float(np.sum(traces**2 / degrees))
    return float(traces.sum() ** 2 / squares) if squares > 0 else 0.0


def zero_test(difference: Array, samples: Sequence[Array], shifts: Sequence[Array]) -> dict[str, Any] | None:
    """Test a difference of two spectra for zero, in bins merged to as many as the replicas can tell the covariance of.

    Parameters
    ----------
    difference : array, shape (K,)
        Already merged.
    samples : sequence of arrays, shape (R, K)
        Replicas of the difference, a sample for each independent source.
    shifts : sequence of arrays, shape (K,)
        Systematic changes of one standard deviation.

    Returns
    -------
    dict or None
        `chi2` (corrected for the noise of the covariance, see `metrics.chi_square`), `degrees` and `p_value`. As the
        covariance is estimated, the value follows Hotelling's distribution: `p_value` is that of F. None where there
        are too few replicas or there is no variance.
    """
    from scipy.stats import f

    degrees = int(effective_degrees(samples))
    covariance = sum((replica_covariance(sample) for sample in samples), np.zeros((len(difference),) * 2))
    covariance = sum((np.outer(shift, shift) for shift in shifts), covariance)
    try:
        test = chi_square(difference, np.zeros(len(difference)), covariance, replicas=degrees + 1)
    except ValueError:
        return None
    ratio = (degrees - test.degrees + 1) / ((degrees - test.degrees - 1) * test.degrees)
    p_value = float(f.sf(test.value * ratio, test.degrees, degrees - test.degrees + 1))
    return {"chi2": test.value, "degrees": test.degrees, "p_value": p_value}


@dataclass(frozen=True)
class Differences:
    """An unfolded spectrum minus what it is compared with, and how that varies; shapes as in `zero_test`."""

    nominal: Array
    samples: list[Array]
    shifts: list[Array]

    @property
    def deviation(self) -> Array:
        """Return the standard deviation of each bin, shape (K,)."""
        variance = sum((sample.var(axis=0, ddof=1) for sample in self.samples), np.zeros(len(self.nominal)))
        return np.sqrt(sum((shift**2 for shift in self.shifts), variance))

    def merged(self, merge: Callable[[Array], Array]) -> Differences:
        """Return the differences in merged bins."""
        return Differences(merge(self.nominal), [merge(s) for s in self.samples], [merge(s) for s in self.shifts])


def make_differences(
    block: Mapping[str, Any], reference: Reference, systematics: Mapping[str, Mapping[str, str]], to_truth: bool
) -> Differences:
    """Return unfolded minus truth, or unfolded minus prior, of an observable of spectra.json.

    The truth of pseudo-data is of the very events that were unfolded, and the prior of those that unfold: replica r of
    the unfolded spectrum is compared with replica r of either, so that what both have in common drops out.
    """
    nominal = np.array(block["nominal"], float)
    centre = np.array(block["truth"] if to_truth else block["prior"], float)
    data, simulation = (np.array(block[f"bootstrap_{kind}"], float) for kind in ("data", "simulation"))
    data_centre = reference.truth_replicas[: len(data)] if to_truth and reference.truth_replicas is not None else centre
    simulation_centre = centre if to_truth else reference.prior_replicas[: len(simulation)]
    samples = [(data, data_centre), (simulation, simulation_centre), (np.array(block["ensemble"], float), centre)]
    shifts = []
    for _, names in sides(block, systematics):
        varied = [np.array(block["systematics"][name], float) for name in names]
        shifts.append((varied[0] - varied[1]) / 2 if len(varied) == 2 else varied[0] - nominal)
    return Differences(nominal - centre, [a - b for a, b in samples if len(a) > 1], shifts)


def spread(block: Mapping[str, Any], reference: Reference, distance: Callable[[Any, Any], float]) -> float | None:
    """Return the standard deviation of a distance to the truth over replicas.

    Over the bootstraps of the data (each compared with its own replica of the truth), over those of the simulation and
    over the ensemble, added in quadrature. A replica has the statistical noise of the sample and once more that of the
    resampling: their mean is above the value, their spread a fair measure of its uncertainty.
    """
    truth = np.array(block["truth"], float)
    variance, known = 0.0, False
    for part in ("bootstrap_data", "bootstrap_simulation", "ensemble"):
        replicas = block[part]
        if len(replicas) > 1:
            own = reference.truth_replicas if part == "bootstrap_data" else None
            values = [distance(r, truth if own is None else own[number]) for number, r in enumerate(replicas)]
            variance, known = variance + float(np.var(values, ddof=1)), True
    return float(np.sqrt(variance)) if known else None


def distances(name: str, block: Mapping[str, Any], reference: Reference) -> dict[str, Any]:
    """Return distances of an unfolded spectrum to the truth, their spread, and what statistics alone would give.

    Raises
    ------
    UserError
        If truth, unfolded spectrum or prior have nothing in range.
    """
    edges = np.array(block["edges"], float)
    truth, nominal, prior = (np.array(block[key], float) for key in ("truth", "nominal", "prior"))
    for what, values in (("truth", truth), ("unfolded spectrum", nominal), ("simulation", prior)):
        if not np.clip(values, 0, None).sum() > 0:
            raise UserError(f"the {what} of {name} has no events in range", f"check the bins of {name}")

    def triangular(p: Any, q: Any) -> float:
        return triangular_discriminator(p, q, np.diff(edges))

    def wasserstein(p: Any, q: Any) -> float:
        return wasserstein_distance(p, q, edges)

    filled = int(np.count_nonzero((truth > 0) | (prior > 0)))
    return {
        "triangular_e3": triangular(nominal, truth),
        "triangular_e3_std": spread(block, reference, triangular),
        "floor_e3": expected_discriminator(filled, reference.simulation_size, reference.truth_size),
        "prior_e3": triangular(prior, truth),
        "wasserstein": wasserstein(nominal, truth),
        "wasserstein_std": spread(block, reference, wasserstein),
    }


def agreement(
    block: Mapping[str, Any], reference: Reference, systematics: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """Return chi-square and p-value against the truth, or the prior if there is none, and the coverage of the truth.

    `coverage`: share of the configured bins in which the truth is within one total standard deviation; bins are
    correlated, so it scatters around 0.68 by more than their number says.
    """
    to_truth = block["truth"] is not None
    differences = make_differences(block, reference, systematics, to_truth)
    content = np.array(block["truth"] if to_truth else block["prior"], float)
    bins = min(len(content), int(effective_degrees(differences.samples)) // REPLICAS_PER_BIN)
    test = None
    if bins:
        merged = differences.merged(merge_bins(content, bins))
        test = zero_test(merged.nominal, merged.samples, merged.shifts)
    deviation = differences.deviation
    used = deviation > 0
    covered = np.abs(differences.nominal[used]) <= deviation[used]
    return {
        **(test or {"chi2": None, "degrees": None, "p_value": None}),
        "compared_with": "truth" if to_truth else "prior",
        "coverage": float(covered.mean()) if to_truth and used.any() else None,
    }


def bottom_line(block: Mapping[str, Any], reference: Reference) -> dict[str, Any] | None:
    """Return the bottom-line test of the simulation as the model, before and after unfolding.

    Bins of the particle level are merged to as many as the bootstraps of the data tell the covariance of. Sums of bins
    hold no more information than the bins, so their chi-square should be the smaller one all the more. Those of the
    detector level, whose covariance is known, are merged until they hold some events each. The only uncertainty is that
    of the data. To the result of `metrics.bottom_line_test` it adds `relative_error`, the standard deviation of the
    chi-square after unfolding over its mean due to the finite number of replicas (that of the inverse of a
    chi-square; None if it has none). None with too few replicas, or if nothing varies.
    """
    replicas = np.array(block["bootstrap_data"], float)
    prior = np.array(block["prior"], float)
    bins = min(len(prior), (len(replicas) - 1) // REPLICAS_PER_BIN)
    size = reference.measured.sum() ** 2 / reference.measured_variance.sum()
    detector_bins = min(len(reference.measured), int(size / EVENTS_PER_BIN))
    if bins < 1 or detector_bins < 1:
        return None
    particle, detector = merge_bins(prior, bins), merge_bins(reference.measured, detector_bins)
    try:
        test = bottom_line_test(
            detector(reference.measured), detector(reference.folded), np.diag(detector(reference.measured_variance)),
            particle(np.array(block["nominal"])), particle(prior), replica_covariance(particle(replicas)),
            len(replicas),
        )  # fmt: skip
    except ValueError:
        return None
    # 1 / chi-square of R - p degrees: relative variance 2 / (R - p - 4)
    left = len(replicas) - test["particle"]["degrees"] - 4
    return test | {"relative_error": float(np.sqrt(2 / left)) if left > 0 else None}
