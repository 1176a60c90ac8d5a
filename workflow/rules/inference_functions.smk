# Measurements of the configuration, their folders, and the functions that all rules of inference_*.smk share.
import json
import re

from lhcml.inference.check_measurements import check_measurements

MEASUREMENTS = config["inference"]["measurements"]
# Results that the summary of the run tells, in its order
TOLD = ("fit", "ranking", "limit", "toy_limit", "significance", "goodness_of_fit", "toys", "linearity")


def measurement_of(wildcards) -> dict:
    """Return the configuration of a measurement; all patches of a grid have that of the grid."""
    return MEASUREMENTS[wildcards.measurement.split("/")[0]]


def is_grid(name: str) -> bool:
    """Tell whether a measurement is a background with a set of signal patches, each fitted by itself."""
    return "patchset" in MEASUREMENTS[name] or "resonance" in MEASUREMENTS[name]


def patches_of(name: str) -> list[str]:
    """Return the names of the patches of a grid: those of its configuration, or all of its patchset."""
    block = MEASUREMENTS[name]
    if "resonance" in block:
        return [f"m{mass:g}" for mass in block["resonance"]["masses"]]
    if "patches" in block:
        return block["patches"]
    with open(block["patchset"], encoding="utf-8") as file:
        return [patch["metadata"]["name"] for patch in json.load(file)["patches"]]


def folders_with(result: str) -> list[str]:
    """Return the folders below results/inference that have a result: a measurement, or each patch of a grid."""
    folders = []
    for name, block in MEASUREMENTS.items():
        if result in block["results"]:
            folders += [f"{name}/patches/{patch}" for patch in patches_of(name)] if is_grid(name) else [name]
    return folders


def with_result(result: str, *files: str) -> list[str]:
    """Return these files of every folder that has a result."""
    return expand("results/inference/{folder}/{file}", folder=folders_with(result), file=files)


def measurements_from(*sources: str) -> str:
    """Return a wildcard constraint that admits the measurements made of one of these sources."""
    return one_of([re.escape(name) for name, block in MEASUREMENTS.items() if any(key in block for key in sources)])


def measurement_block(*keys: str):
    """Return a params function: these keys of a measurement, as far as it has them."""

    def block(wildcards):
        measurement = measurement_of(wildcards)
        return as_json({key: measurement[key] for key in keys if key in measurement})

    return block


def parts_of(block: dict) -> list[dict]:
    """Return the measurements that a measurement consists of: itself, or those it combines."""
    return (
        [part for name in block["combine"] for part in parts_of(MEASUREMENTS[name])] if "combine" in block else [block]
    )


def is_simulated(block: dict) -> bool:
    """Tell whether the data of a measurement are simulated."""
    return block.get("data", {}).get("simulated", False)


def region_titles(block: dict) -> dict:
    """Return the title of the axis of each region that the configuration names."""
    title = block.get("label", block.get("observable", "Bin"))
    return {name: region.get("label", title) for name, region in block.get("regions", {}).items()}


def plot_labels(wildcards) -> str:
    """Params function: titles of axes, samples and data, and what stands above the axes."""
    block = measurement_of(wildcards)
    parts = parts_of(block)
    samples = {name: sample for part in parts for name, sample in part.get("samples", {}).items()}
    simulated = all(is_simulated(part) for part in parts)
    luminosity = f"{block['luminosity']:g} fb$^{{-1}}$" if "luminosity" in block else ""
    energies = {config["channels"][part["channel"]].get("label", "") for part in parts if "channel" in part}
    return as_json(
        {
            "observable": block.get("label", block.get("observable", "Bin")),
            "regions": {name: title for part in parts for name, title in region_titles(part).items()},
            "samples": {name: sample["label"] for name, sample in samples.items() if "label" in sample},
            "data": "Pseudo-data" if simulated else "Data",
            "left": "Simulation" if simulated else "",
            "right": ", ".join(text for text in (luminosity, *sorted(energies)) if text),
        }
    )


try:
    check_measurements(MEASUREMENTS, config["channels"])
except UserError as error:
    raise WorkflowError(str(error)) from None
