"""Train an autoencoder on the jets of one class and score the test jets of both.

The other class is what it should find: the area under the ROC curve, the background rejection at 30 % signal
efficiency, and the mean score in bins of the jet mass go to a JSON file, with the history of the energies. The score
of a jet is the logarithm of its energy. Trained on the split `train`, stopped on `validation`, judged on `test`. All
jets count the same, whatever their weight. Keys of the configuration:

  autoencoder   block of the model: `family`, `inputs`, `network`, `training`, `beta` (vae), `normalization` (nae)
  train_jets, validation_jets, test_jets    jets of a class at most
  mass_bins     edges in GeV
  bootstrap     replicas for the error of the AUC
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import torch
from numpy.typing import NDArray

from lhcml.anomaly import autoencoder_metrics as metrics
from lhcml.anomaly.jet_autoencoders import Autoencoder, build_model, energies, train_plain
from lhcml.anomaly.jet_inputs import input_scale, make_inputs, read_jets
from lhcml.anomaly.normalized import train_normalized
from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import require_finite, write_json, write_parquet
from lhcml.common.identity import JET_IDENTITY
from lhcml.common.seeds import derive_seed

# below any energy that single precision can tell from a perfect reconstruction
LEAST_ENERGY = 1e-12

Scores = Mapping[str, NDArray[np.float64]]


def log_energies(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the scores of energies: their logarithms, which span orders of magnitude."""
    return np.log(np.maximum(values, LEAST_ENERGY))


def judge(scores: Scores, masses: Scores, trained: str, config: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return figures of merit of the scores of both classes."""
    (found,) = set(scores) - {trained}
    signal, background = scores[found], scores[trained]
    return {
        "auc": metrics.auc(signal, background),
        "auc_bootstrap_std": metrics.auc_error(signal, background, config["bootstrap"], seed),
        "inverse_mistag_03": metrics.rejection(signal, background),
        "roc": metrics.roc(signal, background),
        "mean_score_by_mass": {
            name: metrics.mean_by_mass(scores[name], masses[name], config["mass_bins"]) for name in scores
        },
    }


def train_model(
    inputs: Mapping[str, NDArray[np.float32]], block: Mapping[str, Any], tests: Mapping[str, NDArray[np.float32]],
    seed: int,
) -> tuple[dict[str, Scores], dict[str, Any]]:  # fmt: skip
    """Train on one class.

    Parameters
    ----------
    inputs : mapping
        Inputs of the jets for `train` and `validation`.
    block : mapping
        The model's block of the configuration.
    tests : mapping
        Class -> inputs of its test jets.
    seed : int

    Returns
    -------
    scores : dict
        Stage of the training (`final`, and `plain` of a normalized autoencoder before it was normalized) -> class ->
        scores.
    history : dict
        `plain`: energies of each epoch; `normalized`: of each update.
    """
    scale = input_scale(inputs["train"])

    def prepare(values: NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy((values / scale).astype(np.float32)).flatten(1)

    def score() -> Scores:
        return {name: log_energies(energies(model, prepare(values))) for name, values in tests.items()}

    torch.manual_seed(seed)
    shape = inputs["train"].shape[1:]
    model = build_model(block["family"], shape, block["network"], block.get("beta", 0.0))
    train, validation = prepare(inputs["train"]), prepare(inputs["validation"])
    history: dict[str, Any] = {"plain": train_plain(model, train, validation, block["training"], seed)}
    if block["family"] != "nae":
        return {"final": score()}, history
    assert isinstance(model, Autoencoder)
    before = score()
    # the pixels of an image are not negative
    lowest = 0.0 if "images" in block["inputs"] else None
    history["normalized"] = train_normalized(
        model, train, block["normalization"], derive_seed(seed, "normalized"), lowest
    )
    return {"final": score(), "plain": before}, history


def main(argv: Sequence[str] | None = None) -> None:
    """Read the jets, train, score, write scores and figures of merit."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--jets",
        nargs="+",
        action="append",
        required=True,
        metavar=("CLASS", "FILE"),
        help="class and its feature files; twice",
    )
    parser.add_argument("--trained", required=True, help="class to train on")
    parser.add_argument("--config", required=True, type=json_argument, help="JSON, see above")
    parser.add_argument("--autoencoder", required=True, help="name of the autoencoder")
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--scores", required=True, type=Path, help="scores to write (Parquet)")
    parser.add_argument("--metrics", required=True, type=Path, help="figures of merit to write (JSON)")
    args = parser.parse_args(argv)
    log = start_log("torch", "awkward", "numpy", seed=args.seed)
    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)
    config, block = args.config, args.config["autoencoder"]
    classes = {name: [Path(path) for path in paths] for name, *paths in args.jets}
    if args.trained not in classes or len(classes) != 2:
        raise UserError(
            f"the classes are {', '.join(classes)}, and {args.trained} is trained on",
            "give two classes and train on one of them",
        )
    numbers = {split: config[f"{split}_jets"] for split in ("train", "validation", "test")}
    test: dict[str, ak.Array] = {}
    for name, paths in classes.items():
        wanted = numbers if name == args.trained else {"test": numbers["test"]}
        jets = read_jets(paths, wanted)
        test[name] = jets["test"]
        if name == args.trained:
            inputs = {
                split: make_inputs(jets[split], block["inputs"], f"{name}, {split}")
                for split in ("train", "validation")
            }
    tests = {name: make_inputs(jets, block["inputs"], f"{name}, test") for name, jets in test.items()}
    log.info(
        "jets: %s", {split: len(values) for split, values in inputs.items()} | {n: len(t) for n, t in tests.items()}
    )
    scores, history = train_model(inputs, block, tests, args.seed)
    masses = {name: ak.to_numpy(jets["jet_mass"]).astype(np.float64) for name, jets in test.items()}
    for name, values in masses.items():
        require_finite("column jet_mass", values, name)
    judged = {stage: judge(values, masses, args.trained, config, args.seed) for stage, values in scores.items()}
    log.info("AUC: %s", {stage: round(result["auc"], 4) for stage, result in judged.items()})
    final = scores["final"]
    write_parquet(
        args.scores,
        {column: np.concatenate([ak.to_numpy(test[name][column]) for name in final]) for column in JET_IDENTITY}
        | {
            "class": ak.Array([name for name in final for _ in range(len(final[name]))]),
            "jet_mass": np.concatenate([masses[name] for name in final]),
            "score": np.concatenate(list(final.values())),
        },
    )
    (found,) = set(classes) - {args.trained}
    write_json(
        args.metrics,
        {
            "autoencoder": args.autoencoder,
            "label": block.get("label", args.autoencoder),
            "family": block["family"],
            "inputs": next(iter(block["inputs"])),
            "published": block.get("published"),
            "trained_on": args.trained,
            "found": found,
            "seed": args.seed,
            "jets": {"train": len(inputs["train"]), "validation": len(inputs["validation"])}
            | {"test": {name: len(values) for name, values in tests.items()}},
            "mass_bins": config["mass_bins"],
            **judged["final"],
            "plain": judged.get("plain"),
            "history": history,
        },
    )


if __name__ == "__main__":
    run_main(main)
