"""Simulate the Verilog of a model cycle by cycle (Verilator) and compare with the quantised model, bit by bit.

A new event enters each clock. The latency is measured: it is the first delay at which the outputs are those of the
reference for all events, whatever the writer of the Verilog says of it, and then must be what it says.

By hand:
  python -m lhcml.firmware.simulate_rtl --project rtl --description rtl.json --stimuli stimuli.npz --threads 2 \
    --output simulation.json
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_json
from lhcml.firmware.buses import Bus
from lhcml.firmware.gates import Comparison, compare_outputs
from lhcml.firmware.stimuli import Stimuli, read_stimuli
from lhcml.firmware.testbench import testbench
from lhcml.firmware.tools import copy_sources, find_compiler, find_verilator, run_tool, tool_version

# clocks after the last event: the longest latency that can be found
LONGEST_LATENCY = 256


@dataclass(frozen=True)
class Waveform:
    """Numbers on the output port after each clock edge, shape (edges, outputs), and how long it took to get them."""

    outputs: NDArray[np.float64]
    build_seconds: float
    run_seconds: float


def make_settings() -> list[str]:
    """Return variables for the makefile that Verilator writes.

    It holds the compiler of where Verilator itself was built, and for some builds not how to include a precompiled
    header; both are given here for g++. Not optimised: a run takes a second, a compilation most of a minute.
    """
    compiler = find_compiler()
    return [
        f"CXX={compiler}", f"LINK={compiler}", "CFG_CXXFLAGS_PCH_I=-include", "CFG_GCH_IF_CLANG=",
        "CFG_LDLIBS_THREADS=-pthread", "OPT_FAST=-O0", "OPT_SLOW=-O0", "OPT_GLOBAL=-O0",
    ]  # fmt: skip


def simulate(project: Path, top: str, inputs: Bus, outputs: Bus, values: NDArray[np.float64], threads: int) -> Waveform:
    """Simulate a project with a new event each clock.

    Parameters
    ----------
    project : path
        Folder with the Verilog in `src`.
    top : str
        Module to simulate; it has a port `clk`, one input and one output.
    inputs, outputs : Bus
        Its ports.
    values : array, shape (events, inputs)
        Numbers on the input.
    threads : int
        Compilers at a time.

    Raises
    ------
    UserError
        If a program is missing or fails.
    """
    verilator = find_verilator()
    with tempfile.TemporaryDirectory(prefix="lhcml-") as name:
        folder = Path(name)
        sources = copy_sources(project, folder)
        (folder / "testbench.cpp").write_text(testbench(top, inputs, outputs), encoding="utf-8")
        inputs.pack(values).tofile(folder / "inputs.bin")
        begin = time.monotonic()
        run_tool(
            [
                verilator, "--cc", "--exe", "--top-module", top, "--Mdir", "build", "-o", "simulation",
                # style of generated code, e.g. bits that nothing reads, is no error
                "-Wno-fatal", "testbench.cpp", *sources,
            ],
            folder, folder / "verilator.log",
        )  # fmt: skip
        run_tool(
            ["make", "-C", "build", "-f", f"V{top}.mk", "-j", str(threads), *make_settings()],
            folder,
            folder / "make.log",
        )
        built = time.monotonic()
        run_tool([folder / "build/simulation", str(len(values)), str(LONGEST_LATENCY)], folder, folder / "run.log")
        words = np.fromfile(folder / "outputs.bin", dtype="<u4").reshape(-1, outputs.words())
        done = time.monotonic()
    return Waveform(outputs.unpack(words), built - begin, done - built)


def find_latency(reference: NDArray[np.float64], waveform: NDArray[np.float64]) -> tuple[int, Comparison]:
    """Return the first latency at which all events agree, or else the one at which most do, and the comparison there.

    Parameters
    ----------
    reference : array, shape (events, outputs)
        Outputs of the quantised model.
    waveform : array, shape (edges, outputs)
        Numbers on the output port after each clock edge. Event 0 stands at the input before edge 0.

    Returns
    -------
    latency : int
        Clock edges from inputs standing at the input port to their result standing at the output port.
    comparison : Comparison
        At this latency.

    Raises
    ------
    UserError
        If the reference answers all events alike: every latency would agree.
    """
    if len(reference) < 2 or (reference == reference[0]).all():
        raise UserError(
            "the quantised model gives the same answer for all events: no latency can be measured, nothing compared",
            "quantise less coarsely or prune less; a larger budget of bits",
        )
    events = len(reference)

    def disagreement(latency: int) -> tuple[int, float]:
        difference = np.abs(waveform[latency - 1 : latency - 1 + events] - reference)
        return int(np.count_nonzero(difference.any(axis=1))), float(difference.sum())

    # the size of the difference decides where no latency fits, so that the message tells of the right one
    best = min(range(1, len(waveform) - events + 2), key=disagreement)
    return best, compare_outputs(reference, waveform[best - 1 : best - 1 + events])


def check_simulation(comparison: Comparison, latency: int, stated: int) -> None:
    """Raise a UserError unless the simulation agrees with the reference, at the stated latency."""
    if comparison.mismatches:
        raise UserError(
            f"the simulated Verilog differs from the quantised model in {comparison.mismatches} of "
            f"{comparison.events} events, at the latency of {latency} cycles where it differs least; "
            f"{comparison.first}",
            "do not use this firmware; make the RTL again, and if it stays, report model and event to alkaid",
        )
    if latency != stated:
        raise UserError(
            f"the simulated Verilog has a latency of {latency} cycles, its description says {stated}",
            "make the RTL and its description again",
        )


def run_gate(project: Path, description: dict[str, Any], stimuli: Stimuli, threads: int) -> dict[str, Any]:
    """Simulate all stimuli, compare, and return what `simulation.json` holds.

    Raises
    ------
    UserError
        If an event differs, or the latency is not the stated one.
    """
    inputs, outputs = Bus(**description["inputs"]), Bus(**description["outputs"])
    waveform = simulate(project, description["top"], inputs, outputs, stimuli.inputs, threads)
    latency, comparison = find_latency(stimuli.outputs, waveform.outputs)
    check_simulation(comparison, latency, description["latency_cycles"])
    return {
        **comparison.counts(),
        "latency_cycles": latency,
        "initiation_interval": 1,
        "verilator": tool_version(find_verilator()),
        "build_seconds": round(waveform.build_seconds, 2),
        "run_seconds": round(waveform.run_seconds, 3),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Simulate a project and compare."""
    parser = make_parser(__doc__)
    parser.add_argument("--project", required=True, type=Path, help="folder of the Verilog")
    parser.add_argument("--description", required=True, type=Path, help="rtl.json")
    parser.add_argument("--stimuli", required=True, type=Path, help="stimuli.npz")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", required=True, type=Path, help="result to write, JSON")
    args = parser.parse_args(argv)
    log = start_log("numpy")
    result = run_gate(args.project, read_json(args.description), read_stimuli(args.stimuli), args.threads)
    log.info(
        "%(events)d events, no mismatch, latency %(latency_cycles)d cycles; built in %(build_seconds).1f s, "
        "run in %(run_seconds).2f s",
        result,
    )
    write_json(args.output, result)


if __name__ == "__main__":
    run_main(main)
