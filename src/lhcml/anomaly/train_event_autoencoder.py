r"""Train an autoencoder on rapidity-mass matrices of data, and define anomaly regions by their rate (arXiv:2307.01612).

The cells of the nine masses are no inputs, nor are cells that are 0 in all training events. The score is the logarithm
of the mean squared error. A share of the data is trained on and has no part in what is searched; the rest has losses,
and a region is the events above a loss that leaves a given cross section. Keys of the configuration:

  objects        type -> {count}: the layout of the matrix
  train_share    share of the data that is trained on
  layers         widths of the hidden layers, the narrowest in the middle
  training       epochs, batch_size, learning_rate, weight_decay, validation
  regions        cross sections in pb

By hand:
  python -m lhcml.anomaly.train_event_autoencoder --data w=w.parquet tt=tt.parquet --signals a4l=a4l.parquet \
    --config '{...}' --seed 1 --scores scores.parquet --regions regions.json
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from lhcml.anomaly.metrics import auc
from lhcml.anomaly.rapidity_mass import MASSES, mass_cells
from lhcml.anomaly.task import FloatArray
from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_parquet, require_finite, write_json, write_parquet
from lhcml.common.identity import EVENT_IDENTITY
from lhcml.common.seeds import derive_seed

if TYPE_CHECKING:
    import torch

# events read at once: their matrices take 100 MB
READ_ROWS = 20_000
# added to the mean squared error, so that a perfect reconstruction has a logarithm
TINY = 1e-12
# replicas of the error of the AUC
BOOTSTRAPS = 100
Mask: TypeAlias = "NDArray[np.bool_]"


@dataclass(frozen=True)
class PseudoData:
    """Which events are the data, and how much of it they are.

    Attributes
    ----------
    kept : array of bool
        Events that are taken.
    luminosity : float
        In 1/pb: one event is a cross section of 1 / luminosity.
    """

    kept: Mask
    luminosity: float


def unweight(weights: FloatArray, rng: np.random.Generator) -> PseudoData:
    """Return events of one weight: each is kept with a chance of its weight over the largest one.

    Events of data have one weight already, and all are kept. Simulation becomes what a measurement of that luminosity
    would record, with its fluctuations.

    Parameters
    ----------
    weights : array of shape (events,)
        Cross section in pb that each event stands for.
    rng : numpy Generator
        Random numbers.

    Raises
    ------
    UserError
        If there are no events, or weights are not positive.
    """
    if not len(weights) or not weights.max() > 0 or weights.min() < 0:
        raise UserError(
            "the data of the two-object masses have no events, or weights that are not positive",
            "choose `anomaly.pairs.data` among datasets with events of positive weight",
        )
    kept: Mask = rng.random(len(weights)) * weights.max() < weights
    return PseudoData(kept, 1 / float(weights.max()))


def read_matrices(path: Path, rows: NDArray[np.intp]) -> Iterator[FloatArray]:
    """Yield the matrices of chosen rows, flattened, shape (some rows, cells), in their order."""
    import pyarrow.parquet

    start = 0
    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(READ_ROWS, columns=["matrix"]):
            chosen = rows[(rows >= start) & (rows < start + len(batch))] - start
            column = batch.column("matrix")
            size = column.type.list_size
            values = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, size)
            if len(chosen):
                yield values[chosen]
            start += len(batch)


def input_cells(matrices: FloatArray, counts: Mapping[str, int]) -> NDArray[np.intp]:
    """Return the cells that are inputs: not those of the nine masses, nor those that are 0 in all events.

    Raises
    ------
    UserError
        If the matrices have another size than these numbers of objects give, or no cell is left.
    """
    side = 1 + sum(counts.values())
    if matrices.shape[1] != side**2:
        raise UserError(
            f"the matrices have {matrices.shape[1]} cells, `objects` give {side**2}", "build the matrices again"
        )
    masses = [row * side + column for row, column in mass_cells(counts).values()]
    used = (matrices != 0).any(axis=0)
    used[masses] = False
    cells = np.flatnonzero(used)
    if not len(cells):
        raise UserError("all cells of the matrices are 0", "check `anomaly.pairs.objects` and the skims")
    return cells


def make_autoencoder(inputs: int, layers: Sequence[int]) -> torch.nn.Module:
    """Return a dense autoencoder: hidden layers with leaky ReLU, outputs as many as inputs, linear."""
    from torch import nn

    widths = [inputs, *layers]
    hidden = [module for before, after in pairwise(widths) for module in (nn.Linear(before, after), nn.LeakyReLU())]
    return nn.Sequential(*hidden, nn.Linear(widths[-1], inputs))


def squared_errors(model: Any, batch: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the mean squared error of each event, shape (events,)."""
    return ((model(batch[0]) - batch[0]) ** 2).mean(dim=1)


def train(matrices: FloatArray, config: Mapping[str, Any], seed: int, threads: int) -> Any:
    """Return the autoencoder of the best epoch on held-out events of the training sample."""
    import torch

    from lhcml.anomaly.best_epochs import Training, seeded, train_best_epochs

    model = seeded(lambda: make_autoencoder(matrices.shape[1], config["layers"]), derive_seed(seed, "start"))
    settings = Training(**config["training"], average=1)
    best = train_best_epochs(
        model, squared_errors, [torch.from_numpy(matrices)], np.ones(len(matrices)), settings, seed, threads
    )
    return best[0]


def log_losses(model: Any, matrices: FloatArray) -> FloatArray:
    """Return the anomaly score, the logarithm of the mean squared error, shape (events,)."""
    import torch

    with torch.no_grad():
        errors = squared_errors(model, [torch.from_numpy(matrices)])
    losses: FloatArray = np.log(errors.numpy().astype(np.float64) + TINY)
    return losses


def define_region(losses: FloatArray, luminosity: float, cross_section: float) -> dict[str, Any]:
    """Return the region above the loss that leaves a cross section.

    Parameters
    ----------
    losses : array of shape (events,)
        Scores of the data.
    luminosity : float
        Luminosity of these data in 1/pb.
    cross_section : float
        In pb.

    Returns
    -------
    dict
        `cross_section_pb` asked for, `events` that pass, `threshold` (None if it is less than one event, or more than
        all), `obtained_pb` and its statistical error.
    """
    events = round(cross_section * luminosity)
    if not 0 < events <= len(losses):
        reason = "less than one event" if not events else f"more than all {len(losses)} events"
        return {"cross_section_pb": cross_section, "threshold": None, "events": events, "reason": reason}
    threshold = float(np.partition(losses, -events)[-events])
    passed = int(np.count_nonzero(losses >= threshold))
    return {
        "cross_section_pb": cross_section, "threshold": threshold, "events": passed,
        "obtained_pb": passed / luminosity, "obtained_error_pb": float(np.sqrt(passed)) / luminosity,
    }  # fmt: skip


def signal_efficiency(
    losses: FloatArray, weights: FloatArray, data: FloatArray, regions: Sequence[Mapping[str, Any]], seed: int
) -> dict[str, Any]:
    """Return AUC against the data and the efficiency of each region for a signal, with binomial and bootstrap errors.

    Efficiencies are shares of the weight of the selected events, errors those of as many effective events.
    """
    labels: NDArray[np.int64] = np.repeat([1, 0], [len(losses), len(data)])
    scores = np.concatenate([losses, data])
    both = np.concatenate([weights, np.ones(len(data))])
    rng = np.random.default_rng(seed)
    replicas = [auc(labels, scores, both * rng.poisson(1.0, len(both))) for _ in range(BOOTSTRAPS)]
    effective = weights.sum() ** 2 / (weights**2).sum()
    efficiencies: list[dict[str, float] | None] = []
    for region in regions:
        if region["threshold"] is None:
            efficiencies.append(None)
            continue
        share = float(weights[losses >= region["threshold"]].sum() / weights.sum())
        error = float(np.sqrt(share * (1 - share) / effective))
        efficiencies.append({"cross_section_pb": region["cross_section_pb"], "efficiency": share, "error": error})
    return {
        "events": len(losses), "accepted_pb": float(weights.sum()), "auc": auc(labels, scores, both),
        "auc_error": float(np.std(replicas, ddof=1)), "regions": efficiencies,
    }  # fmt: skip


def read_small(path: Path) -> ak.Array:
    """Return identity, weights and masses of a dataset: all but the matrices."""
    columns = read_parquet(path, [*EVENT_IDENTITY, "weight_pb", *MASSES])
    require_finite("column weight_pb", columns["weight_pb"], str(path))
    return columns


def score_rows(model: Any, path: Path, rows: NDArray[np.intp], cells: NDArray[np.intp]) -> FloatArray:
    """Return the scores of chosen rows of a dataset."""
    parts = [log_losses(model, np.ascontiguousarray(values[:, cells])) for values in read_matrices(path, rows)]
    losses = np.concatenate(parts) if parts else np.zeros(0)
    require_finite("the loss", losses, str(path))
    return losses


def score_columns(table: ak.Array, rows: NDArray[np.intp], losses: FloatArray, name: str, data: bool) -> dict[str, Any]:
    """Return the columns of the scores of some events of a dataset."""
    columns = {key: ak.to_numpy(table[key])[rows] for key in (*EVENT_IDENTITY, "weight_pb", *MASSES)}
    return columns | {"loss": losses, "dataset": ak.Array([name] * len(rows)), "data": np.full(len(rows), data)}


def named_path(text: str) -> tuple[str, Path]:
    """Read an argument name=path."""
    name, _, path = text.partition("=")
    if not path:
        raise argparse.ArgumentTypeError(f"{text!r} is not name=path")
    return name, Path(path)


def main(argv: Sequence[str] | None = None) -> None:
    """Train, score data and signals, define the regions."""
    parser = make_parser(__doc__)
    parser.add_argument("--data", required=True, nargs="+", type=named_path, help="name=file of build_matrices")
    parser.add_argument("--signals", nargs="*", default=[], type=named_path, help="name=file of simulated signals")
    parser.add_argument("--config", required=True, type=json_argument, help="JSON, see above")
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--scores", required=True, type=Path, help="scores to write (Parquet)")
    parser.add_argument("--regions", required=True, type=Path, help="regions to write (JSON)")
    args = parser.parse_args(argv)
    log = start_log("torch", "numpy", "awkward", seed=args.seed)
    config = args.config
    tables = {name: read_small(path) for name, path in args.data}
    rng = np.random.default_rng(derive_seed(args.seed, "data"))
    weights = np.concatenate([ak.to_numpy(table["weight_pb"]) for table in tables.values()])
    pseudo = unweight(weights, rng)
    training = pseudo.kept & (rng.random(len(weights)) < config["train_share"])
    searched = pseudo.kept & ~training
    ends = np.cumsum([len(table) for table in tables.values()])[:-1]
    luminosity = pseudo.luminosity * searched.sum() / pseudo.kept.sum()
    log.info(
        "%d of %d events are the data, %.4g 1/pb; %d are trained on",
        pseudo.kept.sum(), len(weights), pseudo.luminosity, training.sum(),
    )  # fmt: skip

    sample = [
        values
        for (_, path), mask in zip(args.data, np.split(training, ends), strict=True)
        for values in read_matrices(path, np.flatnonzero(mask))
    ]
    if not sample:
        raise UserError("no event of the data is trained on", "raise `anomaly.pairs.train_share`")
    matrices = np.concatenate(sample)
    cells = input_cells(matrices, {kind: block["count"] for kind, block in config["objects"].items()})
    log.info("%d of %d cells are inputs", len(cells), matrices.shape[1])
    model = train(np.ascontiguousarray(matrices[:, cells]), config, derive_seed(args.seed, "training"), args.threads)

    parts = []
    for (name, path), mask in zip(args.data, np.split(searched, ends), strict=True):
        rows = np.flatnonzero(mask)
        parts.append(score_columns(tables[name], rows, score_rows(model, path, rows, cells), name, True))
    losses = np.concatenate([part["loss"] for part in parts])
    regions = [define_region(losses, luminosity, value) for value in config["regions"]]
    signals = {}
    for name, path in args.signals:
        table = read_small(path)
        rows = np.arange(len(table))
        part = score_columns(table, rows, score_rows(model, path, rows, cells), name, False)
        parts.append(part)
        if len(rows) and part["weight_pb"].sum() > 0:
            seed = derive_seed(args.seed, "auc", name)
            signals[name] = signal_efficiency(part["loss"], part["weight_pb"], losses, regions, seed)
        else:
            log.warning("signal %s has no events", name)
            signals[name] = {"events": 0}
    write_parquet(
        args.scores,
        {key: ak.concatenate([part[key] for part in parts]) for key in parts[0]},
    )
    write_json(
        args.regions,
        {
            "luminosity_pb": luminosity, "events": len(losses), "trained_on": int(training.sum()),
            "inputs": len(cells), "regions": regions, "signals": signals,
        },
    )  # fmt: skip


if __name__ == "__main__":
    run_main(main)
