# Where the modules of the workflow are.
import os
import subprocess
from pathlib import Path


def git(folder: str | Path, *arguments: str) -> str:
    """Return what a git command prints in a folder."""
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def checkout(basedir) -> Path:
    """Return the root of the checkout that holds the folder of the Snakefile.

    Of a workflow that Snakemake reads from a git host (`github(...)`, snakedeploy) it is a clone in .snakemake/lhcml, as jobs
    need the modules as files.
    """
    if isinstance(basedir, (str, os.PathLike)):
        return Path(basedir).parent.resolve()
    repository, folder = basedir.hosted_repo.repo_clone, Path(".snakemake/lhcml").resolve()
    commit = git(repository, "rev-parse", f"{basedir.ref}^{{commit}}")
    if not folder.exists():
        git(".", "clone", "--quiet", "--no-checkout", str(repository), str(folder))
    # every job reads the workflow: only the first reading changes files
    if not (folder / "src").exists() or git(folder, "rev-parse", "HEAD") != commit:
        git(folder, "fetch", "--quiet", "origin")
        git(folder, "checkout", "--quiet", "--detach", commit)
    return folder
