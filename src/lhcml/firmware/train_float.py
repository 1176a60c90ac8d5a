r"""Train the float network that is quantised later.

"vae" and "autoencoder" learn from the training split of the background alone, each event weighted by its cross section,
and the epoch is chosen by the loss on the validation split of the background: no signal has a say. "dense" learns both
classes with equal total weight, and the epoch is chosen by the area under the ROC curve on the validation split.

Loss of a "vae": sum over inputs of (x - x')^2 / 2, absent objects left out, + kl_weight * KL(N(mu, sigma) | N(0, 1)).
As in arXiv:2107.02157 the decoder's eta and phi end in A tanh(.), with A the largest magnitude of the kind of object.
Loss of an "autoencoder": sum of (x - x')^2 over all inputs, which is its score. Loss of "dense": binary cross-entropy
of the logit.

By hand:
  python -m lhcml.firmware.train_float --background qcd=qcd.parquet w=w.parquet --signals a4l=a4l.parquet \
    --config '{...}' --seed 1 --model float.keras --description float.json
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.files import write_json
from lhcml.firmware.encoding import Array, Encoding, fit_features, fit_objects, kind_of
from lhcml.firmware.networks import build_float, float_score, load_keras, predict, save_model
from lhcml.firmware.samples import ANOMALY, Samples, areas, choose_training, encode_samples, named_path, read_samples
from lhcml.firmware.training import batches, cosine_rate, start_torch, train_epochs


def fit_encoding(train: Samples, block: Mapping[str, Any]) -> Encoding:
    """Return the encoding of the inputs, from the rows that are trained on."""
    fit = fit_objects if block["family"] in ANOMALY else fit_features
    return fit(train.names, train.inputs, train.weight, block["encoding"]["bits"], block["encoding"]["integer"])


def find_amplitudes(names: Sequence[str], values: Array) -> Array:
    """Return the largest magnitude of eta and phi of each object's type, 0 for a pT.

    Parameters
    ----------
    names : sequence of str
        Inputs such as "jet3_eta"; the type is the name up to its number.
    values : array, shape (events, inputs)
        Encoded inputs.
    """
    kinds = ["".join(c for c in name if not c.isdigit()) if kind_of(name) in ("eta", "phi") else "" for name in names]
    largest = np.abs(values).max(axis=0)
    most = {kind: max(largest[n] for n, k in enumerate(kinds) if k == kind) for kind in set(kinds)}
    return np.array([most[kind] if kind else 0.0 for kind in kinds])


def object_masks(names: Sequence[str], values: Any) -> Any:
    """Return 1 for the inputs of objects that are there, else 0; an object is there if its pT is not 0.

    Parameters
    ----------
    names : sequence of str
        Inputs of objects, as "jet3_pt", "jet3_eta", "jet3_phi".
    values : tensor or array, shape (events, inputs)
        Encoded inputs.
    """
    place = {name: n for n, name in enumerate(names)}
    momentum = [place[name.rsplit("_", 1)[0] + "_pt"] for name in names]
    return values[:, momentum] != 0


def make_loss(block: Mapping[str, Any], names: Sequence[str], train: Array, model: Any, torch: Any) -> Any:
    """Return the loss of each event, a function of (inputs, labels, training) on tensors."""
    family = block["family"]
    if family == "dense":

        def cross_entropy(x: Any, y: Any, training: bool) -> Any:
            logit = model(x, training=training)[:, 0]
            return torch.nn.functional.binary_cross_entropy_with_logits(logit, y, reduction="none")

        return cross_entropy
    if family == "autoencoder":
        return lambda x, y, training: ((x - model(x, training=training)) ** 2).sum(1)
    amplitude = torch.tensor(find_amplitudes(names, train), dtype=torch.float32)
    bounded = amplitude > 0
    encoder = load_keras().Model(model.inputs, model.outputs[:2])
    decoder = model.get_layer("decoder")

    def evidence(x: Any, y: Any, training: bool) -> Any:
        mu, log_variance = encoder(x, training=training)
        log_variance = log_variance.clamp(-10, 10)
        z = mu + torch.randn_like(mu) * (0.5 * log_variance).exp() if training else mu
        raw = decoder(z, training=training)
        back = torch.where(bounded, amplitude * torch.tanh(raw), raw)
        error = 0.5 * ((x - back) ** 2 * object_masks(names, x)).sum(1)
        divergence = 0.5 * (mu**2 + log_variance.exp() - 1 - log_variance).sum(1)
        return error + block["kl_weight"] * divergence

    return evidence


def train_float(
    samples: Samples, encoding: Encoding, block: Mapping[str, Any], seed: int, threads: int
) -> tuple[Any, list[dict[str, float]]]:
    """Train the float network.

    Parameters
    ----------
    samples : Samples
        All rows; only those that `choose_training` allows are looked at.
    encoding : Encoding
        Encoding of the inputs; they are not rounded here.
    block : mapping
        `family`, `hidden`, `latent`, `kl_weight` (vae), and `training` with `epochs`, `batch_size`, `learning_rate`,
        `patience`.
    seed : int
        Seed of weights, batches and latent samples.
    threads : int
        Number of threads.

    Returns
    -------
    model : keras.Model
        With the weights of the best epoch.
    history : list of dict
        Per epoch: epoch, train_loss, validation_loss, figure (what the epoch is chosen by), and validation_auc for
        dense.

    Raises
    ------
    UserError
        If a split is empty or the loss becomes NaN.
    """
    family, settings = block["family"], block["training"]
    torch = start_torch(seed, threads)
    keras = load_keras()
    keras.utils.set_random_seed(seed)
    parts = {split: choose_training(samples, family, split) for split in ("train", "validation")}
    values = {split: encode_samples(part, encoding, rounded=False)[0] for split, part in parts.items()}
    tensors = {
        split: [torch.tensor(array, dtype=torch.float32) for array in (values[split], part.label, part.weight)]
        for split, part in parts.items()
    }
    model = build_float(block, len(encoding.names))
    loss_of = make_loss(block, encoding.names, values["train"], model, torch)
    optimiser = torch.optim.Adam(model.parameters(), lr=settings["learning_rate"])
    generator = np.random.default_rng(seed)
    x, y, w = tensors["train"]
    size = min(settings["batch_size"], len(x))
    steps = settings["epochs"] * max(round(len(x) / size), 1)
    step = 0
    best: list[Any] = []

    def run_epoch(epoch: int) -> dict[str, float]:
        nonlocal step
        total = weights = 0.0
        for rows in batches(len(x), size, generator):
            optimiser.param_groups[0]["lr"] = cosine_rate(step, steps, settings["learning_rate"])
            losses = loss_of(x[rows], y[rows], True)
            loss = (losses * w[rows]).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total, weights, step = total + float(loss.detach()) * len(rows), weights + len(rows), step + 1
        with torch.no_grad():
            checked = loss_of(tensors["validation"][0], tensors["validation"][1], False)
            loss = float((checked * tensors["validation"][2]).mean())
        entry = {"train_loss": total / weights, "validation_loss": loss, "figure": loss}
        if family == "dense":
            found = areas(parts["validation"], predict(model, values["validation"])[0][:, 0], "validation")
            area = float(np.mean([value for value in found.values() if value is not None]))
            entry |= {"validation_auc": area, "figure": -area}
        return entry

    history = train_epochs(settings["epochs"], settings["patience"], run_epoch, lambda: store(model, best))
    model.set_weights(best)
    return model, history


def store(model: Any, place: list[Any]) -> None:
    """Put the weights of a model into a list."""
    place[:] = [np.array(weight) for weight in model.get_weights()]


def main(argv: Sequence[str] | None = None) -> None:
    """Read inputs, train, write the network and what describes it."""
    parser = make_parser(__doc__)
    parser.add_argument("--background", nargs="+", type=named_path, required=True, help="dataset=inputs.parquet")
    parser.add_argument("--signals", nargs="+", type=named_path, required=True, help="dataset=inputs.parquet")
    parser.add_argument("--config", type=json_argument, required=True, help="JSON, the block of the model")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", type=Path, required=True, help="network to write (.keras)")
    parser.add_argument("--description", type=Path, required=True, help="encoding, history, areas (JSON)")
    args = parser.parse_args(argv)
    log = start_log("keras", "torch", "numpy", seed=args.seed)
    block = args.config
    samples = read_samples(args.background, args.signals)
    train = choose_training(samples, block["family"], "train")
    effective = float(train.weight.sum() ** 2 / np.sum(train.weight**2))
    log.info("%d rows for training, worth %.0f of equal weight", len(train), effective)
    encoding = fit_encoding(train, block)
    begin = time.monotonic()
    model, history = train_float(samples, encoding, block, args.seed, args.threads)
    seconds = time.monotonic() - begin
    words, _ = encode_samples(samples, encoding, rounded=False)
    score = float_score(block["family"], words, predict(model, words))
    best = min(history, key=lambda entry: entry["figure"])
    log.info(
        "best epoch %d of %d, %.1f s, areas %s",
        best["epoch"],
        len(history),
        seconds,
        areas(samples, score, "validation"),
    )
    save_model(model, args.model)
    write_json(
        args.description,
        {
            "family": block["family"], "parameters": int(model.count_params()), "seed": args.seed,
            "encoding": encoding.to_json(), "training_rows": len(train), "effective_rows": effective,
            "best_epoch": best["epoch"], "seconds": round(seconds, 2),
            "auc": areas(samples, score, "validation"), "history": history,
        },
    )  # fmt: skip


if __name__ == "__main__":
    run_main(main)
