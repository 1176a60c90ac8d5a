"""Resources are counted, on Verilog whose flip-flops can be counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_json
from lhcml.firmware import place_rtl, synthesise_rtl
from lhcml.firmware.place_rtl import check_size, read_report
from lhcml.firmware.synthesise_rtl import count_cells, count_pass_through, find_family

# 16 flip-flops hold the inputs, 8 the sum
ADDER = """\
module model_wrapper (input clk, input wire [15:0] model_inp, output reg [7:0] model_out);
    reg [15:0] held;
    always @(posedge clk) begin
        held <= model_inp;
        model_out <= held[7:0] + held[15:8];
    end
endmodule
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "rtl"
    (folder / "src").mkdir(parents=True)
    (folder / "src/model_wrapper.v").write_text(ADDER)
    write_json(tmp_path / "rtl.json", {"top": "model_wrapper", "clock_mhz": 100.0})
    return folder


def test_an_adder_of_8_bits(project: Path, tmp_path: Path) -> None:
    output = tmp_path / "synthesis.json"
    synthesise_rtl.main(
        [
            "--project", str(project), "--description", str(tmp_path / "rtl.json"),
            "--part", "xcvu9p-flga2104-2L-e", "--output", str(output),
        ]
    )  # fmt: skip
    result = read_json(output)
    assert result["family"] == "UltraScale+"
    assert "Yosys" in result["tool"]
    assert result["ff"] == 24
    # a LUT a bit for the exclusive or of the summands, and two carry cells of 4 bits
    assert result["lut"] == 8
    assert result["carry"] == 2
    assert (result["dsp"], result["bram"], result["srl"]) == (0, 0, 0)
    assert result["pass_through"] == 0
    # LUT, carry, carry
    assert result["depth"] == 3
    assert sum(result["cells"].values()) == 24 + 8 + 2


def test_an_adder_on_ecp5(project: Path, tmp_path: Path) -> None:
    output = tmp_path / "timing.json"
    place_rtl.main(
        ["--project", str(project), "--description", str(tmp_path / "rtl.json"), "--seed", "1", "--output", str(output)]
    )
    result = read_json(output)
    assert result["ff"] == 24
    # 8 bits of carry, each a LUT4; the tool adds a cell of two at each end of a chain, and drivers of constants
    assert 8 <= result["lut4"] <= 16
    # an adder of 8 bits in 40 nm: a nanosecond of logic and some of wires
    assert 100 < result["fmax_mhz"] < 700
    assert "nextpnr" in result["tool"]
    assert "indication" in result["note"]


def test_verilog_without_its_module_shows_the_error_of_yosys(project: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"failed with status[\s\S]*other_top"):
        synthesise_rtl.synthesise(project, "other_top", "xcup")


def test_cells_are_counted_by_kind() -> None:
    cells = {
        "LUT1": 1, "LUT2": 2, "LUT6": 6, "INV": 3, "FDRE": 10, "FDSE": 1, "CARRY4": 5, "DSP48E2": 2, "SRL16E": 4,
        "RAMB18E2": 3, "RAMB36E2": 1, "MUXF7": 7, "IBUF": 9, "LUT6_2": 11,
    }  # fmt: skip
    assert count_cells(cells) == {"lut": 12, "srl": 4, "ff": 11, "carry": 5, "dsp": 2, "bram": 2.5}


def test_luts_that_lead_into_a_carry_chain_are_counted() -> None:
    carry = {"type": "CARRY4", "connections": {"S": [7, 8, 9, "0"], "O": [1, 2, 3, 4]}}
    other = {"type": "CARRY4", "connections": {"S": [7, "0", "0", "0"], "O": [11, 12, 13, 14]}}
    lut = {"type": "LUT2", "connections": {"I0": [5], "I1": [6], "O": [7]}}
    # of the bits 7, 8, 9 and 7 again, one is the LUT's own
    assert count_pass_through([carry, other, lut]) == 3
    assert count_pass_through([lut]) == 0


@pytest.mark.parametrize(
    ("part", "family"),
    [
        ("xcvu9p-flga2104-2L-e", "xcup"),
        ("xcvu13p-flga2577-2-e", "xcup"),
        ("XCKU15P-ffva1156-2-e", "xcup"),
        ("xcku115-flvb2104-2-i", "xcu"),
        ("xc7vx690tffg1927-2", "xc7"),
        ("xczu7ev-ffvc1156-2-e", "xcup"),
    ],
)
def test_the_family_follows_from_the_part(part: str, family: str) -> None:
    assert find_family(part)[0] == family


def test_an_unknown_part_is_named() -> None:
    with pytest.raises(UserError, match="10CX220"):
        find_family("10CX220YF780I5G")


def test_what_is_too_large_is_not_placed() -> None:
    assert check_size({"LUT4": 100, "CCU2C": 10, "TRELLIS_FF": 5}) == 120
    with pytest.raises(UserError, match="takes 50000 LUT4"):
        check_size({"LUT4": 10_000, "CCU2C": 20_000})


def test_a_design_without_registers_has_no_clock() -> None:
    with pytest.raises(UserError, match="no path between registers"):
        read_report({"fmax": {}, "utilization": {}})
