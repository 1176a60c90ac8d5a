"""Place and route the Verilog of a model on a Lattice ECP5, the one device at hand with an open timing model.

The ECP5 is made in 40 nm and far slower than the devices that triggers use: its clock is an indication, and good for
comparing two models. The model is placed alone, without pads; paths between registers count.

By hand:
  python -m lhcml.firmware.place_rtl --project rtl --description rtl.json --seed 1 --output timing.json
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhcml.common.cli import make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_json
from lhcml.firmware.synthesise_rtl import STEPS
from lhcml.firmware.tools import copy_sources, find_nextpnr, find_yosys, run_tool, tool_version

DEVICE = "LFE5U-85F-8"
OPTIONS = ("--85k", "--speed", "8", "--package", "CABGA756")
# above this, place-and-route takes an hour or fails for want of room; the device has 83640
LARGEST = 40_000
CAVEAT = "ECP5 (40 nm) is another and slower family than the target: an indication, not the clock that will be reached"


def check_size(cells: Mapping[str, int]) -> int:
    """Return the number of LUT4s of a netlist for ECP5; a carry cell takes two.

    Raises
    ------
    UserError
        If it is too large to be placed.
    """
    size = cells.get("LUT4", 0) + 2 * cells.get("CCU2C", 0)
    if size > LARGEST:
        raise UserError(
            f"the design takes {size} LUT4 of an ECP5, more than the {LARGEST} that are placed in reasonable time",
            "leave the timing on ECP5 out, or choose a point with fewer bits",
        )
    return size


def read_report(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `timing.json` says, from the report of nextpnr.

    Raises
    ------
    UserError
        If no path between registers was timed.
    """
    clocks = list(report["fmax"].values())
    if not clocks:
        raise UserError(
            "nextpnr timed no path between registers", "pipeline the design: a lower clock has fewer stages"
        )
    used = {name: int(count["used"]) for name, count in report["utilization"].items()}
    return {
        "fmax_mhz": round(min(float(clock["achieved"]) for clock in clocks), 2),
        "lut4": used["TRELLIS_COMB"],
        "ff": used["TRELLIS_FF"],
        "multipliers": used["MULT18X18D"],
        "bram": used["DP16KD"],
    }


def place(project: Path, top: str, clock_mhz: float, seed: int) -> dict[str, Any]:
    """Synthesise for ECP5, place and route.

    Parameters
    ----------
    project : path
        Folder with the Verilog in `src`.
    top : str
        Top module.
    clock_mhz : float
        Clock to aim at.
    seed : int
        Seed of the placement; the clock depends on it by some per cent.

    Raises
    ------
    UserError
        If a program is missing or fails, or the design is too large.
    """
    yosys, nextpnr = find_yosys(), find_nextpnr()
    with tempfile.TemporaryDirectory(prefix="lhcml-") as name:
        folder = Path(name)
        sources = " ".join(copy_sources(project, folder))
        (folder / "synthesis.ys").write_text(
            f"read_verilog -sv {sources}\n"
            f"synth_ecp5 -top {top} -noiopad -json netlist.json\n"
            "tee -q -o stat.json stat -json\n",
            encoding="utf-8",
        )
        run_tool([yosys, "-s", "synthesis.ys"], folder, folder / "yosys.log", STEPS)
        check_size(read_json(folder / "stat.json")["design"]["num_cells_by_type"])
        run_tool(
            [
                nextpnr, *OPTIONS, "--out-of-context", "--json", "netlist.json", "--report", "report.json",
                # the clock that is reached is wanted, whether or not it is the one aimed at
                "--freq", str(clock_mhz), "--timing-allow-fail", "--seed", str(seed),
            ],
            folder, folder / "nextpnr.log", r"Max frequency|Placed \d+ cells|Routing\.\.",
        )  # fmt: skip
        return read_report(read_json(folder / "report.json"))


def main(argv: Sequence[str] | None = None) -> None:
    """Place and route a project and write its clock."""
    parser = make_parser(__doc__)
    parser.add_argument("--project", required=True, type=Path, help="folder of the Verilog")
    parser.add_argument("--description", required=True, type=Path, help="rtl.json")
    parser.add_argument("--seed", required=True, type=int, help="seed of the placement")
    parser.add_argument("--output", required=True, type=Path, help="timing to write, JSON")
    args = parser.parse_args(argv)
    log = start_log(seed=args.seed)
    description = read_json(args.description)
    timing = place(args.project, description["top"], description["clock_mhz"], args.seed)
    log.info("%.1f MHz on %s; %s", timing["fmax_mhz"], DEVICE, CAVEAT)
    tool = re.sub(r'^".*" -- .*\(Version (.*)\)$', r"\1", tool_version(find_nextpnr()))
    write_json(args.output, {"tool": tool, "device": DEVICE, **timing, "seed": args.seed, "note": CAVEAT})


if __name__ == "__main__":
    run_main(main)
