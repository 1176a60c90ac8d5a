"""Write a quantised model as Verilog, by distributed arithmetic (alkaid).

Products with constants become shifts and adders that outputs share, so that no multiplier is needed for a weight; the
whole is cut into stages by registers and takes a new event each clock. Before anything is written, the traced logic is
compared with the reference on all stimuli. docs/firmware_rtl.md describes the delay model and the ports.

By hand:
  python -m lhcml.firmware.write_rtl --model model.keras --encoding encoding.json --stimuli stimuli.npz \
    --clock-mhz 240 --part xcvu9p-flga2104-2L-e --project rtl --output rtl.json
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_json
from lhcml.firmware.buses import Bus
from lhcml.firmware.encoding import Encoding, read_encoding
from lhcml.firmware.gates import compare_outputs
from lhcml.firmware.load_network import load_network
from lhcml.firmware.stimuli import Stimuli, read_stimuli

NAME = "model"
# share of the clock period that is left for jitter and skew; the constraints that are written have the same
UNCERTAINTY = 0.1
# alkaid's testbench, which takes certain builds of Verilator only, and copies of the logic that hold the time of day
NOT_KEPT = ("sim", "model")


def trace_network(model: Any, encoding: Encoding) -> Any:
    """Return the logic of a quantised Keras model as an alkaid `CombLogic`.

    The ports take the words of the encoding: what the first quantiser does with them is part of the logic.

    Raises
    ------
    UserError
        If alkaid has no logic for a layer.
    """
    from alkaid.converter import trace_model
    from alkaid.trace import trace

    words = (1, encoding.integer - 1, encoding.bits - encoding.integer)
    try:
        return trace(*trace_model(model, inputs_kif=words))
    except Exception as error:  # alkaid raises many types on a layer that it does not know
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        layers = ", ".join(f"{layer.name} ({type(layer).__name__})" for layer in model.layers)
        raise UserError(
            f"alkaid cannot turn the model into logic: {reason}; its layers: {layers}",
            "build it from quantised layers that alkaid knows: QDense, QDot, QMultiply, QAdd, QSubtract, "
            "QUnaryFunctionLUT",
        ) from error


def check_trace(logic: Any, stimuli: Stimuli) -> None:
    """Raise a UserError unless the logic answers as the reference on all stimuli."""
    gate = compare_outputs(stimuli.outputs, logic.predict(stimuli.inputs))
    if gate.mismatches:
        raise UserError(
            f"the logic differs from the quantised model in {gate.mismatches} of {gate.events} events; {gate.first}",
            "look for quantisers of 1 bit that wrap (alkaid's `canonicalize_msb_wraps` may corrupt them): train with "
            "at least 2 bits an activation; else reduce the model until the layer that differs is found",
        )


def stage_delays(project: Any) -> list[float]:
    """Return the estimated delay of each stage in ns, logic and wires between two registers."""
    from alkaid.trace.passes import add_surrogate

    return [
        max((float(op.latency) for op in add_surrogate(logic, _skip_op8_cost=True).ops), default=0.0)
        for logic in project.fsm.logic.values()
    ]


def bus_of(signal: Any) -> Bus:
    """Return the port of the wrapper for a signal of alkaid: its numbers all have the widest format among them."""
    signed = any(word.signed for word in signal.precisions)
    integer = max(word.integers for word in signal.precisions)
    fraction = max(word.fractional for word in signal.precisions)
    return Bus(signal.name, len(signal.precisions), int(signed) + integer + fraction, fraction, signed)


def write_project(logic: Any, folder: Path, clock_mhz: float, part: str) -> dict[str, Any]:
    """Write the Verilog and return what describes it.

    Parameters
    ----------
    logic : alkaid.types.CombLogic
        What to write.
    folder : path
        Folder of the project; what is in it is replaced.
    clock_mhz : float
        Clock in MHz.
    part : str
        Device, for the scripts of the vendor.

    Raises
    ------
    UserError
        If the clock is not positive.
    """
    from alkaid.codegen import RTLModel

    if not clock_mhz > 0:
        raise UserError(f"clock of {clock_mhz} MHz", "set `clock_mhz` to the clock of the firmware, e.g. 240")
    period = 1000 / clock_mhz
    shutil.rmtree(folder, ignore_errors=True)
    project = RTLModel(
        logic, folder, NAME, flavor="verilog", part_name=part, clock_period=period, clock_uncertainty=UNCERTAINTY,
        latency_cutoff=(1 - UNCERTAINTY) * period,
    )  # fmt: skip
    project.write()
    for name in (*NOT_KEPT, "metadata.json"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (inputs,), (outputs,) = project.fsm.inp_signals, project.fsm.out_signals
    latency = int(outputs.schedule.bias)
    slowest = max(stage_delays(project))
    return {
        "top": f"{NAME}_wrapper",
        "latency_cycles": latency,
        "initiation_interval": 1,
        "clock_mhz": clock_mhz,
        "latency_ns": round(latency * period, 3),
        "inputs": bus_of(inputs).describe(),
        "outputs": bus_of(outputs).describe(),
        "register_bits": int(project.reg_bits),
        "estimated_lut": math.ceil(sum(block.cost for block in project.fsm.logic.values())),
        "slowest_stage_ns": round(slowest, 3),
        "clock_mhz_without_retiming": round(1000 * (1 - UNCERTAINTY) / slowest, 1) if slowest else None,
    }


def trace_file(path: Path, encoding: Path | None) -> Any:
    """Return the logic of a network (`.keras`) or of trees (`.json`).

    Raises
    ------
    UserError
        If the file cannot be read, or the encoding of a network is not given.
    """
    if path.suffix == ".json":
        from lhcml.firmware.trace_trees import trace_trees

        return trace_trees(read_json(path))
    if encoding is None:
        raise UserError("the format of the inputs of a network is not known", "give `--encoding encoding.json`")
    return trace_network(load_network(path), read_encoding(encoding))


def main(argv: Sequence[str] | None = None) -> None:
    """Trace a model, compare, write the Verilog."""
    parser = make_parser(__doc__)
    parser.add_argument("--model", required=True, type=Path, help="quantised network (.keras) or trees (.json)")
    parser.add_argument("--encoding", type=Path, help="encoding.json; for a network")
    parser.add_argument("--stimuli", required=True, type=Path, help="stimuli.npz")
    parser.add_argument("--clock-mhz", required=True, type=float, help="clock of the firmware")
    parser.add_argument("--part", required=True, help="device, for the vendor's scripts")
    parser.add_argument("--project", required=True, type=Path, help="folder to write")
    parser.add_argument("--output", required=True, type=Path, help="description to write, JSON")
    args = parser.parse_args(argv)
    log = start_log("alkaid", "hgq2", "keras", "torch", "numpy")
    stimuli = read_stimuli(args.stimuli)
    logic = trace_file(args.model, args.encoding)
    check_trace(logic, stimuli)
    log.info("the traced logic equals the quantised model on %d events", len(stimuli.inputs))
    document = write_project(logic, args.project, args.clock_mhz, args.part)
    log.info("%(latency_cycles)d cycles, %(register_bits)d register bits, about %(estimated_lut)d LUT", document)
    if document["slowest_stage_ns"] > 1000 / args.clock_mhz * (1 - UNCERTAINTY):
        log.warning(
            "the slowest stage takes an estimated %.2f ns of a period of %.2f ns: synthesis must move registers "
            "(retiming), as the written script asks of Vivado",
            document["slowest_stage_ns"], 1000 / args.clock_mhz,
        )  # fmt: skip
    write_json(args.output, document)


if __name__ == "__main__":
    run_main(main)
