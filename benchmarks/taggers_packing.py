"""Time a training step of the Particle Flow Network on packed and on padded batches of the same jets.

    PYTHONPATH=src python benchmarks/taggers_packing.py
    PYTHONPATH=src python benchmarks/taggers_packing.py --features results/features/toptag/top/nominal/*.parquet

Both networks have the published size (82,458 parameters) and the same weights; the padded one works on arrays of shape
(jets, longest, 3) with a mask, padded to the longest jet of the batch or to 200 constituents. The table gives jets a
second for forward, backward and optimiser step, the best of several repetitions taken in turns, and the ratio to
padding to 200.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from lhcml.taggers.jets import Jets, concatenate, pack
from lhcml.taggers.models.pfn import ARCHITECTURE, build_model
from lhcml.taggers.packing import Batch, PackedJets

INPUTS = ["part_log_pt_rel", "part_deta", "part_dphi"]


def read_jets(paths: list[str]) -> Jets:
    """Return the jets of feature files, or 4000 random ones with the multiplicities of QCD and top jets at 600 GeV."""
    if paths:
        from lhcml.common.files import read_parquet

        return concatenate([pack(read_parquet(path, INPUTS), INPUTS, path) for path in paths])
    rng = np.random.default_rng(1)
    lengths = np.clip(rng.normal(52, 18, 4000), 5, 150).astype(np.int64)
    return Jets(rng.normal(size=(int(lengths.sum()), 3)).astype(np.float32), lengths)


def pad(batch: Batch, longest: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the batch as (jets, longest, inputs) and its mask (jets, longest, 1)."""
    mask = torch.arange(longest) < batch.lengths[:, None]
    padded = batch.values.new_zeros(len(batch.lengths), longest, batch.values.shape[1])
    padded[mask] = batch.values
    return padded, mask[:, :, None].float()


def forward_padded(model: torch.nn.Module, padded: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the logits of a padded batch."""
    constituents = model.phi((padded - model.mean) / model.scale) * mask
    return model.f(constituents.sum(dim=1))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", nargs="*", default=[], help="feature files (default: random jets)")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20, help="steps a repetition")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    packed = PackedJets(read_jets(args.features))
    model = build_model(ARCHITECTURE, INPUTS, torch.zeros(3), torch.ones(3))
    optimiser = torch.optim.AdamW(model.parameters())
    chosen = [torch.randint(len(packed), (args.batch_size,)) for _ in range(args.steps)]
    labels = torch.randint(2, (args.batch_size,))

    def step(logits: torch.Tensor) -> None:
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(logits, labels).backward()
        optimiser.step()

    # all three gather their batch from the packed jets, as the training does
    ways: dict[str, Callable[[Batch], torch.Tensor]] = {
        "padded to 200": lambda batch: forward_padded(model, *pad(batch, 200)),
        "padded to the longest jet": lambda batch: forward_padded(model, *pad(batch, int(batch.lengths.max()))),
        "packed": model,
    }
    batch = packed.take(chosen[0])
    reference = model(batch)
    for name, forward in ways.items():
        if not torch.allclose(forward(batch), reference, rtol=1e-3, atol=1e-3):
            raise SystemExit(f"{name} disagrees with the packed network")
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(args.repetitions):
        for name, forward in ways.items():
            begin = time.perf_counter()
            for jets in chosen:
                step(forward(packed.take(jets)))
            best[name] = min(best[name], time.perf_counter() - begin)
    mean = float(packed.lengths.double().mean())
    print(f"{mean:.0f} constituents a jet, batches of {args.batch_size}, {args.threads} thread(s)")
    for name, seconds in best.items():
        rate = args.steps * args.batch_size / seconds
        print(f"{name:<36} {rate:8.0f} jets/s   x{best['padded to 200'] / seconds:.2f}")


if __name__ == "__main__":
    main()
