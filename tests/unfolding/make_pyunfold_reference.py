"""Make `pyunfold_reference.json`: numbers of the package PyUnfold 0.5.0 that `test_unfolding_binned.py` compares with.

Needs an environment of its own:

    pip install pyunfold==0.5.0
    python tests/unfolding/make_pyunfold_reference.py

PyUnfold has no fakes and no background, takes probabilities instead of events, and stops by a test statistic; a
threshold that is never reached gives a fixed number of iterations.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from pyunfold import iterative_unfold

ITERATIONS = 4
BINS = 8


def main() -> None:
    """Unfold one falling spectrum with migrations and losses and write inputs and result."""
    rng = np.random.default_rng(3)
    distance = np.arange(BINS)[:, None] - np.arange(BINS)
    efficiency = np.linspace(0.5, 0.95, BINS)
    prior = 1000 * np.exp(-np.arange(BINS) / 3)
    probability = np.exp(-(distance**2) / 2)
    probability *= efficiency / probability.sum(axis=0)
    migration = np.round(probability * prior, 3)
    probability = migration / prior
    data = rng.poisson(probability @ (prior * np.linspace(0.8, 1.4, BINS))).astype(float)
    zeros = np.zeros_like(probability)
    steps = iterative_unfold(
        data=data, data_err=np.sqrt(data), response=probability, response_err=zeros,
        efficiencies=probability.sum(axis=0), efficiencies_err=np.zeros(BINS), prior=prior / prior.sum(),
        ts_stopping=1e-12, max_iter=ITERATIONS, return_iterations=True,
    )  # fmt: skip
    result = {
        "prior": prior.tolist(), "migration": migration.tolist(), "data": data.tolist(), "iterations": ITERATIONS,
        "unfolded": [row.tolist() for row in steps["unfolded"]],
    }  # fmt: skip
    Path(__file__).with_name("pyunfold_reference.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
