r"""Quantise a float network: the model that all gates refer to.

Points, with an optional suffix `_pruned50` (the smallest 50 per cent of the weights removed first):

  post8       weights and words of 8 bits, calibrated on training data, no training
  aware6      weights and words of 6 bits, trained in fixed point
  ebops2000   bits of every weight and word trained until at most 2000 effective bit operations are left

The epoch of a training is chosen on the validation split: by the rank correlation with the float score on the
background alone for "vae" and "autoencoder", by the area under the ROC curve for "dense".

By hand:
  python -m lhcml.firmware.quantise_network --background qcd=qcd.parquet --signals a4l=a4l.parquet \
    --float-model float.keras --float-description float.json --config '{...}' --point ebops2000 --seed 1 \
    --model model.keras --encoding encoding.json --quantised quantised.json --stimuli stimuli.npz \
    --scores scores.parquet
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_json, write_parquet
from lhcml.firmware.calibration import quantise_after_training
from lhcml.firmware.encoding import Array, encoding_from_json
from lhcml.firmware.fine_tuning import Teacher, fine_tune
from lhcml.firmware.fixed_point import FixedNetwork, check_exact, count_ebops
from lhcml.firmware.load_network import load_network
from lhcml.firmware.networks import (
    build_quantised,
    float_score,
    get_weights,
    other_scores,
    plan_layers,
    predict,
    save_model,
)
from lhcml.firmware.pruning import prune_masks
from lhcml.firmware.samples import Samples, areas, choose_training, encode_samples, named_path, read_samples
from lhcml.firmware.stimuli import draw_inputs, write_stimuli

POINT = re.compile(r"(post|aware|ebops)(\d+)(?:_pruned(\d+))?")
# bits that the training of bits starts from
START_BITS = 8


class Point(NamedTuple):
    """How a network is quantised: method "post", "aware" or "ebops"; bits or budget; per cent of weights removed."""

    method: str
    size: int
    pruned: int


def read_point(text: str) -> Point:
    """Return what the name of a point says.

    Raises
    ------
    UserError
        If it is none.
    """
    match = POINT.fullmatch(text)
    if not match:
        raise UserError(
            f"{text!r} is no point", "write post8, aware6, ebops2000, or one of these with _pruned50 after it"
        )
    point = Point(match[1], int(match[2]), int(match[3] or 0))
    if point.method != "ebops" and not 2 <= point.size <= 16:
        raise UserError(f"point {text} has {point.size} bits", "choose from 2 to 16")
    if point.size < 1:
        raise UserError(f"point {text} has no budget", "choose a number of effective bit operations")
    return point


def rank_correlation(one: Array, other: Array) -> float:
    """Return Spearman's rank correlation, equal values sharing their mean rank; 0 if either is constant."""
    ranks = []
    for values in (one, other):
        _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(counts) - 0.5 * (counts - 1))[place])
    centred = [rank - rank.mean() for rank in ranks]
    norm = float(np.sqrt(np.sum(centred[0] ** 2) * np.sum(centred[1] ** 2)))
    return float(np.sum(centred[0] * centred[1])) / norm if norm > 0 else 0.0


def make_figure(validation: Samples, words: Array, reference: Array, family: str) -> Callable[[FixedNetwork], float]:
    """Return what chooses the epoch: a function of the network, lower is better."""
    if family == "dense":

        def area(network: FixedNetwork) -> float:
            found = areas(validation, network.score(words), "validation")
            return -float(np.mean([value for value in found.values() if value is not None]))

        return area
    return lambda network: -rank_correlation(network.score(words), reference)


def quantise(
    teacher: Teacher,
    point: Point,
    settings: Mapping[str, Any],
    figure: Callable[[FixedNetwork], float],
    seed: int,
    threads: int,
) -> tuple[FixedNetwork, list[dict[str, float]]]:
    """Return the fixed-point network of a point and the history of its training (empty without one).

    Raises
    ------
    UserError
        If the pruning leaves a layer empty, a budget is not reached or the loss becomes NaN.
    """
    masks = prune_masks([kernel for kernel, _ in teacher.weights], point.pruned)
    history: list[dict[str, float]] = []
    weights = teacher.weights
    if point.pruned:
        # what is left learns to do without the rest before it is rounded
        weights, _, history = fine_tune(teacher, weights, None, masks, settings, None, None, seed, threads)
    words = teacher.encoding.round(teacher.inputs)
    bits = START_BITS if point.method == "ebops" else point.size
    start = quantise_after_training(teacher.family, teacher.plans, weights, teacher.encoding, words, bits)
    if point.method == "post":
        return start, history
    budget = float(point.size) if point.method == "ebops" else None
    _, network, more = fine_tune(teacher, weights, start, masks, settings, budget, figure, seed, threads)
    assert network is not None, "a training in fixed point returns a network or raises"
    return network, [*history, *more]


def check_reference(model: Any, network: FixedNetwork, inputs: Array) -> Array:
    """Return the outputs of the Keras model, after a check that they are those of exact arithmetic.

    Raises
    ------
    UserError
        If an output differs.
    """
    outputs = predict(model, inputs)[0]
    different = np.count_nonzero(outputs[:, 0] != network.score(inputs))
    if different:
        raise UserError(
            f"the Keras model and exact arithmetic differ on {different} of {len(inputs)} inputs",
            "this is a fault of the stage or of a version of HGQ2: report it with the configuration of the model",
        )
    return outputs


def main(argv: Sequence[str] | None = None) -> None:
    """Read inputs and the float network, quantise it, write the reference and what describes it."""
    parser = make_parser(__doc__)
    parser.add_argument("--background", nargs="+", type=named_path, required=True, help="dataset=inputs.parquet")
    parser.add_argument("--signals", nargs="+", type=named_path, required=True, help="dataset=inputs.parquet")
    parser.add_argument("--float-model", type=Path, required=True, help="float.keras")
    parser.add_argument("--float-description", type=Path, required=True, help="float.json, for the encoding")
    parser.add_argument("--config", type=json_argument, required=True, help="JSON, the block of the model")
    parser.add_argument("--point", required=True, help="e.g. post8, aware6, ebops2000_pruned50")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", type=Path, required=True, help="quantised model to write (.keras)")
    parser.add_argument("--encoding", type=Path, required=True, help="encoding to write (JSON)")
    parser.add_argument("--quantised", type=Path, required=True, help="description to write (JSON)")
    parser.add_argument("--stimuli", type=Path, required=True, help="stimuli to write (.npz)")
    parser.add_argument("--scores", type=Path, required=True, help="scores to write (Parquet)")
    args = parser.parse_args(argv)
    log = start_log("keras", "HGQ2", "torch", "numpy", seed=args.seed)
    block, point, family = args.config, read_point(args.point), args.config["family"]
    samples = read_samples(args.background, args.signals)
    encoding = encoding_from_json(read_json(args.float_description)["encoding"], str(args.float_description))
    plans = plan_layers(block, len(encoding.names))
    float_model = load_network(args.float_model)
    shifted, _ = encode_samples(samples, encoding, rounded=False)
    words, saturated = encode_samples(samples, encoding, rounded=True)
    outputs = predict(float_model, shifted)
    reference = float_score(family, shifted, outputs)
    train, validation = (choose_training(samples, family, split) for split in ("train", "validation"))
    teacher = Teacher(
        family, plans, get_weights(float_model, plans), encoding,
        encode_samples(train, encoding, rounded=False)[0], train.label, train.weight,
    )  # fmt: skip
    # the rows of `validation`
    rows = (samples.split == "validation") & ((samples.label == 0) | (family == "dense"))
    figure = make_figure(validation, words[rows], reference[rows], family)
    begin = time.monotonic()
    network, history = quantise(teacher, point, block["quantisation"], figure, args.seed, args.threads)
    seconds = time.monotonic() - begin
    widest = check_exact(network)
    save_model(build_quantised(network, len(encoding.names)), args.model)
    # what later stages read is what is checked
    model = load_network(args.model)
    stimuli, events = draw_inputs(words[samples.split == "test"], encoding, block["stimuli"], args.seed)
    write_stimuli(args.stimuli, stimuli, check_reference(model, network, stimuli), events)
    score = check_reference(model, network, words)[:, 0]
    kept = samples.split != "train"
    columns = samples[kept].columns() | {"score_float": reference[kept], "score": score[kept]}
    others = {f"score_float_{name}": values[kept] for name, values in other_scores(family, outputs).items()}
    write_parquet(args.scores, columns | others)
    write_json(args.encoding, encoding.to_json())
    found = {name: areas(samples, values, "validation") for name, values in (("float", reference), ("fixed", score))}
    log.info("%.0f EBOPs, %.1f s, areas %s", count_ebops(network), seconds, found)
    write_json(
        args.quantised,
        {
            "family": family, "point": args.point, "method": point.method,
            "bits": None if point.method == "ebops" else point.size,
            "pruned": point.pruned, "ebops": count_ebops(network), "parameters": network.parameters(),
            "zero_share": network.zero_share(), "input": {"bits": encoding.bits, "integer": encoding.integer},
            "widest_word": widest, "saturated": saturated, "auc_float": found["float"], "auc_fixed": found["fixed"],
            "rank_correlation": rank_correlation(score[rows], reference[rows]), "seconds": round(seconds, 2),
            "history": history,
        },
    )  # fmt: skip


if __name__ == "__main__":
    run_main(main)
