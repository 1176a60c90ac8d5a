"""Publish the likelihood of a measurement: workspace, signal patch, results, HEPData submission, how to reuse them.

Only what was made goes in: the result files given. Where regions are blinded, the published workspace holds the Asimov
data that the results were made of, not the observed ones.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyhf

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.files import read_json, write_text
from lhcml.inference.blind import blinded_problem, blinded_regions
from lhcml.inference.describe_parameters import describe_parameters
from lhcml.inference.hepdata_tables import result_tables, yields_tables
from lhcml.inference.publication import (
    make_provenance,
    read_results,
    write_common,
    write_likelihood,
    write_results,
    write_submission,
)
from lhcml.inference.publication_readme import COMMAND_USE, PYTHON_USE, SIGNAL_USE, make_readme, results_text
from lhcml.inference.read_workspace import Problem, read_problem
from lhcml.inference.split_signal import split_signal, why_not_separable

PATCH = "signal"


def published_workspace(
    workspace: Mapping[str, Any], problem: Problem, config: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Return the workspace to publish and its blinded regions.

    The observations of blinded regions are replaced by the Asimov data of the results; the others stay as they are.
    """
    regions = blinded_regions(config)
    made = copy.deepcopy(dict(workspace))
    if regions:
        shown = blinded_problem(problem, config)
        for observation in made["observations"]:
            if observation["name"] in regions:
                observation["data"] = shown.data[problem.likelihood.channels[observation["name"]]].tolist()
    return made, regions


def write_signal(folder: Path, workspace: Mapping[str, Any], poi: str, config: Mapping[str, Any]) -> str | None:
    """Write background and patchset into a folder; return why not, if the signal cannot be separated."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if reason := why_not_separable(workspace, poi):
        write_text(folder / "README.txt", f"No signal patch: {reason}.\n")
        return reason
    about = config.get("publication", {})
    text = about.get("title") or f"signal of the parameter {poi}"
    background, patchset = split_signal(workspace, poi, PATCH, text, about.get("inspire"))
    write_likelihood(folder, "background.json", background)
    write_likelihood(folder, "patchset.json", patchset)
    return None


def list_files(separable: bool, results: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return names and contents of the files of a bundle."""
    rows = [("workspace.json", "the likelihood with the observed data"), ("digest.txt", "its SHA-256")]
    if separable:
        rows.append(("signal/", "the same as background and signal patch, for other signals"))
    if results:
        rows.append(("results/", "what was found: " + ", ".join(f"{name}.json" for name in results)))
    rows += [
        ("reproduce_limit.py", "reproduces the limit with pyhf"),
        ("requirements.txt", "exact versions for it"),
        ("provenance.json", "command, code, versions, seed, configuration"),
        ("hepdata/", "HEPData submission; submission.tar.gz is what is uploaded"),
    ]
    return [{"file": f"`{name}`", "content": text} for name, text in rows]


def publish(
    folder: Path,
    workspace: Mapping[str, Any],
    problem: Problem,
    description: Mapping[str, Any],
    results: Mapping[str, Any],
    figures: Sequence[Path],
    config: Mapping[str, Any],
    seed: int,
    name: str,
) -> None:
    """Write the bundle of a measurement.

    Parameters
    ----------
    folder : Path
        Folder of the bundle.
    workspace : mapping
        pyhf workspace.
    problem : Problem
        The same compiled.
    description : mapping
        Content of workspace.meta.json.
    results : mapping
        Content of result files by stem.
    figures : sequence of Path
    config : mapping
        Block of the measurement.
    seed : int
        Root seed.
    name : str
        Of the measurement, or measurement/patches/patch.
    """
    about = config.get("publication", {})
    title = about.get("title") or f"Likelihood of {name}"
    text = about.get("description") or "Likelihood, results and how to use them."
    shown, blinded = published_workspace(workspace, problem, config)
    digest = pyhf.utils.digest(shown)
    model = {"measurement": problem.measurement, "poi": problem.poi, "digest": digest, "blinded": blinded}
    provenance = make_provenance(config, seed, model, name)
    write_likelihood(folder, "workspace.json", shown)
    write_results(folder / "results", results)
    reason = write_signal(folder / "signal", shown, problem.poi, config)
    use = use_text(shown, problem, reason)
    readme = make_readme(
        title, text, provenance, list_files(reason is None, results), results_text(problem.poi, results), use,
        describe_parameters(shown), blinded, problem.remarks,
    )  # fmt: skip
    write_common(folder, provenance, digest, readme)
    likelihood = [folder / "workspace.json", folder / "README.md", folder / "requirements.txt",
                  folder / "reproduce_limit.py", folder / "provenance.json", folder / "digest.txt"]  # fmt: skip
    if reason is None:
        likelihood += [folder / "signal/background.json", folder / "signal/patchset.json"]
    tables = result_tables(results)
    if "yields" in results:
        observable, units = split_unit(config.get("label", config.get("observable", "Bin")))
        tables = yields_tables(results["yields"], observable, units, blinded) + tables
    write_submission(
        folder / "hepdata", f"{title}. {text}" + (" Blinded: " + ", ".join(blinded) if blinded else ""), tables,
        {path.stem: path for path in figures}, likelihood,
    )  # fmt: skip


def use_text(workspace: Mapping[str, Any], problem: Problem, reason: str | None) -> str:
    """Return how the likelihood is used; `reason` tells why there is no signal patch, if there is none."""
    names = {"poi": problem.poi, "measurement": problem.measurement, "patch": PATCH}
    own = {block["name"]: block["config"]["poi"] for block in workspace["measurements"]}[problem.measurement]
    # the command line of pyhf takes the parameter of interest that the workspace names
    parts = [COMMAND_USE.format(**names)] if own == problem.poi else []
    parts.append(PYTHON_USE.format(**names))
    parts.append(f"The signal is not given as a patch: {reason}.\n" if reason else SIGNAL_USE.format(**names))
    return "\n".join(parts)


def split_unit(label: str) -> tuple[str, str]:
    """Return name and unit of an axis title like "Jet mass [GeV]"."""
    name, _, unit = label.partition(" [")
    return name, unit.removesuffix("]")


def main(argv: Sequence[str] | None = None) -> None:
    """Publish one measurement."""
    parser = make_parser(__doc__)
    parser.add_argument("--workspace", required=True, type=Path, help="pyhf workspace JSON")
    parser.add_argument("--description", required=True, type=Path, help="workspace.meta.json beside it")
    parser.add_argument("--results", nargs="*", default=[], type=Path, help="result files (JSON) of it")
    parser.add_argument("--figures", nargs="*", default=[], type=Path, help="figures (PNG) of it")
    parser.add_argument("--config", required=True, type=json_argument, help="the measurement, as in the configuration")
    parser.add_argument("--name", required=True, help="measurement, or measurement/patches/patch")
    parser.add_argument("--seed", required=True, type=int, help="root seed of the workflow")
    parser.add_argument("--output", required=True, type=Path, help="README.md to write; the bundle is its folder")
    args = parser.parse_args(argv)
    log = start_log("pyhf", "hepdata-lib", "hepdata-validator", "numpy", seed=args.seed)
    problem = read_problem(args.workspace, args.config.get("measurement"), args.config.get("poi"))
    results = read_results(args.results, problem.digest)
    publish(
        args.output.parent, read_json(args.workspace), problem, read_json(args.description), results, args.figures,
        args.config, args.seed, args.name,
    )  # fmt: skip
    log.info("%s: %d results, %d figures", args.output.parent, len(results), len(args.figures))


if __name__ == "__main__":
    run_main(main)
