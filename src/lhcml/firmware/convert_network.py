"""Write a quantised network as an HLS project (hls4ml), and run its C++ emulation against the quantised model.

The project holds the vendor's scripts: `vitis_hls -f build_prj.tcl`, or `cmake` and `make` with oneAPI. Formats of all
intermediate numbers are derived from the quantisers, so the emulation must agree in every bit, also where weights share
multipliers (reuse factor above 1). docs/firmware_rtl.md tells how to run the vendor's tools.

By hand:
  python -m lhcml.firmware.convert_network --model model.keras --stimuli stimuli.npz --backend vitis --reuse 1 \
    --clock-mhz 240 --part xcvu9p-flga2104-2L-e --project hls/vitis_reuse1 --output hls/vitis_reuse1.json
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import write_json
from lhcml.firmware.gates import Comparison, compare_outputs
from lhcml.firmware.load_network import load_network
from lhcml.firmware.stimuli import Stimuli, read_stimuli
from lhcml.firmware.tools import COMPILER_FIX, find_compiler

# name in the configuration -> name in hls4ml
BACKENDS = {"vitis": "Vitis", "oneapi": "oneAPI"}
# copies of the model, and the compiled emulation, which knows the folder it was made in
NOT_KEPT = ("keras_model.keras", "hls4ml_config.yml", "firmware/*.so", "**/__pycache__")
STAMP = "emulation"
# with oneAPI, the bridge names its classes by the stamp
STAMPED = ("build_lib.sh", "CMakeLists.txt", "src/*_bridge.cpp")


def supported_layers() -> list[str]:
    """Return the names of the quantised layers that hls4ml converts."""
    from hls4ml.converters.keras_v3 import layer_handlers

    return sorted({name.rsplit(".", 1)[-1] for name in layer_handlers if name.startswith("hgq.")})


def require_supported(model: Any) -> None:
    """Raise a UserError naming the layers of a model that hls4ml does not convert, and what it does."""
    from hls4ml.converters.keras_v3 import layer_handlers

    unknown = [
        f"{layer.name} ({type(layer).__name__})"
        for layer in model.layers
        if not {type(layer).__name__, f"{type(layer).__module__}.{type(layer).__name__}"} & set(layer_handlers)
    ]
    if unknown:
        raise UserError(
            f"hls4ml does not convert the layers {', '.join(unknown)}",
            f"build the model from layers that it converts: {', '.join(supported_layers())}",
        )


def convert(model: Any, folder: Path, backend: str, reuse: int, clock_mhz: float, part: str) -> Any:
    """Write the HLS project of a model and return it as an hls4ml `ModelGraph`.

    Parameters
    ----------
    model : keras.Model
        Quantised network.
    folder : path
        Folder of the project; what is in it is replaced.
    backend : str
        "vitis" or "oneapi".
    reuse : int
        Times a multiplier is used for an event; a layer for which it is not possible takes the nearest that is.
    clock_mhz : float
        Clock in MHz.
    part : str
        Device, of the Vitis backend.

    Raises
    ------
    UserError
        If a layer is not supported, or clock or reuse factor are no such.
    """
    if reuse < 1 or not clock_mhz > 0:
        raise UserError(
            f"reuse factor {reuse} and clock of {clock_mhz} MHz", "set `reuse` to 1 or more, `clock_mhz` above 0"
        )
    require_supported(model)
    from hls4ml.converters import convert_from_keras_model

    shutil.rmtree(folder, ignore_errors=True)
    device = {"part": part} if backend == "vitis" else {}
    try:
        graph = convert_from_keras_model(
            model,
            output_dir=str(folder),
            project_name="model",
            backend=BACKENDS[backend],
            # with multipliers of its own for each product, or shared ones
            hls_config={"Model": {"ReuseFactor": reuse, "Strategy": "Latency" if reuse == 1 else "Resource",
                                  "Precision": "ap_fixed<16,6>"}},
            io_type="io_parallel",
            clock_period=1000 / clock_mhz,
            # formats come from the quantisers; the precision above stands for what has none, which here is nothing
            bit_exact=True,
            # a layer is converted as such, or not
            allow_da_fallback=False,
            **device,
        )  # fmt: skip
        graph.write()
    except Exception as error:  # hls4ml raises plain exceptions
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        layers = ", ".join(f"{layer.name} ({type(layer).__name__})" for layer in model.layers)
        raise UserError(
            f"hls4ml cannot convert the model: {reason}; its layers: {layers}",
            f"build it from layers that hls4ml converts: {', '.join(supported_layers())}",
        ) from error
    return graph


def emulate(graph: Any, stimuli: Stimuli) -> Comparison:
    """Compile the C++ emulation of a project, run it on all stimuli and compare.

    Raises
    ------
    UserError
        If the compiler is missing or fails, or an event differs.
    """
    find_compiler()
    try:
        graph.compile()
    except Exception as error:  # hls4ml raises plain exceptions
        raise UserError(
            f"the emulation does not compile: {error}", f"see the compiler's lines above; {COMPILER_FIX}"
        ) from error
    gate = compare_outputs(stimuli.outputs, graph.predict(np.ascontiguousarray(stimuli.inputs, dtype=np.float32)))
    if gate.mismatches:
        raise UserError(
            f"the HLS emulation differs from the quantised model in {gate.mismatches} of {gate.events} events; "
            f"{gate.first}",
            "do not use this project; look for a number without a quantiser, whose format hls4ml has to guess",
        )
    return gate


def clean(folder: Path, stamp: str) -> None:
    """Remove from a project what depends on where and when it was made: files, and the random stamp."""
    for pattern in NOT_KEPT:
        for path in folder.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for pattern in STAMPED:
        for path in folder.glob(pattern):
            path.write_text(path.read_text(encoding="utf-8").replace(stamp, STAMP), encoding="utf-8")


def layer_reuse(graph: Any) -> dict[str, int]:
    """Return the reuse factor that each layer with weights was given."""
    return {
        str(layer.name): int(layer.get_attr("reuse_factor"))
        for layer in graph.get_layers()
        if layer.get_attr("strategy")
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Convert, emulate where the compiler is at hand, compare."""
    parser = make_parser(__doc__)
    parser.add_argument("--model", required=True, type=Path, help="quantised network (.keras)")
    parser.add_argument("--stimuli", required=True, type=Path, help="stimuli.npz")
    parser.add_argument("--backend", required=True, choices=sorted(BACKENDS))
    parser.add_argument("--reuse", required=True, type=int, help="reuse factor")
    parser.add_argument("--clock-mhz", required=True, type=float, help="clock of the firmware")
    parser.add_argument("--part", required=True, help="device, of the Vitis backend")
    parser.add_argument("--project", required=True, type=Path, help="folder to write")
    parser.add_argument("--output", required=True, type=Path, help="result of the comparison, JSON")
    args = parser.parse_args(argv)
    log = start_log("hls4ml", "hgq2", "keras", "torch", "numpy")
    stimuli = read_stimuli(args.stimuli)
    begin = time.monotonic()
    graph = convert(load_network(args.model), args.project, args.backend, args.reuse, args.clock_mhz, args.part)
    document = {"backend": args.backend, "reuse": args.reuse, "layer_reuse": layer_reuse(graph)}
    # the emulation with oneAPI needs its compiler; Vitis projects bring their own headers and compile with any
    if args.backend == "vitis" or shutil.which("icpx"):
        gate = emulate(graph, stimuli)
        log.info("the emulation equals the quantised model on %d events", gate.events)
        document |= {**gate.counts(), "compiled": True}
    else:
        log.warning("no compiler `icpx` on PATH: the oneAPI project is written, but not emulated")
        document |= {"events": 0, "mismatches": None, "max_abs_diff": None, "compiled": False}
    clean(args.project, graph.config.get_config_value("Stamp"))
    write_json(args.output, {**document, "seconds": round(time.monotonic() - begin, 2)})


if __name__ == "__main__":
    run_main(main)
