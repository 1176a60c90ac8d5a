# Input and params functions of the rules in inference_publication.smk.
import os
import re
import shlex
import sys

# Jobs write into a publication the command that the run was started with. A parameter would rerun them at each new command.
os.environ.setdefault("LHCML_COMMAND", shlex.join(["snakemake", *sys.argv[1:]]))

# Files of each result that are published
RESULT_TABLES = {
    "fit": ["fit", "yields"],
    "asimov": ["asimov"],
    "ranking": ["ranking"],
    "scan": ["scan"],
    "limit": ["limit"],
    "significance": ["significance"],
    "goodness_of_fit": ["goodness_of_fit"],
    "toys": ["toys"],
    "linearity": ["linearity"],
    "toy_limit": ["toy_limit"],
}
RESULT_FIGURES = {
    "fit": ["prefit", "postfit", "pulls", "correlations"],
    "ranking": ["ranking", "breakdown"],
    "scan": ["scan"],
    "limit": ["limit"],
    "goodness_of_fit": ["goodness_of_fit"],
    "toys": ["toys"],
    "linearity": ["linearity"],
    "toy_limit": ["toy_limit"],
    "systematics": ["systematics"],
}
# Results of a patch that its grid publishes
GRID_RESULTS = ["fit", "limit", "significance"]
GRID_NAMES = [name for name in MEASUREMENTS if is_grid(name)]
PUBLISHED_FILES = ["publication/README.md", "publication/hepdata/submission.tar.gz", "publication.check.json"]
# A measurement that is no grid, or one patch of a grid
SINGLE_MEASUREMENT = "|".join(
    rf"{re.escape(name)}/patches/[^/]+" if is_grid(name) else re.escape(name) for name in MEASUREMENTS
)


def is_blinded(name: str) -> bool:
    """Tell whether a measurement has blinded regions."""
    return bool(MEASUREMENTS[name].get("fit", {}).get("blinded"))


def published_folders() -> list[str]:
    """Return the folders with a publication: a grid is published as one, unless Asimov data stand in that differ by signal."""
    folders = []
    for name, block in MEASUREMENTS.items():
        if "publication" in block["results"]:
            split = is_grid(name) and is_blinded(name)
            folders += [f"{name}/patches/{patch}" for patch in patches_of(name)] if split else [name]
    return folders


def result_tables(wildcards) -> list[str]:
    """Input function: the result files of a measurement that are published."""
    names = [name for result in measurement_of(wildcards)["results"] for name in RESULT_TABLES.get(result, [])]
    return [f"results/inference/{wildcards.measurement}/{name}.json" for name in sorted(names)]


def result_figures(wildcards) -> list[str]:
    """Input function: the figures of a measurement that are published."""
    names = [name for result in measurement_of(wildcards)["results"] for name in RESULT_FIGURES.get(result, [])]
    return [f"results/inference/{wildcards.measurement}/plots/{name}.png" for name in sorted(names)]


def grid_results(name: str) -> list[str]:
    """Return the results of its patches that a grid publishes."""
    return [result for result in GRID_RESULTS if result in MEASUREMENTS[name]["results"]]


def grid_result_files(wildcards) -> list[str]:
    """Input function: the result files of all patches of a grid that are published."""
    return expand(
        "results/inference/{grid}/patches/{patch}/{result}.json",
        grid=wildcards.grid,
        patch=patches_of(wildcards.grid),
        result=grid_results(wildcards.grid),
    )


def published_block(wildcards) -> str:
    """Params function: the configuration of a measurement, all of it, for the record."""
    return as_json(MEASUREMENTS[wildcards.get("grid") or wildcards.measurement.split("/")[0]])


def bands_option(wildcards) -> str:
    """Params function: whether the check reproduces the bands of the expected limit."""
    return "--bands" if measurement_of(wildcards).get("publication", {}).get("bands", True) else ""
