"""The simulation finds latency and mismatches by itself, on Verilog written by hand."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_json
from lhcml.firmware.buses import Bus
from lhcml.firmware.gates import compare_outputs
from lhcml.firmware.simulate_rtl import check_simulation, find_latency, main
from lhcml.firmware.stimuli import write_stimuli

# three numbers of 12 bits, 4 after the point: more than 32 bits, so a 64-bit port; two sums of 14 bits
INPUTS = Bus("model_inp", 3, 12, 4, True)
OUTPUTS = Bus("model_out", 2, 14, 4, True)
DESIGN = """\
module model_wrapper (input clk, input wire [35:0] model_inp, output reg [27:0] model_out);
    reg [35:0] first;
    reg [27:0] second;
    wire signed [11:0] a = first[11:0], b = first[23:12], c = first[35:24];
    wire signed [13:0] sum = a + b, rest = b - c @CONSTANT@;
    always @(posedge clk) begin
        first <= model_inp;
        second <= {rest, sum};
        model_out <= second;
    end
endmodule
"""


def answers(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what the design computes, in numbers."""
    return np.stack([values[:, 0] + values[:, 1], values[:, 1] - values[:, 2]], axis=1)


def write_case(folder: Path, constant: str = "") -> list[str]:
    """Write design, description and stimuli, and return the arguments of the command line."""
    (folder / "rtl/src").mkdir(parents=True)
    (folder / "rtl/src/model_wrapper.v").write_text(DESIGN.replace("@CONSTANT@", constant))
    description: dict[str, Any] = {
        "top": "model_wrapper", "inputs": INPUTS.describe(), "outputs": OUTPUTS.describe(), "latency_cycles": 3,
    }  # fmt: skip
    write_json(folder / "rtl.json", description)
    values = np.random.default_rng(1).integers(-2048, 2047, size=(500, 3), endpoint=True) / 16
    write_stimuli(folder / "stimuli.npz", values, answers(values), 0)
    return [
        "--project", str(folder / "rtl"), "--description", str(folder / "rtl.json"),
        "--stimuli", str(folder / "stimuli.npz"), "--output", str(folder / "simulation.json"),
    ]  # fmt: skip


def test_latency_is_measured_and_all_events_agree(tmp_path: Path) -> None:
    arguments = write_case(tmp_path)
    main(arguments)
    result = read_json(tmp_path / "simulation.json")
    assert result["events"] == 500
    assert result["mismatches"] == 0
    assert result["max_abs_diff"] == 0
    # three registers in a row: counted in the Verilog above
    assert result["latency_cycles"] == 3
    assert "erilator" in result["verilator"]


def test_a_wrong_constant_fails_the_job(tmp_path: Path) -> None:
    # the last bit of one output: 1/16
    arguments = write_case(tmp_path, constant="+ 14'sd1")
    with pytest.raises(UserError, match=r"in 500 of 500 events, at the latency of 3 cycles .*event 0, output 1"):
        main(arguments)
    assert not (tmp_path / "simulation.json").exists()


def test_a_wrong_statement_of_latency_fails_the_job() -> None:
    agreed = compare_outputs(np.zeros((5, 1)), np.zeros((5, 1)))
    check_simulation(agreed, 3, stated=3)
    with pytest.raises(UserError, match="latency of 3 cycles, its description says 4"):
        check_simulation(agreed, 3, stated=4)


def test_verilog_that_does_not_parse_shows_the_error_of_verilator(tmp_path: Path) -> None:
    arguments = write_case(tmp_path, constant="+ nothing")
    with pytest.raises(UserError, match="nothing"):
        main(arguments)


def test_a_missing_project_is_named(tmp_path: Path) -> None:
    arguments = write_case(tmp_path)
    shutil.rmtree(tmp_path / "rtl")
    with pytest.raises(UserError, match="no Verilog"):
        main(arguments)


@given(st.integers(1, 40), st.integers(1, 5), st.integers(-3, 8), st.booleans(), st.integers(0, 2**32 - 1))
def test_numbers_survive_the_bus(bits: int, count: int, fraction: int, signed: bool, seed: int) -> None:
    bus = Bus("port", count, bits, fraction, signed)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    words = np.random.default_rng(seed).integers(low, high, size=(4, count))
    values = words * 2.0**-fraction
    packed = bus.pack(values)
    assert packed.shape == (4, bus.words())
    np.testing.assert_array_equal(bus.unpack(packed), values)


def test_bits_of_the_bus_by_hand() -> None:
    # 1.5 = 0b011 in quarters is 6 -> 0110; -0.25 -> 1111; the first number in the lowest bits
    bus = Bus("port", 2, 4, 2, True)
    assert bus.pack(np.array([[1.5, -0.25]])).tolist() == [[0b1111_0110]]
    # finer than the grid: cut off downwards; out of range: wraps
    assert bus.pack(np.array([[-0.1, 2.0]])).tolist() == [[0b1000_1111]]
    assert Bus("port", 1, 4, 2, False).unpack(np.array([[0b1111]], np.uint32)).tolist() == [[3.75]]


def test_the_bus_refuses_other_numbers_of_columns_and_too_wide_words() -> None:
    with pytest.raises(UserError, match="takes 3 numbers"):
        INPUTS.pack(np.zeros((5, 4)))
    with pytest.raises(UserError, match="63 bits"):
        Bus("port", 1, 63, 0, True).pack(np.zeros((1, 1)))


def test_latency_is_the_first_shift_that_agrees() -> None:
    reference = np.arange(6.0)[:, None]
    waveform = np.concatenate([[[9.0], [9.0]], reference, [[9.0]] * 4])
    latency, comparison = find_latency(reference, waveform)
    # event 0 stands at the output after edge 2, the third
    assert latency == 3
    assert comparison.mismatches == 0


def test_a_single_wrong_event_is_told_at_the_best_latency() -> None:
    reference = np.arange(6.0)[:, None]
    waveform = np.concatenate([[[9.0]], reference, [[9.0]] * 4])
    waveform[4] = 3.5
    latency, comparison = find_latency(reference, waveform)
    assert latency == 2
    assert (comparison.mismatches, comparison.max_abs_diff) == (1, 0.5)
    assert comparison.first == "event 3, output 0: 3.0 expected, 3.5 found"


def test_a_constant_reference_proves_nothing() -> None:
    with pytest.raises(UserError, match="same answer for all events"):
        find_latency(np.ones((5, 1)), np.ones((9, 1)))


def test_nan_is_a_mismatch_of_infinite_size() -> None:
    comparison = compare_outputs(np.zeros((2, 1)), np.array([0.0, np.nan]))
    assert comparison.mismatches == 1
    # JSON has no infinity
    assert comparison.max_abs_diff == np.finfo(np.float64).max
