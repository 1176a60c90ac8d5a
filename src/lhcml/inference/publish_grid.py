"""Publish a grid of signals: background, patchset, limit of each patch, HEPData submission, how to reuse them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyhf

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_json
from lhcml.inference.blind import blinded_regions
from lhcml.inference.describe_parameters import describe_parameters, few
from lhcml.inference.hepdata_tables import grid_table
from lhcml.inference.publication import (
    make_provenance,
    write_common,
    write_likelihood,
    write_results,
    write_submission,
)
from lhcml.inference.publication_readme import GRID_USE, make_readme
from lhcml.inference.read_workspace import choose_measurement

FILES = (
    ("background.json", "the likelihood without signal, with the observed data"),
    ("patchset.json", "a JSON patch for each signal"),
    ("digest.txt", "SHA-256 of the background"),
    ("results/", "what was found, a folder a patch"),
    ("reproduce_limit.py", "reproduces limits with pyhf"),
    ("requirements.txt", "exact versions for it"),
    ("provenance.json", "command, code, versions, seed, configuration"),
    ("hepdata/", "HEPData submission; submission.tar.gz is what is uploaded"),
)


def read_patch_results(folder: Path, patches: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the content of result files by patch and name, from folders named after the patches."""
    return {patch: {name: read_json(folder / patch / f"{name}.json") for name in names} for patch in patches}


def check_digests(
    patchset: Mapping[str, Any], background: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]]
) -> None:
    """Check that each result is of the workspace that its patch makes.

    Raises
    ------
    UserError
        If it is of another, or the patchset is of another background.
    """
    patches = pyhf.PatchSet(patchset)
    try:
        patches.verify(background)
    except pyhf.exceptions.PatchSetVerificationError as error:
        raise UserError(f"the patchset is of another background: {error}", "make both again") from error
    for name, found in results.items():
        digest = pyhf.utils.digest(patches.apply(background, name))
        for result, content in found.items():
            if content.get("digest", digest) != digest:
                raise UserError(f"{result}.json of patch {name} is of another workspace", "run the workflow again")


def grid_text(poi: str, limits: Mapping[str, Mapping[str, Any]]) -> str:
    """Return in words how many signals have a limit and how many are excluded."""
    valid = {name: limit for name, limit in limits.items() if limit["valid"]}
    lines = [f"- {len(limits)} signals; {len(valid)} with a valid limit."]
    if failed := sorted(set(limits) - set(valid)):
        lines.append(f"- **No valid limit** for {few(failed)}: see their `limit.json`.")
    excluded = sum(limit["observed"] is not None and limit["observed"] < 1 for limit in valid.values())
    if valid:
        lines.append(f"- {excluded} excluded at {poi} = 1, {100 * (1 - next(iter(valid.values()))['level']):g} % CL.")
    return "\n".join(lines)


def publish(
    folder: Path,
    background: Mapping[str, Any],
    patchset: Mapping[str, Any],
    results: Mapping[str, Mapping[str, Any]],
    figures: Sequence[Path],
    config: Mapping[str, Any],
    seed: int,
    name: str,
) -> None:
    """Write the bundle of a grid.

    Parameters
    ----------
    folder : Path
        Folder of the bundle.
    background, patchset : mapping
        pyhf workspace and patchset; patches without results are published too.
    results : mapping
        Content of result files, results[patch][name].
    figures : sequence of Path
    config : mapping
        Block of the measurement.
    seed : int
        Root seed.
    name : str
        Of the measurement.

    Raises
    ------
    UserError
        If the measurement is blinded, a result is of another workspace, or no parameter of interest is named.
    """
    if blinded := blinded_regions(config):
        raise UserError(
            f"grid {name} has blinded regions ({', '.join(blinded)}); the Asimov data that stand in differ by signal",
            f"publish single signals: results/inference/{name}/patches/PATCH/publication/README.md",
        )
    check_digests(patchset, background, results)
    chosen = choose_measurement(background, f"background of {name}", config.get("measurement"), config.get("poi"))
    poi = config.get("poi") or chosen["config"]["poi"]
    digest = pyhf.utils.digest(background)
    model = {"measurement": chosen["name"], "poi": poi, "digest": digest, "blinded": []}
    provenance = make_provenance(config, seed, model, name)
    about = config.get("publication", {})
    title, text = about.get("title") or f"Likelihood of {name}", about.get("description") or "A grid of signals."
    write_likelihood(folder, "background.json", background)
    write_likelihood(folder, "patchset.json", patchset)
    write_results(folder / "results", {})
    for patch, found in results.items():
        write_results(folder / "results" / patch, found)
    limits = {patch: found["limit"] for patch, found in results.items() if "limit" in found}
    values = {patch["metadata"]["name"]: patch["metadata"]["values"] for patch in patchset["patches"]}
    labels = patchset["metadata"]["labels"]
    first = next(iter(results), next(iter(values)))
    use = GRID_USE.format(poi=poi, measurement=chosen["name"], patch=first, count=len(values), labels=", ".join(labels))
    summary = grid_text(poi, limits) if limits else "- No limit was asked for; the likelihood stands alone."
    readme = make_readme(
        title, text, provenance, [{"file": f"`{file}`", "content": content} for file, content in FILES], summary, use,
        describe_parameters(pyhf.PatchSet(patchset).apply(background, first)), [], [], option=f" --patch {first}",
    )  # fmt: skip
    write_common(folder, provenance, digest, readme)
    points = [(values[patch], limit) for patch, limit in limits.items()]
    tables = [grid_table(labels, points, poi)] if any(limit["valid"] for limit in limits.values()) else []
    likelihood = [folder / file for file in ("background.json", "patchset.json", "README.md", "requirements.txt",
                                             "reproduce_limit.py", "provenance.json", "digest.txt")]  # fmt: skip
    write_submission(folder / "hepdata", f"{title}. {text}", tables, {path.stem: path for path in figures}, likelihood)


def main(argv: Sequence[str] | None = None) -> None:
    """Publish one grid."""
    parser = make_parser(__doc__)
    parser.add_argument("--background", required=True, type=Path, help="pyhf workspace without signal")
    parser.add_argument("--patchset", required=True, type=Path, help="pyhf patchset on it")
    parser.add_argument("--folder", required=True, type=Path, help="folder with a folder of results a patch")
    parser.add_argument("--patches", required=True, type=json_argument, help="names of patches with results")
    parser.add_argument("--results", required=True, type=json_argument, help="names of their results")
    parser.add_argument("--figures", nargs="*", default=[], type=Path, help="figures (PNG) of the grid")
    parser.add_argument("--config", required=True, type=json_argument, help="the measurement, as in the configuration")
    parser.add_argument("--name", required=True, help="name of the measurement")
    parser.add_argument("--seed", required=True, type=int, help="root seed of the workflow")
    parser.add_argument("--output", required=True, type=Path, help="README.md to write; the bundle is its folder")
    args = parser.parse_args(argv)
    log = start_log("pyhf", "hepdata-lib", "hepdata-validator", "numpy", seed=args.seed)
    results = read_patch_results(args.folder, args.patches, args.results)
    publish(
        args.output.parent, read_json(args.background), read_json(args.patchset), results, args.figures, args.config,
        args.seed, args.name,
    )  # fmt: skip
    log.info("%s: %d patches with results", args.output.parent, len(results))


if __name__ == "__main__":
    run_main(main)
