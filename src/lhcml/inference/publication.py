"""What every publication of a likelihood holds: results, provenance, requirements, script that reproduces the limit."""

from __future__ import annotations

import gzip
import io
import os
import platform
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

from lhcml.common.cli import git_hash, package_version
from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_json, write_text

# What pyhf needs to reproduce a limit, and what that needs
REQUIRED = (
    "pyhf", "numpy", "scipy", "iminuit", "jsonpatch", "jsonpointer", "jsonschema", "jsonschema-specifications",
    "referencing", "rpds-py", "attrs", "click", "tqdm", "pyyaml",
)  # fmt: skip
MADE_WITH = ("pyhf", "iminuit", "numpy", "scipy", "hepdata-lib", "hepdata-validator")
SCRIPT = Path(__file__).with_name("reproduce_limit.py")
HEPDATA_SCHEMA = "1.1.1"


def read_results(paths: Sequence[Path], digest: str) -> dict[str, Any]:
    """Return the content of result files by their stem ("fit", "limit", ...).

    Raises
    ------
    UserError
        If one is of another workspace.
    """
    results = {}
    for path in paths:
        content = read_json(path)
        if isinstance(content, Mapping) and content.get("digest", digest) != digest:
            raise UserError(f"{path} is of another workspace: its digest differs", "run the workflow again")
        results[path.stem] = content
    return results


def write_likelihood(folder: Path, name: str, workspace: Any) -> None:
    """Write a workspace or patchset compactly: the files of real analyses have millions of numbers."""
    import json

    write_text(folder / name, json.dumps(workspace, indent=None, separators=(", ", ": "), allow_nan=False) + "\n")


def make_provenance(config: Mapping[str, Any], seed: int, model: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return how the publication was made: commands, code, versions, seed, configuration.

    Parameters
    ----------
    config : mapping
        Block of the measurement.
    seed : int
        Root seed of the workflow.
    model : mapping
        "measurement" and "poi" of the likelihood, "digest", and what else tells which model it is.
    name : str
        Of the measurement; tells the file that the workflow is asked for to make the publication again.
    """
    again = f"snakemake --cores 2 results/inference/{name}/publication/README.md"
    return {
        "model": dict(model),
        "command": os.environ.get("LHCML_COMMAND") or again,
        "make_again": again,
        "code": git_hash(),
        "seed": seed,
        "versions": {"python": platform.python_version()} | {name: package_version(name) for name in MADE_WITH},
        "configuration": dict(config),
    }


def make_requirements() -> str:
    """Return requirements.txt: the exact versions in use here of what the script needs, on any platform."""
    versions = {name: package_version(name) for name in REQUIRED}
    if missing := [name for name in ("pyhf", "scipy", "iminuit") if versions[name] == "not installed"]:
        raise UserError(f"{', '.join(missing)} is not installed", "run the rule in its environment")
    pins = [f"{name}=={version}" for name, version in versions.items() if version != "not installed"]
    return f"# Python {sys.version_info.major}.{sys.version_info.minor}\n" + "\n".join(pins) + "\n"


def write_common(folder: Path, provenance: Mapping[str, Any], digest: str, readme: str) -> None:
    """Write the files that every publication has."""
    write_json(folder / "provenance.json", provenance)
    write_text(folder / "digest.txt", digest + "\n")
    write_text(folder / "requirements.txt", make_requirements())
    write_text(folder / "README.md", readme)
    shutil.copyfile(SCRIPT, folder / SCRIPT.name)


def write_results(folder: Path, results: Mapping[str, Any]) -> None:
    """Write result files into a folder, nothing else in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in results.items():
        write_json(folder / f"{name}.json", content)


def write_submission(
    folder: Path, comment: str, tables: Sequence[Any], figures: Mapping[str, Path], likelihood: Sequence[Path]
) -> None:
    """Write a HEPData submission with hepdata_lib: its files, and submission.tar.gz of them.

    Parameters
    ----------
    folder : Path
        Emptied first.
    comment : str
        Abstract of the record.
    tables : sequence of hepdata_lib.Table
    figures : mapping of str to Path
        Figures of the record by description.
    likelihood : sequence of Path
        Files of the likelihood, which go in as an archive of type HistFactory.

    Raises
    ------
    UserError
        If HEPData's validator refuses it.
    """
    from hepdata_lib import Submission

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    submission = Submission()
    submission.comment = comment
    used: set[str] = set()
    for made in tables:
        # names cut to their length may be the same
        number, name = 1, made.name
        while made.name.lower() in used:
            number += 1
            made.name = f"{name[:60]} {number}"
        used.add(made.name.lower())
        submission.add_table(made)
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "likelihood.tar.gz"
        write_archive(archive, {path.name: path for path in likelihood})
        submission.add_additional_resource(
            "Full statistical model as pyhf JSON (HistFactory), with a README and a script that reproduces the limit",
            str(archive), copy_file=True, file_type="HistFactory",
        )  # fmt: skip
        for description, path in figures.items():
            submission.add_additional_resource(description, str(path.resolve()), copy_file=True)
        # hepdata_lib leaves an archive with the time of writing in the working folder
        where = folder.resolve()
        with chdir(scratch):
            submission.create_files(str(where), validate=False)
    validate_submission(folder)
    write_archive(folder / "submission.tar.gz", {path.name: path for path in sorted(folder.iterdir())})


def validate_submission(folder: Path) -> None:
    """Check a submission with HEPData's own validator.

    Raises
    ------
    UserError
        With what it found.
    """
    from hepdata_validator.full_submission_validator import FullSubmissionValidator

    validator = FullSubmissionValidator(schema_version=HEPDATA_SCHEMA)
    if not validator.validate(directory=str(folder)):
        found = "; ".join(str(error.message) for errors in validator.get_messages().values() for error in errors)
        raise UserError(f"HEPData's validator refuses {folder}: {found}", "report this as a fault of the rule")


def write_archive(path: Path, files: Mapping[str, Path]) -> None:
    """Write a tar.gz whose bytes depend on names and contents only: no times, no owners."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name in sorted(files):
            data = files[name].read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    path.write_bytes(gzip.compress(content.getvalue(), mtime=0))
