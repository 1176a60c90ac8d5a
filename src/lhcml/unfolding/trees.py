"""Ratios of densities from boosted trees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import xgboost
from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"


@dataclass(frozen=True)
class Boosting:
    """Settings of the trees.

    Attributes
    ----------
    rounds, learning_rate, max_depth : int, float, int
        Number of trees, their weight and depth.
    min_child_weight : float
        Least number of events in a leaf, counted with the mean weight.
    subsample : float
        Share of the events that a tree sees: what makes members of an ensemble differ.
    """

    rounds: int = 40
    learning_rate: float = 0.2
    max_depth: int = 3
    min_child_weight: float = 50.0
    subsample: float = 0.8


def fit_trees(
    values: NDArray[np.float32], positive: Floats, negative: Floats, settings: Boosting, threads: int, seed: int
) -> xgboost.Booster:
    """Return trees whose margin estimates ln(E[positive | x] / E[negative | x]).

    The objective is the cross entropy of events that weigh on both sides, of any sign: xgboost's own takes neither.

    Parameters
    ----------
    values : ndarray
        Observables, shape (events, observables).
    positive, negative : ndarray
        Weights of numerator and denominator, shape (events,), each of mean 1/2.
    settings : Boosting
        Settings of the trees.
    threads, seed : int
        Threads and seed of xgboost.
    """
    total = positive + negative

    def cross_entropy(margin: Floats, _: xgboost.DMatrix) -> tuple[Floats, Floats]:
        probability = 1 / (1 + np.exp(-margin))
        return total * probability - positive, total * probability * (1 - probability)

    return xgboost.train(
        {
            "tree_method": "hist", "max_depth": settings.max_depth, "eta": settings.learning_rate, "base_score": 0.0,
            # the curvature of an event of weight 1 at a ratio of one is 1/4
            "min_child_weight": settings.min_child_weight / 4, "nthread": threads, "seed": seed,
            "subsample": settings.subsample,
            "disable_default_eval_metric": True,
        },
        xgboost.QuantileDMatrix(values, nthread=threads), settings.rounds, obj=cross_entropy,
    )  # fmt: skip


def predict_trees(booster: xgboost.Booster, values: NDArray[np.float32], threads: int) -> Floats:
    """Return the logarithm of the ratio for events, shape (events,)."""
    booster.set_param({"nthread": threads})
    margin = booster.inplace_predict(values, predict_type="margin")
    return np.asarray(margin, dtype=np.float64)
