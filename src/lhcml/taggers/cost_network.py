"""Measure what scoring with a network costs: floating-point operations a jet, jets a second on one thread.

Counted are matrix products, convolutions and attention as PyTorch runs them on batches of real jets, two operations a
multiplication and addition; padding that a network computes on counts, additions of biases and activations do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.files import read_json, write_json
from lhcml.taggers.costs import REPETITIONS, jets_per_second, sample_jets
from lhcml.taggers.jets import SCORING_BATCH
from lhcml.taggers.score_network import load_network

if TYPE_CHECKING:
    import torch

    from lhcml.taggers.packing import PackedJets


def count_operations(model: torch.nn.Module, jets: PackedJets) -> int:
    """Return the floating-point operations of scoring all jets; the model's parameters need no gradient afterwards."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    # the counter would follow gradients, which the families with a backward pass of their own do not offer
    model.eval().requires_grad_(False)
    # oneDNN runs an LSTM as one step, of which the counter knows nothing; inference mode hides products as well
    enabled = torch.backends.mkldnn.set_flags(_enabled=False, _fp32_precision=None)[0]
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            for batch in jets.in_order(SCORING_BATCH):
                model(batch)
    finally:
        torch.backends.mkldnn.set_flags(_enabled=enabled, _fp32_precision=None)
    return int(counter.get_total_flops())


def main(argv: Sequence[str] | None = None) -> None:
    """Read a network and some jets, write its cost."""
    parser = make_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="weights, safetensors")
    parser.add_argument("--meta", type=Path, required=True, help="their description, JSON")
    parser.add_argument("--features", nargs="+", type=Path, required=True, help="feature files to take jets from")
    parser.add_argument("--output", type=Path, required=True, help="JSON to write")
    args = parser.parse_args(argv)
    log = start_log("torch", "numpy")
    import torch

    from lhcml.taggers.packing import PackedJets
    from lhcml.taggers.training import predict

    torch.set_num_threads(1)
    meta = read_json(args.meta)
    model = load_network(args.model, meta)
    jets = sample_jets(args.features, meta["inputs"])
    packed = PackedJets(jets)
    flops = count_operations(model, packed) / len(jets)
    rate = jets_per_second(lambda: predict(model, packed), len(jets))
    log.info("%.3g operations a jet, %.0f jets/s", flops, rate)
    write_json(
        args.output,
        {
            "tagger": meta["tagger"],
            "operations_per_jet": flops,
            "operations_are": "floating-point operations of matrix products, convolutions and attention",
            "jets_per_second": round(rate, 1),
            "batch": SCORING_BATCH,
            "threads": 1,
            "repetitions": REPETITIONS,
            "jets": len(jets),
            "mean_multiplicity": float(jets.lengths.mean()),
        },
    )


if __name__ == "__main__":
    run_main(main)
