"""The iterations of OmniFold (arXiv:1911.09107), for many replicas at once and with events that fail a level.

Step 1 reweights the simulation to the data at detector level; step 2 turns that weight into a function of the particle
level. With ratios estimated in bins this is D'Agostini's iterative Bayesian unfolding, also for

- misses (particle level only): step 2 learns from events that pass both levels, so a miss gets E[w | particle level];
- fakes (detector level only): one more cause, whose rate is scaled by the mean of step 1 over the fakes;
- background: part of the simulated side of step 1, with weights that stay.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lhcml.common.errors import UserError
from lhcml.unfolding.metrics import effective_sample_size

Floats: TypeAlias = "NDArray[np.float64]"
Mask: TypeAlias = "NDArray[np.bool_]"

log = logging.getLogger("lhcml")


@dataclass(frozen=True)
class Events:
    """What is unfolded; N simulated and M data events, R replicas.

    Attributes
    ----------
    pass_gen, pass_reco : ndarray
        Whether the simulated events pass particle and detector level, shape (N,). Background passes the latter only.
    background : ndarray
        Simulated events of other processes, shape (N,).
    prior : ndarray
        Weights of the simulation, expected events at the luminosity of the data, shape (R, N).
    data : ndarray
        Weights of the data events, all of which pass detector level, shape (R, M).
    """

    pass_gen: Mask
    pass_reco: Mask
    background: Mask
    prior: Floats
    data: Floats


class Ratios(Protocol):
    """Estimates of the logarithm of a ratio of densities; keeps what a warm start needs."""

    def step1(self, iteration: int, positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
        """Learn from the simulated events at detector level, followed by those of the data.

        Parameters
        ----------
        iteration : int
            From 0.
        positive, negative : ndarray
            Weights of numerator and denominator, shape (R, simulated + data events), each of mean 1/2.

        Returns
        -------
        logarithms : ndarray
            ln(ratio) of these events, shape (R, events).
        loss : ndarray
            Mean loss in the last epoch, shape (R,), 1 for a ratio of one.
        """

    def step2(self, iteration: int, positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
        """Learn from the events that pass both levels; return ln(ratio) of all of particle level, and the loss."""


@dataclass
class Unfolded:
    """Result of the iterations.

    Attributes
    ----------
    push : ndarray
        Factor of each event that passes the particle level, to multiply with its prior, shape (R, events).
    history : list of dict
        Figures of each iteration: `diagnostics`.
    calibration : dict
        "step1" and "step2": `calibrate` of the first replica in the last iteration.
    """

    push: Floats
    history: list[dict[str, list[float]]] = field(default_factory=list)
    calibration: dict[str, list[list[float]]] = field(default_factory=dict)


def calibrate(logarithm: Floats, positive: Floats, negative: Floats, bins: int = 10) -> list[list[float]]:
    """Return [mean of the estimated ratio, ratio of the sums of weights] of events in quantiles of the estimate.

    Parameters
    ----------
    logarithm, positive, negative : ndarray
        Logarithm of the estimate, and weights of either side, shape (events,).
    bins : int
        Number of quantiles.
    """
    # events of equal estimates, as of trees, are mixed first: their order here is simulation before data
    mixed = np.random.default_rng(1).permutation(len(logarithm))
    groups = np.array_split(mixed[np.argsort(logarithm[mixed], kind="stable")], bins)
    weights = [(negative[group], positive[group], np.exp(logarithm[group])) for group in groups if len(group)]
    return [
        [float((below * estimate).sum() / below.sum()), float(above.sum() / below.sum())]
        for below, above, estimate in weights
        if below.sum() > 0
    ]


def balanced(weights: Floats) -> Floats:
    """Return weights (R, events) scaled to a mean of 1/2 in each replica."""
    return weights * (0.5 / weights.mean(1, keepdims=True))


def clipped_exp(logarithm: Floats, largest: float) -> Floats:
    """Return exp(logarithm) kept between 1/largest and largest."""
    bound = np.log(largest)
    return np.exp(np.clip(logarithm, -bound, bound))


def check_sums(events: Events) -> None:
    """Check that there is something to unfold.

    Raises
    ------
    UserError
        If a sum of weights of the data or of the simulation at either level is not positive, or no event passes both.
    """
    both = events.pass_gen & events.pass_reco
    sums = {
        "the data": events.data, "simulated events at detector level": events.prior[:, events.pass_reco],
        "simulated events that pass both levels": events.prior[:, both],
    }  # fmt: skip
    for name, weights in sums.items():
        total = weights.sum(1)
        if not (total > 0).all():
            raise UserError(
                f"the sum of weights of {name} is {total.min():g} ({weights.shape[1]} events)",
                "check the cuts `unfolding.selection` and `unfolding.fiducial`, and the weights of the simulation",
            )


def diagnostics(
    push: Floats, previous: Floats, prior: Floats, drift: tuple[Floats, Floats], losses: tuple[Floats, Floats],
    clipped: tuple[Floats, Floats],
) -> dict[str, list[float]]:  # fmt: skip
    """Return the figures of an iteration, one number a replica each.

    `effective_share`: effective number of events over that of the prior; `largest_weight`: of the push, with its mean
    as unit; `percentiles` would hide what one event can do, so smallest and largest are given; `normalisation_drift`:
    sum of weights that the ratio of a step gives over what it must give, before it is set right; `loss`: of the
    classifiers; `clipped`: share of events at the bound of the ratio; `change`: root of the mean squared change of the
    push since the last iteration.
    """
    mean = (push * prior).sum(1) / prior.sum(1)
    change = np.sqrt((np.abs(prior) * (push - previous) ** 2).sum(1) / np.abs(prior).sum(1))
    values = {
        "effective_share": effective_sample_size(push * prior) / effective_sample_size(prior),
        "smallest_weight": push.min(1) / mean,
        "largest_weight": push.max(1) / mean,
        "change": change / mean,
        "normalisation_drift_step1": drift[0],
        "normalisation_drift_step2": drift[1],
        "loss_step1": losses[0],
        "loss_step2": losses[1],
        "clipped_step1": clipped[0],
        "clipped_step2": clipped[1],
    }
    return {name: value.tolist() for name, value in values.items()}


def check_weights(push: Floats, prior: Floats, iteration: int, least_share: float) -> None:
    """Stop if weights collapsed.

    Raises
    ------
    UserError
        If a weight is NaN or infinite, or the effective number of events falls below a share of the prior's.
    """
    if not np.isfinite(push).all():
        raise UserError(
            f"iteration {iteration + 1} gave {np.count_nonzero(~np.isfinite(push))} weights that are NaN or infinite",
            "look at the losses in the log; lower the learning rate or `largest_ratio`",
        )
    share = effective_sample_size(push * prior) / effective_sample_size(prior)
    if share.min() < least_share:
        raise UserError(
            f"the weights collapsed in iteration {iteration + 1}: {share.min():.2%} of the effective number of "
            f"simulated events is left (replica {int(share.argmin())})",
            "data and simulation hardly overlap: check units and cuts of both, or lower `largest_ratio`",
        )


def unfold(
    events: Events,
    ratios: Ratios,
    iterations: int,
    *,
    largest_ratio: float = 100.0,
    least_share: float = 0.01,
    after: Callable[[Unfolded], bool] | None = None,
) -> Unfolded:
    """Unfold.

    Parameters
    ----------
    events : Events
        Flags and weights.
    ratios : Ratios
        What estimates the ratios from the observables.
    iterations : int
        Number of iterations, or the largest.
    largest_ratio : float
        Ratios of a step are kept between its inverse and it.
    least_share : float
        Effective number of events, over that of the prior, below which the weights have collapsed.
    after : function, optional
        Sees the result after each iteration and says whether it was the last.

    Raises
    ------
    UserError
        If there is nothing to unfold, or the weights became NaN or collapsed.
    """
    check_sums(events)
    reco, gen = events.pass_reco, events.pass_gen
    # positions in the list of events at detector level, and of those at particle level
    both_reco, both_gen = gen[reco], reco[gen]
    fake = ~both_reco & ~events.background[reco]
    prior = events.prior[:, gen]
    prior_both = prior[:, both_gen]
    detector, data = events.prior[:, reco], events.data
    data_sum = data.sum(1, keepdims=True)
    zeros_simulation, zeros_data = np.zeros_like(detector), np.zeros_like(data)

    push = np.ones_like(prior)
    fake_rate = np.ones((len(prior), 1))
    result = Unfolded(push)
    for iteration in range(iterations):
        weights = detector.copy()
        weights[:, both_reco] = prior_both * push[:, both_gen]
        weights[:, fake] *= fake_rate
        positive = balanced(np.concatenate([zeros_simulation, data], axis=1))
        negative = balanced(np.concatenate([weights, zeros_data], axis=1))
        estimate, loss1 = ratios.step1(iteration, positive, negative)
        result.calibration["step1"] = calibrate(estimate[0], positive[0], negative[0])
        logarithm = estimate[:, : weights.shape[1]]
        # classes are balanced in training: the ratio of their sums comes back here
        pull = clipped_exp(logarithm, largest_ratio) * (data_sum / weights.sum(1, keepdims=True))
        drift1 = (weights * pull).sum(1) / data_sum[:, 0]
        pull /= drift1[:, None]
        if fake.any():
            share = weights[:, fake]
            fake_rate = fake_rate * (share * pull[:, fake]).sum(1, keepdims=True) / share.sum(1, keepdims=True)

        target = prior_both * push[:, both_gen] * pull[:, both_reco]
        target_sum = target.sum(1, keepdims=True)
        positive, negative = balanced(target), balanced(prior_both)
        logarithm2, loss2 = ratios.step2(iteration, positive, negative)
        result.calibration["step2"] = calibrate(logarithm2[0, both_gen], positive[0], negative[0])
        previous = push
        push = clipped_exp(logarithm2, largest_ratio) * (target_sum / prior_both.sum(1, keepdims=True))
        drift2 = (prior_both * push[:, both_gen]).sum(1) / target_sum[:, 0]
        push /= drift2[:, None]

        check_weights(push, prior, iteration, least_share)
        bound = np.log(largest_ratio)
        clipped = ((np.abs(logarithm) > bound).mean(1), (np.abs(logarithm2) > bound).mean(1))
        result.push = push
        result.history.append(diagnostics(push, previous, prior, (drift1, drift2), (loss1, loss2), clipped))
        last = {name: float(np.mean(values)) for name, values in result.history[-1].items()}
        log.info(
            "iteration %d: change %.4f, effective share of events %.3f, largest weight %.2f, drift %.4f and %.4f",
            iteration + 1, last["change"], last["effective_share"], max(result.history[-1]["largest_weight"]),
            last["normalisation_drift_step1"], last["normalisation_drift_step2"],
        )  # fmt: skip
        if after is not None and after(result):
            break
    return result
