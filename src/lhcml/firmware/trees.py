"""Boosted trees on integers: thresholds and leaves as words of a fixed-point grid, and their exact evaluation.

A split of the float model asks `x < t`. On a grid of inputs its answer changes between two neighbouring words, so an
integer threshold repeats every decision of the float model on encoded inputs. What is rounded is the leaves only.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.errors import UserError
from lhcml.common.files import read_json

FORMAT = "lhcml trees 1"
# Words and sums are compared as float64 with emulations of the hardware, exact up to this many bits.
WIDEST = 52


@dataclass(frozen=True)
class Grid:
    """Signed fixed point of `bits` bits, `integer` of them before the point, the sign included (ap_fixed<W, I>)."""

    bits: int
    integer: int

    @property
    def step(self) -> float:
        """Distance of two neighbouring numbers."""
        return 2.0 ** (self.integer - self.bits)

    @property
    def least(self) -> int:
        """Least word."""
        return -(1 << (self.bits - 1))

    @property
    def greatest(self) -> int:
        """Greatest word."""
        return (1 << (self.bits - 1)) - 1

    def words(self) -> NDArray[np.int64]:
        """All words in rising order."""
        return np.arange(self.least, self.greatest + 1)

    def to_words(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the words of numbers that lie on the grid.

        Raises
        ------
        UserError
            If a number is not on the grid.
        """
        words = np.asarray(values, np.float64) / self.step
        if not np.all((words == np.rint(words)) & (words >= self.least) & (words <= self.greatest)):
            raise UserError(
                f"inputs are not on the grid of ap_fixed<{self.bits}, {self.integer}>",
                "encode them with the encoding.json beside the model",
            )
        return words.astype(np.int64)


@dataclass(frozen=True)
class Tree:
    """A decision tree on words: at a node, left if `words[feature] < threshold`; a leaf has feature -1."""

    feature: NDArray[np.int64]
    threshold: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: NDArray[np.int64]

    def depth(self) -> int:
        """Return the largest number of splits on a path."""
        depth: NDArray[np.int64] = np.zeros(len(self.feature), np.int64)
        for node in np.flatnonzero(self.feature >= 0):  # children come after their parent
            depth[self.left[node]] = depth[self.right[node]] = depth[node] + 1
        return int(depth.max())

    def leaves(self) -> NDArray[np.int64]:
        """Return the values of the leaves."""
        return self.value[self.feature < 0]


@dataclass(frozen=True)
class FixedTrees:
    """Trees whose sum, with `init`, is the margin (log odds) in steps of `outputs`."""

    names: tuple[str, ...]
    inputs: Grid
    outputs: Grid
    init: int
    trees: tuple[Tree, ...]


@dataclass(frozen=True)
class FloatTrees:
    """Trees as XGBoost keeps them: float32 thresholds and leaf values, and the margin that the sum begins with."""

    names: tuple[str, ...]
    init: float
    trees: tuple[Mapping[str, NDArray[Any]], ...]


def read_xgboost(path: Path, names: Sequence[str]) -> FloatTrees:
    """Read an XGBoost model in its JSON format.

    Parameters
    ----------
    path : path
        Model.
    names : sequence of str
        Names of its features in order, from its description.

    Raises
    ------
    UserError
        If the file is not such a model, not a binary classifier of plain trees, or has other features.
    """
    document = read_json(path)
    try:
        learner = document["learner"]
        booster = learner["gradient_booster"]["name"]
        objective = learner["objective"]["name"]
        parameters = learner["learner_model_param"]
        # a number up to XGBoost 3.0, a list of one since
        prior = float(str(parameters["base_score"]).strip("[]"))
        found = tuple(learner.get("feature_names") or names)
        if booster != "gbtree" or objective != "binary:logistic":
            raise UserError(
                f"{path} is a model `{booster}` of objective `{objective}`; trees for firmware are `gbtree` of "
                "`binary:logistic`",
                "train a tagger of the family `bdt`",
            )
        trees = tuple(_read_tree(tree) for tree in learner["gradient_booster"]["model"]["trees"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is not a model of XGBoost: {error!r}", "delete it and train again") from error
    if found != tuple(names) or int(parameters["num_feature"]) != len(names):
        raise UserError(
            f"{path} has the features {', '.join(found)}, its description {', '.join(names)}",
            "give the model and the description of one training",
        )
    if not trees:
        raise UserError(f"{path} has no trees", "train with more rounds")
    return FloatTrees(found, math.log(prior / (1 - prior)), trees)


def _read_tree(tree: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    if any(tree["split_type"]):
        raise UserError("the trees split on categories", "train on numbers only")
    return {
        "left": np.asarray(tree["left_children"], np.int64),
        "right": np.asarray(tree["right_children"], np.int64),
        "feature": np.asarray(tree["split_indices"], np.int64),
        # of a leaf, this is its value
        "condition": np.asarray(tree["split_conditions"], np.float32),
    }


def fix_trees(
    trees: FloatTrees, offset: NDArray[np.float64], scale: NDArray[np.float64], inputs: Grid, bits: int
) -> FixedTrees:
    """Put trees on integers.

    A leaf is rounded to the nearest number of a grid of `bits` bits that just holds the largest of them. The output
    has the same step and as many bits as keep every partial sum, in any order, in its range: no sum can overflow.
    Splits that the grid of inputs, or the splits before them, have decided are left out, as are splits between equal
    leaves.

    Parameters
    ----------
    trees : FloatTrees
        Trees of the float model.
    offset, scale : ndarray
        Encoding of each input: encoded input = (physical input - offset) / scale.
    inputs : Grid
        Grid of the encoded inputs.
    bits : int
        Bits of a leaf, the sign included.

    Raises
    ------
    UserError
        If a leaf is not finite or the sum needs more bits than can be checked exactly.
    """
    leaves = np.concatenate([tree["condition"][tree["left"] < 0] for tree in trees.trees]).astype(np.float64)
    if not np.all(np.isfinite(leaves)):
        raise UserError("a leaf of the trees is NaN or infinite", "train again with a lower learning rate")
    leaf = smallest_grid(float(np.abs(leaves).max()), bits)
    # XGBoost compares float32: the words are taken back to what it would be given, so that its rounding is repeated
    physical = (inputs.words()[:, None] * inputs.step * scale + offset).astype(np.float32)
    fixed = [_fix_tree(tree, physical, inputs, leaf) for tree in trees.trees]
    init = round(trees.init / leaf.step)
    low = min(init, 0) + sum(min(int(tree.leaves().min()), 0) for tree in fixed)
    high = max(init, 0) + sum(max(int(tree.leaves().max()), 0) for tree in fixed)
    width = 1 + max((-low - 1).bit_length() if low < 0 else 0, high.bit_length(), 1)
    if width > WIDEST:
        raise UserError(f"the sum of the trees needs {width} bits", "take fewer bits for the leaves")
    outputs = Grid(width, width - (leaf.bits - leaf.integer))
    return FixedTrees(trees.names, inputs, outputs, init, tuple(fixed))


def smallest_grid(largest: float, bits: int) -> Grid:
    """Return the finest grid of `bits` bits on which numbers of at most this size can be rounded without overflow."""
    if largest == 0.0:
        return Grid(bits, 1)
    integer = math.frexp(largest)[1] + 1
    grid = Grid(bits, integer)
    return grid if round(largest / grid.step) <= grid.greatest else Grid(bits, integer + 1)


def _fix_tree(tree: Mapping[str, NDArray[Any]], physical: NDArray[np.float32], inputs: Grid, leaf: Grid) -> Tree:
    """Rebuild one tree from its root; `physical` is what each word means, a column an input."""
    nodes: list[list[int]] = []

    def grow(node: int, limits: dict[int, tuple[int, int]]) -> int:
        """Add the subtree of a node, reached with words in `limits` (both ends included); return its number."""
        if tree["left"][node] < 0:
            nodes.append([-1, 0, -1, -1, round(float(tree["condition"][node]) / leaf.step)])
            return len(nodes) - 1
        feature = int(tree["feature"][node])
        below = int(np.searchsorted(physical[:, feature], tree["condition"][node], side="left"))
        threshold = inputs.least + below
        low, high = limits.get(feature, (inputs.least, inputs.greatest))
        if threshold <= low:
            return grow(int(tree["right"][node]), limits)
        if threshold > high:
            return grow(int(tree["left"][node]), limits)
        here = len(nodes)
        nodes.append([feature, threshold, -1, -1, 0])
        left = grow(int(tree["left"][node]), {**limits, feature: (low, threshold - 1)})
        right = grow(int(tree["right"][node]), {**limits, feature: (threshold, high)})
        if nodes[left][0] < 0 and nodes[right][0] < 0 and nodes[left][4] == nodes[right][4]:
            value = nodes[left][4]
            del nodes[here + 1 :]
            nodes[here] = [-1, 0, -1, -1, value]
        else:
            nodes[here][2:4] = [left, right]
        return here

    grow(0, {})
    return Tree(*np.asarray(nodes, np.int64).T)


def evaluate(trees: FixedTrees, words: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sum of the trees for each row of input words, in steps of the output: the reference of all gates."""
    total: NDArray[np.int64] = np.full(len(words), trees.init, np.int64)
    for tree in trees.trees:
        total += tree.value[find_leaves(tree, words)]
    return total


def find_leaves(tree: Tree, words: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the node in which each row of words ends."""
    node: NDArray[np.int64] = np.zeros(len(words), np.int64)
    row = np.arange(len(words))
    for _ in range(tree.depth()):
        feature = tree.feature[node]
        below = words[row, feature] < tree.threshold[node]  # of a leaf, feature -1: some input, not used
        node = np.where(feature < 0, node, np.where(below, tree.left[node], tree.right[node]))
    return node


def predict(trees: FixedTrees, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the margins (N, 1) of encoded inputs (N, n), which must be on the grid."""
    return (evaluate(trees, trees.inputs.to_words(values)) * trees.outputs.step)[:, None]


def with_one(grid: Grid) -> Grid:
    """Return the grid, or the next wider one that also holds the number 1.

    Conifer multiplies each input by a weight of 1 and the sum by a norm of 1, in the types of input and sum: where 1
    does not fit, it wraps to -1 and the answer is silently another.
    """
    fraction, integer = max(grid.bits - grid.integer, 0), max(grid.integer, 2)
    return Grid(fraction + integer, integer)


def to_document(trees: FixedTrees) -> dict[str, Any]:
    """Return the trees as a JSON document."""
    return {
        "format": FORMAT,
        "names": list(trees.names),
        "inputs": {"bits": trees.inputs.bits, "integer": trees.inputs.integer},
        "outputs": {"bits": trees.outputs.bits, "integer": trees.outputs.integer},
        "init": trees.init,
        "trees": [
            {name: getattr(tree, name).tolist() for name in ("feature", "threshold", "left", "right", "value")}
            for tree in trees.trees
        ],
    }


def from_document(document: Any, where: str) -> FixedTrees:
    """Check a JSON document of trees and return them.

    Parameters
    ----------
    document : object
        What `to_document` returned.
    where : str
        Name of the file, for messages.

    Raises
    ------
    UserError
        If the document is of another form, or its nodes do not make trees on the grid.
    """
    keys = {"format", "names", "inputs", "outputs", "init", "trees"}
    try:
        if set(document) != keys or document["format"] != FORMAT:
            raise ValueError(f"its keys must be {', '.join(sorted(keys))}, its format {FORMAT!r}")
        inputs, outputs = Grid(**document["inputs"]), Grid(**document["outputs"])
        trees = tuple(
            Tree(**{name: np.asarray(column, np.int64) for name, column in tree.items()}) for tree in document["trees"]
        )
        for tree in trees:
            _check_tree(tree, len(document["names"]), inputs)
        return FixedTrees(tuple(document["names"]), inputs, outputs, int(document["init"]), trees)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{where} does not hold fixed-point trees: {error}", "delete it and run again") from error


def _check_tree(tree: Tree, inputs: int, grid: Grid) -> None:
    size = len(tree.feature)
    columns = (tree.threshold, tree.left, tree.right, tree.value)
    if size == 0 or any(column.shape != (size,) for column in (tree.feature, *columns)):
        raise ValueError("a tree whose columns differ in length")
    split = tree.feature >= 0
    node = np.arange(size)
    # every node but the root is the child of one that comes before it: no loop, nothing left over
    children = sorted(itertools.chain(tree.left[split], tree.right[split]))
    if children != list(range(1, size)) or not np.all((tree.left > node) & (tree.right > node) | ~split):
        raise ValueError("a tree whose nodes do not hang together")
    bounds = tree.threshold[split]
    if tree.feature.max() >= inputs or np.any((bounds <= grid.least) | (bounds > grid.greatest)):
        raise ValueError("a split on an input or at a threshold that is not there")
