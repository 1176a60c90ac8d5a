"""Describe an ONNX model as the trainings describe theirs, for the comparison of taggers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import write_json


def read_model(path: Path) -> Any:
    """Return an ONNX model.

    Raises
    ------
    UserError
        If the file is none.
    """
    import google.protobuf.message
    import onnx

    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except (OSError, google.protobuf.message.DecodeError, onnx.checker.ValidationError) as error:
        raise UserError(f"{path} is not an ONNX model: {error}", "give the file of an ONNX model") from error
    return model


def count_parameters(model: Any) -> int:
    """Return the number of floating-point constants of an ONNX model that are arrays: its weights and buffers."""
    import onnx

    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE)
    total = 0
    for constant in model.graph.initializer:
        size = 1
        for dimension in constant.dims:
            size *= dimension
        total += size if constant.data_type in floats and size > 1 else 0
    return total


def main(argv: Sequence[str] | None = None) -> None:
    """Read a model, write its description."""
    parser = make_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="ONNX model")
    parser.add_argument("--tagger", required=True, help="name of the tagger")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--meta", type=Path, required=True, help="description, JSON, to write")
    args = parser.parse_args(argv)
    start_log("onnx")
    write_json(
        args.meta,
        {
            "tagger": args.tagger,
            "family": "onnx",
            "seed": args.seed,
            "n_train": None,
            "best_iteration": None,
            "parameters": count_parameters(read_model(args.model)),
            "parameters_are": "floating-point arrays of the ONNX graph, buffers included",
            "train_seconds": None,
            "train_jets_per_second": None,
            "history": [],
        },
    )


if __name__ == "__main__":
    run_main(main)
