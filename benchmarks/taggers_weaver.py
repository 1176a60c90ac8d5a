"""Compare ParticleNet, ParticleNet-Lite and Particle Transformer with weaver-core: speed of training, and its result.

Needs an environment of its own, as weaver-core brings many packages:

    uv venv weaver --python 3.11
    uv pip install --python weaver torch==2.13.0+cpu weaver-core==0.5.3 awkward pyarrow 'numpy<2.4'
    PYTHONPATH=src weaver/bin/python benchmarks/taggers_weaver.py --signal top/*.parquet --background qcd/*.parquet
    PYTHONPATH=src weaver/bin/python benchmarks/taggers_weaver.py --train 4 --signal ... --background ...

Without files, jets are random, with the multiplicities of QCD and top jets at 600 GeV. Networks have the same
architecture (numbers of parameters are printed), see the same batches and are trained with AdamW; both are given their
batches ready-made. Forward, backward and optimiser step are timed by turns, one batch after the other; what counts is
the median over batches of the ratio of times, as the load of a machine changes. weaver's batches are padded

- `longest`: to the longest jet of the batch, its best case;
- `fixed`: to 128 constituents, as its data configurations do (longer jets lose their softest);
- `trimmed`: to 128, from which weaver by default cuts, in training, to a random length between the 90th percentile and
  the longest jet of the batch, dropping constituents of the jets that are longer.

Ours uses all constituents of all jets, with torch's deterministic algorithms on as in training; weaver's without. Batch
norms of weaver see the padding, ours do not. `--train` trains both (weaver `trimmed`, as it comes) for some epochs with
several seeds in the training loop of this package, and prints the AUC on the test split.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy, pad
from weaver.nn.model.ParticleNet import ParticleNet
from weaver.nn.model.ParticleTransformer import ParticleTransformer

from lhcml.common.files import read_parquet
from lhcml.taggers.families import build_network, complete_architecture, default_inputs, input_positions
from lhcml.taggers.jets import BACKGROUND, SIGNAL, Jets, concatenate, pack, read_split
from lhcml.taggers.metrics import roc_curve
from lhcml.taggers.packing import Batch, PackedJets, is_row, to_padded
from lhcml.taggers.train_network import standardisation
from lhcml.taggers.training import Training, predict

FIXED = 128
FEATURES = 7
MOMENTUM = ["part_px", "part_py", "part_pz", "part_energy"]
# Name -> family here, its settings, and weaver's network of seven features
NETWORKS: dict[str, tuple[str, dict[str, Any], Callable[[bool], torch.nn.Module]]] = {
    "ParticleNet": (
        "particlenet",
        {},
        lambda trim: ParticleNet(
            FEATURES,
            2,
            [(16, (64,) * 3), (16, (128,) * 3), (16, (256,) * 3)],
            [(256, 0.1)],
            use_fusion=False,
            trim=trim,
        ),
    ),
    "ParticleNet-Lite": (
        "particlenet",
        {"neighbours": 7, "edge_convs": [[32] * 3, [64] * 3], "dense": [128]},
        lambda trim: ParticleNet(
            FEATURES, 2, [(7, (32,) * 3), (7, (64,) * 3)], [(128, 0.1)], use_fusion=False, trim=trim
        ),
    ),
    "Particle Transformer": ("particle_transformer", {}, lambda trim: ParticleTransformer(FEATURES, 2, trim=trim)),
}
PADDINGS = ("longest", "fixed", "trimmed")


class Weaver(torch.nn.Module):
    """A network of weaver on packed batches.

    Parameters
    ----------
    network : nn.Module
    inputs : list of str
        Names of the columns of a batch.
    mean, scale : torch.Tensor
        Standardisation, as of our network.
    padding : str
        One of `PADDINGS`.
    """

    def __init__(
        self, network: torch.nn.Module, inputs: list[str], mean: torch.Tensor, scale: torch.Tensor, padding: str
    ) -> None:
        super().__init__()
        self.network, self.padding = network, padding
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.features = [position for position, name in enumerate(inputs) if name not in MOMENTUM]
        self.other = (
            input_positions(inputs, MOMENTUM, "weaver")
            if isinstance(network, ParticleTransformer)
            else input_positions(inputs, ["part_deta", "part_dphi"], "weaver")
        )

    def prepare(self, batch: Batch) -> list[torch.Tensor]:
        """Return the arguments of weaver's forward, each (jets, columns, constituents), last the mask."""
        scaled = (batch.values - self.mean) / self.scale
        columns = (batch.values[:, self.other], scaled[:, self.features])
        dense = [to_padded(values, batch).transpose(1, 2) for values in columns]
        dense.append(is_row(batch)[:, None].float())
        longest = batch.longest if self.padding == "longest" else FIXED
        # a negative width cuts off what is beyond: the softest constituents of longer jets
        other, features, mask = (pad(part, (0, longest - batch.longest)).contiguous() for part in dense)
        first = (features, other) if isinstance(self.network, ParticleTransformer) else (other, features)
        return [*first, mask.bool()]

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return logits, shape (jets, 2)."""
        return self.network(*self.prepare(batch))


def build(
    name: str, inputs: list[str], scaling: tuple[list[float], list[float]], padding: str | None
) -> torch.nn.Module:
    """Return our network, or weaver's with a padding."""
    family, settings, weaver = NETWORKS[name]
    mean, scale = (torch.tensor(values) for values in scaling)
    ours = build_network(family, complete_architecture(family, settings), inputs, mean, scale)
    if padding is None:
        return ours
    # the scaling that our network uses, which may be the published one
    network = weaver(padding == "trimmed")
    # weaver trims from its sixth batch on
    network.trimmer.warmup_steps = 0
    return Weaver(network, inputs, ours.mean, ours.scale, padding)


def read_jets(paths: list[Path], inputs: list[str]) -> Jets:
    """Return the jets of feature files, or 4000 random ones with the multiplicities of QCD and top jets at 600 GeV."""
    if paths:
        return concatenate([pack(read_parquet(path, None), inputs, str(path)) for path in paths])
    rng = np.random.default_rng(1)
    lengths = np.clip(rng.normal(52, 18, 4000), 5, 150).astype(np.int64)
    values = rng.normal(size=(int(lengths.sum()), len(inputs)))
    if "part_energy" in inputs:
        momentum = input_positions(inputs, MOMENTUM, "random jets")
        values[:, momentum[3]] = np.sqrt((values[:, momentum[:3]] ** 2).sum(1))
    return Jets(values.astype(np.float32), lengths)


def time_step(model: torch.nn.Module, optimiser: Any, inputs: Any, labels: torch.Tensor) -> float:
    """Return the seconds of forward, backward and optimiser step."""
    ours = not isinstance(model, Weaver)
    torch.use_deterministic_algorithms(ours)
    begin = time.perf_counter()
    optimiser.zero_grad()
    logits = model(inputs) if ours else model.network(*inputs)
    cross_entropy(logits, labels).backward()
    optimiser.step()
    return time.perf_counter() - begin


def compare_speed(name: str, paths: list[Path], batch_size: int, batches: int, repetitions: int) -> None:
    """Time a network of ours against weaver's and print a table."""
    inputs = default_inputs(NETWORKS[name][0])
    jets = read_jets(paths, inputs)
    packed, scaling = PackedJets(jets), standardisation(jets)
    order = torch.randperm(len(packed), generator=torch.Generator().manual_seed(1))
    chosen = [packed.take(part) for part in order[: batches * batch_size].split(batch_size)]
    labels = torch.randint(2, (batch_size,), generator=torch.Generator().manual_seed(2))
    models = {"ours": build(name, inputs, scaling, None)} | {
        padding: build(name, inputs, scaling, padding) for padding in PADDINGS
    }
    optimisers = {way: torch.optim.AdamW(model.parameters()) for way, model in models.items()}
    seconds: dict[str, list[float]] = {way: [] for way in models}
    # one round that does not count, in which memory is allocated
    for step in range(-1, repetitions * batches):
        batch = chosen[step % batches]
        for way, model in models.items():
            ready = batch if way == "ours" else model.prepare(batch)
            taken = time_step(model, optimisers[way], ready, labels)
            if step >= 0:
                seconds[way].append(taken)
    count = {way: sum(p.numel() for p in model.parameters()) for way, model in models.items()}
    print(
        f"\n{name}: {count['ours']} parameters, weaver {count['longest']}; {float(packed.lengths.double().mean()):.1f} "
        f"constituents a jet, {statistics.mean(batch.longest for batch in chosen):.0f} in the longest of a batch"
    )
    print(f"{'':24}{'jets/s, median':>16}{'best':>8}{'our speed / its':>18}")
    for way, taken in seconds.items():
        ratio = statistics.median(b / a for a, b in zip(seconds["ours"], taken, strict=True))
        print(
            f"{'ours' if way == 'ours' else f'weaver, {way}':24}{batch_size / statistics.median(taken):16.1f}"
            f"{batch_size / min(taken):8.1f}{ratio:18.2f}",
            flush=True,
        )


def compare_training(name: str, args: argparse.Namespace, folder: Path) -> None:
    """Train a network of ours and weaver's with the same seeds, and print the AUCs on the test split."""
    inputs = default_inputs(NETWORKS[name][0])
    files = {SIGNAL: args.signal, BACKGROUND: args.background}
    train, validation, test = (read_split(files, inputs, split, folder) for split in ("train", "validation", "test"))
    scaling = standardisation(train.jets)
    settings = {
        "optimiser": "adamw", "learning_rate": args.learning_rate, "weight_decay": 1e-4, "schedule": "cosine",
        "warmup": 0.1, "batch_size": args.batch_size, "epochs": args.train, "patience": args.train,
        "gradient_clip": 1.0, "precision": "float32",
    }  # fmt: skip
    print(f"\n{name}: {train.count()} jets for training, {test.count()} for the test, {args.train} epochs")
    for way, padding in (("ours", None), ("weaver", "trimmed")):
        aucs, times = [], []
        for seed in range(1, args.seeds + 1):
            torch.use_deterministic_algorithms(padding is None)
            torch.manual_seed(seed)
            model = build(name, inputs, scaling, padding)
            state = Training(model, train, validation, settings, seed).run()
            times.append(state.training_seconds)
            aucs.append(roc_curve(predict(model, PackedJets(test.jets)), test.labels).auc())
        spread = statistics.stdev(aucs) if len(aucs) > 1 else float("nan")
        print(
            f"{way:8} AUC {statistics.mean(aucs):.4f} +- {spread:.4f} (one training, {len(aucs)} seeds: "
            f"{', '.join(f'{auc:.4f}' for auc in aucs)}), {statistics.mean(times):.0f} s a training",
            flush=True,
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signal", nargs="*", type=Path, default=[], help="feature files (default: random jets)")
    parser.add_argument("--background", nargs="*", type=Path, default=[])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--batches", type=int, default=5)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--train", type=int, default=0, metavar="EPOCHS", help="compare trainings instead")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    args = parser.parse_args()
    logging.getLogger("lhcml").setLevel(logging.WARNING)
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    print(f"torch {torch.__version__}, {args.threads} threads, batches of {args.batch_size}")
    for name in args.networks:
        if args.train:
            with tempfile.TemporaryDirectory() as folder:
                compare_training(name, args, Path(folder))
        else:
            compare_speed(name, args.signal + args.background, args.batch_size, args.batches, args.repetitions)


if __name__ == "__main__":
    main()
