"""Make a repository for an analysis on top of this workflow: it imports all rules and adds a tagger.

The folder refers to this checkout by a relative path. `make new-analysis DIR=../mine` calls this; see
docs/new_analysis.md.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from lhcml.common.cli import make_parser, run_main
from lhcml.common.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = Path(__file__).resolve().parent / "template"
# stands in the template for the path from the new folder to this checkout
PLACEHOLDER = "@LHCML@"


def create_analysis(folder: Path) -> list[Path]:
    """Copy the template to a new folder and return the files written.

    Parameters
    ----------
    folder : Path
        Must not exist, or be empty but for what git keeps there.

    Raises
    ------
    UserError
        If the folder holds files, or is part of this checkout.
    """
    folder = folder.resolve()
    if folder.is_relative_to(ROOT):
        raise UserError(f"{folder} is inside of the checkout of the workflow", "choose a folder beside it: DIR=../mine")
    if folder.exists() and (not folder.is_dir() or any(path.name != ".git" for path in folder.iterdir())):
        raise UserError(f"{folder} exists and is not empty", "choose another folder, or empty this one")
    written = []
    for source in sorted(path for path in TEMPLATE.rglob("*") if path.is_file() and path.suffix != ".pyc"):
        # under its own name git would apply the template's .gitignore to the template
        name = source.relative_to(TEMPLATE).as_posix().replace("gitignore", ".gitignore")
        text = source.read_text(encoding="utf-8").replace(PLACEHOLDER, os.path.relpath(ROOT, folder))
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        written.append(target)
    return written


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("folder", type=Path, help="folder of the new analysis")
    args = parser.parse_args(argv)
    for path in create_analysis(args.folder):
        print(os.path.relpath(path))
    print(f"next: cd {args.folder} && git init, and what its README.md says")


if __name__ == "__main__":
    run_main(main)
