"""Check that a published likelihood stands alone: run its script on a copy of it in an empty folder.

The environment of this rule has pyhf and no package of the workflow's other rules; the script cannot see the checkout.
What cannot be reproduced is reported, not hidden: `reproduced` is false if values differ, null if pyhf found none.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lhcml.common.cli import make_parser, package_version, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_json

# pyhf without automatic differentiation needs minutes to hours for hundreds of parameters
MINUTES = 30


def read_pins(path: Path) -> dict[str, str]:
    """Return name and version of each line of requirements.txt."""
    lines = [line.partition("==") for line in path.read_text(encoding="utf-8").splitlines() if "==" in line]
    return {name.strip(): version.strip() for name, _, version in lines}


def run_script(bundle: Path, options: Sequence[str], minutes: float = MINUTES) -> dict[str, Any]:
    """Return what the script of a bundle reports when run on a copy of the bundle alone.

    Raises
    ------
    UserError
        If the script breaks.
    """
    with tempfile.TemporaryDirectory() as name:
        copy, report = Path(name) / "bundle", Path(name) / "report.json"
        shutil.copytree(bundle, copy)
        # -I: neither PYTHONPATH nor the working folder, so that nothing of the checkout can help
        command = [sys.executable, "-I", str(copy / "reproduce_limit.py"), "--result", str(report), *options]
        try:
            done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=60 * minutes)
        except subprocess.TimeoutExpired:
            return {"reproduced": None, "reason": f"not done after {minutes:g} minutes"}
        print(done.stdout, done.stderr, file=sys.stderr)
        if not report.exists():
            last = done.stderr.strip().splitlines()[-1:] or ["no message"]
            raise UserError(f"reproduce_limit.py of {bundle} failed: {last[0]}", "see the log for its whole output")
        found: dict[str, Any] = read_json(report)
        return found


def check_publication(bundle: Path, options: Sequence[str]) -> dict[str, Any]:
    """Return the content of publication.check.json."""
    wanted = read_pins(bundle / "requirements.txt")
    here = {name: package_version(name) for name in wanted}
    different = {name: {"required": wanted[name], "used": here[name]} for name in wanted if here[name] != wanted[name]}
    return run_script(bundle, options) | {"other_versions": different}


def main(argv: Sequence[str] | None = None) -> None:
    """Check one publication."""
    parser = make_parser(__doc__)
    parser.add_argument("--bundle", required=True, type=Path, help="folder of the publication")
    parser.add_argument("--bands", action="store_true", help="reproduce the bands of the expected limit too")
    parser.add_argument("--output", required=True, type=Path, help="publication.check.json to write")
    args = parser.parse_args(argv)
    log = start_log("pyhf", "numpy", "scipy", "iminuit")
    found = check_publication(args.bundle, ["--bands"] if args.bands else [])
    write_json(args.output, found)
    if found["reproduced"]:
        log.info("reproduced in %.1f s", found["seconds"])
    else:
        log.warning("not reproduced: %s", found["reason"])


if __name__ == "__main__":
    run_main(main)
