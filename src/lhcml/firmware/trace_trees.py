"""Turn trees on integers into logic (alkaid): comparisons, the code of the leaf, a table of leaf values, and a sum.

- A comparison of a word with a constant is a chain of tables of at most six inputs: the six lowest bits that matter,
  then five more bits and the answer so far. A subtraction would take a carry chain, with a LUT for each of its bits.
- The comparisons on the path of a leaf, root first, are its code. A split chooses between the codes of its
  two subtrees, and a table takes the code to the value: fewer LUTs than multiplexers of the values.
- Equal comparisons of different trees are one.

docs/firmware_trees.md has what the alternatives cost.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.errors import UserError
from lhcml.firmware.trees import FixedTrees, Tree, from_document

# inputs of a LUT of the target
LUT_INPUTS = 6
# the table of a tree has 2^depth entries
DEEPEST = 12


class Comparisons:
    """Comparisons of input words with constants, each made once.

    Parameters
    ----------
    words : sequence of alkaid.trace.FVariable
        Inputs as signed integers.
    bits : int
        Bits of an input, the sign included.
    """

    def __init__(self, words: Any, bits: int) -> None:
        self.words = words
        self.bits = bits
        self.made: dict[tuple[int, int], Any] = {}

    def less(self, feature: int, threshold: int) -> Any:
        """Return a bit that is 1 where an input word is less than the threshold."""
        key = (feature, threshold)
        if key not in self.made:
            self.made[key] = self._chain(self.words[feature], threshold)
        return self.made[key]

    def _chain(self, word: Any, threshold: int) -> Any:
        # bits below the lowest 1 of the threshold do not matter: x < 12 is floor(x / 4) < 3
        low = (threshold & -threshold).bit_length() - 1 if threshold else self.bits - 1
        answer = None
        while low < self.bits:
            high = min(low + LUT_INPUTS - (answer is not None), self.bits)
            signed = high == self.bits
            part = word.quantize(signed, high - signed, -low) * 2.0**-low
            values: NDArray[np.int64] = np.arange(1 << (high - low)) - (signed << (high - low - 1))
            # the top part keeps its sign, the others are the bits of the threshold as they stand
            bound = threshold >> low if signed else (threshold >> low) & ((1 << (high - low)) - 1)
            if answer is None:
                answer = part.lookup((values < bound).astype(float))
            else:
                table = np.stack([values < bound, values <= bound], axis=1).ravel()
                answer = (part * 2 + answer).lookup(table.astype(float))
            low = high
        return answer


def leaf_code(tree: Tree, node: int, comparisons: Comparisons) -> list[Any]:
    """Return the bits that tell in which leaf below a node an event ends, the first split first, 1 for left."""
    if tree.feature[node] < 0:
        return []
    choice = comparisons.less(int(tree.feature[node]), int(tree.threshold[node]))
    left = leaf_code(tree, int(tree.left[node]), comparisons)
    right = leaf_code(tree, int(tree.right[node]), comparisons)
    # beyond the end of the shorter code nothing is asked, and the bits of the longer one do
    common = [choice.msb_mux(a, b) for a, b in zip(left, right, strict=False)]
    return [choice, *common, *left[len(common) :], *right[len(common) :]]


def leaf_table(tree: Tree, node: int, depth: int) -> list[int]:
    """Return the values of the leaves below a node by their code, `depth` bits, the first split the highest."""
    if tree.feature[node] < 0:
        return [int(tree.value[node])] * (1 << depth)
    left = leaf_table(tree, int(tree.left[node]), depth - 1)
    return leaf_table(tree, int(tree.right[node]), depth - 1) + left


def tree_output(tree: Tree, comparisons: Comparisons) -> Any:
    """Return the value of a tree in steps of the output."""
    table = leaf_table(tree, 0, tree.depth())
    bits = leaf_code(tree, 0, comparisons)
    if not bits:
        return float(table[0])
    code = bits[0]
    for bit in bits[1:]:
        code = code * 2 + bit
    return code.lookup(np.asarray(table, np.float64))


def build_sum(trees: FixedTrees, inputs: Any) -> Any:
    """Return the margin as an expression of the inputs, an alkaid array of encoded numbers."""
    comparisons = Comparisons([value * (1 / trees.inputs.step) for value in np.asarray(inputs)], trees.inputs.bits)
    values = [tree_output(tree, comparisons) for tree in trees.trees]
    constant = trees.init + sum(value for value in values if isinstance(value, float))
    terms = [value for value in values if not isinstance(value, float)]
    if not terms:
        return constant * trees.outputs.step
    # alkaid's sum is a balanced tree of adders
    return (np.sum(type(inputs)(np.array(terms, dtype=object))) + constant) * trees.outputs.step


def trace_trees(document: Any) -> Any:
    """Return the logic of trees.

    Parameters
    ----------
    document : object
        Content of `model.json`, see `lhcml.firmware.trees.to_document`.

    Returns
    -------
    alkaid.types.CombLogic
        Takes encoded inputs (N, n) on the grid, returns margins (N, 1).

    Raises
    ------
    UserError
        If the document is not one of trees, or a tree is too deep for a table of its leaves.
    """
    from alkaid.trace import FVArray, HWConfig, trace

    trees = from_document(document, "the model")
    depth = max(tree.depth() for tree in trees.trees)
    if depth > DEEPEST:
        raise UserError(
            f"a tree of depth {depth}, and its table of leaves would have 2^{depth} entries",
            f"train the tagger with `max_depth` of {DEEPEST} or less; firmware takes many shallow trees",
        )
    count, grid = len(trees.names), trees.inputs
    inputs = FVArray.from_kif(
        np.ones(count, int),
        np.full(count, grid.integer - 1),
        np.full(count, grid.bits - grid.integer),
        # delay and cost of an adder grow by bit of carry, as alkaid takes them for networks
        hwconf=HWConfig(1, 1, -1),
    )
    return trace(inputs, build_sum(trees, inputs))
