"""Trees on integers against hand-computed numbers, XGBoost, a recursive reading of the float trees, and alkaid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lhcml.common.errors import UserError
from lhcml.firmware.input_table import write_inputs
from lhcml.firmware.quantise_trees import main as quantise
from lhcml.firmware.stimuli import read_stimuli
from lhcml.firmware.trees import (
    FixedTrees,
    FloatTrees,
    Grid,
    Tree,
    evaluate,
    find_leaves,
    fix_trees,
    from_document,
    predict,
    read_xgboost,
    smallest_grid,
    to_document,
    with_one,
)


def float_tree(nodes: list[tuple[int, float, int, int]]) -> dict[str, NDArray[Any]]:
    """Return a float tree of nodes (feature, threshold or value, left, right); a leaf has left -1."""
    feature, condition, left, right = zip(*nodes, strict=True)
    return {
        "feature": np.array(feature), "condition": np.array(condition, np.float32),
        "left": np.array(left), "right": np.array(right),
    }  # fmt: skip


def float_answer(tree: dict[str, NDArray[Any]], row: NDArray[np.float32]) -> float:
    """Follow a float tree as XGBoost does."""
    node = 0
    while tree["left"][node] >= 0:
        below = row[tree["feature"][node]] < tree["condition"][node]
        node = int(tree["left" if below else "right"][node])
    return float(tree["condition"][node])


# x0 < 0.3 ? (x1 < -1 ? 0.5 : -0.25) : (x1 < 0.625 ? 0.1 : 0.7)
BY_HAND = float_tree(
    [(0, 0.3, 1, 2), (1, -1.0, 3, 4), (1, 0.625, 5, 6), (0, 0.5, -1, -1), (0, -0.25, -1, -1), (0, 0.1, -1, -1),
     (0, 0.7, -1, -1)]
)  # fmt: skip


def fix(trees: list[dict[str, NDArray[Any]]], inputs: Grid, bits: int, init: float = 0.0, names: int = 2) -> FixedTrees:
    original = FloatTrees(tuple(f"x{i}" for i in range(names)), init, tuple(trees))
    return fix_trees(original, np.zeros(names), np.ones(names), inputs, bits)


def test_tree_computed_by_hand() -> None:
    # inputs in steps of 1/4, leaves of 5 bits: the largest is 0.7 < 1, so the step is 1/16
    fixed = fix([BY_HAND], Grid(5, 3), 5, init=0.2)
    (tree,) = fixed.trees
    # 0.3 lies between the words 1 and 2, -1 is the word -4, 0.625 lies between 2 and 3
    assert tree.feature.tolist() == [0, 1, -1, -1, 1, -1, -1]
    assert tree.threshold.tolist() == [2, -4, 0, 0, 3, 0, 0]
    # 0.5, -0.25, 0.1, 0.7 in steps of 1/16: 8, -4, 1.6, 11.2
    assert tree.leaves().tolist() == [8, -4, 2, 11]
    assert fixed.init == 3
    # sums reach from -4 to 3 + 11 = 14: 5 bits, 1 before the point
    assert fixed.outputs == Grid(5, 1)
    words = np.array([[1, -5], [1, -4], [2, 2], [2, 3]])
    assert evaluate(fixed, words).tolist() == [11, -1, 5, 14]
    assert predict(fixed, words / 4).tolist() == [[11 / 16], [-1 / 16], [5 / 16], [14 / 16]]


def test_offset_and_scale_move_thresholds() -> None:
    original = FloatTrees(("x0", "x1"), 0.0, (BY_HAND,))
    fixed = fix_trees(original, np.array([0.1, 0.0]), np.array([0.5, 4.0]), Grid(5, 3), 5)
    # (0.3 - 0.1) / 0.5 = 0.4 -> 1.6 steps; -1 / 4 -> -1 step; 0.625 / 4 -> 0.625 steps
    assert sorted(fixed.trees[0].threshold[fixed.trees[0].feature >= 0].tolist()) == [-1, 1, 2]


def test_decided_splits_and_equal_leaves_are_left_out() -> None:
    # the grid ends at 3.75: x0 < 9 is always true; below it x0 < 1 is asked twice; the last two leaves are equal
    tree = float_tree(
        [(0, 9.0, 1, 2), (0, 1.0, 3, 4), (0, 0.1, -1, -1), (0, 1.0, 5, 6), (1, 0.5, 7, 8), (0, 0.5, -1, -1),
         (0, 0.2, -1, -1), (0, 0.25, -1, -1), (0, 0.26, -1, -1)]
    )  # fmt: skip
    (fixed,) = fix([tree], Grid(5, 3), 5).trees
    assert fixed.feature.tolist() == [0, -1, -1]
    assert fixed.threshold.tolist() == [4, 0, 0]
    assert fixed.leaves().tolist() == [8, 4]


@pytest.mark.parametrize(
    ("largest", "grid"), [(0.7, Grid(5, 1)), (1.0, Grid(5, 2)), (0.99, Grid(5, 2)), (0.1, Grid(5, -2))]
)
def test_grid_of_leaves_just_holds_the_largest(largest: float, grid: Grid) -> None:
    # 0.99 would round to 16 sixteenths, one more than the greatest word
    assert smallest_grid(largest, 5) == grid


@st.composite
def float_trees(draw: st.DrawFn) -> FloatTrees:
    """Draw a few trees of any shape on three inputs."""
    # on a grid of its own: leaves of 1e-38 beside a constant of 1 rightly are an error
    number = st.integers(-5000, 5000).map(lambda thousandths: thousandths / 1000)

    def tree() -> dict[str, NDArray[Any]]:
        nodes: list[list[Any]] = []

        def grow(depth: int) -> int:
            here = len(nodes)
            nodes.append([0, draw(number), -1, -1])
            if depth and draw(st.booleans()):
                nodes[here][0] = draw(st.integers(0, 2))
                nodes[here][2] = grow(depth - 1)
                nodes[here][3] = grow(depth - 1)
            return here

        grow(draw(st.integers(0, 4)))
        return float_tree([tuple(node) for node in nodes])

    trees = [tree() for _ in range(draw(st.integers(1, 4)))]
    return FloatTrees(("a", "b", "c"), draw(st.floats(-2, 2)), tuple(trees))


def on_grid(original: FloatTrees, seed: int) -> tuple[FixedTrees, NDArray[np.int64], NDArray[np.float32]]:
    """Return fixed trees, random words, and the float inputs that the words stand for."""
    generator = np.random.default_rng(seed)
    inputs, offset, scale = Grid(7, 3), generator.normal(size=3), 2.0 ** generator.integers(-2, 2, 3)
    fixed = fix_trees(original, offset, scale, inputs, 8)
    words = generator.integers(inputs.least, inputs.greatest + 1, (40, 3))
    return fixed, words, (words * inputs.step * scale + offset).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(float_trees(), st.integers(0, 99))
def test_decisions_are_those_of_the_float_trees(original: FloatTrees, seed: int) -> None:
    fixed, words, values = on_grid(original, seed)
    step = fixed.outputs.step
    expected = [
        round(original.init / step) + sum(round(float_answer(tree, row) / step) for tree in original.trees)
        for row in values
    ]
    assert evaluate(fixed, words).tolist() == expected


@settings(max_examples=60, deadline=None)
@given(float_trees(), st.integers(0, 99))
def test_no_partial_sum_in_any_order_overflows(original: FloatTrees, seed: int) -> None:
    fixed, words, _ = on_grid(original, seed)
    terms = np.stack([np.full(40, fixed.init), *(t.value[find_leaves(t, words)] for t in fixed.trees)])
    order = np.random.default_rng(seed).permutation(len(terms))
    sums = np.cumsum(terms[order], axis=0)
    assert sums.min() >= fixed.outputs.least
    assert sums.max() <= fixed.outputs.greatest


@pytest.mark.parametrize(
    ("grid", "wider"),
    [(Grid(10, 4), Grid(10, 4)), (Grid(10, 1), Grid(11, 2)), (Grid(6, -1), Grid(9, 2)), (Grid(4, 6), Grid(6, 6))],
)
def test_types_of_conifer_hold_the_number_one(grid: Grid, wider: Grid) -> None:
    assert with_one(grid) == wider
    assert wider.to_words(np.array([1.0, grid.least * grid.step, grid.greatest * grid.step])).shape == (3,)


def test_output_is_no_wider_than_its_worst_case() -> None:
    # two trees of leaves -7 and 7 steps and a constant: 5 bits hold -16..15, 6 bits -32..31
    tree = float_tree([(0, 0.0, 1, 2), (0, -0.875, -1, -1), (0, 0.875, -1, -1)])
    for constant, bits in ((0.125, 5), (0.25, 6), (-0.25, 5), (-0.375, 6)):
        assert fix([tree, tree], Grid(4, 2), 4, init=constant).outputs == Grid(bits, bits - 3)


@settings(max_examples=12, deadline=None)
@given(float_trees(), st.integers(0, 99))
def test_logic_equals_the_integer_trees(original: FloatTrees, seed: int) -> None:
    from lhcml.firmware.trace_trees import trace_trees

    fixed, words, _ = on_grid(original, seed)
    logic = trace_trees(to_document(fixed))
    assert logic.predict(words * fixed.inputs.step).tolist() == predict(fixed, words * fixed.inputs.step).tolist()


@pytest.mark.parametrize("bits", [2, 6, 7, 10, 12])
def test_comparisons_of_all_widths_are_exact(bits: int) -> None:
    from lhcml.firmware.trace_trees import trace_trees

    grid = Grid(bits, 2)
    chosen = np.unique(np.linspace(grid.least + 1, grid.greatest, 9).astype(int)).tolist()
    trees = tuple(
        Tree(*np.array([[0, bound, 1, 2, 0], [-1, 0, -1, -1, 1 << place], [-1, 0, -1, -1, 0]]).T)
        for place, bound in enumerate(chosen)
    )
    fixed = FixedTrees(("x",), grid, Grid(16, 16), 0, trees)
    words = grid.words()[:, None]
    expected = sum((words < bound) * 2.0**place for place, bound in enumerate(chosen))
    assert trace_trees(to_document(fixed)).predict(words * grid.step).tolist() == expected.tolist()


def test_trees_too_deep_for_a_table_are_refused() -> None:
    from lhcml.firmware.trace_trees import trace_trees

    # each split of the chain cuts off one word: a leaf to the left, the next split to the right
    nodes = []
    for bound in range(13):
        nodes += [(0, float(bound), 2 * bound + 1, 2 * bound + 2), (0, float(bound), -1, -1)]
    deep = fix([float_tree([*nodes, (0, 99.0, -1, -1)])], Grid(8, 8), 10)
    assert deep.trees[0].depth() == 13
    with pytest.raises(UserError, match="tree of depth 13"):
        trace_trees(to_document(deep))


def train(
    folder: Path, values: NDArray[np.float32], labels: NDArray[np.int64], names: list[str], **options: Any
) -> Path:
    import xgboost

    parameters = {"max_depth": 3, "objective": "binary:logistic", "nthread": 1, "base_score": 0.4, **options}
    booster = xgboost.train(parameters, xgboost.DMatrix(values, labels, feature_names=names), 8)
    booster.save_model(folder / "model.json")
    (folder / "model.meta.json").write_text(json.dumps({"inputs": names}))
    return folder / "model.json"


def sample(seed: int = 1, count: int = 600) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count)
    return (generator.normal(size=(count, 3)) + labels[:, None] * [1.0, 0.5, 0.0]).astype(np.float32), labels


def test_xgboost_ends_in_the_same_leaves(tmp_path: Path) -> None:
    import xgboost

    values, labels = sample()
    path = train(tmp_path, values, labels, ["a", "b", "c"])
    original = read_xgboost(path, ["a", "b", "c"])
    inputs = Grid(6, 3)
    fixed = fix_trees(original, np.zeros(3), np.ones(3), inputs, 10)
    words = np.random.default_rng(2).integers(inputs.least, inputs.greatest + 1, (2000, 3))
    matrix = xgboost.DMatrix((words * inputs.step).astype(np.float32), feature_names=["a", "b", "c"])
    booster = xgboost.Booster(model_file=path)
    leaves = booster.predict(matrix, pred_leaf=True).astype(int)
    for tree, fixed_tree, leaf in zip(original.trees, fixed.trees, leaves.T, strict=True):
        rounded = np.rint(tree["condition"][leaf].astype(float) / fixed.outputs.step)
        assert np.array_equal(fixed_tree.value[find_leaves(fixed_tree, words)], rounded)
    margins = booster.predict(matrix, output_margin=True)
    # half a step for each of 8 trees and the constant; 1e-5 for sums in float32 of size about 1
    assert np.abs(margins - evaluate(fixed, words) * fixed.outputs.step).max() <= 9 * fixed.outputs.step / 2 + 1e-5


@pytest.mark.parametrize(
    ("options", "names", "reason"),
    [
        ({"objective": "reg:squarederror"}, ["a", "b", "c"], "reg:squarederror"),
        ({"booster": "dart"}, ["a", "b", "c"], "`dart`"),
        ({}, ["a", "c", "b"], "has the features a, b, c"),
    ],
)
def test_other_models_are_refused(tmp_path: Path, options: dict[str, str], names: list[str], reason: str) -> None:
    path = train(tmp_path, *sample(), ["a", "b", "c"], **options)
    with pytest.raises(UserError, match=reason):
        read_xgboost(path, names)


def test_documents_are_checked() -> None:
    document = to_document(fix([BY_HAND], Grid(5, 3), 5))
    assert to_document(from_document(json.loads(json.dumps(document)), "here")) == document

    def change(**tree: list[int]) -> dict[str, Any]:
        return document | {"trees": [document["trees"][0] | tree]}

    damaged = [
        {}, [], document | {"more": 1}, document | {"format": "other"}, document | {"inputs": {"bits": 5}},
        change(left=[0, 2, -1, -1, 5, -1, -1]), change(right=[1, 3, -1, -1, 6, -1, -1]), change(feature=[0]),
        change(feature=[0, 2, -1, -1, 1, -1, -1]), change(threshold=[2, 99, 0, 0, 3, 0, 0]),
    ]  # fmt: skip
    for wrong in damaged:
        with pytest.raises(UserError, match="here does not hold fixed-point trees"):
            from_document(wrong, "here")


def test_inputs_off_the_grid_are_refused() -> None:
    fixed = fix([BY_HAND], Grid(5, 3), 5)
    for value in (0.1, 4.0, np.nan):
        with pytest.raises(UserError, match="not on the grid"):
            predict(fixed, np.array([[value, 0.0]]))


def write_jets(path: Path, values: NDArray[np.float32], names: list[str]) -> str:
    count = len(values)
    part = {
        "run": np.ones(count), "luminosityBlock": np.ones(count), "event": np.arange(count),
        "jet_rank": np.zeros(count),
        "split": np.array(["train", "validation", "test"])[np.arange(count) % 3], "weight": np.full(count, 2.0),
        "inputs": values,
    }  # fmt: skip
    write_inputs(path, names, [part])
    return f"{path.stem}={path}"


def arguments(folder: Path, point: str, *, signal: NDArray[np.float32], other: NDArray[np.float32]) -> list[str]:
    # the files have an input more, and another order, than the trees
    names = ["c", "more", "a", "b"]

    def columns(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.stack([values[:, 2], values[:, 0], values[:, 0], values[:, 1]], axis=1)

    return [
        "--signals", write_jets(folder / "top.parquet", columns(signal), names),
        "--background", write_jets(folder / "qcd.parquet", columns(other), names),
        "--model", str(folder / "model.json"), "--meta", str(folder / "model.meta.json"), "--point", point,
        "--config", '{"encoding": {"bits": 8, "integer": 4}, "stimuli": 500}', "--seed", "3",
        "--folder", str(folder / point),
    ]  # fmt: skip


def test_quantises_a_tagger(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    values, labels = sample()
    train(tmp_path, values, labels, ["a", "b", "c"])
    quantise(arguments(tmp_path, "post10", signal=values[labels == 1], other=values[labels == 0]))
    folder = tmp_path / "post10"
    summary = json.loads((folder / "quantised.json").read_text())
    assert summary["input"] == {"bits": 10, "integer": 4}
    assert summary["rounding"]["largest"] <= summary["rounding"]["bound"]
    # a step of the inputs is 1/64: one jet in seven or so comes to the other side of one of its 24 splits; the area
    # of 200 jets has an uncertainty of 0.03
    assert abs(summary["auc_float"] - summary["auc_fixed"]) < 0.03
    assert summary["parameters"] == summary["trees"]["splits"] + summary["trees"]["leaves"]
    fixed = from_document(json.loads((folder / "model.json").read_text()), "model.json")
    assert fixed.names == ("a", "b", "c")
    stimuli = read_stimuli(folder / "stimuli.npz")
    assert len(stimuli.inputs) == 500
    assert np.array_equal(stimuli.outputs, predict(fixed, stimuli.inputs))
    table = pq.read_table(folder / "scores.parquet").to_pydict()
    assert set(table["split"]) == {"validation", "test"}
    assert {(d, label) for d, label in zip(table["dataset"], table["label"], strict=True)} == {("top", 1), ("qcd", 0)}
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".parquet"}
    quantise(arguments(tmp_path, "post10", signal=values[labels == 1], other=values[labels == 0]))
    assert before == {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".parquet"}


def test_what_cannot_be_quantised_is_told(tmp_path: Path) -> None:
    values, labels = sample()
    train(tmp_path, values, labels, ["a", "b", "c"])
    signal, other = values[labels == 1], values[labels == 0]
    with pytest.raises(UserError, match="`aware6`"):
        quantise(arguments(tmp_path, "aware6", signal=signal, other=other))
    with pytest.raises(UserError, match=r"the test split has 0 rows of signal"):
        quantise(arguments(tmp_path, "post8", signal=signal[:2], other=other))
    broken = other.copy()
    broken[7, 1] = np.nan
    with pytest.raises(UserError, match=r"inputs b \(1\)"):
        quantise(arguments(tmp_path, "post8", signal=signal, other=broken))
    train(tmp_path, values, labels, ["a", "b", "z"])
    with pytest.raises(UserError, match="lacks the inputs z"):
        quantise(arguments(tmp_path, "post8", signal=signal, other=other))
