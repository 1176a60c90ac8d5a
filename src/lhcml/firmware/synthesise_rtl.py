"""Synthesise the Verilog of a model with Yosys and count what it takes: LUTs, flip-flops, carry chains, multipliers.

The count is made before placement, out of context. docs/firmware_rtl.md says how it compares with a vendor's tool.

By hand:
  python -m lhcml.firmware.synthesise_rtl --project rtl --description rtl.json --part xcvu9p-flga2104-2L-e \
    --output synthesis.json
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_json
from lhcml.firmware.tools import copy_sources, find_yosys, run_tool, tool_version

# part numbers of AMD -> family of Yosys and what it is called
FAMILIES = (
    (r"xc(vu\d+p|ku\d+p|zu\d|au\d)", "xcup", "UltraScale+"),
    (r"xc(vu|ku)\d", "xcu", "UltraScale"),
    (r"xc7[aksvz]", "xc7", "7 series"),
)
# steps of the synthesis, without their sub-steps
STEPS = r"^\d+(\.\d+)?\. Executing"
SCRIPT = """\
read_verilog -sv {sources}
synth_xilinx -family {family} -top {top} -flatten -noiopad -noclkbuf
tee -q -o stat.json stat -json
tee -q -o path.txt ltp -noff */t:FD* */t:SRL* %u %n
setattr -unset src */*
select t:LUT* t:INV t:CARRY4
write_json -selected netlist.json
"""


def find_family(part: str) -> tuple[str, str]:
    """Return the family of a part, as Yosys calls it and as its vendor does.

    Raises
    ------
    UserError
        If Yosys does not synthesise for it.
    """
    for pattern, family, label in FAMILIES:
        if re.match(pattern, part.lower()):
            return family, label
    raise UserError(
        f"part {part!r} is of no family that is synthesised here",
        "set `part` to one of UltraScale+, UltraScale or 7 series, e.g. xcvu9p-flga2104-2L-e",
    )


def count_cells(cells: Mapping[str, int]) -> dict[str, float]:
    """Return the resources in the cells of a netlist for AMD devices.

    Parameters
    ----------
    cells : mapping
        Type of cell -> number.

    Returns
    -------
    dict
        `lut`: LUT1 to LUT6 and inverters, each a LUT of its own (two small ones may share a LUT6: an upper figure), but
        not the LUTs that only lead a signal into a carry chain; `srl`: LUTs used as shift registers; `ff`; `carry` in
        units of 4 bits (CARRY4); `dsp`; `bram` in units of 36 kbit.
    """

    def number(pattern: str) -> int:
        return sum(count for cell, count in cells.items() if re.fullmatch(pattern, cell))

    return {
        "lut": number(r"LUT[1-6]|INV"),
        "srl": number(r"SRL16E?|SRLC32E"),
        "ff": number(r"FD[RSCP]E?(_1)?"),
        "carry": number(r"CARRY4") + 2 * number(r"CARRY8"),
        "dsp": number(r"DSP48E[12]?"),
        "bram": number(r"RAMB36E[12]") + 0.5 * number(r"RAMB18E[12]"),
    }


def count_pass_through(cells: Iterable[Mapping[str, Any]]) -> int:
    """Return the number of LUTs that do nothing but lead a signal into a carry chain.

    The select input of each bit of a chain comes from the LUT of that bit and from nowhere else; Yosys shows none where
    the signal is that of a register, or of a LUT that already stands at another bit.

    Parameters
    ----------
    cells : iterable of mapping
        LUTs, inverters and CARRY4 of the netlist, as Yosys writes them to JSON. Bits of signals are integers.
    """
    selects, outputs = [], set()
    for cell in cells:
        if cell["type"] == "CARRY4":
            # a constant needs no signal
            selects += [bit for bit in cell["connections"]["S"] if isinstance(bit, int)]
        else:
            outputs.update(cell["connections"]["O"])
    return len(selects) - len(outputs & set(selects))


def synthesise(project: Path, top: str, family: str) -> dict[str, Any]:
    """Return the resources of a design and its logic depth.

    Parameters
    ----------
    project : path
        Folder with the Verilog in `src`.
    top : str
        Module to synthesise.
    family : str
        Family of Yosys.

    Returns
    -------
    dict
        `lut` with those of `count_pass_through`, `srl`, `ff`, `carry`, `dsp`, `bram` (see `count_cells`),
        `pass_through`, `depth`, the largest number of cells on a path between registers, a carry chain of 4 bits being
        one cell, and `cells`, the netlist's.

    Raises
    ------
    UserError
        If Yosys is missing or fails.
    """
    yosys = find_yosys()
    with tempfile.TemporaryDirectory(prefix="lhcml-") as name:
        folder = Path(name)
        script = SCRIPT.format(sources=" ".join(copy_sources(project, folder)), family=family, top=top)
        (folder / "synthesis.ys").write_text(script, encoding="utf-8")
        run_tool([yosys, "-s", "synthesis.ys"], folder, folder / "yosys.log", STEPS)
        found = read_json(folder / "stat.json")["design"]["num_cells_by_type"]
        netlist = read_json(folder / "netlist.json")["modules"]
        path = (folder / "path.txt").read_text(encoding="utf-8")
    # names of the source that Yosys keeps as cells of no size
    cells = {cell: int(count) for cell, count in found.items() if not cell.startswith("$scope")}
    pass_through = count_pass_through(netlist[top]["cells"].values()) if top in netlist else 0
    counts = count_cells(cells)
    counts["lut"] += pass_through
    longest = re.search(r"Longest topological path in .*\(length=(\d+)\)", path)
    # no path is found where registers are chained without logic
    return {**counts, "pass_through": pass_through, "depth": int(longest[1]) if longest else 0, "cells": cells}


def main(argv: Sequence[str] | None = None) -> None:
    """Synthesise a project and write the counts."""
    parser = make_parser(__doc__)
    parser.add_argument("--project", required=True, type=Path, help="folder of the Verilog")
    parser.add_argument("--description", required=True, type=Path, help="rtl.json")
    parser.add_argument("--part", required=True, help="device; its family is what counts")
    parser.add_argument("--output", required=True, type=Path, help="counts to write, JSON")
    args = parser.parse_args(argv)
    log = start_log()
    family, label = find_family(args.part)
    begin = time.monotonic()
    counts = synthesise(args.project, read_json(args.description)["top"], family)
    log.info(
        "%(lut)d LUT, %(ff)d FF, %(carry)d CARRY4, %(dsp)d DSP, %(bram)g BRAM, depth %(depth)d cells", counts
    )  # fmt: skip
    log.info("synthesised in %.1f s", time.monotonic() - begin)
    write_json(args.output, {"tool": tool_version(find_yosys()), "family": label, **counts})


if __name__ == "__main__":
    run_main(main)
