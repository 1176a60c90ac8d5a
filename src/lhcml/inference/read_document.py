"""Reading of likelihoods that others wrote: JSON documents, patches and patchsets, told apart before they are used.

JSON patches are those of RFC 6902; patchsets are those of pyhf (arXiv and HEPData publish grids of signals so): named
patches, values for each, and digests of the one background that they may be applied to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonpatch
import jsonpointer
import pyhf

from lhcml.common.errors import UserError
from lhcml.inference.check_schema import describe_document
from lhcml.inference.fault import repeated, sort_faults
from lhcml.inference.quiet_pyhf import quiet_pyhf

# First bytes of the files that people give for a JSON file
MAGIC = (
    (b"\x1f\x8b", "is compressed by gzip", "unpack it: `gunzip`, or `tar xzf` for an archive"),
    (b"PK\x03\x04", "is a zip archive", "unpack it with `unzip` and name the JSON file inside"),
    (b"BZh", "is compressed by bzip2", "unpack it with `bunzip2`"),
    (b"\xfd7zXZ", "is compressed by xz", "unpack it with `unxz`"),
    (b"root", "is a ROOT file", "give histograms with the key `histograms`, a HistFactory model with `histfactory`"),
    (b"<", "is XML", "name a HistFactory file with the key `histfactory` instead of `workspace`"),
)


def read_document(path: str | Path) -> Any:
    """Read a JSON file that a user gave.

    Raises
    ------
    UserError
        If it is missing, empty, something else than JSON, or has a key twice in one object (of which Python would keep
        the last in silence).
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "check the path in the configuration") from error
    if not content.strip():
        raise UserError(f"{path} is empty", "fetch or write it again")
    for magic, what, fix in MAGIC:
        if content.lstrip().startswith(magic):
            raise UserError(f"{path} {what}, not JSON", fix)

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = sorted({key for key in keys if keys.count(key) > 1})
            name = f" of {result['name']!r}" if isinstance(result.get("name"), str) else ""
            raise UserError(f"{path}: key {', '.join(map(repr, twice))} stands twice in an object{name}", "keep one")
        return result

    try:
        return json.loads(content, object_pairs_hook=collect)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON: {error}", "mend it there, or fetch it again") from error


def read_patchset(path: str | Path, background: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Read a patchset that belongs to `background`, a workspace read from `where`.

    Raises
    ------
    UserError
        If it is no valid patchset, or its digests are not those of the background.
    """
    return check_patchset(read_document(path), str(path), background, where)


def check_patchset(patchset: Any, path: str, background: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a patchset read from `path` after the checks of `read_patchset`."""
    kind = describe_document(patchset)
    if kind != "a patchset":
        raise UserError(
            f"{path} is {kind}, not a patchset", "give a pyhf patchset: an object with patches, metadata, version"
        )
    try:
        with quiet_pyhf():
            pyhf.schema.validate(patchset, "patchset.json")
            names = [patch["metadata"]["name"] for patch in patchset["patches"]]
            sort_faults(repeated(names, "patch"), path, strict=True)
            # its constructor looks for repeated values and for missing ones
            checked = pyhf.PatchSet(patchset)
    except pyhf.exceptions.InvalidSpecification as error:
        place = ".".join(str(part) for part in error.parent.absolute_path) if error.parent else ""
        cause = error.parent.message if error.parent else error
        raise UserError(
            f"{path} is not a valid patchset: at {place or 'top level'}: {cause}",
            "correct that key; the schema is https://scikit-hep.org/pyhf/schemas/1.0.0/patchset.json",
        ) from error
    except pyhf.exceptions.InvalidPatchSet as error:
        raise UserError(
            f"{path} is not a valid patchset: {error}", "give each patch its own name and values"
        ) from error
    for algorithm, digest in checked.digests.items():
        found = pyhf.utils.digest(background, algorithm=algorithm)
        if found != digest:
            raise UserError(
                f"{path} belongs to another background: {algorithm} {digest}; that of {where} is {found}",
                "take workspace and patchset of the same publication and version, both unchanged",
            )
    return dict(patchset)


def find_patch(patchset: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    """Return the patch of a name, with `metadata` and `patch`.

    Raises
    ------
    UserError
        If there is none.
    """
    for patch in patchset["patches"]:
        if patch["metadata"]["name"] == name:
            return dict(patch)
    names = [patch["metadata"]["name"] for patch in patchset["patches"]]
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    raise UserError(f"{where} has no patch {name!r}", f"choose among: {', '.join(names[:8])}{more}")


def apply_operations(workspace: Mapping[str, Any], operations: Sequence[Mapping[str, Any]], where: str) -> Any:
    """Return a copy of a workspace with the operations of a JSON patch, read from `where`, applied.

    Raises
    ------
    UserError
        If an operation is not valid or finds nothing at its path.
    """
    try:
        return jsonpatch.JsonPatch(list(operations)).apply(dict(workspace))
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, KeyError) as error:
        raise UserError(
            f"{where} cannot be applied: {type(error).__name__}: {error}",
            "the patch was made for a workspace with other channels or samples: take the one it belongs to",
        ) from error


def apply_patch_file(workspace: Mapping[str, Any], given: str, where: str) -> Any:
    """Return a copy of a workspace, read from `where`, with a patch applied.

    Parameters
    ----------
    workspace : mapping
        A workspace, patched already perhaps.
    given : str
        Path of a JSON patch, or `path#name` for a patch of a patchset.

    Raises
    ------
    UserError
        If the file is neither, the patchset is one of another workspace, or the patch cannot be applied.
    """
    path, _, name = given.partition("#")
    document = read_document(path)
    kind = describe_document(document)
    if name:
        patchset = check_patchset(document, path, workspace, where)
        return apply_operations(workspace, find_patch(patchset, name, path)["patch"], given)
    if kind == "a patchset":
        names = ", ".join(str(patch["metadata"]["name"]) for patch in document["patches"][:5])
        raise UserError(
            f"{path} is a patchset, and no patch of it is chosen",
            f"append a name, as in {path}#name, of: {names}; or fit all with the key `patchset`",
        )
    if kind != "a JSON patch":
        raise UserError(f"{path} is {kind}, not a JSON patch", "give a list of operations with op and path (RFC 6902)")
    return apply_operations(workspace, document, path)
