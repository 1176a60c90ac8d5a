"""Write trees as a conifer project for vendor tools, compile its C++, run it on all stimuli and compare every bit.

What is compiled is the project's top function, as the vendor's tool sees it, with the arbitrary-precision types that
hls4ml brings. Conifer cuts what is not on the grid of its type: it is given words only (docs/firmware_trees.md).

By hand:
  python -m lhcml.firmware.emulate_trees --model model.json --stimuli stimuli.npz --clock-mhz 400 \
    --part xcvu9p-flga2104-2L-e --project hls/conifer_reuse1 --meta hls/conifer_reuse1.json
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_json, write_text
from lhcml.firmware.gates import compare_outputs
from lhcml.firmware.stimuli import read_stimuli
from lhcml.firmware.tools import find_compiler, run_tool
from lhcml.firmware.trees import FixedTrees, Grid, Tree, from_document, with_one

NAME = "model"
# The only loop around the top function: doubles in, doubles out. The sources are included so that the constants of the
# trees, which cost most of the compilation, are compiled once and not once a source.
DRIVER = """\
#include <cstdio>
#include "firmware/BDT.cpp"
#include "firmware/model.cpp"

int main(int, char **arguments) {
  std::FILE *in = std::fopen(arguments[1], "rb"), *out = std::fopen(arguments[2], "wb");
  if (!in || !out) return 1;
  double row[n_features];
  while (std::fread(row, sizeof(double), n_features, in) == n_features) {
    input_arr_t x;
    score_arr_t score;
    for (int i = 0; i < n_features; i++) x[i] = row[i];
    model(x, score);
    double margin = score[0].to_double();
    if (std::fwrite(&margin, sizeof(double), 1, out) != 1) return 1;
  }
  return std::fclose(out) != 0;
}
"""
# The constants of the trees are one function of 100,000 calls: higher levels, and these two passes, take minutes there
OPTIONS = ("-O1", "-fno-tree-pta", "-fno-move-loop-invariants")
# conifer's test bench calls the top function with an argument more than it has: synthesis without it
BUILD_OPTIONS = "array set opt { reset 1 csim 0 synth 1 cosim 0 export 0 }\n"


def conifer_tree(tree: Tree, inputs: int, grid: Grid, step: float) -> dict[str, Any]:
    """Return a tree as conifer takes it: real numbers, and one weight of 1 a split."""
    split = tree.feature >= 0
    return {
        "feature": np.where(split, tree.feature, -2).tolist(),
        "threshold": np.where(split, tree.threshold * grid.step, 0.0).tolist(),
        "weight": (tree.feature[:, None] == np.arange(inputs)).astype(int).tolist(),
        "children_left": tree.left.tolist(),
        "children_right": tree.right.tolist(),
        "value": (tree.value * step).tolist(),
    }


def conifer_ensemble(trees: FixedTrees) -> dict[str, Any]:
    """Return the trees as conifer's own description of an ensemble."""
    step = trees.outputs.step
    return {
        "max_depth": max(tree.depth() for tree in trees.trees),
        "n_trees": len(trees.trees),
        "n_classes": 2,
        "n_features": len(trees.names),
        "feature_map": {name: index for index, name in enumerate(trees.names)},
        "trees": [[conifer_tree(tree, len(trees.names), trees.inputs, step)] for tree in trees.trees],
        "init_predict": [trees.init * step],
        "norm": 1,
        "library": "xgboost",
        "splitting_convention": "<",
    }


def write_project(trees: FixedTrees, folder: Path, clock_mhz: float, part: str) -> None:
    """Write the project, with nothing in it that depends on the machine or the time.

    Parameters
    ----------
    trees : FixedTrees
        Trees.
    folder : path
        Folder of the project; what is in it is replaced.
    clock_mhz : float
        Clock in MHz.
    part : str
        Device.

    Raises
    ------
    UserError
        If the clock is not positive.
    """
    if not clock_mhz > 0:
        raise UserError(f"clock of {clock_mhz} MHz", "set `clock_mhz` to the clock of the firmware, e.g. 240")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    inputs, outputs = (f"ap_fixed<{grid.bits},{grid.integer}>" for grid in map(with_one, (trees.inputs, trees.outputs)))
    settings = {
        "Backend": "xilinxhls",
        "ProjectName": NAME,
        "OutputDir": str(folder),
        "XilinxPart": part,
        "ClockPeriod": 1000 / clock_mhz,
        "InputPrecision": inputs,
        "ThresholdPrecision": inputs,
        "WeightPrecision": inputs,
        "ScorePrecision": outputs,
        "Unroll": True,
    }
    with warnings.catch_warnings():
        # conifer 1.11 has regular expressions that are no raw strings, and leaves files to be closed by Python
        warnings.filterwarnings("ignore", message=r"(?s).*invalid escape sequence")
        warnings.filterwarnings("ignore", message="unclosed file", category=ResourceWarning)
        from conifer.backends import xilinxhls

        xilinxhls.make_model(conifer_ensemble(trees), settings).write()
    # its Python module, named by the time, is not what is run here
    (folder / "bridge.cpp").unlink()
    # conifer saves its model with user, host, time and the absolute path of the project
    saved = read_json(folder / f"{NAME}.json")
    saved["metadata"] = []
    saved["config"]["output_dir"] = "."
    write_text(folder / f"{NAME}.json", json.dumps(saved) + "\n")
    write_text(folder / "build_opt.tcl", BUILD_OPTIONS)
    write_text(folder / "emulate.cpp", DRIVER)


def find_types() -> Path:
    """Return the folder of the headers of arbitrary-precision types that hls4ml brings; conifer has none.

    Raises
    ------
    UserError
        If it is not there.
    """
    package = importlib.util.find_spec("hls4ml")
    if package is not None and package.origin is not None:
        folder = Path(package.origin).parent / "templates/vivado/ap_types"
        if (folder / "ap_fixed.h").is_file():
            return folder
    raise UserError("no headers of arbitrary-precision types (ap_fixed.h)", "install hls4ml, which brings them")


def emulate(folder: Path, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compile a project with the C++ compiler, run it on encoded inputs (N, n) and return the margins (N, 1).

    Raises
    ------
    UserError
        If there is no compiler, the code does not compile, or the program fails.
    """
    with tempfile.TemporaryDirectory(prefix="lhcml-") as name:
        work = Path(name)
        command: list[str | Path] = [
            find_compiler(), *OPTIONS, "-std=c++14", "-w", "-I", find_types(), "-I", folder.resolve(),
        ]  # fmt: skip
        run_tool([*command, folder.resolve() / "emulate.cpp", "-o", work / NAME], work, work / "compile.log")
        np.ascontiguousarray(values, np.float64).tofile(work / "inputs.bin")
        run_tool([work / NAME, work / "inputs.bin", work / "outputs.bin"], work, work / "run.log")
        margins = np.fromfile(work / "outputs.bin", np.float64)
    if len(margins) != len(values):
        raise UserError(f"the emulation answered {len(margins)} of {len(values)} events", "run it again by hand")
    return margins[:, None]


def main(argv: Sequence[str] | None = None) -> None:
    """Write the project, run it, compare."""
    parser = make_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="trees on integers, model.json")
    parser.add_argument("--stimuli", type=Path, required=True, help="stimuli.npz")
    parser.add_argument("--clock-mhz", type=float, required=True, help="clock of the firmware")
    parser.add_argument("--part", required=True, help="device")
    parser.add_argument("--project", type=Path, required=True, help="folder to write")
    parser.add_argument("--meta", type=Path, required=True, help="outcome of the comparison, JSON")
    args = parser.parse_args(argv)
    log = start_log("conifer", "hls4ml", "numpy")
    stimuli = read_stimuli(args.stimuli)
    trees = from_document(read_json(args.model), str(args.model))
    write_project(trees, args.project, args.clock_mhz, args.part)
    log.info("conifer project of %d trees", len(trees.trees))
    begin = time.monotonic()
    margins = emulate(args.project, stimuli.inputs)
    seconds = time.monotonic() - begin
    gate = compare_outputs(stimuli.outputs, margins)
    if gate.mismatches:
        raise UserError(
            f"conifer's C++ differs from the quantised trees in {gate.mismatches} of {gate.events} events; "
            f"{gate.first}",
            "do not use this project; compare the number formats of firmware/parameters.h with those of model.json",
        )
    log.info("conifer's C++ equals the integer trees on %d events, %.0f s", gate.events, seconds)
    write_json(
        args.meta,
        {"backend": "conifer", "reuse": 1, **gate.counts(), "compiled": True, "seconds": round(seconds, 1)},
    )


if __name__ == "__main__":
    run_main(main)
