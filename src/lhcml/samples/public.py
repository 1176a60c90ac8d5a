"""The list of public records (`data/public.yaml`) and the names of the files in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lhcml.common.errors import UserError

ARCHIVE = ".tar"


def split_member(name: str) -> tuple[str, str | None]:
    """Return a file name and, if it is that of a file inside of an archive (`folder/x.tar/a/b.root`), the member.

    >>> split_member("data/x.tar/a/b.root")
    ('data/x.tar', 'a/b.root')
    >>> split_member("data/train.h5")
    ('data/train.h5', None)
    """
    before, found, member = name.partition(f"{ARCHIVE}/")
    return (before + ARCHIVE, member) if found else (name, None)


def read_records(path: Path) -> dict[int, dict[str, Any]]:
    """Return the records of the list by number; keys of a record: title, doi, licence, layout, files.

    Raises
    ------
    UserError
        If the list is not readable or no list of records.
    """
    import yaml

    try:
        records = yaml.safe_load(path.read_text(encoding="utf-8"))["records"]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise UserError(
            f"cannot read the list of public data {path}: {error}", "restore it from the repository"
        ) from error
    return {int(number): block for number, block in records.items()}


def find_file(records: dict[int, dict[str, Any]], record: int, name: str) -> dict[str, Any]:
    """Return what the list knows of a file: `size` in bytes, `checksum` ("md5:..."), `title` of its record, or less."""
    block = records.get(record, {})
    known: dict[str, Any] = dict(block.get("files", {}).get(name) or {})
    return known | ({"title": block["title"]} if "title" in block else {})
