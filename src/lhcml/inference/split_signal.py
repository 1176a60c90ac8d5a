"""A workspace as background and a patch that adds the signal: the form in which likelihoods are published for reuse.

Others replace the patch by one with their own signal (arXiv:2109.04981, section 2; ATL-PHYS-PUB-2019-029).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import pyhf

from lhcml.common.errors import UserError

# The patchset schema wants an INSPIRE number; a publication gets its own with its first version.
NO_INSPIRE = "ins0000000"


def is_signal(sample: Mapping[str, Any], poi: str) -> bool:
    """Tell whether a sample scales with the parameter of interest."""
    return any(modifier["name"] == poi and modifier["type"] == "normfactor" for modifier in sample["modifiers"])


def why_not_separable(workspace: Mapping[str, Any], poi: str) -> str | None:
    """Return why the signal cannot be taken out of a workspace, None if it can."""
    found = False
    for channel in workspace["channels"]:
        signals = [sample["name"] for sample in channel["samples"] if is_signal(sample, poi)]
        found = found or bool(signals)
        if len(signals) == len(channel["samples"]):
            return f"all samples of region {channel['name']} scale with {poi}"
        for sample in channel["samples"]:
            other = [
                part["type"] for part in sample["modifiers"] if part["name"] == poi and part["type"] != "normfactor"
            ]
            if other:
                return f"{poi} is a {other[0]} of sample {sample['name']} in region {channel['name']}"
    return None if found else f"no sample has the normfactor {poi}"


def split_signal(
    workspace: Mapping[str, Any], poi: str, name: str, description: str, inspire: str | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the background-only workspace and a patchset with one patch, which gives the workspace back.

    Parameters
    ----------
    workspace : mapping
        pyhf workspace.
    poi : str
        Parameter of interest; the samples with this normfactor are the signal.
    name, description : str
        Of the patch and of the patchset.
    inspire : str, optional
        INSPIRE number of the publication, "ins" and seven digits.

    Raises
    ------
    UserError
        If the signal cannot be separated.
    """
    if reason := why_not_separable(workspace, poi):
        raise UserError(f"the signal cannot be separated: {reason}", "publish the workspace only")
    background = copy.deepcopy(dict(workspace))
    operations: list[dict[str, Any]] = []
    for index, channel in enumerate(background["channels"]):
        # ascending, so that each sample finds the place it had
        for place, sample in enumerate(channel["samples"]):
            if is_signal(sample, poi):
                operations.append({"op": "add", "path": f"/channels/{index}/samples/{place}", "value": sample})
        channel["samples"] = [sample for sample in channel["samples"] if not is_signal(sample, poi)]
    patchset = make_patchset(background, [(name, [1.0], operations)], [f"{name}_strength"], description, inspire)
    verify_patches(background, patchset, {name: workspace})
    return background, patchset


def make_patchset(
    background: Mapping[str, Any],
    patches: Sequence[tuple[str, list[Any], list[dict[str, Any]]]],
    labels: list[str],
    description: str,
    inspire: str | None,
) -> dict[str, Any]:
    """Return a pyhf patchset of (name, values, operations) on a background."""
    return {
        "metadata": {
            "references": {"hepdata": inspire or NO_INSPIRE},
            "description": description,
            "digests": {"sha256": pyhf.utils.digest(background)},
            "labels": labels,
        },
        "patches": [
            {"metadata": {"name": name, "values": values}, "patch": operations} for name, values, operations in patches
        ],
        "version": "1.0.0",
    }


def verify_patches(
    background: Mapping[str, Any], patchset: Mapping[str, Any], expected: Mapping[str, Mapping[str, Any]]
) -> None:
    """Check that patches give the workspaces that they should, to the digest.

    Raises
    ------
    UserError
        If the patchset is of another background, or a patched workspace has another digest than expected.
    """
    patches = pyhf.PatchSet(patchset)
    try:
        patches.verify(background)
    except pyhf.exceptions.PatchSetVerificationError as error:
        raise UserError(f"the patchset is of another background: {error}", "make both again") from error
    for name, workspace in expected.items():
        found, wanted = pyhf.utils.digest(patches.apply(background, name)), pyhf.utils.digest(workspace)
        if found != wanted:
            raise UserError(
                f"patch {name} gives the workspace {found}, not {wanted} that was fitted", "run apply_patch again"
            )
