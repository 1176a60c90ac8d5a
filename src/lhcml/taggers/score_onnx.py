"""Score jets with an ONNX model: one exported by export_onnx, or another's with its `preprocess.json`.

A model of ours says itself what its inputs are. Another's is described as weaver-core does it: for each input tensor
the variables, how they are shifted, scaled and clipped, and to how many constituents they are padded:

    {"input_names": ["pf_points", "pf_mask"],
     "pf_points": {"var_names": ["part_deta", "part_dphi"], "var_length": 128, "var_infos": {
        "part_deta": {"median": 0, "norm_factor": 1, "lower_bound": -1e32, "upper_bound": 1e32, "pad": 0}, ...}},
     "pf_mask": {"var_names": ["part_mask"], ...}}

A variable is a feature column, an input of lhcml.taggers.inputs, or `*mask`, which is 1 for each constituent;
--columns maps other names to these. The output is logits or probabilities of classes, shape (jets, classes).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_json
from lhcml.taggers.jets import SCORING_BATCH, Jets
from lhcml.taggers.logits import sigmoid
from lhcml.taggers.scores import SPLITS, score_files


def equal_lengths(session: Any, jets: Jets, of_empty: float) -> NDArray[np.float64]:
    """Return the logit of signal minus that of background from a model of ours, shape (jets,).

    Jets of one length are scored together. A jet without constituents cannot be given to the model: it gets `of_empty`,
    what the network answered in torch when it was exported.
    """
    margin: NDArray[np.float64] = np.full(len(jets), of_empty)
    starts = np.cumsum(jets.lengths) - jets.lengths
    for length in np.unique(jets.lengths):
        if length == 0:
            continue
        same = np.flatnonzero(jets.lengths == length)
        for chosen in np.array_split(same, -(-len(same) // SCORING_BATCH)):
            values = jets.values[starts[chosen][:, None] + np.arange(length)]
            logits = session.run(["logits"], {"values": values})[0].astype(np.float64)
            margin[chosen] = logits[:, 1] - logits[:, 0]
    return margin


def pad_input(
    block: Mapping[str, Any], inputs: Sequence[str], columns: Mapping[str, str], jets: Jets
) -> NDArray[np.float32]:
    """Return an input tensor of another's model, padded or cut to its length, shape (jets, variables, length)."""
    length = int(block["var_length"])
    position = np.arange(len(jets.values)) - np.repeat(np.cumsum(jets.lengths) - jets.lengths, jets.lengths)
    jet: NDArray[np.int64] = np.repeat(np.arange(len(jets)), jets.lengths)
    kept = position < length
    tensor: NDArray[np.float32] = np.empty((len(jets), len(block["var_names"]), length), dtype=np.float32)
    for number, name in enumerate(block["var_names"]):
        info = block["var_infos"][name]
        column = columns.get(name, name)
        values = np.ones(len(jets.values)) if column.endswith("mask") else jets.values[:, list(inputs).index(column)]
        values = np.clip((values - info["median"]) * info["norm_factor"], info["lower_bound"], info["upper_bound"])
        tensor[:, number] = info["pad"]
        tensor[jet[kept], number, position[kept]] = values[kept]
    return tensor


def foreign_inputs(preprocess: Mapping[str, Any], columns: Mapping[str, str]) -> list[str]:
    """Return the inputs to read for another's model.

    Raises
    ------
    UserError
        If the description lacks something.
    """
    try:
        names = [name for tensor in preprocess["input_names"] for name in preprocess[tensor]["var_names"]]
        for tensor in preprocess["input_names"]:
            int(preprocess[tensor]["var_length"])
            for name in preprocess[tensor]["var_names"]:
                info = preprocess[tensor]["var_infos"][name]
                _ = [float(info[key]) for key in ("median", "norm_factor", "lower_bound", "upper_bound", "pad")]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"the description of the ONNX model's inputs lacks {error}",
            "give a preprocess.json as weaver-core writes it; see python -m lhcml.taggers.score_onnx --help",
        ) from error
    chosen = (columns.get(name, name) for name in names)
    return list(dict.fromkeys(name for name in chosen if not name.endswith("mask")))


def foreign(
    session: Any,
    preprocess: Mapping[str, Any],
    inputs: Sequence[str],
    columns: Mapping[str, str],
    signal: Sequence[int],
) -> Callable[[Jets], NDArray[np.float64]]:
    """Return a function from jets to scores in 0..1 for another's model; `signal` are positions of classes."""

    def score(jets: Jets) -> NDArray[np.float64]:
        feed = {name: pad_input(preprocess[name], inputs, columns, jets) for name in preprocess["input_names"]}
        parts = []
        for begin in range(0, len(jets), SCORING_BATCH):
            part = {name: tensor[begin : begin + SCORING_BATCH] for name, tensor in feed.items()}
            parts.append(session.run(None, part)[0].astype(np.float64))
        output = np.concatenate(parts)
        if output.min() < 0 or not np.allclose(output.sum(axis=1), 1, atol=1e-3):
            # logits, not probabilities
            output = np.exp(output - output.max(axis=1, keepdims=True))
        return np.asarray(output[:, list(signal)].sum(axis=1) / output.sum(axis=1))

    return score


def open_model(path: Path, threads: int) -> Any:
    """Return an onnxruntime session.

    Raises
    ------
    UserError
        If the file is no ONNX model that onnxruntime can run.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises exceptions of many kinds, without a common base
        raise UserError(f"onnxruntime cannot use {path}: {error}", "give an ONNX model that it can run") from error


def main(argv: Sequence[str] | None = None) -> None:
    """Read a model and features, write scores and a description of the model."""
    parser = make_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="ONNX model")
    parser.add_argument(
        "--preprocess", type=Path, help="description of another's inputs, JSON (default: a model of ours)"
    )
    parser.add_argument("--columns", type=json_argument, default={}, help="JSON: variable of the model -> our column")
    parser.add_argument(
        "--signal", nargs="+", type=int, default=[1], help="positions of signal in the output (default: 1)"
    )
    parser.add_argument("--features", nargs="+", type=Path, required=True, help="feature files of all chunks, in order")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--splits", nargs="+", default=SPLITS, help="splits whose jets are scored (default: all)")
    parser.add_argument("--output", type=Path, required=True, help="scores, Parquet")
    args = parser.parse_args(argv)
    log = start_log("onnxruntime", "numpy")
    session = open_model(args.model, args.threads)
    if args.preprocess:
        preprocess = read_json(args.preprocess)
        inputs = foreign_inputs(preprocess, args.columns)
        score = foreign(session, preprocess, inputs, args.columns, args.signal)
    else:
        described = session.get_modelmeta().custom_metadata_map.get("lhcml")
        if described is None:
            raise UserError(
                f"{args.model} does not say what its inputs are",
                "give its preprocess.json with `preprocess:` (--preprocess)",
            )
        ours = json.loads(described)
        inputs = ours["inputs"]

        def score(jets: Jets) -> NDArray[np.float64]:
            return sigmoid(equal_lengths(session, jets, ours["margin_of_empty_jet"]))

    jets = score_files(args.features, inputs, score, args.output, args.splits)
    log.info("scored %d jets", jets)


if __name__ == "__main__":
    run_main(main)
