"""conifer's C++ against the integer trees, and what happens when it cannot be compiled or differs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lhcml.common.errors import UserError
from lhcml.firmware.emulate_trees import emulate, main, write_project
from lhcml.firmware.stimuli import write_stimuli
from lhcml.firmware.trees import FixedTrees, Grid, Tree, predict, to_document

PART = "xcvu9p-flga2104-2L-e"


def small_trees() -> FixedTrees:
    """Return three trees: of depth 2 with unequal branches, of depth 1, and a single leaf."""
    trees = (
        Tree(
            *np.array([[0, -1, 1, -1, -1], [-3, 0, 5, 0, 0], [1, -1, 3, -1, -1], [2, -1, 4, -1, -1], [0, 9, 0, -16, 3]])
        ),
        Tree(*np.array([[2, -1, -1], [15, 0, 0], [1, -1, -1], [2, -1, -1], [0, 7, -5]])),
        Tree(*np.array([[-1], [0], [-1], [-1], [2]])),
    )
    # the inputs have 3 bits after the point, the output 6: neither grid holds the other's words
    return FixedTrees(("a", "b", "c"), Grid(5, 2), Grid(6, 0), -1, trees)


def all_words(trees: FixedTrees) -> np.ndarray:
    """Return every row of words that three inputs of 5 bits can have."""
    words = trees.inputs.words() * trees.inputs.step
    return np.stack(np.meshgrid(words, words, words), axis=-1).reshape(-1, 3)


def arguments(folder: Path, wrong: float = 0.0) -> list[str]:
    """Write a model and stimuli, one answer of which is off by `wrong`; return the command line."""
    trees = small_trees()
    (folder / "model.json").write_text(json.dumps(to_document(trees)))
    answers = predict(trees, all_words(trees))
    answers[1234] += wrong
    write_stimuli(folder / "stimuli.npz", all_words(trees), answers, 0)
    return [
        "--model", str(folder / "model.json"), "--stimuli", str(folder / "stimuli.npz"), "--clock-mhz", "400",
        "--part", PART, "--project", str(folder / "project"), "--meta", str(folder / "project.json"),
    ]  # fmt: skip


def test_conifer_equals_the_integer_trees_on_all_words(tmp_path: Path) -> None:
    main(arguments(tmp_path))
    result = json.loads((tmp_path / "project.json").read_text())
    assert result.pop("seconds") > 0
    assert result == {
        "backend": "conifer", "reuse": 1, "events": 32**3, "mismatches": 0, "max_abs_diff": 0.0, "compiled": True,
    }  # fmt: skip
    project = tmp_path / "project"
    parameters = (project / "firmware/parameters.h").read_text()
    # inputs as they are; the output has no bit before its point, and conifer's norm of 1 needs two
    assert parameters.count("ap_fixed<5,2>") == 3
    assert parameters.count("ap_fixed<8,2>") == 1
    assert f"set part {PART}" in (project / "hls_parameters.tcl").read_text()
    assert "set clock_period 2.5" in (project / "hls_parameters.tcl").read_text()
    # nothing of the machine or the time, so that two runs write the same
    assert not [path for path in project.rglob("*") if path.is_file() and str(tmp_path) in path.read_text()]
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    write_project(small_trees(), project, 400.0, PART)
    assert before == {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}


def test_a_difference_of_one_step_fails(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="differs from the quantised trees in 1 of 32768 events; event 1234"):
        main(arguments(tmp_path, wrong=2.0**-6))
    assert not (tmp_path / "project.json").exists()


def test_compiler_that_fails_is_quoted(tmp_path: Path) -> None:
    write_project(small_trees(), tmp_path / "project", 400.0, PART)
    source = tmp_path / "project/firmware/model.cpp"
    source.write_text(source.read_text() + "#error broken on purpose\n")
    with pytest.raises(UserError, match=r"(?s)g\+\+ failed .*broken on purpose"):
        emulate(tmp_path / "project", np.zeros((1, 3)))


def test_missing_compiler_is_told_with_a_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"no C\+\+ compiler .*\n.*fix: install"):
        emulate(tmp_path, np.zeros((1, 3)))


def test_clock_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="clock of 0"):
        write_project(small_trees(), tmp_path / "project", 0.0, PART)
