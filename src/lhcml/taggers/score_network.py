"""Score jets with a network trained by train_network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_json
from lhcml.taggers.families import build_network
from lhcml.taggers.jets import Jets
from lhcml.taggers.logits import sigmoid
from lhcml.taggers.scores import SPLITS, score_files

if TYPE_CHECKING:
    import torch


def load_network(weights: Path, meta: Mapping[str, Any]) -> torch.nn.Module:
    """Return a trained network.

    Raises
    ------
    UserError
        If the weights cannot be read or are not of this network.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    mean, scale = (torch.tensor(meta["scaling"][name]) for name in ("mean", "scale"))
    model = build_network(meta["family"], meta["settings"]["architecture"], meta["inputs"], mean, scale)
    try:
        model.load_state_dict(load_file(weights))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise UserError(f"cannot use {weights} as {meta['family']}: {error}", "delete it and train again") from error
    return model


def main(argv: Sequence[str] | None = None) -> None:
    """Read weights and features, write scores."""
    parser = make_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="weights, safetensors")
    parser.add_argument("--meta", type=Path, required=True, help="their description, JSON")
    parser.add_argument("--features", nargs="+", type=Path, required=True, help="feature files of all chunks, in order")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--gpus", type=int, default=0, help="1: use the GPU (default: 0)")
    parser.add_argument("--splits", nargs="+", default=SPLITS, help="splits whose jets are scored (default: all)")
    parser.add_argument("--output", type=Path, required=True, help="scores, Parquet")
    args = parser.parse_args(argv)
    log = start_log("torch", "numpy")
    import torch

    from lhcml.taggers.packing import PackedJets
    from lhcml.taggers.training import choose_device, deterministic, predict

    torch.set_num_threads(args.threads)
    deterministic()
    device = choose_device(args.gpus)
    meta = read_json(args.meta)
    model = load_network(args.model, meta).to(device)

    def score(jets: Jets) -> NDArray[np.float64]:
        return sigmoid(predict(model, PackedJets(jets), device))

    log.info("scored %d jets", score_files(args.features, meta["inputs"], score, args.output, args.splits))


if __name__ == "__main__":
    run_main(main)
