"""Train a neural network of any family in lhcml.taggers.models on the constituents (or other inputs) of jets.

Both classes count the same. After each epoch `last.ckpt` is written beside the output; a training that is killed
resumes from it if configuration, code, data and seed are the same, and ends with the identical result. The model holds
the weights of the epoch with the smallest validation loss.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhcml.common.cli import git_hash, json_argument, make_parser, package_version, run_main, start_log
from lhcml.common.files import write_atomic, write_json
from lhcml.taggers.families import build_network, complete_architecture, family_module
from lhcml.taggers.jets import BACKGROUND, SIGNAL, Jets, choose, count_jets, read_split
from lhcml.taggers.provenance import source_digest, value_digest


def standardisation(jets: Jets, rows: int = 1_000_000) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each input over all rows; the deviation of a constant input is set to 1.

    The rows are gone through some at a time, so that inputs mapped from a file do not fill the memory.
    """
    import numpy as np

    total, squares = np.zeros(jets.values.shape[1]), np.zeros(jets.values.shape[1])
    parts = [jets.values[start : start + rows] for start in range(0, len(jets.values), rows)]
    for part in parts:
        total += part.sum(axis=0, dtype=np.float64)
    mean = total / max(len(jets.values), 1)
    for part in parts:
        squares += np.square(part - mean).sum(axis=0)
    deviation = np.sqrt(squares / max(len(jets.values), 1))
    return mean.tolist(), np.where(deviation > 0, deviation, 1.0).tolist()


def scale_epochs(settings: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Return the settings of a training with its largest number of epochs multiplied by a factor, at least 1."""
    return {**settings, "epochs": max(1, round(settings["epochs"] * factor))}


def main(argv: Sequence[str] | None = None) -> None:
    """Read features, train, write weights and what describes them."""
    parser = make_parser(__doc__)
    parser.add_argument("--signal", nargs="+", type=Path, required=True, help="feature files of signal jets")
    parser.add_argument("--background", nargs="+", type=Path, required=True, help="feature files of background jets")
    parser.add_argument(
        "--config", type=json_argument, required=True, help="JSON with `family`, `inputs`, `architecture`, `training`"
    )
    parser.add_argument("--tagger", required=True, help="name of the tagger")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--size", type=int, help="train on this many jets chosen at random (default: all)")
    parser.add_argument("--size-seed", type=int, default=1, help="seed of this choice (default: 1)")
    parser.add_argument(
        "--as-many-as", metavar="JETS",
        help="see as many jets as a training on JETS (a number, or `all` there are): scales epochs",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--gpus", type=int, default=0, help="1: train on the GPU (default: 0)")
    parser.add_argument("--output", type=Path, required=True, help="weights, safetensors")
    parser.add_argument("--meta", type=Path, required=True, help="description of the model, JSON")
    args = parser.parse_args(argv)
    log = start_log("torch", "numpy", seed=args.seed)
    with tempfile.TemporaryDirectory(prefix="lhcml-") as folder:
        run(args, Path(folder), log)


def run(args: argparse.Namespace, folder: Path, log: logging.Logger) -> None:
    """Train with the packed inputs in `folder`."""
    import torch
    from safetensors.torch import save_file

    from lhcml.taggers.training import Training, choose_device, deterministic

    torch.set_num_threads(args.threads)
    deterministic()
    torch.manual_seed(args.seed)
    device = choose_device(args.gpus)
    config: dict[str, Any] = args.config
    inputs = config["inputs"]
    architecture = complete_architecture(config["family"], config["architecture"])
    files = {SIGNAL: args.signal, BACKGROUND: args.background}
    present = count_jets(files, "train")
    chosen = choose(present, args.size, args.size_seed) if args.size else None
    settings = config["training"]
    if args.as_many_as and args.size:
        ordinary = sum(present.values()) if args.as_many_as == "all" else int(args.as_many_as)
        settings = scale_epochs(settings, ordinary / args.size)
    train = read_split(files, inputs, "train", folder, chosen)
    validation = read_split(files, inputs, "validation", folder)
    log.info("jets for training: %s; for validation: %s", train.count(), validation.count())
    mean, scale = standardisation(train.jets)
    model = build_network(config["family"], architecture, inputs, torch.tensor(mean), torch.tensor(scale))
    if hasattr(model, "start"):
        model.start(train)
    model.to(device)
    parameters = sum(tensor.numel() for tensor in model.parameters() if tensor.requires_grad)
    log.info("%s with %d parameters on %s", config["family"], parameters, device)

    description = {
        "tagger": args.tagger,
        "family": config["family"],
        "seed": args.seed,
        "inputs": inputs,
        "scaling": {"mean": mean, "scale": scale},
        "settings": {
            "architecture": architecture,
            "training": settings,
            "threads": args.threads,
            "device": device.type,
        },
        "source_digest": source_digest("lhcml.taggers.train_network", family_module(config["family"])),
        "data_digest": {"train": train.digest(), "validation": validation.digest()},
        "versions": {"torch": package_version("torch")},
    }
    checkpoint = args.output.with_name("last.ckpt")
    training = Training(model, train, validation, settings, args.seed, device)
    state = training.run(checkpoint, value_digest(description))
    log.info("best epoch %d of %d, %.1f s", state.best_epoch, state.epoch, state.seconds)
    with write_atomic(args.output) as temporary:
        save_file(state.best, temporary)
    write_json(
        args.meta,
        description
        | {
            "git": git_hash(),
            "n_train": train.count(),
            "n_validation": validation.count(),
            "best_iteration": state.best_epoch,
            "parameters": parameters,
            "parameters_are": "trainable weights and biases",
            "restarts": state.restarts,
            "train_seconds": round(state.seconds, 2),
            "train_jets_per_second": round(len(train.labels) * state.epoch / state.training_seconds, 1),
            "history": state.history,
        },
    )
    for leftover in [checkpoint, *checkpoint.parent.glob(f".{checkpoint.name}.*.part*")]:
        leftover.unlink(missing_ok=True)


if __name__ == "__main__":
    run_main(main)
