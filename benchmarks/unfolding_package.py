"""Unfold the Gaussian toy with the Python package `omnifold`, on the events of `unfolding_gaussian_toy.py`.

Needs an environment of its own, as the package brings TensorFlow (2.15: with Keras 3 of later versions 0.1.36 fails
at its first step, "Could not locate function 'weighted_binary_crossentropy'"):

    uv venv omnifold --python 3.11
    uv pip install --python omnifold omnifold==0.1.36 tensorflow==2.15.1 numpy==1.26.4
    python benchmarks/unfolding_gaussian_toy.py --seed 1 --efficient --output toy.npz
    omnifold/bin/python benchmarks/unfolding_package.py --input toy.npz --case efficiency --seed 1

Everything is the package's default (its README): a multilayer perceptron (64, 128, 64; GELU) for each step, Adam with
learning rate 1e-4, batches of 128, up to 50 epochs a step with early stopping after 10 without improvement on a fifth
of the events; `DataLoader(..., pass_reco=..., normalize=True)` as the package's own way with events that the detector
loses. Only the number of iterations is ours (4, its default is 3). One line of JSON is printed: case, seed, triangular
discriminator in units of 1e-3 against all true events, seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
from unfolding_gaussian_toy import EDGES


def main() -> None:
    """Unfold and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, required=True, help="toy.npz")
    parser.add_argument("--case", required=True, help="name of the case in the output")
    parser.add_argument("--seed", type=int, default=1, help="of the networks and the split")
    parser.add_argument("--iterations", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # the package prints as it is imported and as it runs; standard output is for the result alone
    with redirect_stdout(open(os.devnull, "w")):
        import tensorflow as tf
        from omnifold import MLP, DataLoader, MultiFold

        tf.config.threading.set_intra_op_parallelism_threads(args.threads)
        tf.config.threading.set_inter_op_parallelism_threads(args.threads)
        tf.keras.utils.set_random_seed(args.seed)
        with np.load(args.input) as toy:
            gen, reco = (toy[name][:, None].astype(np.float32) for name in ("gen", "reco"))
            measured = toy["data"][toy["pass_data"]][:, None].astype(np.float32)
            simulation = DataLoader(reco=reco, pass_reco=toy["pass_reco"], gen=gen, normalize=True)
            truth = np.histogram(toy["truth"], EDGES)[0]
        data = DataLoader(reco=measured, normalize=True)
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            unfolding = MultiFold(
                "gaussian", MLP(1), MLP(1), data, simulation, weights_folder=folder, log_folder=folder,
                niter=args.iterations, epochs=args.epochs, batch_size=args.batch_size,
            )  # fmt: skip
            unfolding.Unfold()
            weights = simulation.weight * unfolding.reweight(gen, unfolding.model2, batch_size=1000)
        seconds = time.perf_counter() - start
    p, q = np.histogram(gen[:, 0], EDGES, weights=weights)[0], truth.astype(float)
    p, q = p / p.sum(), q / q.sum()
    total = np.where(p + q > 0, p + q, 1.0)
    triangular = float(0.5 * np.sum((p - q) ** 2 / total))
    print(json.dumps({"case": args.case, "seed": args.seed, "triangular_e3": 1e3 * triangular, "seconds": seconds}))


if __name__ == "__main__":
    main()
