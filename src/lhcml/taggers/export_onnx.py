"""Export a network trained by train_network to ONNX, if it gives the same there.

The ONNX model maps `values`, float32 of shape (jets, constituents, inputs), to `logits`, shape (jets, 2): background
and signal. All jets of a call have the same number of constituents, so there is no padding and no mask; both numbers
are free. Inputs are raw: the scaling is part of the model. Its metadata `lhcml` (JSON) name the inputs.

Before anything is written, torch and onnxruntime are compared on jets of 1 to 200 constituents.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.cli import Progress, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_atomic, write_json
from lhcml.taggers.inputs import columns_of
from lhcml.taggers.jets import Jets, pack, read_batches

# Constituents of the jets on which both are compared
LONGEST = 200
# Rounding of float32 in sums over 200 constituents and a few layers, relative to the larger logit or 1
TOLERANCE = 1e-3


def jets_of_length(jets: Jets, length: int, count: int) -> NDArray[np.float32]:
    """Return jets of a given number of constituents, made from real ones.

    The rows of jets are put one after the other from a jet on, and the first `length` of them taken. So values are
    those of real constituents, and indices within a jet (`lund_parent`) stay smaller than `length`.

    Parameters
    ----------
    jets : Jets
        Real jets.
    length, count : int
        Rows of each jet and number of jets.

    Returns
    -------
    ndarray of float32, shape (count, length, inputs)
    """
    starts = np.cumsum(jets.lengths) - jets.lengths
    first = starts[np.linspace(0, len(jets) - 1, count).astype(int)]
    rows = (first[:, None] + np.arange(length)) % len(jets.values)
    return jets.values[rows]


def largest_deviation(reference: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Return the largest difference of logits, relative to the larger of 1 and the size of the reference."""
    return float(np.max(np.abs(other - reference) / np.maximum(1.0, np.abs(reference))))


def read_jets(files: Sequence[Path], inputs: Sequence[str]) -> Jets:
    """Return the jets of the first file that has some.

    Raises
    ------
    UserError
        If there is none, or all are empty.
    """
    for path in files:
        for table in read_batches(path, columns_of(inputs), rows=1000):
            jets = pack(table, inputs, str(path))
            if len(jets.values):
                return jets
    raise UserError("there is no jet to compare torch and ONNX with", "give feature files that hold jets")


def export(model: Any, example: NDArray[np.float32], one_row: bool, path: Path) -> None:
    """Write a network as ONNX.

    Parameters
    ----------
    model : torch.nn.Module
        Maps a `Batch` to logits.
    example : ndarray, shape (jets, constituents, inputs)
        Inputs to trace with.
    one_row : bool
        Whether a jet always has one row (flat inputs).
    path : Path
        File to write.
    """
    import torch

    from lhcml.taggers.packing import equal_batch

    class EqualLengths(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = model

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.network(equal_batch(values))
            return logits

    jets, rows = torch.export.Dim("jets"), torch.export.Dim("constituents", max=LONGEST)
    program = torch.onnx.export(
        EqualLengths().eval(),
        (torch.from_numpy(example),),
        dynamo=True,
        dynamic_shapes={"values": {0: jets} if one_row else {0: jets, 1: rows}},
        input_names=["values"],
        output_names=["logits"],
        verbose=False,
    )
    assert program is not None
    # torch notes the lines of code at each node, with the folders of the machine: another file for each folder
    for part in (program.model.graph, *program.model.functions.values()):
        for node in part.all_nodes():
            node.metadata_props.clear()
    program.save(path)


def main(argv: Sequence[str] | None = None) -> None:
    """Read weights, export, compare, write."""
    parser = make_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="weights, safetensors")
    parser.add_argument("--meta", type=Path, required=True, help="their description, JSON")
    parser.add_argument("--features", nargs="+", type=Path, required=True, help="feature files, for jets to compare on")
    parser.add_argument("--output", type=Path, required=True, help="ONNX model")
    parser.add_argument("--parity", type=Path, required=True, help="what the comparison gave, JSON")
    args = parser.parse_args(argv)
    log = start_log("torch", "onnx", "onnxscript", "onnxruntime", "numpy")
    import onnx
    import onnxruntime
    import torch

    from lhcml.taggers.packing import make_batch
    from lhcml.taggers.score_network import load_network

    torch.set_num_threads(1)
    meta = read_json(args.meta)
    model = load_network(args.model, meta).eval()
    jets = read_jets(args.features, meta["inputs"])
    one_row = bool((jets.lengths == 1).all())
    deviations: dict[int, float] = {}
    with write_atomic(args.output) as temporary:
        export(model, jets_of_length(jets, 1 if one_row else 5, 3), one_row, temporary)
        exported = onnx.load(temporary)
        described: dict[str, Any] = {
            key: meta[key] for key in ("tagger", "family", "seed", "inputs", "parameters", "source_digest")
        }
        nothing = make_batch(torch.zeros(0, len(meta["scaling"]["mean"])), torch.zeros(1, dtype=torch.int64))
        with torch.inference_mode():
            of_empty = model(nothing).double()[0]
        described["margin_of_empty_jet"] = float(of_empty[1] - of_empty[0])
        onnx.helper.set_model_props(exported, {"lhcml": json.dumps(described)})
        onnx.save(exported, temporary)
        session = onnxruntime.InferenceSession(temporary)
        lengths = [1] if one_row else list(range(1, LONGEST + 1))
        progress = Progress(len(lengths), "lengths")
        for length in lengths:
            values = jets_of_length(jets, length, 4)
            with torch.inference_mode():
                # packed as in training and scoring, not in the form of the export
                batch = make_batch(torch.from_numpy(values).flatten(0, 1), torch.full((len(values),), length))
                expected = model(batch).numpy()
            deviations[length] = largest_deviation(expected, session.run(None, {"values": values})[0])
            progress.add(1)
        worst = max(deviations, key=lambda length: deviations[length])
        if not deviations[worst] <= TOLERANCE:
            raise UserError(
                f"the exported model differs from torch by {deviations[worst]:.3g} for jets of {worst} constituents "
                f"(allowed: {TOLERANCE:g})",
                "look for an operation of the family that ONNX or onnxruntime treats differently",
            )
    log.info("largest deviation %.2g, for %d constituents", deviations[worst], worst)
    write_json(args.parity, {"tolerance": TOLERANCE, "largest_deviation": deviations})


if __name__ == "__main__":
    run_main(main)
