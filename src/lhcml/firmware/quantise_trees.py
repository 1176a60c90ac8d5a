"""Put the trees of a trained tagger on integers, after training: inputs and leaves of the bits that the point names.

Decisions stay those of the float model on encoded inputs, leaves are rounded to nearest, and the sum has the bits
it may need. The score is the margin, the log odds of signal; a sigmoid would change no order.

By hand:
  python -m lhcml.firmware.quantise_trees --signals top=top.parquet --background qcd=qcd.parquet --model model.json \
    --meta model.meta.json --point post10 --config '{"encoding": {"integer": 4}, "stimuli": 10000}' --seed 1 \
    --folder post10
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_json, write_parquet
from lhcml.common.identity import JET_IDENTITY
from lhcml.firmware.detection import area
from lhcml.firmware.encoding import Encoding, check_values, fit_features
from lhcml.firmware.input_table import InputTable, read_inputs
from lhcml.firmware.stimuli import draw_inputs, write_stimuli
from lhcml.firmware.trees import (
    FixedTrees,
    FloatTrees,
    Grid,
    fix_trees,
    predict,
    read_xgboost,
    to_document,
)

# relative rounding of a float32, in which XGBoost adds the leaves
FLOAT32 = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Rows:
    """Rows of all datasets: inputs in the order of the model, and what tells whose they are."""

    inputs: NDArray[np.float32]
    identity: NDArray[np.int64]
    split: NDArray[np.str_]
    weight: NDArray[np.float64]
    label: NDArray[np.int64]
    dataset: NDArray[np.str_]

    def take(self, chosen: NDArray[Any]) -> Rows:
        """Return some of the rows."""
        return Rows(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def bits_of(point: str) -> int:
    """Return the bits of a point `post<bits>`.

    Raises
    ------
    UserError
        If the point is another one.
    """
    found = re.fullmatch(r"post(\d+)", point)
    if found is None:
        raise UserError(
            f"trees cannot be quantised as `{point}`",
            "choose `post<bits>`, e.g. `post10`: they are put on integers after training",
        )
    return int(found.group(1))


def named_path(text: str) -> tuple[str, Path]:
    """Read `dataset=path` of a command line."""
    name, _, path = text.partition("=")
    return name, Path(path)


def read_rows(signals: Mapping[str, Path], background: Mapping[str, Path], names: Sequence[str]) -> Rows:
    """Read the inputs of all datasets, in the order of the model's features.

    Raises
    ------
    UserError
        If a file lacks a feature, a value is not finite, or a class has no row.
    """
    files = {**signals, **background}
    tables = {dataset: read_inputs(path) for dataset, path in files.items()}
    for dataset, table in tables.items():
        missing = [name for name in names if name not in table.names]
        if missing:
            raise UserError(
                f"{files[dataset]} lacks the inputs {', '.join(missing)} of the trees",
                "collect the features that the tagger was trained on",
            )

    def values(table: InputTable) -> NDArray[np.float32]:
        found = table.inputs[:, [table.names.index(name) for name in names]]
        check_values(names, found)
        return found

    rows = Rows(
        np.concatenate([values(table) for table in tables.values()]),
        np.concatenate([table.identity for table in tables.values()]),
        np.concatenate([table.split for table in tables.values()]),
        np.concatenate([table.weight for table in tables.values()]),
        np.concatenate([np.full(len(table.weight), int(name in signals)) for name, table in tables.items()]),
        np.concatenate([np.full(len(table.weight), name) for name, table in tables.items()]),
    )
    for split in ("train", "validation", "test"):
        counts = np.bincount(rows.label[rows.split == split], minlength=2)
        if not counts.all():
            raise UserError(
                f"the {split} split has {counts[1]} rows of signal and {counts[0]} of background",
                "give datasets of both classes, with more events",
            )
    return rows


def fit_encoding(rows: Rows, names: Sequence[str], grid: Grid) -> Encoding:
    """Find the encoding on the training split, both classes counted the same."""
    train = rows.take(rows.split == "train")
    weight = np.zeros(len(train.weight))
    for label in (0, 1):
        of_class = train.label == label
        weight[of_class] = train.weight[of_class] / train.weight[of_class].sum()
    return fit_features(names, train.inputs, weight, grid.bits, grid.integer)


def xgboost_margins(
    model: Path, names: Sequence[str], values: NDArray[np.float32], threads: int
) -> NDArray[np.float64]:
    """Return the margins of the float model."""
    import xgboost

    booster = xgboost.Booster({"nthread": threads})
    booster.load_model(model)
    matrix = xgboost.DMatrix(values, feature_names=list(names), nthread=threads)
    return np.asarray(booster.predict(matrix, output_margin=True), np.float64)


def rounding_bound(trees: FixedTrees, margins: NDArray[np.float64]) -> float:
    """Return how far rounding can move a margin: half a step for each tree and the constant, and float32 sums."""
    terms = len(trees.trees) + 1
    return terms * (trees.outputs.step / 2 + FLOAT32 * max(float(np.abs(margins).max()), 1.0))


def describe(trees: FixedTrees, original: FloatTrees) -> dict[str, Any]:
    """Return sizes of the trees before and after."""
    splits = [
        (int(f), int(t)) for tree in trees.trees for f, t in zip(tree.feature, tree.threshold, strict=True) if f >= 0
    ]
    return {
        "trees": len(trees.trees),
        "depth": max(tree.depth() for tree in trees.trees),
        "splits": len(splits),
        "splits_float": sum(int(np.count_nonzero(tree["left"] >= 0)) for tree in original.trees),
        "comparisons": len(set(splits)),
        "leaves": sum(len(tree.leaves()) for tree in trees.trees),
        "output": {"bits": trees.outputs.bits, "integer": trees.outputs.integer},
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Read a tagger and inputs, write the integer trees, what describes them, stimuli and scores."""
    parser = make_parser(__doc__)
    for name in ("--signals", "--background"):
        parser.add_argument(name, nargs="+", type=named_path, required=True, help="dataset=inputs.parquet")
    parser.add_argument("--model", type=Path, required=True, help="model of the tagger, XGBoost JSON")
    parser.add_argument("--meta", type=Path, required=True, help="its description, JSON")
    parser.add_argument("--config", type=json_argument, required=True, help="JSON with `encoding` and `stimuli`")
    parser.add_argument("--point", required=True, help="post<bits>")
    parser.add_argument("--seed", type=int, required=True, help="seed of the stimuli")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, required=True, help="folder of the point")
    args = parser.parse_args(argv)
    log = start_log("xgboost", "numpy", seed=args.seed)

    config, bits = args.config, bits_of(args.point)
    names = read_json(args.meta)["inputs"]
    original = read_xgboost(args.model, names)
    rows = read_rows(dict(args.signals), dict(args.background), names)
    grid = Grid(bits, config["encoding"]["integer"])
    encoding = fit_encoding(rows, names, grid)
    offset, scale = np.asarray(encoding.offset), np.asarray(encoding.scale)
    trees = fix_trees(original, offset, scale, grid, bits)
    sizes = describe(trees, original)
    log.info("%s", ", ".join(f"{name} {value}" for name, value in sizes.items()))

    kept = rows.take(rows.split != "train")
    words, saturated = encoding.encode(kept.inputs)
    scores = predict(trees, words)[:, 0]
    margins = xgboost_margins(args.model, names, kept.inputs, args.threads)
    # the float model on what the hardware sees: every decision is the same, only leaves are rounded
    encoded = xgboost_margins(args.model, names, (words * scale + offset).astype(np.float32), args.threads)
    largest, bound = float(np.abs(encoded - scores).max()), rounding_bound(trees, encoded)
    if largest > bound:
        raise UserError(
            f"the integer trees differ from XGBoost by {largest:g}, more than rounding of leaves can ({bound:g})",
            "the model file and this reader do not fit: report it with the model and the version of XGBoost",
        )
    log.info("XGBoost on encoded inputs: margins differ by at most %.3g; rounding allows %.3g", largest, bound)

    validation = kept.split == "validation"
    signal, weight = kept.label[validation] == 1, kept.weight[validation]
    test = words[kept.split == "test"]
    inputs, events = draw_inputs(test, encoding, config["stimuli"], args.seed)
    leaves = np.concatenate([tree.leaves() for tree in trees.trees])
    write_json(args.folder / "model.json", to_document(trees))
    write_json(args.folder / "encoding.json", encoding.to_json())
    write_json(
        args.folder / "quantised.json",
        {
            "family": "bdt",
            "point": args.point,
            "method": "post",
            "bits": bits,
            "pruned": 0,
            "ebops": None,
            "parameters": sizes["splits"] + sizes["leaves"],
            "zero_share": float(np.mean(leaves == 0)),
            "input": {"bits": grid.bits, "integer": grid.integer},
            "saturated": saturated,
            "auc_float": area(margins[validation], signal, weight),
            "auc_fixed": area(scores[validation], signal, weight),
            "trees": sizes,
            "rounding": {"largest": largest, "bound": bound},
        },
    )
    write_stimuli(args.folder / "stimuli.npz", inputs, predict(trees, inputs), events)
    columns = np.ascontiguousarray(kept.identity.T)
    identity = dict(zip(JET_IDENTITY, columns, strict=False))
    write_parquet(
        args.folder / "scores.parquet",
        {
            "dataset": kept.dataset.tolist(),
            **identity,
            "split": kept.split.tolist(),
            "weight": kept.weight,
            "label": kept.label,
            "score_float": margins,
            "score": scores,
        },
    )


if __name__ == "__main__":
    run_main(main)
